//! The pool: all frames that guests and policy may touch, split off once at the end of boot.
//!
//! They are reached through the direct map, by atomic accesses and by copies that the compiler cannot see into, since
//! guests write at any time. Whatever the policy asks for, a frame outside the pool is never touched.

use crate::boot::memory_map::PhysRange;
use crate::mem::layout::{PAGE, direct};
use core::arch::asm;
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use hypervisor_core::ids::Mfn;
use hypervisor_core::machine::Words;

/// Most ranges of the pool.
pub(crate) const MAX_RANGES: usize = 32;

/// The pool: bit n of these words is frame n, so that one look tells, wherever the frame lies.
static WORDS: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());
/// How many words there are; set last.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

#[inline(always)]
fn has(frame: Mfn) -> bool {
    let index = (frame.get() / 64) as usize;
    if index >= LENGTH.load(Ordering::Acquire) {
        return false;
    }
    // SAFETY: `split_off` has set the pointer to so many words.
    let word = unsafe { WORDS.load(Ordering::Relaxed).add(index) };
    // SAFETY: as above; nobody changes them any more.
    let word = unsafe { *word };
    word >> (frame.get() % 64) & 1 != 0
}

/// Makes these ranges, of whole frames, the pool. The boot modules are among them: they are read as slices until the policy
/// is told of their frames, and never after.
pub(crate) fn split_off(ranges: &[PhysRange]) {
    assert!(
        LENGTH.load(Ordering::Acquire) == 0,
        "the pool is split off once"
    );
    let frames = |range: &PhysRange| range.start / PAGE..range.end / PAGE;
    let end = ranges.iter().map(|range| frames(range).end).max();
    let mut words = alloc::vec![0; end.unwrap_or(0).div_ceil(64) as usize];
    for frame in ranges.iter().flat_map(frames) {
        words[(frame / 64) as usize] |= 1 << (frame % 64);
    }
    let words = words.leak();
    WORDS.store(words.as_mut_ptr(), Ordering::Relaxed);
    // Release: who sees the length sees the words.
    LENGTH.store(words.len(), Ordering::Release);
}

/// Address of `length` bytes at `offset` of a frame.
#[inline(always)]
fn bytes(frame: Mfn, offset: usize, length: usize) -> *mut u8 {
    let offset = offset as u64;
    let fits = offset
        .checked_add(length as u64)
        .is_some_and(|end| end <= PAGE);
    if !fits || !has(frame) {
        outside(frame);
    }
    (direct(frame.address()) + offset) as *mut u8
}

#[cold]
fn outside(frame: Mfn) -> ! {
    panic!("not inside a frame of the pool: {frame}");
}

const _: () = assert!(size_of::<Words>() == PAGE as usize);

/// An aligned word of a frame.
#[inline(always)]
fn word<T>(frame: Mfn, offset: usize) -> *mut T {
    assert!(offset.is_multiple_of(align_of::<T>()), "not aligned");
    bytes(frame, offset, size_of::<T>()).cast()
}

macro_rules! atomics {
    ($($name:ident: $atomic:ty, $integer:ty;)*) => {$(
        #[doc = concat!("The word at `offset` of a frame, as `", stringify!($atomic), "`.")]
        #[inline(always)]
        pub(crate) fn $name(frame: Mfn, offset: usize) -> &'static $atomic {
            let word = word::<$integer>(frame, offset);
            // SAFETY: checked to be aligned, inside a frame of the pool, which the direct map has for ever; no reference
            // but to atomics is ever made into the pool.
            unsafe { <$atomic>::from_ptr(word) }
        }
    )*};
}

atomics! {
    atomic_u8: AtomicU8, u8;
    atomic_u16: AtomicU16, u16;
    atomic_u32: AtomicU32, u32;
    atomic_u64: AtomicU64, u64;
}

/// A frame's words.
#[inline(always)]
pub(crate) fn words(frame: Mfn) -> &'static Words {
    let words = bytes(frame, 0, PAGE as usize).cast::<Words>();
    // SAFETY: a whole frame of the pool, aligned, which the direct map has for ever; no reference but to atomics is ever
    // made into the pool.
    unsafe { &*words }
}

/// Copies bytes out of a frame.
pub(crate) fn read(frame: Mfn, offset: usize, to: &mut [u8]) {
    let source = bytes(frame, offset, to.len());
    // SAFETY: the source is checked to be in the pool, the target is a slice of ours; they do not overlap.
    unsafe { copy(to.as_mut_ptr(), source, to.len()) };
}

/// Copies bytes into a frame.
pub(crate) fn write(frame: Mfn, offset: usize, from: &[u8]) {
    let target = bytes(frame, offset, from.len());
    // SAFETY: as in `read`.
    unsafe { copy(target, from.as_ptr(), from.len()) };
}

/// Copies a whole frame.
pub(crate) fn copy_frame(from: Mfn, to: Mfn) {
    let length = PAGE as usize;
    // SAFETY: both are checked to be in the pool; a frame copied onto itself stays what it is.
    unsafe { copy(bytes(to, 0, length), bytes(from, 0, length), length) };
}

/// Fills a frame with zeros.
pub(crate) fn scrub(frame: Mfn) {
    let target = bytes(frame, 0, PAGE as usize);
    // SAFETY: a whole frame of the pool, aligned; the flags are as the ABI has them, so it counts upwards.
    unsafe {
        asm!(
            "rep stosq",
            inout("rcx") PAGE / 8 => _,
            inout("rdi") target => _,
            in("rax") 0_u64,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies as `memcpy` does, out of the compiler's sight.
///
/// # Safety
/// Both ranges must be mapped, and the target may be written.
unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {tail}",
            "rep movsb",
            tail = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rdi") target => _,
            inout("rsi") source => _,
            options(nostack, preserves_flags),
        );
    }
}
