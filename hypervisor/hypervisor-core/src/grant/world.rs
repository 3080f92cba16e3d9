//! What a grant operation may ask about domains.

use core::ops::Deref;

use hypercall_abi::ids::DOMID_SELF;

use super::status::Status;
use super::table::GrantTable;
use crate::domain::account::DomainMemory;
use crate::frame::Ram;
use crate::guest::GuestMemory;
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::sync::Held;

/// A domain, as far as grants need one.
pub trait Member {
    /// Its number.
    fn domid(&self) -> u16;
    /// A number that no other domain since boot has.
    fn serial(&self) -> u64;
    /// Its grants.
    fn grants(&self) -> &GrantTable;
    /// Its memory.
    fn memory(&self) -> &DomainMemory;
}

/// The rest of the hypervisor, as far as grants depend on it.
pub trait World {
    /// A domain.
    type Domain: Member;
    /// Keeps a domain alive while it is used.
    type Peer: Deref<Target = Self::Domain>;

    /// The caller.
    fn own(&self) -> &Self::Domain;
    /// The domain of this number, the caller's own included.
    fn find(&self, domid: u16, held: &mut Held<'_, 0>) -> Option<Self::Peer>;
    /// Whether the caller has the control right over that domain.
    fn controls(&self, domid: u16) -> bool;
}

/// A grant operation under way: who makes it.
#[derive(Debug)]
pub struct GrantCall<'a, M, W> {
    /// Machine and frames.
    pub ram: Ram<'a, M>,
    /// The calling vCPU, which runs on this CPU in kernel mode.
    pub vcpu: &'a VcpuMemory,
    /// The rest.
    pub world: &'a W,
}

impl<M, W> Clone for GrantCall<'_, M, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, W> Copy for GrantCall<'_, M, W> {}

impl<'a, M: Machine, W: World> GrantCall<'a, M, W> {
    /// The caller.
    pub(super) fn own(&self) -> &'a W::Domain {
        self.world.own()
    }

    /// The caller's memory, to read and write.
    pub(super) fn guest(&self) -> GuestMemory<'a, M> {
        GuestMemory::new(self.ram, self.vcpu)
    }

    /// Whose table an operation on a whole table means: the caller's own, or one that it controls.
    pub(super) fn table_of(
        &self,
        domid: u16,
        held: &mut Held<'_, 0>,
    ) -> Result<Option<W::Peer>, Status> {
        if domid == DOMID_SELF || domid == self.own().domid() {
            return Ok(None);
        }
        let peer = self.world.find(domid, held).ok_or(Status::BadDomain)?;
        if self.world.controls(domid) {
            Ok(Some(peer))
        } else {
            Err(Status::PermissionDenied)
        }
    }
}
