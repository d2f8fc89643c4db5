//! `hyper-events` as a process against vcsim, the simulator of govmomi, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod poster;
mod process;
#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use poster::Poster;
use process::{Done, Following, User, signal};
use serde_json::{Value, json};
use simulator::Sim;
use vcsim::Vcsim;

const VM: &str = "DC0_H0_VM0";

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    user: User,
}

impl Lab {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(flags: &[&str]) -> Self {
        let server = Vcsim::start(flags);
        let mut variables = server.variables();
        if flags.contains(&"-tls=false") {
            let url = variables.iter_mut().find(|it| it.0 == "GOVC_URL").unwrap();
            url.1 = server.url().replace("https:", "http:");
        }
        Self { server, user: User::new(variables) }
    }

    /// One that speaks HTTP, and somebody who posts events there.
    fn plain() -> (Self, Poster) {
        let lab = Self::with(&["-tls=false"]);
        let poster = Poster::new(&lab.server.place);
        (lab, poster)
    }

    fn run(&self, args: &[&str]) -> Done {
        self.user.run(args)
    }

    fn rows(&self, args: &[&str]) -> Vec<Value> {
        self.run(&[args, &["-o", "ndjson"]].concat()).lines()
    }

    fn types(&self, args: &[&str]) -> Vec<String> {
        self.rows(args).iter().map(|it| it["event_type"].as_str().unwrap().to_owned()).collect()
    }

    fn govc(&self, args: &[&str]) -> String {
        let program = std::env::var("HYPER_TB_GOVC").unwrap_or_else(|_| "govc".to_owned());
        let done = vcsim::run(&program, self.user.home(), self.user.variables(), args);
        assert_eq!(done.status, 0, "govc {args:?}: {done:?}");
        done.out
    }

    /// What govc shows of something: type, severity, time, message.
    fn shown(&self, path: &[&str]) -> Vec<(String, String, Timestamp, String)> {
        let text = self.govc(&[&["events", "-json", "-l", "-n", "1000"], path].concat());
        let mut rows: Vec<_> = serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            .map(|row| {
                let row = row.unwrap();
                let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let time = word("CreatedTime").parse().unwrap();
                (word("Type"), word("Category"), time, word("Message"))
            })
            .collect();
        rows.sort_by_key(|row| row.2);
        rows
    }

    fn power(&self, how: &str) {
        self.govc(&["vm.power", how, VM]);
    }
}

/// The same of records.
fn told(rows: &[Value]) -> Vec<(String, String, Timestamp, String)> {
    let one = |row: &Value| {
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let time = word("created_time").parse().unwrap();
        (word("event_type") + "Event", word("severity"), time, word("message"))
    };
    rows.iter().map(one).collect()
}

#[test]
fn a_list_is_what_govc_shows() {
    let lab = Lab::new();
    lab.power("-off");
    lab.power("-on");
    let rows = lab.rows(&["--since", "1d"]);
    let shown = lab.shown(&[]);
    assert!(rows.len() > 20 && shown.len() >= rows.len());
    // govc has logged in after hyper.
    assert_eq!(told(&rows), shown[..rows.len()]);
    let keys: Vec<i64> =
        rows.iter().map(|it| it["event_id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    let on = rows.iter().rfind(|row| row["event_type"] == "VmPoweredOn").unwrap();
    let machine = &lab.server.govc_json(lab.user.home(), &["ls", "-json", &format!("vm/{VM}")])["elements"]
        [0];
    let expected = json!({
        "schema": "hyper.event/v1",
        "context": "govc",
        "provider": "vsphere",
        "event_id": on["event_id"],
        "event_type": "VmPoweredOn",
        "severity": "info",
        "created_time": on["created_time"],
        "first_time": null,
        "count": 1,
        "message": format!("{VM} on DC0_H0 in DC0 is powered on"),
        "entity_name": VM,
        "entity_type": "VirtualMachine",
        "entity_id": machine["Object"]["Self"]["Value"],
        "vm": VM,
        "vm_id": machine["Object"]["Self"]["Value"],
        "namespace": null,
        "datacenter": "DC0",
        "cluster": "DC0_H0",
        "host": "DC0_H0",
        "user_name": "user",
        "source": null,
        "chain_id": on["event_id"],
        "metadata": {"template": "false"},
        "late": false,
        "gap": null,
    });
    assert_eq!(*on, expected);
}

#[test]
fn an_entity_is_a_machine_or_a_place() {
    let lab = Lab::new();
    lab.power("-off");
    let about = |args: &[&str]| told(&lab.rows(&[args, &["--since", "1d"]].concat()));
    assert_eq!(about(&[VM]), lab.shown(&[&format!("vm/{VM}")]));
    for path in ["/DC0/host/DC0_C0", "/DC0/host/DC0_C0/DC0_C0_H0", "/DC0/host/DC0_H0/DC0_H0"] {
        let shown = lab.shown(&[path]);
        assert!(!shown.is_empty(), "{path}");
        assert_eq!(about(&[path]), shown, "{path}");
    }
    let both = about(&[VM, "govc:DC0_H0_VM1"]);
    let apart = about(&[VM]).len() + about(&["DC0_H0_VM1"]).len();
    assert_eq!(both.len(), apart);
    let name = lab.run(&[VM, "-o", "name"]).out;
    assert!(name.starts_with("govc:@vm-"), "{name}");
    let reference = name.lines().next().unwrap();
    assert_eq!(about(&[reference]), about(&[VM]), "a name is taken back as an argument");
    let missing = lab.run(&["/DC0/host/nope"]);
    assert_eq!(missing.status, 5, "{missing:?}");
    assert_eq!(lab.run(&[VM, "/DC0/vm"]).status, 7, "a folder by itself only");
}

#[test]
fn flag_since_and_flag_types_and_flag_severity_and_flag_user() {
    let (lab, mut poster) = Lab::plain();
    lab.power("-off");
    poster.post("EventEx", "<eventTypeId>com.example.Bad</eventTypeId><severity>error</severity>");
    assert_eq!(
        lab.types(&["--types", "VmPoweredOff,com.example.*"]),
        ["VmPoweredOff", "com.example.Bad"]
    );
    assert_eq!(lab.types(&["--types", "vmpoweredoffevent"]), ["VmPoweredOff"]);
    assert_eq!(lab.types(&["--severity", "error"]), ["com.example.Bad"]);
    let none = lab.run(&["--types", "VmPowered,VmSuspended,com.example.Gone", "-o", "ndjson"]);
    assert!(none.lines().is_empty(), "{none:?}");
    assert!(none.err.contains("govc describes no events of the type \"VmPowered\""), "{none:?}");
    assert!(!none.err.contains("VmSuspended") && !none.err.contains("Gone"), "{none:?}");
    assert!(none.err.contains("no events here pass"), "{none:?}");
    let all = lab.rows(&[]);
    let user = lab.rows(&["--user", "US*"]);
    assert!(!user.is_empty() && user.iter().all(|row| row["user_name"] == "user"));
    assert!(lab.types(&["--user", "LAB\\nobody"]).is_empty());
    let last = all.last().unwrap()["created_time"].as_str().unwrap();
    let since = lab.rows(&["--since", last]);
    assert!(
        since.len() < all.len()
            && since.iter().all(|row| row["created_time"].as_str().unwrap() >= last)
    );
}

#[test]
fn flag_follow_tells_what_comes_and_outlives_a_login() {
    let lab = Lab::new();
    let mut follow = lab.user.follow(&["--follow", "--types", "VmPowered*"]);
    begin(&lab, &mut follow);
    for how in ["-off", "-on", "-off"] {
        follow.still(|| lab.power(how));
        let word = if how == "-on" { "VmPoweredOn" } else { "VmPoweredOff" };
        assert_eq!(follow.next_by("/event_type"), word);
    }
    // It happens while nobody is logged in.
    follow.still(|| {
        for key in lab.server.logins(lab.user.home()) {
            lab.govc(&["session.rm", &key]);
        }
        lab.power("-on");
    });
    assert_eq!(follow.next_by("/event_type"), "VmPoweredOn");
    assert_eq!(follow.stop(), 130);
}

/// Switches the machine until the follower tells of it: it has begun then. The machine is on.
fn begin(lab: &Lab, follow: &mut Following) {
    let mut on = true;
    let mut switch = || {
        lab.power(if on { "-off" } else { "-on" });
        on = !on;
        if on { "VmPoweredOn".to_owned() } else { "VmPoweredOff".to_owned() }
    };
    follow.until_it_tells("/event_type", &mut switch);
    if !on {
        follow.still(|| lab.power("-on"));
        assert_eq!(follow.next_by("/event_type"), "VmPoweredOn");
    }
}

#[test]
fn a_thousand_events_come_whole_and_in_order() {
    let (lab, mut poster) = Lab::plain();
    let begun = lab.rows(&[]).len();
    let mut follow = lab.user.follow(&["--follow", "--since", "1h", "--types", "GeneralUser"]);
    for round in 0..4 {
        // More than a page holds, less than the server keeps.
        follow.still(|| (0..400).for_each(|number| poster.say(&format!("{round}-{number}"))));
        for number in 0..400 {
            let row = follow.next();
            assert_eq!(row["metadata"]["message"], format!("{round}-{number}"));
        }
    }
    assert!(begun > 0 && follow.within(Duration::from_secs(1)).is_none(), "nothing comes twice");
}

#[test]
fn what_the_server_forgot_is_a_gap() {
    let (lab, mut poster) = Lab::plain();
    let mut follow = lab.user.follow(&["--follow", "--types", "GeneralUser"]);
    let mut number = 0;
    follow.until_it_tells("/metadata/message", || {
        number += 1;
        poster.say(&format!("begun-{number}"));
        format!("begun-{number}")
    });
    // The server keeps a thousand.
    follow.still(|| (0..1100).for_each(|number| poster.say(&number.to_string())));
    let gap = follow.next();
    assert_eq!((&gap["event_type"], &gap["gap"]["reason"]), (&json!("Gap"), &json!("forgotten")));
    let key = |name: &str| gap["gap"][name].as_str().unwrap().parse::<i64>().unwrap();
    let first = follow.next();
    assert_eq!(first["event_id"].as_str().unwrap().parse(), Ok(key("before")));
    let missing = key("before") - key("after") - 1;
    assert!(missing >= 100, "{gap}");
    for _ in 1..1100 - missing {
        follow.next();
    }
    follow.still(|| poster.say("last"));
    assert_eq!(follow.next_by("/metadata/message"), "last");
}

#[test]
fn flag_cursor_and_flag_save_cursor_go_on_behind_the_last_event() {
    let (lab, mut poster) = Lab::plain();
    let file = lab.user.home().join("at.json").display().to_string();
    let both = ["--cursor", &file, "--save-cursor", &file, "--types", "GeneralUser"];
    poster.say("a");
    let messages = |args: &[&str]| -> Vec<String> {
        let rows = lab.rows(args);
        rows.iter().map(|row| row["metadata"]["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(&both), ["a"], "a first run has no file");
    assert!(messages(&both).is_empty());
    poster.say("b");
    assert_eq!(messages(&["--cursor", &file, "--types", "GeneralUser"]), ["b"]);
    let mut follow = lab.user.follow(&[&both[..], &["--follow"]].concat());
    assert_eq!(follow.next_by("/metadata/message"), "b");
    follow.still(|| poster.say("c"));
    assert_eq!(follow.next_by("/metadata/message"), "c");
    assert_eq!(follow.stop(), 130);
    assert!(messages(&both).is_empty());
    // One that was killed noted what it had told a while before.
    let mut follow = lab.user.follow(&[&both[..], &["--follow"]].concat());
    follow.still(|| poster.say("d"));
    assert_eq!(follow.next_by("/metadata/message"), "d");
    let key = |name: &str| -> i64 {
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        kept["contexts"]["govc"][name].as_i64().unwrap()
    };
    let last = lab.rows(&["--types", "GeneralUser"]);
    let last: i64 = last.last().unwrap()["event_id"].as_str().unwrap().parse().unwrap();
    while key("key") < last {
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&follow.pid(), "KILL");
    poster.say("e");
    assert_eq!(messages(&both), ["e"]);
}

#[test]
fn a_cursor_is_good_for_other_filters() {
    let (lab, mut poster) = Lab::plain();
    let file = lab.user.home().join("at.json").display().to_string();
    lab.power("-off");
    poster.say("a");
    assert!(!lab.rows(&["--save-cursor", &file]).is_empty());
    // The last event is of another type, and of no machine: it is there all the same.
    for more in [&["--types", "VmPoweredOn"][..], &[VM]] {
        assert!(lab.rows(&[&["--cursor", &file], more].concat()).is_empty(), "{more:?}");
    }
    lab.power("-on");
    for more in [&["--types", "VmPoweredOn"][..], &[VM]] {
        let told = lab.types(&[&["--cursor", &file], more].concat());
        assert_eq!(told.last().map(String::as_str), Some("VmPoweredOn"), "{more:?}: {told:?}");
        assert!(!told.iter().any(|it| it == "Gap" || it == "VmPoweredOff"), "{more:?}: {told:?}");
    }
}

#[test]
fn a_server_that_begins_anew_is_told_and_gone_on_with() {
    let (lab, mut poster) = Lab::plain();
    let file = lab.user.home().join("at.json").display().to_string();
    let place = lab.server.place.clone();
    let mut follow =
        lab.user.follow(&["--follow", "--types", "GeneralUser", "--save-cursor", &file]);
    let mut number = 0;
    follow.until_it_tells("/metadata/message", || {
        number += 1;
        poster.say(&format!("begun-{number}"));
        format!("begun-{number}")
    });
    let Lab { server, user } = lab;
    drop(server);
    follow.until_people_hear(": the connection is lost (");
    let again = Vcsim::start(&["-tls=false", "-l", &place]);
    let mut poster = Poster::new(&again.place);
    let gap = follow.next();
    assert_eq!(gap["gap"]["reason"], "renumbered", "{gap}");
    follow.still(|| poster.say("again"));
    assert_eq!(follow.next_by("/metadata/message"), "again");
    let told = follow.until_people_hear(": the connection is back");
    assert_eq!(told.matches("the connection is").count(), 2, "once each: {told}");
    drop(follow);
    drop(user);
}

#[test]
fn flag_context_and_flag_all_contexts_and_flag_delay_merge_two_servers() {
    let (one, mut first) = Lab::plain();
    let (two, mut second) = Lab::plain();
    let config = one.user.home().join(".config/hyper");
    std::fs::create_dir_all(&config).unwrap();
    let password = one.user.home().join("password");
    std::fs::write(&password, vcsim::PASSWORD).unwrap();
    std::fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let entry = |name: &str, lab: &Lab| {
        let url = lab.server.url().replace("https:", "http:");
        let word = password.display();
        format!(
            "  {name}: {{provider: vsphere, url: '{url}', user: user, password_file: '{word}'}}\n"
        )
    };
    let text = format!("contexts:\n{}{}", entry("one", &one), entry("two", &two));
    std::fs::write(config.join("config.yaml"), text).unwrap();
    for round in 0..3 {
        first.say(&format!("one-{round}"));
        second.say(&format!("two-{round}"));
    }
    let args = ["-c", "one,two", "--types", "GeneralUser", "-o", "ndjson"];
    let rows = one.run(&args).lines();
    let words: Vec<_> =
        rows.iter().map(|row| row["metadata"]["message"].as_str().unwrap()).collect();
    assert_eq!(words, ["one-0", "two-0", "one-1", "two-1", "one-2", "two-2"]);
    assert!(rows.iter().all(|row| row["late"] == false));
    let follow = ["--follow", "--since", "1h", "--delay", "3s"];
    let mut follow = one.user.follow(&[&args[..4], &follow].concat());
    let told: Vec<_> = (0..6).map(|_| follow.next_by("/metadata/message")).collect();
    assert_eq!(told, words);
    let lost = two.server.place.clone();
    drop(two);
    follow.still(|| first.say("alone"));
    assert_eq!(follow.next_by("/metadata/message"), "alone", "one that is lost holds nobody up");
    drop(follow);
    let part = one.run(&args);
    assert_eq!(part.status, 10, "{part:?}");
    assert!(part.err.contains(&lost), "{part:?}");
    let since = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    assert!(one.rows(&["-c", "one", "--since", &since]).is_empty());
    assert_eq!(one.run(&["--all-contexts"]).status, 7, "files are among them");
}

#[test]
fn nothing_is_left_on_the_server() {
    let lab = Lab::new();
    // A server has few collectors; vcsim has a thousand.
    for _ in 0..3 {
        lab.rows(&[]);
    }
    for args in [&["-vv"][..], &["-vv", "--follow", "--since", "1h", "--timeout", "1500ms"]] {
        let said = lab.run(args).err;
        let count = |method: &str| said.matches(method).count();
        assert!(count(" CreateCollectorForEvents ") > 0, "{said}");
        assert_eq!(count(" CreateCollectorForEvents "), count(" DestroyCollector "), "{said}");
    }
}

#[test]
fn alarms_are_what_the_server_says_is_triggered() {
    let none = Lab::new();
    let empty = none.run(&["alarms", "-o", "json"]);
    assert_eq!((empty.status, empty.json()["items"].clone()), (0, json!([])), "{empty:?}");
    let sim = Sim::start(&["--alarm", "web01=red", "--alarm", "db01=yellow:jo"]);
    let user = User::new(sim.variables.clone());
    let mut rows = user.run(&["alarms", "-o", "ndjson"]).lines();
    rows.sort_by_key(|row| row["entity_name"].to_string());
    let path = |name: &str| {
        let found =
            sim.govc(&["object.collect", "-json", &format!("vm/{name}"), "triggeredAlarmState"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        found[0]["Val"]["AlarmState"][0].clone()
    };
    let (db, web) = (path("db01"), path("web01"));
    for (row, state, name) in [(&rows[0], &db, "db01"), (&rows[1], &web, "web01")] {
        let time = |it: &Value| it.as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(time(&row["time"]), time(&state["Time"]));
        let expected = json!({
            "schema": "hyper.alarm/v1",
            "context": "govc",
            "provider": "vsphere",
            "alarm_id": state["Key"],
            "alarm_name": "Virtual machine heartbeat",
            "description": "Tells when a guest has lost its heartbeat",
            "status": state["OverallStatus"],
            "time": row["time"],
            "acknowledged": state["Acknowledged"],
            "acknowledged_by": if name == "db01" { json!("jo") } else { Value::Null },
            "acknowledged_time": row["acknowledged_time"],
            "entity_name": name,
            "entity_type": "VirtualMachine",
            "entity_id": state["Entity"]["Value"],
            "event_id": null,
        });
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.len(), 2);
    let table = user.run(&["alarms"]).out;
    assert!(table.contains("web01") && table.contains("red") && table.contains("no"), "{table}");
    let names = user.run(&["alarms", "-o", "name", "-c", "govc"]).out;
    assert_eq!(names.lines().filter(|it| it.starts_with("govc:@vm-")).count(), 2);
}

#[test]
fn a_long_history_is_read_in_parts_and_outlives_a_login() {
    let expire = "op=ReadNextEvents,skip=1,max=1,expire";
    let sim = Sim::start(&["--events", "2500", "--fault", expire]);
    let user = User::new(sim.variables.clone());
    let rows = user.run(&["--since", "1h", "-o", "ndjson", "-vv"]);
    let keys = |rows: &[Value]| -> Vec<u32> {
        rows.iter().map(|it| it["event_id"].as_str().unwrap().parse().unwrap()).collect()
    };
    let all: Vec<u32> = (1..=2500).collect();
    assert_eq!(keys(&rows.lines()), all, "the login ended behind the first part");
    assert!(rows.err.matches(" ReadNextEvents ").count() >= 4);
    let mut follow = user.follow(&["--follow", "--since", "1h"]);
    let told: Vec<Value> = all.iter().map(|_| follow.next()).collect();
    assert_eq!(keys(&told), all);
    sim.govc(&["vm.power", "-on", "web01"]);
    let on = follow.next();
    assert_eq!((&on["event_type"], &on["vm"]), (&json!("VmPoweredOn"), &json!("web01")));
    let shown = sim.govc(&["events", "-json", "-l", "-n", "1", "vm/web01"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&on["message"], &on["severity"]), (&shown["Message"], &shown["Category"]));
}

#[test]
fn more_than_a_thousand_events_a_second_come_whole_and_each_once() {
    // The more that come at once, the more parts of the history the last event must be looked for
    // in, and the more of it a new login has to make up for.
    let sim = Sim::start(&["--event-rate", "1500"]);
    let user = User::new(sim.variables.clone());
    let mut follow = user.follow(&["--follow"]);
    let key = |row: &Value| -> i64 { row["event_id"].as_str().unwrap().parse().unwrap() };
    let mut told = Vec::new();
    while told.len() < 9000 {
        if told.len() == 2000 || told.len() == 5500 {
            assert_eq!(sim.end_logins(), 1);
        }
        let row = follow.next();
        assert!(row["gap"].is_null(), "{row}");
        told.push(key(&row));
    }
    let wrong = told.windows(2).find(|it| it[1] != it[0] + 1);
    assert_eq!(wrong, None, "each follows the one before");
    assert_eq!(follow.stop(), 130);
    let listed = user.run(&["--since", "1h", "-o", "ndjson"]).lines();
    let listed: Vec<_> = listed.iter().map(key).collect();
    assert!(listed.len() > 9000 && listed.iter().copied().eq(1..=listed.len() as i64));
}
