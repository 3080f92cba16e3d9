//! Where an L1 entry is: by virtual address, through a vCPU's kernel root.

use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::Machine;

use super::entry::Entry;
use super::error::PagingError;
use super::layout;
use super::tables::Tables;
use super::vcpu::VcpuMemory;

/// An entry of a valid L1 table of the domain, good while the tables are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafSlot {
    pub(super) table: Mfn,
    pub(super) index: EntryIndex,
}

impl<M: Machine> Tables<'_, M> {
    /// The L1 entry that translates `address` under `vcpu`'s kernel root.
    ///
    /// # Errors
    /// [`PagingError::NoEntry`]: not a guest address, or no table there.
    #[inline]
    pub fn leaf_slot(&self, vcpu: &VcpuMemory, address: u64) -> Result<LeafSlot, PagingError> {
        if !layout::is_guest(address) {
            return Err(PagingError::NoEntry);
        }
        let mut table = vcpu
            .kernel_root(self.ram.frames)
            .ok_or(PagingError::NoEntry)?;
        for level in [Level::L4, Level::L3, Level::L2] {
            let index = EntryIndex::of_virtual(address, level);
            let entry = Entry(self.ram.machine.read_entry(table, index));
            if !entry.is_present() {
                return Err(PagingError::NoEntry);
            }
            table = self
                .ram
                .frames
                .lookup(entry.frame_number())
                .ok_or(PagingError::NoEntry)?;
        }
        self.checked_slot(table, EntryIndex::of_virtual(address, Level::L1))
    }

    /// The L1 entry at a machine address.
    ///
    /// # Errors
    /// [`PagingError::NoEntry`]: not aligned, or not in a valid L1 table of the domain.
    pub fn leaf_slot_at(&self, machine_address: u64) -> Result<LeafSlot, PagingError> {
        if machine_address & 7 != 0 {
            return Err(PagingError::NoEntry);
        }
        let table = self
            .ram
            .frames
            .lookup(machine_address >> 12)
            .ok_or(PagingError::NoEntry)?;
        self.checked_slot(table, EntryIndex::of_address(machine_address))
    }

    /// The present value of an entry.
    #[must_use]
    pub fn leaf_value(&self, slot: LeafSlot) -> Entry {
        Entry(self.ram.machine.read_entry(slot.table, slot.index))
    }

    fn checked_slot(&self, table: Mfn, index: EntryIndex) -> Result<LeafSlot, PagingError> {
        let valid = self.ram.frames.type_state(table).is_valid_table(Level::L1);
        if valid && self.owns(table) {
            Ok(LeafSlot { table, index })
        } else {
            Err(PagingError::NoEntry)
        }
    }
}
