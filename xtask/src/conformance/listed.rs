//! The differences that `docs/divergences.md` lists for the suite: rows of the table under [`HEADING`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Under this heading the table is.
const HEADING: &str = "## Answers that differ";

/// The classes of differences that the page explains.
const CLASSES: &[&str] = &["refused", "stricter", "not yet", "machine"];

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// What Xen answers.
    pub(crate) xen: String,
    /// What Paravane answers.
    pub(crate) paravane: String,
}

/// Differences by check and role.
pub(crate) type Table = BTreeMap<(String, String), Listed>;

/// Reads the table: `| check | role | Xen | Paravane | class | why |`.
pub(crate) fn read(page: &str) -> Result<Table> {
    let (_, section) = page
        .split_once(HEADING)
        .with_context(|| format!("docs/divergences.md has no `{HEADING}`"))?;
    let rows = section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"));
    let mut table = Table::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [check, role, xen, paravane, class, why] = cells.as_slice() else {
            bail!("docs/divergences.md: this row has not six cells: {row}");
        };
        if !CLASSES.contains(class) || why.is_empty() {
            bail!("docs/divergences.md: no class of differences, or no reason: {row}");
        }
        let roles: &[&str] = match *role {
            "first" => &["first"],
            "ordinary" => &["ordinary"],
            "both" => &["first", "ordinary"],
            _ => bail!("docs/divergences.md: no role: {row}"),
        };
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        for role in roles {
            let listed = Listed {
                xen: bare(xen),
                paravane: bare(paravane),
            };
            if table
                .insert((bare(check), (*role).to_owned()), listed)
                .is_some()
            {
                bail!("docs/divergences.md lists {check} twice");
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# x\n| `no` | first | `1` | `2` | refused | why |\n## Answers that differ\n\n\
        | check | role |\n|---|---|\n| `a.b` | both | `-22` | `(0, [1])` | not yet | later |\n## More\n| `c` |\n";

    #[test]
    fn rows_are_read_from_their_section_only() {
        let table = read(PAGE).unwrap();
        assert_eq!(table.len(), 2);
        let row = &table[&("a.b".to_owned(), "ordinary".to_owned())];
        assert_eq!(
            (row.xen.as_str(), row.paravane.as_str()),
            ("-22", "(0, [1])")
        );
    }

    #[test]
    fn a_row_without_class_or_reason_is_refused() {
        assert!(read(&PAGE.replace("not yet", "whim")).is_err());
        assert!(read(&PAGE.replace("later", "")).is_err());
        assert!(read("# none").is_err());
    }
}
