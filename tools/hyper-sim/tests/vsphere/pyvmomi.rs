//! pyVmomi, a client of other makers, against the simulator.

use std::path::Path;
use std::process::Command;

use crate::govc::tool;
use crate::server::{Server, wait_for};

fn python(script: &str, args: &[&str], home: &Path) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(tool("HYPER_TB_PYVMOMI", "pyvmomi"));
    command.arg(folder.join("tests/vsphere").join(script)).args(args);
    let output = command.env_clear().env("HOME", home).current_dir(folder).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

#[test]
fn the_schema_is_what_pyvmomi_has() {
    let home = tempfile::tempdir().unwrap();
    python("schema.py", &["src/vsphere/schema.txt"], home.path());
}

#[test]
fn it_makes_every_call() {
    for args in [
        &[
            "--serial",
            "app01",
            "--alarm",
            "db01=red",
            "--alarm",
            "web01=yellow:jo",
            "--events",
            "5",
            "--fault",
            "op=task,object=slow,delay=60s",
        ][..],
        &["--esx", "--serial", "app01", "--events", "5"],
    ] {
        let server = Server::start(&[args, &["--running", "app01", "-v"]].concat());
        let said = python("client.py", &[&server.address()], server.home.path());
        assert_eq!(said, "done\n");
        // Nothing is served that no other client has made sense of.
        let schema = include_str!("../../src/vsphere/schema.txt");
        let calls = schema.lines().filter_map(|line| line.strip_prefix("call "));
        for call in calls {
            let name = call.split([' ', ':']).nth(1).unwrap();
            let heard = || server.said.lock().unwrap().contains(&format!(" {name} on "));
            wait_for(name, heard);
        }
    }
}
