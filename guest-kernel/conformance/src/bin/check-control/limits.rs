//! Where things end: memory, numbers of mappings, and ports for a device's interrupt.

use guest_conformance::errno::{ENODEV, ENOMEM, ENOSPC};
use guest_conformance::fixture::{Frame, close, own_number, read};
use guest_conformance::{SELF, address_of, call, prepare, seen};
use guest_kernel::paging::{Access, Mapping, Mfn};
use hypercall_abi::memory::XENMEM_POPULATE_PHYSMAP;
use hypercall_abi::number::{EVENT_CHANNEL_OP, GRANT_TABLE_OP, MEMORY_OP};
use hypercall_abi::table::prelude::*;

use super::{BIND_PIRQ, Suite, has_msix, prepared, result};

/// A domain that owns all memory that nobody else has.
struct Hog(RawDomId);

/// Entries of the own table that are free for this, up to the end of its first frame.
const FIRST_ENTRY: u64 = 100;
const ENTRIES: u64 = 512;

/// `GNTMAP_device_map`.
const DEVICE: u64 = 1;

const NO_SPACE: i64 = -13;

/// Extents that are asked for at once.
const EXTENTS: u64 = 64;

impl Hog {
    fn take() -> Option<Self> {
        let frames = prepared(HostInfo::default())?.total_frames;
        let made = prepared(DomainCreate {
            domid: RawDomId::INVALID,
            max_vcpus: 1,
            max_frames: frames,
            weight: 256,
            ..DomainCreate::default()
        })?;
        let mut page = 0;
        for extent_order in (0..=9).rev() {
            while populate(made.domid, extent_order, page) > 0 {
                page += EXTENTS << extent_order;
            }
            page += EXTENTS << extent_order;
        }
        Some(Self(made.domid))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        prepared(DomainDestroy {
            domid: self.0,
            ..DomainDestroy::default()
        });
    }
}

/// Gives a domain frames from this page on; how many extents it got.
fn populate(domid: RawDomId, extent_order: u32, first: u64) -> i64 {
    let mut list = [0_u64; 64];
    for (place, index) in list.iter_mut().zip(0..) {
        *place = first + (index << extent_order);
    }
    let request = MemoryReservation {
        extent_start: GuestPtr::new(address_of(&list)),
        nr_extents: EXTENTS,
        extent_order,
        domid,
        ..MemoryReservation::default()
    };
    let populate = [XENMEM_POPULATE_PHYSMAP.into(), address_of(&request)];
    prepare(MEMORY_OP, &populate)
}

pub(super) fn checks(suite: &Suite) {
    memory(suite);
    mappings(suite);
    ports(suite);
}

fn memory(suite: &Suite) {
    suite.check("domain_create.no-memory", ENOMEM, || {
        let _hog = Hog::take();
        result(DomainCreate {
            domid: RawDomId::INVALID,
            max_vcpus: 1,
            max_frames: 64,
            weight: 256,
            ..DomainCreate::default()
        })
    });
    suite.check("exchange.no-memory", (ENOMEM, 0), || {
        let frame = Frame::take();
        frame.unmap();
        let _hog = Hog::take();
        let (given, wanted) = ([frame.mfn], [40_u64]);
        let one = |list: &[u64; 1]| [address_of(list), 1, 0, SELF];
        let ([a, b, c, d], [e, f, g, h]) = (one(&given), one(&wanted));
        let place = [a, b, c, d, e, f, g, h, 0];
        let result = call(MEMORY_OP, &[11, address_of(&place)]);
        (result, seen(read(address_of(&place) + 64)))
    });
}

/// An entry may be mapped some hundred times, and a domain may have some thousand mappings.
fn mappings(suite: &Suite) {
    suite.check("map.no-number-left", (0, NO_SPACE), || {
        let own = own_number();
        let frames = [0_u64; 1];
        let setup = [SELF | 1 << 32, 0, address_of(&frames)];
        prepare(GRANT_TABLE_OP, &[2, address_of(&setup), 1]);
        let Ok(mapping) = Mapping::new(&[Mfn(read(address_of(&frames)))], Access::ReadWrite) else {
            return (ENODEV, 0);
        };
        let table = Frame {
            address: mapping.address() as u64,
            mfn: 0,
        };
        let lent = Frame::take();
        // Each entry until it can be mapped no more often, and the next one until no entry can.
        let mut last = 0;
        for entry in FIRST_ENTRY..ENTRIES {
            table.set_word(entry, lent.mfn << 32 | own << 16 | 1);
            let before = last;
            let request = [0, DEVICE | entry << 32, own, 0];
            while let (_, 0, handle) = map(&request, prepare) {
                last = handle.max(last);
            }
            if last == before {
                break;
            }
        }
        let entry = ENTRIES - 1;
        table.set_word(entry, lent.mfn << 32 | own << 16 | 1);
        let (result, status, _) = map(&[0, DEVICE | entry << 32, own, 0], call);
        for handle in 0..=last {
            let place = [0, lent.mfn << 12, handle];
            prepare(GRANT_TABLE_OP, &[1, address_of(&place), 1]);
        }
        (result, seen(status))
    });
}

/// Maps by a call: result, status and handle.
fn map(request: &[u64; 4], make: fn(u32, &[u64]) -> i64) -> (i64, i64, u64) {
    let place = *request;
    let result = make(GRANT_TABLE_OP, &[0, address_of(&place), 1]);
    let out = read(address_of(&place) + 16);
    let [_, _, low, high, ..] = out.to_ne_bytes();
    (result, i16::from_ne_bytes([low, high]).into(), out >> 32)
}

fn ports(suite: &Suite) {
    suite.check("bind_pirq.no-port-left", ENOSPC, || {
        let bound = (0..32).find(|&device| has_msix(device)).and_then(|device| {
            prepared(MsixBind {
                device,
                ..MsixBind::default()
            })
        });
        let Some(bound) = bound else {
            return ENODEV;
        };
        let waiting = [SELF | SELF << 16];
        while prepare(EVENT_CHANNEL_OP, &[6, address_of(&waiting)]) == 0 {}
        let place = [u64::from(bound.pirq), 0];
        let answer = call(EVENT_CHANNEL_OP, &[BIND_PIRQ, address_of(&place)]);
        // Ports that wait are nobody else's here.
        (1..4096).filter(|&port| waits(port)).for_each(close);
        answer
    });
}

/// Whether a port waits to be bound.
fn waits(port: u32) -> bool {
    let place = [u64::from(port) << 32 | SELF, 0, 0];
    prepare(EVENT_CHANNEL_OP, &[5, address_of(&place)]);
    read(address_of(&place) + 8) & 0xffff_ffff == 1
}
