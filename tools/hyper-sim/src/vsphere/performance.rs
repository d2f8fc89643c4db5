//! What machines, hosts and the cluster use: real-time samples of the last hour, and the past in
//! the rollups that a vCenter has. Nothing is measured. Each value follows from the thing, the
//! counter and the time alone, so that it stays the same however often it is asked for; a rollup's
//! is the average of real-time samples that lie in it. Machines that are off have none.

use jiff::{Timestamp, ToSpan};

use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::Power;
use super::session::blake3_hex;
use super::state::State;
use super::value::{Data, Ref, Value};

/// Seconds of a real-time sample.
const REALTIME: i64 = 20;

/// Seconds of the past that hosts keep in real-time samples.
const HOUR: i64 = 3600;

/// Real-time samples that are averaged for one of a rollup.
const AVERAGED: i64 = 15;

/// The most values (things times counters) of one query about the past, as vCenter bounds it.
const MOST: usize = 64;

/// The rollups: key, name, seconds of a sample, seconds that they reach back.
type Rollup = (i32, &'static str, i64, i64);

const OF_CENTRE: [Rollup; 4] = [
    (1, "Past day", 300, 86_400),
    (2, "Past week", 1800, 604_800),
    (3, "Past month", 7200, 2_592_000),
    (4, "Past year", 86_400, 31_536_000),
];

const OF_HOST: [Rollup; 1] = [(1, "PastDay", 300, 129_600)];

fn rollups(esx: bool) -> &'static [Rollup] {
    if esx { &OF_HOST } else { &OF_CENTRE }
}

/// What is counted.
struct Counter {
    key: i32,
    group: (&'static str, &'static str),
    name: &'static str,
    label: &'static str,
    unit: (&'static str, &'static str),
    /// About how much of it is used, in that unit.
    about: i64,
    clusters: bool,
}

const PERCENT: (&str, &str) = ("percent", "%");
const RATE: (&str, &str) = ("kiloBytesPerSecond", "KBps");
const CPU: (&str, &str) = ("cpu", "CPU");
const MEM: (&str, &str) = ("mem", "Memory");
const DISK: (&str, &str) = ("disk", "Disk");
const NET: (&str, &str) = ("net", "Network");

const fn counter(
    key: i32,
    (group, name, label): ((&'static str, &'static str), &'static str, &'static str),
    unit: (&'static str, &'static str),
    about: i64,
    clusters: bool,
) -> Counter {
    Counter { key, group, name, label, unit, about, clusters }
}

/// Percentages are in hundredths.
const COUNTERS: [Counter; 8] = [
    counter(2, (CPU, "usage", "Usage"), PERCENT, 2500, true),
    counter(6, (CPU, "usagemhz", "Usage in MHz"), ("megaHertz", "MHz"), 600, true),
    counter(24, (MEM, "usage", "Usage"), PERCENT, 4000, true),
    counter(98, (MEM, "consumed", "Consumed"), ("kiloBytes", "KB"), 900_000, true),
    counter(130, (DISK, "read", "Read rate"), RATE, 700, false),
    counter(131, (DISK, "write", "Write rate"), RATE, 1500, false),
    counter(148, (NET, "received", "Data receive rate"), RATE, 300, false),
    counter(149, (NET, "transmitted", "Data transmit rate"), RATE, 200, false),
];

fn described(label: &str, summary: &str, key: &str) -> Data {
    Data::new("ElementDescription").set("label", label).set("summary", summary).set("key", key)
}

impl Counter {
    fn data(&self) -> Data {
        let rate = self.unit == RATE || self.name == "usagemhz" || self.name == "usage";
        Data::new("PerfCounterInfo")
            .set("key", self.key)
            .set("nameInfo", described(self.label, self.label, self.name))
            .set("groupInfo", described(self.group.1, self.group.1, self.group.0))
            .set("unitInfo", described(self.unit.1, self.unit.1, self.unit.0))
            .set("rollupType", "average")
            .set("statsType", if rate { "rate" } else { "absolute" })
            .set("level", 1)
            .set("perDeviceLevel", 3)
    }

    /// What a thing uses in the real-time sample that ends at a second: a slow and a quick wave.
    fn sample(&self, seed: i64, second: i64) -> i64 {
        let wave = |period: i64| {
            let at = (second + seed).rem_euclid(period);
            at.min(period - at) * 1000 / (period / 2)
        };
        self.about * (500 + wave(21_600) / 2 + wave(340) / 4) / 1000 + seed.rem_euclid(50)
    }

    /// The average of what it uses in the sample of `period` seconds that ends at a second.
    fn value(&self, seed: i64, second: i64, period: i64) -> i64 {
        let count = (period / REALTIME).min(AVERAGED);
        let sum: i64 = (0..count).map(|at| self.sample(seed, second - at * (period / count))).sum();
        sum / count.max(1)
    }
}

/// A property of the manager.
pub fn property(esx: bool, name: &str) -> Option<Value> {
    let interval = |&(key, name, period, length): &Rollup| {
        Data::new("PerfInterval")
            .set("key", key)
            .set("samplingPeriod", period)
            .set("name", name)
            .set("length", length)
            .set("level", 1)
            .set("enabled", true)
    };
    let words = |all: &[&str]| all.iter().map(|it| described(it, it, it)).collect::<Vec<_>>();
    Some(match name {
        "historicalInterval" => rollups(esx).iter().map(interval).collect::<Vec<_>>().into(),
        "perfCounter" => COUNTERS.iter().map(Counter::data).collect::<Vec<_>>().into(),
        "description" => Data::new("PerformanceDescription")
            .set("counterType", words(&["average"]))
            .set("statsType", words(&["absolute", "rate"]))
            .into(),
        _ => return None,
    })
}

/// Something that is measured.
fn measured(state: &State, args: &Node) -> Result<Ref, Fault> {
    let entity = args.reference_of("entity").ok_or_else(|| Fault::request("entity is missing"))?;
    if !state.tree.is_entity(&entity) {
        return Err(Fault::gone(&entity));
    }
    match entity.kind.as_str() {
        "VirtualMachine" | "HostSystem" | "ClusterComputeResource" => Ok(entity),
        _ => Err(Fault::argument("entity", "this is not measured")),
    }
}

fn is_cluster(entity: &Ref) -> bool {
    entity.kind == "ClusterComputeResource"
}

/// `QueryPerfProviderSummary`.
///
/// # Errors
/// `InvalidArgument` for what is not measured.
pub fn provider(state: &State, args: &Node) -> Result<Answer, Fault> {
    let entity = measured(state, args)?;
    let now = !is_cluster(&entity);
    let summary = Data::new("PerfProviderSummary")
        .set("entity", &entity)
        .set("currentSupported", now)
        .set("summarySupported", true)
        .maybe("refreshRate", now.then_some(REALTIME));
    Ok(Answer::Value(summary.into()))
}

fn counters(entity: &Ref) -> impl Iterator<Item = &'static Counter> {
    let clusters = is_cluster(entity);
    COUNTERS.iter().filter(move |it| it.clusters || !clusters)
}

fn id(counter: &Counter) -> Data {
    Data::new("PerfMetricId").set("counterId", counter.key).set("instance", "")
}

/// `QueryAvailablePerfMetric`.
///
/// # Errors
/// As [`provider`].
pub fn available(state: &State, args: &Node) -> Result<Answer, Fault> {
    let entity = measured(state, args)?;
    Ok(Answer::Value(counters(&entity).map(id).collect::<Vec<_>>().into()))
}

/// `QueryPerf`, in the format that has numbers.
///
/// # Errors
/// `InvalidArgument` for a format or an interval that there is not, and for too much at once.
pub fn query(state: &State, args: &Node) -> Result<Answer, Fault> {
    let mut found = Vec::new();
    let mut past = 0;
    for spec in args.all("querySpec") {
        let entity = measured(state, spec)?;
        if spec.text_of("format").is_some_and(|it| it.trim() != "normal") {
            return Err(Fault::argument("querySpec.format", "only normal is simulated"));
        }
        let span = Span::read(state, &entity, spec)?;
        let wanted = wanted(&entity, spec);
        if span.period != REALTIME {
            past += wanted.len();
        }
        if past > MOST {
            let words = "A specified parameter was not correct: querySpec.size";
            return Err(Fault::argument("querySpec.size", words));
        }
        let off = state.tree.machine(&entity).is_some_and(|it| it.power == Power::Off);
        if !off {
            found.push(Value::from(series(&entity, &wanted, &span)));
        }
    }
    Ok(Answer::Value(found.into()))
}

/// The counters that a query wants of a thing: all where it names none.
fn wanted(entity: &Ref, spec: &Node) -> Vec<&'static Counter> {
    let named: Vec<i32> = spec
        .all("metricId")
        .filter(|it| it.text_of("instance").is_none_or(|it| it.is_empty() || it == "*"))
        .filter_map(|it| it.text_of("counterId")?.trim().parse().ok())
        .collect();
    let all = spec.one("metricId").is_none();
    counters(entity).filter(|it| all || named.contains(&it.key)).collect()
}

/// When samples end, the oldest first.
struct Span {
    period: i64,
    ends: Vec<i64>,
}

impl Span {
    fn read(state: &State, entity: &Ref, spec: &Node) -> Result<Self, Fault> {
        let number = |name: &str| -> Option<i64> {
            spec.text_of(name).and_then(|it| it.trim().parse().ok())
        };
        let rollups = rollups(state.tree.esx);
        let period =
            number("intervalId").unwrap_or(if is_cluster(entity) { 300 } else { REALTIME });
        let reach = match rollups.iter().find(|it| it.2 == period) {
            Some((_, _, _, reach)) => *reach,
            None if period == REALTIME && !is_cluster(entity) => HOUR,
            None => {
                let words = "A specified parameter was not correct: querySpec.interval";
                return Err(Fault::argument("querySpec.interval", words));
            }
        };
        let moment = |name: &str| -> Option<Timestamp> { spec.text_of(name)?.trim().parse().ok() };
        let now = Timestamp::now();
        let kept = now.checked_sub(reach.seconds()).unwrap_or(now);
        let from = moment("startTime").map_or(kept, |it| it.max(kept)).as_second();
        let until = moment("endTime").map_or(now, |it| it.min(now)).as_second();
        // A sample that ends at the start is of what was before it.
        let first = (from.div_euclid(period) + 1) * period;
        let mut ends: Vec<i64> = (first..=until).step_by(period.unsigned_abs() as usize).collect();
        // Real-time samples alone can be bounded by their number; without times the latest is meant.
        let timeless = spec.one("startTime").is_none() && spec.one("endTime").is_none();
        let most = number("maxSample").filter(|_| period == REALTIME || timeless);
        if let Some(most) = most.and_then(|it| usize::try_from(it).ok()) {
            ends.drain(..ends.len().saturating_sub(most));
        }
        Ok(Self { period, ends })
    }
}

fn series(entity: &Ref, counters: &[&Counter], span: &Span) -> Data {
    let Span { period, ends } = span;
    let sample = |end: &i64| {
        let time = Timestamp::from_second(*end).unwrap_or_default();
        Data::new("PerfSampleInfo").set("timestamp", time).set("interval", *period)
    };
    let values = |counter: &&Counter| {
        let text = format!("{} {}", entity.value, counter.key);
        let seed = i64::from_str_radix(&blake3_hex(&text)[..6], 16).unwrap_or(0);
        let values = ends.iter().map(|end| counter.value(seed, *end, *period));
        Data::new("PerfMetricIntSeries")
            .set("id", id(counter))
            .set("value", values.collect::<Vec<_>>())
    };
    Data::new("PerfEntityMetric")
        .set("entity", entity)
        .set("sampleInfo", ends.iter().map(sample).collect::<Vec<_>>())
        .set("value", counters.iter().map(values).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollup_is_the_average_of_what_lies_in_it() {
        let cpu = &COUNTERS[0];
        let at = 1_700_000_400;
        let samples: Vec<i64> = (0..15).map(|it| cpu.value(7, at - it * 20, 20)).collect();
        assert!(samples.iter().any(|it| *it != samples[0]), "{samples:?}");
        assert_eq!(cpu.value(7, at, 300), samples.iter().sum::<i64>() / 15);
        let percent = |at: i64| (0..10_000).contains(&cpu.value(7, at, 20));
        assert!((0..40_000).step_by(20).all(percent));
    }
}
