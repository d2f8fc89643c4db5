//! Consoles of a simulated vCenter, whose screen govc and vncsnapshot see as well.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::lab::{Serving, TALK, cells, hello, pixels, press, text, update};

/// A vCenter with app01, which runs and has a serial line, web01, which runs, and db01.
struct Centre {
    child: Child,
    access: Value,
    home: tempfile::TempDir,
}

impl Drop for Centre {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Centre {
    fn start(flags: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("hyper-sim");
        assert!(program.exists(), "{} is not built: run cargo test --workspace", program.display());
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(["vsphere", "-o", "ndjson", "--running", "app01", "--running", "web01"]);
        command.args(["--serial", "app01"]).args(flags).env_clear().env("HOME", home.path());
        command.env("TMPDIR", home.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, access: serde_json::from_str(&line).unwrap(), home }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        for (name, key) in [
            ("GOVC_URL", "url"),
            ("GOVC_USERNAME", "username"),
            ("GOVC_PASSWORD", "password"),
            ("GOVC_TLS_CA_CERTS", "ca_file"),
        ] {
            command.env(name, self.access[key].as_str().unwrap());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start_console(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_hyper-console"), args)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.start_console(args).output().unwrap()
    }

    fn status(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        (output.status.code(), text(&output.stderr))
    }

    fn viewer(&self, args: &[&str]) -> (Serving, String) {
        let all = [&["vnc", "govc:app01", "-o", "ndjson"], args].concat();
        let mut child = self.start_console(&all).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let row: Value = serde_json::from_str(&line).expect("an address");
        (Serving(child), row["address"].as_str().unwrap().to_owned())
    }

    /// The screen as govc gets it.
    fn screen(&self) -> Vec<u8> {
        let govc = std::env::var("HYPER_TB_GOVC").unwrap_or_else(|_| "govc".to_owned());
        let args = ["vm.console", "-capture", "govc.png", "app01"];
        let output = self.command(&govc, &args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read(self.home.path().join("govc.png")).unwrap()
    }
}

#[test]
fn a_vcenter_shows_a_screen_and_takes_keys() {
    let centre = Centre::start(&[]);
    let output = centre.run(&["screenshot", "govc:app01", "--to", "a.png", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&row["width"], &row["made_by"]), (&640.into(), &"platform".into()));
    assert_eq!(std::fs::read(centre.home.path().join("a.png")).unwrap(), centre.screen());
    let keys = ["send-key", "govc:app01", "ctrl-alt-delete", "A", "f12"];
    let (status, words) = centre.status(&keys);
    assert_eq!(status, Some(0), "{words}");
    // By the usage of each key, and a bit for each modifier from left control on.
    let colour = |usage: u8, held: u8| [7, held, 255 - usage];
    let expected = [colour(0x4c, 0b101), colour(0x04, 0b10), colour(0x45, 0)];
    assert_eq!(cells(&centre.screen(), 3), expected);
    // None is pressed where one is not there.
    let (status, words) = centre.status(&["send-key", "govc:app01", "b", "\u{e4}"]);
    assert_eq!(status, Some(7), "{words}");
    assert!(words.contains("US keyboard"), "{words}");
    assert_eq!(cells(&centre.screen(), 3), expected);
    for args in [
        &["govc:db01"][..],
        &["screenshot", "govc:db01", "--to", "b.png"],
        &["send-key", "govc:db01", "a"],
        &["vnc", "govc:db01", "--timeout", "10s"],
    ] {
        let (status, words) = centre.status(args);
        assert_eq!(status, Some(6), "{args:?}: {words}");
        assert!(words.contains("does not run"), "{args:?}: {words}");
    }
}

#[test]
fn a_vcenter_makes_no_picture_where_it_cannot() {
    let centre = Centre::start(&["--fault", "op=screen,status=404,max=1"]);
    let output = centre.run(&["screenshot", "govc:app01", "--to", "a.png", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["made_by"], "hyper");
    let seen = std::fs::read(centre.home.path().join("a.png")).unwrap();
    assert_eq!(pixels(&seen), pixels(&centre.screen()));
}

#[test]
fn a_ticket_leads_viewers_to_the_screen() {
    let centre = Centre::start(&[]);
    let (_serving, address) = centre.viewer(&[]);
    let (mut one, mut two) = (hello(&address), hello(&address));
    press(&mut one, 0x0078_5634);
    for viewer in [&mut one, &mut two] {
        crate::cluster::wait_for("the key", || update(viewer)[..3] == [255 - 0x78, 0x56, 0x34]);
    }
    let (host, port) = address.split_once(':').unwrap();
    let display = format!("{host}:{}", port.parse::<i32>().unwrap() - 5900);
    let program = std::env::var("HYPER_TB_VNCSNAPSHOT").expect("HYPER_TB_VNCSNAPSHOT is not set");
    let output = centre.command(&program, &["-quiet", &display, "a.jpg"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read(centre.home.path().join("a.jpg")).unwrap().starts_with(b"\xff\xd8\xff"));
}

#[test]
fn a_ticket_of_another_server_is_not_believed() {
    // A digit of the thumbprint in the answer becomes another one.
    let find = include_str!("thumbprint.py");
    let python = crate::cluster::program("HYPER_TB_PYTHON", "python3").display().to_string();
    let centre = Centre::start(&[]);
    let url = centre.access["url"].as_str().unwrap();
    let output = centre.command(&python, &["-c", find, url]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let fault = format!("op=AcquireTicket,corrupt={}", text(&output.stdout).trim());
    // Each server has a certificate of its own, and not each digit becomes another one.
    for _ in 0..40 {
        let centre = Centre::start(&["--fault", &fault]);
        let (_serving, address) = centre.viewer(&[]);
        let mut viewer = std::net::TcpStream::connect(address).unwrap();
        viewer.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        viewer.write_all(b"RFB 003.008\n").unwrap();
        let mut said = Vec::new();
        viewer.read_to_end(&mut said).unwrap();
        let said = text(&said);
        assert!(said.contains("thumbprint"), "{said}");
        if said.contains("not the one with the known thumbprint") {
            return;
        }
    }
    panic!("no digit became another one");
}

#[test]
fn a_serial_port_on_the_network_is_reached() {
    let centre = Centre::start(&[]);
    let output = centre.run(&[&["govc:app01"], &TALK[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("well done\r\n"), "{output:?}");
    let (status, words) = centre.status(&["govc:web01"]);
    assert_eq!(status, Some(7), "{words}");
    assert!(words.contains("no serial port") && words.contains("telnet://"), "{words}");
    let (status, words) = centre.status(&["govc:app01", "--log"]);
    assert_eq!(status, Some(7), "{words}");
}
