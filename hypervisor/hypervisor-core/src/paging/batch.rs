//! What `mmu_update` and `mmuext_op` have in common: an array of requests, a count of those done, restarts.
//!
//! A call that stops midway is issued again by the guest with changed arguments ([`BatchArgs`]): the array and the count go
//! on behind what is done, bit 31 of the count says so, and the running total lies in the guest's `done` word. If all that
//! is left is a pending demotion, the array is 0 and the fourth argument carries the result. A guest can forge all of this;
//! every field is checked like a first call's, and a forged one harms its author only.

use hypercall_abi::mmu::MMU_UPDATE_PREEMPTED;
use zerocopy::{FromBytes, IntoBytes};

use crate::domain::account::DomainMemory;
use crate::guest::GuestMemory;
use crate::machine::Machine;
use crate::sync::Held;

use super::error::PagingError;
use super::layout;
use super::tables::{Step, Tables};
use super::world::{Call, Party, World};

/// Requests read at a time.
const CHUNK: usize = 16;

/// The four arguments, as they are in the guest's registers: RDI, RSI, RDX, R10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchArgs {
    /// Address of the first request.
    pub array: u64,
    /// Number of requests; bit 31: the call goes on.
    pub count: u32,
    /// Address of the `done` word, or 0.
    pub done: u64,
    /// The domain word; a carried result if `array` is 0 and the call goes on.
    pub domain: u64,
}

/// What a batch leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// The result: 0 or a negated error number.
    Done(i64),
    /// The guest issues the call again with these arguments.
    Again(BatchArgs),
}

/// The result that the guest sees.
pub(super) fn result_of(result: Result<(), PagingError>) -> i64 {
    match result {
        Ok(()) => 0,
        Err(error) => i64::from(error.errno().number()).saturating_neg(),
    }
}

/// Runs a batch: `resolve` looks at the domain word once, `execute` carries out one request.
pub(super) fn run<R, T, M, W, const TOP: u8>(
    call: Call<'_, M, W>,
    args: BatchArgs,
    held: &mut Held<'_, TOP>,
    resolve: impl FnOnce() -> Result<T, PagingError>,
    mut execute: impl FnMut(&T, &R, &mut Held<'_, TOP>) -> Result<Step<()>, PagingError>,
) -> BatchEnd
where
    R: FromBytes + IntoBytes + Copy,
    M: Machine,
    W: World,
{
    if finish_pending(call, held) == Step::Again {
        return BatchEnd::Again(args);
    }
    let goes_on = args.count & MMU_UPDATE_PREEMPTED != 0;
    if goes_on && args.array == 0 {
        return BatchEnd::Done(carried(args.domain));
    }
    let count = args.count & !MMU_UPDATE_PREEMPTED;
    let guest = call.guest();
    let before = if goes_on && args.done != 0 {
        guest.read(args.done).unwrap_or(0_u32)
    } else {
        0
    };
    let size = u64::try_from(size_of::<R>()).unwrap_or(0);
    if !layout::is_guest_range(args.array, u64::from(count).saturating_mul(size)) {
        return BatchEnd::Done(result_of(Err(PagingError::Fault)));
    }
    let target = match resolve() {
        Ok(target) => target,
        Err(error) => return BatchEnd::Done(result_of(Err(error))),
    };
    let (array, execute) = (args.array, &mut execute);
    // Most calls are of one request.
    let (done, result) = if count == 1 {
        let mut reader = Reader::<R, M, 1>::new(guest, array, count);
        requests(call, &mut reader, &target, held, execute)
    } else {
        let mut reader = Reader::<R, M, CHUNK>::new(guest, array, count);
        requests(call, &mut reader, &target, held, execute)
    };
    if args.done != 0 {
        // A word that cannot be written is the guest's loss.
        let _unwritten = guest.write(args.done, &before.wrapping_add(done)).is_err();
    }
    match result {
        Some(result) => finish(call, result, held),
        None => BatchEnd::Again(BatchArgs {
            array: args.array.wrapping_add(u64::from(done).wrapping_mul(size)),
            count: count.wrapping_sub(done) | MMU_UPDATE_PREEMPTED,
            ..args
        }),
    }
}

/// Carries out requests until one fails or something waits: how many are done, and the result unless it goes on.
fn requests<R, T, M, W, const AHEAD: usize, const TOP: u8>(
    call: Call<'_, M, W>,
    reader: &mut Reader<'_, R, M, AHEAD>,
    target: &T,
    held: &mut Held<'_, TOP>,
    execute: &mut impl FnMut(&T, &R, &mut Held<'_, TOP>) -> Result<Step<()>, PagingError>,
) -> (u32, Option<Result<(), PagingError>>)
where
    R: FromBytes + IntoBytes + Copy,
    M: Machine,
    W: World,
{
    for done in 0..reader.count {
        if done != 0 {
            let unfinished = finish_pending(call, held) == Step::Again;
            if unfinished || call.ram.machine.preempt_due() {
                return (done, None);
            }
        }
        let request = match reader.next(done) {
            Ok(request) => request,
            Err(error) => return (done, Some(Err(error))),
        };
        match execute(target, &request, held) {
            Ok(Step::Done(())) => {}
            Ok(Step::Again) => return (done, None),
            Err(error) => return (done, Some(Err(error))),
        }
    }
    (reader.count, Some(Ok(())))
}

/// The batch is complete, but for a demotion that may be pending.
fn finish<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    result: Result<(), PagingError>,
    held: &mut Held<'_, TOP>,
) -> BatchEnd {
    let result = result_of(result);
    match finish_pending(call, held) {
        Step::Done(()) => BatchEnd::Done(result),
        Step::Again => BatchEnd::Again(BatchArgs {
            array: 0,
            count: MMU_UPDATE_PREEMPTED,
            done: 0,
            domain: u64::from_ne_bytes(result.to_ne_bytes()),
        }),
    }
}

/// The low 32 bits of the argument, as a signed number.
fn carried(argument: u64) -> i64 {
    let [a, b, c, d, ..] = argument.to_le_bytes();
    i64::from(i32::from_le_bytes([a, b, c, d]))
}

/// Goes on with the vCPU's pending demotions, whoever's tables they are.
#[inline(always)]
pub fn finish_pending<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    held: &mut Held<'_, TOP>,
) -> Step<()> {
    if call.vcpu.pending.is_empty() {
        Step::Done(())
    } else {
        finish_noted(call, held)
    }
}

#[cold]
fn finish_noted<M: Machine, W: World, const TOP: u8>(
    call: Call<'_, M, W>,
    held: &mut Held<'_, TOP>,
) -> Step<()> {
    let frames = call.ram.frames;
    while let Some(mfn) = call.vcpu.pending.first(frames) {
        let owner = frames.holding(mfn).owner;
        let demote = |domain: &DomainMemory, held: &mut Held<'_, TOP>| {
            Tables::lock(call.ram, domain, call.vcpu, held)
                .0
                .demote_partial(mfn)
        };
        let done = if owner == call.domain.owner() {
            demote(call.domain, held)
        } else {
            let domid = frames.account(owner).map(crate::frame::Account::domid);
            match domid.and_then(|domid| call.peer(domid).ok()) {
                Some(Party::Peer(peer, _)) => demote(&peer, held),
                // The domain is gone, or the frame is: teardown took care of it.
                Some(Party::Own | Party::Device | Party::Hypervisor) | None => Step::Done(()),
            }
        };
        if done == Step::Again {
            return Step::Again;
        }
        call.vcpu.pending.forget(mfn, frames);
    }
    Step::Done(())
}

/// Reads requests, each once, some ahead.
struct Reader<'a, R, M, const AHEAD: usize> {
    guest: GuestMemory<'a, M>,
    array: u64,
    count: u32,
    buffer: [R; AHEAD],
    /// The requests in the buffer.
    filled: core::ops::Range<u32>,
}

impl<'a, R: FromBytes + IntoBytes + Copy, M: Machine, const AHEAD: usize> Reader<'a, R, M, AHEAD> {
    fn new(guest: GuestMemory<'a, M>, array: u64, count: u32) -> Self {
        Self {
            guest,
            array,
            count,
            buffer: [R::new_zeroed(); AHEAD],
            filled: 0..0,
        }
    }

    fn next(&mut self, index: u32) -> Result<R, PagingError> {
        if !self.filled.contains(&index) {
            self.fill(index)?;
        }
        let at = usize::try_from(index.wrapping_sub(self.filled.start)).unwrap_or(usize::MAX);
        self.buffer.get(at).copied().ok_or(PagingError::Fault)
    }

    /// Reads from `index` on; only the one request if not all that fit can be read.
    fn fill(&mut self, index: u32) -> Result<(), PagingError> {
        let from = GuestMemory::<M>::element::<R>(self.array, u64::from(index))
            .map_err(|_| PagingError::Fault)?;
        let room = usize::try_from(self.count.saturating_sub(index))
            .unwrap_or(AHEAD)
            .min(AHEAD);
        for length in [room, 1] {
            let part = self.buffer.get_mut(..length).ok_or(PagingError::Fault)?;
            if self.guest.copy_in(from, part.as_mut_bytes()).is_ok() {
                let end = index.saturating_add(u32::try_from(length).unwrap_or(1));
                self.filled = index..end;
                return Ok(());
            }
        }
        Err(PagingError::Fault)
    }
}
