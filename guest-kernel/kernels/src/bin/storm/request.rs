//! Requests about the pages of a pool, sensible and not.

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, hypercall};
use guest_kernel::paging::{Mfn, frame_at};
use guest_kernels::random::Random;
use hypercall_abi::ids::DOMID_SELF;
use hypercall_abi::mmu::{
    ENTRIES_PER_TABLE, MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_INVLPG_ALL,
    MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_TLB_FLUSH_LOCAL,
    MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp, UVMF_ALL, UVMF_INVLPG,
};
use hypercall_abi::number::{MMU_UPDATE, MMUEXT_OP, SET_GDT, UPDATE_DESCRIPTOR, UPDATE_VA_MAPPING};

/// Pages of the pool.
pub(crate) const PAGES: usize = 12;

/// Entry flags: present; present and writable.
const READ_ONLY: u64 = 1;
const WRITABLE: u64 = 3;
/// Lowest number of a frame that no machine has.
const NO_FRAME: u64 = 1 << 36;

/// The pages that all vCPUs work on.
#[derive(Debug)]
pub(crate) struct Pool {
    pages: Vec<Page>,
    frames: Vec<Mfn>,
}

/// One vCPU's requests.
#[derive(Debug)]
pub(crate) struct Storm {
    pool: Arc<Pool>,
    random: Random,
}

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: all requests are about pages of the pool, which nobody reads or writes meanwhile, or are refused.
    unsafe { hypercall(u64::from(number), arguments) }
}

fn update(ptr: u64, val: u64) -> Result<u64, Errno> {
    let request = MmuUpdate { ptr, val };
    issue(
        MMU_UPDATE,
        [
            core::ptr::from_ref(&request).addr() as u64,
            1,
            0,
            u64::from(DOMID_SELF),
            0,
        ],
    )
}

fn extended(cmd: u32, arg1: u64, arg2: u64) -> Result<u64, Errno> {
    let operation = MmuextOp {
        cmd,
        pad0: 0,
        arg1,
        arg2,
    };
    issue(
        MMUEXT_OP,
        [
            core::ptr::from_ref(&operation).addr() as u64,
            1,
            0,
            u64::from(DOMID_SELF),
            0,
        ],
    )
}

fn remap(page: &Page, entry: u64) -> Result<u64, Errno> {
    issue(
        UPDATE_VA_MAPPING,
        [page.address() as u64, entry, UVMF_INVLPG | UVMF_ALL, 0, 0],
    )
}

impl Storm {
    /// The requests of a seed.
    pub(crate) fn new(pool: &Arc<Pool>, seed: u64) -> Self {
        Self {
            pool: Arc::clone(pool),
            random: Random::new(seed),
        }
    }

    /// A frame of the pool, or now and then one that is not ours to use.
    fn frame(&mut self) -> u64 {
        if self.random.one_in(16) {
            return NO_FRAME + self.random.below(1 << 20);
        }
        let index = usize::try_from(self.random.below(PAGES as u64)).unwrap_or(0);
        self.pool.frames[index].0
    }

    /// An entry: mostly with sensible flags.
    fn entry(&mut self) -> u64 {
        let frame = self.frame() << 12;
        match self.random.below(8) {
            0 => 0,
            1 => frame | self.random.below(1 << 12),
            2 => frame | 1 << 63 | READ_ONLY,
            3 => self.random.number() & !1,
            4 | 5 => frame | WRITABLE | 0x64,
            _ => frame | READ_ONLY,
        }
    }

    /// Makes one request; says whether it was taken.
    pub(crate) fn round(&mut self) -> bool {
        let result = match self.random.below(16) {
            0..=3 => {
                let index = usize::try_from(self.random.below(PAGES as u64)).unwrap_or(0);
                let entry = match self.random.below(4) {
                    0 => 0,
                    1 => self.entry(),
                    2 => self.pool.frames[index].0 << 12 | WRITABLE,
                    _ => self.pool.frames[index].0 << 12 | READ_ONLY,
                };
                remap(&self.pool.pages[index], entry)
            }
            4..=7 => {
                let command = if self.random.one_in(8) {
                    self.random.below(8)
                } else {
                    0
                };
                let slot = self.random.below(ENTRIES_PER_TABLE);
                let ptr = self.frame() << 12 | slot << 3 | command;
                // Command 1 sets the M2P, which this kernel reads: it keeps what is there.
                if command == 1 {
                    Err(Errno::EINVAL)
                } else {
                    update(ptr, self.entry())
                }
            }
            8 | 9 => {
                let levels = u64::from(MMUEXT_PIN_L4_TABLE - MMUEXT_PIN_L1_TABLE) + 1;
                let level = u32::try_from(self.random.below(levels)).unwrap_or(0);
                extended(MMUEXT_PIN_L1_TABLE + level, self.frame(), 0)
            }
            10 | 11 => extended(MMUEXT_UNPIN_TABLE, self.frame(), 0),
            12 => extended(MMUEXT_CLEAR_PAGE, self.frame(), 0),
            13 => {
                let source = self.frame();
                extended(MMUEXT_COPY_PAGE, self.frame(), source)
            }
            14 => self.roots_and_flushes(),
            _ => self.descriptors(),
        };
        result.is_ok()
    }

    fn roots_and_flushes(&mut self) -> Result<u64, Errno> {
        match self.random.below(4) {
            0 => extended(MMUEXT_NEW_USER_BASEPTR, self.frame(), 0),
            1 => extended(MMUEXT_NEW_USER_BASEPTR, 0, 0),
            2 => extended(MMUEXT_INVLPG_ALL, self.random.number(), 0),
            _ => extended(MMUEXT_TLB_FLUSH_LOCAL, 0, 0),
        }
    }

    fn descriptors(&mut self) -> Result<u64, Errno> {
        match self.random.below(4) {
            0 => issue(SET_GDT, [0; 5]),
            1 => {
                let slot = self.random.below(ENTRIES_PER_TABLE) << 3;
                issue(
                    UPDATE_DESCRIPTOR,
                    [self.frame() << 12 | slot, self.random.number(), 0, 0, 0],
                )
            }
            _ => {
                let list = [self.frame(), self.frame()];
                let entries = self.random.below(1025);
                issue(SET_GDT, [list.as_ptr().addr() as u64, entries, 0, 0, 0])
            }
        }
    }

    /// Takes back what this vCPU holds by itself: its descriptor table and its user root.
    pub(crate) fn let_go(&self) -> Result<(), Errno> {
        issue(SET_GDT, [0; 5])?;
        extended(MMUEXT_NEW_USER_BASEPTR, 0, 0)?;
        Ok(())
    }
}

impl Pool {
    /// Pages of the heap; nothing without memory.
    pub(crate) fn new() -> Option<Self> {
        let pages: Vec<Page> = (0..PAGES).map_while(|_| Page::zeroed()).collect();
        let frames: Vec<Mfn> = pages
            .iter()
            .filter_map(|page| frame_at(page.address()))
            .collect();
        (frames.len() == PAGES).then_some(Self { pages, frames })
    }

    /// Takes all mappings and pins away; returns how many pages can be mapped writable then.
    pub(crate) fn restore(&self) -> usize {
        let unmapped = self
            .pages
            .iter()
            .filter(|page| remap(page, 0).is_ok())
            .count();
        for frame in &self.frames {
            // Most are not pinned any more.
            let _unpinned = extended(MMUEXT_UNPIN_TABLE, frame.0, 0);
        }
        let both = self.pages.iter().zip(&self.frames);
        let mapped = both
            .filter(|(page, frame)| remap(page, frame.0 << 12 | WRITABLE).is_ok())
            .count();
        unmapped.min(mapped)
    }

    /// Writes and reads every page, once all are restored.
    pub(crate) fn keeps_what_is_written(&mut self) -> bool {
        self.pages.iter_mut().all(|page| {
            page.bytes().fill(0x5a);
            page.bytes().iter().all(|&byte| byte == 0x5a)
        })
    }
}
