//! Docs: every relative link leads somewhere, and every command that a fenced block shows is one that its program takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::test::suite::Suite;

pub(crate) fn docs(suite: &mut Suite<'_>) -> Result<()> {
    let files = suite.workspace().files()?;
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
    {
        suite.case(
            &format!("links of {}", file.display()),
            links_lead_somewhere(suite.workspace().root(), file),
        );
        let text = read(&suite.workspace().root().join(file))?;
        let commands = commands(&text);
        if !commands.is_empty() {
            suite.case(
                &format!("{} commands of {}", commands.len(), file.display()),
                commands.iter().try_for_each(is_taken),
            );
        }
    }
    Ok(())
}

fn links_lead_somewhere(root: &Path, file: &Path) -> Result<()> {
    let path = root.join(file);
    let text = read(&path)?;
    let broken: Vec<String> = links(&text)
        .into_iter()
        .filter(|link| !leads_somewhere(&path, &text, link))
        .collect();
    if !broken.is_empty() {
        bail!("broken: {}", broken.join(", "));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The ways to call our two programs.
const PROGRAMS: &[(&str, Program)] = &[
    ("cargo xtask ", Program::Xtask),
    ("cargo run -q -p dom0ctl -- ", Program::Dom0ctl),
    ("dom0ctl ", Program::Dom0ctl),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Xtask,
    Dom0ctl,
}

/// Command lines of our programs in fenced blocks, with or without a prompt, up to a comment or redirection.
fn commands(text: &str) -> Vec<(Program, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let line = line.trim();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let called = PROGRAMS
            .iter()
            .find_map(|(prefix, program)| Some((*program, line.strip_prefix(prefix)?)));
        if let Some((program, rest)) = called.filter(|_| fenced) {
            let end = rest
                .find(['#', '<', '>', '|', '&', ';', '['])
                .unwrap_or(rest.len());
            let (words, _) = rest.split_at(end);
            found.push((program, words.trim().to_owned()));
        }
    }
    found
}

/// Whether the program would take these words, without running it.
fn is_taken((program, words): &(Program, String)) -> Result<()> {
    let words = crate::run::prompt::words(words).map_err(anyhow::Error::msg)?;
    let args = std::iter::once("program".to_owned()).chain(words);
    let parsed = match program {
        Program::Xtask => crate::Arguments::try_parse_from(args).map(|_| ()),
        Program::Dom0ctl => dom0ctl::args::Cli::try_parse_from(args).map(|_| ()),
    };
    match parsed {
        Err(error) if error.use_stderr() => bail!("{program:?}: {error}"),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn leads_somewhere(from: &Path, text: &str, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        return anchors(text).contains(anchor);
    }
    let target = from.parent().unwrap_or(Path::new("")).join(file);
    if anchor.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor))
}

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let without_code: String = line.split('`').step_by(2).collect();
        let mut rest = without_code.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, behind) = after.split_once(')').unwrap_or((after, ""));
            found.push(target.split(' ').next().unwrap_or_default().to_owned());
            rest = behind;
        }
    }
    found
}

/// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The anchors that headings get: lower case, spaces as hyphens, punctuation dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect::<String>()
                .to_lowercase()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_only() {
        let text = "see [a](b.md) and [c](d#e \"t\"), not `[x](y)`\n```\n[z](w)\n```\n[f](g)";
        assert_eq!(links(text), ["b.md", "d#e", "g"]);
    }

    #[test]
    fn commands_are_found_in_fenced_blocks_only() {
        let text =
            "cargo xtask run\n```sh\n$ cargo xtask test --list # all\ndom0ctl list | wc\nls\n```\n";
        let found = commands(text);
        assert_eq!(
            found,
            [
                (Program::Xtask, "test --list".to_owned()),
                (Program::Dom0ctl, "list".to_owned())
            ]
        );
        assert!(found.iter().all(|command| is_taken(command).is_ok()));
        assert!(is_taken(&(Program::Dom0ctl, "lsit".to_owned())).is_err());
    }

    #[test]
    fn anchors_follow_headings() {
        let anchors = anchors("# The `two` commands!\n```\n# no\n```\n## A b");
        assert!(anchors.contains("the-two-commands") && anchors.contains("a-b"));
        assert_eq!(anchors.len(), 2);
    }
}
