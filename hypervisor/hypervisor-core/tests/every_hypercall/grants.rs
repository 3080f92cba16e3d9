//! `grant_table_op`.

use hypercall_abi::control::grant::GrantSeed;
use hypercall_abi::grant::*;
use hypercall_abi::ids::RawGrantRef;
use hypercall_abi::{GuestPtr, RawDomId, RawMfn, number};
use hypervisor_core::fake::bench::{Bench, DATA};

use super::Arguments;
use super::setting::{BIG, LIST, PAGE, SECOND, call, create, create_with};

const BOTH: u32 = GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP;

/// The second domain lends two frames.
fn lend(bench: &mut Bench) {
    let frames = create_with(bench, 4);
    for (gref, &frame) in (0..2).zip(&frames) {
        let seeded = bench.control(|request: &mut GrantSeed| {
            (request.domid, request.gref) = (SECOND, RawGrantRef(gref));
            request.mfn = RawMfn(frame);
        });
        seeded.expect("a frame of its own");
    }
}

fn mappings() -> [MapGrantRef; 2] {
    [(0, BOTH), (1, GNTMAP_DEVICE_MAP | GNTMAP_READONLY)].map(|(gref, flags)| MapGrantRef {
        host_addr: PAGE,
        flags,
        gref: RawGrantRef(gref),
        dom: SECOND,
        ..MapGrantRef::default()
    })
}

/// Makes two mappings; what the hypervisor told of them.
fn map(bench: &mut Bench) -> [MapGrantRef; 2] {
    lend(bench);
    bench.write(DATA, &mappings());
    let arguments = [GNTTABOP_MAP_GRANT_REF.into(), DATA, 2, 0, 0];
    call(bench, number::GRANT_TABLE_OP, arguments);
    bench.read(DATA)
}

pub(crate) fn prepare(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    let mut count = 1;
    match (operation, variant) {
        (GNTTABOP_MAP_GRANT_REF, 0) => {
            lend(bench);
            bench.write(DATA, &mappings());
            count = 2;
        }
        (GNTTABOP_UNMAP_GRANT_REF, 0) => {
            let requests = map(bench).map(|mapped| UnmapGrantRef {
                host_addr: mapped.host_addr,
                dev_bus_addr: mapped.dev_bus_addr,
                handle: mapped.handle,
                ..UnmapGrantRef::default()
            });
            bench.write(DATA, &requests);
            count = 2;
        }
        (GNTTABOP_SETUP_TABLE, 0 | 1) => {
            create(bench);
            let request = SetupTable {
                dom: [RawDomId::SELF, SECOND][usize::from(variant)],
                nr_frames: 3,
                frame_list: GuestPtr::new(LIST),
                ..SetupTable::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_COPY, 0) => {
            lend(bench);
            let number = bench.frame_at(PAGE);
            let side = |domid, reference| GrantCopySide {
                domid,
                reference,
                ..GrantCopySide::default()
            };
            let request = GrantCopy {
                source: side(SECOND, 0),
                dest: side(RawDomId::SELF, number),
                len: 1500,
                flags: GNTCOPY_SOURCE_GREF,
                ..GrantCopy::default()
            };
            bench.write(DATA, &[request, request]);
            count = 2;
        }
        (GNTTABOP_QUERY_SIZE, 0) => {
            let request = QuerySize {
                dom: RawDomId::SELF,
                ..QuerySize::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_SET_VERSION, 0) => bench.write(DATA, &SetVersion { version: 1 }),
        (GNTTABOP_GET_VERSION, 0) => {
            let request = GetVersion {
                dom: RawDomId::SELF,
                ..GetVersion::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_GET_STATUS_FRAMES, 0) => {
            let request = GetStatusFrames {
                dom: RawDomId::SELF,
                ..GetStatusFrames::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_UNMAP_AND_REPLACE, 0) => {
            let [mapped, _] = map(bench);
            let request = UnmapAndReplace {
                host_addr: mapped.host_addr,
                new_addr: BIG,
                handle: mapped.handle,
                ..UnmapAndReplace::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_SWAP_GRANT_REF, 0) => {
            let request = SwapGrantRef {
                ref_a: RawGrantRef(8),
                ref_b: RawGrantRef(9),
                ..SwapGrantRef::default()
            };
            bench.write(DATA, &request);
        }
        (GNTTABOP_CACHE_FLUSH, 0) => {
            let request = CacheFlush {
                dev_bus_addr: bench.frame_at(PAGE) << 12,
                offset: 0,
                length: 8,
                op: GNTTAB_CACHE_CLEAN,
            };
            bench.write(DATA, &[request, request]);
            count = 2;
        }
        (GNTTABOP_TRANSFER, 0) => {}
        _ => return None,
    }
    Some([operation.into(), DATA, count, 0, 0])
}
