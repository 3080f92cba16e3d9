//! Keys that the manager sends to the kernel, as the Magic SysRq key of a keyboard does.
//!
//! The library knows those that any kernel can act on; the kernel's own come behind them. Unknown keys print the list.

use crate::println;
use crate::shutdown::{power_off, reboot};
use crate::xenstore::{Store, StoreError};

/// Where the manager writes the key.
const KEY: &str = "control/sysrq";

/// A key of the kernel's own: its character, what it does in a word, and how.
pub type Key = (char, &'static str, fn());

/// Waits for keys, acknowledges and acts on them; returns only if the store fails.
///
/// # Errors
/// What the store answers.
///
/// # Panics
/// At the key that asks for it: the kernel's way to crash is what is wanted then.
pub async fn run(store: Store, own: &[Key]) -> Result<(), StoreError> {
    let mut watch = store.watch(KEY).await?;
    loop {
        watch.next().await?;
        let key = match store.take(KEY, parse).await {
            Ok(Some(key)) => key,
            Ok(None) | Err(StoreError::NotFound) => continue,
            Err(error) => return Err(error),
        };
        match key {
            'b' => {
                println!("sysrq: reboot");
                reboot()
            }
            'o' => {
                println!("sysrq: power off");
                power_off()
            }
            'c' => panic!("sysrq asked for a crash"),
            _ => match own.iter().find(|(name, _, _)| *name == key) {
                Some((_, word, act)) => {
                    println!("sysrq: {word}");
                    act();
                }
                None => help(own),
            },
        }
    }
}

fn parse(value: &[u8]) -> Option<char> {
    match value {
        [key] if key.is_ascii_graphic() => Some(char::from(*key)),
        _ => None,
    }
}

fn help(own: &[Key]) {
    crate::print!("sysrq: help(h) reboot(b) crash(c) poweroff(o)");
    for (key, word, _) in own {
        crate::print!(" {word}({key})");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_printing_character() {
        assert_eq!(parse(b"h"), Some('h'));
        for bad in [&b""[..], b"\0", b"hh", b" "] {
            assert_eq!(parse(bad), None);
        }
    }
}
