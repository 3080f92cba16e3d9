//! The second word of a frame: its type and its type count (pv-abi 4.2).
//!
//! A frame has one type at a time, and the type changes only when the count goes from 0 to 1 (I8). Tables and descriptor
//! pages are *changing* while one CPU checks or takes down their entries (I12), *valid* when all entries are checked, and
//! *partial* between two steps of a long check: then the count is 1, and `index` says that entries below it hold their
//! references (I13). A partial frame owns that type reference and one general reference itself, and whoever takes it over
//! gets them.
//!
//! Types of tables change under their owner's page lock only; a writable type may be taken by other domains without it.
//!
//! Bits: 0..=31 count, 32..=34 type, 35..=36 phase, 37 pinned, 40..=49 index.

use crate::ids::Level;
use crate::sync::{AtomicU64, Ordering};

const COUNT: u64 = 0xffff_ffff;
const LIMIT: u64 = COUNT - 1;
const TYPE_SHIFT: u32 = 32;
const TYPE: u64 = 7 << TYPE_SHIFT;
const PHASE: u64 = 3 << 35;
const CHANGING: u64 = 1 << 35;
const VALID: u64 = 2 << 35;
const PARTIAL: u64 = 3 << 35;
const PINNED: u64 = 1 << 37;
const INDEX_SHIFT: u32 = 40;
const INDEX: u64 = 0x3ff << INDEX_SHIFT;

/// What a frame may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// Nothing yet: read-only use.
    None,
    /// A page table.
    Table(Level),
    /// A page of segment descriptors.
    Descriptor,
    /// Data that a guest may write.
    Writable,
}

impl FrameType {
    const fn bits(self) -> u64 {
        let number = match self {
            Self::None => 0,
            Self::Table(Level::L1) => 1,
            Self::Table(Level::L2) => 2,
            Self::Table(Level::L3) => 3,
            Self::Table(Level::L4) => 4,
            Self::Descriptor => 5,
            Self::Writable => 6,
        };
        number << TYPE_SHIFT
    }

    const fn of(word: u64) -> Self {
        match (word & TYPE) >> TYPE_SHIFT {
            1 => Self::Table(Level::L1),
            2 => Self::Table(Level::L2),
            3 => Self::Table(Level::L3),
            4 => Self::Table(Level::L4),
            5 => Self::Descriptor,
            6 => Self::Writable,
            _ => Self::None,
        }
    }
}

/// How far a frame is towards its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Count 0.
    Idle,
    /// One CPU is checking it, or taking it down.
    Changing,
    /// Checked.
    Valid,
    /// Between two steps: entries below the index hold references.
    Partial(u16),
}

/// What the word says at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeState {
    /// The type; of an idle frame, the last one.
    pub kind: FrameType,
    /// Type count.
    pub count: u32,
    /// Phase.
    pub phase: Phase,
    /// Whether a pin holds one of the references.
    pub pinned: bool,
}

impl TypeState {
    fn of(word: u64) -> Self {
        let phase = match word & PHASE {
            CHANGING => Phase::Changing,
            VALID => Phase::Valid,
            PARTIAL => Phase::Partial(index_of(word)),
            _ => Phase::Idle,
        };
        Self {
            kind: FrameType::of(word),
            count: u32::try_from(word & COUNT).unwrap_or(u32::MAX),
            phase,
            pinned: word & PINNED != 0,
        }
    }

    /// Whether the frame is a checked table of `level`.
    #[must_use]
    pub fn is_valid_table(self, level: Level) -> bool {
        self.phase == Phase::Valid && self.kind == FrameType::Table(level)
    }

    /// The index of a partial table of `level`.
    #[must_use]
    pub fn partial_table(self, level: Level) -> Option<u16> {
        match self.phase {
            Phase::Partial(index) if self.kind == FrameType::Table(level) => Some(index),
            Phase::Partial(_) | Phase::Idle | Phase::Changing | Phase::Valid => None,
        }
    }
}

/// How a type reference was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The frame has the type already.
    Shared,
    /// The type is new: the frame is *changing*, and the caller finishes that. `before`: the type it had last.
    Begun { before: FrameType },
    /// An interrupted change is taken over, from this index; its general reference is the caller's to give back.
    Resumed { from: u16 },
}

/// Why a type reference was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeConflict {
    /// The frame is in use as something else.
    InUse,
    /// Another CPU is changing it to the very type wanted.
    Changing,
    /// The count is at its limit.
    Full,
}

/// What giving back a type reference has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// Others hold the type, or it needs no taking down.
    Done,
    /// It was the last reference to a table: the frame is *changing* now, and the caller takes it down.
    LastOfTable,
}

/// The word.
#[derive(Debug, Default)]
pub(super) struct TypeWord(AtomicU64);

impl TypeWord {
    #[inline]
    pub(super) fn load(&self) -> TypeState {
        TypeState::of(self.0.load(Ordering::Acquire))
    }

    /// Whether the frame is a checked table of `level`.
    #[inline]
    pub(super) fn is_valid_table(&self, level: Level) -> bool {
        let valid = FrameType::Table(level).bits() | VALID;
        self.0.load(Ordering::Acquire) & (TYPE | PHASE) == valid
    }

    /// One more reference of type `wanted`, where that needs no more than one exchange: the frame has the type, or it is
    /// the writable type and the frame had it last. False, and nothing changed, where [`Self::take`] has to look closer.
    #[inline]
    pub(super) fn share(&self, wanted: FrameType) -> bool {
        let word = self.0.load(Ordering::Acquire);
        let new = match word & COUNT {
            0 if wanted == FrameType::Writable && word & TYPE == wanted.bits() => {
                wanted.bits() | VALID | 1
            }
            1..LIMIT if word & (TYPE | PHASE) == wanted.bits() | VALID => word.wrapping_add(1),
            _ => return false,
        };
        self.exchange(word, new).is_ok()
    }

    /// One more reference of type `wanted`.
    pub(super) fn take(&self, wanted: FrameType) -> Result<Taken, TypeConflict> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let same = word & TYPE == wanted.bits();
            let (new, taken) = match (word & PHASE, word & COUNT) {
                (_, 0) if same && wanted == FrameType::Writable => {
                    (wanted.bits() | VALID | 1, Taken::Shared)
                }
                (_, 0) => {
                    let before = FrameType::of(word);
                    (wanted.bits() | CHANGING | 1, Taken::Begun { before })
                }
                _ if !same => return Err(TypeConflict::InUse),
                (VALID, LIMIT..) => return Err(TypeConflict::Full),
                (VALID, _) => (word.wrapping_add(1), Taken::Shared),
                (PARTIAL, _) => {
                    let from = index_of(word);
                    (
                        (word & !(PHASE | INDEX)) | CHANGING,
                        Taken::Resumed { from },
                    )
                }
                _ => return Err(TypeConflict::Changing),
            };
            match self.exchange(word, new) {
                Ok(()) => return Ok(taken),
                Err(now) => word = now,
            }
        }
    }

    /// *Changing* becomes *valid*.
    pub(super) fn finish(&self) {
        self.change(|word| (word & !PHASE) | VALID);
    }

    /// *Changing* becomes *partial*: entries below `index` hold their references.
    pub(super) fn park(&self, index: u16) {
        self.change(|word| (word & !(PHASE | INDEX)) | PARTIAL | u64::from(index) << INDEX_SHIFT);
    }

    /// *Changing* becomes *idle*: the reference is gone, the type's name stays.
    pub(super) fn clear(&self) {
        self.change(|word| word & TYPE);
    }

    /// *Partial* becomes *changing*: the caller takes the table down. Gives the index.
    pub(super) fn resume(&self, level: Level) -> Option<u16> {
        let word = self.0.load(Ordering::Acquire);
        let index = TypeState::of(word).partial_table(level)?;
        self.exchange(word, (word & !(PHASE | INDEX)) | CHANGING)
            .ok()?;
        Some(index)
    }

    /// One reference less. `before_zero` runs ahead of each try to bring the count to 0.
    #[inline]
    pub(super) fn release(&self, before_zero: impl Fn()) -> Released {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            debug_assert!(word & COUNT != 0, "a type that nobody held was given back");
            let table = matches!(FrameType::of(word), FrameType::Table(_));
            let (new, released) = match word & COUNT {
                0 => return Released::Done,
                1 if table => ((word & !PHASE) | CHANGING, Released::LastOfTable),
                1 => {
                    before_zero();
                    (word & TYPE, Released::Done)
                }
                _ => (word.wrapping_sub(1), Released::Done),
            };
            match self.exchange(word, new) {
                Ok(()) => return released,
                Err(now) => word = now,
            }
        }
    }

    /// Sets the pin, which then owns one reference of the caller. False if it was set.
    pub(super) fn pin(&self) -> bool {
        self.0.fetch_or(PINNED, Ordering::AcqRel) & PINNED == 0
    }

    /// Clears the pin; its reference is then the caller's. False if it was not set.
    pub(super) fn unpin(&self) -> bool {
        self.0.fetch_and(!PINNED, Ordering::AcqRel) & PINNED != 0
    }

    /// Forgets the type's name. For the pool, which gives out frames without a past.
    pub(super) fn reset(&self) {
        debug_assert!(self.load().count == 0, "a typed frame was freed");
        self.0.store(0, Ordering::Release);
    }

    /// A change that only the CPU that has the frame *changing* makes: nobody else writes the word meanwhile.
    fn change(&self, new: impl Fn(u64) -> u64) {
        let word = self.0.load(Ordering::Acquire);
        debug_assert!(word & PHASE == CHANGING, "only a changing frame is changed");
        let done = self.exchange(word, new(word));
        debug_assert!(done.is_ok(), "a changing frame belongs to one CPU");
    }

    #[inline]
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    #[cfg(test)]
    pub(super) fn preset_count(&self, count: u32) {
        let word = self.0.load(Ordering::Relaxed);
        self.0
            .store((word & !COUNT) | u64::from(count), Ordering::Relaxed);
    }
}

fn index_of(word: u64) -> u16 {
    u16::try_from((word & INDEX) >> INDEX_SHIFT).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const L1: FrameType = FrameType::Table(Level::L1);
    const L2: FrameType = FrameType::Table(Level::L2);

    fn valid(kind: FrameType) -> TypeWord {
        let word = TypeWord::default();
        assert!(word.take(kind).is_ok());
        word.finish();
        word
    }

    #[test]
    fn a_new_type_is_changing_until_it_is_finished() {
        let word = TypeWord::default();
        assert_eq!(
            word.take(L1),
            Ok(Taken::Begun {
                before: FrameType::None
            })
        );
        assert_eq!(word.take(L1), Err(TypeConflict::Changing));
        assert_eq!(word.take(FrameType::Writable), Err(TypeConflict::InUse));
        word.finish();
        assert_eq!(word.take(L1), Ok(Taken::Shared));
        assert_eq!(word.load().count, 2);
    }

    #[test]
    fn a_frame_in_use_refuses_every_other_type() {
        let kinds = [L1, L2, FrameType::Descriptor, FrameType::Writable];
        for held in kinds {
            for wanted in kinds.into_iter().filter(|&k| k != held) {
                assert_eq!(
                    valid(held).take(wanted),
                    Err(TypeConflict::InUse),
                    "{held:?} {wanted:?}"
                );
            }
        }
    }

    #[test]
    fn writable_again_needs_no_work() {
        let word = valid(FrameType::Writable);
        assert_eq!(word.release(|| ()), Released::Done);
        assert_eq!(word.take(FrameType::Writable), Ok(Taken::Shared));
        assert_eq!(word.release(|| ()), Released::Done);
        assert_eq!(
            word.take(L1),
            Ok(Taken::Begun {
                before: FrameType::Writable
            })
        );
    }

    #[test]
    fn the_last_reference_to_a_table_leaves_it_to_its_releaser() {
        let word = valid(L2);
        assert_eq!(word.take(L2), Ok(Taken::Shared));
        assert_eq!(word.release(|| ()), Released::Done);
        assert_eq!(word.release(|| ()), Released::LastOfTable);
        assert_eq!(word.take(L2), Err(TypeConflict::Changing));
        word.clear();
        assert_eq!(word.load().phase, Phase::Idle);
        assert_eq!(word.take(L2), Ok(Taken::Begun { before: L2 }));
    }

    #[test]
    fn a_partial_table_is_taken_over_at_its_index() {
        let word = TypeWord::default();
        assert!(word.take(L2).is_ok());
        word.park(512);
        assert_eq!(word.load().partial_table(Level::L2), Some(512));
        assert_eq!(word.take(L1), Err(TypeConflict::InUse));
        assert_eq!(word.take(L2), Ok(Taken::Resumed { from: 512 }));
        word.park(7);
        assert_eq!(word.resume(Level::L1), None);
        assert_eq!(word.resume(Level::L2), Some(7));
        assert_eq!(word.load().count, 1);
    }

    #[test]
    fn a_type_count_at_its_limit_refuses_and_stays() {
        let word = valid(FrameType::Writable);
        word.preset_count(u32::MAX - 1);
        assert_eq!(word.take(FrameType::Writable), Err(TypeConflict::Full));
        assert_eq!(word.load().count, u32::MAX - 1);
    }

    #[test]
    fn a_pin_is_set_and_cleared_once() {
        let word = valid(L1);
        assert!(word.pin());
        assert!(!word.pin());
        assert!(word.unpin());
        assert!(!word.unpin());
    }

    #[test]
    fn the_stamp_is_taken_before_the_count_is_zero() {
        let word = valid(FrameType::Descriptor);
        let seen = core::cell::Cell::new(0);
        assert_eq!(word.release(|| seen.set(word.load().count)), Released::Done);
        assert_eq!(seen.get(), 1);
    }
}
