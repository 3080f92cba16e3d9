//! The two ways to detach, found in what is typed.
//!
//! `Ctrl-]` works anywhere, like telnet's and virsh's. `~.` works at the beginning of a line, like ssh's; `~~` there is one `~`.

/// Ctrl-].
const DETACH: u8 = 0x1d;

/// Where in a line the typing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Beginning,
    AfterTilde,
    Within,
}

/// What came out of a piece of typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Input for the guest, if anything.
    Input,
    /// The wish to detach.
    Detach,
}

/// Follows what is typed.
#[derive(Debug)]
pub(super) struct Escape(Place);

impl Escape {
    pub(super) const fn new() -> Self {
        Self(Place::Beginning)
    }

    /// Appends to `out` what is meant for the guest.
    pub(super) fn hear(&mut self, typed: &[u8], out: &mut Vec<u8>) -> Heard {
        for byte in typed.iter().copied() {
            if byte == DETACH {
                return Heard::Detach;
            }
            match (self.0, byte) {
                (Place::AfterTilde, b'.') => return Heard::Detach,
                (Place::Beginning, b'~') => {
                    self.0 = Place::AfterTilde;
                    continue;
                }
                (Place::AfterTilde, b'~') | (Place::Beginning | Place::Within, _) => {}
                (Place::AfterTilde, _) => out.push(b'~'),
            }
            out.push(byte);
            self.0 = if matches!(byte, b'\r' | b'\n') {
                Place::Beginning
            } else {
                Place::Within
            };
        }
        Heard::Input
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(pieces: &[&str]) -> (String, Heard) {
        let (mut escape, mut out) = (Escape::new(), Vec::new());
        let mut heard = Heard::Input;
        for piece in pieces {
            heard = escape.hear(piece.as_bytes(), &mut out);
        }
        (String::from_utf8(out).unwrap(), heard)
    }

    #[test]
    fn both_ways_detach() {
        assert_eq!(hear(&["ab\x1dcd"]), ("ab".into(), Heard::Detach));
        assert_eq!(hear(&["~."]), ("".into(), Heard::Detach));
        assert_eq!(hear(&["ls\r~", "."]), ("ls\r".into(), Heard::Detach));
    }

    #[test]
    fn all_else_is_for_the_guest() {
        assert_eq!(hear(&["a~.b"]), ("a~.b".into(), Heard::Input));
        assert_eq!(hear(&["~~."]), ("~.".into(), Heard::Input));
        assert_eq!(hear(&["~x\n"]), ("~x\n".into(), Heard::Input));
    }
}
