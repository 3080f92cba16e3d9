//! Copies between the hypervisor and the guest that runs on this CPU.
//!
//! Addresses are claims: both ends of each range must be the guest's before the machine touches anything (XSA-212). The
//! machine copies through the live mappings with CR0.WP set, so that read-only leaves refuse (I35). A fault may be spurious,
//! by a translation that was upgraded without a flush; then a walk of the tables permits the access and it is tried again,
//! once. Callers copy each address once per call and keep no lock meanwhile.

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::caller::is_guest_range;
use crate::frame::Ram;
use crate::ids::{EntryIndex, Level};
use crate::machine::{GuestFault, Machine};
use crate::paging::VcpuMemory;
use crate::paging::entry::Entry;
use crate::paging::layout;

/// The memory cannot be reached as wanted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("guest memory at {address:#x} cannot be reached")]
pub struct NoAccess {
    /// The first address that could not be reached.
    pub address: u64,
}

/// The memory of the vCPU that runs on this CPU, in guest kernel mode.
#[derive(Debug)]
pub struct GuestMemory<'a, M> {
    ram: Ram<'a, M>,
    vcpu: &'a VcpuMemory,
}

impl<M> Clone for GuestMemory<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for GuestMemory<'_, M> {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl<'a, M: Machine> GuestMemory<'a, M> {
    /// The memory of `vcpu`.
    #[must_use]
    pub fn new(ram: Ram<'a, M>, vcpu: &'a VcpuMemory) -> Self {
        Self { ram, vcpu }
    }

    /// Fills `to` from guest memory.
    ///
    /// # Errors
    /// [`NoAccess`]; `to` holds anything then.
    pub fn copy_in(self, from: u64, to: &mut [u8]) -> Result<(), NoAccess> {
        check(from, to.len())?;
        match self.ram.machine.copy_in(from, to) {
            Ok(()) => Ok(()),
            Err(fault) => Self::copy_bytes_in_again(self.ram, self.vcpu, fault, from, to),
        }
    }

    /// Writes `from` to guest memory.
    ///
    /// # Errors
    /// [`NoAccess`]; what lies before the address in it has been written.
    pub fn copy_out(self, to: u64, from: &[u8]) -> Result<(), NoAccess> {
        check(to, from.len())?;
        match self.ram.machine.copy_out(to, from) {
            Ok(()) => Ok(()),
            Err(fault) => Self::copy_bytes_out_again(self.ram, self.vcpu, fault, to, from),
        }
    }

    /// Reads a few words.
    ///
    /// # Errors
    /// [`NoAccess`].
    #[inline(always)]
    pub fn copy_in_words<const N: usize>(self, from: u64) -> Result<[u64; N], NoAccess> {
        check(from, size_of::<[u64; N]>())?;
        let words = match self.ram.machine.copy_in_words(from) {
            Ok(words) => words,
            Err(fault) => Self::copy_in_again(self.ram, self.vcpu, fault, from)?,
        };
        Ok(words)
    }

    /// Writes a few words.
    ///
    /// # Errors
    /// As for [`Self::copy_out`].
    #[inline(always)]
    pub fn copy_out_words<const N: usize>(self, to: u64, words: [u64; N]) -> Result<(), NoAccess> {
        check(to, size_of::<[u64; N]>())?;
        match self.ram.machine.copy_out_words(to, words) {
            Ok(()) => Ok(()),
            Err(fault) => Self::copy_out_again(self.ram, self.vcpu, fault, to, words),
        }
    }

    // These take the parts, in registers, so that who calls them need not lay `self` down in memory first.

    #[cold]
    #[inline(never)]
    fn copy_bytes_in_again(
        ram: Ram<'a, M>,
        vcpu: &'a VcpuMemory,
        fault: GuestFault,
        from: u64,
        to: &mut [u8],
    ) -> Result<(), NoAccess> {
        let memory = Self::new(ram, vcpu);
        memory.retry(fault, Access::Read, || ram.machine.copy_in(from, to))
    }

    #[cold]
    #[inline(never)]
    fn copy_bytes_out_again(
        ram: Ram<'a, M>,
        vcpu: &'a VcpuMemory,
        fault: GuestFault,
        to: u64,
        from: &[u8],
    ) -> Result<(), NoAccess> {
        let memory = Self::new(ram, vcpu);
        memory.retry(fault, Access::Write, || ram.machine.copy_out(to, from))
    }

    #[cold]
    #[inline(never)]
    fn copy_in_again<const N: usize>(
        ram: Ram<'a, M>,
        vcpu: &'a VcpuMemory,
        fault: GuestFault,
        from: u64,
    ) -> Result<[u64; N], NoAccess> {
        let memory = Self::new(ram, vcpu);
        memory.retry(fault, Access::Read, || ram.machine.copy_in_words(from))
    }

    #[cold]
    #[inline(never)]
    fn copy_out_again<const N: usize>(
        ram: Ram<'a, M>,
        vcpu: &'a VcpuMemory,
        fault: GuestFault,
        to: u64,
        words: [u64; N],
    ) -> Result<(), NoAccess> {
        let memory = Self::new(ram, vcpu);
        memory.retry(fault, Access::Write, || {
            ram.machine.copy_out_words(to, words)
        })
    }

    /// Copies once more where the tables permit what has failed.
    fn retry<T>(
        self,
        fault: GuestFault,
        access: Access,
        copy: impl FnOnce() -> Result<T, GuestFault>,
    ) -> Result<T, NoAccess> {
        if self.permits(fault.address, access) {
            copy().map_err(no_access)
        } else {
            Err(no_access(fault))
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`NoAccess`].
    pub fn read<T: FromBytes + IntoBytes>(self, from: u64) -> Result<T, NoAccess> {
        let mut value = T::new_zeroed();
        self.copy_in(from, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`NoAccess`].
    pub fn write<T: IntoBytes + Immutable>(self, to: u64, value: &T) -> Result<(), NoAccess> {
        self.copy_out(to, value.as_bytes())
    }

    /// Element `index` of an array: its address, if that is one.
    ///
    /// # Errors
    /// [`NoAccess`]: the address wraps.
    pub fn element<T>(array: u64, index: u64) -> Result<u64, NoAccess> {
        let size = u64::try_from(size_of::<T>()).unwrap_or(u64::MAX);
        let offset = index.checked_mul(size);
        offset
            .and_then(|o| array.checked_add(o))
            .ok_or(NoAccess { address: array })
    }

    /// Whether the tables let a guest kernel do this.
    #[cold]
    fn permits(self, address: u64, access: Access) -> bool {
        let Some(mut table) = self.vcpu.kernel_root() else {
            return false;
        };
        if !layout::is_guest(address) {
            return false;
        }
        for level in Level::ALL.into_iter().rev() {
            let index = EntryIndex::of_virtual(address, level);
            let entry = Entry(self.ram.machine.read_entry(table, index));
            let writable = access == Access::Read || entry.is_writable();
            if !(entry.is_present() && entry.is_user() && writable) {
                return false;
            }
            if level == Level::L1 {
                return true;
            }
            match self.ram.frames.lookup(entry.frame_number()) {
                Some(below) => table = below,
                None => return false,
            }
        }
        false
    }
}

#[inline]
fn check(address: u64, length: usize) -> Result<(), NoAccess> {
    if is_guest_range(address, length) {
        Ok(())
    } else {
        Err(NoAccess { address })
    }
}

fn no_access(fault: GuestFault) -> NoAccess {
    NoAccess {
        address: fault.address,
    }
}
