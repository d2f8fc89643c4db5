//! What `hyper metrics` prints.

use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::output::{Cell, Column, Gauge, Record};
use hyper_common::provider::{Entity, EntityKind, Summary, Usage};
use jiff::Timestamp;
use serde::Serialize;

use crate::run::Source;

/// What there is in a place, or in all of them.
#[derive(Debug, Serialize)]
pub struct SummaryRow {
    scope: &'static str,
    context: Option<String>,
    provider: Option<&'static str>,
    timestamp: Timestamp,
    #[serde(flatten)]
    summary: Option<Summary>,
    error_kind: Option<ErrorKind>,
    error: Option<String>,
}

impl SummaryRow {
    /// The row of a context.
    pub fn of(source: &Source, timestamp: Timestamp, found: &Result<Summary>) -> Self {
        let error = found.as_ref().err();
        Self {
            scope: "context",
            context: Some(source.context.clone()),
            provider: Some(source.platform()),
            timestamp,
            summary: found.as_ref().ok().cloned(),
            error_kind: error.map(Error::kind),
            error: error.map(one_line),
        }
    }

    /// The row of all contexts together, as far as they could be read.
    pub fn all(timestamp: Timestamp, total: &Summary) -> Self {
        let summary = Some(total.clone());
        let (error_kind, error) = (None, None);
        Self { scope: "all", context: None, provider: None, timestamp, summary, error_kind, error }
    }

    fn number(&self, of: impl Fn(&Summary) -> Option<u64>) -> Cell {
        self.summary.as_ref().and_then(of).into()
    }
}

impl Record for SummaryRow {
    const SCHEMA: &'static str = "hyper.metrics_summary/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("context", "CONTEXT").width(16),
        Column::number("vms", "VMS").width(6),
        Column::number("vms_running", "RUNNING").width(7),
        Column::number("vms_stopped", "STOPPED").width(7),
        Column::number("vms_failed", "FAILED").width(6),
        Column::number("vms_other", "OTHER").width(6),
        Column::number("cpus", "CPUS").width(6),
        Column::number("memory_bytes", "MEMORY").width(9),
        Column::number("templates", "TEMPLATES").width(9),
        Column::number("snapshots", "SNAPSHOTS").width(9),
        Column::text("phases", "PHASES").wide(),
        Column::number("restores", "RESTORES").wide(),
        Column::number("backups", "BACKUPS").wide(),
        Column::text("operator_status", "OPERATOR").wide(),
        Column::text("provider", "PROVIDER").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let other = |it: &Summary| it.vms - it.vms_running - it.vms_stopped - it.vms_failed;
        let phases = self.summary.as_ref().map(|it| {
            let all = it.phases.iter().map(|(word, count)| format!("{word}={count}"));
            all.collect::<Vec<_>>().join(",")
        });
        vec![
            Cell::text(self.context.as_deref().unwrap_or("(all)")),
            self.number(|it| Some(it.vms)),
            self.number(|it| Some(it.vms_running)),
            self.number(|it| Some(it.vms_stopped)),
            self.number(|it| Some(it.vms_failed)),
            self.number(|it| Some(other(it))),
            self.number(|it| Some(it.cpus)),
            self.summary.as_ref().map_or(Cell::Empty, |it| Cell::Bytes(it.memory_bytes)),
            self.number(|it| it.templates),
            self.number(|it| it.snapshots),
            phases.into(),
            self.number(|it| it.restores),
            self.number(|it| it.backups),
            self.summary.as_ref().and_then(|it| it.operator_status.clone()).into(),
            self.provider.into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.context.as_ref().map_or_else(|| "(all)".to_owned(), |it| format!("{it}:"))
    }

    fn gauges(&self) -> Vec<Gauge> {
        // What all have together is a sum that its reader makes.
        let Some(context) = &self.context else { return Vec::new() };
        let labels = vec![("context", context.clone())];
        let gauge = |name, help, value: u64| Gauge {
            name,
            help,
            labels: labels.clone(),
            value: value as f64,
        };
        let up = u64::from(self.summary.is_some());
        let mut all = vec![gauge("hyper_context_up", "Whether the context could be read", up)];
        let Some(summary) = &self.summary else { return all };
        let states = [
            ("running", summary.vms_running),
            ("stopped", summary.vms_stopped),
            ("paused", summary.vms_paused),
            ("starting", summary.vms_starting),
            ("stopping", summary.vms_stopping),
            ("failed", summary.vms_failed),
            ("unknown", summary.vms_unknown),
        ];
        for (state, count) in states {
            let mut gauge = gauge("hyper_vms", "Virtual machines by their state", count);
            gauge.labels.push(("status", state.to_owned()));
            all.push(gauge);
        }
        all.push(gauge("hyper_vm_cpus", "Processors of all virtual machines", summary.cpus));
        let help = "Memory of all virtual machines in bytes";
        all.push(gauge("hyper_vm_memory_bytes", help, summary.memory_bytes));
        let known = [
            ("hyper_templates", "Templates", summary.templates),
            ("hyper_snapshots", "Snapshots of virtual machines", summary.snapshots),
            ("hyper_restores", "Restores of virtual machines", summary.restores),
            ("hyper_backups", "Backups of virtual machines", summary.backups),
        ];
        let known = known.into_iter().filter_map(|(name, help, it)| Some(gauge(name, help, it?)));
        all.extend(known);
        all
    }
}

/// A row of the CSV that HyperSDK's metrics had.
#[derive(Debug, Serialize)]
pub struct Figure {
    metric: &'static str,
    value: Option<String>,
}

impl Record for Figure {
    const SCHEMA: &'static str = "hyper.metrics_figure/v1";

    const COLUMNS: &'static [Column] = &[Column::text("Metric", ""), Column::text("Value", "")];

    fn cells(&self) -> Vec<Cell> {
        vec![self.metric.into(), self.value.clone().into()]
    }

    fn name(&self) -> String {
        self.metric.to_owned()
    }
}

/// The rows, in their order. Nobody here knows of carbon.
pub fn figures(now: Timestamp, all: &Summary) -> Vec<Figure> {
    let number = |it: u64| Some(it.to_string());
    let known = |it: Option<u64>| it.map(|it| it.to_string());
    let gi = all.memory_bytes as f64 / f64::from(1 << 30);
    let rows = [
        ("Timestamp", Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        ("Operator Status", all.operator_status.clone()),
        ("Operator Replicas", known(all.operator_replicas)),
        ("Total VMs", number(all.vms)),
        ("Running VMs", number(all.vms_running)),
        ("Stopped VMs", number(all.vms_stopped)),
        ("Failed VMs", number(all.vms_failed)),
        ("Total Backups", known(all.backups)),
        ("Completed Backups", known(all.backups_completed)),
        ("Failed Backups", known(all.backups_failed)),
        ("Total Restores", known(all.restores)),
        ("Completed Restores", known(all.restores_completed)),
        ("Total Templates", known(all.templates)),
        ("Total Snapshots", known(all.snapshots)),
        ("Total CPU Cores (VMs)", number(all.cpus)),
        ("Total Memory (VMs)", Some(format!("{gi:.2} Gi"))),
        ("Avg Carbon Intensity (VMs)", None),
        ("Carbon-Aware VMs", None),
        ("Carbon-Aware Backups", None),
        ("Avg Carbon Intensity (Backups)", None),
    ];
    rows.map(|(metric, value)| Figure { metric, value }).into()
}

/// What something used in an interval.
#[derive(Debug, Serialize)]
pub struct UsageRow {
    entity_name: String,
    entity_type: EntityKind,
    context: String,
    #[serde(flatten)]
    usage: Usage,
    memory_usage_mb: Option<f64>,
}

impl UsageRow {
    /// The row of something in a context.
    pub fn new(context: &str, entity: &Entity, usage: Usage) -> Self {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Self {
            entity_name: entity.name.clone(),
            entity_type: entity.kind,
            context: context.to_owned(),
            memory_usage_mb: usage.memory_usage_bytes.map(megabytes),
            usage,
        }
    }
}

impl UsageRow {
    /// The context.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The identifier of what it is about.
    pub fn id(&self) -> &str {
        &self.usage.id
    }

    /// The name of what it is about.
    pub fn thing(&self) -> &str {
        &self.entity_name
    }

    /// The end of its interval.
    pub fn timestamp(&self) -> Timestamp {
        self.usage.timestamp
    }

    /// Processors and memory, of what there is.
    pub fn percents(&self) -> (Option<f64>, Option<f64>) {
        (self.usage.cpu_percent, self.usage.memory_percent)
    }

    /// Megabytes each second from and to disks, and from and to networks.
    pub fn rates(&self) -> (Option<f64>, Option<f64>) {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        let usage = &self.usage;
        let disk = sum(usage.disk_read_mbps, usage.disk_write_mbps);
        (disk, sum(usage.net_rx_mbps, usage.net_tx_mbps))
    }

    /// Which of the server's rollups it is from.
    pub fn rollup(&self) -> Option<&str> {
        self.usage.metadata.get("rollup").map(String::as_str)
    }
}

impl Record for UsageRow {
    const SCHEMA: &'static str = "hyper.metrics_sample/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("entity_name", "NAME").width(24),
        Column::text("timestamp", "TIME").width(19),
        Column::number("cpu_percent", "CPU%").width(6),
        Column::number("cpu_cores", "CORES").width(6),
        Column::number("cpu_usage_mhz", "MHZ").width(7),
        Column::number("memory_usage_bytes", "MEMORY").width(9),
        Column::number("memory_percent", "MEM%").width(6),
        Column::number("disk_read_mbps", "READ MB/S").width(9),
        Column::number("disk_write_mbps", "WRITE MB/S").width(10),
        Column::number("net_rx_mbps", "RX MB/S").width(8),
        Column::number("net_tx_mbps", "TX MB/S").width(8),
        Column::text("context", "CONTEXT").width(12),
        Column::text("entity_type", "TYPE").wide(),
        Column::number("interval_seconds", "SECONDS").wide(),
        Column::text("derived", "DERIVED").wide(),
        Column::text("entity_id", "ID").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let usage = &self.usage;
        vec![
            Cell::text(&self.entity_name),
            usage.timestamp.into(),
            decimal(usage.cpu_percent),
            decimal(usage.cpu_cores),
            decimal(usage.cpu_usage_mhz),
            usage.memory_usage_bytes.map_or(Cell::Empty, Cell::Bytes),
            decimal(usage.memory_percent),
            decimal(usage.disk_read_mbps),
            decimal(usage.disk_write_mbps),
            decimal(usage.net_rx_mbps),
            decimal(usage.net_tx_mbps),
            Cell::text(&self.context),
            self.entity_type.name().into(),
            usage.interval_seconds.into(),
            usage.derived.into(),
            Cell::text(&usage.id),
        ]
    }

    fn name(&self) -> String {
        format!("{}:@{}", self.context, self.usage.id)
    }

    fn gauges(&self) -> Vec<Gauge> {
        let usage = &self.usage;
        let labels = vec![
            ("context", self.context.clone()),
            ("name", self.entity_name.clone()),
            ("id", usage.id.clone()),
        ];
        let bytes = |megabytes: Option<f64>| megabytes.map(|it| it * f64::from(1 << 20));
        let share = |percent: Option<f64>| percent.map(|it| it / 100.0);
        let all = [
            ("Processors kept busy", usage.cpu_cores),
            ("Processors in use, in hertz", usage.cpu_usage_mhz.map(|it| it * 1e6)),
            ("Processors in use, of those it has", share(usage.cpu_percent)),
            ("Memory in use, in bytes", usage.memory_usage_bytes.map(|it| it as f64)),
            ("Memory in use, of what it has", share(usage.memory_percent)),
            ("Bytes read from disks each second", bytes(usage.disk_read_mbps)),
            ("Bytes written to disks each second", bytes(usage.disk_write_mbps)),
            ("Bytes received each second", bytes(usage.net_rx_mbps)),
            ("Bytes sent each second", bytes(usage.net_tx_mbps)),
        ];
        let named = families(self.entity_type).into_iter().zip(all);
        let gauge = |(name, (help, value))| {
            Some(Gauge { name, help, labels: labels.clone(), value: value? })
        };
        named.filter_map(gauge).collect()
    }
}

/// The families of usage, in the order of [`UsageRow::gauges`].
fn families(kind: EntityKind) -> [&'static str; 9] {
    macro_rules! of {
        ($kind:literal) => {
            [
                concat!("hyper_", $kind, "_cpu_usage_cores"),
                concat!("hyper_", $kind, "_cpu_usage_hertz"),
                concat!("hyper_", $kind, "_cpu_usage_ratio"),
                concat!("hyper_", $kind, "_memory_usage_bytes"),
                concat!("hyper_", $kind, "_memory_usage_ratio"),
                concat!("hyper_", $kind, "_disk_read_bytes_per_second"),
                concat!("hyper_", $kind, "_disk_write_bytes_per_second"),
                concat!("hyper_", $kind, "_network_receive_bytes_per_second"),
                concat!("hyper_", $kind, "_network_transmit_bytes_per_second"),
            ]
        };
    }
    match kind {
        EntityKind::Vm => of!("vm"),
        EntityKind::Host => of!("host"),
        EntityKind::Cluster => of!("cluster"),
    }
}

/// A number with two decimals for people, and all that it has for programs.
fn decimal(value: Option<f64>) -> Cell {
    value.map_or(Cell::Empty, Cell::Decimal)
}
