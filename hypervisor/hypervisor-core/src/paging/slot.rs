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
    #[inline(always)]
    pub fn leaf_slot(&self, vcpu: &VcpuMemory, address: u64) -> Result<LeafSlot, PagingError> {
        if !layout::is_guest(address) {
            return Err(PagingError::NoEntry);
        }
        let root = vcpu.kernel_root.number();
        let shape = self.domain.shape();
        let table = match vcpu.walk.find(root, shape, address) {
            Some(table) => table,
            None => {
                let table = self.walk(root, address)?;
                vcpu.walk.note(root, shape, address, table);
                table
            }
        };
        self.checked_slot(table, EntryIndex::of_virtual(address, Level::L1))
    }

    /// The number of the table in which the L1 entry of `address` lies.
    #[cold]
    fn walk(&self, root: u64, address: u64) -> Result<u64, PagingError> {
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
        Ok(number)
    }

    /// The L1 entry at a machine address.
    ///
    /// # Errors
    /// [`PagingError::NoEntry`]: not aligned, or not in a valid L1 table of the domain.
    pub fn leaf_slot_at(&self, machine_address: u64) -> Result<LeafSlot, PagingError> {
        if machine_address & 7 != 0 {
            return Err(PagingError::NoEntry);
        }
        self.checked_slot(
            machine_address >> 12,
            EntryIndex::of_address(machine_address),
        )
    }

    /// The present value of an entry.
    #[must_use]
    pub fn leaf_value(&self, slot: LeafSlot) -> Entry {
        Entry(self.ram.machine.read_entry(slot.table, slot.index))
    }

    #[inline]
    fn checked_slot(&self, number: u64, index: EntryIndex) -> Result<LeafSlot, PagingError> {
        self.ram
            .frames
            .valid_table(number, Level::L1, self.domain.owner())
            .map(|table| LeafSlot { table, index })
            .ok_or(PagingError::NoEntry)
    }
}
