//! The first word of a frame: its owner and its general count.
//!
//! They share a word because they must agree: a reference is taken only while the owner is the one expected and the count
//! is not 0 (I1, I2). A frame of count 0 belongs to the pool, and nothing but the pool gives it a new owner.
//!
//! Bits: 0..=31 count, 32..=47 owner, 48 the owner still holds its allocation, 49 special (a page that the hypervisor shares
//! with its owner), 50 first frame of a free block, 51..=55 order of that block.

use crate::sync::{AtomicU64, Ordering};

const COUNT: u64 = 0xffff_ffff;
const OWNER_SHIFT: u32 = 32;
const OWNER: u64 = 0xffff << OWNER_SHIFT;
const ALLOCATED: u64 = 1 << 48;
const SPECIAL: u64 = 1 << 49;
const FREE_HEAD: u64 = 1 << 50;
const ORDER_SHIFT: u32 = 51;
const ORDER: u64 = 0x1f << ORDER_SHIFT;
/// The count is never let beyond this: room for every CPU to be one increment ahead of its check.
const LIMIT: u64 = COUNT - 1;

/// Who owns a frame: nobody, the hypervisor, or the account of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(u16);

impl OwnerId {
    /// Nobody: the frame is free, or about to be.
    pub const NONE: Self = Self(0);
    /// The hypervisor: shared default tables, frames in custody during an exchange.
    pub const HYPERVISOR: Self = Self(1);
    const FIRST_ACCOUNT: u16 = 2;

    /// The owner behind an account's slot.
    pub(super) fn of_slot(slot: usize) -> Option<Self> {
        let slot = u16::try_from(slot).ok()?;
        slot.checked_add(Self::FIRST_ACCOUNT).map(Self)
    }

    /// The slot of the account, if this is a domain.
    pub(super) fn slot(self) -> Option<usize> {
        self.0.checked_sub(Self::FIRST_ACCOUNT).map(usize::from)
    }

    /// The number, for ordering locks and for messages.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    fn bits(self) -> u64 {
        u64::from(self.0) << OWNER_SHIFT
    }
}

/// Why a general reference was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeError {
    /// The frame is free or somebody else's.
    NotOwned,
    /// The count is at its limit.
    Full,
}

/// What the word says at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// General count.
    pub count: u32,
    /// Owner.
    pub owner: OwnerId,
    /// Whether the owner still holds its allocation.
    pub allocated: bool,
    /// Whether the hypervisor shares the page with the owner.
    pub special: bool,
}

impl Holding {
    fn of(word: u64) -> Self {
        Self {
            count: low32(word & COUNT),
            owner: OwnerId(low16((word & OWNER) >> OWNER_SHIFT)),
            allocated: word & ALLOCATED != 0,
            special: word & SPECIAL != 0,
        }
    }
}

/// The word. All changes are `AcqRel`: what was written under a reference is seen by who takes the next one, and by the
/// pool that sees the count at 0.
#[derive(Debug, Default)]
pub(super) struct OwnerWord(AtomicU64);

impl OwnerWord {
    #[inline]
    pub(super) fn load(&self) -> Holding {
        Holding::of(self.0.load(Ordering::Acquire))
    }

    /// Whether `owner` owns the frame.
    #[inline]
    pub(super) fn is_owned_by(&self, owner: OwnerId) -> bool {
        self.0.load(Ordering::Acquire) & OWNER == owner.bits()
    }

    /// One more reference, if `owner` owns the frame and it is not on its way out.
    #[inline]
    pub(super) fn take(&self, owner: OwnerId) -> Result<(), TakeError> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & OWNER != owner.bits() || word & COUNT == 0 {
                return Err(TakeError::NotOwned);
            }
            if word & COUNT >= LIMIT {
                return Err(TakeError::Full);
            }
            match self.exchange(word, word.wrapping_add(1)) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// One reference less. True if it was the last: the frame now belongs to who asked, for the pool.
    ///
    /// A count of 0 here is a broken invariant of ours; the word stays as it is, which leaks the frame and harms nobody.
    #[inline]
    pub(super) fn give_back(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(
                word & COUNT != 0,
                "a reference that nobody held was given back"
            );
            if word & COUNT == 0 {
                return false;
            }
            match self.exchange(word, word.wrapping_sub(1)) {
                Ok(()) => return word & COUNT == 1,
                Err(now) => word = now,
            }
        }
    }

    /// Ends the owner's allocation, once (I6). The allocation's reference is still counted: the caller gives it back.
    /// False if it had ended already, `Err` if the frame is not `owner`'s own RAM.
    pub(super) fn end_allocation(&self, owner: OwnerId) -> Result<bool, TakeError> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & OWNER != owner.bits() || word & COUNT == 0 || word & SPECIAL != 0 {
                return Err(TakeError::NotOwned);
            }
            if word & ALLOCATED == 0 {
                return Ok(false);
            }
            match self.exchange(word, word & !ALLOCATED) {
                Ok(()) => return Ok(true),
                Err(now) => word = now,
            }
        }
    }

    /// Ends the sharing of a special page, once: as [`Self::end_allocation`] for those.
    pub(super) fn end_sharing(&self, owner: OwnerId) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let wanted = SPECIAL | ALLOCATED;
            if word & OWNER != owner.bits() || word & wanted != wanted {
                return false;
            }
            match self.exchange(word, word & !ALLOCATED) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes a frame out of use that nobody refers to but its owner's allocation: into the hypervisor's custody.
    pub(super) fn steal(&self, owner: OwnerId) -> bool {
        let idle = ALLOCATED | owner.bits() | 1;
        self.exchange(idle, OwnerId::HYPERVISOR.bits() | 1).is_ok()
    }

    /// Undoes [`Self::steal`].
    pub(super) fn restore(&self, owner: OwnerId) {
        let restored = self.exchange(OwnerId::HYPERVISOR.bits() | 1, ALLOCATED | owner.bits() | 1);
        debug_assert!(restored.is_ok(), "only a frame in custody is restored");
    }

    /// Gives a frame of the pool, or one in custody, to an owner: count 1 for the allocation.
    pub(super) fn assign(&self, owner: OwnerId, special: bool) {
        let flags = if special { SPECIAL } else { 0 };
        self.0
            .store(owner.bits() | ALLOCATED | flags | 1, Ordering::Release);
    }

    /// The frame is the pool's again: on its way there, or not the first frame of a free block.
    pub(super) fn set_free(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// A free frame has an owner, which none may have.
    #[cfg(any(test, feature = "breach"))]
    pub(super) fn set_past(&self, owner: OwnerId) {
        self.0.store(owner.bits(), Ordering::Release);
    }

    /// The frame is the first of a free block of 2^`order` frames. Changed under the pool's lock only.
    pub(super) fn set_free_head(&self, order: u8) {
        self.0.store(
            FREE_HEAD | u64::from(order) << ORDER_SHIFT,
            Ordering::Release,
        );
    }

    /// The order of the free block that this frame heads.
    pub(super) fn free_order(&self) -> Option<u8> {
        let word = self.0.load(Ordering::Acquire);
        (word & FREE_HEAD != 0).then(|| low8((word & ORDER) >> ORDER_SHIFT))
    }

    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
    }

    #[cfg(test)]
    pub(super) fn preset_count(&self, count: u32) {
        let word = self.0.load(Ordering::Relaxed);
        self.0
            .store((word & !COUNT) | u64::from(count), Ordering::Relaxed);
    }
}

fn low32(value: u64) -> u32 {
    u32::try_from(value & COUNT).unwrap_or(u32::MAX)
}

fn low16(value: u64) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(u16::MAX)
}

fn low8(value: u64) -> u8 {
    u8::try_from(value & 0xff).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER_A: OwnerId = OwnerId(2);
    const OWNER_B: OwnerId = OwnerId(3);

    fn assigned() -> OwnerWord {
        let word = OwnerWord::default();
        word.assign(OWNER_A, false);
        word
    }

    #[test]
    fn a_free_frame_gives_no_reference() {
        assert_eq!(
            OwnerWord::default().take(OwnerId::NONE),
            Err(TakeError::NotOwned)
        );
    }

    #[test]
    fn only_the_expected_owners_frame_gives_a_reference() {
        let word = assigned();
        assert_eq!(word.take(OWNER_B), Err(TakeError::NotOwned));
        assert_eq!(word.take(OWNER_A), Ok(()));
        assert_eq!(word.load().count, 2);
    }

    #[test]
    fn a_count_at_its_limit_refuses_and_stays() {
        let word = assigned();
        word.preset_count(u32::MAX - 1);
        assert_eq!(word.take(OWNER_A), Err(TakeError::Full));
        assert_eq!(word.load().count, u32::MAX - 1);
    }

    #[test]
    fn an_allocation_ends_once() {
        let word = assigned();
        assert_eq!(word.take(OWNER_A), Ok(()));
        assert_eq!(word.end_allocation(OWNER_B), Err(TakeError::NotOwned));
        assert_eq!(word.end_allocation(OWNER_A), Ok(true));
        assert_eq!(word.end_allocation(OWNER_A), Ok(false));
        assert!(!word.give_back());
        assert!(word.give_back());
    }

    #[test]
    fn special_pages_are_not_ordinary_ram() {
        let word = OwnerWord::default();
        word.assign(OWNER_A, true);
        assert_eq!(word.end_allocation(OWNER_A), Err(TakeError::NotOwned));
        assert!(!word.steal(OWNER_A));
        assert!(word.end_sharing(OWNER_A));
        assert!(!word.end_sharing(OWNER_A));
    }

    #[test]
    fn only_an_idle_frame_is_stolen() {
        let word = assigned();
        assert_eq!(word.take(OWNER_A), Ok(()));
        assert!(!word.steal(OWNER_A));
        assert!(!word.give_back());
        assert!(word.steal(OWNER_A));
        assert_eq!(word.take(OWNER_A), Err(TakeError::NotOwned));
        word.restore(OWNER_A);
        assert_eq!(word.take(OWNER_A), Ok(()));
    }

    #[test]
    fn the_order_of_a_free_block_is_kept() {
        let word = OwnerWord::default();
        assert_eq!(word.free_order(), None);
        word.set_free_head(15);
        assert_eq!(word.free_order(), Some(15));
        assert_eq!(word.load().count, 0);
    }
}
