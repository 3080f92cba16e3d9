//! The prompt after the tour: a line is a command of `dom0ctl`, carried out by the same code over the same socket.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::run::client::Client;
use crate::run::qemu::End;
use crate::run::stack::Stack;

/// How long the machine may take to go after it has agreed to.
const FAREWELL: Duration = Duration::from_secs(30);

/// Takes commands until the machine is no more, and says how it ended.
pub(crate) fn run(stack: &mut Stack, client: &Client) -> Result<End> {
    println!("\nThe machine is yours: commands of dom0ctl, `help` for a list, `poweroff` to end.");
    let mut editor = DefaultEditor::new().context("cannot read from this terminal")?;
    loop {
        let line = match editor.readline("paravane> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                println!("`poweroff` ends the machine");
                continue;
            }
            Err(ReadlineError::Eof) => "poweroff".to_owned(),
            Err(error) => return Err(error).context("cannot read from this terminal"),
        };
        if stack.machine().has_ended() {
            println!("the machine has ended by itself");
            return stack.machine().wait_forever();
        }
        let words = match words(&line) {
            Ok(words) => as_meant(words),
            Err(why) => {
                println!("{why}");
                continue;
            }
        };
        let Some(command) = words.first() else {
            continue;
        };
        // History is a convenience: a line that it does not take is no loss.
        editor.add_history_entry(&line).ok();
        let ends = command == "poweroff";
        let code = client.show(words.iter().map(OsString::from));
        if ends && code == 0 {
            return stack.machine().wait(FAREWELL);
        }
    }
}

/// What people type at any prompt: the program's name in front, and other words for the end.
fn as_meant(mut words: Vec<String>) -> Vec<String> {
    if words.len() > 1 && words.first().is_some_and(|first| first == "dom0ctl") {
        words.remove(0);
    }
    if let [only] = words.as_mut_slice()
        && matches!(only.as_str(), "exit" | "quit")
    {
        "poweroff".clone_into(only);
    }
    words
}

/// Splits a line into words as a shell would: by blanks, with quotes and backslashes.
pub(crate) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let escaped = characters.next().ok_or("a backslash ends the line")?;
                word.get_or_insert_default().push(escaped);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_taken_as_it_is_meant() {
        let meant = |line: &str| as_meant(words(line).unwrap());
        assert_eq!(meant("dom0ctl list --json"), ["list", "--json"]);
        assert_eq!(meant("quit"), ["poweroff"]);
        assert_eq!(meant("show exit"), ["show", "exit"]);
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(words("  list  --json ").unwrap(), ["list", "--json"]);
        assert_eq!(
            words(r#"create --cmdline "a 'b' c" --name 'x y'\ z ''"#).unwrap(),
            ["create", "--cmdline", "a 'b' c", "--name", "x y z", ""]
        );
        assert!(words("").unwrap().is_empty());
        assert!(words("'open").is_err());
        assert!(words("end\\").is_err());
    }
}
