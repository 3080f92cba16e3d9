//! Which root this CPU walks: our own, or a guest's.

use crate::mem::layout::SLOTS;
use crate::mem::own_tables::OwnTables;
use core::arch::asm;
use hypervisor_core::ids::Mfn;
use spin::Once;

/// Our own root, and what every root has of us.
#[derive(Debug)]
struct OwnRoot {
    physical: u64,
    slots: [u64; SLOTS],
}

static OWN: Once<OwnRoot> = Once::new();

/// Makes these the hypervisor's tables for good. Their slots are complete: later changes are below them.
pub(crate) fn adopt(tables: &OwnTables) {
    OWN.call_once(|| OwnRoot {
        physical: tables.root(),
        slots: tables.slots(),
    });
}

fn own() -> &'static OwnRoot {
    OWN.get()
        .expect("boot makes the tables before it loads them")
}

/// The hypervisor's entries of every root.
pub(crate) fn slots() -> [u64; SLOTS] {
    own().slots
}

/// Loads our own root on this CPU, without any guest's memory.
pub(crate) fn load() {
    // SAFETY: it maps the hypervisor where it runs.
    unsafe { load_cr3(own().physical) };
}

/// Loads a guest's root on this CPU.
pub(crate) fn load_guest(root: Mfn) {
    // SAFETY: policy gives promoted roots only, in which it has put `slots`: the hypervisor is where it was.
    unsafe { load_cr3(root.address()) };
}

/// Loads a root and flushes all translations.
///
/// # Safety
/// It must map the hypervisor as our own does.
unsafe fn load_cr3(root: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}
