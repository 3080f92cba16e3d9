//! Operations 0x300..: contents of frames, for the builder and for dumps.

use hypercall_abi::control::memory::{MAX_MEMORY_FRAMES, MemoryRead, MemoryWrite};
use hypercall_abi::{Errno, GuestPtr, RawMfn};

use super::domain::building;
use super::{Answer, End, require};
use crate::caller::Caller;
use crate::domain::rights::ControlRight;
use crate::frame::OwnerId;
use crate::ids::{FRAME_BYTES, Mfn};
use crate::machine::Machine;

/// Bytes copied at a time: they pass through the stack.
const CHUNK: usize = 1024;
/// Chunks of a frame.
const CHUNKS: usize = 4;
const _: () = assert!(CHUNK.wrapping_mul(CHUNKS) == 4096, "a frame");

pub(super) fn memory_write<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut MemoryWrite,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    if domain.id() != caller.domain.id() {
        building(caller, &domain)?;
    }
    let owner = domain.memory.owner();
    let data = request.data;
    let list = List {
        frames: request.frames,
        count: request.count,
    };
    list.walk(caller, &mut request.done, |caller, number, index| {
        let frame = caller
            .hv
            .ram()
            .reference(owner, number.0)
            .map_err(|_| Errno::EINVAL)?;
        // Not while it is a page table: nobody writes those without a check.
        let frame = frame.writable().map_err(|_| Errno::EINVAL)?;
        if data.is_null() {
            caller.machine().scrub(frame.mfn());
            return Ok(());
        }
        fill(caller, frame.mfn(), page_of(data, index)?)
    })
}

pub(super) fn memory_read<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut MemoryRead,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    let owner: OwnerId = domain.memory.owner();
    let data = request.data;
    let list = List {
        frames: request.frames,
        count: request.count,
    };
    list.walk(caller, &mut request.done, |caller, number, index| {
        let frame = caller
            .hv
            .ram()
            .reference(owner, number.0)
            .map_err(|_| Errno::EINVAL)?;
        copy_to_caller(caller, frame.mfn(), page_of(data, index)?)
    })
}

/// A caller's list of frames.
#[derive(Clone, Copy)]
struct List {
    frames: GuestPtr<RawMfn>,
    count: u32,
}

impl List {
    /// Does one thing to each frame from `done` on, which tells at every exit how far it got.
    fn walk<M: Machine>(
        self,
        caller: &mut Caller<'_, M>,
        done: &mut u32,
        mut each: impl FnMut(&mut Caller<'_, M>, RawMfn, u32) -> Result<(), Errno>,
    ) -> Answer {
        require(self.count <= MAX_MEMORY_FRAMES && *done <= self.count)?;
        while *done < self.count {
            if let Err(error) = self.one(caller, *done, &mut each) {
                return Ok(End::Stopped(error));
            }
            *done = done.saturating_add(1);
            if *done < self.count && caller.machine().preempt_due() {
                return Ok(End::Again);
            }
        }
        Ok(End::Done)
    }

    fn one<M: Machine>(
        self,
        caller: &mut Caller<'_, M>,
        index: u32,
        each: &mut impl FnMut(&mut Caller<'_, M>, RawMfn, u32) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let place = self.frames.checked_add(index.into()).ok_or(Errno::EFAULT)?;
        let number = caller.copy_in(place)?;
        each(caller, number, index)
    }
}

/// Where the `index`-th page of data is.
fn page_of(data: GuestPtr<u8>, index: u32) -> Result<u64, Errno> {
    let offset = u64::from(index)
        .checked_mul(FRAME_BYTES)
        .ok_or(Errno::EFAULT)?;
    data.checked_add(offset)
        .map(GuestPtr::address)
        .ok_or(Errno::EFAULT)
}

fn fill<M: Machine>(caller: &Caller<'_, M>, frame: Mfn, from: u64) -> Result<(), Errno> {
    for (offset, address) in chunks(from) {
        let mut bytes = [0; CHUNK];
        caller.copy_in_bytes(address?, &mut bytes)?;
        caller.machine().write_frame(frame, offset, &bytes);
    }
    Ok(())
}

fn copy_to_caller<M: Machine>(caller: &Caller<'_, M>, frame: Mfn, to: u64) -> Result<(), Errno> {
    for (offset, address) in chunks(to) {
        let mut bytes = [0; CHUNK];
        caller.machine().read_frame(frame, offset, &mut bytes);
        caller.copy_out_bytes(address?, &bytes)?;
    }
    Ok(())
}

/// Offsets of a frame's chunks and their addresses in a page of data.
fn chunks(page: u64) -> impl Iterator<Item = (usize, Result<u64, Errno>)> {
    (0..CHUNKS).map(move |chunk| {
        let offset = chunk.saturating_mul(CHUNK);
        let address = u64::try_from(offset)
            .ok()
            .and_then(|offset| page.checked_add(offset));
        (offset, address.ok_or(Errno::EFAULT))
    })
}
