//! govc, whose makers know the interface, against the simulator.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::Server;

/// A program of the testbed. A judge that is missing must not look like a verdict.
pub fn tool(variable: &str, component: &str) -> std::ffi::OsString {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("set {variable}: eval \"$(scripts/testbed --env {component})\""))
}

fn run(server: &Server, args: &[&str], insecure: bool) -> Output {
    let mut command = Command::new(tool("HYPER_TB_GOVC", "govc"));
    let access = |name: &str| server.access[name].as_str().unwrap().to_owned();
    command.args(args).env_clear().env("HOME", server.home.path()).env("TZ", "UTC");
    command.env("GOVC_URL", access("url")).env("GOVC_PERSIST_SESSION", "false");
    command.env("GOVC_USERNAME", access("username")).env("GOVC_PASSWORD", access("password"));
    if insecure {
        command.env("GOVC_INSECURE", "1");
    }
    command.current_dir(server.home.path()).output().unwrap()
}

fn govc(server: &Server, args: &[&str]) -> String {
    let output = run(server, args, true);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "govc {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(server: &Server, args: &[&str]) -> String {
    let output = run(server, args, true);
    assert!(!output.status.success(), "govc {args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn json(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&govc(server, args)).unwrap()
}

#[test]
fn it_lists_and_finds() {
    let server = Server::start(&["--running", "app01"]);
    assert!(govc(&server, &["about"]).contains("VirtualCenter"));
    let vms = govc(&server, &["ls", "vm"]);
    assert_eq!(vms, "/DC0/vm/web01\n/DC0/vm/db01\n/DC0/vm/app01\n");
    assert!(govc(&server, &["find"]).contains("/DC0/network/VM Network\n"));
    let on = govc(&server, &["find", ".", "-type", "m", "-runtime.powerState", "poweredOn"]);
    assert_eq!(on, "/DC0/vm/app01\n");
    let info = govc(&server, &["vm.info", "-r", "-e", "-t", "db01"]);
    for words in ["4096MB", "VM Network, lab", "a <b> & \"c\"", "esx1.example.com"] {
        assert!(info.contains(words), "{words}: {info}");
    }
    for by in [["-vm.uuid", "4215f000-aaaa-bbbb-cccc-000000000002"], ["-vm.ipath", "/DC0/vm/db01"]]
    {
        let all = json(&server, &["vm.info", "-json", by[0], by[1]]);
        assert_eq!(all["VirtualMachines"][0]["Name"], "db01");
    }
    let value = govc(&server, &["object.collect", "-s", "vm/web01", "config.firmware"]);
    assert_eq!(value, "bios\n");
    let everything = govc(&server, &["object.collect", "-type", "VirtualMachine", "/", "name"]);
    assert_eq!(everything.matches("app01").count(), 1);
}

#[test]
fn it_lists_many_and_a_single_host() {
    let server = Server::start(&["--vms", "300", "--page-size", "7"]);
    assert_eq!(govc(&server, &["find", "-type", "m"]).lines().count(), 300);
    let host = Server::start(&["--esx"]);
    assert!(govc(&host, &["about"]).contains("HostAgent"));
    assert_eq!(govc(&host, &["ls", "vm/web01"]), "/ha-datacenter/vm/web01\n");
    assert!(govc(&host, &["vm.info", "db01"]).contains("poweredOff"));
}

#[test]
fn it_logs_in_and_looks_at_sessions() {
    let server = Server::start(&[]);
    let sessions = json(&server, &["session.ls", "-json"]);
    assert_eq!(sessions["SessionList"].as_array().unwrap().len(), 1, "each run logs out");
    let kept = |args: &[&str]| {
        let mut command = Command::new(tool("HYPER_TB_GOVC", "govc"));
        command.args(args).env_clear().env("HOME", server.home.path()).env("GOVC_INSECURE", "1");
        command.env("GOVC_URL", server.url()).env("GOVC_USERNAME", "user");
        let output = command.env("GOVC_PASSWORD", "pass").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let key = |text: String| {
        let all: Value = serde_json::from_str(&text).unwrap();
        all["CurrentSession"]["Key"].as_str().unwrap().to_owned()
    };
    let first = key(kept(&["session.ls", "-json"]));
    assert_eq!(key(kept(&["session.ls", "-json"])), first, "the session is found again");
    govc(&server, &["session.rm", &first]);
    assert_ne!(key(kept(&["session.ls", "-json"])), first);
    let mut wrong = Server::start(&["--password", "other"]);
    wrong.access["password"] = "pass".into();
    assert!(refused(&wrong, &["ls"]).contains("incorrect user name or password"));
}

#[test]
fn it_checks_the_certificate() {
    let server = Server::start(&[]);
    assert!(!run(&server, &["about"], false).status.success());
    for (flag, file) in [("-tls-ca-certs", "ca_file"), ("-tls-known-hosts", "known_hosts_file")] {
        let file = format!("{flag}={}", server.access[file].as_str().unwrap());
        let output = run(&server, &["about", &file], false);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flag}: {said}");
    }
}

#[test]
fn it_switches_machines_and_makes_snapshots() {
    let server = Server::start(&[]);
    let state = || govc(&server, &["object.collect", "-s", "vm/web01", "runtime.powerState"]);
    govc(&server, &["vm.power", "-on", "web01"]);
    assert_eq!(state(), "poweredOn\n");
    assert!(refused(&server, &["vm.power", "-on", "web01"]).contains("current state"));
    // A guest takes a while until it can be asked for anything.
    assert!(refused(&server, &["vm.power", "-s", "web01"]).contains("Tools is not running"));
    let up = ["object.collect", "vm/web01", "-guest.toolsRunningStatus", "guestToolsRunning"];
    govc(&server, &up);
    govc(&server, &["vm.power", "-s", "web01"]);
    // Waits through the property collector.
    govc(&server, &["object.collect", "vm/web01", "-runtime.powerState", "poweredOff"]);
    govc(&server, &["vm.power", "-on", "web01"]);
    let booted = || govc(&server, &["object.collect", "-s", "vm/web01", "runtime.bootTime"]);
    let before = booted();
    govc(&server, &["vm.power", "-r", "web01"]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while booted() == before {
        assert!(std::time::Instant::now() < end, "the guest did not restart");
    }
    govc(&server, &["vm.power", "-off", "web01"]);
    assert_eq!(state(), "poweredOff\n");
    govc(&server, &["snapshot.create", "-vm", "web01", "one"]);
    govc(&server, &["snapshot.create", "-vm", "web01", "two"]);
    assert_eq!(govc(&server, &["snapshot.tree", "-vm", "web01"]), "one\n  two\n  .\n");
    govc(&server, &["snapshot.remove", "-vm", "web01", "one"]);
    assert_eq!(govc(&server, &["snapshot.tree", "-vm", "web01"]), "two\n.\n");
    govc(&server, &["snapshot.remove", "-vm", "web01", "two"]);
    assert_eq!(govc(&server, &["snapshot.tree", "-vm", "web01"]), "");
}

#[test]
fn it_makes_instant_and_customized_clones_and_calls_one_off() {
    let slow = "op=task,object=slow,delay=60s";
    let server = Server::start(&["--plain", "--running", "app01", "--fault", slow]);
    let value = |vm: &str, path: &str| govc(&server, &["object.collect", "-s", vm, path]);
    govc(&server, &["vm.instantclone", "-vm", "app01", "-e", "guestinfo.twin=yes", "twin"]);
    assert_eq!(value("vm/twin", "runtime.powerState"), "poweredOn\n");
    assert_eq!(value("vm/twin", "guest.hostName"), "app01.example.com\n");
    assert!(govc(&server, &["vm.info", "-e", "twin"]).contains("guestinfo.twin:"));
    let off = refused(&server, &["vm.instantclone", "-vm", "web01", "other"]);
    assert!(off.contains("current state"), "{off}");
    let clone = ["vm.clone", "-vm", "web01", "-on=false", "-customization"];
    let unknown = refused(&server, &[&clone[..], &["nothing", "w"]].concat());
    assert!(unknown.contains("nothing does not exist"), "{unknown}");
    govc(&server, &[&clone[..], &["linux-fixed", "w"]].concat());
    govc(&server, &["vm.power", "-on", "w"]);
    assert_eq!(value("vm/w", "guest.hostName"), "golden\n");
    assert_eq!(value("vm/w", "guest.ipAddress"), "10.9.0.5\n");
    let client = server.login();
    let web = client.find("DC0/vm/web01");
    let folder = client.find("DC0/vm");
    let spec = format!(
        "<folder type=\"Folder\">{folder}</folder><name>slow</name><spec><location/>\
         <template>false</template><powerOn>false</powerOn></spec>"
    );
    let task = client.call("CloneVM_Task", ("VirtualMachine", &web), &spec).element("returnval");
    let info = || client.fetch(("Task", &task), "info");
    assert!(info().has("<state>running</state>") && info().has("<cancelable>true</cancelable>"));
    govc(&server, &["task.cancel", &task]);
    crate::server::wait_for("the end of the task", || info().has("<state>error</state>"));
    assert!(info().has("RequestCanceled"), "{}", info().text());
    assert!(refused(&server, &["task.cancel", &task]).contains("has ended"));
    assert_eq!(govc(&server, &["find", "-type", "m", "-name", "slow"]), "");
}

fn compare(left: &Path, right: &Path) {
    let program = std::env::var_os("HYPER_TB_QEMU_IMG").unwrap_or_else(|| "qemu-img".into());
    let mut command = Command::new(program);
    command.args(["compare", "-f", "raw", "-F", "vmdk"]).args([left, right]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {said}", right.display());
}

#[test]
fn it_exports_machines_with_equal_disks() {
    for args in [&[][..], &["--esx"], &["--plain"]] {
        let server = Server::start(args);
        let out = server.home.path().join("out");
        let folder = out.to_str().unwrap();
        for (machine, disks) in [("web01", 1), ("db01", 2)] {
            govc(&server, &["export.ovf", "-vm", machine, "-sha", "256", folder]);
            for disk in 0..disks {
                let flat = out.join(format!("{machine}-{disk}.raw"));
                let stem = if disk == 0 { machine.to_owned() } else { format!("{machine}_{disk}") };
                let remote = format!("{machine}/{stem}-flat.vmdk");
                govc(&server, &["datastore.download", &remote, flat.to_str().unwrap()]);
                compare(&flat, &out.join(machine).join(format!("{machine}-disk-{disk}.vmdk")));
            }
        }
        let ovf = std::fs::read_to_string(out.join("db01/db01.ovf")).unwrap();
        assert!(ovf.contains("ovf:href=\"db01-disk-1.vmdk\"") && ovf.contains("VmxNet3"));
        // The leases are gone: the machines can be switched on.
        govc(&server, &["vm.power", "-on", "web01", "db01"]);
        assert!(refused(&server, &["export.ovf", "-f", "-vm", "web01", folder]).contains("state"));
    }
}

#[test]
fn many_disks_of_real_images_are_exported() {
    let names: Vec<String> = (0..17).map(|number| format!("d{number}.raw")).collect();
    let machine = format!("a/many={}", names.join(","));
    let server = Server::prepared(&["--vm", &machine], |folder| {
        for (number, name) in names.iter().enumerate() {
            let mut bytes = vec![0; 1 << 20];
            bytes[number << 12..][..512].fill(number as u8 + 1);
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    });
    let out = server.home.path().join("out");
    govc(&server, &["export.ovf", "-vm", "a/many", out.to_str().unwrap()]);
    for (number, name) in names.iter().enumerate() {
        let exported = out.join("many").join(format!("many-disk-{number}.vmdk"));
        compare(&server.home.path().join(name), &exported);
    }
}

#[test]
fn it_tells_what_is_used_now_and_in_the_past() {
    let server = Server::start(&["--running", "web01"]);
    let intervals = govc(&server, &["metric.interval.info"]);
    for name in ["Past day", "Past week", "Past month", "Past year"] {
        assert!(intervals.contains(name), "{intervals}");
    }
    let listed = govc(&server, &["metric.ls", "vm/web01"]);
    assert!(listed.lines().any(|it| it == "net.received.average"), "{listed}");
    let of = |more: &[&str]| {
        let args = [&["metric.sample", "-json", "-n", "4"], more, &["cpu.usage.average"]].concat();
        json(&server, &args)["Sample"][0].clone()
    };
    let now = of(&["vm/web01"]);
    assert_eq!(now["SampleInfo"][0]["Interval"], 20);
    assert_eq!(now["Value"][0]["Value"].as_array().unwrap().len(), 4);
    let past = of(&["-i", "1800", "host/DC0_C0"]);
    assert_eq!(past["SampleInfo"][0]["Interval"], 1800, "{past}");
    assert!(
        refused(&server, &["metric.sample", "-i", "17", "vm/web01", "cpu.usage.average"])
            .contains("interval")
    );
}
