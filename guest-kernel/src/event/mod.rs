//! Event channels: ports, their handlers, and the upcall that runs them.
//!
//! An event carries nothing but its port. The upcall clears the port's pending bit, then calls its handler, so an event
//! that comes while the handler runs is seen again. Handlers run with upcalls masked and are short: most set a
//! [`Signal`] that wakes a task.

pub mod fifo;
mod port;
pub(crate) mod shared;
pub mod upcall;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::RawPort;
pub use port::Port;

use crate::hypercall;
use crate::smp::{MAX_VCPUS, VcpuId};
use crate::sync::{Lock, PerVcpu};
#[doc(no_inline)]
pub use crate::task::Signal;

type Handler = Arc<dyn Fn() + Send + Sync>;

/// Handlers by port.
static HANDLERS: Lock<BTreeMap<u32, Handler>> = Lock::new(BTreeMap::new());

/// The ports whose events come to each vCPU. The pending bits of all vCPUs share words: a vCPU that finds another's
/// port pending leaves it to that one.
static HOMES: PerVcpu<[AtomicU64; shared::WORD_BITS]> =
    PerVcpu::new([const { [const { AtomicU64::new(0) }; shared::WORD_BITS] }; MAX_VCPUS]);

/// Notes to which vCPU a port's events come from now on; to none for a port that is closed.
fn set_home(port: RawPort, home: Option<VcpuId>) {
    let Some((word, bit)) = place(port) else {
        return;
    };
    for vcpu in (0..MAX_VCPUS).filter_map(VcpuId::new) {
        if home == Some(vcpu) {
            HOMES.of(vcpu)[word].fetch_or(bit, Ordering::SeqCst);
        } else {
            HOMES.of(vcpu)[word].fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

/// Closes a port for upcalls; says whether it was open. Events wait until [`unmask`](crate::hypercall::event::unmask).
pub fn mask_port(port: RawPort) -> bool {
    if let Some(word) = fifo::word(port) {
        return fifo::mask(word);
    }
    place(port).is_some_and(|(word, bit)| {
        shared::page().mask[word].fetch_or(bit, Ordering::SeqCst) & bit == 0
    })
}

/// Whether a port is open, by its bit.
fn is_open_in_bitmap(port: RawPort) -> bool {
    place(port)
        .is_some_and(|(word, bit)| shared::page().mask[word].load(Ordering::SeqCst) & bit == 0)
}

/// Masks every port; each is opened when it gets its handler.
pub(crate) fn init() {
    for word in &shared::page().mask {
        word.store(u64::MAX, Ordering::SeqCst);
    }
}

fn set_handler(port: RawPort, handler: Handler) {
    HANDLERS.lock().insert(port.0, handler);
}

fn remove_handler(port: RawPort) {
    let handler = HANDLERS.lock().remove(&port.0);
    // Dropped here, outside the lock: it may own anything.
    drop(handler);
}

/// The word and the bit of a port.
fn place(port: RawPort) -> Option<(usize, u64)> {
    let number = usize::try_from(port.0).ok()?;
    let word = number / shared::WORD_BITS;
    (word < shared::WORD_BITS).then_some((word, 1 << (number % shared::WORD_BITS)))
}

/// Address of the page that the hypervisor shares with this domain, for entry code of a kernel's own.
#[must_use]
pub fn shared_page() -> usize {
    core::ptr::from_ref(shared::page()).addr()
}

/// Forgets that a port is pending, for who waits for it by `SCHEDOP_poll` with upcalls masked.
pub(crate) fn clear(port: RawPort) {
    if let Some(word) = fifo::word(port) {
        fifo::clear(word);
    } else if let Some((word, bit)) = place(port) {
        shared::page().pending[word].fetch_and(!bit, Ordering::SeqCst);
    }
}

/// Makes a port pending and opens it: its handler runs on the vCPU that its events come to.
pub(crate) fn raise(port: RawPort) {
    if let Some(word) = fifo::word(port) {
        fifo::set_pending(word);
    } else if let Some((word, bit)) = place(port) {
        shared::page().pending[word].fetch_or(bit, Ordering::SeqCst);
    }
    // Only a number that can be no port is refused.
    let _opened = hypercall::event::unmask(port);
}

/// The upcall: runs the handlers of all pending ports of this vCPU. Upcalls are masked.
pub(crate) fn dispatch() {
    if fifo::drain(run_handler) {
        return;
    }
    let info = shared::vcpu_info();
    // The pending byte is cleared before the selector is read: an event after that sets it again.
    while info.upcall_pending.swap(0, Ordering::SeqCst) != 0 {
        for word in bits(info.pending_sel.swap(0, Ordering::SeqCst)) {
            let page = shared::page();
            let open = page.pending[word].load(Ordering::SeqCst)
                & !page.mask[word].load(Ordering::SeqCst)
                & HOMES.here()[word].load(Ordering::SeqCst);
            for bit in bits(open) {
                page.pending[word].fetch_and(!(1 << bit), Ordering::SeqCst);
                run_handler(word * shared::WORD_BITS + bit);
            }
        }
    }
}

fn run_handler(port: usize) {
    let Ok(port) = u32::try_from(port) else {
        return;
    };
    let handler = HANDLERS.lock().get(&port).cloned();
    if let Some(handler) = handler {
        handler();
    }
}

/// Numbers of the bits that are set, lowest first.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    (0..shared::WORD_BITS).filter(move |bit| word >> bit & 1 != 0)
}
