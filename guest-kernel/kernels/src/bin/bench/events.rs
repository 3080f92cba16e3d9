//! Rows of events: sending one, and taking it by an upcall.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use guest_kernel::event::{Port, shared_page};
use guest_kernel::hypercall::event;
use hypercall_abi::{RawDomId, RawPort};

use crate::measure::Meter;
use crate::{Failure, entries};

/// Where the pending bits lie in the shared page; those of the first vCPU's words follow its start.
const PENDING: usize = 0x800;
const MASK: usize = 0x0001;
const SELECTOR: usize = 0x0008;

fn word(offset: usize) -> &'static AtomicU64 {
    let address = core::ptr::with_exposed_provenance(shared_page() + offset);
    // SAFETY: the shared page is mapped for ever, consists of atomics, and the offset is of an aligned word in it.
    unsafe { &*address }
}

fn byte(offset: usize) -> &'static AtomicU8 {
    let address = core::ptr::with_exposed_provenance(shared_page() + offset);
    // SAFETY: as above.
    unsafe { &*address }
}

/// A port that is open and whose events this domain sends itself, by its other end.
fn loopback() -> Result<(RawPort, RawPort), Failure> {
    let receiver = event::alloc_unbound(RawDomId::SELF, RawDomId::SELF)?;
    let sender = event::bind_interdomain(RawDomId::SELF, receiver)?;
    Ok((receiver, sender))
}

pub(crate) fn measure(meter: Meter) -> Result<(), Failure> {
    let (receiver, sender) = loopback()?;
    let receiver = Port::adopt(receiver);
    receiver.set_handler(|| {})?;
    let number = usize::try_from(receiver.number().0).map_err(|_| Failure::Memory)?;
    let pending = word(PENDING + number / 64 * 8);
    let keep = !(1 << (number % 64));
    let quiet = || {
        pending.fetch_and(keep, Ordering::SeqCst);
        word(SELECTOR).store(0, Ordering::SeqCst);
        byte(0).store(0, Ordering::SeqCst);
    };
    let send = || {
        let _sent = event::send(sender);
    };
    meter.measure_from("event send to self", 1, quiet, send);

    entries::VCPU_INFO.store(shared_page() as u64, Ordering::Relaxed);
    entries::PENDING_WORD.store(
        core::ptr::from_ref(pending).addr() as u64,
        Ordering::Relaxed,
    );
    entries::PENDING_KEEP.store(keep, Ordering::Relaxed);
    entries::take_upcalls()?;
    let open = || {
        quiet();
        byte(MASK).store(0, Ordering::SeqCst);
    };
    meter.measure_from("event delivery to upcall and back", 1, open, send);
    byte(MASK).store(1, Ordering::SeqCst);
    core::mem::forget(receiver);
    Ok(())
}
