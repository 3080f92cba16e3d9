//! The caller's surroundings, as paging, memory and grant code ask about them: other domains, and the caller's vCPUs.

use alloc::sync::Arc;
use core::mem::offset_of;
use core::ops::Deref;

use hypercall_abi::memory::E820Entry;
use hypercall_abi::shared_info::SharedInfo;
use hypercall_abi::{Errno, GuestPtr, RawDomId};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::caller::Caller;
use crate::domain::account::DomainMemory;
use crate::domain::{DomId, Domain};
use crate::frame::Ram;
use crate::grant::{self, GrantTable};
use crate::hypervisor::Hypervisor;
use crate::ids::PhysCpu;
use crate::machine::Machine;
use crate::sync::Held;
use crate::{memory, paging};

/// The domains around one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers<'a, M: Machine> {
    hv: &'a Hypervisor<M>,
    own: &'a Arc<Domain>,
}

impl<'a, M: Machine> Peers<'a, M> {
    /// Those around `own`.
    #[must_use]
    pub(crate) const fn of(hv: &'a Hypervisor<M>, own: &'a Arc<Domain>) -> Self {
        Self { hv, own }
    }
}

/// The memory of a domain that is kept alive meanwhile.
#[derive(Debug)]
pub struct MemoryOf(Arc<Domain>);

impl Deref for MemoryOf {
    type Target = DomainMemory;

    fn deref(&self) -> &DomainMemory {
        &self.0.memory
    }
}

impl<M: Machine> paging::World for Peers<'_, M> {
    type Peer = MemoryOf;

    fn own_domid(&self) -> u16 {
        self.own.id().get()
    }

    fn peer(&self, domid: u16) -> Option<MemoryOf> {
        // Asked before any lock is taken: the table of domains comes first.
        self.hv
            .domains
            .get(DomId::new(domid)?, &mut Held::enter())
            .map(MemoryOf)
    }

    fn controls(&self, _: u16) -> bool {
        self.own.is_first()
    }

    fn vcpu_count(&self) -> u32 {
        u32::try_from(self.own.vcpus().len()).unwrap_or(u32::MAX)
    }

    fn cpu_of_vcpu(&self, vcpu: u32) -> Option<PhysCpu> {
        self.own.vcpu_named(vcpu)?.last_cpu()
    }
}

impl grant::Member for Domain {
    fn domid(&self) -> u16 {
        self.id().get()
    }

    fn serial(&self) -> u64 {
        Self::serial(self)
    }

    fn grants(&self) -> &GrantTable {
        &self.grants
    }

    fn memory(&self) -> &DomainMemory {
        &self.memory
    }
}

impl<M: Machine> grant::World for Peers<'_, M> {
    type Domain = Domain;
    type Peer = Arc<Domain>;

    fn own(&self) -> &Domain {
        self.own
    }

    fn find(&self, domid: u16, held: &mut Held<'_, 0>) -> Option<Arc<Domain>> {
        self.hv.domains.get(DomId::new(domid)?, held)
    }

    fn controls(&self, _: u16) -> bool {
        self.own.is_first()
    }
}

impl<M: Machine> memory::Requester<M> for Caller<'_, M> {
    type Target = MemoryOf;

    fn ram(&self) -> Ram<'_, M> {
        self.hv.ram()
    }

    fn own(&self) -> &DomainMemory {
        &self.domain.memory
    }

    fn is_control(&self) -> bool {
        self.domain.is_first()
    }

    fn target(&mut self, named: RawDomId) -> Result<MemoryOf, Errno> {
        let target = self.resolve(named)?;
        if target.serial() != self.domain.serial() {
            self.control_right()?;
        }
        Ok(MemoryOf(target))
    }

    fn announced_pfns(&mut self, named: RawDomId) -> Result<u64, Errno> {
        let MemoryOf(domain) = self.target(named)?;
        let at = offset_of!(SharedInfo, max_pfn);
        Ok(self.machine().load_u64(domain.shared_info(), at))
    }

    fn read<T: FromBytes + IntoBytes>(&self, from: GuestPtr<T>) -> Result<T, Errno> {
        self.copy_in(from)
    }

    fn write<T: IntoBytes + Immutable>(&self, to: GuestPtr<T>, value: &T) -> Result<(), Errno> {
        self.copy_out(to, value)
    }

    fn machine_map(&self) -> &[E820Entry] {
        self.hv.machine_map()
    }
}
