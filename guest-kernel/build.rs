//! Tells dependents where the linker script of a PV kernel lies: `DEP_GUEST_KERNEL_LINKER_SCRIPT` in their build scripts.

use std::env::var;

fn main() {
    let directory = var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=linker.ld");
    println!("cargo::metadata=linker_script={directory}/linker.ld");
    if var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os != "none") {
        // Unit tests on the host call nothing that needs the linker script's symbols or a kernel's `main`.
        println!("cargo::rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    }
}
