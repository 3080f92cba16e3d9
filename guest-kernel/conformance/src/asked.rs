//! What calls under test asked of which rows of the hypercall table, and how they were answered: told with each check, so that
//! whoever runs the suite can compare it with the table.

use core::fmt;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guest_kernel::paging::frame_at;
use hypercall_abi::grant::{
    GNTTABOP_COPY, GNTTABOP_GET_STATUS_FRAMES, GNTTABOP_MAP_GRANT_REF, GNTTABOP_QUERY_SIZE,
    GNTTABOP_SETUP_TABLE, GNTTABOP_SWAP_GRANT_REF, GNTTABOP_UNMAP_AND_REPLACE,
    GNTTABOP_UNMAP_GRANT_REF, GetStatusFrames, GrantCopy, MapGrantRef, QuerySize, SetupTable,
    SwapGrantRef, UnmapAndReplace, UnmapGrantRef,
};
use hypercall_abi::mmu::{MmuUpdate, MmuextOp};
use hypercall_abi::number::{GRANT_TABLE_OP, MEMORY_OP, MMU_UPDATE, MMUEXT_OP};
use hypercall_abi::table;

use crate::fixture::read;

/// Answers that one check may get of different kinds.
const KINDS: usize = 48;

/// Elements of a list that are looked at; checks use longer lists for what all elements have in common.
const ELEMENTS: u64 = 4;

/// From here on addresses are the kernel's own: below are the hypervisor's and what is not canonical.
const KERNEL: u64 = 0xffff_8800_0000_0000;

/// One question and its answer.
#[derive(Clone, Copy)]
struct Ask {
    call: u32,
    operation: Option<u32>,
    answer: Answer,
}

/// A result (0 for all that is no error), or the status of a list's element.
#[derive(Clone, Copy)]
enum Answer {
    Result(i16),
    Status(i16),
}

/// In an [`Ask`] as a word: it is one.
const SOME: u64 = 1 << 16;
/// It has an operation.
const OPERATION: u64 = 1 << 17;
/// It has a status.
const STATUS: u64 = 1 << 18;

impl Ask {
    /// As a word: answer, marks, call and operation.
    fn pack(self) -> u64 {
        let (answer, mark) = match self.answer {
            Answer::Result(result) => (result, SOME),
            Answer::Status(status) => (status, SOME | STATUS),
        };
        let operation = self
            .operation
            .map_or(0, |number| OPERATION | u64::from(number) << 32);
        u64::from(answer.cast_unsigned()) | mark | operation | u64::from(self.call) << 24
    }

    fn unpack(word: u64) -> Option<Self> {
        let [low, high, _, call, operation @ ..] = word.to_le_bytes();
        let answer = i16::from_le_bytes([low, high]);
        (word & SOME != 0).then_some(Self {
            call: u32::from(call),
            operation: (word & OPERATION != 0).then_some(u32::from_le_bytes(operation)),
            answer: if word & STATUS == 0 {
                Answer::Result(answer)
            } else {
                Answer::Status(answer)
            },
        })
    }
}

/// What the check that runs asked. Words and no lock: a lock of the kernel's masks upcalls, which checks look at.
static ASKED: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];

/// Forgets what was asked before.
pub(crate) fn begin() {
    for place in &ASKED {
        place.store(0, Relaxed);
    }
}

/// Notes one call and its result.
pub fn note(call: u64, arguments: &[u64], result: i64) {
    let first = arguments.first().copied().unwrap_or(0);
    // What is in no row is not told.
    let Some(row) = table::hypercall(call) else {
        return;
    };
    let answer = Answer::Result(i16::try_from(result.min(0)).unwrap_or(i16::MIN));
    let add = |operation: Option<u64>| add(row.number, operation, answer);
    match row.number {
        _ if row.operations.is_empty() => add(None),
        MMU_UPDATE => list(arguments, 0, size_of::<MmuUpdate>(), result, |at| {
            add(Some(read(at) & 7));
        }),
        MMUEXT_OP => list(arguments, 0, size_of::<MmuextOp>(), result, |at| {
            add(Some(read(at)));
        }),
        GRANT_TABLE_OP => match status_of(first).filter(|_| result == 0) {
            None => add(Some(first)),
            Some(place) => statuses(row.number, arguments, first, place),
        },
        MEMORY_OP => add(Some(first & 0x3f)),
        _ => add(Some(first)),
    }
}

/// Looks at the elements of a list, if they are there and it is known which of them the result is about.
fn list(arguments: &[u64], at: usize, size: usize, result: i64, mut look: impl FnMut(u64)) {
    let argument = |place: usize| arguments.get(place).copied().unwrap_or(0);
    let (start, count) = (argument(at), argument(at + 1) & 0x7fff_ffff);
    if count > 1 && result < 0 {
        return;
    }
    for index in 0..count.min(ELEMENTS) {
        let address = start.wrapping_add(index * size as u64);
        let end = address.wrapping_add(size as u64 - 1);
        let there = |at: u64| usize::try_from(at).is_ok_and(|at| frame_at(at).is_some());
        if address >= KERNEL && there(address) && there(end) {
            look(address);
        }
    }
}

/// Where the elements of a grant operation have their status.
fn status_of(operation: u64) -> Option<(usize, usize)> {
    macro_rules! places {
        ($($number:ident: $element:ident),*) => {
            match u32::try_from(operation & 0xffff_ffff).ok()? {
                $($number => Some((size_of::<$element>(), offset_of!($element, status))),)*
                _ => None,
            }
        };
    }
    places!(
        GNTTABOP_MAP_GRANT_REF: MapGrantRef,
        GNTTABOP_UNMAP_GRANT_REF: UnmapGrantRef,
        GNTTABOP_SETUP_TABLE: SetupTable,
        GNTTABOP_COPY: GrantCopy,
        GNTTABOP_QUERY_SIZE: QuerySize,
        GNTTABOP_UNMAP_AND_REPLACE: UnmapAndReplace,
        GNTTABOP_GET_STATUS_FRAMES: GetStatusFrames,
        GNTTABOP_SWAP_GRANT_REF: SwapGrantRef
    )
}

/// Looks at the statuses of a list that was gone through.
fn statuses(call: u32, arguments: &[u64], operation: u64, (size, offset): (usize, usize)) {
    list(arguments, 1, size, 0, |at| {
        let place = at + offset as u64;
        let [low, high, ..] = (read(place & !7) >> (8 * (place & 7))).to_le_bytes();
        let answer = match i16::from_le_bytes([low, high]) {
            0 => Answer::Result(0),
            status => Answer::Status(status),
        };
        add(call, Some(operation), answer);
    });
}

/// Notes an answer, once. Operations have 32 bits.
fn add(call: u32, operation: Option<u64>, answer: Answer) {
    let operation = operation.map(|number| {
        let [a, b, c, d, ..] = number.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    });
    let word = Ask {
        call,
        operation,
        answer,
    }
    .pack();
    let free = ASKED
        .iter()
        .find(|place| [0, word].contains(&place.load(Relaxed)));
    let Some(place) = free else {
        panic!("a check asks for more kinds of answers than it can tell")
    };
    place.store(word, Relaxed);
}

/// What the check that runs has asked so far, for its line.
pub(crate) struct Asked;

/// `CALL.OPERATION=RESULT`, with `s` before a status, separated by commas.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = ASKED
            .iter()
            .map_while(|place| Ask::unpack(place.load(Relaxed)));
        for (place, ask) in asks.enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", ask.call)?;
            if let Some(operation) = ask.operation {
                write!(f, ".{operation}")?;
            }
            match ask.answer {
                Answer::Result(result) => write!(f, "={result}")?,
                Answer::Status(status) => write!(f, "=s{status}")?,
            }
        }
        Ok(())
    }
}
