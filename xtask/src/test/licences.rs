//! Licences: every crate that is built into anything may be used under permissive terms.

use anyhow::{Result, bail};

use crate::build::metadata::Metadata;
use crate::test::suite::Suite;

/// Terms that ask for no more than attribution.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "WTFPL",
    "Zlib",
    "bzip2-1.0.6",
];

pub(crate) fn licences(suite: &mut Suite<'_>) -> Result<()> {
    let metadata = Metadata::read(suite.workspace())?;
    let refused: Vec<String> = metadata
        .licences()
        .iter()
        .filter(|(_, licence)| !is_permissive(licence))
        .map(|(package, licence)| format!("{package}: `{licence}`"))
        .collect();
    let outcome = || {
        if !refused.is_empty() {
            bail!("not permissive, or not understood:\n{}", refused.join("\n"));
        }
        Ok(())
    };
    suite.case(
        &format!("{} packages", metadata.licences().len()),
        outcome(),
    );
    Ok(())
}

/// Reads an SPDX expression of `AND`, `OR` (also spelt `/`) and parentheses: some choice in it must be permissive.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    choice(&mut rest) == Some(true) && rest.is_empty()
}

fn choice(rest: &mut &[&str]) -> Option<bool> {
    let mut any = all(rest)?;
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        any |= all(rest)?;
    }
    Some(any)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut every = term(rest)?;
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        every &= term(rest)?;
    }
    Some(every)
}

fn term(rest: &mut &[&str]) -> Option<bool> {
    let (&word, after) = rest.split_first()?;
    *rest = after;
    if word == "(" {
        let inner = choice(rest)?;
        let (&close, after) = rest.split_first()?;
        *rest = after;
        return (close == ")").then_some(inner);
    }
    let mut name = word.to_owned();
    if let [first, exception, after @ ..] = *rest
        && *first == "WITH"
    {
        name = format!("{word} WITH {exception}");
        *rest = after;
    }
    Some(PERMISSIVE.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permissive_choice_is_enough() {
        assert!(is_permissive("MIT OR LGPL-2.1"));
        assert!(is_permissive("Apache-2.0/MIT"));
        assert!(is_permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(is_permissive("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(!is_permissive("GPL-3.0"));
        assert!(!is_permissive("MIT AND GPL-2.0"));
        assert!(!is_permissive("MIT OR"));
        assert!(!is_permissive("(MIT"));
        assert!(!is_permissive(""));
    }
}
