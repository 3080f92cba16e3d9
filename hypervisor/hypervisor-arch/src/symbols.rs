//! Names of our functions, for backtraces.
//!
//! The section `.symbols` has room for a table that the build fills in after linking, since only then addresses are
//! known; empty, it makes no difference but that addresses stay numbers. Little-endian: the number of functions (u32),
//! for each, in ascending order, its distance from `text_start` and that of its name from the first name (u32 each), then
//! the names, each ended by a zero byte.

/// Bytes of the table's room.
const ROOM: usize = 192 << 10;

#[unsafe(link_section = ".symbols")]
#[unsafe(no_mangle)]
#[used]
static PARAVANE_SYMBOLS: [u8; ROOM] = [0; ROOM];

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
}

/// The function that `address` lies in, and how far.
pub(crate) fn lookup(address: u64) -> Option<(&'static str, u64)> {
    let start = (&raw const text_start).addr() as u64;
    let end = (&raw const text_end).addr() as u64;
    if !(start..end).contains(&address) {
        return None;
    }
    let distance = u32::try_from(address - start).ok()?;
    let table = table();
    let count = word(table, 0)? as usize;
    let at = |index: usize| Some((word(table, 4 + 8 * index)?, word(table, 8 + 8 * index)?));
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if at(middle)?.0 <= distance {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let (function, name) = at(low.checked_sub(1)?)?;
    let names = table.get(4 + 8 * count..)?;
    let name = names.get(name as usize..)?;
    let length = name.iter().position(|&byte| byte == 0)?;
    let name = core::str::from_utf8(name.get(..length)?).ok()?;
    Some((name, u64::from(distance - function)))
}

/// The table as the build left it, not as the compiler saw it.
fn table() -> &'static [u8] {
    let start = core::hint::black_box(PARAVANE_SYMBOLS.as_ptr());
    // SAFETY: the static's own bytes.
    unsafe { core::slice::from_raw_parts(start, ROOM) }
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    let bytes = table.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
