//! Numbers that carry a proof or a unit: frames, levels, indices, CPUs, times.
//!
//! What a guest says is a plain `u64` until it has been looked up; who holds an [`Mfn`] knows that the frame exists in the
//! frame table. Nothing converts into these types without a check.

use core::fmt;

/// Bytes of a frame and of a page.
pub const FRAME_BYTES: u64 = 4096;
/// log2 of [`FRAME_BYTES`].
pub const FRAME_SHIFT: u32 = 12;

/// The number of a machine frame of the pool: made by the frame table only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mfn(u64);

impl Mfn {
    /// Only the frame table and the fake machine know which numbers are frames.
    #[must_use]
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The frame's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The machine address of the frame's first byte.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 << FRAME_SHIFT
    }
}

impl fmt::Debug for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A byte of a frame of the pool, in one word: its machine address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// At `offset` of `frame`, below 4096.
    #[must_use]
    pub fn new(frame: Mfn, offset: usize) -> Self {
        Self(frame.address() | u64::try_from(offset).unwrap_or(0) & (FRAME_BYTES - 1))
    }

    /// The place whose [`Self::address`] this is.
    #[must_use]
    pub(crate) const fn known(address: u64) -> Self {
        Self(address)
    }

    /// The frame.
    #[must_use]
    pub const fn frame(self) -> Mfn {
        Mfn::new(self.0 >> FRAME_SHIFT)
    }

    /// The offset in it.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::try_from(self.0 & (FRAME_BYTES - 1)).unwrap_or(0)
    }

    /// The place so many bytes behind, in the same frame.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The machine address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0
    }
}

/// A guest's own number for one of its frames. Any value: the hypervisor decides nothing by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(u64);

impl Pfn {
    /// What M2P says of a frame without a number.
    pub const NONE: Self = Self(u64::MAX);

    /// Wraps a guest's number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A count of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frames(u64);

impl Frames {
    /// Wraps a count.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Which of the 512 entries of a table: 0..=511.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryIndex(u16);

impl EntryIndex {
    /// Entries of a table.
    pub const COUNT: u16 = 512;

    /// The index, if there is such an entry.
    #[must_use]
    pub const fn new(index: u16) -> Option<Self> {
        if index < Self::COUNT {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The index of a frame's word, if there is such a word.
    #[must_use]
    pub fn of_word(number: usize) -> Option<Self> {
        u16::try_from(number).ok().and_then(Self::new)
    }

    /// The entry that holds byte `address` modulo the size of a frame.
    #[must_use]
    pub const fn of_address(address: u64) -> Self {
        Self::low_bits(address >> 3)
    }

    /// The entry that translates virtual `address` in a table of `level`.
    #[must_use]
    pub const fn of_virtual(address: u64, level: Level) -> Self {
        let shift = match level {
            Level::L1 => 12,
            Level::L2 => 21,
            Level::L3 => 30,
            Level::L4 => 39,
        };
        Self::low_bits(address >> shift)
    }

    /// The index as a number below 512.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The byte offset of the entry in its frame.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::from(self.0) << 3
    }

    /// The word of this index.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "an index is below 512")]
    pub fn of<T>(self, words: &[T; 512]) -> &T {
        &words[usize::from(self.0 & 511)]
    }

    /// All indices, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    const fn low_bits(bits: u64) -> Self {
        #[expect(
            clippy::as_conversions,
            reason = "nine bits fit 16, and `const fn` has no `from`"
        )]
        Self((bits & 511) as u16)
    }
}

/// The level of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Its entries map pages.
    L1,
    /// Its entries name L1 tables.
    L2,
    /// Its entries name L2 tables.
    L3,
    /// A root: its entries name L3 tables.
    L4,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 4] = [Self::L1, Self::L2, Self::L3, Self::L4];

    /// The level of the tables that this level's entries name; none below L1.
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::L1 => None,
            Self::L2 => Some(Self::L1),
            Self::L3 => Some(Self::L2),
            Self::L4 => Some(Self::L3),
        }
    }
}

/// A domain's own number of one of its vCPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(u16);

impl VcpuId {
    /// The vCPU that every domain has.
    pub const FIRST: Self = Self(0);

    /// Wraps a number that the domain's vCPU list has been asked for.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A CPU of the machine: 0..=63, counted in the order in which they came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysCpu(u8);

impl PhysCpu {
    /// The most CPUs that a machine may have.
    pub const LIMIT: usize = 64;

    /// The CPU of this number, if it is below [`Self::LIMIT`].
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 64 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number, for indexing.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuSet(u64);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self(0);

    /// The set whose CPU n is bit n.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// CPU n as bit n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Just this CPU.
    #[must_use]
    pub const fn only(cpu: PhysCpu) -> Self {
        Self(1 << (cpu.0 & 63))
    }

    /// This set and `cpu`.
    #[must_use]
    pub const fn with(self, cpu: PhysCpu) -> Self {
        Self(self.0 | Self::only(cpu).0)
    }

    /// This set without `cpu`.
    #[must_use]
    pub const fn without(self, cpu: PhysCpu) -> Self {
        Self(self.0 & !Self::only(cpu).0)
    }

    /// CPUs in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// CPUs in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `cpu` is in it.
    #[must_use]
    pub const fn contains(self, cpu: PhysCpu) -> bool {
        self.0 & Self::only(cpu).0 != 0
    }

    /// Whether it has no CPU.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many CPUs it has.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Its CPUs, ascending.
    pub fn iter(self) -> impl Iterator<Item = PhysCpu> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let lowest = u8::try_from(left.trailing_zeros()).ok()?;
            left &= left.checked_sub(1)?;
            Some(PhysCpu(lowest))
        })
    }
}

/// Nanoseconds since the hypervisor's clock started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// Wraps a number of nanoseconds.
    #[must_use]
    pub const fn new(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// A time that a guest waits for. Guests count with a sign: what is negative to them has long been.
    #[must_use]
    pub const fn deadline(word: u64) -> Self {
        Self(if word.cast_signed() < 0 { 0 } else { word })
    }

    /// The number of nanoseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Later by `other`; the end of time if that is beyond it.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The time from `earlier` to this, 0 if it is not earlier.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_of_an_address_are_its_nine_bit_fields() {
        let address = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 5 << 3;
        let index = |level| EntryIndex::of_virtual(address, level).get();
        assert_eq!(Level::ALL.map(index), [4, 3, 2, 1]);
        assert_eq!(EntryIndex::of_address(address).get(), 5);
        assert_eq!(EntryIndex::new(512), None);
    }

    #[test]
    fn cpu_sets_hold_what_was_put_in() {
        let [a, b] = [3, 63].map(|n| PhysCpu::new(n).unwrap());
        let set = CpuSet::only(a).with(b);
        assert_eq!(set.len(), 2);
        assert!(set.iter().eq([a, b]));
        assert!(set.without(a).iter().eq([b]));
        assert_eq!(PhysCpu::new(64), None);
    }
}
