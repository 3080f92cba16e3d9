//! A port of this domain, and the ways to get one.

use alloc::sync::Arc;

use hypercall_abi::{RawDomId, RawPort};

use super::Signal;
use crate::hypercall::{self, Errno};
use crate::smp::VcpuId;

/// A port that this kernel owns. Dropping it closes the port and forgets its handler.
#[derive(Debug)]
pub struct Port(RawPort);

impl Port {
    /// Takes over a port that exists already, such as those in start_info.
    #[must_use]
    pub fn adopt(port: RawPort) -> Self {
        Self::at_home(port, VcpuId::BOOT)
    }

    /// Takes a port over whose events come to `home`.
    fn at_home(port: RawPort, home: VcpuId) -> Self {
        super::set_home(port, Some(home));
        Self(port)
    }

    /// A port to which `remote` may bind.
    ///
    /// # Errors
    /// `ENOSPC` when no port is free.
    pub fn alloc_unbound(remote: RawDomId) -> Result<Self, Errno> {
        hypercall::event::alloc_unbound(RawDomId::SELF, remote).map(Self::adopt)
    }

    /// A port bound to another domain's port; it is pending at once.
    ///
    /// # Errors
    /// `ESRCH` without that domain, `EINVAL` if its port does not wait for us, `ENOSPC`.
    pub fn bind_interdomain(remote: RawDomId, port: RawPort) -> Result<Self, Errno> {
        hypercall::event::bind_interdomain(remote, port).map(Self::adopt)
    }

    /// A port for a virtual interrupt of a vCPU.
    ///
    /// # Errors
    /// `EEXIST` if it is bound, `EINVAL`, `ENOENT`, `ENOSPC`.
    pub fn bind_virq(virq: u32, vcpu: VcpuId) -> Result<Self, Errno> {
        hypercall::event::bind_virq(virq, vcpu.number()).map(|port| Self::at_home(port, vcpu))
    }

    /// A port for a physical interrupt.
    ///
    /// # Errors
    /// `EPERM` for one that the domain was not given, `EEXIST`, `EINVAL`, `ENOSPC`.
    pub fn bind_pirq(pirq: u32) -> Result<Self, Errno> {
        hypercall::event::bind_pirq(pirq).map(Self::adopt)
    }

    /// A port by which any vCPU interrupts this one.
    ///
    /// # Errors
    /// `ENOENT`, `ENOSPC`.
    pub fn bind_ipi(vcpu: VcpuId) -> Result<Self, Errno> {
        hypercall::event::bind_ipi(vcpu.number()).map(|port| Self::at_home(port, vcpu))
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> RawPort {
        self.0
    }

    /// Runs `handler` at each event, with upcalls masked, and opens the port.
    ///
    /// # Errors
    /// `EINVAL` for an adopted number that is no port.
    pub fn set_handler(&self, handler: impl Fn() + Send + Sync + 'static) -> Result<(), Errno> {
        super::set_handler(self.0, Arc::new(handler));
        hypercall::event::unmask(self.0)
    }

    /// A signal that each event sets; opens the port.
    ///
    /// # Errors
    /// As [`Self::set_handler`].
    pub fn signal(&self) -> Result<Arc<Signal>, Errno> {
        let signal = Arc::new(Signal::new());
        let set = Arc::clone(&signal);
        self.set_handler(move || set.set())?;
        Ok(signal)
    }

    /// Sends the port's events to a vCPU.
    ///
    /// # Errors
    /// `EINVAL` for a port that is tied to its vCPU.
    pub fn move_to(&self, vcpu: VcpuId) -> Result<(), Errno> {
        let was_open = super::mask_port(self.0);
        let moved = hypercall::event::bind_vcpu(self.0, vcpu.number());
        if moved.is_ok() {
            super::set_home(self.0, Some(vcpu));
        }
        // An event that came before is pending: opening the port sends it to where its events come now.
        if was_open {
            hypercall::event::unmask(self.0)?;
        }
        moved
    }

    /// Tells the other end. An end that has gone away hears nothing, which is no error of ours.
    pub fn notify(&self) {
        let _told = hypercall::event::send(self.0);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Whoever gets the number next finds it closed, so that no event is lost before its handler is there.
        super::mask_port(self.0);
        super::remove_handler(self.0);
        super::set_home(self.0, None);
        // A port that was adopted and never existed cannot be closed; nothing is left to do then.
        let _closed = hypercall::event::close(self.0);
    }
}
