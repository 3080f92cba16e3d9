//! Hypercalls 14 and 22, `update_va_mapping` and `update_va_mapping_otherdomain` (pv-abi 4.4).

use hypercall_abi::mmu::{UVMF_ALL, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG, UVMF_LOCAL, UVMF_TLB_FLUSH};

use crate::ids::CpuSet;
use crate::machine::Machine;
use crate::sync::Held;

use super::entry::Exchange;
use super::error::PagingError;
use super::tables::{Source, Tables};
use super::world::{Call, Party, Right, World};

/// What is flushed after the change.
enum Flush {
    Nothing,
    Everything(CpuSet),
    Page(CpuSet),
    PageHere,
}

/// Changes the L1 entry that translates `address` under the caller's kernel root, then flushes as `flags` say.
///
/// # Errors
/// [`PagingError`]: nothing has changed and nothing was flushed.
#[inline]
pub fn update_va_mapping<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    address: u64,
    value: u64,
    flags: u64,
    held: &mut Held<'_, TOP>,
) -> Result<(), PagingError> {
    change(call, address, value, flags, Source::Own, held)
}

/// As [`update_va_mapping`], with a frame of another domain.
///
/// # Errors
/// As there; [`PagingError::NoDomain`] and [`PagingError::NoRight`] besides.
pub fn update_va_mapping_otherdomain<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    address: u64,
    value: u64,
    flags: u64,
    domid: u16,
    held: &mut Held<'_, TOP>,
) -> Result<(), PagingError> {
    match call.party(domid)? {
        Party::Own => change(call, address, value, flags, Source::Own, held),
        Party::Device if call.domain.has_devices() => {
            change(call, address, value, flags, Source::Device, held)
        }
        Party::Peer(peer, Right::Granted) => change(
            call,
            address,
            value,
            flags,
            Source::Foreign(peer.owner()),
            held,
        ),
        Party::Device | Party::Hypervisor | Party::Peer(_, Right::Missing) => {
            Err(PagingError::NoRight)
        }
    }
}

#[inline(always)]
fn change<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    address: u64,
    value: u64,
    flags: u64,
    source: Source,
    held: &mut Held<'_, TOP>,
) -> Result<(), PagingError> {
    let flush = flush_of(call, flags)?;
    {
        let (tables, _held) = Tables::lock(call.ram, call.domain, call.vcpu, held);
        let slot = tables.leaf_slot(call.vcpu, address)?;
        tables.update_leaf(slot, value, Exchange::Plain, source)?;
    }
    match flush {
        Flush::Nothing => {}
        Flush::Everything(cpus) => call.ram.flush_all(cpus),
        Flush::Page(cpus) => call.flush_guest_page(cpus, address),
        // The slot was found: it is the guest's.
        Flush::PageHere => call.ram.machine.flush_page_here(address),
    }
    Ok(())
}

/// Reads the flags, and the bitmap that they may point to, before anything changes.
#[inline(always)]
fn flush_of<M: Machine, W: World>(call: Call<'_, M, W>, flags: u64) -> Result<Flush, PagingError> {
    let kind = flags & UVMF_FLUSHTYPE_MASK;
    if kind != UVMF_TLB_FLUSH && kind != UVMF_INVLPG {
        return Ok(Flush::Nothing);
    }
    let cpus = match flags & !UVMF_FLUSHTYPE_MASK {
        UVMF_LOCAL if kind == UVMF_INVLPG => return Ok(Flush::PageHere),
        UVMF_LOCAL => call.here(),
        UVMF_ALL => call.everywhere(),
        mask => call.cpus_of_mask(mask)?,
    };
    Ok(if kind == UVMF_TLB_FLUSH {
        Flush::Everything(cpus)
    } else {
        Flush::Page(cpus)
    })
}
