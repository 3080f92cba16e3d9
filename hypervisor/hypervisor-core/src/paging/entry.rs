//! Page table entries: which bits a guest may set at which level, and what the hypervisor makes of them (pv-abi 4.3.3).

use hypercall_abi::mmu::{ENTRY_FRAME_MASK, EntryFlags};

use crate::ids::{FRAME_SHIFT, Level};

use super::error::PagingError;

const WRITABLE: u64 = EntryFlags::WRITABLE.bits();
const USER: u64 = EntryFlags::USER.bits();
const GLOBAL: u64 = EntryFlags::GLOBAL.bits();
const GUEST_KERNEL: u64 = EntryFlags::GUEST_KERNEL.bits();
const NO_EXECUTE: u64 = EntryFlags::NO_EXECUTE.bits();
const ACCESSED_DIRTY: u64 = EntryFlags::ACCESSED.union(EntryFlags::DIRTY).bits();
const CACHE: u64 = EntryFlags::PWT
    .union(EntryFlags::PCD)
    .union(EntryFlags::PAT_OR_LARGE)
    .bits();
const AVAILABLE: u64 = EntryFlags::AVAILABLE
    .union(EntryFlags::AVAILABLE_HIGH)
    .bits();
/// What may differ between the old and the new entry if references stay as they are. Neither RW nor the address is in it:
/// that was XSA-182 and XSA-148.
const UNCOUNTED: u64 = NO_EXECUTE | AVAILABLE | GUEST_KERNEL | GLOBAL | ACCESSED_DIRTY | USER;
/// The frame number of 40 ones.
const ALL_ONES: u64 = ENTRY_FRAME_MASK >> FRAME_SHIFT;

/// An entry as it lies in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

/// What an entry may contain besides what every domain may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRights {
    /// Cache attributes, in L1.
    pub devices: bool,
    /// The NX bit.
    pub no_execute: bool,
}

/// How an entry is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The new value as it is.
    Plain,
    /// The accessed and dirty bits of the old value stay set.
    KeepAccessedDirty,
}

impl Entry {
    /// Whether the CPU uses it.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & EntryFlags::PRESENT.bits() != 0
    }

    /// Whether it permits writes.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// Whether the CPU lets ring 3 use it.
    #[must_use]
    pub const fn is_user(self) -> bool {
        self.0 & USER != 0
    }

    /// The number in its frame field.
    #[must_use]
    pub const fn frame_number(self) -> u64 {
        (self.0 & ENTRY_FRAME_MASK) >> FRAME_SHIFT
    }

    /// Whether the frame field is all ones.
    #[must_use]
    pub const fn is_all_ones(self) -> bool {
        self.frame_number() == ALL_ONES
    }

    /// Whether it asks for another cache attribute than write-back.
    #[must_use]
    pub const fn has_cache_bits(self) -> bool {
        self.0 & CACHE != 0
    }

    /// The entry with the plain cache attribute.
    #[must_use]
    pub const fn write_back(self) -> Self {
        Self(self.0 & !CACHE)
    }

    /// The entry with the attribute UC, entry 3 of the PAT.
    #[must_use]
    pub const fn uncached(self) -> Self {
        let uncached = EntryFlags::PWT.union(EntryFlags::PCD).bits();
        Self((self.0 & !CACHE) | uncached)
    }

    /// The accessed and dirty bits.
    #[must_use]
    pub const fn accessed_dirty(self) -> u64 {
        self.0 & ACCESSED_DIRTY
    }

    /// Checks a present entry's flags and gives the entry that the hypervisor stores for it.
    ///
    /// # Errors
    /// [`PagingError::Flags`].
    pub const fn normalise(self, level: Level, rights: EntryRights) -> Result<Self, PagingError> {
        let nx = if rights.no_execute { 0 } else { NO_EXECUTE };
        let forbidden = match level {
            Level::L1 if rights.devices => nx,
            Level::L1 => nx | CACHE,
            Level::L2 | Level::L3 | Level::L4 => nx | CACHE | GLOBAL,
        };
        if self.0 & forbidden != 0 {
            return Err(PagingError::Flags);
        }
        Ok(match level {
            Level::L1 => self.normalise_leaf(),
            Level::L2 | Level::L3 => Self(self.0 | USER),
            Level::L4 => Self(self.0 | USER | EntryFlags::ACCESSED.bits()),
        })
    }

    /// A guest kernel's page is marked and never global: it would stay reachable after a switch to user mode. A guest
    /// user's page is global, so that it survives those switches.
    const fn normalise_leaf(self) -> Self {
        if self.0 & USER == 0 || self.0 & GUEST_KERNEL != 0 {
            Self((self.0 | USER | GUEST_KERNEL) & !GLOBAL)
        } else {
            Self(self.0 | GLOBAL)
        }
    }

    /// Whether this L1 entry differs from `old`, of what references depend on, by the right to write at most; both are of
    /// write-back memory.
    #[must_use]
    pub const fn changes_right_of(self, old: Self) -> bool {
        old.is_present()
            && self.is_present()
            && !self.has_cache_bits()
            && (self.0 ^ old.0) & !(UNCOUNTED | WRITABLE) == 0
    }

    /// Whether this entry can take the place of `old` without any change of references.
    #[must_use]
    pub const fn holds_what(self, old: Self, level: Level) -> bool {
        let free = match level {
            Level::L1 => UNCOUNTED,
            // No reference depends on RW above L1: linear tables are refused.
            Level::L2 | Level::L3 | Level::L4 => UNCOUNTED | WRITABLE,
        };
        old.is_present() && self.is_present() && (self.0 ^ old.0) & !free == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: EntryRights = EntryRights {
        devices: false,
        no_execute: true,
    };
    const DEVICES: EntryRights = EntryRights {
        devices: true,
        no_execute: true,
    };

    #[test]
    fn every_single_bit_is_allowed_or_refused_as_the_abi_says() {
        for bit in 1..64_u64 {
            let entry = Entry(1 | 1 << bit);
            for level in Level::ALL {
                let refused = match bit {
                    3 | 4 | 7 => true,
                    8 => level != Level::L1,
                    _ => false,
                };
                assert_eq!(
                    entry.normalise(level, NONE).is_err(),
                    refused,
                    "bit {bit} {level:?}"
                );
                let with_devices = refused && level != Level::L1;
                assert_eq!(entry.normalise(level, DEVICES).is_err(), with_devices);
            }
        }
    }

    #[test]
    fn without_nx_the_bit_is_refused() {
        let rights = EntryRights {
            devices: true,
            no_execute: false,
        };
        for level in Level::ALL {
            assert_eq!(
                Entry(1 | 1 << 63).normalise(level, rights),
                Err(PagingError::Flags)
            );
        }
    }

    #[test]
    fn kernel_pages_are_marked_and_not_global_and_user_pages_are_global() {
        let leaf = |value| Entry(value).normalise(Level::L1, NONE).map(|e| e.0);
        assert_eq!(leaf(0x1003), Ok(0x1007 | 1 << 52));
        assert_eq!(leaf(0x1103), Ok(0x1007 | 1 << 52));
        assert_eq!(leaf(0x1007), Ok(0x1107));
        assert_eq!(leaf(0x1107 | 1 << 52), Ok(0x1007 | 1 << 52));
    }

    #[test]
    fn upper_entries_are_always_for_user() {
        assert_eq!(Entry(0x1001).normalise(Level::L3, NONE), Ok(Entry(0x1005)));
    }

    #[test]
    fn only_uncounted_bits_take_the_short_way() {
        for bit in 0..64_u64 {
            let (old, new) = (Entry(0x1001), Entry(0x1001 ^ 1 << bit));
            let uncounted = matches!(bit, 2 | 5 | 6 | 8..=11 | 52..=63);
            assert_eq!(new.holds_what(old, Level::L1), uncounted, "bit {bit}");
            assert_eq!(
                new.holds_what(old, Level::L2),
                uncounted || bit == 1,
                "bit {bit}"
            );
        }
        assert!(!Entry(0).holds_what(Entry(0), Level::L1));
    }
}
