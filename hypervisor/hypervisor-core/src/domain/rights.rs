//! Rights as values: who may act on other domains and on the machine.

use hypercall_abi::Errno;

use super::Domain;

/// Proof that the caller may control the machine and other domains. Only [`ControlRight::of`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct ControlRight(());

impl ControlRight {
    /// The right of `domain`, if it has it: the first domain.
    ///
    /// # Errors
    /// `EPERM` for every other domain.
    pub fn of(domain: &Domain) -> Result<Self, Errno> {
        if domain.is_first() {
            Ok(Self(()))
        } else {
            Err(Errno::EPERM)
        }
    }
}
