//! Descriptor tables: which descriptors a guest may have, GDT pages, and the lazily filled LDT (pv-abi 4.9).

use crate::frame::{FrameRef, FrameType, Ram, types::Taken};
use crate::ids::{EntryIndex, Mfn};
use crate::machine::Machine;
use crate::sync::Ordering;

use super::error::PagingError;
use super::layout;
use super::slot::Slot;
use super::tables::Tables;
use super::vcpu::{GDT_PAGES, Ldt, VcpuMemory};

/// Entries of the guest's part of a GDT.
pub const GDT_LIMIT: u32 = 7168;
/// Entries of the largest LDT.
pub const LDT_LIMIT: u32 = 8192;
/// The first page of the LDT in the CPU's descriptor window.
const LDT_WINDOW: u8 = 16;
/// Descriptors in a page.
const DESCRIPTORS_OF_PAGE: usize = 512;

const PRESENT: u64 = 1 << 47;
const SEGMENT: u64 = 1 << 44;
const TYPE: u64 = 0xf << 40;
const PRIVILEGE: u64 = 3 << 45;

/// The descriptor that is stored for what a guest gives; `None` if it may not have it.
///
/// Absent ones are data, upper halves of gates are accepted as they are, segments get privilege level 3. Everything that
/// the CPU acts on by itself (gates, task states, tables) is refused.
#[must_use]
pub const fn checked(value: u64) -> Option<u64> {
    if value & PRESENT == 0 || value & (SEGMENT | TYPE) == 0 {
        Some(value)
    } else if value & SEGMENT != 0 {
        Some(value | PRIVILEGE)
    } else {
        None
    }
}

/// Whether a descriptor page may hold this.
#[must_use]
pub fn is_allowed_as_it_is(value: u64) -> bool {
    checked(value) == Some(value)
}

impl<M: Machine> Tables<'_, M> {
    /// Takes a general and a descriptor reference on the domain's frame of this number; the page is checked in one step.
    ///
    /// # Errors
    /// [`PagingError::NotTable`] or [`PagingError::Descriptor`]: nothing was taken or changed.
    pub(crate) fn take_descriptor_page(&self, number: u64) -> Result<Mfn, PagingError> {
        let ram = self.ram;
        let frame = ram
            .reference(self.domain.owner(), number)
            .map_err(|_| PagingError::NotTable)?;
        let mfn = frame.mfn();
        match ram.take_type(mfn, FrameType::Descriptor) {
            Ok(Taken::Shared) => return Ok(frame.record()),
            Ok(Taken::Begun { before }) => {
                if before != FrameType::Descriptor {
                    ram.settle(mfn);
                }
            }
            // Descriptor pages are never partial.
            Ok(Taken::Resumed { .. }) | Err(_) => return Err(PagingError::NotTable),
        }
        let read = |index| ram.machine.read_entry(mfn, index);
        if !EntryIndex::all().all(|index| checked(read(index)).is_some()) {
            ram.clear_type(mfn);
            return Err(PagingError::Descriptor);
        }
        for index in EntryIndex::all() {
            let value = read(index);
            match checked(value) {
                Some(stored) if stored != value => ram.machine.write_entry(mfn, index, stored),
                Some(_) | None => {}
            }
        }
        ram.finish_change(mfn);
        Ok(frame.record())
    }

    /// Gives back what [`Self::take_descriptor_page`] took.
    pub(crate) fn release_descriptor_page(&self, mfn: Mfn) {
        self.ram.release_type(mfn);
        drop(FrameRef::adopt(self.ram, mfn));
    }

    /// Replaces the guest's part of a vCPU's GDT. The window is shown by [`show_window`], or here if the vCPU runs.
    ///
    /// # Errors
    /// [`PagingError`]: the old one stays.
    pub fn set_gdt(
        &self,
        vcpu: &VcpuMemory,
        numbers: &[u64],
        entries: u32,
        shown: Shown,
    ) -> Result<(), PagingError> {
        if entries > GDT_LIMIT || numbers.len() > GDT_PAGES {
            return Err(PagingError::Argument);
        }
        let mut taken: [Option<Mfn>; GDT_PAGES] = [None; GDT_PAGES];
        for (slot, &number) in taken.iter_mut().zip(numbers) {
            match self.take_descriptor_page(number) {
                Ok(mfn) => *slot = Some(mfn),
                Err(error) => {
                    let held = taken.iter().flatten();
                    held.for_each(|&mfn| self.release_descriptor_page(mfn));
                    return Err(error);
                }
            }
        }
        vcpu.gdt_entries
            .store(u64::from(entries), Ordering::Relaxed);
        for ((page, slot), new) in (0_u8..).zip(&vcpu.gdt).zip(taken) {
            let old = slot.take(self.ram.frames);
            slot.set(new);
            if shown == Shown::Here && (old.is_some() || new.is_some()) {
                self.ram.machine.set_descriptor_window(page, new);
            }
            if let Some(old) = old {
                self.release_descriptor_page(old);
            }
        }
        Ok(())
    }

    /// Changes one descriptor at a machine address (`update_descriptor`), by one 8-byte store.
    ///
    /// # Errors
    /// [`PagingError`], all `EINVAL`: nothing has changed.
    pub fn update_descriptor(&self, address: u64, value: u64) -> Result<(), PagingError> {
        if address & 7 != 0 {
            return Err(PagingError::Argument);
        }
        let value = checked(value).ok_or(PagingError::Descriptor)?;
        let frame = self
            .ram
            .reference(self.domain.owner(), address >> 12)
            .map_err(|_| PagingError::NotTable)?;
        let (mfn, index) = (frame.mfn(), EntryIndex::of_address(address));
        let state = self.ram.frames.type_state(mfn);
        // Descriptor types come and go under this lock only: no reference is needed to rely on one.
        if state.kind == FrameType::Descriptor && state.count != 0 {
            self.ram.machine.write_entry(mfn, index, value);
            return Ok(());
        }
        let writable = frame.writable().map_err(|_| PagingError::NotTable)?;
        self.ram.machine.write_entry(writable.mfn(), index, value);
        Ok(())
    }

    /// Sets the LDT of the vCPU that runs here. Its pages are checked when the CPU asks for them.
    ///
    /// # Errors
    /// [`PagingError::Argument`]: the old one stays.
    pub fn set_ldt(&self, vcpu: &VcpuMemory, base: u64, entries: u32) -> Result<(), PagingError> {
        let outside = base & 0xfff != 0 || !layout::is_guest(base);
        if entries > LDT_LIMIT || (entries != 0 && outside) {
            return Err(PagingError::Argument);
        }
        let new = Ldt {
            base: if entries == 0 { 0 } else { base },
            entries: u16::try_from(entries).map_err(|_| PagingError::Argument)?,
        };
        if vcpu.ldt() == new {
            return Ok(());
        }
        self.drop_ldt_pages(vcpu);
        vcpu.ldt_base.store(new.base, Ordering::Relaxed);
        vcpu.ldt_entries
            .store(u64::from(new.entries), Ordering::Relaxed);
        self.ram.machine.load_ldt(new.entries);
        Ok(())
    }

    /// Empties the LDT's window of the vCPU that runs here. Only pages that the LDT reaches have been filled.
    pub(super) fn drop_ldt_pages(&self, vcpu: &VcpuMemory) {
        let pages = usize::from(vcpu.ldt().entries).div_ceil(DESCRIPTORS_OF_PAGE);
        for (page, slot) in (LDT_WINDOW..).zip(&vcpu.ldt).take(pages) {
            if let Some(old) = slot.take(self.ram.frames) {
                self.ram.machine.set_descriptor_window(page, None);
                self.release_descriptor_page(old);
            }
        }
    }

    /// Fills the LDT's window at a byte offset that the CPU asked for, through the kernel root. False: the guest has no
    /// descriptor page there, or the page was filled already.
    pub fn fill_ldt(&self, vcpu: &VcpuMemory, offset: u64) -> bool {
        let ldt = vcpu.ldt();
        let page = usize::try_from(offset >> 12).unwrap_or(usize::MAX);
        let Some(slot) = vcpu
            .ldt
            .get(page)
            .filter(|_| offset < u64::from(ldt.entries) << 3)
        else {
            return false;
        };
        if slot.get(self.ram.frames).is_some() {
            return false;
        }
        let address = ldt.base.wrapping_add(offset);
        let entry = self.leaf_slot(vcpu, address).map(Slot::value);
        let Some(entry) = entry.ok().filter(|entry| entry.is_present()) else {
            return false;
        };
        let Ok(mfn) = self.take_descriptor_page(entry.frame_number()) else {
            return false;
        };
        slot.set(Some(mfn));
        let window = u8::try_from(page).unwrap_or(0).saturating_add(LDT_WINDOW);
        self.ram.machine.set_descriptor_window(window, Some(mfn));
        true
    }

    /// Takes all descriptor pages from a vCPU that does not run.
    pub fn drop_descriptors(&self, vcpu: &VcpuMemory) {
        for slot in vcpu.gdt.iter().chain(&vcpu.ldt) {
            if let Some(old) = slot.take(self.ram.frames) {
                self.release_descriptor_page(old);
            }
        }
        vcpu.gdt_entries.store(0, Ordering::Relaxed);
        vcpu.ldt_entries.store(0, Ordering::Relaxed);
        vcpu.ldt_base.store(0, Ordering::Relaxed);
    }
}

/// Whether the vCPU whose tables change runs on this CPU, so that its descriptor window is this CPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It does.
    Here,
    /// It does not run.
    Nowhere,
}

/// Shows the descriptor pages of a vCPU that this CPU is about to run: all of them, as what the window shows may be others'
/// by now.
pub fn show_window<M: Machine>(ram: Ram<'_, M>, vcpu: &VcpuMemory) {
    for (page, slot) in (0_u8..).zip(&vcpu.gdt).chain((LDT_WINDOW..).zip(&vcpu.ldt)) {
        ram.machine
            .set_descriptor_window(page, slot.get(ram.frames));
    }
    ram.machine.load_ldt(vcpu.ldt().entries);
}
