//! Tells dependents where the linker script of a PV kernel lies: `DEP_GUEST_KERNEL_LINKER_SCRIPT` in their build scripts.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=linker.ld");
    println!("cargo::metadata=linker_script={directory}/linker.ld");
}
