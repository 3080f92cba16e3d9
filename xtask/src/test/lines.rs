//! File length: a long file is a subject that was not divided.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::test::suite::Suite;

/// More lines than this need a reason in [`EXCEPTIONS`].
const LIMIT: usize = 700;

/// Files that may be longer, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

const CODE: &[&str] = &["rs", "s", "S", "ld", "c", "h", "py", "sh"];

pub(crate) fn lines(suite: &mut Suite<'_>) -> Result<()> {
    let mut too_long = Vec::new();
    let mut count = 0_u32;
    for file in suite.workspace().files()? {
        let is_code = file
            .extension()
            .is_some_and(|extension| CODE.iter().any(|code| extension == *code));
        if !is_code {
            continue;
        }
        count += 1;
        let path = suite.workspace().root().join(&file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = String::from_utf8_lossy(&text).lines().count();
        let excused = EXCEPTIONS.iter().any(|(name, _)| file.as_os_str() == *name);
        if lines > LIMIT && !excused {
            too_long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    let outcome = || {
        if !too_long.is_empty() {
            bail!("longer than {LIMIT} lines:\n{}", too_long.join("\n"));
        }
        Ok(())
    };
    suite.case(&format!("{count} files"), outcome());
    Ok(())
}
