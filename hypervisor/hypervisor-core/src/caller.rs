//! Who calls: the vCPU on whose behalf the hypervisor works, with all that a handler may need of it.

use alloc::sync::Arc;

use hypercall_abi::{Errno, GuestPtr, RawDomId};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::domain::rights::ControlRight;
use crate::effects::Effects;
use crate::guest::GuestMemory;
use crate::hypervisor::Hypervisor;
use crate::ids::{Nanos, PhysCpu};
use crate::machine::Machine;
use crate::paging::layout;
use crate::paging::root::{self, NoRoot};
use crate::sync::Held;
use crate::time::{clock, runstate};
use crate::vcpu::shared::Vcpu;
use crate::vcpu::{Mode, VcpuState};

/// The running vCPU, its domain, and the effects gathered so far.
#[derive(Debug)]
pub struct Caller<'a, M: Machine> {
    /// The hypervisor.
    pub hv: &'a Hypervisor<M>,
    /// The domain.
    pub domain: &'a Arc<Domain>,
    /// The shared part of the vCPU.
    pub vcpu: &'a Vcpu,
    /// Its registers and all else that only this CPU touches.
    pub state: &'a mut VcpuState,
    /// This CPU.
    pub cpu: PhysCpu,
    /// What must happen at the end.
    pub effects: Effects,
    /// No lock is held.
    pub held: Held<'static, 0>,
    /// Whether a list of calls is being run already.
    pub in_multicall: bool,
}

impl<'a, M: Machine> Caller<'a, M> {
    /// The machine.
    pub const fn machine(&self) -> &'a M {
        self.hv.machine()
    }

    /// The hypervisor's clock.
    pub fn now(&self) -> Nanos {
        self.machine().now()
    }

    /// The right to control others, if the caller has it.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn control_right(&self) -> Result<ControlRight, Errno> {
        ControlRight::of(self.domain)
    }

    /// The domain that an argument names.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn resolve(&mut self, named: RawDomId) -> Result<Arc<Domain>, Errno> {
        self.hv.domains.resolve(named, self.domain, &mut self.held)
    }

    /// Reads one value from guest memory, once.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn copy_in<T: FromBytes + FromZeros + IntoBytes>(
        &self,
        from: GuestPtr<T>,
    ) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.copy_in_bytes(from.address(), value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes one value to guest memory.
    ///
    /// # Errors
    /// `EFAULT`; part of it may have been written.
    pub fn copy_out<T: IntoBytes + Immutable>(
        &self,
        to: GuestPtr<T>,
        value: &T,
    ) -> Result<(), Errno> {
        self.copy_out_bytes(to.address(), value.as_bytes())
    }

    /// Reads bytes from guest memory.
    ///
    /// # Errors
    /// `EFAULT`: the range is not the guest's, or a page is absent.
    pub fn copy_in_bytes(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.guest().copy_in(from, to).map_err(|_| Errno::EFAULT)
    }

    /// Writes bytes to guest memory.
    ///
    /// # Errors
    /// `EFAULT`: the range is not the guest's, or a page is absent or read-only.
    pub fn copy_out_bytes(&self, to: u64, from: &[u8]) -> Result<(), Errno> {
        self.guest().copy_out(to, from).map_err(|_| Errno::EFAULT)
    }

    /// Reads a few words from guest memory, once.
    ///
    /// # Errors
    /// As for [`Self::copy_in_bytes`].
    #[inline(always)]
    pub fn copy_in_words<const N: usize>(&self, from: u64) -> Result<[u64; N], Errno> {
        self.guest().copy_in_words(from).map_err(|_| Errno::EFAULT)
    }

    /// Writes a few words to guest memory.
    ///
    /// # Errors
    /// As for [`Self::copy_out_bytes`].
    #[inline(always)]
    pub fn copy_out_words<const N: usize>(&self, to: u64, words: [u64; N]) -> Result<(), Errno> {
        let copied = self.guest().copy_out_words(to, words);
        copied.map_err(|_| Errno::EFAULT)
    }

    /// Whether both ends of a range are addresses that a guest may use.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn check_range(&self, start: u64, len: usize) -> Result<(), Errno> {
        if is_guest_range(start, len) {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Switches to kernel mode, if it is not on: root, GS bases, mode bit.
    #[inline(always)]
    pub fn to_kernel(&mut self) {
        if self.state.mode == Mode::User {
            let loaded = self.toggle(Mode::Kernel);
            debug_assert!(loaded.is_ok(), "a vCPU that runs has a kernel root");
            if core::mem::take(&mut self.state.area_due) {
                self.write_areas();
            }
        }
    }

    /// Switches from kernel to user mode.
    ///
    /// # Errors
    /// There is no user root: the domain cannot go on.
    #[inline(always)]
    pub fn to_user(&mut self) -> Result<(), NoRoot> {
        self.toggle(Mode::User)
    }

    #[inline(always)]
    fn toggle(&mut self, mode: Mode) -> Result<(), NoRoot> {
        root::toggle(self.machine(), &self.vcpu.memory, mode)?;
        self.machine().swap_guest_gs();
        self.state.mode = mode;
        Ok(())
    }

    /// Writes the registered areas that could not be written in user mode.
    #[cold]
    fn write_areas(&mut self) {
        // Where the kernel's own tables lack them, nobody reads them.
        runstate::update_area(self.hv, self.domain, self.vcpu, &mut self.held);
        clock::write_area(self.hv, self.vcpu);
    }

    /// Guest memory of the running vCPU.
    pub fn guest(&self) -> GuestMemory<'a, M> {
        GuestMemory::new(self.hv.ram(), &self.vcpu.memory)
    }
}

/// Whether all bytes of a range lie in one of the two halves that are a guest's.
#[must_use]
pub fn is_guest_range(start: u64, len: usize) -> bool {
    u64::try_from(len).is_ok_and(|len| layout::is_guest_range(start, len))
}
