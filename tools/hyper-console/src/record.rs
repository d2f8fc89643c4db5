//! What is printed.

use hyper_common::output::{Cell, Column, Record};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a screen can be seen.
#[derive(Debug, Serialize)]
pub struct ViewerRow {
    /// The machine.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// Address and port for a VNC viewer.
    pub address: Option<String>,
    /// The page for a browser.
    pub url: Option<String>,
}

impl Record for ViewerRow {
    const SCHEMA: &'static str = "hyper.console_vnc/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("context", "CONTEXT").width(12),
        Column::text("address", "ADDRESS").width(21),
        Column::text("url", "URL"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.vm),
            Cell::text(&self.context),
            self.address.clone().map_or(Cell::Empty, Cell::Text),
            self.url.clone().map_or(Cell::Empty, Cell::Text),
        ]
    }

    fn name(&self) -> String {
        self.url.clone().or_else(|| self.address.clone()).unwrap_or_default()
    }
}

/// A picture that was taken.
#[derive(Debug, Serialize)]
pub struct PictureRow {
    /// The machine.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// The file.
    pub path: String,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Who made it: the platform, or hyper from what a VNC viewer would see.
    pub made_by: &'static str,
}

impl Record for PictureRow {
    const SCHEMA: &'static str = "hyper.console_screenshot/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("path", "PATH"),
        Column::text("width", "WIDTH"),
        Column::text("height", "HEIGHT"),
        Column::text("size_bytes", "SIZE"),
        Column::text("made_by", "MADE BY").wide(),
        Column::text("context", "CONTEXT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.vm),
            Cell::text(&self.path),
            Cell::text(self.width.to_string()),
            Cell::text(self.height.to_string()),
            Cell::Bytes(self.size_bytes),
            self.made_by.into(),
            Cell::text(&self.context),
        ]
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

/// Keys that were pressed.
#[derive(Debug, Serialize)]
pub struct KeyRow {
    /// The machine.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// The keys, as they were named.
    pub keys: Vec<String>,
}

impl Record for KeyRow {
    const SCHEMA: &'static str = "hyper.console_keys/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("keys", "KEYS"),
        Column::text("context", "CONTEXT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.vm), Cell::text(self.keys.join(" ")), Cell::text(&self.context)]
    }

    fn name(&self) -> String {
        self.vm.clone()
    }
}

/// What is known of a connection to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Nobody looks at present.
    Waiting,
    /// Somebody does.
    Connected,
    /// The connection to the machine broke and is made again.
    Reconnecting,
}

/// A console that is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRow {
    /// The machine.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// `serial`, `log`, `vnc` or `browser`.
    pub kind: String,
    /// The process that holds it.
    pub pid: u32,
    /// When it was opened.
    pub since: Timestamp,
    /// Where viewers reach it on this machine.
    pub address: Option<String>,
    /// How many are connected.
    pub viewers: u32,
    /// What is known of the connection to the machine.
    pub state: SessionState,
}

impl Record for SessionRow {
    const SCHEMA: &'static str = "hyper.console_session/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM"),
        Column::text("context", "CONTEXT"),
        Column::text("kind", "KIND"),
        Column::number("pid", "PID"),
        Column::text("since", "SINCE"),
        Column::text("address", "ADDRESS"),
        Column::number("viewers", "VIEWERS"),
        Column::text("state", "STATE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let state = match self.state {
            SessionState::Waiting => "waiting",
            SessionState::Connected => "connected",
            SessionState::Reconnecting => "reconnecting",
        };
        vec![
            Cell::text(&self.vm),
            Cell::text(&self.context),
            Cell::text(&self.kind),
            self.pid.into(),
            Cell::Time(self.since),
            self.address.clone().map_or(Cell::Empty, Cell::Text),
            self.viewers.into(),
            state.into(),
        ]
    }

    fn name(&self) -> String {
        format!("{}:{}", self.context, self.vm)
    }
}
