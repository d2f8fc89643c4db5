//! Machines that `hyper vm` makes, connects and moves on a vCenter: vcsim, with govc to read what
//! came of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod vcsim;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

const HOST: &str = "/DC0/host/DC0_H0";
const NAMES: [&str; 4] = ["DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1", "DC0_H0_VM0", "DC0_H0_VM1"];

/// A vCenter and a user of it.
struct Lab {
    server: Vcsim,
    home: tempfile::TempDir,
}

impl Lab {
    fn with(more: &[&str]) -> Self {
        Self { server: Vcsim::start(more), home: tempfile::tempdir().unwrap() }
    }

    fn new() -> Self {
        Self::with(&[])
    }

    fn vm(&self, args: &[&str]) -> Done {
        run(env!("CARGO_BIN_EXE_hyper-vm"), self.home.path(), &self.server.variables(), args)
    }

    /// The record of what must succeed.
    fn ok(&self, args: &[&str]) -> Value {
        let done = self.vm(&[args, &["-o", "json"]].concat());
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.json()
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    fn info(&self, vm: &str) -> Value {
        let info = self.server.govc_json(self.home.path(), &["vm.info", "-json", vm]);
        info["VirtualMachines"][0].clone()
    }

    /// The path of what a machine refers to.
    fn path(&self, reference: &Value) -> String {
        let text = |name: &str| reference[name].as_str().unwrap();
        let reference = format!("{}:{}", text("Type"), text("Value"));
        self.govc(&["ls", "-L", &reference]).trim().to_owned()
    }

    /// The names of all machines.
    fn names(&self) -> Vec<String> {
        let found = self.govc(&["find", "/", "-type", "m"]);
        let mut names: Vec<_> =
            found.lines().map(|it| it.rsplit('/').next().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// What the cards of a machine are connected to, with their addresses.
    fn cards(&self, vm: &str) -> Vec<(String, Value)> {
        let info = self.info(vm);
        let devices = info["Config"]["Hardware"]["Device"].as_array().unwrap();
        let cards = devices.iter().filter(|it| !it["MacAddress"].is_null());
        let network = |card: &Value| match card["Backing"]["DeviceName"].as_str() {
            Some(name) => name.to_owned(),
            None => card["Backing"]["Port"]["PortgroupKey"].as_str().unwrap().to_owned(),
        };
        cards.map(|card| (network(card), card["MacAddress"].clone())).collect()
    }
}

#[test]
fn flag_guest_id_and_flag_network_and_flag_blank_of_a_new_machine() {
    let lab = Lab::new();
    let place = ["--pool", HOST, "--network", "VM Network", "--network", "DC0_DVPG0"];
    let size =
        ["--cpus", "3", "--memory", "96Mi", "--blank", "64Mi", "--guest-id", "debian10_64Guest"];
    let row = lab.ok(&[&["create", "web01"][..], &place, &size].concat());
    assert_eq!((&row["action"], &row["outcome"]), (&json!("create"), &json!("done")));
    let info = lab.info("web01");
    assert_eq!(info["Self"]["Value"], row["id"]);
    assert_eq!(lab.govc(&["find", "/", "-name", "web01"]).trim(), "/DC0/vm/web01");
    let (config, hardware) = (&info["Config"], &info["Config"]["Hardware"]);
    assert_eq!(config["GuestId"], "debian10_64Guest");
    assert_eq!((&hardware["NumCPU"], &hardware["MemoryMB"]), (&json!(3), &json!(96)));
    assert_eq!(info["Runtime"]["PowerState"], "poweredOff");
    assert_eq!(lab.path(&info["ResourcePool"]), format!("{HOST}/Resources"));
    let devices = hardware["Device"].as_array().unwrap();
    let disks: Vec<_> = devices.iter().filter(|it| !it["CapacityInKB"].is_null()).collect();
    assert_eq!((disks.len(), &disks[0]["CapacityInKB"]), (1, &json!(64 << 10)));
    assert!(disks[0]["Backing"]["FileName"].as_str().unwrap().starts_with("[LocalDS_0] web01/"));
    let cards = lab.cards("web01");
    assert_eq!((cards.len(), cards[0].0.as_str()), (2, "VM Network"));
    let group = lab
        .server
        .govc_json(lab.home.path(), &["object.collect", "-json", "/DC0/network/DC0_DVPG0", "key"]);
    assert_eq!(group[0]["Val"], cards[1].0.as_str());
    let vm = lab.ok(&["get", "web01"]);
    assert_eq!(vm["networks"], json!(["VM Network", "DC0_DVPG0"]));

    let started = lab
        .ok(&["create", "web02", "--start", "--pool", HOST, "--memory", "32Mi", "--blank", "1Mi"]);
    assert_eq!(started["note"], "it runs");
    assert_eq!(lab.info("web02")["Runtime"]["PowerState"], "poweredOn");
    assert_eq!(lab.info("web02")["Config"]["GuestId"], "otherGuest64");
}

#[test]
fn flag_folder_and_flag_pool_and_flag_datastore_and_flag_host_of_a_new_machine() {
    let lab = Lab::with(&["-ds", "2"]);
    lab.govc(&["folder.create", "/DC0/vm/web"]);
    lab.govc(&["pool.create", &format!("{HOST}/Resources/gold")]);
    let rest = ["--memory", "32Mi", "--blank", "1Mi", "--datastore", "LocalDS_1"];
    lab.ok(&[&["create", "a", "--folder", "web", "--pool", "gold"][..], &rest].concat());
    let info = lab.info("/DC0/vm/web/a");
    assert_eq!(lab.path(&info["ResourcePool"]), format!("{HOST}/Resources/gold"));
    assert_eq!(lab.path(&info["Datastore"][0]), "/DC0/datastore/LocalDS_1");
    lab.ok(&[&["create", "b", "--host", "DC0_H0"][..], &rest].concat());
    assert_eq!(lab.path(&lab.info("b")["Runtime"]["Host"]), format!("{HOST}/DC0_H0"));

    let refused = |args: &[&str]| {
        let done = lab.vm(&[&["create", "c"], args].concat());
        assert_eq!(done.err.lines().filter(|it| it.starts_with("hyper-vm")).count(), 1, "{done:?}");
        (done.status, done.err)
    };
    let which = refused(&rest);
    assert!(which.0 == 2 && which.1.contains("/DC0/host/DC0_C0"), "{which:?}");
    let on = ["--memory", "32Mi", "--blank", "1Mi", "--pool", HOST];
    let store = refused(&on);
    assert!(store.0 == 2 && store.1.contains("LocalDS_0, LocalDS_1"), "{store:?}");
    for flag in ["--folder", "--datastore", "--host"] {
        assert_eq!(
            refused(
                &[
                    &on[..],
                    &["--datastore", "LocalDS_0"][..if flag == "--datastore" { 0 } else { 2 }],
                    &[flag, "x"]
                ]
                .concat()
            )
            .0,
            5,
            "{flag}"
        );
    }
    assert_eq!(refused(&["--memory", "32Mi", "--blank", "1Mi", "--pool", "x"]).0, 5);
    assert_eq!(refused(&["--memory", "32Mi", "--blank", "1Mi", "--pool", "Resources"]).0, 6);
    assert_eq!(lab.names().len(), NAMES.len() + 2, "nothing else was made");
}

#[test]
fn what_cannot_be_made_is_refused_and_nothing_is() {
    let lab = Lab::new();
    let refused = |args: &[&str]| {
        let done = lab.vm(&[&["create"], args, &["--pool", HOST]].concat());
        (done.status, done.err)
    };
    let size = ["--memory", "32Mi", "--blank", "1Mi"];
    let taken = refused(&[&["DC0_H0_VM0"][..], &size].concat());
    assert!(taken.0 == 6 && taken.1.contains("the name is taken"), "{taken:?}");
    assert_eq!(refused(&["x", "--blank", "1Mi"]).0, 2, "how much memory?");
    assert_eq!(refused(&["x", "--memory", "1000000", "--blank", "1Mi"]).0, 2);
    assert_eq!(refused(&[&["a/b"][..], &size].concat()).0, 2);
    let network = refused(&[&["x"][..], &size, &["--network", "nope"]].concat());
    assert!(network.0 == 5 && network.1.contains("VM Network"), "{network:?}");
    for source in ["--container-disk", "--datavolume", "--data-source", "--template"] {
        assert_eq!(refused(&["x", "--memory", "32Mi", source, "y"]).0, 7, "{source}");
    }
    for flag in ["--instancetype", "--preference", "--gpu", "--host-device", "--storage-class"] {
        let memory: &[&str] = if flag == "--instancetype" { &[] } else { &["--memory", "32Mi"] };
        let args = [&["x", "--blank", "1Mi", flag, "y"], memory].concat();
        assert_eq!(refused(&args).0, 7, "{flag}");
    }
    let file = lab.home.path().join("x.yaml");
    std::fs::write(&file, "kind: VirtualMachine\n").unwrap();
    assert_eq!(lab.vm(&["create", "-f", file.to_str().unwrap()]).status, 7);
    let planned = lab.ok(&[&["create", "x", "--dry-run", "--pool", HOST][..], &size].concat());
    assert_eq!(planned["outcome"], "planned");
    assert_eq!(lab.names(), NAMES);
}

#[test]
fn flag_interactive_asks_for_what_there_is_to_choose() {
    let lab = Lab::with(&["-ds", "2"]);
    let talk = [
        ("Name", "a/b\\r"),
        ("cannot be the name", "web01\\r"),
        ("CPUs", "3\\r"),
        ("Memory", "64Mi\\r"),
        ("Size", "2Mi\\r"),
        ("Pool", "\\x1b[B\\r"),
        ("Datastore", "\\x1b[B\\r"),
        ("Network", "\\r"),
        ("datastore LocalDS_1", "y"),
        ("the name is free", ""),
    ];
    let program = std::env::var_os("HYPER_TB_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(program);
    command.args(["-c", include_str!("lab/typist.py")]);
    command.args(talk.iter().flat_map(|(wait, text)| [wait, text]));
    command.args(["--", env!("CARGO_BIN_EXE_hyper-vm"), "create", "--interactive"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    command.env("HOME", lab.home.path()).envs(lab.server.variables());
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    let output = command.stdin(Stdio::null()).output().expect("run Python");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let info = lab.info("web01");
    assert_eq!(info["Config"]["Hardware"]["NumCPU"], 3);
    assert_eq!(lab.path(&info["Datastore"][0]), "/DC0/datastore/LocalDS_1");
    assert_eq!(lab.path(&info["ResourcePool"]), format!("{HOST}/Resources"));
    assert_eq!(lab.cards("web01").len(), 1);
}

#[test]
fn flag_set_connects_cards_and_keeps_their_addresses() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM0";
    let before = lab.cards(vm);
    let mac = before[0].1.as_str().unwrap().to_owned();
    let done = lab.ok(&["network", vm, "--set", "1=VM Network"]);
    assert_eq!((&done["action"], &done["outcome"]), (&json!("network"), &json!("done")));
    assert_eq!(lab.cards(vm), [("VM Network".to_owned(), json!(mac))]);
    assert_eq!(lab.ok(&["network", vm, "--set", "1=VM Network"])["outcome"], "already");
    lab.ok(&["network", vm, "--set", &format!("{}=DC0_DVPG0", mac.to_uppercase())]);
    assert_eq!(lab.cards(vm), before);
    let info = lab.info(vm);
    let devices = info["Config"]["Hardware"]["Device"].as_array().unwrap();
    let label = devices.iter().find(|it| !it["MacAddress"].is_null()).unwrap();
    let label = label["DeviceInfo"]["Label"].as_str().unwrap();
    lab.ok(&["network", vm, "--set", &format!("{label}=VM Network")]);
    assert_eq!(lab.cards(vm)[0].0, "VM Network");

    let card = lab.vm(&["network", vm, "--set", "7=VM Network"]);
    assert!(card.status == 5 && card.err.contains(&mac), "{card:?}");
    let network = lab.vm(&["network", vm, "--set", "1=nope"]);
    assert!(network.status == 5 && network.err.contains("DC0_DVPG0"), "{network:?}");
    let half = lab.vm(&["network", vm, "--set", "1=DC0_DVPG0", "--set", "2=DC0_DVPG0"]);
    assert_eq!((half.status, lab.cards(vm)[0].0.as_str()), (5, "VM Network"), "{half:?}");
    for args in [&["network", vm][..], &["network", vm, "--set", "1"], &["network", "--set", "1=x"]]
    {
        assert_eq!(lab.vm(args).status, 2, "{args:?}");
    }
    assert_eq!(lab.vm(&["network", "local:a.vmx", "--set", "1=x"]).status, 7);
}

#[test]
fn flag_pool_and_flag_folder_of_a_move() {
    let lab = Lab::new();
    let vm = "DC0_H0_VM0";
    lab.govc(&["pool.create", &format!("{HOST}/Resources/gold")]);
    lab.govc(&["folder.create", "/DC0/vm/web"]);
    let pool = lab.ok(&["move", vm, "--pool", "gold"]);
    assert_eq!((&pool["action"], &pool["outcome"]), (&json!("move"), &json!("done")));
    let gold = format!("{HOST}/Resources/gold");
    assert_eq!(lab.path(&lab.info(vm)["ResourcePool"]), gold);
    assert_eq!(lab.ok(&["move", vm, "--pool", "gold"])["outcome"], "already");
    let both = lab.vm(&["move", vm, "DC0_H0_VM1", "--folder", "web", "--pool", "gold"]);
    assert_eq!(both.status, 0, "{both:?}");
    for vm in [vm, "DC0_H0_VM1"] {
        let path = format!("/DC0/vm/web/{vm}");
        assert_eq!(lab.path(&lab.info(&path)["ResourcePool"]), gold);
    }
    // Nothing is changed where one of both places is not there.
    let nowhere = lab.vm(&["move", vm, "--folder", "/DC0/vm", "--pool", "nope"]);
    assert_eq!(nowhere.status, 5, "{nowhere:?}");
    assert_eq!(lab.vm(&["move", vm, "--folder", "nope", "--pool", HOST]).status, 5);
    assert_eq!(lab.path(&lab.info(vm)["ResourcePool"]), gold);
    assert_eq!(lab.vm(&["move", vm, "--pool", "Resources"]).status, 6, "ambiguous");
    lab.ok(&["create", vm, "--pool", HOST, "--memory", "32Mi", "--blank", "1Mi"]);
    let taken = lab.vm(&["move", &format!("/DC0/vm/{vm}"), "--folder", "web"]);
    assert!(taken.status == 6 && taken.err.contains("the name is taken"), "{taken:?}");
    assert_eq!(lab.vm(&["move", vm]).status, 2, "where to?");
}

#[test]
fn flag_to_datastore() {
    let lab = Lab::with(&["-ds", "2"]);
    let vm = "DC0_H0_VM0";
    let store = || lab.path(&lab.info(vm)["Datastore"][0]);
    assert_eq!(store(), "/DC0/datastore/LocalDS_0");
    let moved = lab.ok(&["migrate", vm, "--to-datastore", "LocalDS_1"]);
    assert_eq!(moved["note"], "on DC0_H0, its disks on LocalDS_1");
    assert_eq!(store(), "/DC0/datastore/LocalDS_1");
    assert_eq!(lab.ok(&["migrate", vm, "--to-datastore", "LocalDS_1"])["outcome"], "already");
    let both = ["migrate", vm, "--to-datastore", "LocalDS_0", "--to-node", "DC0_C0_H0"];
    lab.ok(&both);
    assert_eq!(
        (store(), lab.path(&lab.info(vm)["Runtime"]["Host"])),
        ("/DC0/datastore/LocalDS_0".to_owned(), "/DC0/host/DC0_C0/DC0_C0_H0".to_owned())
    );
    assert_eq!(lab.vm(&["migrate", vm, "--to-datastore", "nope"]).status, 5);
    assert_eq!(lab.vm(&["migrate", vm]).status, 2, "where to?");
}
