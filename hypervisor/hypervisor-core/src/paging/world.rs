//! What a paging hypercall may ask about other domains and about the caller's vCPUs.

use core::ops::Deref;

use hypercall_abi::ids::{DOMID_IO, DOMID_SELF, DOMID_XEN};

use crate::domain::account::DomainMemory;
use crate::frame::Ram;
use crate::guest::GuestMemory;
use crate::ids::PhysCpu;
use crate::machine::Machine;

use super::error::PagingError;
use super::vcpu::VcpuMemory;

/// The rest of the hypervisor, as far as paging depends on it.
pub trait World {
    /// Keeps a domain alive while it is used.
    type Peer: Deref<Target = DomainMemory>;

    /// The caller's own number.
    fn own_domid(&self) -> u16;
    /// The domain of this number, if there is one; not asked for the caller's own.
    fn peer(&self, domid: u16) -> Option<Self::Peer>;
    /// Whether the caller has the control right over that domain.
    fn controls(&self, domid: u16) -> bool;
    /// How many vCPUs the caller has.
    fn vcpu_count(&self) -> u32;
    /// The CPU on which one of the caller's vCPUs runs or ran last.
    fn cpu_of_vcpu(&self, vcpu: u32) -> Option<PhysCpu>;
}

/// A paging hypercall under way: who makes it, on what.
#[derive(Debug)]
pub struct Call<'a, M, W> {
    /// Machine and frames.
    pub ram: Ram<'a, M>,
    /// The caller.
    pub domain: &'a DomainMemory,
    /// The calling vCPU, which runs on this CPU in kernel mode.
    pub vcpu: &'a VcpuMemory,
    /// The rest.
    pub world: &'a W,
}

impl<M, W> Clone for Call<'_, M, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, W> Copy for Call<'_, M, W> {}

/// Whom a domain number in a call means.
#[derive(Debug)]
pub(super) enum Party<P> {
    /// The caller.
    Own,
    /// The pseudo-domain of device memory.
    Device,
    /// The hypervisor.
    Hypervisor,
    /// Somebody else, and whether the caller has the right over them.
    Peer(P, Right),
}

/// Whether the caller may act on another domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Granted,
    Missing,
}

impl<'a, M: Machine, W: World> Call<'a, M, W> {
    /// The caller's memory.
    #[must_use]
    pub fn guest(&self) -> GuestMemory<'a, M> {
        GuestMemory::new(self.ram, self.vcpu)
    }

    /// Whom `domid` means in paging calls: one's own number is no domain there (pv-abi 4.3 step 6).
    pub(super) fn party(&self, domid: u16) -> Result<Party<W::Peer>, PagingError> {
        match domid {
            DOMID_SELF => Ok(Party::Own),
            DOMID_IO => Ok(Party::Device),
            DOMID_XEN => Ok(Party::Hypervisor),
            own if own == self.world.own_domid() => Err(PagingError::NoDomain),
            other => self.peer(other),
        }
    }

    pub(super) fn peer(&self, domid: u16) -> Result<Party<W::Peer>, PagingError> {
        let peer = self.world.peer(domid).ok_or(PagingError::NoDomain)?;
        let controls = self.world.controls(domid);
        Ok(Party::Peer(
            peer,
            if controls {
                Right::Granted
            } else {
                Right::Missing
            },
        ))
    }
}
