//! Links every kernel of this package with the script of the `guest-kernel` library.

fn main() {
    let script = std::env::var("DEP_GUEST_KERNEL_LINKER_SCRIPT").unwrap_or_default();
    println!("cargo::rerun-if-changed={script}");
    for argument in [
        format!("-T{script}"),
        "-zmax-page-size=4096".into(),
        "--no-pie".into(),
        "--build-id=none".into(),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
