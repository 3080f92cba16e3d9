//! The table itself: which machine frames are the pool's, and one record for each.
//!
//! Records lie in chunks of 2^15 frames, so that a hole in the machine's memory costs nothing and no huge block of heap is
//! needed. Only [`FrameTable::lookup`] turns a number into an [`Mfn`]: who holds one may index without a check.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use thiserror::Error;

use crate::heap;
use crate::ids::{Frames, Level, Mfn};
use crate::machine::Machine;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Ranked, rank};

use super::account::{self, Account, AccountError};
use super::epoch::{FlushClock, StampWord};
use super::owner::{Holding, OwnerId, OwnerWord};
use super::pool::{FreeLists, Links};
use super::tally::Tally;
use super::types::{TypeState, TypeWord};

/// log2 of the frames of a chunk; free blocks never cross one. Where each atomic is watched, few are better.
pub(super) const CHUNK_SHIFT: u32 = if cfg!(feature = "shuttle") { 6 } else { 15 };
const CHUNK: u64 = 1 << CHUNK_SHIFT;
/// The records of a chunk.
type Records = Box<[Frame; 1 << CHUNK_SHIFT]>;
/// Frame numbers are linked as 30 bits: 4 TiB of machine addresses.
const HIGHEST: u64 = 1 << 30;

/// The record of one frame.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) owner: OwnerWord,
    pub(super) types: TypeWord,
    pub(super) stamp: StampWord,
    pub(super) links: Links,
}

/// Frames `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRange {
    /// First frame.
    pub start: u64,
    /// One beyond the last.
    pub end: u64,
}

impl FrameRange {
    /// Whether the range has this frame.
    #[must_use]
    pub const fn contains(self, number: u64) -> bool {
        self.start <= number && number < self.end
    }
}

/// What boot found out about the machine's memory.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// RAM for the pool: ascending, disjoint, without frame 0 and without the hypervisor's own frames.
    pub pool: &'a [FrameRange],
    /// Frames that no domain may ever map: the hypervisor's memory, firmware tables, the local and I/O APICs. What is in
    /// neither list is device memory.
    pub withheld: &'a [FrameRange],
    /// MAXPHYADDR: 32..=52.
    pub address_bits: u8,
    /// Whether the CPUs have the NX bit.
    pub no_execute: bool,
    /// The most domains at once.
    pub max_domains: u16,
}

/// Why there is no frame table.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// The pool's ranges are unordered, overlap, or have frame 0 or a frame beyond 2^30.
    #[error("the pool's frame ranges are not ascending within 1..2^30")]
    Ranges,
    /// MAXPHYADDR is not one that x86-64 has.
    #[error("{0} physical address bits")]
    AddressBits(u8),
    /// The heap is too small for the records.
    #[error("no memory for the frame table")]
    NoMemory,
}

/// All frames of the pool, the accounts of their owners, and the clock of flushes.
pub struct FrameTable {
    /// None where the pool has nothing.
    chunks: Vec<Option<Records>>,
    withheld: Vec<FrameRange>,
    accounts: Vec<Account>,
    clock: FlushClock,
    /// Both grow when boot's own memory joins the pool.
    limit: AtomicU64,
    total: AtomicU64,
    address_bits: u8,
    no_execute: bool,
    pub(super) lists: Ranked<{ rank::FRAME_POOL }, FreeLists>,
    /// Top of the stack of freed frames; 0 is its end.
    pub(super) freed: AtomicU32,
    /// Frames on the stack of freed frames, or being scrubbed.
    pub(super) to_scrub: AtomicU64,
    pub(super) view_defaults: super::m2p::Defaults,
    pub(super) tally: Tally,
}

/// The frame table with the machine whose memory it describes: what most operations on frames need.
pub struct Ram<'a, M> {
    /// The machine.
    pub machine: &'a M,
    /// Its frames.
    pub frames: &'a FrameTable,
}

impl fmt::Debug for FrameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameTable")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Ram<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ram").field(self.frames).finish()
    }
}

impl<M> Clone for Ram<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Ram<'_, M> {}

impl FrameTable {
    /// Makes the records, puts all frames into the pool and takes three of them for the M2P defaults.
    ///
    /// # Errors
    /// [`LayoutError`]: the layout is not one, or memory is short.
    pub fn new<M: Machine>(machine: &M, layout: &Layout<'_>) -> Result<Self, LayoutError> {
        if !(32..=52).contains(&layout.address_bits) {
            return Err(LayoutError::AddressBits(layout.address_bits));
        }
        let mut end = 1;
        for range in layout.pool {
            if range.start < end || range.end <= range.start || range.end > HIGHEST {
                return Err(LayoutError::Ranges);
            }
            end = range.end;
        }
        let mut table = Self {
            chunks: Vec::new(),
            withheld: copy_ranges(layout.withheld)?,
            accounts: defaults(usize::from(layout.max_domains))?,
            clock: FlushClock::new(),
            limit: AtomicU64::new(end),
            total: AtomicU64::new(0),
            address_bits: layout.address_bits,
            no_execute: layout.no_execute,
            lists: Ranked::new(FreeLists::new()),
            freed: AtomicU32::new(0),
            to_scrub: AtomicU64::new(0),
            view_defaults: super::m2p::Defaults::default(),
            tally: Tally::default(),
        };
        table.chunks = make_chunks(layout.pool, end)?;
        table.admit(layout.pool);
        Ram {
            machine,
            frames: &table,
        }
        .make_view_defaults()
        .map_err(|_| LayoutError::NoMemory)?;
        Ok(table)
    }

    /// Adds RAM to the pool that boot needed until now: of each range the frames that have a record, which is all of a chunk
    /// in which the pool had something from the start. No frame may be the pool's already.
    pub fn admit(&self, ranges: &[FrameRange]) {
        for &range in ranges {
            let mut start = None;
            for number in range.start.max(1)..=range.end {
                let record = (number < range.end)
                    .then(|| self.record(number).filter(|f| !f.links.is_pool()))
                    .flatten();
                match (record, start) {
                    (Some(frame), _) => {
                        frame.links.set_pool();
                        start = start.or(Some(number));
                    }
                    (None, Some(first)) => {
                        self.admit_run(FrameRange {
                            start: first,
                            end: number,
                        });
                        start = None;
                    }
                    (None, None) => {}
                }
            }
        }
    }

    /// Adds frames that the table knows as the pool's.
    fn admit_run(&self, range: FrameRange) {
        let count = range.end.saturating_sub(range.start);
        self.total.fetch_add(count, Ordering::AcqRel);
        self.limit.fetch_max(range.end, Ordering::AcqRel);
        self.insert_range(range);
    }

    /// The frame of this number, if it is one of the pool's.
    #[inline]
    #[must_use]
    pub fn lookup(&self, number: u64) -> Option<Mfn> {
        self.find(number).map(|_| Mfn::new(number))
    }

    /// The frame of this number, if it is a checked table of `level` that `owner` owns.
    #[inline]
    #[must_use]
    pub fn valid_table(&self, number: u64, level: Level, owner: OwnerId) -> Option<Mfn> {
        let frame = self.record(number)?;
        let is_one = frame.types.is_valid_table(level) && frame.owner.is_owned_by(owner);
        is_one.then(|| Mfn::new(number))
    }

    /// The frame of this number and its type, if `owner` owns it.
    #[inline]
    #[must_use]
    pub fn owned(&self, number: u64, owner: OwnerId) -> Option<(Mfn, TypeState)> {
        let frame = self.record(number)?;
        let owned = frame.owner.is_owned_by(owner);
        owned.then(|| (Mfn::new(number), frame.types.load()))
    }

    /// The owner, or nobody while its domain is being destroyed: nobody's frames give no references.
    #[inline]
    pub(crate) fn living(&self, owner: OwnerId) -> OwnerId {
        if self.account(owner).is_some_and(Account::is_dying) {
            OwnerId::NONE
        } else {
            owner
        }
    }

    /// Whether `owner` owns a frame.
    #[inline]
    #[must_use]
    pub fn is_owned_by(&self, mfn: Mfn, owner: OwnerId) -> bool {
        self.frame(mfn).owner.is_owned_by(owner)
    }

    /// Whether a domain with the right to devices may map this number: no RAM, not withheld, and an address that the CPU
    /// can form.
    #[must_use]
    pub fn is_device_memory(&self, number: u64) -> bool {
        let frame_bits = u32::from(self.address_bits).saturating_sub(12);
        number.checked_shr(frame_bits) == Some(0)
            && self.find(number).is_none()
            && !self.withheld.iter().any(|range| range.contains(number))
    }

    /// One beyond the highest frame of the pool.
    #[must_use]
    pub fn limit(&self) -> Frames {
        Frames::new(self.limit.load(Ordering::Acquire))
    }

    /// All frames of the pool, used or not.
    #[must_use]
    pub fn total(&self) -> Frames {
        Frames::new(self.total.load(Ordering::Acquire))
    }

    /// Whether entries may have the NX bit.
    #[must_use]
    pub fn no_execute(&self) -> bool {
        self.no_execute
    }

    /// Owner and general count of a frame.
    #[inline]
    #[must_use]
    pub fn holding(&self, mfn: Mfn) -> Holding {
        self.frame(mfn).owner.load()
    }

    /// Type and type count of a frame.
    #[inline]
    #[must_use]
    pub fn type_state(&self, mfn: Mfn) -> TypeState {
        self.frame(mfn).types.load()
    }

    /// What a recount has counted.
    #[inline]
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The clock of flushes.
    #[must_use]
    pub fn clock(&self) -> &FlushClock {
        &self.clock
    }

    /// The account of an owner, if that is a domain.
    #[inline]
    #[must_use]
    pub fn account(&self, owner: OwnerId) -> Option<&Account> {
        account::find(&self.accounts, owner)
    }

    /// The accounts that domains use.
    pub fn accounts(&self) -> impl Iterator<Item = (OwnerId, &Account)> {
        let owner = |(slot, account)| Some((OwnerId::of_slot(slot)?, account));
        self.accounts
            .iter()
            .enumerate()
            .filter_map(owner)
            .filter(|(_, account)| account.is_open())
    }

    /// How many numbers of owners there are.
    pub(crate) fn owners(&self) -> usize {
        let last = OwnerId::of_slot(self.accounts.len()).map_or(0, OwnerId::get);
        usize::from(last)
    }

    /// Opens an account for a new domain.
    ///
    /// # Errors
    /// [`AccountError::NoSlot`]: there are as many domains as boot made room for.
    pub fn open_account(&self, domid: u16, maximum: Frames) -> Result<OwnerId, AccountError> {
        let mut accounts = self.accounts.iter().enumerate();
        let slot = accounts.find(|(_, account)| account.open(domid, maximum));
        slot.and_then(|(slot, _)| OwnerId::of_slot(slot))
            .ok_or(AccountError::NoSlot)
    }

    /// Closes the account of a domain that owns nothing any more. False while it does.
    #[must_use]
    pub fn close_account(&self, owner: OwnerId) -> bool {
        self.account(owner).is_some_and(Account::close)
    }

    /// The first frame of the pool at or above `number`: to walk all frames.
    #[must_use]
    pub fn next_frame(&self, number: u64) -> Option<Mfn> {
        let mut number = number;
        let limit = self.limit().get();
        while number < limit {
            if self
                .chunks
                .get(chunk_of(number))
                .is_none_or(Option::is_none)
            {
                number = (number | CHUNK.wrapping_sub(1)).checked_add(1)?;
            } else if self.find(number).is_some() {
                return Some(Mfn::new(number));
            } else {
                number = number.checked_add(1)?;
            }
        }
        None
    }

    /// The record of a number, if it is a frame of the pool.
    #[inline]
    pub(super) fn find(&self, number: u64) -> Option<&Frame> {
        self.record(number).filter(|frame| frame.links.is_pool())
    }

    /// The record of a number, the pool's or not. That of a frame outside the pool has no owner and no count.
    #[inline(always)]
    pub(super) fn record(&self, number: u64) -> Option<&Frame> {
        let chunk = self.chunks.get(chunk_of(number))?.as_deref()?;
        chunk.get(within_chunk(number))
    }

    /// The record of a frame.
    #[inline(always)]
    #[expect(
        clippy::expect_used,
        reason = "an `Mfn` is made by `lookup` only: its record exists"
    )]
    pub(super) fn frame(&self, mfn: Mfn) -> &Frame {
        self.record(mfn.get()).expect("a frame has a record")
    }
}

fn chunk_of(number: u64) -> usize {
    usize::try_from(number >> CHUNK_SHIFT).unwrap_or(usize::MAX)
}

fn within_chunk(number: u64) -> usize {
    usize::try_from(number & CHUNK.wrapping_sub(1)).unwrap_or(usize::MAX)
}

fn copy_ranges(ranges: &[FrameRange]) -> Result<Vec<FrameRange>, LayoutError> {
    let mut copy = heap::list(ranges.len()).map_err(|_| LayoutError::NoMemory)?;
    copy.extend_from_slice(ranges);
    Ok(copy)
}

fn defaults<T: Default>(count: usize) -> Result<Vec<T>, LayoutError> {
    let mut values = heap::list(count).map_err(|_| LayoutError::NoMemory)?;
    values.resize_with(count, T::default);
    Ok(values)
}

/// The chunks up to frame `end`.
fn make_chunks(pool: &[FrameRange], end: u64) -> Result<Vec<Option<Records>>, LayoutError> {
    let mut chunks: Vec<Option<Records>> = defaults(chunk_of(end).saturating_add(1))?;
    for (number, chunk) in (0_u64..).zip(chunks.iter_mut()) {
        let start = number << CHUNK_SHIFT;
        let here = FrameRange {
            start,
            end: start.saturating_add(CHUNK),
        };
        if pool
            .iter()
            .any(|range| range.start < here.end && here.start < range.end)
        {
            let records: Vec<Frame> = defaults(1 << CHUNK_SHIFT)?;
            *chunk = Some(records.try_into().map_err(|_| LayoutError::NoMemory)?);
        }
    }
    Ok(chunks)
}
