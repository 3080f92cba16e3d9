//! Hypercall 26, `mmuext_op` (pv-abi 4.5).

use hypercall_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_FLUSH_CACHE, MMUEXT_FLUSH_CACHE_GLOBAL,
    MMUEXT_INVLPG_ALL, MMUEXT_INVLPG_LOCAL, MMUEXT_INVLPG_MULTI, MMUEXT_MARK_SUPER,
    MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE,
    MMUEXT_PIN_L3_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_SET_LDT, MMUEXT_TLB_FLUSH_ALL,
    MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_TLB_FLUSH_MULTI, MMUEXT_UNMARK_SUPER, MMUEXT_UNPIN_TABLE,
    MmuextOp,
};

use crate::domain::account::DomainMemory;
use crate::frame::{FrameRef, OwnerId};
use crate::ids::Level;
use crate::machine::Machine;
use crate::sync::Held;

use super::batch::{self, BatchArgs, BatchEnd};
use super::error::PagingError;
use super::tables::{Step, Tables};
use super::world::{Call, Party, Right, World};

/// Carries out the call.
pub fn mmuext_op<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    args: BatchArgs,
    held: &mut Held<'_, TOP>,
) -> BatchEnd {
    let resolve = || {
        let [a, b, ..] = args.domain.to_le_bytes();
        match call.party(u16::from_le_bytes([a, b]))? {
            party @ (Party::Own | Party::Peer(_, Right::Granted)) => Ok(party),
            Party::Device | Party::Hypervisor | Party::Peer(_, Right::Missing) => {
                Err(PagingError::NoRight)
            }
        }
    };
    batch::run(call, args, held, resolve, |party, op: &MmuextOp, held| {
        let (domain, own): (&DomainMemory, bool) = match party {
            Party::Peer(peer, _) => (peer, false),
            Party::Own | Party::Device | Party::Hypervisor => (call.domain, true),
        };
        match op.cmd {
            MMUEXT_PIN_L1_TABLE => pin(call, domain, op.arg1, Level::L1, held),
            MMUEXT_PIN_L2_TABLE => pin(call, domain, op.arg1, Level::L2, held),
            MMUEXT_PIN_L3_TABLE => pin(call, domain, op.arg1, Level::L3, held),
            MMUEXT_PIN_L4_TABLE => pin(call, domain, op.arg1, Level::L4, held),
            MMUEXT_UNPIN_TABLE => Tables::lock(call.ram, domain, call.vcpu, held)
                .0
                .unpin(op.arg1)
                .map(Step::Done),
            MMUEXT_CLEAR_PAGE => call.clear_page(domain.owner(), op.arg1).map(Step::Done),
            MMUEXT_COPY_PAGE => call
                .copy_page(domain.owner(), op.arg1, op.arg2)
                .map(Step::Done),
            MMUEXT_MARK_SUPER | MMUEXT_UNMARK_SUPER => Err(PagingError::Unsupported),
            cmd if !is_own_only(cmd) => Err(PagingError::Unknown),
            _ if !own => Err(PagingError::NoRight),
            _ => own_only(call, op, held),
        }
    })
}

fn is_own_only(cmd: u32) -> bool {
    matches!(
        cmd,
        MMUEXT_NEW_BASEPTR
            | MMUEXT_NEW_USER_BASEPTR
            | MMUEXT_TLB_FLUSH_LOCAL
            | MMUEXT_INVLPG_LOCAL
            | MMUEXT_TLB_FLUSH_MULTI
            | MMUEXT_INVLPG_MULTI
            | MMUEXT_TLB_FLUSH_ALL
            | MMUEXT_INVLPG_ALL
            | MMUEXT_FLUSH_CACHE
            | MMUEXT_FLUSH_CACHE_GLOBAL
            | MMUEXT_SET_LDT
    )
}

fn pin<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    domain: &DomainMemory,
    number: u64,
    level: Level,
    held: &mut Held<'_, TOP>,
) -> Result<Step<()>, PagingError> {
    Tables::lock(call.ram, domain, call.vcpu, held)
        .0
        .pin(number, level)
}

/// What a domain does to its own address space only.
fn own_only<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    op: &MmuextOp,
    held: &mut Held<'_, TOP>,
) -> Result<Step<()>, PagingError> {
    let multi = || {
        call.cpus_of_mask(op.arg2)
            .map_err(|_| PagingError::Argument)
    };
    match op.cmd {
        MMUEXT_NEW_BASEPTR => {
            let (tables, _held) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            return tables.new_kernel_root(call.vcpu, op.arg1);
        }
        MMUEXT_NEW_USER_BASEPTR => {
            let (tables, _held) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            return tables.new_user_root(call.vcpu, op.arg1);
        }
        MMUEXT_SET_LDT => {
            let entries = u32::try_from(op.arg2 & 0xffff_ffff).unwrap_or(u32::MAX);
            let (tables, _held) = Tables::lock(call.ram, call.domain, call.vcpu, held);
            tables.set_ldt(call.vcpu, op.arg1, entries)?;
        }
        MMUEXT_TLB_FLUSH_LOCAL => call.ram.flush_all(call.here()),
        MMUEXT_TLB_FLUSH_MULTI => call.ram.flush_all(multi()?),
        MMUEXT_TLB_FLUSH_ALL => call.ram.flush_all(call.everywhere()),
        MMUEXT_INVLPG_LOCAL => call.flush_guest_page(call.here(), op.arg1),
        MMUEXT_INVLPG_MULTI => call.flush_guest_page(multi()?, op.arg1),
        MMUEXT_INVLPG_ALL => call.flush_guest_page(call.everywhere(), op.arg1),
        MMUEXT_FLUSH_CACHE if !call.domain.has_devices() => return Err(PagingError::NoDevices),
        MMUEXT_FLUSH_CACHE_GLOBAL if !call.domain.has_devices() => {
            return Err(PagingError::Argument);
        }
        // All RAM is mapped write-back and devices snoop: there is nothing that writing back would change.
        MMUEXT_FLUSH_CACHE | MMUEXT_FLUSH_CACHE_GLOBAL => {}
        _ => return Err(PagingError::Unknown),
    }
    Ok(Step::Done(()))
}

impl<M: Machine, W: World> Call<'_, M, W> {
    fn clear_page(&self, owner: OwnerId, number: u64) -> Result<(), PagingError> {
        let frame = self
            .ram
            .reference(owner, number)
            .and_then(FrameRef::writable);
        self.ram
            .machine
            .scrub(frame.map_err(|_| PagingError::NotTable)?.mfn());
        Ok(())
    }

    fn copy_page(&self, owner: OwnerId, to: u64, from: u64) -> Result<(), PagingError> {
        let from = self
            .ram
            .reference(owner, from)
            .map_err(|_| PagingError::NotTable)?;
        let to = self.ram.reference(owner, to).and_then(FrameRef::writable);
        self.ram
            .machine
            .copy_frame(from.mfn(), to.map_err(|_| PagingError::NotTable)?.mfn());
        Ok(())
    }
}
