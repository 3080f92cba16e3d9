//! A line being typed: what to keep and what to echo.

use alloc::string::String;

/// Characters that a line may have; more are not taken.
const LIMIT: usize = 256;

/// One line under edit. Backspace, ^U (all) and ^C (all, new line) work; other control characters do nothing.
#[derive(Debug, Default)]
pub struct LineEditor {
    line: String,
    /// The last byte was a carriage return: a line feed behind it belongs to it.
    after_return: bool,
}

/// What a byte did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Nothing to show.
    Nothing,
    /// Show this.
    Echo(&'static str),
    /// Show the character typed.
    EchoTyped(char),
    /// The line is complete; it is empty again.
    Line(String),
}

impl LineEditor {
    /// Takes one byte of input.
    pub fn input(&mut self, byte: u8) -> Edit {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => Edit::Nothing,
            b'\r' | b'\n' => Edit::Line(core::mem::take(&mut self.line)),
            0x08 | 0x7f => self
                .line
                .pop()
                .map_or(Edit::Nothing, |_| Edit::Echo("\x08 \x08")),
            0x15 => {
                self.line.clear();
                Edit::Echo("\r\x1b[K")
            }
            0x03 => {
                self.line.clear();
                Edit::Line(String::new())
            }
            0x20..=0x7e if self.line.len() < LIMIT => {
                self.line.push(char::from(byte));
                Edit::EchoTyped(char::from(byte))
            }
            _ => Edit::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_all(editor: &mut LineEditor, text: &str) -> Edit {
        text.bytes()
            .map(|byte| editor.input(byte))
            .last()
            .unwrap_or(Edit::Nothing)
    }

    #[test]
    fn either_line_end_completes_a_line_once() {
        let mut editor = LineEditor::default();
        assert_eq!(type_all(&mut editor, "mem\r"), Edit::Line("mem".into()));
        assert_eq!(editor.input(b'\n'), Edit::Nothing);
        assert_eq!(type_all(&mut editor, "cpus\n"), Edit::Line("cpus".into()));
    }

    #[test]
    fn backspace_takes_the_last_character_and_stops_at_the_start() {
        let mut editor = LineEditor::default();
        assert_eq!(type_all(&mut editor, "ab\x7f"), Edit::Echo("\x08 \x08"));
        assert_eq!(type_all(&mut editor, "\x7f\x7f"), Edit::Nothing);
        assert_eq!(type_all(&mut editor, "x\r"), Edit::Line("x".into()));
    }

    #[test]
    fn control_characters_do_not_enter_the_line() {
        let mut editor = LineEditor::default();
        assert_eq!(
            type_all(&mut editor, "a\x1b\x00b\r"),
            Edit::Line("ab".into())
        );
    }

    #[test]
    fn a_line_does_not_grow_without_bound() {
        let mut editor = LineEditor::default();
        for _ in 0..10_000 {
            editor.input(b'x');
        }
        let Edit::Line(line) = editor.input(b'\r') else {
            panic!("a return completes the line")
        };
        assert_eq!(line.len(), LIMIT);
    }
}
