//! What `hyper pool` prints.

use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Outcome, Record};
use hyper_common::provider::{Pool, PoolUsage, Shares, UNLIMITED};
use serde::Serialize;
use serde_json::{Value, json};

/// A pool, with the field names that HyperSDK gave it.
#[derive(Debug, Clone, Serialize)]
pub struct PoolRow {
    name: String,
    path: Option<String>,
    context: String,
    id: String,
    kind: &'static str,
    parent_path: Option<String>,
    parent: Option<String>,
    depth: u32,
    cluster: Option<String>,
    datacenter: Option<String>,
    status: Option<String>,
    cpu_allocation_mhz: Option<u64>,
    cpu_reservation_mhz: Option<i64>,
    cpu_limit_mhz: Option<i64>,
    cpu_expandable: Option<bool>,
    cpu_shares: Option<&'static str>,
    cpu_shares_level: Option<i64>,
    cpu_usage_mhz: Option<u64>,
    cpu_reservation_used_mhz: Option<u64>,
    cpu_unreserved_mhz: Option<u64>,
    memory_allocation_mb: Option<u64>,
    memory_reservation_mb: Option<i64>,
    memory_limit_mb: Option<i64>,
    memory_expandable: Option<bool>,
    memory_shares: Option<&'static str>,
    memory_shares_level: Option<i64>,
    memory_usage_bytes: Option<u64>,
    memory_reservation_used_bytes: Option<u64>,
    memory_unreserved_bytes: Option<u64>,
    num_vms: u32,
    num_sub_pools: u32,
}

impl PoolRow {
    /// The record of a pool.
    pub fn new(context: &str, pool: Pool) -> Self {
        let Pool { cpu, memory, cpu_use, memory_use, .. } = pool;
        Self {
            name: pool.name,
            path: pool.path,
            context: context.to_owned(),
            id: pool.id,
            kind: pool.kind.name(),
            parent_path: pool.parent_path,
            parent: pool.parent,
            depth: pool.depth,
            cluster: pool.cluster,
            datacenter: pool.datacenter,
            status: pool.status,
            cpu_allocation_mhz: cpu_use.most,
            cpu_reservation_mhz: cpu.reservation,
            cpu_limit_mhz: cpu.limit,
            cpu_expandable: cpu.expandable,
            cpu_shares: cpu.shares.map(Shares::name),
            cpu_shares_level: cpu_use.weight,
            cpu_usage_mhz: cpu_use.used,
            cpu_reservation_used_mhz: cpu_use.reserved,
            cpu_unreserved_mhz: cpu_use.unreserved,
            memory_allocation_mb: memory_use.most.map(|bytes| bytes >> 20),
            memory_reservation_mb: memory.reservation,
            memory_limit_mb: memory.limit,
            memory_expandable: memory.expandable,
            memory_shares: memory.shares.map(Shares::name),
            memory_shares_level: memory_use.weight,
            memory_usage_bytes: memory_use.used,
            memory_reservation_used_bytes: memory_use.reserved,
            memory_unreserved_bytes: memory_use.unreserved,
            num_vms: pool.vms,
            num_sub_pools: pool.pools,
        }
    }
}

const POOL_COLUMNS: &[Column] = &[
    Column::text("name", "POOL"),
    Column::number("cpu_reservation_mhz", "CPU RESERVED"),
    Column::number("cpu_limit_mhz", "CPU LIMIT"),
    Column::number("cpu_usage_mhz", "CPU USED"),
    Column::text("cpu_shares", "CPU SHARES"),
    Column::number("memory_reservation_mb", "MEM RESERVED"),
    Column::number("memory_limit_mb", "MEM LIMIT"),
    Column::number("memory_usage_bytes", "MEM USED"),
    Column::text("memory_shares", "MEM SHARES"),
    Column::number("num_vms", "VMS"),
    Column::text("context", "CONTEXT").wide(),
    Column::text("kind", "KIND").wide(),
    Column::number("num_sub_pools", "POOLS").wide(),
    Column::number("cpu_allocation_mhz", "CPU MOST").wide(),
    Column::number("cpu_reservation_used_mhz", "CPU GIVEN ON").wide(),
    Column::number("cpu_unreserved_mhz", "CPU UNRESERVED").wide(),
    Column::text("cpu_expandable", "CPU EXPANDABLE").wide(),
    Column::number("cpu_shares_level", "CPU WEIGHT").wide(),
    Column::number("memory_allocation_mb", "MEM MOST").wide(),
    Column::number("memory_reservation_used_bytes", "MEM GIVEN ON").wide(),
    Column::number("memory_unreserved_bytes", "MEM UNRESERVED").wide(),
    Column::text("memory_expandable", "MEM EXPANDABLE").wide(),
    Column::number("memory_shares_level", "MEM WEIGHT").wide(),
    Column::text("status", "STATUS").wide(),
    Column::text("cluster", "CLUSTER").wide(),
    Column::text("datacenter", "DATACENTER").wide(),
    Column::text("path", "PATH").wide(),
    Column::text("parent_path", "PARENT PATH").wide(),
    Column::text("id", "ID").wide(),
];

/// A number as it is.
fn number(number: Option<i64>) -> Cell {
    number.map_or(Cell::Empty, |number| Cell::Number(number.into()))
}

impl Record for PoolRow {
    const SCHEMA: &'static str = "hyper.pool/v1";
    const COLUMNS: &'static [Column] = POOL_COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        let bytes = |bytes: Option<u64>| bytes.map_or(Cell::Empty, Cell::Bytes);
        vec![
            Cell::text(&self.name),
            number(self.cpu_reservation_mhz),
            number(self.cpu_limit_mhz),
            self.cpu_usage_mhz.into(),
            self.cpu_shares.into(),
            number(self.memory_reservation_mb),
            number(self.memory_limit_mb),
            bytes(self.memory_usage_bytes),
            self.memory_shares.into(),
            self.num_vms.into(),
            Cell::text(&self.context),
            self.kind.into(),
            self.num_sub_pools.into(),
            self.cpu_allocation_mhz.into(),
            self.cpu_reservation_used_mhz.into(),
            self.cpu_unreserved_mhz.into(),
            self.cpu_expandable.into(),
            number(self.cpu_shares_level),
            self.memory_allocation_mb.into(),
            bytes(self.memory_reservation_used_bytes),
            bytes(self.memory_unreserved_bytes),
            self.memory_expandable.into(),
            number(self.memory_shares_level),
            self.status.clone().into(),
            self.cluster.clone().into(),
            self.datacenter.clone().into(),
            self.path.clone().into(),
            self.parent_path.clone().into(),
            Cell::text(&self.id),
        ]
    }

    fn name(&self) -> String {
        format!("{}:@{}", self.context, self.id)
    }
}

/// The same in a table for people: set in by what it is in, and with what is used against what
/// could be.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct TreeRow {
    row: PoolRow,
    #[serde(skip)]
    used: [Cell; 2],
}

impl TreeRow {
    /// The row of a pool.
    pub fn new(context: &str, pool: Pool) -> Self {
        let used = [used(&pool.cpu_use, |mhz| mhz.to_string()), used(&pool.memory_use, mib_or_gib)];
        Self { row: PoolRow::new(context, pool), used }
    }
}

/// What is used, and the part of what could be.
fn used(usage: &PoolUsage, words: impl Fn(u64) -> String) -> Cell {
    let Some(now) = usage.used else { return Cell::Empty };
    match usage.most.filter(|most| *most > 0) {
        Some(most) => {
            let part = u128::from(now).saturating_mul(100) / u128::from(most);
            Cell::text(format!("{} ({part}%)", words(now)))
        }
        None => Cell::text(words(now)),
    }
}

fn mib_or_gib(bytes: u64) -> String {
    hyper_common::output::human_bytes(bytes)
}

impl Record for TreeRow {
    const SCHEMA: &'static str = PoolRow::SCHEMA;
    const COLUMNS: &'static [Column] = POOL_COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        let row = &self.row;
        // A chain of hundreds must not make a table of blanks.
        let set_in = match row.depth.min(30) {
            0 => String::new(),
            depth => format!("{}└ ", "  ".repeat(depth as usize - 1)),
        };
        // The own pools of clusters are all called the same.
        let name = match (&row.parent, &row.cluster) {
            (None, Some(cluster)) => format!("{cluster}/{}", row.name),
            _ => row.name.clone(),
        };
        let limit = |limit: Option<i64>, cell: Cell| match limit {
            Some(UNLIMITED) => Cell::from("unlimited"),
            _ => cell,
        };
        let mib = |mib: Option<i64>| match mib.and_then(|mib| u64::try_from(mib).ok()) {
            Some(mib) => Cell::Bytes(mib.saturating_mul(1 << 20)),
            None => number(mib),
        };
        let [cpu_used, memory_used] = self.used.clone();
        let mut cells = row.cells();
        let own = [
            (0, Cell::text(format!("{set_in}{name}"))),
            (2, limit(row.cpu_limit_mhz, number(row.cpu_limit_mhz))),
            (3, cpu_used),
            (5, mib(row.memory_reservation_mb)),
            (6, limit(row.memory_limit_mb, mib(row.memory_limit_mb))),
            (7, memory_used),
            (18, row.memory_allocation_mb.map_or(Cell::Empty, |it| Cell::Bytes(it << 20))),
        ];
        for (at, cell) in own {
            if let Some(place) = cells.get_mut(at) {
                *place = cell;
            }
        }
        cells
    }

    fn name(&self) -> String {
        self.row.name()
    }
}

/// A field that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field's name, as in records of pools.
    pub field: &'static str,
    /// What it was; null where there was no pool.
    pub before: Value,
    /// What it is, or would be.
    pub after: Value,
}

/// What differs between two states of a pool, or what a new one is.
pub fn differences(before: Option<&Pool>, after: &Pool) -> Vec<Difference> {
    let none = Default::default();
    let old = before.map_or(none, settings);
    let all = settings(after).into_iter().zip(old);
    let all = all.map(|((field, after), (_, before))| Difference { field, before, after });
    all.filter(|it| it.before != it.after).collect()
}

/// What can be set of a pool.
fn settings(pool: &Pool) -> [(&'static str, Value); 9] {
    let shares = |shares: Option<Shares>| match shares {
        Some(Shares::Custom(number)) => json!(number),
        other => json!(other.map(Shares::name)),
    };
    let Pool { cpu, memory, .. } = pool;
    [
        ("name", json!(pool.name)),
        ("cpu_reservation_mhz", json!(cpu.reservation)),
        ("cpu_limit_mhz", json!(cpu.limit)),
        ("cpu_shares", shares(cpu.shares)),
        ("cpu_expandable", json!(cpu.expandable)),
        ("memory_reservation_mb", json!(memory.reservation)),
        ("memory_limit_mb", json!(memory.limit)),
        ("memory_shares", shares(memory.shares)),
        ("memory_expandable", json!(memory.expandable)),
    ]
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limit = self.field.contains("_limit_");
        let words = |value: &Value| match value {
            Value::String(text) => text.clone(),
            value if limit && value.as_i64() == Some(UNLIMITED) => "unlimited".to_owned(),
            value => value.to_string(),
        };
        match &self.before {
            Value::Null => write!(f, "{}: {}", self.field, words(&self.after)),
            before => write!(f, "{}: {} -> {}", self.field, words(before), words(&self.after)),
        }
    }
}

/// What came of a change of a pool.
#[derive(Debug, Serialize)]
pub struct ActionRow {
    /// The pool's name.
    pub pool: String,
    /// Its path.
    pub path: Option<String>,
    /// Its context.
    pub context: String,
    /// What its provider calls it, where there is one.
    pub pool_id: Option<String>,
    /// The verb.
    pub action: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What differs between before and after.
    pub changes: Vec<Difference>,
    /// What else there is to know.
    pub note: Option<String>,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The same in words.
    pub error: Option<String>,
}

impl ActionRow {
    /// A row about a pool, to be filled in.
    pub fn new(context: &str, pool: &Pool, action: &'static str) -> Self {
        Self {
            pool: pool.name.clone(),
            path: pool.path.clone(),
            context: context.to_owned(),
            pool_id: Some(pool.id.clone()).filter(|id| !id.is_empty()),
            action,
            outcome: Outcome::Planned,
            changes: Vec::new(),
            note: None,
            error_kind: None,
            error: None,
        }
    }

    /// Puts in what failed.
    #[must_use]
    pub fn failed(self, error: &Error) -> Self {
        let words = Some(one_line(error));
        Self { outcome: Outcome::Failed, error_kind: Some(error.kind()), error: words, ..self }
    }
}

impl Record for ActionRow {
    const SCHEMA: &'static str = "hyper.pool_action/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("pool", "POOL").width(20),
        Column::text("action", "ACTION").width(6),
        Column::text("outcome", "OUTCOME").width(8),
        Column::text("note", "NOTE").width(30),
        Column::text("changes", "CHANGES").width(30),
        Column::text("context", "CONTEXT").wide(),
        Column::text("path", "PATH").wide(),
        Column::text("pool_id", "ID").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let changes: Vec<_> = self.changes.iter().map(ToString::to_string).collect();
        vec![
            Cell::text(&self.pool),
            self.action.into(),
            self.outcome.name().into(),
            self.note.clone().into(),
            changes.join(", ").into(),
            Cell::text(&self.context),
            self.path.clone().into(),
            self.pool_id.clone().into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        match &self.pool_id {
            Some(id) => format!("{}:@{id}", self.context),
            None => format!("{}:{}", self.context, self.pool),
        }
    }
}
