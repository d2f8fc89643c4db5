//! `hyper-metrics` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use self::simulator::Sim;
use self::vcsim::{Done, Vcsim, run};

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { server: Vcsim::start(&[]), home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Done {
        let program = env!("CARGO_BIN_EXE_hyper-metrics");
        run(program, self.home.path(), &self.server.variables(), args)
    }

    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let done = self.run(&[args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.lines()
    }

    /// The same for more than a pipe holds.
    fn much(&self, args: &[&str]) -> Vec<Value> {
        much(self.home.path(), &self.server.variables(), args)
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }
}

/// The records of a run that must succeed, however many.
fn much(home: &Path, variables: &[(&str, String)], args: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-metrics"));
    command.args(args).args(["-o", "ndjson", "--timeout", "60s"]);
    command.env_clear().env("HOME", home).envs(variables.iter().map(|(name, it)| (name, it)));
    let flag = std::env::var_os("HYPER_NEUTRALISE");
    command.envs(flag.map(|flag| ("HYPER_NEUTRALISE", flag)));
    let done = Done::from(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(done.status, 0, "{args:?}: {}", done.err);
    done.lines()
}

/// The counters that a record is made of, in the order in which hyper asks for them.
const COUNTERS: [&str; 8] = [
    "cpu.usage.average",
    "cpu.usagemhz.average",
    "mem.usage.average",
    "mem.consumed.average",
    "disk.read.average",
    "disk.write.average",
    "net.received.average",
    "net.transmitted.average",
];

fn seconds(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

/// The records that hyper should have, the oldest first, out of what govc says.
fn expected(said: &Value) -> Vec<Value> {
    let sample = &said["Sample"][0];
    let series = |name: &str| {
        let found = sample["Value"].as_array().unwrap().iter().find(|it| it["Name"] == name);
        found.map(|it| it["Value"].as_array().unwrap().clone())
    };
    let count = sample["SampleInfo"].as_array().unwrap().len();
    let value = |name: &str, at: usize| Some(series(name)?[at].as_f64().unwrap());
    let record = |at: usize| {
        json!({
            "interval_seconds": sample["SampleInfo"][at]["Interval"],
            "cpu_percent": value(COUNTERS[0], at).map(|it| it / 100.0),
            "cpu_usage_mhz": value(COUNTERS[1], at),
            "memory_percent": value(COUNTERS[2], at).map(|it| it / 100.0),
            "memory_usage_bytes": value(COUNTERS[3], at).map(|it| it as u64 * 1024),
            "memory_usage_mb": value(COUNTERS[3], at).map(|it| it / 1024.0),
            "disk_read_mbps": value(COUNTERS[4], at).map(|it| it / 1024.0),
            "disk_write_mbps": value(COUNTERS[5], at).map(|it| it / 1024.0),
            "net_rx_mbps": value(COUNTERS[6], at).map(|it| it / 1024.0),
            "net_tx_mbps": value(COUNTERS[7], at).map(|it| it / 1024.0),
            "entity_id": sample["Entity"]["Value"],
            "derived": false,
        })
    };
    // vcsim tells the newest first.
    (0..count).rev().map(record).collect()
}

/// Asks two servers that have just begun the same, hyper one and govc the other. Their values are a
/// fixed series with noise out of a generator that begins alike in each; the series goes on every
/// twenty seconds, so that both have to ask in the same twenty.
fn both(hyper: &[&str], entity: &str, samples: &str, counters: &[&str]) -> (Vec<Value>, Value) {
    loop {
        let (ours, theirs) = (Lab::new(), Lab::new());
        let rows = ours.much(hyper);
        let asked = ["metric.sample", "-json", "-instance", "", "-n", samples, entity];
        let said = theirs.govc(&[&asked[..], counters].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        let newest = |time: &Value| seconds(time) / 20;
        let last = rows.last().map(|row| newest(&row["timestamp"]));
        if last == Some(newest(&said["Sample"][0]["SampleInfo"][0]["Timestamp"])) {
            return (rows, said);
        }
    }
}

#[test]
fn flag_realtime_the_last_hour_is_what_govc_says_field_by_field() {
    for (kind, path, name) in
        [("vm", "/DC0/vm/DC0_H0_VM0", "DC0_H0_VM0"), ("host", "/DC0/host/DC0_H0/DC0_H0", "DC0_H0")]
    {
        let hyper = [kind, path, "--realtime"];
        let (rows, said) = both(&hyper, path, "180", &COUNTERS);
        let expected = expected(&said);
        assert_eq!((rows.len(), expected.len()), (180, 180));
        for (row, expected) in rows.iter().zip(&expected) {
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(row[field], *value, "{field} of {row}");
            }
            assert_eq!((&row["entity_name"], &row["entity_type"]), (&json!(name), &json!(kind)));
            assert_eq!(
                (&row["schema"], &row["cpu_cores"]),
                (&json!("hyper.metrics_sample/v1"), &Value::Null)
            );
            assert_eq!(row["metadata"]["rollup"], "real time, 20 s");
        }
        let times: Vec<i64> = rows.iter().map(|row| seconds(&row["timestamp"])).collect();
        assert!(times.is_sorted() && times[179] - times[0] == 179 * 20, "{times:?}");
    }
}

#[test]
fn without_flags_and_names_the_latest_of_everything_that_runs() {
    let lab = Lab::new();
    lab.govc(&["vm.power", "-off", "DC0_H0_VM1"]);
    let rows = lab.ok(&["vm"]);
    let names: BTreeSet<_> = rows.iter().map(|row| row["entity_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1", "DC0_H0_VM0"].into());
    assert_eq!(rows.len(), 3);
    let hosts = lab.ok(&["host"]);
    let names: Vec<_> = hosts.iter().map(|row| row["entity_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2", "DC0_H0"]);
    let id = hosts[3]["entity_id"].as_str().unwrap();
    let named = lab.ok(&["host", "DC0_H0", &format!("@{id}"), "/DC0/host/DC0_H0/DC0_H0"]);
    assert_eq!(named.len(), 1, "one host by three names");
    let values = lab.run(&["host", "DC0_H0", "-o", "prometheus"]).out;
    let labels = format!("{{context=\"govc\",name=\"DC0_H0\",id=\"{id}\"}} ");
    for family in [
        "hyper_host_cpu_usage_hertz",
        "hyper_host_memory_usage_bytes",
        "hyper_host_disk_read_bytes_per_second",
        "hyper_host_network_transmit_bytes_per_second",
    ] {
        assert!(values.contains(&format!("# TYPE {family} gauge\n{family}{labels}")), "{values}");
    }
    for (args, words) in [
        (["host", "nope"], "there are: /DC0/host/DC0_C0/DC0_C0_H0"),
        (["cluster", "DC0_H0"], "there is no such cluster"),
        (["vm", "nope"], "there is no such machine"),
    ] {
        let done = lab.run(&args);
        assert_eq!(done.status, 5, "{done:?}");
        assert!(done.err.contains(words), "{done:?}");
    }
}

#[test]
fn a_clusters_real_time_is_the_sum_of_its_hosts() {
    let lab = Lab::new();
    let rows = lab.ok(&["cluster", "DC0_C0"]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&row["derived"], &row["metadata"]["hosts"]), (&json!(true), &json!("3")));
    assert_eq!((&row["entity_type"], &row["entity_name"]), (&json!("cluster"), &json!("DC0_C0")));
    let size = |field: &str| {
        let of = |host: &str| {
            let path = format!("/DC0/host/DC0_C0/{host}");
            let value = lab.govc(&["object.collect", "-s", &path, field]);
            value.trim().parse::<f64>().unwrap()
        };
        ["DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2"].map(of)
    };
    let mhz: f64 = size("summary.hardware.cpuMhz")
        .into_iter()
        .zip(size("summary.hardware.numCpuCores"))
        .map(|(mhz, cores)| mhz * cores)
        .sum();
    let memory: f64 = size("summary.hardware.memorySize").into_iter().sum();
    let number = |field: &str| row[field].as_f64().unwrap();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.abs().max(1.0);
    assert!(near(number("cpu_percent"), 100.0 * number("cpu_usage_mhz") / mhz), "{row} {mhz}");
    let share = 100.0 * number("memory_usage_bytes") / memory;
    assert!(near(number("memory_percent"), share), "{row} {memory}");
}

#[test]
fn the_sum_is_that_of_what_the_hosts_say() {
    // As in [`both`]: two servers that have just begun, asked within the same twenty seconds.
    let (row, hosts) = loop {
        let (one, other) = (Lab::new(), Lab::new());
        let row = one.ok(&["cluster", "DC0_C0"]).remove(0);
        let hosts = other.ok(&["host", "DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2"]);
        let when = |row: &Value| seconds(&row["timestamp"]) / 20;
        if hosts.iter().all(|host| when(host) == when(&row)) {
            break (row, hosts);
        }
    };
    for field in [
        "cpu_usage_mhz",
        "memory_usage_bytes",
        "disk_read_mbps",
        "disk_write_mbps",
        "net_rx_mbps",
        "net_tx_mbps",
    ] {
        let sum: f64 = hosts.iter().map(|host| host[field].as_f64().unwrap()).sum();
        let told = row[field].as_f64().unwrap();
        assert!((told - sum).abs() < 1e-6 * sum, "{field}: {told} is not {sum}");
    }
}

#[test]
fn flag_start_and_flag_end_and_flag_interval_ask_for_the_past() {
    let lab = Lab::new();
    let now = jiff::Timestamp::now();
    let before = |hours: i64| now - jiff::SignedDuration::from_hours(hours);
    let (start, end) = (before(3), before(2));
    let texts = [start.to_string(), end.to_string()];
    let hour = ["--start", &texts[0], "--end", &texts[1]];
    let rows = lab.ok(&[&["vm", "DC0_H0_VM0"], &hour[..]].concat());
    let times: Vec<i64> = rows.iter().map(|row| seconds(&row["timestamp"])).collect();
    assert!(times.is_sorted(), "{times:?}");
    let within = start.as_second()..=end.as_second();
    assert!(times.iter().all(|it| within.contains(it)), "{times:?}");
    assert_eq!(rows.len(), 13, "every five minutes, both ends included");
    assert_eq!(rows[0]["interval_seconds"], 300);
    let half = lab.ok(&[&["cluster", "DC0_C0", "--interval", "30m"], &hour[..]].concat());
    assert_eq!((half.len(), &half[0]["interval_seconds"]), (3, &json!(1800)));
    assert_eq!((&half[0]["derived"], &half[0]["disk_read_mbps"]), (&json!(false), &Value::Null));
    assert_eq!(half[0]["metadata"]["rollup"], "1800 s");
    let told = lab.run(&[&["vm", "DC0_H0_VM0"], &hour[..]].concat());
    assert!(told.err.contains("taken from: 300 s"), "{told:?}");
    let recent = lab.ok(&["vm", "DC0_H0_VM0", "--start", "1h ago", "--interval", "20m"]);
    assert_eq!(recent.len(), 4);
    let backwards = [hour[0], hour[3], hour[2], hour[1]];
    assert_eq!(lab.run(&[&["vm"], &backwards[..]].concat()).status, 2);
    assert_eq!(lab.run(&["vm", "--interval", "5m"]).status, 2);
    let nothing = lab.run(&[&["vm", "--interval", "0s"], &hour[..]].concat());
    assert!(nothing.status == 2 && nothing.err.contains("takes some time"), "{nothing:?}");
}

/// What a vCenter's rollups say, by the interval that govc names.
fn rolled_up(sim: &Sim, path: &str, interval: &str) -> Value {
    let asked = ["metric.sample", "-json", "-instance", "", "-n", "60", "-i", interval, path];
    let counters = [COUNTERS[0], COUNTERS[3], COUNTERS[7]];
    serde_json::from_str(&sim.govc(&[&asked[..], &counters].concat())).unwrap()
}

#[test]
fn the_past_comes_from_the_rollup_that_fits_and_is_what_govc_says() {
    let sim = Sim::start(&["--running", "web01"]);
    let home = tempfile::tempdir().unwrap();
    let rows = |args: &[&str]| much(home.path(), &sim.variables, args);
    for (start, interval, rollup, period) in [
        ("23h ago", None, "Past day, 300 s", "300"),
        ("23h ago", Some("10m"), "Past week, 1800 s", "1800"),
        ("3d ago", None, "Past week, 1800 s", "1800"),
        ("20d ago", None, "Past month, 7200 s", "7200"),
        ("23h ago", Some("1h"), "Past month, 7200 s", "7200"),
        ("300d ago", None, "Past year, 86400 s", "86400"),
    ] {
        let mut args = vec!["vm", "web01", "--start", start];
        args.extend(interval.iter().flat_map(|it| ["--interval", it]));
        let told = rows(&args);
        assert!(told.len() > 10, "{start}: {}", told.len());
        assert!(told.iter().all(|row| row["metadata"]["rollup"] == rollup), "{start}: {}", told[0]);
        let said = rolled_up(&sim, "vm/web01", period);
        let sample = &said["Sample"][0];
        let infos = sample["SampleInfo"].as_array().unwrap();
        let value = |name: &str, at: usize| {
            let found = sample["Value"].as_array().unwrap().iter().find(|it| it["Name"] == name);
            found.unwrap()["Value"][at].as_f64().unwrap()
        };
        let mut compared = 0;
        for row in &told {
            let at =
                infos.iter().position(|it| seconds(&it["Timestamp"]) == seconds(&row["timestamp"]));
            let Some(at) = at else { continue };
            compared += 1;
            assert_eq!(row["cpu_percent"].as_f64(), Some(value(COUNTERS[0], at) / 100.0));
            assert_eq!(row["memory_usage_bytes"].as_f64(), Some(value(COUNTERS[3], at) * 1024.0));
            assert_eq!(row["net_tx_mbps"].as_f64(), Some(value(COUNTERS[7], at) / 1024.0));
        }
        assert!(compared > 10, "{start}: govc told {} samples", infos.len());
    }
    let cluster = rows(&["cluster", "DC0_C0", "--start", "24h ago", "--interval", "30m"]);
    assert_eq!(
        (&cluster[0]["derived"], &cluster[0]["interval_seconds"]),
        (&json!(false), &json!(1800))
    );
    let now = rows(&["cluster", "DC0_C0"]);
    assert_eq!((now.len(), &now[0]["derived"]), (1, &json!(true)));
}

/// Many machines in few queries: vCenter bounds how much of its database one may ask for.
#[test]
fn many_things_are_asked_for_in_few_queries() {
    let server =
        Vcsim::start(&["-vm", "30", "-host", "1", "-cluster", "0", "-standalone-host", "1"]);
    let lab = Lab { server, home: tempfile::tempdir().unwrap() };
    let done = lab.run(&["vm", "-vv", "-o", "ndjson"]);
    let queries = |done: &Done| done.err.lines().filter(|it| it.contains(" QueryPerf ")).count();
    assert_eq!((done.lines().len(), queries(&done)), (30, 1), "{}", done.err);
    let past = lab.run(&["vm", "-vv", "-o", "ndjson", "--start", "1h ago", "--interval", "1h"]);
    assert_eq!(queries(&past), 4, "eight machines at a time: {}", past.err);
    let ids: BTreeSet<_> =
        past.lines().iter().map(|row| row["entity_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 30);
}

/// A follower that ends with the test.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn flag_follow_and_flag_every_tell_each_sample_once() {
    let lab = Lab::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-metrics"));
    // Where nothing comes it ends by itself.
    command.args(["vm", "DC0_H0_VM0", "--follow", "--every", "1s", "--timeout", "20s"]);
    command.args(["-o", "ndjson"]);
    command.env_clear().env("HOME", lab.home.path());
    command.envs(lab.server.variables());
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Following(command.spawn().unwrap());
    let mut errors = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut count = 0;
    for line in lines.by_ref().take(3) {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let time = seconds(&row["timestamp"]);
        assert!(time > last, "{row}");
        (last, count) = (time, count + 1);
    }
    assert_eq!(count, 3, "a sample a second, and not one in twenty");
    let refused = lab.run(&["vm", "--follow", "-o", "prometheus"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert_eq!(lab.run(&["vm", "--every", "1s"]).status, 2);
    // Without its server it does not fall silent.
    drop(lab.server);
    let told = errors.next().unwrap().unwrap();
    assert!(told.contains(": the connection is lost ("), "{told}");
}

#[test]
fn what_there_is_is_counted() {
    let lab = Lab::new();
    lab.govc(&["vm.power", "-off", "DC0_H0_VM0", "DC0_H0_VM1"]);
    lab.govc(&["vm.markastemplate", "DC0_H0_VM1"]);
    for name in ["a", "b"] {
        lab.govc(&["snapshot.create", "-vm", "DC0_C0_RP0_VM0", name]);
    }
    let rows = lab.ok(&[]);
    let row = &rows[0];
    assert_eq!(
        (&row["vms"], &row["vms_running"], &row["vms_stopped"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!((&row["templates"], &row["snapshots"]), (&json!(1), &json!(2)));
    assert_eq!(row["phases"], json!({ "poweredOff": 1, "poweredOn": 2 }));
    let info = lab.server.govc_json(lab.home.path(), &["vm.info", "-json", "DC0_C0_RP0_VM0"]);
    let hardware = &info["VirtualMachines"][0]["Config"]["Hardware"];
    let (cpus, mib) =
        (hardware["NumCPU"].as_u64().unwrap(), hardware["MemoryMB"].as_u64().unwrap());
    assert_eq!(
        (row["cpus"].as_u64(), row["memory_bytes"].as_u64()),
        (Some(3 * cpus), Some((3 * mib) << 20))
    );
    assert_eq!((&row["restores"], &row["operator_status"]), (&Value::Null, &Value::Null));
}

#[test]
fn on_a_terminal_a_table_is_drawn_over_itself() {
    let lab = Lab::new();
    let python = std::env::var_os("HYPER_TB_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", include_str!("live.py"), env!("CARGO_BIN_EXE_hyper-metrics")]);
    command.args(["host", "DC0_H0", "--follow", "--every", "1s", "--timeout", "20s"]);
    command.env_clear().env("HOME", lab.home.path()).env("PATH", "/usr/bin:/bin");
    command.env("TERM", "xterm").env("COLUMNS", "160").envs(lab.server.variables());
    let done = Done::from(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(done.status, 0, "{done:?}");
    let shown: Vec<_> = done.out.split("\u{1b}[2A\u{1b}[J").collect();
    assert!(shown.len() > 2, "{done:?}");
    for (at, table) in shown[..3].iter().enumerate() {
        let line = table.lines().find(|line| line.starts_with("DC0_H0")).unwrap();
        let bars = line.split("   ").map(str::trim).filter(|cell| {
            !cell.is_empty() && cell.chars().all(|c| ('\u{2581}'..='\u{2588}').contains(&c))
        });
        let counts: Vec<_> = bars.map(|cell| cell.chars().count()).collect();
        assert_eq!(counts, [at + 1, at + 1], "a bar more each time: {line}");
    }
}
