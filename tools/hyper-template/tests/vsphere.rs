//! `hyper-template` on a vCenter: vcsim, with govc to compare with.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use serde_json::{Value, json};

use self::vcsim::{Done, Vcsim, run};

const VM: &str = "DC0_H0_VM0";
const POOL: &str = "/DC0/host/DC0_H0/Resources";

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

    fn run(&self, args: &[&str]) -> Done {
        let args = [args, &["-o", "ndjson"]].concat();
        run(env!("CARGO_BIN_EXE_hyper-template"), self.home.path(), &self.server.variables(), &args)
    }

    /// The records of what must succeed.
    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let done = self.run(args);
        assert_eq!(done.status, 0, "{args:?}: {done:?}");
        done.lines()
    }

    /// How a run that fails ends, and what it says.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        let done = self.run(args);
        (done.status, done.err)
    }

    fn govc(&self, args: &[&str]) -> String {
        self.server.govc(self.home.path(), args)
    }

    /// The paths of all templates, as govc finds them.
    fn templates(&self) -> Vec<String> {
        let found = self.govc(&["find", "/", "-type", "m", "-config.template", "true"]);
        let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    fn info(&self, vm: &str) -> Value {
        let info = self.server.govc_json(self.home.path(), &["vm.info", "-json", vm]);
        info["VirtualMachines"][0].clone()
    }

    /// Turns a machine into a template, as govc does.
    fn template(&self, vm: &str) {
        self.govc(&["vm.power", "-off", vm]);
        self.govc(&["vm.markastemplate", vm]);
    }
}

/// The names of the rows that a list prints, by kind.
fn names(rows: &[Value]) -> Vec<(&str, &str)> {
    let text = |value: &'_ Value| -> &'static str { value.as_str().unwrap().to_owned().leak() };
    rows.iter().map(|row| (text(&row["kind"]), text(&row["name"]))).collect()
}

#[test]
fn flag_from_makes_a_copy_and_the_list_says_what_govc_says() {
    let lab = Lab::new();
    let row = &lab.ok(&["create", "golden", "--from", VM])[0];
    assert_eq!((&row["action"], &row["outcome"]), (&json!("create"), &json!("done")));
    assert_eq!(lab.templates(), ["/DC0/vm/golden"]);
    assert_eq!(lab.info(VM)["Runtime"]["PowerState"], "poweredOn", "the machine stays what it is");
    let info = lab.info("golden");
    assert_eq!(info["Self"]["Value"], row["id"]);
    lab.govc(&["vm.change", "-vm", "golden", "-annotation", "for web servers"]);
    let disks = info["Config"]["Hardware"]["Device"].as_array().unwrap().iter();
    let kib: u64 = disks.filter_map(|it| it["CapacityInKB"].as_u64()).sum();
    let expected = json!({
        "schema": "hyper.template/v1",
        "context": "govc",
        "id": info["Self"]["Value"],
        "name": "golden",
        "namespace": null,
        "kind": "machine",
        "ready": true,
        "reason": null,
        "size_bytes": kib * 1024,
        "cpus": info["Config"]["Hardware"]["NumCPU"],
        "memory_bytes": info["Config"]["Hardware"]["MemoryMB"].as_u64().unwrap() << 20,
        "instancetype": null,
        "preference": null,
        "guest_os_name": info["Config"]["GuestFullName"],
        "source": null,
        "path": "/DC0/vm/golden",
        "description": "for web servers",
        "created": null,
        "labels": {},
    });
    assert_eq!(lab.ok(&["list"]), std::slice::from_ref(&expected));
    let id = format!("@{}", row["id"].as_str().unwrap());
    for reference in ["golden", "/DC0/vm/golden", &id] {
        assert_eq!(lab.ok(&["get", reference])[0], expected, "{reference}");
    }
    let (status, words) = lab.refused(&["create", "golden", "--from", VM]);
    assert!(status == 6 && words.contains("the name is taken"), "{status} {words}");
    assert_eq!(lab.refused(&["create", "x", "--from", "nope"]).0, 5);
    assert_eq!(lab.refused(&["create", "x", "--claim", "y"]).0, 7);
    for flag in ["--instancetype", "--preference"] {
        assert_eq!(lab.refused(&["create", "x", "--from", VM, flag, "y"]).0, 7, "{flag}");
        assert_eq!(lab.refused(&["deploy", "golden", "x", flag, "y"]).0, 7, "{flag}");
    }
    assert_eq!(lab.templates(), ["/DC0/vm/golden"]);
}

#[test]
fn flag_convert_makes_the_machine_itself_a_template() {
    let lab = Lab::new();
    let (status, words) = lab.refused(&["create", VM, "--from", VM, "--convert"]);
    assert!(status == 6 && words.contains("not off"), "{status} {words}");
    lab.govc(&["vm.power", "-off", VM]);
    let id = lab.info(VM)["Self"]["Value"].clone();
    let taken = lab.refused(&["create", "DC0_H0_VM1", "--from", VM, "--convert"]);
    assert_eq!(taken.0, 6, "{taken:?}");
    let planned = &lab.ok(&["create", "golden", "--from", VM, "--convert", "--dry-run"])[0];
    assert_eq!(planned["outcome"], "planned");
    assert_eq!(lab.templates(), [""; 0]);
    let row = &lab.ok(&["create", "golden", "--from", VM, "--convert"])[0];
    assert_eq!((&row["id"], &row["outcome"]), (&id, &json!("done")));
    assert_eq!(lab.templates(), ["/DC0/vm/golden"]);
    assert_eq!(lab.refused(&["create", "golden", "--from", "golden", "--convert"]).0, 6);
    lab.govc(&["vm.power", "-off", "DC0_H0_VM1"]);
    lab.ok(&["create", "DC0_H0_VM1", "--from", "DC0_H0_VM1", "--convert"]);
    assert_eq!(lab.templates(), ["/DC0/vm/DC0_H0_VM1", "/DC0/vm/golden"]);
}

#[test]
fn flag_snapshot_and_flag_dry_run_and_flag_folder_of_create() {
    let lab = Lab::new();
    lab.govc(&["folder.create", "/DC0/vm/images"]);
    lab.govc(&["snapshot.create", "-vm", VM, "clean"]);
    let args = ["create", "golden", "--from", VM, "--folder", "images", "--snapshot"];
    assert_eq!(lab.refused(&[&args[..], &["nope"]].concat()).0, 5);
    let args = [&args[..], &["clean"]].concat();
    let planned = lab.ok(&[&args[..], &["--dry-run"]].concat());
    assert_eq!((&planned[0]["outcome"], lab.templates().len()), (&json!("planned"), 0));
    lab.ok(&args);
    assert_eq!(lab.templates(), ["/DC0/vm/images/golden"]);
    let nowhere = ["create", "x", "--from", VM, "--folder", "nope"];
    let (status, words) = lab.refused(&nowhere);
    assert!(status == 5 && words.contains("/DC0/vm/images"), "{status} {words}");
}

#[test]
fn flag_power_on_and_flag_wait_and_flag_timeout_of_deploy() {
    let lab = Lab::new();
    lab.template(VM);
    let pool = ["--pool", POOL];
    let (status, words) = lab.refused(&["deploy", VM, "a"]);
    assert!(status == 2 && words.contains("--pool"), "a template has no pool: {words}");
    let rows = lab.ok(&[&["deploy", VM, "a", "b", "--power-on"][..], &pool].concat());
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["outcome"] == "done" && row["note"] == "switched on"));
    for name in ["a", "b"] {
        assert_eq!(lab.info(name)["Runtime"]["PowerState"], "poweredOn");
        assert_eq!(lab.info(name)["Config"]["Template"], false);
    }
    lab.govc(&["vm.power", "-off", "a"]);
    let again = |more: &[&str]| lab.ok(&[&["deploy", VM, "a"][..], &pool, more].concat());
    assert_eq!(again(&[])[0]["outcome"], "exists");
    assert_eq!(lab.info("a")["Runtime"]["PowerState"], "poweredOff");
    assert_eq!(again(&["--power-on"])[0]["note"], "it runs");
    assert_eq!(lab.info("a")["Runtime"]["PowerState"], "poweredOn");
    let taken = lab.run(&[&["deploy", VM, "c", "DC0_H0_VM1"][..], &pool].concat());
    assert_eq!(taken.status, 10, "{taken:?}");
    let outcomes: Vec<_> = taken.lines().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["skipped", "failed"], "nothing is made where not all can be");
    // vcsim's guests have no VMware Tools, so that the wait only ends with the time.
    let late =
        [&["deploy", VM, "d", "--power-on", "--wait", "--timeout", "2s"][..], &pool].concat();
    assert_eq!(lab.refused(&late).0, 11);
    assert_eq!(lab.info("d")["Runtime"]["PowerState"], "poweredOn");
}

#[test]
fn flag_folder_and_flag_pool_and_flag_datastore_and_flag_host_of_deploy() {
    let lab = Lab::with(&["-ds", "2"]);
    lab.template(VM);
    lab.govc(&["folder.create", "/DC0/vm/web"]);
    lab.govc(&["pool.create", &format!("{POOL}/gold")]);
    let place = ["--folder", "web", "--pool", "gold", "--datastore", "LocalDS_1"];
    lab.ok(&[&["deploy", VM, "a"][..], &place].concat());
    let reference = |value: &Value| {
        format!("{}:{}", value["Type"].as_str().unwrap(), value["Value"].as_str().unwrap())
    };
    let path = |value: &Value| lab.govc(&["ls", "-L", &reference(value)]).trim().to_owned();
    let info = lab.info("/DC0/vm/web/a");
    assert_eq!(path(&info["ResourcePool"]), format!("{POOL}/gold"));
    assert_eq!(path(&info["Datastore"][0]), "/DC0/datastore/LocalDS_1");
    for (flag, name) in [("--folder", "x"), ("--pool", "x"), ("--datastore", "x"), ("--host", "x")]
    {
        let args = ["deploy", VM, "b", "--pool", "gold"];
        let args = if flag == "--pool" { &args[..3] } else { &args[..] };
        let (status, words) = lab.refused(&[args, &[flag, name]].concat());
        assert!(status == 5 && words.contains("there is no such"), "{flag}: {status} {words}");
    }
    // A host brings its own pool.
    lab.ok(&["deploy", VM, "c", "--host", "DC0_H0"]);
    assert_eq!(path(&lab.info("c")["ResourcePool"]), POOL);
    let ambiguous = lab.refused(&["deploy", VM, "d", "--pool", "Resources"]);
    assert_eq!(ambiguous.0, 6, "{ambiguous:?}");
}

#[test]
fn flag_cpus_and_flag_memory_of_deploy() {
    let lab = Lab::new();
    lab.template(VM);
    lab.ok(&["deploy", VM, "a", "--pool", POOL, "--cpus", "3", "--memory", "96Mi"]);
    let hardware = lab.info("a")["Config"]["Hardware"].clone();
    assert_eq!((&hardware["NumCPU"], &hardware["MemoryMB"]), (&json!(3), &json!(96)));
    assert_eq!(lab.refused(&["deploy", VM, "b", "--pool", POOL, "--memory", "1000000"]).0, 2);
}

#[test]
fn flag_customize_and_flag_hostname_of_deploy() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let lab = Lab::with(&["-trace", "-trace-file", trace.to_str().unwrap()]);
    lab.template(VM);
    let args = ["deploy", VM, "a", "b", "--pool", POOL, "--customize"];
    let names = |flags: &[&str]| {
        lab.ok(&[&args[..], &["vcsim-linux"], flags].concat());
        let trace = std::fs::read_to_string(&trace).unwrap();
        let calls = trace.split("Request: ").filter(|it| it.contains("<CloneVM_Task "));
        let name = |call: &str| {
            let (_, rest) = call.split_once("<hostName xsi:type=\"").unwrap();
            rest.split_once("</hostName>").unwrap().0.to_owned()
        };
        calls.map(name).collect::<Vec<_>>()
    };
    let one = ["deploy", VM, "x", "--pool", POOL, "--customize", "nope"];
    let (status, words) = lab.refused(&one);
    assert!(status == 5 && words.contains("there are: vcsim-linux"), "{status} {words}");
    assert_eq!(names(&[]), ["CustomizationVirtualMachineName\">"; 2]);
    lab.govc(&["vm.destroy", "a"]);
    let fixed = "CustomizationFixedName\"><name>www-a</name>";
    assert_eq!(names(&["--hostname", "www-{name}"]).last().unwrap(), fixed);
}

#[test]
fn flag_yes_and_flag_dry_run_of_delete() {
    let lab = Lab::new();
    lab.template(VM);
    let (status, words) = lab.refused(&["delete", "DC0_H0_VM1", "--yes"]);
    assert!(status == 6 && words.contains("no template"), "{status} {words}");
    assert_eq!(lab.info("DC0_H0_VM1")["Runtime"]["PowerState"], "poweredOn");
    assert_eq!(lab.refused(&["delete", VM]).0, 2, "nobody to ask");
    assert_eq!(lab.ok(&["delete", VM, "--dry-run"])[0]["outcome"], "planned");
    assert_eq!(lab.templates().len(), 1);
    let both = lab.run(&["delete", VM, "nope", "--yes"]);
    assert_eq!(both.status, 10, "{both:?}");
    assert_eq!(lab.templates(), [""; 0]);
    assert_eq!(lab.govc(&["find", "/", "-type", "m", "-name", VM]), "");
}

#[test]
fn flag_kind_and_the_items_of_content_libraries() {
    let lab = Lab::new();
    lab.template(VM);
    let machine = ("machine", VM);
    assert_eq!(names(&lab.ok(&["list"])), [machine]);
    let library = lab.govc(&["library.create", "-ds", "LocalDS_0", "images"]);
    let file = lab.home.path().join("debian.iso");
    std::fs::write(&file, vec![7_u8; 4096]).unwrap();
    lab.govc(&["library.import", library.trim(), file.to_str().unwrap()]);
    let item = ("library-item", "debian");
    assert_eq!(names(&lab.ok(&["list"])), [machine, item]);
    assert_eq!(names(&lab.ok(&["list", "--kind", "machine"])), [machine]);
    let items = lab.ok(&["list", "--kind", "library-item"]);
    assert_eq!(names(&items), [item]);
    let told = lab.server.govc_json(lab.home.path(), &["library.info", "-json", "/images/debian"]);
    let told = &told[0];
    for (own, theirs) in
        [("id", "id"), ("name", "name"), ("size_bytes", "size"), ("ready", "cached")]
    {
        assert_eq!(items[0][own], told[theirs], "{own} of {told}");
    }
    assert_eq!(items[0]["source"], "images");
    assert_eq!(lab.ok(&["get", "debian"]), items);
    let (status, words) = lab.refused(&["deploy", "debian", "a", "--pool", POOL]);
    assert!(status == 7 && words.contains("the type iso is no machine"), "{status} {words}");
    assert_eq!(lab.refused(&["delete", "debian", "--yes"]).0, 7);
    assert_eq!(lab.ok(&["list", "--kind", "data-source,instancetype"]), [Value::Null; 0]);
}

/// A package of a machine with two processors and an empty disk.
const PACKAGE: &str = include_str!("small.ovf");

impl Lab {
    /// A library with a package in it that is called small.
    fn library(&self) {
        self.govc(&["library.create", "-ds", "LocalDS_0", "images"]);
        let file = self.home.path().join("small.ovf");
        std::fs::write(&file, PACKAGE).unwrap();
        std::fs::write(self.home.path().join("small-disk1.vmdk"), [0; 4096]).unwrap();
        self.govc(&["library.import", "images", file.to_str().unwrap()]);
    }

    /// What a machine is made of, and where it is.
    fn shape(&self, vm: &str) -> Value {
        let info = self.info(vm);
        let hardware = &info["Config"]["Hardware"];
        let disks = hardware["Device"].as_array().unwrap().iter().filter_map(|device| {
            let size = device.get("CapacityInKB")?;
            Some(json!([size, device["Backing"]["Datastore"]]))
        });
        let disks: Vec<_> = disks.collect();
        json!({
            "cpus": hardware["NumCPU"],
            "mib": hardware["MemoryMB"],
            "parent": info["Parent"],
            "pool": info["ResourcePool"],
            "host": info["Runtime"]["Host"],
            "datastore": info["Datastore"],
            "disks": disks,
            "template": info["Config"]["Template"],
        })
    }
}

#[test]
fn a_package_of_a_library_is_deployed_as_govc_deploys_it() {
    let lab = Lab::new();
    lab.library();
    lab.govc(&["folder.create", "/DC0/vm/shop"]);
    let place = ["--pool", POOL, "--folder", "shop", "--datastore", "LocalDS_0"];
    let own = [&["deploy", "small", "own"], &place[..]].concat();
    assert_eq!(lab.ok(&[&own[..], &["--dry-run"]].concat())[0]["outcome"], "planned");
    assert_eq!(lab.govc(&["find", "/", "-type", "m", "-name", "own"]), "");
    let made = lab.ok(&own);
    assert_eq!((&made[0]["outcome"], &made[0]["template"]), (&json!("done"), &json!("small")));
    let theirs =
        ["-pool", POOL, "-folder", "/DC0/vm/shop", "-ds", "LocalDS_0", "/images/small", "theirs"];
    lab.govc(&[&["library.deploy"], &theirs[..]].concat());
    assert_eq!(lab.shape("own"), lab.shape("theirs"));
    let found = lab.govc(&["find", "-i", "/", "-type", "m", "-name", "own"]);
    assert!(found.contains(made[0]["id"].as_str().unwrap()), "{found}");
    // Again: it is known, and what govc made is another's.
    assert_eq!(lab.ok(&own)[0]["outcome"], "exists");
    let taken = lab.refused(&[&["deploy", "small", "theirs"], &place[..]].concat());
    assert!(taken.0 == 6 && taken.1.contains("name is taken"), "{taken:?}");
    // By library and name, in another size and switched on; two at once.
    let more = ["deploy", "images/small", "a", "b", "--pool", POOL];
    let rows = lab.ok(&[&more[..], &["--cpus", "4", "--memory", "128Mi", "--power-on"]].concat());
    assert_eq!(rows.len(), 2);
    let shape = lab.shape("b");
    assert_eq!((&shape["cpus"], &shape["mib"]), (&json!(4), &json!(128)));
    assert_eq!(lab.info("a")["Runtime"]["PowerState"], "poweredOn");
}

#[test]
fn a_template_of_a_library_is_deployed_as_govc_deploys_it() {
    let lab = Lab::new();
    lab.govc(&["library.create", "-ds", "LocalDS_0", "images"]);
    lab.govc(&["library.clone", "-vm", VM, "images", "golden"]);
    let place = ["--pool", POOL, "--datastore", "LocalDS_0"];
    let made = lab.ok(&[&["deploy", "images/golden", "own"], &place[..]].concat());
    assert_eq!(made[0]["outcome"], "done");
    let theirs =
        ["-pool", POOL, "-folder", "/DC0/vm", "-ds", "LocalDS_0", "/images/golden", "theirs"];
    lab.govc(&[&["library.deploy"], &theirs[..]].concat());
    assert_eq!(lab.shape("own"), lab.shape("theirs"));
    // vcsim leaves it a template, whose configuration cannot be added to.
    assert_eq!(lab.refused(&[&["deploy", "images/golden", "own"], &place[..]].concat()).0, 6);
}

#[test]
fn what_a_package_cannot_be_deployed_to_is_said_before() {
    let lab = Lab::new();
    lab.library();
    for (args, status, words) in [
        (&["deploy", "small", "a"][..], 2, "name a --pool or a --host"),
        (&["deploy", "small", "a", "--pool", "nope"], 5, "there is no such resource pool"),
        (&["deploy", "small", "a", "--pool", POOL, "--folder", "nope"], 5, "no such folder"),
        (&["deploy", "small", "a", "--pool", POOL, "--datastore", "nope"], 5, "no such datastore"),
        (&["deploy", "small", "a", "--host", "nope"], 5, "there is no such host"),
        (&["deploy", "small", "a/b", "--pool", POOL], 2, "cannot be the name"),
        (&["deploy", "small", "a", "--pool", POOL, "--memory", "1000"], 2, "whole MiB"),
        (&["deploy", "nope", "a", "--pool", POOL], 5, "there is no such template"),
    ] {
        let (found, said) = lab.refused(args);
        assert!(found == status && said.contains(words), "{args:?}: {found} {said}");
    }
    assert_eq!(lab.govc(&["find", "/", "-type", "m", "-name", "a"]), "");
}

#[test]
fn a_single_host_has_no_content_libraries() {
    let lab = Lab::with(&["-esx"]);
    assert_eq!(lab.ok(&["list"]), [Value::Null; 0]);
}
