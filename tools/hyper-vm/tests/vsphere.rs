//! `hyper-vm` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod vcsim;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        Self { server: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn vm(&self, args: &[&str]) -> Done {
        self.vm_with(args, &[])
    }

    fn vm_with(&self, args: &[&str], more: &[(&'static str, &str)]) -> Done {
        let mut variables = self.server.variables();
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        run(env!("CARGO_BIN_EXE_hyper-vm"), self.home.path(), &variables, args)
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        let mut all = vec!["list", "-o", "ndjson"];
        all.extend(args);
        let done = self.vm(&all);
        assert_eq!(done.status, 0, "{done:?}");
        let mut names: Vec<_> =
            done.lines().iter().map(|vm| vm["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Makes a machine in a new folder, and gives it its name then: vcsim wants names of files to
    /// be unlike.
    fn create(&self, dc: &str, folder: &str, first: &str, name: &str) {
        let folder = format!("/{dc}/vm/{folder}");
        let pool = format!("/{dc}/host/{dc}_H0/Resources");
        self.govc(&["folder.create", &folder]);
        let place = ["vm.create", "-dc", dc, "-folder", &folder, "-pool", &pool];
        let parts = ["-ds", "LocalDS_0", "-net", "VM Network", first];
        self.govc(&[place.as_slice(), &parts].concat());
        self.govc(&["object.rename", &format!("{folder}/{first}"), name]);
    }

    fn state(&self, vm: &str) -> String {
        self.vm(&["get", vm, "-o", "json"]).json()["status"].as_str().unwrap().to_owned()
    }
}

fn devices<'v>(vm: &'v Value, field: &'static str) -> impl Iterator<Item = &'v Value> {
    let all = vm["Config"]["Hardware"]["Device"].as_array().unwrap().iter();
    all.map(move |device| &device[field]).filter(|value| !value.is_null())
}

/// What the guest tells of its addresses.
fn addresses(vm: &Value) -> Vec<Value> {
    let cards = vm["Guest"]["Net"].as_array().map_or(&[][..], Vec::as_slice);
    let all = cards.iter().filter_map(|card| card["IpAddress"].as_array());
    let all: Vec<_> = all.flatten().cloned().collect();
    let main = &vm["Guest"]["IpAddress"];
    match all.is_empty() && main.as_str().is_some_and(|it| !it.is_empty()) {
        true => vec![main.clone()],
        false => all,
    }
}

/// Whether VMware Tools answer, where the machine runs.
fn agent(vm: &Value) -> Value {
    match vm["Guest"]["ToolsRunningStatus"].as_str() {
        Some(word) if !word.is_empty() && vm["Runtime"]["PowerState"] == "poweredOn" => {
            (word == "guestToolsRunning").into()
        }
        _ => Value::Null,
    }
}

#[test]
fn records_say_what_govc_says() {
    let lab = Lab::new();
    let listed = lab.vm(&["list", "-o", "ndjson"]);
    assert_eq!(listed.status, 0, "{listed:?}");
    let listed = listed.lines();
    let paths: BTreeSet<String> =
        listed.iter().map(|vm| vm["path"].as_str().unwrap().to_owned()).collect();
    let find = lab.govc(&["find", "/", "-type", "m"]);
    assert_eq!(paths, find.lines().map(str::to_owned).collect());
    assert_eq!(listed.len(), 4);
    for own in &listed {
        let path = own["path"].as_str().unwrap();
        let info = lab.server.govc_json(lab.home.path(), &["vm.info", "-json", path]);
        let vm = &info["VirtualMachines"][0];
        let config = &vm["Config"];
        let host = vm["Runtime"]["Host"]["Value"].as_str().unwrap();
        let host = lab.govc(&["ls", "-L", &format!("HostSystem:{host}")]);
        let kib: u64 = devices(vm, "CapacityInKB").map(|it| it.as_u64().unwrap()).sum();
        let group = devices(vm, "Backing").find_map(|it| it["Port"]["PortgroupKey"].as_str());
        let group =
            lab.govc(&["ls", "-L", &format!("DistributedVirtualPortgroup:{}", group.unwrap())]);
        let last = |path: &str| path.trim().rsplit('/').next().unwrap().to_owned();
        let expected = json!({
            "schema": "hyper.vm/v1",
            "id": vm["Self"]["Value"],
            "name": vm["Name"],
            "context": "govc",
            "provider": "vsphere",
            "namespace": null,
            "state": null,
            "ip_addresses": addresses(vm),
            "labels": {},
            "status": match vm["Runtime"]["PowerState"].as_str().unwrap() {
                "poweredOn" => "running",
                "poweredOff" => "stopped",
                _ => "paused",
            },
            "cpus": config["Hardware"]["NumCPU"],
            "memory_bytes": config["Hardware"]["MemoryMB"].as_u64().unwrap() << 20,
            "guest_os": "unknown",
            "guest_os_id": config["GuestId"],
            "guest_os_name": config["GuestFullName"],
            "firmware": config["Firmware"],
            "disk_count": devices(vm, "CapacityInKB").count(),
            "capacity_bytes": kib * 1024,
            "allocated_bytes": vm["Summary"]["Storage"]["Committed"],
            "macs": devices(vm, "MacAddress").collect::<Vec<_>>(),
            "networks": [last(&group)],
            "format": null,
            "path": path,
            "node": last(&host),
            "guest_agent": agent(vm),
            "uuid": config["Uuid"],
            "instance_uuid": config["InstanceUuid"],
            "created": null,
            "updated": null,
        });
        assert_eq!(*own, expected);
        let got = lab.vm(&["get", path, "-o", "json"]).json();
        assert_eq!(got, expected, "get shows the same");
    }
}

#[test]
fn filters_hold_and_places_confine() {
    let lab = Lab::with(&["-dc", "2"]);
    lab.govc(&["vm.power", "-off", "/DC0/vm/DC0_H0_VM0"]);
    lab.govc(&["vm.change", "-vm", "/DC0/vm/DC0_H0_VM1", "-c", "4", "-m", "4096"]);
    assert_eq!(lab.names(&[]).len(), 8);
    assert_eq!(lab.names(&["--status", "poweredOff"]), ["DC0_H0_VM0"]);
    assert_eq!(lab.names(&["--min-cpus", "4", "--min-memory", "4Gi"]), ["DC0_H0_VM1"]);
    assert_eq!(lab.names(&["--match", "DC1_*_vm0"]), ["DC1_C0_RP0_VM0", "DC1_H0_VM0"]);
    assert_eq!(lab.names(&["--match", "node=DC0_H0"]), ["DC0_H0_VM0", "DC0_H0_VM1"]);
    assert_eq!(lab.names(&["/DC1"]).len(), 4);
    assert_eq!(lab.names(&["/DC0/host/DC0_H0"]), ["DC0_H0_VM0", "DC0_H0_VM1"]);
    assert_eq!(lab.names(&["DC0_H0_VM1"]), ["DC0_H0_VM1"], "one machine, by its relative path");
    assert_eq!(lab.vm(&["list", "/DC9"]).status, 5);
    assert_eq!(lab.vm(&["list", "/DC0/datastore"]).status, 0, "a folder without machines");
    let scoped = lab.vm_with(&["list", "-o", "name"], &[("GOVC_DATACENTER", "DC1")]);
    assert_eq!(scoped.out.lines().count(), 4, "{scoped:?}");
}

#[test]
fn every_kind_of_reference_finds_its_machine() {
    let lab = Lab::with(&["-dc", "2"]);
    let vm = lab.vm(&["get", "DC0_H0_VM0", "-o", "json"]).json();
    let id = |field: &str| vm[field].as_str().unwrap().to_owned();
    let by_id = format!("@{}", id("id"));
    for reference in
        ["/DC0/vm/DC0_H0_VM0", "DC0/vm/DC0_H0_VM0", &by_id, &id("uuid"), &id("instance_uuid")]
    {
        let got = lab.vm(&["get", reference, "-o", "json"]);
        assert_eq!(got.json(), vm, "{reference}: {got:?}");
    }
    for missing in ["nope", "/DC0/vm/nope", "@vm-9999", "00000000-0000-0000-0000-000000000000"] {
        let done = lab.vm(&["get", missing]);
        assert_eq!(done.status, 5, "{missing}: {done:?}");
    }
    // The same name in two folders.
    lab.create("DC0", "other", "twin", "DC0_H0_VM0");
    let twice = lab.vm(&["get", "DC0_H0_VM0"]);
    assert_eq!(twice.status, 6, "{twice:?}");
    for path in ["/DC0/vm/DC0_H0_VM0 (@", "/DC0/vm/other/DC0_H0_VM0 (@"] {
        assert!(twice.err.contains(path), "{twice:?}");
    }
    assert_eq!(lab.vm(&["get", "other/DC0_H0_VM0"]).status, 0);
    // A relative path that is one in each of two datacenters.
    lab.create("DC0", "web", "front0", "front");
    lab.create("DC1", "web", "front1", "front");
    assert_eq!(lab.vm(&["get", "web/front"]).status, 6);
    let scoped = lab.vm_with(&["get", "web/front", "-o", "json"], &[("GOVC_DATACENTER", "DC1")]);
    assert_eq!(scoped.json()["path"], "/DC1/vm/web/front");
}

#[test]
fn a_login_is_used_again_and_a_lost_one_renewed() {
    let lab = Lab::new();
    assert_eq!(lab.names(&[]).len(), 4);
    let first = lab.server.logins(lab.home.path());
    let id = format!("@{}", lab.vm(&["list", "-o", "ndjson"]).lines()[0]["id"].as_str().unwrap());
    for _ in 0..50 {
        assert_eq!(lab.vm(&["get", &id]).status, 0);
    }
    assert_eq!(lab.server.logins(lab.home.path()), first, "fifty runs, the same login");
    let told = lab.vm(&["list", "-v"]);
    assert!(told.err.contains("using an earlier login"), "{told:?}");
    lab.govc(&["session.rm", &first[0]]);
    let renewed = lab.vm(&["list", "-v", "-o", "ndjson"]);
    assert_eq!(renewed.lines().len(), 4, "an ended login is not an empty list: {renewed:?}");
    assert!(renewed.err.contains("logged in at"), "{renewed:?}");
    assert_eq!(lab.server.logins(lab.home.path()).len(), 1);
}

#[test]
fn a_crowd_of_first_runs_makes_one_login() {
    let lab = Lab::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(lab.names(&[]).len(), 4));
        }
    });
    assert_eq!(lab.server.logins(lab.home.path()).len(), 1);
}

#[test]
fn who_cannot_get_in_is_told_why() {
    let lab = Lab::new();
    let wrong = lab.vm_with(&["list"], &[("GOVC_PASSWORD", "wrong-secret")]);
    assert_eq!(wrong.status, 4, "{wrong:?}");
    assert!(wrong.err.contains("log in as user") && !wrong.err.contains("wrong-secret"));
    assert_eq!(lab.vm_with(&["list"], &[("GOVC_PASSWORD", "")]).status, 4, "nobody to ask");
    let nowhere = lab.vm_with(&["list"], &[("GOVC_URL", "127.0.0.1:1")]);
    assert_eq!(nowhere.status, 8, "{nowhere:?}");
    assert!(nowhere.err.contains("127.0.0.1:1"), "{nowhere:?}");
    let doubted = lab.vm_with(&["list"], &[("GOVC_INSECURE", "")]);
    assert_eq!(doubted.status, 4, "{doubted:?}");
    assert!(doubted.err.contains("SHA-256 thumbprint is"), "{doubted:?}");
    // govc's convention: the variables may name files.
    let user = lab.home.path().join("user");
    let password = lab.home.path().join("password");
    std::fs::write(&user, "user\n").unwrap();
    std::fs::write(&password, format!("{}\n", vcsim::PASSWORD)).unwrap();
    let files =
        [("GOVC_USERNAME", user.to_str().unwrap()), ("GOVC_PASSWORD", password.to_str().unwrap())];
    let done = lab.vm_with(&["list"], &files);
    assert_eq!(done.status, 0, "{done:?}");
}

#[test]
fn machines_are_switched_several_at_once() {
    let lab = Lab::new();
    let all = ["DC0_H0_VM0", "DC0_H0_VM1"];
    let stopped = lab.vm(&["stop", "-o", "ndjson", all[0], all[1]]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    let outcomes = |done: &Done| -> BTreeSet<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        done.lines().iter().map(|row| (text(&row["vm"]), text(&row["outcome"]))).collect()
    };
    let expect = |outcome: &str| -> BTreeSet<(String, String)> {
        all.iter().map(|vm| ((*vm).to_owned(), outcome.to_owned())).collect()
    };
    assert_eq!(outcomes(&stopped), expect("done"));
    assert!(all.iter().all(|vm| lab.state(vm) == "stopped"));
    let again = lab.vm(&["stop", "-o", "ndjson", all[0], all[1]]);
    assert_eq!((again.status, outcomes(&again)), (0, expect("already")));
    let started = lab.vm(&["start", "-o", "ndjson", all[0], all[1]]);
    assert_eq!((started.status, outcomes(&started)), (0, expect("done")));
    assert!(all.iter().all(|vm| lab.state(vm) == "running"));
    let partly = lab.vm(&["start", all[0], "nope"]);
    assert_eq!(partly.status, 10, "{partly:?}");
    let journal = lab.home.path().join(".local/state/hyper/history");
    let journal = std::fs::read_dir(journal).unwrap().map(|it| it.unwrap().path());
    let text: String =
        journal.filter_map(|path| std::fs::read_to_string(path).ok()).collect::<Vec<_>>().join("");
    assert_eq!(text.matches("\"record\":\"begin\"").count(), 4);
    assert!(text.contains("\"how\":\"made\"") && text.contains("\"how\":\"reused\""), "{text}");
    assert!(!text.contains(vcsim::PASSWORD) && !text.contains("p&<s>"));
}

#[test]
fn files_cannot_be_switched() {
    let lab = Lab::new();
    let done = lab.vm(&["start", "local:web01.vmx"]);
    assert_eq!(done.status, 7, "{done:?}");
}

#[test]
fn flag_force() {
    let lab = Lab::new();
    lab.govc(&["vm.power", "-suspend", "DC0_H0_VM0"]);
    let asked = lab.vm(&["stop", "DC0_H0_VM0"]);
    assert_eq!(asked.status, 6, "a suspended guest cannot shut down: {asked:?}");
    let forced = lab.vm(&["stop", "--force", "DC0_H0_VM0"]);
    assert_eq!(forced.status, 0, "{forced:?}");
    assert_eq!(lab.state("DC0_H0_VM0"), "stopped");
}

#[test]
fn machines_are_restarted_and_held() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM0";
    let outcome = |args: &[&str]| {
        let done = lab.vm(&[args, &["-o", "json", vm]].concat());
        let row = done.json();
        assert_eq!(row["schema"], "hyper.vm_action/v1");
        assert_eq!(row["action"], args[0]);
        (done.status, row["outcome"].as_str().unwrap().to_owned())
    };
    let told = |status: i32, word: &str| (status, word.to_owned());
    assert_eq!(outcome(&["unpause"]), told(0, "already"));
    assert_eq!(outcome(&["pause"]), told(0, "done"));
    assert_eq!(lab.state(vm), "paused");
    assert_eq!(outcome(&["pause"]), told(0, "already"));
    assert_eq!(outcome(&["restart", "--force"]), told(6, "failed"));
    assert_eq!(outcome(&["unpause"]), told(0, "done"));
    assert_eq!(lab.state(vm), "running");
    lab.govc(&["vm.power", "-off", vm]);
    for verb in ["pause", "unpause", "restart"] {
        assert_eq!(outcome(&[verb]), told(6, "failed"), "{verb} of one that is off");
    }
    assert_eq!(lab.state(vm), "stopped");
}

#[test]
fn flag_grace_period_and_flag_allow_cold_are_not_vspheres() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM1";
    assert_eq!(lab.vm(&["stop", "--grace-period", "5m", vm]).status, 7);
    assert_eq!(lab.vm(&["migrate", vm, "--to-node", "DC0_C0_H0", "--allow-cold"]).status, 7);
    assert_eq!(lab.state(vm), "running");
}

#[test]
fn a_forced_restart_resets_and_a_graceful_one_asks_the_guest() {
    let lab = Lab::new();
    // vcsim resets a machine by switching it off and on.
    let resets = || {
        let events = lab.govc(&["events", "-n", "100", "/DC0/vm/DC0_H0_VM0"]);
        events.lines().filter(|line| line.contains("is powered off")).count()
    };
    let asked = lab.vm(&["restart", "DC0_H0_VM0"]);
    assert_eq!((asked.status, resets()), (7, 0), "vcsim cannot ask: {asked:?}");
    let forced = lab.vm(&["restart", "--force", "DC0_H0_VM0"]);
    assert_eq!(forced.status, 0, "{forced:?}");
    assert_eq!(resets(), 1);
}

/// `hyper-sim vsphere`, whose guests have VMware Tools.
struct Sim(std::process::Child);

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_guest_is_asked_to_restart() {
    let home = tempfile::tempdir().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_hyper-vm")).with_file_name("hyper-sim");
    assert!(program.exists(), "{} is not built: run cargo test --workspace", program.display());
    let mut command = std::process::Command::new(program);
    command.args(["vsphere", "--plain", "--running", "web01"]);
    command.env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut sim = Sim(child);
    let mut lines = BufReader::new(sim.0.stdout.take().unwrap()).lines();
    let mut variables = Vec::new();
    while variables.len() < 3 {
        let line = lines.next().unwrap().unwrap();
        let (name, value) = line.trim_start_matches("export ").split_once('=').unwrap();
        let known = ["GOVC_URL", "GOVC_USERNAME", "GOVC_PASSWORD"];
        let name = known.into_iter().find(|known| *known == name).unwrap();
        variables.push((name, value.trim_matches('\'').to_owned()));
    }
    let booted = || {
        let args = ["object.collect", "-s", "vm/web01", "runtime.bootTime"];
        let program = std::env::var_os("HYPER_TB_GOVC").unwrap_or_else(|| "govc".into());
        run(program.to_str().unwrap(), home.path(), &variables, &args).out
    };
    let before = booted();
    let vm = |args: &[&str]| run(env!("CARGO_BIN_EXE_hyper-vm"), home.path(), &variables, args);
    let asked = vm(&["restart", "web01"]);
    assert_eq!(asked.status, 0, "{asked:?}");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while booted() == before {
        assert!(std::time::Instant::now() < end, "the guest did not restart");
    }
    assert_eq!(vm(&["get", "web01", "-o", "json"]).json()["status"], "running");
}

#[test]
fn flag_match_chooses_several() {
    let lab = Lab::new();
    let stopped = lab.vm(&["stop", "--match", "DC0_H0_*", "-o", "ndjson"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    let mut names: Vec<_> = stopped.lines().iter().map(|row| row["vm"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["DC0_H0_VM0", "DC0_H0_VM1"]);
    assert_eq!(lab.names(&["--status", "stopped"]), ["DC0_H0_VM0", "DC0_H0_VM1"]);
    let none = lab.vm(&["start", "--match", "nope*"]);
    assert_eq!((none.status, none.out.as_str()), (0, ""), "{none:?}");
    // Nothing that was not typed chooses what is changed.
    for more in [&[][..], &[("HYPER_MATCH", "DC0_*")]] {
        let nobody = lab.vm_with(&["start"], more);
        assert_eq!(nobody.status, 2, "{nobody:?}");
        assert!(nobody.err.contains("--match"), "{nobody:?}");
    }
    assert_eq!(lab.vm(&["start", "DC0_H0_VM0", "--match", "DC0_*"]).status, 2);
    assert_eq!(lab.vm(&["start", "--selector", "app=web"]).status, 7, "there are no labels");
    assert_eq!(lab.vm(&["start", "--selector", " "]).status, 2, "that would be all");
    assert_eq!(lab.names(&["--status", "stopped"]).len(), 2);
}

#[test]
fn flag_yes_deletes_what_is_off() {
    let lab = Lab::new();
    let vms = ["DC0_H0_VM0", "DC0_H0_VM1"];
    let runs = lab.vm(&["delete", "--yes", vms[0]]);
    assert_eq!(runs.status, 6, "{runs:?}");
    lab.govc(&["vm.power", "-off", vms[0], vms[1]]);
    let asked = lab.vm(&["delete", vms[0], vms[1]]);
    assert_eq!(asked.status, 2, "nobody to ask: {asked:?}");
    assert!(asked.err.contains("delete 2 machines: govc:DC0_H0_VM0, govc:DC0_H0_VM1?"));
    assert_eq!(lab.names(&[]).len(), 4);
    let deleted = lab.vm(&["delete", "-y", "--match", "DC0_H0_*"]);
    assert_eq!(deleted.status, 0, "{deleted:?}");
    assert_eq!(lab.names(&[]), ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1"]);
    assert!(!lab.govc(&["find", "/", "-type", "m"]).contains("DC0_H0"));
    assert_eq!(lab.vm(&["delete", "--yes", vms[0]]).status, 5);
}

#[test]
fn flag_cpus_and_flag_memory() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM0";
    let size = || {
        let info = lab.server.govc_json(lab.home.path(), &["vm.info", "-json", vm]);
        let hardware = &info["VirtualMachines"][0]["Config"]["Hardware"];
        (hardware["NumCPU"].as_u64().unwrap(), hardware["MemoryMB"].as_u64().unwrap())
    };
    let before = size();
    for args in [["--cpus", "4"], ["--memory", "4Gi"]] {
        let runs = lab.vm(&["resize", vm, args[0], args[1]]);
        assert_eq!(runs.status, 6, "hot-add is off: {runs:?}");
        assert!(runs.err.contains("hot-add is not enabled"), "{runs:?}");
    }
    assert_eq!(size(), before);
    lab.govc(&["vm.power", "-off", vm]);
    let cpus = lab.vm(&["resize", vm, "--cpus", "4", "-o", "json"]);
    assert_eq!((cpus.status, size()), (0, (4, before.1)), "{cpus:?}");
    assert_eq!(cpus.json()["note"], "it starts with it");
    let memory = lab.vm(&["resize", vm, "--memory", "4Gi"]);
    assert_eq!((memory.status, size()), (0, (4, 4096)), "{memory:?}");
    let same = lab.vm(&["resize", vm, "--cpus", "4", "--memory", "4Gi", "-o", "json"]);
    assert_eq!(same.json()["outcome"], "already");
    for args in [&["resize", vm][..], &["resize", vm, "--cpus", "0"]] {
        assert_eq!(lab.vm(args).status, 2, "{args:?}");
    }
    for memory in ["0", "lots", "1048577"] {
        assert_eq!(lab.vm(&["resize", vm, "--memory", memory]).status, 2, "{memory}");
    }
    assert_eq!(size(), (4, 4096));
}

#[test]
fn a_machine_that_takes_it_is_resized_while_it_runs() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM0";
    lab.govc(&["vm.change", "-vm", vm, "-cpu-hot-add-enabled", "-memory-hot-add-enabled"]);
    let more = lab.vm(&["resize", vm, "--cpus", "4", "--memory", "4Gi", "-o", "json"]);
    assert_eq!(more.json()["note"], "the guest has it", "{more:?}");
    let now = lab.vm(&["get", vm, "-o", "json"]).json();
    assert_eq!((&now["cpus"], &now["memory_bytes"]), (&json!(4), &json!(4_u64 << 30)));
    for less in [["--cpus", "2"], ["--memory", "2Gi"]] {
        assert_eq!(lab.vm(&["resize", vm, less[0], less[1]]).status, 6, "{less:?}");
    }
}

#[test]
fn flag_to_node() {
    let lab = Lab::new();
    let vm = "DC0_C0_RP0_VM0";
    let node = || lab.vm(&["get", vm, "-o", "json"]).json()["node"].as_str().unwrap().to_owned();
    let here = node();
    let there = ["DC0_C0_H0", "DC0_C0_H1"].into_iter().find(|host| *host != here).unwrap();
    let moved = lab.vm(&["migrate", vm, "--to-node", there, "-o", "json"]);
    assert_eq!(moved.status, 0, "{moved:?}");
    assert_eq!(moved.json()["note"], format!("on {there}"));
    assert_eq!(node(), there);
    let again = lab.vm(&["migrate", vm, "--to-node", there, "-o", "json"]);
    assert_eq!(again.json()["outcome"], "already");
    // To a host outside of the cluster, with the pool of that host.
    let alone = lab.vm(&["migrate", vm, "--to-node", "DC0_H0"]);
    assert_eq!((alone.status, node().as_str()), (0, "DC0_H0"), "{alone:?}");
    let info = lab.server.govc_json(lab.home.path(), &["vm.info", "-json", vm]);
    let pool = info["VirtualMachines"][0]["ResourcePool"]["Value"].as_str().unwrap();
    let pool = lab.govc(&["ls", "-L", &format!("ResourcePool:{pool}")]);
    assert_eq!(pool.trim(), "/DC0/host/DC0_H0/Resources");
    assert_eq!(lab.vm(&["migrate", vm, "--to-node", "nope"]).status, 5);
    assert_eq!(lab.vm(&["migrate", vm]).status, 2, "vSphere chooses none");
}

#[test]
fn flag_wait_and_flag_timeout() {
    let lab = Lab::new();
    // vcsim's guests have no VMware Tools, so that the wait only ends with the time.
    assert_eq!(lab.vm(&["start", "DC0_H0_VM0"]).status, 0);
    let waited = lab.vm(&["start", "--wait", "--timeout", "1s", "DC0_H0_VM0"]);
    assert_eq!(waited.status, 11, "{waited:?}");
}
