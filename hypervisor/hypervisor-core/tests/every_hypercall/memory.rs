//! `memory_op`.

use core::mem::offset_of;

use hypercall_abi::memory::*;
use hypercall_abi::shared_info::SharedInfo;
use hypercall_abi::{GuestPtr, RawDomId, number};
use hypervisor_core::fake::bench::{Bench, DATA};
use hypervisor_core::machine::Machine;
use zerocopy::FromZeros;

use super::Arguments;
use super::setting::{LIST, PAGE, SECOND, SELF, create, create_with, reservation};

pub(crate) fn prepare(bench: &mut Bench, operation: u32, variant: u8) -> Option<Arguments> {
    let own = MemoryDomain {
        domid: RawDomId::SELF,
    };
    match (operation, variant) {
        (XENMEM_INCREASE_RESERVATION, 0) => {
            create(bench);
            bench.write(DATA, &reservation(SECOND, 3, 0));
        }
        (XENMEM_DECREASE_RESERVATION, 0) => {
            create_with(bench, 4);
            bench.write(DATA, &reservation(SECOND, 3, 0));
        }
        (XENMEM_POPULATE_PHYSMAP, 0) => {
            create(bench);
            // The last one needs a page of the view of its own.
            bench.write(LIST, &[0_u64, 1, 2]);
            bench.write(DATA, &reservation(SECOND, 3, 0));
        }
        (XENMEM_POPULATE_PHYSMAP, 1) => {
            create(bench);
            bench.write(LIST, &[0_u64, 8]);
            bench.write(DATA, &reservation(SECOND, 2, 1));
        }
        (XENMEM_CURRENT_RESERVATION | XENMEM_MAXIMUM_RESERVATION, 0) => bench.write(DATA, &own),
        (XENMEM_MACHPHYS_MFN_LIST | XENMEM_MACHPHYS_COMPAT_MFN_LIST, 0) => {
            let request = MachphysMfnList {
                max_extents: 4,
                extent_start: GuestPtr::new(LIST),
                ..MachphysMfnList::default()
            };
            bench.write(DATA, &request);
        }
        (XENMEM_MEMORY_MAP | XENMEM_MACHINE_MEMORY_MAP, 0) => {
            let request = MemoryMap {
                nr_entries: 8,
                buffer: GuestPtr::new(LIST),
                ..MemoryMap::default()
            };
            bench.write(DATA, &request);
        }
        (XENMEM_SET_MEMORY_MAP, 0) => {
            create(bench);
            let request = ForeignMemoryMap {
                domid: SECOND,
                map: MemoryMap {
                    nr_entries: 1,
                    buffer: GuestPtr::new(LIST),
                    ..MemoryMap::default()
                },
                ..ForeignMemoryMap::default()
            };
            bench.write(DATA, &request);
        }
        (XENMEM_EXCHANGE, 0..=2) => {
            let frames = create_with(bench, 4);
            bench.write(LIST, &[frames[0], frames[1]]);
            let (outputs, order) = if variant == 0 { (2, 0) } else { (1, 1) };
            let mut request = MemoryExchange::new_zeroed();
            request.input = reservation(SECOND, 2, 0);
            request.output = reservation(SECOND, outputs, order);
            request.output.extent_start = GuestPtr::new(LIST + 0x100);
            bench.write(LIST + 0x100, &[5_u64, 6]);
            if variant == 2 {
                // One's own frame.
                request.input.domid = RawDomId(0);
                request.output.domid = RawDomId(0);
                let number = bench.frame_at(PAGE);
                assert_eq!(bench.result(number::UPDATE_VA_MAPPING, [PAGE, 0, 0]), 0);
                bench.write(LIST, &number);
                request.input.nr_extents = 1;
                (request.output.nr_extents, request.output.extent_order) = (1, 0);
            }
            bench.write(DATA, &request);
        }
        (XENMEM_MAXIMUM_GPFN, 0) => {
            let shared_info = bench.domain().shared_info();
            let at = offset_of!(SharedInfo, max_pfn);
            bench.hv.machine().store_u64(shared_info, at, 64);
            bench.write(DATA, &own);
        }
        (XENMEM_CLAIM_PAGES | XENMEM_ACQUIRE_RESOURCE, 0) => {
            create(bench);
            let claim = MemoryReservation {
                domid: SECOND,
                ..MemoryReservation::default()
            };
            let resource = AcquireResource {
                domid: SECOND,
                ..AcquireResource::default()
            };
            if operation == XENMEM_CLAIM_PAGES {
                bench.write(DATA, &claim);
            } else {
                bench.write(DATA, &resource);
            }
        }
        (XENMEM_MACHPHYS_MAPPING, 0) => bench.write(DATA, &MachphysMapping::default()),
        (XENMEM_ADD_TO_PHYSMAP, 0) => {
            let request = AddToPhysmap {
                domid: RawDomId::SELF,
                ..AddToPhysmap::default()
            };
            bench.write(DATA, &request);
        }
        (XENMEM_ADD_TO_PHYSMAP_BATCH | XENMEM_REMOVE_FROM_PHYSMAP | XENMEM_GET_VNUMAINFO, 0) => {
            bench.write(DATA, &[SELF, 0, 0, 0, 0, 0, 0, 0]);
        }
        (
            XENMEM_MAXIMUM_RAM_PAGE
            | XENMEM_GET_SHARING_FREED_PAGES
            | XENMEM_GET_SHARING_SHARED_PAGES,
            0,
        ) => {}
        _ => return None,
    }
    Some([operation.into(), DATA, 0, 0, 0])
}
