//! Links the image with our own script: a static ELF in L4 slot 261, whatever linker the toolchain brings.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let script = format!("{folder}/src/linker.ld");
    println!("cargo::rerun-if-changed={script}");
    for argument in [
        &format!("-T{script}"),
        "-zmax-page-size=4096",
        "--no-pie",
        "--build-id=none",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
