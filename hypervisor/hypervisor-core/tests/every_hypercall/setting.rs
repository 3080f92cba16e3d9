//! Places in the first domain's memory, and a second domain.

use hypercall_abi::control::domain::DomainCreate;
use hypercall_abi::memory::{MemoryReservation, XENMEM_POPULATE_PHYSMAP};
use hypercall_abi::{GuestPtr, RawDomId, number};
use hypervisor_core::fake::bench::{BASE, Bench, DATA, Ended};

/// Lists and buffers, behind the structure at [`DATA`].
pub(crate) const LIST: u64 = DATA + 0x800;
/// A page with nothing else on it.
pub(crate) const PAGE: u64 = BASE + 0x5000;
/// Two such pages.
pub(crate) const BIG: u64 = BASE + 0x6000;
/// The second domain.
pub(crate) const SECOND: RawDomId = RawDomId(3);
pub(crate) const SELF: u64 = 0x7ff0;

/// Makes the second domain.
pub(crate) fn create(bench: &mut Bench) {
    let made = bench.control(|request: &mut DomainCreate| {
        (request.domid, request.max_vcpus) = (SECOND, 2);
        (request.max_frames, request.weight) = (64, 256);
    });
    made.expect("there is room");
}

pub(crate) fn reservation(domid: RawDomId, count: u64, order: u32) -> MemoryReservation {
    MemoryReservation {
        extent_start: GuestPtr::new(LIST),
        nr_extents: count,
        extent_order: order,
        domid,
        ..MemoryReservation::default()
    }
}

/// Makes the second domain with some frames.
pub(crate) fn create_with(bench: &mut Bench, count: u64) -> Vec<u64> {
    create(bench);
    bench.write(LIST, &core::array::from_fn::<u64, 8, _>(|n| n as u64));
    bench.write(DATA, &reservation(SECOND, count, 0));
    let arguments = [XENMEM_POPULATE_PHYSMAP.into(), DATA, 0, 0, 0];
    let done = bench.hypercall(number::MEMORY_OP, arguments);
    assert_eq!(done, Ended::Result(count));
    let frames: [u64; 8] = bench.read(LIST);
    frames[..usize::try_from(count).expect("few")].to_vec()
}

/// Makes a hypercall that has to succeed.
pub(crate) fn call(bench: &mut Bench, number: u32, arguments: [u64; 5]) {
    let ended = bench.hypercall(number, arguments);
    assert_eq!(ended, Ended::Result(0), "hypercall {number}");
}
