//! Exports from vcsim, which somebody else wrote: files of its datastore, in ranges, resumed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::disks::{holds, noise, raw};
use crate::user::User;

/// vcsim at work, with the machine `flat` that has a disk of 8 MiB.
struct Vcsim {
    child: Child,
    url: String,
}

fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

impl Vcsim {
    fn start() -> Self {
        let mut child = Command::new(program("HYPER_TB_VCSIM", "vcsim"))
            .args(["-l", "127.0.0.1:0", "-username", "user", "-password", "pass"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            // Where it is not found: eval "$(scripts/testbed --env govc)".
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            lines.find_map(|line| line.ok().filter(|line| line.contains("GOVC_URL="))).unwrap();
        let url = line.split("GOVC_URL=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    fn env(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("GOVC_URL", &self.url),
            pair("GOVC_INSECURE", "1"),
            pair("GOVC_DATASTORE", "LocalDS_0"),
            pair("GOVC_RESOURCE_POOL", "DC0_C0/Resources"),
            pair("GOVC_NETWORK", "VM Network"),
        ]
    }

    #[track_caller]
    fn govc(&self, user: &User, args: &[&str]) -> String {
        let mut command = Command::new(program("HYPER_TB_GOVC", "govc"));
        let output = command.args(args).envs(self.env()).current_dir(user.at("")).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn files_of_vcsims_datastore_are_exported_in_ranges_and_gone_on_with() {
    let (mut user, vcsim) = (User::new(), Vcsim::start());
    user.env = vcsim.env();
    let bytes = noise(8 << 20, 71);
    raw(&user.at("flat.raw"), &bytes);
    let descriptor = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
                      createType=\"vmfs\"\n\nRW 16384 VMFS \"flat-flat.vmdk\"\n";
    std::fs::write(user.at("flat.vmdk"), descriptor).unwrap();
    vcsim.govc(&user, &["vm.create", "-on=false", "-disk", "8M", "-c", "2", "-m", "64", "flat"]);
    vcsim.govc(&user, &["datastore.upload", "flat.vmdk", "flat/flat.vmdk"]);
    vcsim.govc(&user, &["datastore.upload", "flat.raw", "flat/flat-flat.vmdk"]);
    let line = ["govc:flat", "--transport", "datastore", "-f", "raw", "--to", "out"];
    user.run(&[&line[..], &["--verify"]].concat()).ends(0);
    holds(&user.at("out/flat-disk0.raw"), "raw", &bytes);
    let machine = std::fs::read_to_string(user.at("out/flat.machine.json")).unwrap();
    let machine: serde_json::Value = serde_json::from_str(&machine).unwrap();
    let told = vcsim.govc(&user, &["object.collect", "-s", "vm/flat", "config.uuid"]);
    assert_eq!(machine["uuid"], told.trim());
    let told = vcsim.govc(&user, &["device.info", "-vm", "flat", "ethernet-*"]);
    let mac = machine["nics"][0]["mac"].as_str().unwrap();
    assert!(told.contains(mac), "{mac}: {told}");
    assert_eq!(
        (&machine["cpus"]["count"], &machine["memory_bytes"]),
        (&2.into(), &(64 << 20).into())
    );
    std::fs::remove_dir_all(user.at("out")).unwrap();

    let slowly = ["--limit-rate", "1M", "--progress", "json"];
    let mut run = user.start(&[&line[..], &slowly].concat());
    run.wait_for_copy();
    run.signal("TERM");
    run.end().ends(130);
    assert!(user.names("out").is_empty());
    let record = user.run(&[&line[..], &["-o", "json"]].concat()).ends(0).json();
    assert!(record["reused_bytes"].as_u64().unwrap() > 0, "{record}");
    holds(&user.at("out/flat-disk0.raw"), "raw", &bytes);

    // The name that it has is that of a machine that runs.
    let running = user.run(&["govc:DC0_H0_VM0", "--to", "no"]).ends(6);
    assert!(running.err.contains("--temp-snapshot"), "{}", running.err);
}
