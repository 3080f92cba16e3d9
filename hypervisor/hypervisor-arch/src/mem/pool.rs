//! The pool: all frames that guests and policy may touch, split off once at the end of boot.
//!
//! They are reached through a map that has nothing but them, by atomic accesses and by copies that the compiler cannot see
//! into, since guests write at any time. Whatever the policy asks for, a frame outside the pool is never touched: nothing is
//! mapped there, and the CPU's own page tables see it, at no cost.

use crate::mem::layout::{DIRECT_MAP_SIZE, PAGE, POOL_MAP};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use hypervisor_core::ids::{Mfn, Place};
use hypervisor_core::machine::Words;

/// Most ranges of the pool.
pub(crate) const MAX_RANGES: usize = 32;

/// Frames that the map of the pool has room for.
const FRAMES: u64 = DIRECT_MAP_SIZE / PAGE;

/// Address of `length` bytes at `offset` of a frame.
#[inline(always)]
fn bytes(frame: Mfn, offset: usize, length: usize) -> *mut u8 {
    let offset = offset as u64;
    let fits = offset
        .checked_add(length as u64)
        .is_some_and(|end| end <= PAGE);
    if !fits || frame.get() >= FRAMES {
        outside(frame);
    }
    (POOL_MAP + frame.address() + offset) as *mut u8
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
            // SAFETY: aligned and inside a frame, as checked, in the map of the pool. That has a frame for ever, or never: then
            // the access faults, which ends the hypervisor. No reference but to atomics is ever made into the pool.
            unsafe { <$atomic>::from_ptr(word) }
        }
    )*};
}

atomics! {
    atomic_u16: AtomicU16, u16;
    atomic_u32: AtomicU32, u32;
    atomic_u64: AtomicU64, u64;
}

/// A frame's words.
#[inline(always)]
pub(crate) fn words(frame: Mfn) -> &'static Words {
    let words = bytes(frame, 0, PAGE as usize).cast::<Words>();
    // SAFETY: a whole frame in the map of the pool, aligned; see `atomics`.
    unsafe { &*words }
}

/// The byte at a place.
#[inline(always)]
pub(crate) fn byte(at: Place) -> &'static AtomicU8 {
    // SAFETY: in the map of the pool, as checked, and see `atomics`.
    unsafe { AtomicU8::from_ptr(address(at)) }
}

/// The two bytes at a place.
#[inline(always)]
pub(crate) fn pair(at: Place) -> &'static AtomicU16 {
    assert!(at.address().is_multiple_of(2), "not aligned");
    // SAFETY: as for `byte`, and checked to be aligned.
    unsafe { AtomicU16::from_ptr(address(at).cast()) }
}

/// The eight bytes at a place.
#[inline(always)]
pub(crate) fn word_at(at: Place) -> &'static AtomicU64 {
    assert!(at.address().is_multiple_of(8), "not aligned");
    // SAFETY: as for `pair`.
    unsafe { AtomicU64::from_ptr(address(at).cast()) }
}

#[inline(always)]
fn address(at: Place) -> *mut u8 {
    if at.address() >= DIRECT_MAP_SIZE {
        outside(at.frame());
    }
    (POOL_MAP + at.address()) as *mut u8
}

/// Copies bytes out of a frame.
pub(crate) fn read(frame: Mfn, offset: usize, to: &mut [u8]) {
    let source = bytes(frame, offset, to.len());
    // SAFETY: the source is in the map of the pool, or faults; the target is a slice of ours; they do not overlap.
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
    // SAFETY: both are in the map of the pool, or fault; a frame copied onto itself stays what it is.
    unsafe { copy(bytes(to, 0, length), bytes(from, 0, length), length) };
}

/// Fills a frame with zeros.
pub(crate) fn scrub(frame: Mfn) {
    let target = bytes(frame, 0, PAGE as usize);
    // SAFETY: a whole frame in the map of the pool, aligned, or a fault; the flags are as the ABI has them, so it counts upwards.
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
/// Both ranges must be mapped or in the map of the pool, and the target may be written.
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
