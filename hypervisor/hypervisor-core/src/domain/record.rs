//! A domain: an identity, memory, vCPUs, ports and grants, under one roof.

use alloc::vec::Vec;

use super::account::DomainMemory;
use super::life::LifeRecord;
use super::table::DomId;
use crate::console::ConsoleLine;
use crate::event::EventTable;
use crate::grant::GrantTable;
use crate::ids::{Mfn, Nanos, VcpuId};
use crate::paging::Teardown;
use crate::sched::GroupId;
use crate::sync::{AtomicU32, AtomicU64, Once, Ordering, Ranked, rank};
use crate::vcpu::shared::Vcpu;

/// Habits that a domain can switch on (`vm_assist`). The number is the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the assist of its ABI name")]
pub enum Assist {
    WritablePageTables = 2,
    ArchitecturalIopl = 4,
    RunstateUpdateFlag = 5,
}

/// A domain. What can change is in its parts, each with its own lock or word.
#[derive(Debug)]
pub struct Domain {
    pub(super) id: DomId,
    pub(super) serial: u64,
    pub(super) uuid: [u8; 16],
    pub(super) created: Nanos,
    pub(super) group: Once<GroupId>,
    pub(super) vcpus: Vec<Vcpu>,
    pub(super) shared_info: Mfn,
    pub(super) assists: AtomicU64,
    /// Last value written to port 0xcf8, and in bits 32..39 that to port 0x70.
    pub(super) latches: AtomicU64,
    /// Memory: account, page-table lock, M2P view.
    pub memory: DomainMemory,
    /// How many vCPUs poll, or have polled when they waited last.
    pub(super) pollers: AtomicU32,
    /// Event channels.
    pub events: EventTable,
    /// Grants.
    pub grants: GrantTable,
    /// How far its end has come.
    pub(super) teardown: Ranked<{ rank::DOMAIN_LIFE }, Teardown>,
    /// State.
    pub life: Ranked<{ rank::DOMAIN_LIFE }, LifeRecord>,
    /// What it has written to the console since the last end of line.
    pub console: Ranked<{ rank::CONSOLE }, ConsoleLine>,
}

const _: () = assert!(
    cfg!(feature = "shuttle") || size_of::<Domain>() + size_of::<[usize; 2]>() <= 1024,
    "with its counts a block of the heap, which come in powers of two"
);

impl Domain {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> DomId {
        self.id
    }

    /// Its serial number: of all domains since boot, only this one has it.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether it is the first domain, which controls the machine.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.id == DomId::FIRST
    }

    /// The name that dom0 gave.
    #[must_use]
    pub const fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }

    /// When it was created.
    #[must_use]
    pub const fn created(&self) -> Nanos {
        self.created
    }

    /// The scheduler's number; none while it is being created.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.group.get().copied()
    }

    /// All its vCPUs, by number.
    #[must_use]
    pub fn vcpus(&self) -> &[Vcpu] {
        &self.vcpus
    }

    /// One of its vCPUs begins to wait, polling or not. By that vCPU itself.
    pub fn count_poller(&self, vcpu: &Vcpu, polls: bool) {
        if vcpu.count_as_poller(polls) == polls {
            return;
        }
        // SeqCst, as the bits of events: who polls counts before it looks, who sends sets the bit before it asks.
        if polls {
            self.pollers.fetch_add(1, Ordering::SeqCst);
        } else {
            self.pollers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a vCPU may be polling.
    #[inline(always)]
    #[must_use]
    pub fn has_pollers(&self) -> bool {
        self.pollers.load(Ordering::SeqCst) != 0
    }

    /// One vCPU.
    #[must_use]
    pub fn vcpu(&self, id: VcpuId) -> Option<&Vcpu> {
        self.vcpus.get(usize::from(id.get()))
    }

    /// The vCPU that a guest names.
    #[must_use]
    pub fn vcpu_named(&self, number: u32) -> Option<&Vcpu> {
        self.vcpus.get(usize::try_from(number).ok()?)
    }

    /// The frame of `shared_info`.
    #[must_use]
    pub const fn shared_info(&self) -> Mfn {
        self.shared_info
    }

    /// Whether an assist is on.
    #[must_use]
    pub fn assists(&self, assist: Assist) -> bool {
        self.assists.load(Ordering::Relaxed) & assist_bit(assist) != 0
    }

    /// The word of all assists, bit n for type n.
    #[must_use]
    pub const fn assist_word(&self) -> &AtomicU64 {
        &self.assists
    }

    /// The word of the port latches.
    #[must_use]
    pub const fn latch_word(&self) -> &AtomicU64 {
        &self.latches
    }
}

const fn assist_bit(assist: Assist) -> u64 {
    match assist {
        Assist::WritablePageTables => 1 << 2,
        Assist::ArchitecturalIopl => 1 << 4,
        Assist::RunstateUpdateFlag => 1 << 5,
    }
}
