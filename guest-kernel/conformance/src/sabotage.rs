//! A broken hypervisor, put between kernel and machine by the command line, so that every check is seen failing.
//!
//! - `sabotage=refuse`: calls and instructions under test are not carried out and answer what the ABI never answers.
//! - `sabotage=hollow`: they are not carried out and claim success.
//! - `sabotage=blind`: they are carried out, but every observation of their effects is wrong.
//! - `sabotage=wrong`: calls are carried out, and marked so that a hypervisor built for it answers them wrongly itself.
//!
//! Each check must fail under one of them. `from=N` leaves out the first N checks: when a kernel dies of the
//! sabotage, the runner starts it again behind the check at which it died.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use hypercall_abi::control::audit::BREACH_ANSWER;

/// What the broken hypervisor answers to a refused call: `EDOM`, which no call gives.
const NONSENSE: i64 = -33;

static MODE: AtomicU8 = AtomicU8::new(0);
static FROM: AtomicU32 = AtomicU32::new(0);

/// What becomes of a call under test.
pub(crate) enum Act {
    /// It is carried out.
    Carry,
    /// It is not, and answers this.
    Answer(i64),
}

/// Reads the command line.
pub(crate) fn init(command_line: &str) {
    for word in command_line.split_ascii_whitespace() {
        let mode = match word.strip_prefix("sabotage=") {
            Some("refuse") => 1,
            Some("hollow") => 2,
            Some("blind") => 3,
            Some("wrong") => 4,
            _ => 0,
        };
        MODE.fetch_max(mode, Ordering::Relaxed);
        if let Some(number) = word
            .strip_prefix("from=")
            .and_then(|text| text.parse().ok())
        {
            FROM.store(number, Ordering::Relaxed);
        }
    }
}

/// How many checks are left out.
pub(crate) fn first() -> u32 {
    FROM.load(Ordering::Relaxed)
}

pub(crate) fn act() -> Act {
    match MODE.load(Ordering::Relaxed) {
        1 => Act::Answer(NONSENSE),
        2 => Act::Answer(0),
        _ => Act::Carry,
    }
}

/// What a call under test answers that is issued by assembly of the check's own, if it is not to be carried out.
#[must_use]
pub fn sabotaged() -> Option<i64> {
    match act() {
        Act::Answer(instead) => Some(instead),
        Act::Carry => None,
    }
}

/// What calls under test carry in R9.
pub(crate) fn mark() -> u64 {
    match MODE.load(Ordering::Relaxed) {
        4 => BREACH_ANSWER,
        _ => 0,
    }
}

/// What a check observes beside results: memory, registers, events.
#[must_use]
pub fn seen<T: Observed>(value: T) -> T {
    if MODE.load(Ordering::Relaxed) == 3 {
        value.corrupted()
    } else {
        value
    }
}

/// Something that can be seen wrongly.
pub trait Observed {
    /// Another value than this one.
    #[must_use]
    fn corrupted(self) -> Self;
}

impl Observed for bool {
    fn corrupted(self) -> Self {
        !self
    }
}

macro_rules! integers {
    ($($kind:ty)+) => { $(impl Observed for $kind {
        fn corrupted(self) -> Self {
            !self
        }
    })+ };
}

integers!(u8 u16 u32 u64 i64 usize);

impl<T: Observed, const N: usize> Observed for [T; N] {
    fn corrupted(self) -> Self {
        self.map(Observed::corrupted)
    }
}
