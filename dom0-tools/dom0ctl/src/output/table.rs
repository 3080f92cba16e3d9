//! Tables: framed where people look, plain columns in a pipe.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A table as text, ending in a line feed.
#[must_use]
pub fn render(columns: &[(&str, Align)], rows: Vec<Vec<String>>, terminal: bool) -> String {
    let mut table = Table::new();
    if terminal {
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
    }
    table.set_header(columns.iter().map(|(name, _)| *name));
    for row in rows {
        table.add_row(row);
    }
    for (column, (_, align)) in table.column_iter_mut().zip(columns) {
        if !terminal {
            column.set_padding((0, 2));
        }
        if *align == Align::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// Pairs of a name and a value, one per line.
#[must_use]
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    rows.iter()
        .map(|(name, value)| format!("{name:width$}{value}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_get_plain_columns() {
        let columns = [("name", Align::Left), ("n", Align::Right)];
        let rows = vec![
            vec!["a".into(), "10".into()],
            vec!["bcdef".into(), "9".into()],
        ];
        let text = render(&columns, rows, false);
        assert_eq!(text, "name    n\na      10\nbcdef   9\n");
    }

    #[test]
    fn pairs_line_up() {
        let text = pairs(&[("a", "1".into()), ("long", "2".into())]);
        assert_eq!(text, "a     1\nlong  2\n");
    }
}
