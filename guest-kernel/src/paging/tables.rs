//! Walking and growing page tables.

use hypercall_abi::mmu::{ENTRY_FRAME_MASK, EntryFlags, MMUEXT_PIN_L4_TABLE, MmuUpdate, MmuextOp};
use spin::Once;

use super::{ENTRIES, Mfn, PAGE_SIZE, PagingError, TABLE_FLAGS, direct, m2p};
use crate::heap;
use crate::hypercall::mmu;
use crate::sync::Lock;

/// The kernel's root.
static ROOT: Once<Mfn> = Once::new();

/// Held while tables are added, so that two vCPUs do not add the same one.
static GROWTH: Lock<()> = Lock::new(());

/// Names the root; the direct map shows all tables from now on.
pub(super) fn set_root(root: Mfn) {
    ROOT.call_once(|| root);
}

/// The kernel's L4 table.
#[must_use]
pub fn root() -> Option<Mfn> {
    ROOT.get().copied()
}

/// Index of an address in a table of `level` (4 to 1).
fn index(address: usize, level: u32) -> usize {
    address >> (12 + 9 * (level - 1)) & (ENTRIES - 1)
}

fn is_present(entry: u64) -> bool {
    entry & EntryFlags::PRESENT.bits() != 0
}

fn target(entry: u64) -> Mfn {
    Mfn((entry & ENTRY_FRAME_MASK) >> 12)
}

/// Reads one entry of one of our own tables.
fn read(table: Mfn, index: usize) -> u64 {
    let address = direct::address_of(m2p::page_of(table)) + 8 * index;
    let entry = core::ptr::with_exposed_provenance::<u64>(address);
    // SAFETY: the direct map shows our tables read-only; entries change whole, at any time.
    unsafe { entry.read_volatile() }
}

/// The L1 entry of an address: its machine address and its value. Nothing without an L1 table there.
pub(super) fn l1_slot(address: usize) -> Option<(u64, u64)> {
    let mut table = root()?;
    for level in [4, 3, 2] {
        let entry = read(table, index(address, level));
        if !is_present(entry) {
            return None;
        }
        table = target(entry);
    }
    let slot = index(address, 1);
    Some((entry_address(table, slot), read(table, slot)))
}

/// The L1 entry of an address, if the address is mapped.
pub(super) fn entry_at(address: usize) -> Option<u64> {
    l1_slot(address)
        .map(|(_, entry)| entry)
        .filter(|&entry| is_present(entry))
}

/// Machine address of an entry.
fn entry_address(table: Mfn, slot: usize) -> u64 {
    (table.0 << 12) | (8 * slot as u64)
}

/// An empty page that can become a table: zeroed, and read-only in the direct map.
fn new_table() -> Result<Mfn, PagingError> {
    let page = heap::Page::zeroed().ok_or(PagingError::OutOfMemory)?;
    // SAFETY: the page is ours and leaked here: nobody writes it again.
    unsafe { direct::make_read_only(page.leak()) }
}

/// Sees to it that an L1 table stands for `address` in the tables below `root`.
fn ensure_below(root: Mfn, address: usize) -> Result<Mfn, PagingError> {
    let _growth = GROWTH.lock();
    let mut table = root;
    for level in [4, 3, 2] {
        let slot = index(address, level);
        let entry = read(table, slot);
        if is_present(entry) {
            table = target(entry);
            continue;
        }
        let lower = new_table()?;
        set_entry(table, slot, lower.0 << 12 | TABLE_FLAGS.bits())?;
        table = lower;
    }
    Ok(table)
}

/// Stores one entry where none was.
fn set_entry(table: Mfn, slot: usize, value: u64) -> Result<(), PagingError> {
    let ptr = entry_address(table, slot);
    // SAFETY: the slot was empty, so nothing that is in use changes.
    unsafe { mmu::mmu_update(&[MmuUpdate { ptr, val: value }]) }?;
    Ok(())
}

/// Sees to it that an L1 table stands for `address` in the kernel's tables.
pub(super) fn ensure(address: usize) -> Result<(), PagingError> {
    let root = root().ok_or(PagingError::NoFrames)?;
    ensure_below(root, address).map(|_| ())
}

/// The tables of a user program: its own root, in which nothing of the kernel is mapped.
#[derive(Debug)]
pub struct UserTables {
    root: Mfn,
}

impl UserTables {
    /// An empty address space. It lives as long as the domain.
    ///
    /// # Errors
    /// Out of memory, or what the hypervisor answers.
    pub fn new() -> Result<Self, PagingError> {
        let root = new_table()?;
        let pin = MmuextOp {
            cmd: MMUEXT_PIN_L4_TABLE,
            arg1: root.0,
            ..MmuextOp::default()
        };
        // SAFETY: the frame is a fresh, empty table and used as nothing else.
        unsafe { mmu::mmuext_op(&[pin]) }?;
        Ok(Self { root })
    }

    /// The root's frame.
    #[must_use]
    pub fn root(&self) -> Mfn {
        self.root
    }

    /// Maps a frame at an empty, page-aligned address of user mode.
    ///
    /// # Errors
    /// Out of memory, or what the hypervisor answers.
    pub fn map(
        &mut self,
        address: usize,
        frame: Mfn,
        flags: EntryFlags,
    ) -> Result<(), PagingError> {
        debug_assert!(
            address.is_multiple_of(PAGE_SIZE),
            "user addresses are mapped by page"
        );
        let table = ensure_below(self.root, address)?;
        let flags = flags | EntryFlags::PRESENT | EntryFlags::USER;
        set_entry(table, index(address, 1), frame.0 << 12 | flags.bits())
    }
}
