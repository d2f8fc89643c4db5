//! The performance manager: which counters a server has, and what they say of things (vSphere Web
//! Services API, `PerformanceManager`).

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::client::Client;
use super::soap::{Body, MoRef, Value};
use crate::error::Result;
use crate::provider::Usage;

/// How long a real-time sample is, in seconds. Hosts keep those of the last hour.
pub const REALTIME: u32 = 20;

/// The interval that histories begin with where a server names none.
const FINEST: u32 = 300;

/// Values (things times counters) of one query: vCenter refuses more for what its database keeps
/// (`config.vpxd.stats.maxQueryMetrics`, 64 as delivered).
const OF_HISTORY: usize = 64;
/// The same for what hosts keep, which nothing bounds but the size of the answer.
const OF_REALTIME: usize = 400;

/// Samples of one thing that are asked for at most: a year of five minutes.
const MOST: u64 = 366 * 24 * 12;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    CpuPercent,
    CpuMhz,
    MemoryPercent,
    MemoryKib,
    DiskRead,
    DiskWrite,
    NetReceived,
    NetTransmitted,
}

/// Group, name and rollup of each measure.
const COUNTERS: [(Measure, &str, &str, &str); 8] = [
    (Measure::CpuPercent, "cpu", "usage", "average"),
    (Measure::CpuMhz, "cpu", "usagemhz", "average"),
    (Measure::MemoryPercent, "mem", "usage", "average"),
    (Measure::MemoryKib, "mem", "consumed", "average"),
    (Measure::DiskRead, "disk", "read", "average"),
    (Measure::DiskWrite, "disk", "write", "average"),
    (Measure::NetReceived, "net", "received", "average"),
    (Measure::NetTransmitted, "net", "transmitted", "average"),
];

/// Clusters have processors and memory, no disks and networks of their own.
const OF_CLUSTERS: usize = 4;

/// The counters of a server by their numbers, which each server gives as it likes.
#[derive(Debug)]
pub struct Counters(Vec<(Measure, i32)>);

/// The time that a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// So many real-time samples.
    Realtime(u32),
    /// What is kept of the past.
    History {
        /// From here.
        start: Timestamp,
        /// Until here.
        end: Timestamp,
        /// In samples of this.
        rollup: Rollup,
    },
}

/// One of the intervals in which a server keeps the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// What the server calls it: `Past day`.
    pub name: Option<String>,
    /// Seconds of a sample.
    pub period: u32,
    /// Seconds that it reaches back; unlimited where the server does not say.
    pub length: Option<u64>,
}

impl Rollup {
    /// In words.
    pub fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}, {} s", self.period),
            None => format!("{} s", self.period),
        }
    }

    /// The finest of a server's rollups whose samples are at least `interval` long and that reaches
    /// back for `age`; where none does, the one that reaches furthest, else the coarsest. Where the
    /// server names none it is asked for what is wanted.
    pub fn choose(offered: Vec<Self>, interval: Option<Duration>, age: Duration) -> Self {
        let wanted = interval.map_or(0, |it| u32::try_from(it.as_secs()).unwrap_or(u32::MAX));
        let reach = |it: &Self| it.length.unwrap_or(u64::MAX);
        let fits = |it: &&Self| it.period >= wanted && reach(it) >= age.as_secs();
        let mut offered = offered;
        offered.sort_by_key(|it| it.period);
        let coarse = offered.iter().filter(|it| it.period >= wanted).max_by_key(|it| reach(it));
        let found = offered.iter().find(fits).or(coarse).or(offered.last());
        let own = Self { name: None, period: wanted.max(FINEST), length: None };
        found.cloned().unwrap_or(own)
    }
}

/// The rollups of a server that are in use.
///
/// # Errors
/// Those of a call.
pub async fn rollups(client: &Client) -> Result<Vec<Rollup>> {
    let manager = client.content().await?.manager("perfManager")?;
    let found = client.properties(&manager, &["historicalInterval"]).await?;
    let all = found.get("historicalInterval").map_or(&[][..], |it| &it.children);
    let rollup = |value: &Value| {
        let enabled = value.flag("enabled").unwrap_or(true);
        Some(Rollup {
            name: value.str("name").map(str::to_owned),
            period: value.number("samplingPeriod").filter(|period| enabled && *period > 0)?,
            length: value.number("length"),
        })
    };
    Ok(all.iter().filter_map(rollup).collect())
}

impl Counters {
    /// Looks the counters up.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn read(client: &Client) -> Result<Self> {
        let manager = client.content().await?.manager("perfManager")?;
        let found = client.properties(&manager, &["perfCounter"]).await?;
        let all = found.get("perfCounter").map_or(&[][..], |it| &it.children);
        let number = |group: &str, name: &str, rollup: &str| {
            let counter = all.iter().find(|it| {
                it.str("groupInfo.key") == Some(group)
                    && it.str("nameInfo.key") == Some(name)
                    && it.str("rollupType") == Some(rollup)
            });
            counter?.number("key")
        };
        let known = COUNTERS.iter().filter_map(|(measure, group, name, rollup)| {
            Some((*measure, number(group, name, rollup)?))
        });
        Ok(Self(known.collect()))
    }

    /// What things used, those of each sorted in time. All are asked for in as few queries as the
    /// server takes.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn query(
        &self,
        client: &Client,
        things: &[MoRef],
        span: &Span,
    ) -> Result<Vec<Usage>> {
        let manager = client.content().await?.manager("perfManager")?;
        let most = if matches!(span, Span::Realtime(_)) { OF_REALTIME } else { OF_HISTORY };
        let mut usage = Vec::new();
        for some in things.chunks((most / self.0.len().max(1)).max(1)) {
            let body = some.iter().fold(Body::new(), |body, thing| self.spec(body, thing, span));
            let reply = client.call("QueryPerf", &manager, body).await?;
            for entity in reply.values() {
                usage.extend(self.usage(entity));
            }
        }
        Ok(usage)
    }

    /// Those that a thing has.
    fn of(&self, thing: &MoRef) -> impl Iterator<Item = &(Measure, i32)> {
        let cluster = thing.kind == "ClusterComputeResource";
        let known = &COUNTERS[..if cluster { OF_CLUSTERS } else { COUNTERS.len() }];
        self.0.iter().filter(move |(measure, _)| known.iter().any(|it| it.0 == *measure))
    }

    fn spec(&self, body: Body, thing: &MoRef, span: &Span) -> Body {
        let mut body = body.open("querySpec", None).reference("entity", thing);
        let interval = match span {
            Span::Realtime(samples) => {
                body = body.text("maxSample", samples);
                REALTIME
            }
            Span::History { start, end, rollup } => {
                // Without a number some servers tell all that they have, and others nothing.
                let seconds = u64::try_from(end.duration_since(*start).as_secs()).unwrap_or(0);
                let samples = (seconds / u64::from(rollup.period.max(1)) + 1).min(MOST);
                body = body.text("startTime", start).text("endTime", end);
                body = body.text("maxSample", samples);
                rollup.period
            }
        };
        for (_, counter) in self.of(thing) {
            // Without an instance: all of a thing's processors, disks and networks together.
            body = body.open("metricId", None).text("counterId", counter).text("instance", "");
            body = body.close("metricId");
        }
        body.text("intervalId", interval).text("format", "normal").close("querySpec")
    }

    /// The samples of one thing, the oldest first, whatever order they came in.
    fn usage(&self, entity: &Value) -> Vec<Usage> {
        let id = entity.str("entity").unwrap_or_default();
        let times = entity.all("sampleInfo");
        let mut samples: Vec<Usage> = times
            .map(|info| Usage {
                id: id.to_owned(),
                timestamp: info.str("timestamp").and_then(|it| it.parse().ok()).unwrap_or_default(),
                interval_seconds: info.number("interval").unwrap_or(0),
                ..Usage::default()
            })
            .collect();
        let names: HashMap<i32, Measure> = self.0.iter().map(|(it, key)| (*key, *it)).collect();
        for series in entity.all("value") {
            let measure = series.number("id.counterId").and_then(|key: i32| names.get(&key));
            let (Some(measure), None) = (measure, series.str("id.instance")) else { continue };
            for (sample, value) in samples.iter_mut().zip(series.all("value")) {
                // A negative value stands for none.
                if let Some(value) = value.text.trim().parse().ok().filter(|it: &i64| *it >= 0) {
                    measure.set(sample, value);
                }
            }
        }
        samples.sort_by_key(|sample| sample.timestamp);
        samples
    }
}

impl Measure {
    /// Sets what a counter's value says: hundredths of a percent, megahertz, kilobytes, kilobytes
    /// each second.
    fn set(self, usage: &mut Usage, value: i64) {
        let number = value as f64;
        match self {
            Self::CpuPercent => usage.cpu_percent = Some(number / 100.0),
            Self::CpuMhz => usage.cpu_usage_mhz = Some(number),
            Self::MemoryPercent => usage.memory_percent = Some(number / 100.0),
            Self::MemoryKib => {
                usage.memory_usage_bytes =
                    u64::try_from(value).ok().and_then(|it| it.checked_mul(1024));
            }
            Self::DiskRead => usage.disk_read_mbps = Some(number / 1024.0),
            Self::DiskWrite => usage.disk_write_mbps = Some(number / 1024.0),
            Self::NetReceived => usage.net_rx_mbps = Some(number / 1024.0),
            Self::NetTransmitted => usage.net_tx_mbps = Some(number / 1024.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::vsphere::soap::parse;

    #[test]
    fn the_finest_rollup_that_is_coarse_enough_and_reaches_back_is_taken() {
        let rollup = |name: &str, period, days: u64| Rollup {
            name: Some(name.into()),
            period,
            length: Some(days * 86_400),
        };
        // As a vCenter has them.
        let offered = || {
            vec![
                rollup("Past year", 86_400, 365),
                rollup("Past day", 300, 1),
                rollup("Past week", 1800, 7),
                rollup("Past month", 7200, 30),
            ]
        };
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let cases = [
            (None, 24, "Past day"),
            (None, 25, "Past week"),
            (Some(300), 24, "Past day"),
            (Some(301), 24, "Past week"),
            (Some(3600), 24, "Past month"),
            (None, 24 * 20, "Past month"),
            (Some(300), 24 * 400, "Past year"),
            (Some(100_000), 1, "Past year"),
        ];
        for (interval, age, name) in cases {
            let interval = interval.map(Duration::from_secs);
            let found = Rollup::choose(offered(), interval, hours(age));
            assert_eq!(found.name.as_deref(), Some(name), "{interval:?} {age}");
        }
        assert_eq!(offered()[1].words(), "Past day, 300 s");
        let own = |interval: Option<u64>| {
            Rollup::choose(Vec::new(), interval.map(Duration::from_secs), hours(1)).words()
        };
        assert_eq!((own(None), own(Some(3600))), ("300 s".into(), "3600 s".into()));
    }

    #[test]
    fn samples_are_sorted_and_what_is_of_one_device_or_missing_is_left_out() {
        let text = "<e:Envelope xmlns:e=\"x\"><e:Body><entity><entity type=\"HostSystem\">host-9</entity>\
            <sampleInfo><timestamp>2026-11-20T10:00:20Z</timestamp><interval>20</interval></sampleInfo>\
            <sampleInfo><timestamp>2026-11-20T10:00:00Z</timestamp><interval>20</interval></sampleInfo>\
            <value><id><counterId>2</counterId><instance></instance></id><value>250</value><value>-1</value></value>\
            <value><id><counterId>9</counterId><instance>vmnic0</instance></id><value>7</value><value>7</value></value>\
            <value><id><counterId>9</counterId><instance/></id><value>512</value><value>2048</value></value>\
            </entity></e:Body></e:Envelope>";
        let counters = Counters(vec![(Measure::CpuPercent, 2), (Measure::NetReceived, 9)]);
        let found = counters.usage(&parse(text.as_bytes()).unwrap());
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.timestamp.to_string(), it.cpu_percent, it.net_rx_mbps, it.id.as_str()))
            .collect();
        let expected = [
            ("2026-11-20T10:00:00Z".to_owned(), None, Some(2.0), "host-9"),
            ("2026-11-20T10:00:20Z".to_owned(), Some(2.5), Some(0.5), "host-9"),
        ];
        assert_eq!(told, expected);
    }
}
