//! Where an entry is: by virtual address, through a vCPU's kernel root, or by its machine address.

use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;
use crate::sync::{AtomicU64, Ordering};

use super::entry::Entry;
use super::error::PagingError;
use super::layout;
use super::tables::Tables;
use super::vcpu::VcpuMemory;

/// An entry of a valid table of the domain, good while the tables are locked.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pub(super) table: Mfn,
    pub(super) word: &'a AtomicU64,
}

impl Slot<'_> {
    /// The present value of the entry.
    #[must_use]
    #[inline(always)]
    pub fn value(self) -> Entry {
        Entry(self.word.load(Ordering::Acquire))
    }

    /// Whether both are the same entry.
    pub(super) fn is(self, other: Self) -> bool {
        core::ptr::eq(self.word, other.word)
    }
}

impl<'a, M: Machine> Tables<'a, M> {
    /// An entry of a table that was found to be valid.
    #[inline(always)]
    pub(super) fn slot(&self, table: Mfn, index: EntryIndex) -> Slot<'a> {
        let word = index.of(self.ram.machine.words(table));
        Slot { table, word }
    }

    /// The L1 entry that translates `address` under `vcpu`'s kernel root.
    ///
    /// # Errors
    /// [`PagingError::NoEntry`]: not a guest address, or no table there.
    #[inline(always)]
    pub fn leaf_slot(&self, vcpu: &VcpuMemory, address: u64) -> Result<Slot<'a>, PagingError> {
        if !layout::is_guest(address) {
            return Err(PagingError::NoEntry);
        }
        let root = vcpu.kernel_root.number();
        let shape = self.domain.shape();
        let index = EntryIndex::of_virtual(address, Level::L1);
        if let Some(table) = vcpu.walk.find(root, shape, address) {
            // The entries that lead there have not changed, so they still hold its type.
            debug_assert!(self.checked_slot(table.get(), index).is_ok());
            return Ok(self.slot(table, index));
        }
        let slot = self.walk(root, address)?;
        vcpu.walk.note(root, shape, address, slot.table);
        Ok(slot)
    }

    /// The L1 entry to which the entries above it lead.
    #[cold]
    fn walk(&self, root: u64, address: u64) -> Result<Slot<'a>, PagingError> {
        let mut number = root;
        for level in [Level::L4, Level::L3, Level::L2] {
            let table = self.ram.frames.lookup(number).ok_or(PagingError::NoEntry)?;
            let index = EntryIndex::of_virtual(address, level);
            let entry = Entry(self.ram.machine.read_entry(table, index));
            if !entry.is_present() {
                return Err(PagingError::NoEntry);
            }
            number = entry.frame_number();
        }
        self.checked_slot(number, EntryIndex::of_virtual(address, Level::L1))
    }

    /// The L1 entry at a machine address.
    ///
    /// # Errors
    /// [`PagingError::NoEntry`]: not aligned, or not in a valid L1 table of the domain.
    pub fn leaf_slot_at(&self, machine_address: u64) -> Result<Slot<'a>, PagingError> {
        if machine_address & 7 != 0 {
            return Err(PagingError::NoEntry);
        }
        self.checked_slot(
            machine_address >> 12,
            EntryIndex::of_address(machine_address),
        )
    }

    /// An entry of the frame of this number, if that is a valid L1 table of the domain.
    #[inline]
    pub(super) fn checked_slot(
        &self,
        number: u64,
        index: EntryIndex,
    ) -> Result<Slot<'a>, PagingError> {
        self.ram
            .frames
            .valid_table(number, Level::L1, self.domain.owner())
            .map(|table| self.slot(table, index))
            .ok_or(PagingError::NoEntry)
    }
}
