//! Flushes that guests ask for: on this CPU, on those of some vCPUs, on all that may hold the domain's translations.

use crate::guest::GuestMemory;
use crate::ids::CpuSet;
use crate::machine::Machine;

use super::error::PagingError;
use super::layout;
use super::world::{Call, World};

/// vCPUs in a word of a bitmap.
const WORD: u32 = 64;

impl<M: Machine, W: World> Call<'_, M, W> {
    /// This CPU.
    pub(super) fn here(&self) -> CpuSet {
        CpuSet::only(self.ram.machine.cpu_id())
    }

    /// All CPUs that may hold the caller's translations.
    pub(super) fn everywhere(&self) -> CpuSet {
        self.domain
            .account(self.ram.frames)
            .map_or(CpuSet::EMPTY, crate::frame::Account::dirty)
    }

    /// The CPUs of the vCPUs in the bitmap at `address`. Only words that cover the caller's vCPUs are read, bits beyond are
    /// ignored. A vCPU that does not run counts as being where it ran last (I28).
    ///
    /// # Errors
    /// [`PagingError::Fault`].
    pub(super) fn cpus_of_mask(&self, address: u64) -> Result<CpuSet, PagingError> {
        let vcpus = self.world.vcpu_count();
        let mut cpus = CpuSet::EMPTY;
        for first in (0..vcpus).step_by(64) {
            let index = u64::from(first / WORD);
            let word: u64 = GuestMemory::<M>::element::<u64>(address, index)
                .and_then(|word| self.guest().read(word))
                .map_err(|_| PagingError::Fault)?;
            let members = (0..WORD).filter(|bit| word >> bit & 1 != 0);
            cpus = members
                .map(|bit| first.saturating_add(bit))
                .filter(|&vcpu| vcpu < vcpus)
                .filter_map(|vcpu| self.world.cpu_of_vcpu(vcpu))
                .fold(cpus, CpuSet::with);
        }
        Ok(cpus.intersection(self.everywhere()))
    }

    /// Flushes one address; those that are not the guest's are ignored.
    pub(super) fn flush_guest_page(&self, cpus: CpuSet, address: u64) {
        if layout::is_guest(address) {
            self.ram.flush_page(cpus, address);
        }
    }
}
