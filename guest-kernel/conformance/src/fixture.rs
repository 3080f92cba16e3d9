//! Frames, pages and ports to try things on.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use guest_kernel::heap::Page;
use guest_kernel::hypercall::time_stamp;
use guest_kernel::paging::frame_at;
use hypercall_abi::number::{EVENT_CHANNEL_OP, MMU_UPDATE, MMUEXT_OP, UPDATE_VA_MAPPING};

use crate::{SELF, address_of, prepare};

/// Entry bits.
pub const PRESENT: u64 = 1;
/// A page that may be written.
pub const WRITABLE: u64 = 3;
/// Bits of an entry that points to a lower table.
pub const TABLE: u64 = 0x67;
/// Flush one address on all CPUs (`UVMF_INVLPG | UVMF_ALL`).
pub const FLUSH: u64 = 6;

/// A page of this kernel's own that nobody else uses, with its frame. It is never given back.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Where it is mapped.
    pub address: u64,
    /// Its machine frame.
    pub mfn: u64,
}

impl Frame {
    /// Takes a zeroed page out of the heap for good.
    #[must_use]
    pub fn take() -> Self {
        let address = Page::zeroed().map(Page::leak).unwrap_or_default();
        let mfn = frame_at(address).map(|frame| frame.0).unwrap_or_default();
        assert!(address != 0 && mfn != 0, "no page left");
        Self {
            address: address as u64,
            mfn,
        }
    }

    /// Takes two pages of which the second lies behind the first.
    #[must_use]
    pub fn neighbours() -> (Self, Self) {
        let mut last = Self::take();
        for _ in 0..64 {
            let next = Self::take();
            if next.address == last.address + 4096 {
                return (last, next);
            }
            if last.address == next.address + 4096 {
                return (next, last);
            }
            last = next;
        }
        panic!("no two pages lie side by side")
    }

    /// An entry that maps it.
    #[must_use]
    pub fn entry(self, flags: u64) -> u64 {
        self.mfn << 12 | flags
    }

    /// The machine address of one of its words.
    #[must_use]
    pub fn slot(self, index: u64) -> u64 {
        (self.mfn << 12) | (8 * index)
    }

    /// Reads a word.
    #[must_use]
    pub fn word(self, index: u64) -> u64 {
        read(self.address + 8 * index)
    }

    /// Writes a word, while it is mapped writable.
    pub fn set_word(self, index: u64, value: u64) {
        let place = usize::try_from(self.address + 8 * index).unwrap_or(0);
        let place = core::ptr::with_exposed_provenance_mut::<u64>(place);
        // SAFETY: the page is this fixture's alone, mapped, and used by words only.
        unsafe { place.write_volatile(value) }
    }

    /// Changes how it is mapped where it is.
    pub fn remap(self, flags: u64) -> i64 {
        prepare(UPDATE_VA_MAPPING, &[self.address, self.entry(flags), FLUSH])
    }

    /// Takes it out of the map.
    pub fn unmap(self) -> i64 {
        prepare(UPDATE_VA_MAPPING, &[self.address, 0, FLUSH])
    }

    /// Makes it read-only, as a table must be.
    #[must_use]
    pub fn read_only(self) -> Self {
        assert!(self.remap(PRESENT) == 0, "a page can be made read-only");
        self
    }

    /// Pins it as a table of a level, from 1 to 4.
    #[must_use]
    pub fn pinned(self, level: u64) -> Self {
        let pinned = prepare(
            MMUEXT_OP,
            &[address_of(&[level - 1, self.mfn, 0]), 1, 0, SELF],
        );
        assert!(pinned == 0, "an empty table can be pinned");
        self
    }

    /// Takes its pin away.
    pub fn unpin(self) {
        prepare(MMUEXT_OP, &[address_of(&[4, self.mfn, 0]), 1, 0, SELF]);
    }

    /// Stores into one of its words by `mmu_update`.
    pub fn store(self, index: u64, value: u64) -> i64 {
        prepare(
            MMU_UPDATE,
            &[address_of(&[self.slot(index), value]), 1, 0, SELF],
        )
    }
}

/// Reads a word of mapped memory.
#[must_use]
pub fn read(address: u64) -> u64 {
    let place = core::ptr::with_exposed_provenance::<u64>(usize::try_from(address).unwrap_or(0));
    // SAFETY: checks name memory that is mapped for as long as they run; reading a word of it changes nothing.
    unsafe { place.read_volatile() }
}

/// Keeps and sets bits of a word of mapped memory at once; what was there.
pub fn change(address: u64, keep: u64, set: u64) -> u64 {
    let place =
        core::ptr::with_exposed_provenance_mut::<u64>(usize::try_from(address).unwrap_or(0));
    // SAFETY: as in `read`; whoever else uses the word does so atomically too.
    let word = unsafe { AtomicU64::from_ptr(place) };
    word.fetch_update(SeqCst, SeqCst, |value| Some(value & keep | set))
        .unwrap_or_default()
}

/// This domain's number: a port that waits for its own domain tells it.
#[must_use]
pub fn own_number() -> u64 {
    let port = loop_port();
    let status = [u64::from(port) << 32 | SELF, 0, 0];
    prepare(EVENT_CHANNEL_OP, &[5, address_of(&status)]);
    close(port);
    read(address_of(&status) + 16) & 0xffff
}

/// A port that waits for this domain itself.
#[must_use]
pub fn loop_port() -> u32 {
    let argument = [SELF | SELF << 16];
    assert!(
        prepare(EVENT_CHANNEL_OP, &[6, address_of(&argument)]) == 0,
        "no port left"
    );
    u32::try_from(read(address_of(&argument)) >> 32).unwrap_or(0)
}

/// Two ports of this domain, bound to each other.
#[must_use]
pub fn pair() -> (u32, u32) {
    let left = loop_port();
    let argument = [SELF | u64::from(left) << 32, 0];
    assert!(
        prepare(EVENT_CHANNEL_OP, &[0, address_of(&argument)]) == 0,
        "a loop can be bound"
    );
    let right = read(address_of(&argument) + 8) & 0xffff_ffff;
    (left, u32::try_from(right).unwrap_or(0))
}

/// Closes a port.
pub fn close(port: u32) {
    prepare(EVENT_CHANNEL_OP, &[3, address_of(&u64::from(port))]);
}

/// Tries something until it holds, for a time that is long beside what it needs. Time decides only about a failure.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let start = time_stamp();
    while !holds() {
        if time_stamp().wrapping_sub(start) > 3_000_000_000 {
            return false;
        }
    }
    true
}
