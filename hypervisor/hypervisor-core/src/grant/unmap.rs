//! `unmap_grant_ref`, `unmap_and_replace`, and the end of all mappings when their domain ends.
//!
//! References go back only after every CPU that may hold the mapping has flushed, and the granter's flags after that: once
//! they are clear it may do anything with the frame (T5). One flush serves a group of requests.

use hypercall_abi::grant::{UnmapAndReplace, UnmapGrantRef};

use super::entry::Access;
use super::handle::Mapping;
use super::map::find_slot;
use super::status::{Status, number_of};
use super::world::{GrantCall, Member, World};
use crate::frame::{Account, FrameRef, Ram, WritableRef};
use crate::ids::CpuSet;
use crate::machine::Machine;
use crate::paging::Tables;
use crate::paging::leaf::Leaf;
use crate::sync::Held;

/// Requests that share a flush.
pub(super) const GROUP: usize = 32;

/// What an unmapping asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    handle: u32,
    /// Where it is mapped; 0: that part stays.
    host: u64,
    /// The device's address; 0: that part stays.
    device: u64,
    /// The virtual address whose entry takes the mapping's place; 0 for none.
    replacement: u64,
}

/// A request to unmap.
pub(super) trait Unmapping {
    /// What it asks for.
    fn wanted(&self) -> Wanted;
    /// Tells what became of it.
    fn set_status(&mut self, status: i16);
}

impl Unmapping for UnmapGrantRef {
    fn wanted(&self) -> Wanted {
        Wanted {
            handle: self.handle,
            host: self.host_addr,
            device: self.dev_bus_addr,
            replacement: 0,
        }
    }

    fn set_status(&mut self, status: i16) {
        self.status = status;
    }
}

impl Unmapping for UnmapAndReplace {
    fn wanted(&self) -> Wanted {
        Wanted {
            handle: self.handle,
            host: self.host_addr,
            device: 0,
            replacement: self.new_addr,
        }
    }

    fn set_status(&mut self, status: i16) {
        self.status = status;
    }
}

/// What a request has taken down: given back in [`finish`].
pub(super) struct Undone<'a, M: Machine> {
    handle: u32,
    mapping: Mapping,
    /// References of the entry that was cleared.
    host: Option<Leaf<'a, M>>,
    /// The device mapping goes too.
    device: bool,
}

/// Takes one mapping down but for what needs a flush first.
pub(super) fn begin<'a, M: Machine, W: World>(
    call: GrantCall<'a, M, W>,
    request: &mut impl Unmapping,
    held: &mut Held<'_, 0>,
) -> Option<Undone<'a, M>> {
    match try_begin(call, &request.wanted(), held) {
        Ok(undone) => {
            request.set_status(number_of(Ok(())));
            Some(undone)
        }
        Err(status) => {
            request.set_status(status.number());
            None
        }
    }
}

#[inline(always)]
fn try_begin<'a, M: Machine, W: World>(
    call: GrantCall<'a, M, W>,
    request: &Wanted,
    held: &mut Held<'_, 0>,
) -> Result<Undone<'a, M>, Status> {
    let handle = request.handle;
    let mapping = call
        .own()
        .grants()
        .handles
        .lock(held)
        .0
        .take(call.ram, handle)?;
    match clear(call, request, &mapping, held) {
        Ok(host) => Ok(Undone {
            handle,
            mapping,
            host,
            device: mapping.device && request.device != 0,
        }),
        Err(status) => {
            call.own()
                .grants()
                .handles
                .lock(held)
                .0
                .set(call.ram, handle, mapping);
            Err(status)
        }
    }
}

/// Checks a request against its mapping and clears the page-table entry, if that is asked for.
fn clear<'a, M: Machine, W: World>(
    call: GrantCall<'a, M, W>,
    request: &Wanted,
    mapping: &Mapping,
    held: &mut Held<'_, 0>,
) -> Result<Option<Leaf<'a, M>>, Status> {
    let device = request.device;
    if mapping.device && device != 0 && device != mapping.frame.address() {
        return Err(Status::BadDeviceAddress);
    }
    if request.host == 0 || !mapping.host {
        return Ok(None);
    }
    let (tables, _held) = Tables::lock(call.ram, call.own().memory(), call.vcpu, held);
    let slot = find_slot(&tables, call, request.host, mapping.by_entry)?;
    let from = match request.replacement {
        0 => None,
        // Where the entry was named by its machine address, there is no linear address to put another at.
        _ if mapping.by_entry => return Err(Status::GeneralError),
        address => Some(find_slot(&tables, call, address, false)?),
    };
    let writable = mapping.access == Access::Write;
    let removed = match from {
        None => tables.remove_grant(slot, mapping.frame, writable),
        Some(from) => tables.replace_grant(slot, mapping.frame, writable, from),
    };
    removed
        .map(|entry| Some(Leaf::adopt(call.ram, entry)))
        .ok_or(Status::GeneralError)
}

/// Flushes once and gives back what a group of requests has taken down.
pub(super) fn finish<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    group: &mut [Option<Undone<'_, M>>],
    held: &mut Held<'_, 0>,
) {
    if group.iter().flatten().any(|undone| undone.host.is_some()) {
        let account = call.own().memory().account(call.ram.frames);
        call.ram
            .flush_all(account.map_or(CpuSet::EMPTY, Account::dirty));
    }
    for slot in group {
        if let Some(undone) = slot.take() {
            give_back(call, undone, held);
        }
    }
}

fn give_back<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    undone: Undone<'_, M>,
    held: &mut Held<'_, 0>,
) {
    let Undone {
        handle,
        mut mapping,
        host,
        device,
    } = undone;
    let mut pins = 0_u8;
    if host.is_some() {
        mapping.host = false;
        pins = pins.saturating_add(1);
    }
    drop(host);
    if device {
        mapping.device = false;
        pins = pins.saturating_add(1);
        drop(device_references(call.ram, &mapping));
    }
    for _ in 0..pins {
        unpin(call.ram, call.world, &mapping, held);
    }
    let (mut handles, _) = call.own().grants().handles.lock(held);
    if mapping.host || mapping.device {
        handles.set(call.ram, handle, mapping);
    } else {
        handles.release(call.ram, handle);
    }
}

/// The references that a device mapping's handle stood for.
fn device_references<'a, M: Machine>(ram: Ram<'a, M>, mapping: &Mapping) -> Leaf<'a, M> {
    match mapping.access {
        Access::Read => Leaf::Read(FrameRef::adopt(ram, mapping.frame)),
        Access::Write => Leaf::Write(WritableRef::adopt(ram, mapping.frame)),
    }
}

/// One pin of the granter's entry less, if the granter still exists.
fn unpin<M: Machine, W: World>(
    ram: Ram<'_, M>,
    world: &W,
    mapping: &Mapping,
    held: &mut Held<'_, 0>,
) {
    let granter = world.find(mapping.domid, held);
    if let Some(granter) = granter.filter(|granter| granter.serial() == mapping.serial) {
        let (mut shared, _) = granter.grants().shared.lock(held);
        shared.release(ram, mapping.reference, mapping.access);
    }
}

/// Takes down one mapping of a domain that ends; false when there is none left. Its page tables are gone, and with them
/// the references of all host mappings; what is left are the pins and the devices' references.
pub fn end_one<M: Machine, W: World>(
    ram: Ram<'_, M>,
    world: &W,
    ending: &W::Domain,
    held: &mut Held<'_, 0>,
) -> bool {
    let Some((handle, mapping)) = ending.grants().handles.lock(held).0.take_any(ram) else {
        return false;
    };
    if mapping.device {
        drop(device_references(ram, &mapping));
        unpin(ram, world, &mapping, held);
    }
    if mapping.host {
        unpin(ram, world, &mapping, held);
    }
    ending.grants().handles.lock(held).0.release(ram, handle);
    true
}
