//! What an audit found.

use core::fmt::{self, Write};

use super::invariant::Breach;

/// The result of an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Broken invariants.
    pub breaches: u64,
    /// Frames looked at.
    pub frames: u64,
    /// The first breach.
    pub first: Option<Breach>,
}

impl Report {
    /// Notes a breach.
    pub(super) fn add(&mut self, breach: Breach) {
        self.breaches = self.breaches.saturating_add(1);
        self.first.get_or_insert(breach);
    }

    /// The first breach as text, cut to the length of the buffer; the number of bytes.
    pub fn describe(&self, text: &mut [u8]) -> usize {
        let mut writer = Bounded { text, length: 0 };
        if let Some(breach) = self.first {
            // Cut text is all that can go wrong.
            let _cut = write!(writer, "{breach}").is_err();
        }
        writer.length
    }
}

struct Bounded<'a> {
    text: &'a mut [u8],
    length: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..).ok_or(fmt::Error)?;
        for (to, from) in room.iter_mut().zip(part.bytes()) {
            *to = from;
            self.length = self.length.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Mfn;

    #[test]
    fn the_first_breach_is_told_in_the_room_there_is() {
        let mut report = Report::default();
        assert_eq!(report.describe(&mut [0; 8]), 0);
        report.add(Breach::Changing {
            frame: Mfn::new(0x1a),
        });
        report.add(Breach::FreeFrame {
            frame: Mfn::new(0x1b),
        });
        assert_eq!(report.breaches, 2);
        let mut text = [0; 64];
        let length = report.describe(&mut text);
        assert_eq!(
            &text[..length],
            b"I-05 changing: frame 0x1a is left between two types"
        );
        assert_eq!(report.describe(&mut text[..4]), 4);
    }
}
