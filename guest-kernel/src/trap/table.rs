//! The trap table and the callbacks of a vCPU.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::trap::{CALLBACKTYPE_EVENT, CALLBACKTYPE_SYSCALL, FLAT_KERNEL_CS};
use hypercall_abi::trap::{TI_MASK_EVENTS, TrapInfo};

use super::frame::{STUB_STRIDE, SYSTEM_CALL, UPCALL};
use crate::hypercall::{self, Errno};

unsafe extern "C" {
    static trap_stubs: u8;
}

/// Vectors that have an entry from the start: the exceptions.
const EXCEPTIONS: u8 = 32;

/// Vectors beyond the exceptions that [`open_gate`] opened, for vCPUs that start later (bit n = vector 0x80 + n).
static OPENED: AtomicU64 = AtomicU64::new(0);

/// First of the vectors that can be opened.
const FIRST_GATE: u8 = 0x80;

/// Address of the stub with this number.
fn stub(number: u64) -> u64 {
    let base = (&raw const trap_stubs).addr() as u64;
    base + number * STUB_STRIDE
}

/// Address of the stub for a callback, [`UPCALL`] or [`SYSTEM_CALL`].
pub(crate) fn callback_address(number: u64) -> u64 {
    stub(number)
}

fn entry(vector: u8, privilege: u8) -> TrapInfo {
    TrapInfo {
        vector,
        flags: TI_MASK_EVENTS | privilege,
        cs: FLAT_KERNEL_CS,
        pad0: 0,
        address: stub(u64::from(vector)),
    }
}

/// The privilege that `int n` needs: breakpoint and overflow are open to user mode.
fn privilege(vector: u8) -> u8 {
    if matches!(vector, 3 | 4) { 3 } else { 0 }
}

/// All entries of a trap table, for a vCPU that is about to start.
pub(crate) fn entries() -> impl Iterator<Item = TrapInfo> {
    let opened = OPENED.load(Ordering::Relaxed);
    let gates = (0..64_u8)
        .filter(move |bit| opened >> bit & 1 != 0)
        .map(|bit| entry(FIRST_GATE + bit, 3));
    (0..EXCEPTIONS)
        .map(|vector| entry(vector, privilege(vector)))
        .chain(gates)
}

/// Gives this vCPU its trap table and its callbacks: once at its start, and again where a kernel had put others there.
pub fn install() {
    let mut table = [TrapInfo::default(); EXCEPTIONS as usize + 1];
    for (slot, info) in table
        .iter_mut()
        .zip(entries().take(usize::from(EXCEPTIONS)))
    {
        *slot = info;
    }
    // SAFETY: all addresses are stubs; the last entry is the end mark.
    let set = unsafe { hypercall::trap::set_trap_table(&table) };
    debug_assert!(set.is_ok(), "stubs are at canonical addresses");
    for (kind, number) in [
        (CALLBACKTYPE_EVENT, UPCALL),
        (CALLBACKTYPE_SYSCALL, SYSTEM_CALL),
    ] {
        // SAFETY: the address is the stub for this callback.
        let registered = unsafe { hypercall::trap::register_callback(kind, stub(number)) };
        debug_assert!(
            registered.is_ok(),
            "both kinds exist on every hypervisor of this ABI"
        );
    }
}

/// Opens `int n` to kernel and user mode on this vCPU and those that start later; its exceptions are then seen by
/// [`probe`](super::probe()) as vector n. For vectors 0x80 to 0xbf.
///
/// # Errors
/// `EINVAL` for another vector, or what the hypervisor answers.
pub fn open_gate(vector: u8) -> Result<(), Errno> {
    let bit = vector
        .checked_sub(FIRST_GATE)
        .filter(|&bit| bit < 64)
        .ok_or(Errno::EINVAL)?;
    // SAFETY: the address is a stub; the second entry is the end mark.
    unsafe { hypercall::trap::set_trap_table(&[entry(vector, 3), TrapInfo::default()]) }?;
    OPENED.fetch_or(1 << bit, Ordering::Relaxed);
    Ok(())
}
