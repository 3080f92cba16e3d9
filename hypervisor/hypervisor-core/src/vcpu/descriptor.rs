//! Segment descriptors of a vCPU: reading one, and faults in the LDT that is mapped page by page as it is used (pv-abi 5.2).

use crate::caller::Caller;
use crate::cpu::WINDOW_PAGES;
use crate::machine::Machine;
use crate::paging::Tables;
use crate::paging::vcpu::LDT_PAGES;

const PAGE: u64 = 4096;

/// Reads the descriptor that a selector names, from the guest's GDT or LDT.
pub fn read<M: Machine>(caller: &Caller<'_, M>, selector: u64) -> Option<u64> {
    let index = (selector & 0xffff) >> 3;
    let at = index.checked_mul(8)?;
    let memory = &caller.vcpu.memory;
    if selector & super::context::selector::TI != 0 {
        if index >= u64::from(memory.ldt().entries) {
            return None;
        }
        let mut bytes = [0; 8];
        caller
            .copy_in_bytes(ldt_address(caller, at), &mut bytes)
            .ok()?;
        return Some(u64::from_le_bytes(bytes));
    }
    if index >= memory.gdt_entries() {
        return None;
    }
    let page = usize::try_from(at >> 12).ok()?;
    let frame = memory.gdt_frames(caller.hv.frames()).nth(page)??;
    Some(
        caller
            .machine()
            .load_u64(frame, usize::try_from(at & 0xfff).ok()?),
    )
}

/// The guest address of a byte of its LDT.
pub fn ldt_address<M: Machine>(caller: &Caller<'_, M>, offset: u64) -> u64 {
    caller.vcpu.memory.ldt().base.wrapping_add(offset)
}

/// The offset in the LDT, if a fault's address lies in the part of this CPU's descriptor window that shows it.
pub fn ldt_window_offset<M: Machine>(caller: &Caller<'_, M>, address: u64) -> Option<u64> {
    let pages = u64::try_from(WINDOW_PAGES.saturating_sub(LDT_PAGES)).ok()?;
    let ldt = caller
        .machine()
        .descriptor_window()
        .checked_add(pages.checked_mul(PAGE)?)?;
    let offset = address.checked_sub(ldt)?;
    (offset < u64::try_from(LDT_PAGES).ok()?.checked_mul(PAGE)?).then_some(offset)
}

/// Shows the page of the LDT that holds byte `offset`. False if the guest has no page of descriptors there.
pub fn fill_ldt<M: Machine>(caller: &mut Caller<'_, M>, offset: u64) -> bool {
    let (ram, memory) = (caller.hv.ram(), &caller.vcpu.memory);
    let (tables, _held) = Tables::lock(ram, &caller.domain.memory, memory, &mut caller.held);
    tables.fill_ldt(memory, offset)
}
