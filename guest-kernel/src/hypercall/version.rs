//! `xen_version`: what runs underneath.

use hypercall_abi::number::XEN_VERSION;
use hypercall_abi::version::{FeatureInfo, XENVER_GET_FEATURES, XENVER_VERSION};

use super::{Errno, hypercall, operation};

/// The version that the hypervisor speaks, major << 16 | minor.
///
/// # Errors
/// None that the ABI documents.
pub fn version() -> Result<u64, Errno> {
    // SAFETY: asks for a number; the second argument is not used.
    unsafe {
        hypercall(
            u64::from(XEN_VERSION),
            [u64::from(XENVER_VERSION), 0, 0, 0, 0],
        )
    }
}

/// The feature bits of word 0.
///
/// # Errors
/// None that the ABI documents for word 0.
pub fn features() -> Result<u32, Errno> {
    let mut info = FeatureInfo::default();
    // SAFETY: writes into `info` only.
    unsafe { operation(XEN_VERSION, XENVER_GET_FEATURES, &mut info) }?;
    Ok(info.submap)
}

/// Enters and leaves the hypervisor, so that a pending upcall is delivered.
pub(crate) fn poke() {
    // The answer does not matter, only the way back into the guest.
    let _version = version();
}
