//! Rule tested: a granted frame can be mapped and copied as far as the grant goes, no grant means no access, and a grant
//! that is in use cannot be taken back.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;

use guest_kernel::event::Port;
use guest_kernel::grant::{Access, Grant, GrantError, Memory, map};
use guest_kernel::heap::Page;
use guest_kernel::hypercall::{self, Errno, grant::copy};
use guest_kernel::start::Boot;
use guest_kernel::trap::probe;
use guest_kernels::{check, error, finish};
use hypercall_abi::grant::{
    GNTCOPY_SOURCE_GREF, GNTMAP_HOST_MAP, GNTST_BAD_COPY_ARG, GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF,
    GNTST_BAD_HANDLE, GNTST_GENERAL_ERROR, GNTST_OKAY, GNTTABOP_MAP_GRANT_REF,
    GNTTABOP_SWAP_GRANT_REF, GNTTABOP_UNMAP_AND_REPLACE, GrantCopy, GrantCopySide, MapGrantRef,
    SwapGrantRef, UnmapAndReplace,
};
use hypercall_abi::mmu::{RawEntry, UVMF_ALL, UVMF_INVLPG};
use hypercall_abi::number::GRANT_TABLE_OP;
use hypercall_abi::{RawDomId, RawGrantRef};

guest_kernel::entry!(main);

/// This domain's number, which calls about grants want instead of `DOMID_SELF`.
fn own_number() -> Option<RawDomId> {
    let port = Port::alloc_unbound(RawDomId::SELF).ok()?;
    let status = hypercall::event::status(port.number()).ok()?;
    u16::try_from(status.detail).ok().map(RawDomId)
}

fn page() -> Memory {
    match Page::zeroed() {
        Some(page) => Memory::from_page(page),
        None => error(format_args!("no memory")),
    }
}

fn status(result: &Result<Memory, GrantError>) -> Option<i16> {
    match result {
        Err(GrantError::Status(status)) => Some(*status),
        Ok(_) | Err(GrantError::Call(_)) => None,
    }
}

extern "C" fn write(address: u64) {
    // SAFETY: the address is of a read-only mapping; the fault is caught.
    unsafe { core::arch::asm!("mov byte ptr [{0}], 1", in(reg) address, options(nostack)) }
}

fn main(_: &'static Boot) {
    let Some(own) = own_number() else {
        error(format_args!("cannot tell this domain's number"))
    };
    let lent = page();
    let Some(frame) = lent.frame() else {
        error(format_args!("no frame"))
    };
    let Ok(grant) = Grant::new(own, frame, Access::ReadWrite) else {
        error(format_args!("no grant table"))
    };
    let grant = writable(own, &lent, grant);
    copies(own, &lent, &grant);
    replaced(own, &lent, &grant);
    swapped(&grant);
    check!(
        grant.revoke().is_ok(),
        "a grant that nobody uses can be taken back"
    );
    read_only(own, &lent);
    refused(own);
    many(own, &lent);
    finish()
}

fn writable(own: RawDomId, lent: &Memory, grant: Grant) -> Grant {
    let Ok(seen) = map(own, &[grant.reference()], Access::ReadWrite) else {
        error(format_args!("cannot map"))
    };
    lent.u64(8).store(0x1234_5678, Ordering::SeqCst);
    check!(
        seen.u64(8).load(Ordering::SeqCst) == 0x1234_5678,
        "what the owner writes is seen"
    );
    seen.u64(16).store(42, Ordering::SeqCst);
    check!(
        lent.u64(16).load(Ordering::SeqCst) == 42,
        "what is written there reaches the owner"
    );
    let Err((grant, _)) = grant.revoke() else {
        error(format_args!("a grant in use was taken back"))
    };
    check!(true, "a grant in use cannot be taken back");
    drop(seen);
    grant
}

/// One copy out of the granted frame.
fn copy_out(
    own: RawDomId,
    reference: RawGrantRef,
    to: &Memory,
    offset: u16,
    len: u16,
) -> Result<(), GrantError> {
    let Some(frame) = to.frame() else {
        error(format_args!("no frame"))
    };
    let mut element = GrantCopy {
        source: GrantCopySide {
            reference: u64::from(reference.0),
            domid: own,
            offset,
            pad0: 0,
        },
        dest: GrantCopySide {
            reference: frame.0,
            domid: RawDomId::SELF,
            offset: 0,
            pad0: 0,
        },
        len,
        flags: GNTCOPY_SOURCE_GREF,
        ..GrantCopy::default()
    };
    // SAFETY: the destination is a page of atomics of this test.
    unsafe { copy(&mut element) }
}

fn copies(own: RawDomId, lent: &Memory, grant: &Grant) {
    let target = page();
    lent.u64(64).store(0xfeed, Ordering::SeqCst);
    check!(
        copy_out(own, grant.reference(), &target, 64, 8).is_ok(),
        "a part can be copied"
    );
    check!(
        target.u64(0).load(Ordering::SeqCst) == 0xfeed,
        "and arrives"
    );
    check!(
        target.u64(8).load(Ordering::SeqCst) == 0,
        "and no more than that"
    );
    let beyond = copy_out(own, grant.reference(), &target, 4090, 8);
    check!(
        beyond == Err(GrantError::Status(GNTST_BAD_COPY_ARG)),
        "a copy beyond the page is refused"
    );
    let unknown = copy_out(own, RawGrantRef(400), &target, 0, 8);
    check!(
        unknown == Err(GrantError::Status(GNTST_GENERAL_ERROR)),
        "so is one by an empty entry"
    );
}

fn issue(command: u32, argument: u64) -> Result<u64, Errno> {
    let arguments = [u64::from(command), argument, 1, 0, 0];
    // SAFETY: entries and pages of this test only.
    unsafe { hypercall::hypercall(u64::from(GRANT_TABLE_OP), arguments) }
}

/// A mapping in the place of a page, and another page in the place of the mapping.
fn replaced(own: RawDomId, lent: &Memory, grant: &Grant) {
    let (place, other) = (page(), page());
    let (Some(left), Some(_)) = (place.frame(), other.frame()) else {
        error(format_args!("no frames"))
    };
    other.u64(0).store(0xabcd, Ordering::SeqCst);
    lent.u64(0).store(0x1bad, Ordering::SeqCst);
    // SAFETY: the page is this test's, which looks at it again when something is there.
    let emptied = unsafe {
        hypercall::mmu::update_va_mapping(place.address(), RawEntry(0), UVMF_INVLPG | UVMF_ALL)
    };
    check!(emptied.is_ok(), "a place for a mapping");
    let mut map = MapGrantRef {
        host_addr: place.address() as u64,
        flags: GNTMAP_HOST_MAP,
        gref: grant.reference(),
        dom: own,
        ..MapGrantRef::default()
    };
    let done = issue(
        GNTTABOP_MAP_GRANT_REF,
        core::ptr::from_mut(&mut map).addr() as u64,
    );
    check!(
        done == Ok(0) && map.status == GNTST_OKAY,
        "a grant is mapped in the place of a page"
    );
    check!(
        place.u64(0).load(Ordering::SeqCst) == 0x1bad,
        "where it is seen"
    );
    let mut unmap = UnmapAndReplace {
        host_addr: place.address() as u64,
        new_addr: other.address() as u64,
        handle: map.handle,
        ..UnmapAndReplace::default()
    };
    let done = issue(
        GNTTABOP_UNMAP_AND_REPLACE,
        core::ptr::from_mut(&mut unmap).addr() as u64,
    );
    check!(
        done == Ok(0) && unmap.status == GNTST_OKAY,
        "unmapped, it makes room for another page"
    );
    check!(
        place.u64(0).load(Ordering::SeqCst) == 0xabcd,
        "which is seen there"
    );
    let fault = probe(write, other.address() as u64).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 14 && fault.error_code == 2),
        "and not where it was"
    );
    let done = issue(
        GNTTABOP_UNMAP_AND_REPLACE,
        core::ptr::from_mut(&mut unmap).addr() as u64,
    );
    check!(
        done == Ok(0) && unmap.status == GNTST_BAD_HANDLE,
        "the handle is gone"
    );
    let entry = RawEntry(left.0 << 12 | 3);
    // SAFETY: nothing is mapped there, and the frame is nowhere else.
    let restored = unsafe { hypercall::mmu::update_va_mapping(other.address(), entry, 0) };
    check!(restored.is_ok(), "the first page takes the other's place");
    // Their frames have changed places: the heap must not give them out as what they were.
    core::mem::forget((place, other));
}

/// Entries exchanged, there and back.
fn swapped(grant: &Grant) {
    let mut swap = SwapGrantRef {
        ref_a: grant.reference(),
        ref_b: RawGrantRef(500),
        ..SwapGrantRef::default()
    };
    for round in 0..2 {
        let done = issue(
            GNTTABOP_SWAP_GRANT_REF,
            core::ptr::from_mut(&mut swap).addr() as u64,
        );
        check!(
            done == Ok(0) && swap.status == GNTST_OKAY,
            "entries can be exchanged ({round})"
        );
    }
}

fn read_only(own: RawDomId, lent: &Memory) {
    let Some(frame) = lent.frame() else {
        error(format_args!("no frame"))
    };
    let Ok(grant) = Grant::new(own, frame, Access::ReadOnly) else {
        error(format_args!("no entry"))
    };
    let refused = map(own, &[grant.reference()], Access::ReadWrite);
    check!(
        status(&refused) == Some(GNTST_GENERAL_ERROR),
        "a read-only grant cannot be mapped writable"
    );
    let Ok(seen) = map(own, &[grant.reference()], Access::ReadOnly) else {
        error(format_args!("cannot map"))
    };
    check!(
        seen.u64(64).load(Ordering::SeqCst) == 0xfeed,
        "it can be read"
    );
    let fault = probe(write, seen.address() as u64).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 14 && fault.error_code == 3),
        "writing it is a page fault"
    );
    let address = seen.address();
    drop(seen);
    let fault = probe(write, address as u64).err();
    check!(
        fault.is_some_and(|fault| fault.vector == 14 && fault.error_code == 2),
        "unmapped, nothing is there"
    );
    check!(grant.revoke().is_ok(), "and the grant can be taken back");
}

fn refused(own: RawDomId) {
    let map_one =
        |domain, reference| status(&map(domain, &[RawGrantRef(reference)], Access::ReadWrite));
    check!(
        map_one(own, 100) == Some(GNTST_GENERAL_ERROR),
        "an empty entry gives nothing"
    );
    check!(
        map_one(own, 10_000_000) == Some(GNTST_BAD_GNTREF),
        "nor does one beyond the table"
    );
    check!(
        map_one(RawDomId(1234), 8) == Some(GNTST_BAD_DOMAIN),
        "nor a domain that does not exist"
    );
    check!(
        map_one(RawDomId::SELF, 8) == Some(GNTST_BAD_DOMAIN),
        "DOMID_SELF is none here"
    );
}

/// More entries than one frame of the table holds.
fn many(own: RawDomId, lent: &Memory) {
    let Some(frame) = lent.frame() else {
        error(format_args!("no frame"))
    };
    let mut grants = [const { None }; 600];
    for slot in &mut grants {
        *slot = Grant::new(own, frame, Access::ReadWrite).ok();
    }
    let made = grants.iter().flatten().count();
    check!(made == 600, "the table grows: {made} grants");
    let last = grants
        .iter()
        .flatten()
        .last()
        .map_or(RawGrantRef(0), Grant::reference);
    check!(
        map(own, &[last], Access::ReadWrite).is_ok(),
        "the last one ({}) can be mapped",
        last.0
    );
    let revoked = grants
        .iter_mut()
        .filter_map(Option::take)
        .filter_map(|grant| grant.revoke().ok())
        .count();
    check!(revoked == made, "all can be taken back");
}
