//! What is printed.

use hyper_common::output::{Cell, Column, Record};
use serde::Serialize;

/// Where a screen can be seen.
#[derive(Debug, Serialize)]
pub struct ViewerRow {
    /// The machine.
    pub vm: String,
    /// Its context.
    pub context: String,
    /// Address and port for a VNC viewer.
    pub address: String,
}

impl Record for ViewerRow {
    const SCHEMA: &'static str = "hyper.console_vnc/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("context", "CONTEXT").width(12),
        Column::text("address", "ADDRESS").width(21),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.vm), Cell::text(&self.context), Cell::text(&self.address)]
    }

    fn name(&self) -> String {
        self.address.clone()
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
