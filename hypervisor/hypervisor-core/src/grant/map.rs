//! `map_grant_ref`: another domain's frame in the caller's address space.

use hypercall_abi::grant::{
    GNTMAP_APPLICATION_MAP, GNTMAP_CONTAINS_PTE, GNTMAP_DEVICE_MAP, GNTMAP_GUEST_AVAIL0,
    GNTMAP_HOST_MAP, GNTMAP_READONLY, MapGrantRef,
};
use hypercall_abi::mmu::EntryFlags;

use super::entry::Access;
use super::handle::Mapping;
use super::status::{Status, number_of};
use super::world::{GrantCall, Member, World};
use crate::ids::Mfn;
use crate::machine::Machine;
use crate::paging::entry::Entry;
use crate::paging::leaf::Leaf;
use crate::paging::{Slot, Tables};
use crate::sync::Held;

/// First of the entry's bits that software may use: flags 16..=18 become bits 9..=11.
const AVAILABLE_SHIFT: u32 = 9;

/// Carries out one request and fills in what it tells.
pub(super) fn map<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut MapGrantRef,
    held: &mut Held<'_, 0>,
) {
    let result = try_map(call, request, held).map(|(handle, frame)| {
        request.handle = handle;
        request.dev_bus_addr = frame.address();
    });
    request.status = number_of(result);
}

fn try_map<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &MapGrantRef,
    held: &mut Held<'_, 0>,
) -> Result<(u32, Mfn), Status> {
    let has = |flag| request.flags & flag != 0;
    if !has(GNTMAP_DEVICE_MAP | GNTMAP_HOST_MAP) {
        return Err(Status::BadReference);
    }
    let granter = call
        .world
        .find(request.dom.0, held)
        .ok_or(Status::BadDomain)?;
    let access = if has(GNTMAP_READONLY) {
        Access::Read
    } else {
        Access::Write
    };
    let owner = call.own().memory().owner();
    let handle = call
        .own()
        .grants()
        .handles
        .lock(held)
        .0
        .reserve(call.ram, owner)?;
    let mut mapping = Mapping {
        domid: request.dom.0,
        serial: granter.serial(),
        reference: request.gref.0,
        // Known as soon as the entry is pinned.
        frame: Mfn::new(0),
        access,
        host: has(GNTMAP_HOST_MAP),
        device: has(GNTMAP_DEVICE_MAP),
        by_entry: has(GNTMAP_CONTAINS_PTE),
    };
    let made = make(call, &granter, request, &mut mapping, held);
    let (mut handles, _) = call.own().grants().handles.lock(held);
    match made {
        Ok(()) => handles.set(call.ram, handle, mapping),
        Err(_) => handles.release(call.ram, handle),
    }
    made.map(|()| (handle, mapping.frame))
}

/// Pins the entry once for each kind of mapping, and makes the page-table entry.
fn make<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    granter: &W::Domain,
    request: &MapGrantRef,
    mapping: &mut Mapping,
    held: &mut Held<'_, 0>,
) -> Result<(), Status> {
    let pin = |held: &mut Held<'_, 0>| {
        let (mut shared, _) = granter.grants().shared.lock(held);
        let owner = granter.memory().owner();
        let grantee = call.own().domid();
        shared.acquire(call.ram, owner, mapping.reference, grantee, mapping.access)
    };
    let unpin = |held: &mut Held<'_, 0>| {
        let (mut shared, _) = granter.grants().shared.lock(held);
        shared.release(call.ram, mapping.reference, mapping.access);
    };
    let (frame, first) = pin(held)?;
    let second = if mapping.host && mapping.device {
        match pin(held) {
            Ok((_, second)) => Some(second),
            Err(status) => {
                drop(first);
                unpin(held);
                return Err(status);
            }
        }
    } else {
        None
    };
    let (host, device) = if mapping.host {
        (Some(first), second)
    } else {
        (None, Some(first))
    };
    if let Some(leaf) = host
        && let Err(status) = install(call, request, frame, leaf, held)
    {
        if device.is_some() {
            unpin(held);
        }
        drop(device);
        unpin(held);
        return Err(status);
    }
    if let Some(leaf) = device {
        leaf.record();
    }
    mapping.frame = frame;
    Ok(())
}

fn install<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &MapGrantRef,
    frame: Mfn,
    leaf: Leaf<'_, M>,
    held: &mut Held<'_, 0>,
) -> Result<(), Status> {
    let by_entry = request.flags & GNTMAP_CONTAINS_PTE != 0;
    let (tables, _held) = Tables::lock(call.ram, call.own().memory(), call.vcpu, held);
    let slot = find_slot(&tables, call, request.host_addr, by_entry)?;
    tables.install_grant(slot, entry_of(call, frame, request.flags), leaf);
    Ok(())
}

/// The entry that a host address means.
#[inline(always)]
pub(super) fn find_slot<'a, M: Machine, W: World>(
    tables: &Tables<'a, M>,
    call: GrantCall<'_, M, W>,
    host_addr: u64,
    by_entry: bool,
) -> Result<Slot<'a>, Status> {
    let found = if by_entry {
        tables.leaf_slot_at(host_addr)
    } else {
        tables.leaf_slot(call.vcpu, host_addr)
    };
    found.map_err(|_| Status::GeneralError)
}

/// The entry of a mapping: never executable, marked like every other page of guest kernel or guest user mode.
fn entry_of<M: Machine, W: World>(call: GrantCall<'_, M, W>, frame: Mfn, flags: u32) -> Entry {
    let mut bits = EntryFlags::PRESENT | EntryFlags::ACCESSED | EntryFlags::DIRTY;
    bits |= EntryFlags::USER;
    if call.ram.frames.no_execute() {
        bits |= EntryFlags::NO_EXECUTE;
    }
    if flags & GNTMAP_READONLY == 0 {
        bits |= EntryFlags::WRITABLE;
    }
    bits |= if flags & GNTMAP_APPLICATION_MAP != 0 {
        EntryFlags::GLOBAL
    } else {
        EntryFlags::GUEST_KERNEL
    };
    let available = u64::from(flags >> GNTMAP_GUEST_AVAIL0) << AVAILABLE_SHIFT;
    Entry(frame.address() | bits.bits() | (available & EntryFlags::AVAILABLE.bits()))
}
