//! What a vCPU holds of its domain's frames: roots, descriptor pages, and an unfinished demotion.
//!
//! Each slot that names a frame stands for the references said beside it. Slots change only by the vCPU itself or, once it
//! never runs again, by teardown; they are atomic so that the audit may read them from anywhere.

use crate::frame::FrameTable;
use crate::ids::Mfn;
use crate::sync::{AtomicU64, Ordering};

/// Pages of the GDT that are the guest's.
pub const GDT_PAGES: usize = 14;
/// Pages of the LDT.
pub const LDT_PAGES: usize = 16;

/// A frame's number, or none. Frame 0 is never in the pool.
#[derive(Debug, Default)]
pub struct FrameSlot(AtomicU64);

impl FrameSlot {
    /// The frame.
    #[must_use]
    #[inline]
    pub fn get(&self, frames: &FrameTable) -> Option<Mfn> {
        match self.number() {
            0 => None,
            number => frames.lookup(number),
        }
    }

    /// The frame, of a slot that stands for a reference: it is a frame's number then, and needs no look-up.
    #[inline]
    fn held(&self) -> Option<Mfn> {
        match self.number() {
            0 => None,
            number => Some(Mfn::new(number)),
        }
    }

    /// The frame's number as it stands there, 0 for none.
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, mfn: Option<Mfn>) {
        self.0.store(mfn.map_or(0, Mfn::get), Ordering::Release);
    }

    /// Empties the slot; the references it stood for are the caller's.
    #[inline]
    pub(crate) fn take(&self, frames: &FrameTable) -> Option<Mfn> {
        if self.number() == 0 {
            return None;
        }
        frames.lookup(self.0.swap(0, Ordering::AcqRel))
    }
}

/// The last walk from a kernel root to an L1 table. It ends there again as long as no entry above L1 has changed, which
/// the shape of the domain's tables tells. Used under the lock of the tables, so its words agree.
#[derive(Debug, Default)]
pub(super) struct WalkCache {
    root: AtomicU64,
    shape: AtomicU64,
    region: AtomicU64,
    table: AtomicU64,
}

/// log2 of the addresses that an L1 table translates.
const REGION_SHIFT: u32 = 21;

impl WalkCache {
    /// The L1 table for `address`, if the last walk was this one.
    #[inline]
    pub(super) fn find(&self, root: u64, shape: u64, address: u64) -> Option<Mfn> {
        let same = self.root.load(Ordering::Relaxed) == root
            && self.shape.load(Ordering::Relaxed) == shape
            && self.region.load(Ordering::Relaxed) == address >> REGION_SHIFT;
        same.then(|| Mfn::new(self.table.load(Ordering::Relaxed)))
    }

    /// Notes where a walk has ended.
    pub(super) fn note(&self, root: u64, shape: u64, address: u64, table: Mfn) {
        self.root.store(root, Ordering::Relaxed);
        self.shape.store(shape, Ordering::Relaxed);
        self.region
            .store(address >> REGION_SHIFT, Ordering::Relaxed);
        self.table.store(table.get(), Ordering::Relaxed);
    }
}

/// Tables whose taking down was interrupted. Hints: partial frames hold their references themselves. A call finishes what is
/// noted before it begins, and takes down two tables itself at most: a vCPU's roots.
#[derive(Debug, Default)]
pub(crate) struct Pending([FrameSlot; 2]);

impl Pending {
    /// Whether none is noted.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|slot| slot.number() == 0)
    }

    /// The first that is noted.
    pub(crate) fn first(&self, frames: &FrameTable) -> Option<Mfn> {
        self.0.iter().find_map(|slot| slot.get(frames))
    }

    /// Notes a table.
    pub(crate) fn note(&self, mfn: Mfn, frames: &FrameTable) {
        let Self([first, second]) = self;
        let free = first.get(frames).is_none_or(|noted| noted == mfn);
        if free { first } else { second }.set(Some(mfn));
    }

    /// A table is taken down, or nobody's to take down any more.
    pub(crate) fn forget(&self, mfn: Mfn, frames: &FrameTable) {
        let noted = |slot: &&FrameSlot| slot.get(frames) == Some(mfn);
        self.0.iter().filter(noted).for_each(|slot| slot.set(None));
    }
}

/// The LDT as the guest set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ldt {
    /// Page-aligned linear address; 0 without entries.
    pub base: u64,
    /// 0..=8192.
    pub entries: u16,
}

/// A vCPU's hold on memory.
#[derive(Debug, Default)]
pub struct VcpuMemory {
    /// A general and an L4 reference.
    pub(crate) kernel_root: FrameSlot,
    /// A general and an L4 reference.
    pub(crate) user_root: FrameSlot,
    /// A general and a descriptor reference each.
    pub(crate) gdt: [FrameSlot; GDT_PAGES],
    pub(crate) gdt_entries: AtomicU64,
    /// A general and a descriptor reference each: pages of the LDT that the CPU has asked for.
    pub(crate) ldt: [FrameSlot; LDT_PAGES],
    pub(crate) ldt_base: AtomicU64,
    pub(crate) ldt_entries: AtomicU64,
    /// Where the last page walk ended.
    pub(super) walk: WalkCache,
    pub(crate) pending: Pending,
}

impl VcpuMemory {
    /// A vCPU that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The root of guest kernel mode.
    #[must_use]
    #[inline]
    pub fn kernel_root(&self) -> Option<Mfn> {
        self.kernel_root.held()
    }

    /// The root of guest user mode.
    #[must_use]
    #[inline]
    pub fn user_root(&self) -> Option<Mfn> {
        self.user_root.held()
    }

    /// Entries of the guest's GDT: 0..=7168. What reads descriptors checks it first (XSA-298).
    #[must_use]
    pub fn gdt_entries(&self) -> u64 {
        self.gdt_entries.load(Ordering::Relaxed)
    }

    /// The frames of the guest's GDT, in order.
    pub fn gdt_frames<'a>(&'a self, frames: &'a FrameTable) -> impl Iterator<Item = Option<Mfn>> {
        self.gdt.iter().map(|slot| slot.get(frames))
    }

    /// The LDT as the guest set it.
    #[must_use]
    pub fn ldt(&self) -> Ldt {
        Ldt {
            base: self.ldt_base.load(Ordering::Relaxed),
            entries: u16::try_from(self.ldt_entries.load(Ordering::Relaxed)).unwrap_or(0),
        }
    }

    /// Calls `held` with each root, for the recount.
    pub(crate) fn for_each_root(&self, frames: &FrameTable, held: &mut dyn FnMut(Mfn)) {
        let roots = [&self.kernel_root, &self.user_root];
        roots
            .iter()
            .filter_map(|slot| slot.get(frames))
            .for_each(held);
    }

    /// Calls `held` with each descriptor page, for the recount.
    pub(crate) fn for_each_descriptor_page(&self, frames: &FrameTable, held: &mut dyn FnMut(Mfn)) {
        self.gdt
            .iter()
            .chain(&self.ldt)
            .filter_map(|slot| slot.get(frames))
            .for_each(held);
    }
}
