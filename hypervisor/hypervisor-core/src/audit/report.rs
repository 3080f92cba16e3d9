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
    /// Tables looked at.
    pub tables: u64,
    /// Ports looked at.
    pub ports: u64,
    /// Mappings of grants looked at.
    pub grants: u64,
    /// The first breach.
    pub first: Option<Breach>,
}

impl Report {
    /// Notes a breach.
    pub fn add(&mut self, breach: Breach) {
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

    #[test]
    fn the_first_breach_is_told_in_the_room_there_is() {
        let mut report = Report::default();
        assert_eq!(report.describe(&mut [0; 8]), 0);
        let number = 0x1a;
        report.add(Breach::View { domid: 3, number });
        report.add(Breach::View { domid: 4, number });
        assert_eq!(report.breaches, 2);
        let mut text = [0; 64];
        let length = report.describe(&mut text);
        assert_eq!(
            &text[..length],
            b"I-11 view: d3: expected no PFN for frame 0x1a, found one"
        );
        assert_eq!(report.describe(&mut text[..4]), 4);
    }
}
