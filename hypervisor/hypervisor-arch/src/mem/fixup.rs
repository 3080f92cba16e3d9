//! Instructions of ours that may fault, and where to go on if they do.
//!
//! Each is declared beside its `asm!` by a pair of 32-bit distances in the section `.fixups`: from the pair's first
//! word to the instruction, from its second to the target.

unsafe extern "C" {
    static fixups_start: u8;
    static fixups_end: u8;
}

/// Declares that a fault at local label `$from` goes on at local label `$to`.
macro_rules! fixup {
    ($from:expr, $to:expr) => {
        concat!(
            ".pushsection .fixups, \"a\"\n",
            ".long ",
            $from,
            " - .\n",
            ".long ",
            $to,
            " - .\n",
            ".popsection"
        )
    };
}
pub(crate) use fixup;

/// Where to go on after a fault at `rip`, if it may fault there.
pub(crate) fn lookup(rip: u64) -> Option<u64> {
    let mut at = (&raw const fixups_start).cast::<i32>();
    let end = (&raw const fixups_end).cast::<i32>();
    while at < end {
        let from = resolve(at);
        let to = resolve(at.wrapping_add(1));
        if from == rip {
            return Some(to);
        }
        at = at.wrapping_add(2);
    }
    None
}

/// The address that the distance at `word` names.
fn resolve(word: *const i32) -> u64 {
    // SAFETY: `lookup` stays inside the section, which holds pairs of aligned words.
    let distance = unsafe { word.read() };
    (word.addr() as u64).wrapping_add_signed(i64::from(distance))
}
