//! Rows of grants: the first domain lends itself a page.

use guest_kernel::event::Port;
use guest_kernel::grant::{Access, Grant, Memory, map};
use guest_kernel::heap::Page;
use guest_kernel::hypercall::{self, grant::copy, hypercall};
use hypercall_abi::RawDomId;
use hypercall_abi::grant::{
    GNTCOPY_SOURCE_GREF, GNTMAP_HOST_MAP, GNTTABOP_MAP_GRANT_REF, GNTTABOP_UNMAP_GRANT_REF,
    GrantCopy, GrantCopySide, MapGrantRef, UnmapGrantRef,
};
use hypercall_abi::number::GRANT_TABLE_OP;

use crate::Failure;
use crate::measure::Meter;

/// This domain's number, which calls about grants want instead of `DOMID_SELF`.
fn own_number() -> Result<RawDomId, Failure> {
    let port = Port::alloc_unbound(RawDomId::SELF)?;
    let status = hypercall::event::status(port.number())?;
    u16::try_from(status.detail)
        .map(RawDomId)
        .map_err(|_| Failure::Memory)
}

fn operation<T>(command: u32, element: &mut T) {
    let address = core::ptr::from_mut(element).addr() as u64;
    let arguments = [u64::from(command), address, 1, 0, 0];
    // SAFETY: maps at an address of ours that nothing uses, and unmaps the same.
    let _status = unsafe { hypercall(u64::from(GRANT_TABLE_OP), arguments) };
}

pub(crate) fn measure(meter: Meter) -> Result<(), Failure> {
    let own = own_number()?;
    let lent = Memory::from_page(Page::zeroed().ok_or(Failure::Memory)?);
    let frame = lent.frame().ok_or(Failure::Memory)?;
    let grant = Grant::new(own, frame, Access::ReadWrite).map_err(|_| Failure::Memory)?;
    // Mapped once by the library: its addresses then have an L1 table, and are free again.
    let seen = map(own, &[grant.reference()], Access::ReadWrite).map_err(|_| Failure::Memory)?;
    let host_addr = seen.address() as u64;
    drop(seen);
    meter.measure("grant map and unmap", 1, || {
        let mut mapping = MapGrantRef {
            host_addr,
            flags: GNTMAP_HOST_MAP,
            gref: grant.reference(),
            dom: own,
            ..MapGrantRef::default()
        };
        operation(GNTTABOP_MAP_GRANT_REF, &mut mapping);
        let mut unmapping = UnmapGrantRef {
            host_addr,
            handle: mapping.handle,
            ..UnmapGrantRef::default()
        };
        operation(GNTTABOP_UNMAP_GRANT_REF, &mut unmapping);
    });
    let target = Memory::from_page(Page::zeroed().ok_or(Failure::Memory)?);
    let mut element = GrantCopy {
        source: GrantCopySide {
            reference: u64::from(grant.reference().0),
            domid: own,
            offset: 0,
            pad0: 0,
        },
        dest: GrantCopySide {
            reference: target.frame().ok_or(Failure::Memory)?.0,
            domid: RawDomId::SELF,
            offset: 0,
            pad0: 0,
        },
        len: 4096,
        flags: GNTCOPY_SOURCE_GREF,
        ..GrantCopy::default()
    };
    meter.measure("grant copy of 4 KiB", 1, || {
        // SAFETY: the destination is a page of atomics of this benchmark.
        let _copied = unsafe { copy(&mut element) };
    });
    grant.revoke().map_err(|_| Failure::Memory)
}
