//! Guests that a specification makes ones of their own: `hyper sim vsphere`, which does what it is
//! given, and vcsim, which keeps what hyper sends, beside what govc sends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/simulator/mod.rs"]
mod simulator;
#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use self::simulator::Sim;
use self::vcsim::{Done, Vcsim, run};

fn clone(sim: &Sim, args: &[&str]) -> Done {
    let args = [args, &["-o", "ndjson"]].concat();
    run(env!("CARGO_BIN_EXE_hyper-clone"), sim.home.path(), &sim.variables, &args)
}

#[track_caller]
fn ok(sim: &Sim, args: &[&str]) -> Done {
    let done = clone(sim, args);
    assert_eq!(done.status, 0, "{args:?}: {done:?}");
    done
}

#[track_caller]
fn refused(sim: &Sim, args: &[&str], status: i32, words: &str) {
    let done = clone(sim, args);
    assert!(done.status == status && done.err.contains(words), "{args:?}: {done:?}");
}

/// Host name and address of a guest, as govc sees them.
fn guest(sim: &Sim, vm: &str) -> (String, String) {
    let value = |path: &str| {
        sim.govc(&["object.collect", "-s", &format!("vm/{vm}"), path]).trim().to_owned()
    };
    (value("guest.hostName"), value("guest.ipAddress"))
}

#[test]
fn flag_customize_makes_each_guest_its_own() {
    let sim = Sim::start(&[]);
    let two = ["web01", "--count", "2", "--name", "w-{n}", "--customize"];
    let made = ok(&sim, &[&two[..], &["linux"]].concat());
    assert!(made.lines().iter().all(|row| row["note"] == "customized when switched on"));
    let pending = |vm: &str| {
        let path = "config.tools.pendingCustomization";
        sim.govc(&["object.collect", "-s", &format!("vm/{vm}"), path])
    };
    assert_eq!(pending("w-1"), "imcf-w-1\n");
    let on = ok(&sim, &[&two[..], &["linux", "--power-on"]].concat());
    assert!(on.lines().iter().all(|row| row["outcome"] == "exists"), "{on:?}");
    assert_eq!((guest(&sim, "w-1").0, guest(&sim, "w-2").0), ("w-1".into(), "w-2".into()));
    // What is encrypted goes along with the key that it is encrypted with.
    ok(&sim, &["web01", "win", "--customize", "windows", "--power-on"]);
    assert_eq!(guest(&sim, "win").0, "win");
    let same =
        ok(&sim, &["web01", "--count", "2", "--name", "g-{n}", "--customize", "linux-fixed"]);
    assert!(same.err.contains("g-2: its guest becomes golden, as another"), "{same:?}");
    assert!(same.err.contains("10.9.0.5") && !same.err.contains("g-1:"), "{same:?}");
    refused(&sim, &["db01", "x", "--customize", "linux"], 6, "number of network adapters");
    refused(&sim, &["web01", "x", "--customize", "linux-ask"], 2, "--hostname");
    let names = "there are: linux, linux-fixed, linux-ask, windows";
    refused(&sim, &["web01", "x", "--customize", "nope"], 5, names);
    assert_eq!(sim.govc(&["find", "/", "-type", "m", "-name", "x"]), "");
    let host = Sim::start(&["--esx"]);
    refused(&host, &["web01", "x", "--customize", "linux"], 7, "keeps no specifications of guests");
}

#[test]
fn flag_hostname_and_flag_ip_complete_a_specification() {
    let sim = Sim::start(&[]);
    let fixed = ["--customize", "linux-fixed", "--power-on"];
    let two = ["web01", "--count", "2", "--name", "{source}-{n}", "--hostname", "{name}"];
    let made = ok(&sim, &[&two[..], &fixed].concat());
    assert!(!made.err.contains("becomes web01") && made.err.contains("becomes 10.9.0.5"));
    assert_eq!(guest(&sim, "web01-1"), ("web01-1".into(), "10.9.0.5".into()));
    assert_eq!(guest(&sim, "web01-2").0, "web01-2");
    let ask = ["web01", "w", "--customize", "linux-ask", "--power-on"];
    refused(&sim, &[&ask[..], &["--hostname", "www"]].concat(), 2, "--ip");
    ok(&sim, &[&ask[..], &["--hostname", "www", "--ip", "10.0.0.7"]].concat());
    assert_eq!(guest(&sim, "w"), ("www".into(), "10.0.0.7".into()));
    let ip = ["--ip", "10.0.0.8"];
    refused(&sim, &[&["web01", "x", "--customize", "linux"][..], &ip].concat(), 2, "no place");
    refused(&sim, &[&["web01", "x"][..], &ip].concat(), 2, "--customize");
    refused(&sim, &["web01", "x", "--hostname", "y"], 2, "--customize");
    refused(&sim, &["web01", "x", "--customize", "linux", "--ip", "300.1"], 2, "--ip");
}

#[test]
fn flag_bulk_has_a_specification_for_each() {
    let sim = Sim::start(&[]);
    let file = |name: &str, text: &str| {
        let path = sim.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let csv = "source_vm,target_name,customize,hostname,ip,power_on\n\
               web01,a,linux-ask,www-a,10.0.0.1,yes\nweb01,b,,,,yes\nweb01,c,linux,{name},,yes\n";
    let made = ok(&sim, &["--bulk", &file("a.csv", csv), "--customize", "linux-fixed"]);
    assert_eq!(made.lines().len(), 3);
    assert_eq!(guest(&sim, "a"), ("www-a".into(), "10.0.0.1".into()));
    assert_eq!(guest(&sim, "b"), ("golden".into(), "10.9.0.5".into()));
    assert_eq!(guest(&sim, "c").0, "c");
    for (more, words) in [("ip: 10.0.0.1", "come with a specification"), ("ip: x", "no address")] {
        let text = format!("clones: [{{source_vm: web01, target_name: d, {more}}}]");
        refused(&sim, &["--bulk", &file("b.yaml", &text)], 2, words);
    }
}

/// What a run has sent as the customization of a clone of that name, without what only differs in
/// how it is written.
fn sent(trace: &str, name: &str) -> String {
    let mut calls = trace.split("Request: ").filter(|it| it.contains("<CloneVM_Task "));
    let call = calls.find(|it| it.contains(&format!("<name>{name}</name>"))).expect("the call");
    let (_, rest) = call.split_once("<customization>").unwrap_or_else(|| panic!("{call}"));
    let (own, _) = rest.split_once("</customization>").unwrap();
    own.replace(" xmlns:XMLSchema-instance=\"http://www.w3.org/2001/XMLSchema-instance\"", "")
        .replace("XMLSchema-instance:type", "xsi:type")
}

#[test]
fn flag_customize_sends_what_govc_sends() {
    let home = tempfile::tempdir().unwrap();
    let trace = home.path().join("trace");
    let server = Vcsim::start(&["-trace", "-trace-file", trace.to_str().unwrap()]);
    let clone = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_hyper-clone");
        run(program, home.path(), &server.variables(), &[&["DC0_H0_VM0"], args].concat())
    };
    for spec in ["vcsim-linux", "vcsim-windows-domain"] {
        let (own, theirs) = (format!("own-{spec}"), format!("theirs-{spec}"));
        // This one leaves addresses to who uses it, which govc passes on as they are.
        let ip: &[&str] = if spec.contains("domain") { &["--ip", "10.0.0.7"] } else { &[] };
        let made = clone(&[&[own.as_str(), "--customize", spec][..], ip].concat());
        assert_eq!(made.status, 0, "{made:?}");
        let pool = "/DC0/host/DC0_H0/Resources";
        let args = ["vm.clone", "-vm", "DC0_H0_VM0", "-on=false", "-pool", pool];
        server.govc(home.path(), &[&args[..], &["-customization", spec, &theirs]].concat());
        let trace = std::fs::read_to_string(&trace).unwrap();
        let open = "<ip xsi:type=\"CustomizationUnknownIpGenerator\"></ip>";
        let full = "<ip xsi:type=\"CustomizationFixedIp\"><ipAddress>10.0.0.7</ipAddress></ip>";
        assert_eq!(sent(&trace, &own), sent(&trace, &theirs).replace(open, full), "{spec}");
    }
    let unknown = clone(&["x", "--customize", "nope"]);
    assert_eq!(unknown.status, 5, "{unknown:?}");
    assert!(unknown.err.contains("there are: vcsim-linux, vcsim-linux-static"), "{unknown:?}");
    // This vcsim speaks a version of the interface that has no instant clones yet.
    let instant = clone(&["x", "--instant"]);
    assert!(instant.status == 7 && instant.err.contains("6.7 or newer"), "{instant:?}");
    let esx = Vcsim::start(&["-esx"]);
    let program = env!("CARGO_BIN_EXE_hyper-clone");
    for flags in [&["--customize", "vcsim-linux"][..], &["--instant"]] {
        let args = [&["ha-host_VM0", "x"], flags].concat();
        let done = run(program, home.path(), &esx.variables(), &args);
        assert_eq!(done.status, 7, "{flags:?}: {done:?}");
    }
}
