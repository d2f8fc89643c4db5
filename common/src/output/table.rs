//! Tables: a buffered head whose widths are measured, and rows of fixed widths after it.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};

use super::record::{Align, Cell, Column};

/// Between two columns.
const GAP: &str = "   ";

/// The columns that a table shows.
pub fn visible(columns: &'static [Column], wide: bool) -> Vec<(usize, &'static Column)> {
    columns.iter().enumerate().filter(|(_, column)| wide || !column.wide).collect()
}

/// Picks the visible cells of a row in their human form.
pub fn texts(shown: &[(usize, &'static Column)], cells: &[Cell]) -> Vec<String> {
    shown.iter().map(|&(at, _)| cells.get(at).map_or_else(String::new, Cell::human)).collect()
}

/// Leaves out the columns that are to be shown only where rows differ in them, and do not.
pub fn leave_out(shown: &mut Vec<(usize, &'static Column)>, rows: &mut [Vec<String>]) {
    let same = |at: usize| rows.windows(2).all(|pair| pair[0].get(at) == pair[1].get(at));
    let out: Vec<_> =
        (0..shown.len()).rev().filter(|&at| shown[at].1.varying && same(at)).collect();
    for at in out {
        shown.remove(at);
        for row in rows.iter_mut().filter(|row| at < row.len()) {
            row.remove(at);
        }
    }
}

/// The width in terminal columns of each column's widest text, header included.
pub fn widths(shown: &[(usize, &'static Column)], rows: &[Vec<String>]) -> Vec<usize> {
    let mut table = bare();
    table.set_header(shown.iter().map(|(_, column)| column.header));
    table.add_rows(rows.iter().map(|row| row.iter().map(String::as_str)));
    table.column_max_content_widths().into_iter().map(usize::from).collect()
}

/// Header and rows. Within `limit` terminal columns, where one is given: texts that do not fit
/// are cut and end in `…`.
pub fn render(
    shown: &[(usize, &'static Column)],
    rows: &[Vec<String>],
    limit: Option<u16>,
) -> String {
    let widths = widths(shown, rows);
    let whole = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    match limit {
        Some(limit) if whole > usize::from(limit) => cut(shown, rows, limit),
        _ => {
            let mut text = header(shown, &widths);
            for row in rows {
                text.push_str(&line(shown, &widths, row));
            }
            text
        }
    }
}

/// The header line for columns of these widths.
pub fn header(shown: &[(usize, &'static Column)], widths: &[usize]) -> String {
    let headers: Vec<_> = shown.iter().map(|(_, column)| column.header.to_owned()).collect();
    line(shown, widths, &headers)
}

/// One row; a text wider than its column pushes the rest of the line to the right.
pub fn line(shown: &[(usize, &'static Column)], widths: &[usize], row: &[String]) -> String {
    let mut text = String::new();
    let taken = self::widths(&[], &[row.to_vec()]);
    for (at, ((_, column), cell)) in shown.iter().zip(row).enumerate() {
        let room = widths.get(at).copied().unwrap_or(0);
        let pad = " ".repeat(room.saturating_sub(taken.get(at).copied().unwrap_or(0)));
        if at > 0 {
            text.push_str(GAP);
        }
        match column.align {
            Align::Left => text.extend([cell.as_str(), &pad]),
            Align::Right => text.extend([pad.as_str(), cell]),
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The table that is too wide: the widest columns give way first.
fn cut(shown: &[(usize, &'static Column)], rows: &[Vec<String>], limit: u16) -> String {
    let room = usize::from(limit).saturating_sub(GAP.len() * shown.len().saturating_sub(1));
    let fitted = fit(widths(shown, rows), room);
    let mut table = bare();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_truncation_indicator("…");
    let headers = shown.iter().map(|(_, column)| column.header.to_owned());
    let lines = std::iter::once(headers.collect()).chain(rows.iter().cloned());
    for cells in lines {
        let mut row = Row::from(cells);
        row.max_height(1);
        table.add_row(row);
    }
    let last = shown.len().saturating_sub(1);
    let sizes = fitted.iter().zip(shown).enumerate();
    for ((at, (&size, (_, shown))), column) in sizes.zip(table.column_iter_mut()) {
        let gap = if at < last { GAP.len() } else { 0 };
        let size = u16::try_from(size + gap).unwrap_or(u16::MAX);
        column.set_padding((0, u16::try_from(gap).unwrap_or(0)));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(size)));
        // Long words, such as paths, are cut like sentences.
        column.set_delimiter('\0');
        if shown.align == Align::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Takes from the widest column until all fit into `room`; none goes below four characters.
fn fit(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > 4 => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_says_the_same_in_all_rows_may_be_left_out() {
        const SOME: &[Column] = &[Column::text("a", "A"), Column::text("b", "B").varying()];
        let rows = |last: &str| [["x", "1"], ["x", last]].map(|it| it.map(str::to_owned).to_vec());
        for (last, left) in [("1", 1), ("2", 2)] {
            let (mut shown, mut rows) = (visible(SOME, false), rows(last));
            leave_out(&mut shown, &mut rows);
            assert_eq!((shown.len(), rows[1].len()), (left, left), "{last}");
        }
    }

    const COLUMNS: &[Column] = &[
        Column::text("name", "NAME"),
        Column::number("cpus", "CPUS"),
        Column::text("path", "PATH").wide(),
    ];

    fn rows() -> Vec<Vec<String>> {
        [["web", "4", "/srv/machines/web/web.vmx"], ["データ", "16", "/srv/b"]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec()
    }

    #[test]
    fn columns_line_up_also_for_wide_characters() {
        let text = render(&visible(COLUMNS, true), &rows(), None);
        assert_eq!(
            text,
            "NAME     CPUS   PATH\nweb         4   /srv/machines/web/web.vmx\nデータ     16   /srv/b\n"
        );
        assert_eq!(visible(COLUMNS, false).len(), 2);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        let text = render(&visible(COLUMNS, true), &rows(), Some(30));
        assert_eq!(
            text,
            "NAME     CPUS   PATH\nweb         4   /srv/machines…\nデータ     16   /srv/b\n"
        );
    }
}
