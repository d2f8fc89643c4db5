//! What the terminal is like.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The columns that a table may take on the stream `stream`: `COLUMNS` where it is set to a
/// number, else the terminal's width; `None` where the stream is no terminal, so that nothing
/// is ever cut in a pipe or a file.
pub fn width(stream: &(impl AsFd + IsTerminal)) -> Option<u16> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()) {
        return Some(columns).filter(|&columns| columns > 0);
    }
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|&columns| columns > 0)
}

/// Columns and lines of the terminal behind `stream`, where it tells them.
pub fn size(stream: &impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some((size.ws_col, size.ws_row)).filter(|&(columns, lines)| columns > 0 && lines > 0)
}

/// Whether `stream` is a terminal that can move its cursor.
pub fn can_redraw(stream: &impl IsTerminal) -> bool {
    let term = std::env::var_os("TERM").filter(|term| !term.is_empty());
    term.is_some_and(|term| term != "dumb") && stream.is_terminal()
}

/// Whether to use colours on `stream`: on a terminal that can, unless `NO_COLOR` is set to
/// something (<https://no-color.org>).
pub fn colours(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none()
        && set("TERM").is_some_and(|term| term != "dumb")
        && stream.is_terminal()
}
