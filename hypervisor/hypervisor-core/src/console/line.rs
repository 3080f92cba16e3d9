//! A guest's lines on the machine's console.
//!
//! The first domain writes raw. All others are shown line by line with their number in front, escaped, and no faster than
//! [`LINES_PER_SECOND`]; what is more is dropped and counted, so a guest can neither flood nor forge.

use crate::ids::Nanos;

/// The longest line of a guest; longer ones are broken.
const LINE: usize = 240;
/// Lines that a domain may print per second.
pub const LINES_PER_SECOND: u32 = 200;
/// A domain's unfinished line and its rate.
#[derive(Debug)]
pub struct ConsoleLine {
    bytes: [u8; LINE],
    used: usize,
    second: u64,
    lines: u32,
    dropped: u32,
}

impl ConsoleLine {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            used: 0,
            second: 0,
            lines: 0,
            dropped: 0,
        }
    }

    /// Adds text; calls `show` with each line that is complete. `show` gets the number of lines dropped before it too.
    pub fn write(&mut self, text: &[u8], now: Nanos, mut show: impl FnMut(&[u8], u32)) {
        for &byte in text {
            if byte == b'\n' {
                self.end(now, &mut show);
                continue;
            }
            if byte == b'\r' || byte == 0 {
                continue;
            }
            if self.used == LINE {
                self.end(now, &mut show);
            }
            // Control bytes could move the cursor or forge a line.
            let shown = if byte == b'\t' || (0x20..0x7f).contains(&byte) {
                byte
            } else {
                b'.'
            };
            if let Some(slot) = self.bytes.get_mut(self.used) {
                *slot = shown;
                self.used = self.used.saturating_add(1);
            }
        }
    }

    fn end(&mut self, now: Nanos, show: &mut impl FnMut(&[u8], u32)) {
        let second = now.get().checked_div(1_000_000_000).unwrap_or(0);
        if second != self.second {
            self.second = second;
            self.lines = 0;
        }
        if self.lines < LINES_PER_SECOND {
            self.lines = self.lines.saturating_add(1);
            let dropped = core::mem::take(&mut self.dropped);
            show(self.bytes.get(..self.used).unwrap_or(&[]), dropped);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.used = 0;
    }
}

impl Default for ConsoleLine {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    fn lines(line: &mut ConsoleLine, text: &[u8], now: u64) -> Vec<(String, u32)> {
        let mut shown = Vec::new();
        line.write(text, Nanos::new(now), |bytes, dropped| {
            shown.push((String::from_utf8(bytes.to_vec()).unwrap(), dropped));
        });
        shown
    }

    #[test]
    fn a_line_is_shown_when_it_ends_with_control_bytes_replaced() {
        let mut line = ConsoleLine::new();
        assert!(lines(&mut line, b"one \x1b[2J", 0).is_empty());
        assert_eq!(
            lines(&mut line, b"two\r\nthree\n", 0),
            [("one .[2Jtwo".into(), 0), ("three".into(), 0)]
        );
    }

    #[test]
    fn an_endless_line_is_broken() {
        let mut line = ConsoleLine::new();
        let shown = lines(&mut line, &[b'x'; 600], 0);
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].0.len(), LINE);
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let mut line = ConsoleLine::new();
        assert_eq!(lines(&mut line, &[b'\n'; 1000], 0).len(), 200);
        let later = lines(&mut line, b"again\n", 1_000_000_000);
        assert_eq!(later, [("again".into(), 800)]);
    }
}
