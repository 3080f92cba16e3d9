//! Copies between the hypervisor and the live address space of the guest that runs on this CPU.
//!
//! The caller has checked that the range is the guest's; whether it is mapped, and writable, the CPU itself tells by a
//! fault, which the fix-up table turns into a short count. CR0.WP makes read-only leaves fault for us too. Where SMAP
//! is on it is lifted for just these instructions.

use crate::cpu::features;
use crate::mem::fixup::fixup;
use core::arch::asm;
use hypervisor_core::machine::GuestFault;
use zerocopy::IntoBytes;

/// Loads words of a guest, and tells whether that has faulted.
macro_rules! load_words {
    ($from:expr, $($word:ident $offset:literal $label:literal),*) => {{
        let faulted: u32;
        $(let $word: u64;)*
        // SAFETY: reads; a fault goes on at label 4, which is out of the way.
        unsafe {
            asm!(
                "xor {faulted:e}, {faulted:e}",
                $(concat!($label, ": mov {", stringify!($word), "}, [{from} + ", $offset, "]"),)*
                "5:",
                ".pushsection .text.faults, \"ax\"",
                "4: mov {faulted:e}, 1",
                "jmp 5b",
                ".popsection",
                $(fixup!(concat!($label, "b"), "4b"),)*
                from = in(reg) $from,
                faulted = out(reg) faulted,
                $($word = out(reg) $word,)*
                options(nostack, readonly),
            );
        }
        let loaded = [$($word),*];
        let words = core::array::from_fn(|index| loaded.get(index).copied().unwrap_or(0));
        (words, faulted != 0)
    }};
}

/// Stores words to a guest's memory; true if that faults.
macro_rules! store_words {
    ($to:expr, $($word:ident $offset:literal $label:literal),*) => {'stored: {
        // SAFETY: the caller of `Machine::copy_out_words` has checked that the target is in the guest's part of the address
        // space, where nothing of ours lies; a fault there goes on at the label.
        unsafe {
            asm!(
                $(concat!($label, ": mov [{to} + ", $offset, "], {", stringify!($word), "}"),)*
                $(fixup!(concat!($label, "b"), "{faulted}"),)*
                to = in(reg) $to,
                $($word = in(reg) $word,)*
                faulted = label { break 'stored true },
                options(nostack),
            );
        }
        false
    }};
}

/// Reads guest memory.
pub(crate) fn copy_in(from: u64, to: &mut [u8]) -> Result<(), GuestFault> {
    // SAFETY: the target is ours and writable; faults at the source are fixed up.
    let missed = unsafe { copy(to.as_mut_ptr(), from as *const u8, to.len()) };
    outcome(from, to.len(), missed)
}

/// Writes guest memory.
pub(crate) fn copy_out(to: u64, from: &[u8]) -> Result<(), GuestFault> {
    // SAFETY: the caller of `Machine::copy_out` has checked that the target is in the guest's part of the address space,
    // where nothing of ours lies; faults there are fixed up.
    let missed = unsafe { copy(to as *mut u8, from.as_ptr(), from.len()) };
    outcome(to, from.len(), missed)
}

/// Reads a few words, by a move each where the interface has structures of so many. The words that are read go on as they
/// are, so they never lie in memory of ours.
#[inline(always)]
pub(crate) fn copy_in_words<const N: usize>(from: u64) -> Result<[u64; N], GuestFault> {
    let smap = lift_smap();
    let (words, faulted) = match N {
        9 => {
            load_words!(from, a 0 "20", b 8 "21", c 16 "22", d 24 "23", e 32 "24", f 40 "25", g 48 "26", h 56 "27", i 64 "28")
        }
        8 => {
            load_words!(from, a 0 "20", b 8 "21", c 16 "22", d 24 "23", e 32 "24", f 40 "25", g 48 "26", h 56 "27")
        }
        1 => load_words!(from, a 0 "20"),
        _ => ([0; N], true),
    };
    restore_smap(smap);
    if faulted {
        return copy_in_anyhow(from);
    }
    Ok(words)
}

/// [`copy_in`] for words.
#[cold]
#[inline(never)]
fn copy_in_anyhow<const N: usize>(from: u64) -> Result<[u64; N], GuestFault> {
    let mut words = [0; N];
    copy_in(from, words.as_mut_bytes())?;
    Ok(words)
}

/// Writes a few words, by a move each where frames for guests have so many.
#[inline(always)]
pub(crate) fn copy_out_words<const N: usize>(to: u64, words: [u64; N]) -> Result<(), GuestFault> {
    let smap = lift_smap();
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let faulted = match N {
        1 => {
            let [a] = core::array::from_fn(word);
            store_words!(to, a 0 "20")
        }
        7 => {
            let [a, b, c, d, e, f, g] = core::array::from_fn(word);
            store_words!(to, a 0 "20", b 8 "21", c 16 "22", d 24 "23", e 32 "24", f 40 "25", g 48 "26")
        }
        8 => {
            let [a, b, c, d, e, f, g, h] = core::array::from_fn(word);
            store_words!(to, a 0 "20", b 8 "21", c 16 "22", d 24 "23", e 32 "24", f 40 "25", g 48 "26", h 56 "27")
        }
        _ => true,
    };
    restore_smap(smap);
    if faulted {
        return copy_out_anyhow(to, words);
    }
    Ok(())
}

/// [`copy_out`] for words.
#[cold]
#[inline(never)]
fn copy_out_anyhow<const N: usize>(to: u64, words: [u64; N]) -> Result<(), GuestFault> {
    copy_out(to, words.as_bytes())
}

fn outcome(start: u64, length: usize, missed: usize) -> Result<(), GuestFault> {
    if missed == 0 {
        return Ok(());
    }
    let done = length - missed;
    Err(GuestFault {
        address: start + done as u64,
        done,
    })
}

/// Copies, and gives the number of bytes that could not be copied.
///
/// # Safety
/// Whatever of the two ranges is not guest memory must be mapped, and ours to read or write.
#[inline(always)]
unsafe fn copy(target: *mut u8, source: *const u8, length: usize) -> usize {
    let smap = lift_smap();
    let missed = match length {
        // SAFETY: the caller's promise.
        4 => unsafe { copy_half(target, source) },
        // SAFETY: as above.
        8 => unsafe { copy_word(target, source) },
        // SAFETY: as above.
        _ => unsafe { copy_any(target, source, length) },
    };
    restore_smap(smap);
    missed
}

/// Lifts SMAP, if the CPU has it; true then.
#[inline(always)]
fn lift_smap() -> bool {
    let smap = features::smap();
    if smap {
        // SAFETY: the CPU has SMAP; `restore_smap` follows at once.
        unsafe { asm!("stac", options(nomem, nostack)) };
    }
    smap
}

/// Ends what `lift_smap` began.
#[inline(always)]
fn restore_smap(smap: bool) {
    if smap {
        // SAFETY: the CPU has SMAP.
        unsafe { asm!("clac", options(nomem, nostack)) };
    }
}

macro_rules! copy_by_one_move {
    ($name:ident, $register:literal, $bytes:literal) => {
        /// Copies by one move. Where that faults, the rest is for [`copy_any`] to find.
        ///
        /// # Safety
        /// As [`copy`].
        #[inline(always)]
        unsafe fn $name(target: *mut u8, source: *const u8) -> usize {
            let missed: usize;
            // SAFETY: the caller's promise; a fault goes on at label 4.
            unsafe {
                asm!(
                    concat!("2: mov ", $register, ", [{source}]"),
                    concat!("3: mov [{target}], ", $register),
                    "xor eax, eax",
                    "4:",
                    fixup!("2b", "4b"),
                    fixup!("3b", "4b"),
                    source = in(reg) source,
                    target = in(reg) target,
                    inlateout("rax") $bytes as usize => missed,
                    out("rdx") _,
                    options(nostack),
                );
            }
            if missed == 0 {
                return 0;
            }
            // SAFETY: as above.
            unsafe { copy_any(target, source, $bytes) }
        }
    };
}

copy_by_one_move!(copy_half, "edx", 4);
copy_by_one_move!(copy_word, "rdx", 8);

/// Copies any number of bytes.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_any(target: *mut u8, source: *const u8, length: usize) -> usize {
    let missed: usize;
    // Words first; where one faults, the rest goes by bytes, to find the very byte that cannot be reached.
    // SAFETY: the caller's promise; faults go on at label 4 or 5.
    unsafe {
        asm!(
            "2: rep movsq",
            "mov rcx, {tail}",
            "3: rep movsb",
            "jmp 5f",
            "4: lea rcx, [{tail} + rcx * 8]",
            "jmp 3b",
            "5:",
            fixup!("2b", "4b"),
            fixup!("3b", "5b"),
            tail = in(reg) length % 8,
            inout("rcx") length / 8 => missed,
            inout("rdi") target => _,
            inout("rsi") source => _,
            options(nostack, preserves_flags),
        );
    }
    missed
}
