//! Which vCPU runs this code: a block per vCPU at its kernel GS base.

use core::cell::UnsafeCell;
use core::mem::offset_of;

use crate::hypercall::{self, segment, word};

/// vCPUs that this library can use: those whose `vcpu_info` lies in the shared page.
pub const MAX_VCPUS: usize = 32;

/// Number of a vCPU of this domain, below [`MAX_VCPUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VcpuId(u8);

impl VcpuId {
    /// The vCPU on which the kernel starts.
    pub const BOOT: Self = Self(0);

    /// The vCPU with this number, if the library can use it.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number)
            .ok()
            .filter(|_| number < MAX_VCPUS)
            .map(Self)
    }

    /// The number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The number as hypercalls want it.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }
}

/// What lies at a vCPU's GS base. Only the vCPU itself uses its block.
#[repr(C, align(64))]
struct Block {
    number: UnsafeCell<u64>,
    /// Stack pointer to which an entry from user mode returns (`trap/entry.s`).
    user_return: UnsafeCell<u64>,
}

/// SAFETY: each block is read and written by its own vCPU only, after its number was stored at compile time.
unsafe impl Sync for Block {}

/// Offset of `Block::user_return`, for the entry code.
pub(crate) const USER_RETURN_OFFSET: usize = offset_of!(Block, user_return);

static BLOCKS: [Block; MAX_VCPUS] = {
    let mut blocks = [const {
        Block {
            number: UnsafeCell::new(0),
            user_return: UnsafeCell::new(0),
        }
    }; MAX_VCPUS];
    let mut index = 0;
    while index < MAX_VCPUS {
        blocks[index].number = UnsafeCell::new(index as u64);
        index += 1;
    }
    blocks
};

/// Address of a vCPU's block, for its first context.
pub(crate) fn block_address(vcpu: VcpuId) -> usize {
    core::ptr::from_ref(&BLOCKS[vcpu.index()]).addr()
}

/// Makes this vCPU known as `vcpu`; the first thing that a vCPU does.
pub(crate) fn adopt(vcpu: VcpuId) {
    // SAFETY: the block is the one of this vCPU, and static.
    let set = unsafe { segment::set_kernel_gs_base(block_address(vcpu)) };
    debug_assert!(set.is_ok(), "the address of a static is canonical");
}

/// The vCPU that runs this code.
#[inline]
#[must_use]
pub fn current() -> VcpuId {
    // SAFETY: `adopt` ran first on this vCPU; the number is the block's first word.
    let number = unsafe { hypercall::read_gs::<0>() };
    VcpuId::new(word(number)).unwrap_or(VcpuId::BOOT)
}
