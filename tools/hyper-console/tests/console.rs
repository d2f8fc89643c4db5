//! `hyper console` on a simulated KubeVirt in front of a real API server; kubectl and a VNC client
//! that others wrote see the same screen.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-sim/tests/cluster/mod.rs"]
mod cluster;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use self::cluster::{Cluster, machine, program};

/// A namespace of the cluster with a machine that runs, and a user of it.
struct Lab {
    cluster: &'static Cluster,
    space: String,
    home: tempfile::TempDir,
}

/// A talk with a login that ends with what it answers.
const TALK: [&str; 14] = [
    "--send",
    r"\r",
    "--expect",
    "login: ",
    "--send",
    r"root\r",
    "--expect",
    "Password: ",
    "--send",
    r"secret\recho well done\r",
    "--expect",
    "well done\r",
    "--timeout",
    "20s",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Lab {
    fn new() -> Self {
        let cluster = Cluster::shared();
        let lab = Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() };
        lab.cluster.apply(&lab.space, &machine("web01", "Always"));
        lab.cluster.machine_is(&lab.space, "web01", "Running");
        lab
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
        command.env("KUBECONFIG", self.cluster.kubeconfig());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `hyper console` in the namespace.
    fn start(&self, args: &[&str]) -> Command {
        let own = ["-c", "hyper-sim", "-n", &self.space];
        self.command(env!("CARGO_BIN_EXE_hyper-console"), &[args, &own].concat())
    }

    fn run(&self, args: &[&str]) -> Output {
        self.start(args).output().unwrap()
    }

    /// The status of a run and what it says about it.
    fn status(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        (output.status.code(), text(&output.stderr))
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// Lets something go wrong with what is asked of the machine.
    fn fault(&self, op: &str, what: &str) {
        let object = format!("{}/virtualmachineinstances/web01", self.space);
        self.cluster.fault(&format!("op={op},object={object},{what}"));
    }

    /// The screen as kubectl gets it.
    fn screen(&self) -> Vec<u8> {
        let path = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{}/virtualmachineinstances/web01/vnc/screenshot",
            self.space
        );
        let output = self.cluster.try_kubectl(&["get", "--raw", &path], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    }

    /// A viewer's address, and what serves there.
    fn viewer(&self, args: &[&str]) -> (Serving, String) {
        let mut child =
            self.start(&[&["vnc", "web01", "-o", "ndjson"], args].concat()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let row: Value = serde_json::from_str(&line).expect("an address");
        (Serving(child), row["address"].as_str().unwrap().to_owned())
    }
}

/// Ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Width, height and pixels of a picture with eight bits for each of three colours, unfiltered.
fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    let (width, height) = (number(16), number(20));
    assert_eq!(&png[24..29], [8, 2, 0, 0, 0]);
    let (mut at, mut packed) = (8, Vec::new());
    while at < png.len() {
        let len = number(at) as usize;
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&png[at + 8..at + 8 + len]);
        }
        at += len + 12;
    }
    let mut rows = Vec::new();
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut rows).unwrap();
    let row = width as usize * 3 + 1;
    assert_eq!(rows.len(), row * height as usize);
    (width, height, rows.chunks(row).flat_map(|row| row[1..].to_vec()).collect())
}

/// The colours of the first cells of a screen: a key leaves one in each.
fn cells(png: &[u8], count: usize) -> Vec<[u8; 3]> {
    let (_, _, pixels) = pixels(png);
    (0..count).map(|cell| pixels[cell * 24..cell * 24 + 3].try_into().unwrap()).collect()
}

#[test]
fn flag_expect_and_flag_send() {
    let lab = Lab::new();
    let output = lab.run(&[&["web01"], &TALK[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("root@web01:~# "), "{output:?}");
    // The same order of values, in another order of steps: nothing answers before it is asked.
    let early = ["--expect", "login: ", "--send", r"\r", "--timeout", "500ms"];
    assert_eq!(lab.status(&[&["web01"], &early[..]].concat()).0, Some(11));
    let never = ["web01", "--send", r"\r", "--expect", "never", "--timeout", "60s"];
    let mut child = lab.start(&never).spawn().unwrap();
    read_some(&mut child);
    lab.cluster.put(&lab.space, "virtualmachines/web01/stop", "{}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    let words = text(&output.stderr);
    assert!(words.contains("ended before it wrote \"never\""), "{words}");
    assert_eq!(lab.status(&["web01", "--send", r"\q"]).0, Some(2));
}

/// Waits until a program has written something.
fn read_some(child: &mut Child) {
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
}

#[test]
fn a_broken_connection_is_made_again() {
    let lab = Lab::new();
    // Inside of the answer that is waited for.
    lab.fault("console", "max=1,cut=60");
    let (status, words) = lab.status(&[&["web01", "-v"], &TALK[..]].concat());
    assert_eq!(status, Some(0), "{words}");
    assert!(words.contains("connected again"), "{words}");
    // Of two who want the line one gives way.
    let want = || {
        let args = ["web01", "--expect", "never", "--timeout", "60s"];
        let mut command = lab.start(&args);
        Serving(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut both = [want(), want()];
    let mut gave_way = None;
    cluster::wait_for("one of them to give way", || {
        let ended = both.iter_mut().find_map(|it| it.0.try_wait().unwrap());
        gave_way = ended.and_then(|status| status.code());
        gave_way.is_some()
    });
    assert_eq!(gave_way, Some(6));
}

#[test]
fn a_person_sits_down_and_leaves() {
    let lab = Lab::new();
    let typist = include_str!("../../hyper-vm/tests/lab/typist.py");
    let python = program("HYPER_TB_PYTHON", "python3").display().to_string();
    let mut args = vec!["-c", typist, "connected; Ctrl-] leaves", "\\r"];
    let talk = [("login: ", "root\\r"), ("Password: ", "a\\r"), ("# ", "echo on\\x03hostname\\r")];
    args.extend(talk.iter().flat_map(|(wait, typed)| [*wait, *typed]));
    // What interrupts here is for the guest.
    args.extend(["^C", "", "\nweb01\r\n", "", "# ", "\\x1dnot sent", "--"]);
    args.extend([
        env!("CARGO_BIN_EXE_hyper-console"),
        "web01",
        "-c",
        "hyper-sim",
        "-n",
        &lab.space,
    ]);
    let output = lab.command(&python, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!text(&output.stdout).contains("not sent"), "{}", text(&output.stdout));
}

#[test]
fn flag_record_and_flag_overwrite() {
    let lab = Lab::new();
    let record = ["--record", "talk.cast"];
    let done = lab.status(&[&["web01"], &record[..], &TALK].concat());
    assert_eq!(done.0, Some(0), "{done:?}");
    let file = std::fs::read_to_string(lab.at("talk.cast")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["version"], &lines[0]["width"]), (&2.into(), &80.into()));
    let said: String = lines[1..].iter().map(|line| line[2].as_str().unwrap()).collect();
    assert!(said.contains("well done") && !said.contains("secret"), "{said}");
    let times: Vec<f64> = lines[1..].iter().map(|line| line[0].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && lines[1..].iter().all(|line| line[1] == "o"), "{file}");
    let again = ["web01", "--record", "talk.cast", "--send", r"\r"];
    assert_eq!(lab.status(&again).0, Some(6));
    assert_eq!(std::fs::read_to_string(lab.at("talk.cast")).unwrap(), file);
    assert_eq!(lab.status(&[&again[..], &["--overwrite"]].concat()).0, Some(0));
    assert_ne!(std::fs::read_to_string(lab.at("talk.cast")).unwrap(), file);
}

#[test]
fn flag_log_and_flag_follow() {
    let lab = Lab::new();
    let output = lab.run(&["web01", "--log", "--timeout", "20s"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("Run /init as init process\n"), "{output:?}");
    let mut child = lab.start(&["web01", "--log", "--follow"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("Linux version"));
    lab.cluster.put(&lab.space, "virtualmachines/web01/stop", "{}").unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.contains("poweroff.target")), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    lab.cluster.machine_is(&lab.space, "web01", "Stopped");
    for args in [
        &["web01"][..],
        &["web01", "--log"],
        &["vnc", "web01", "--timeout", "5s"],
        &["screenshot", "web01", "--to", "a.png"],
        &["send-key", "web01", "a"],
    ] {
        let (status, words) = lab.status(args);
        assert_eq!(status, Some(6), "{args:?}: {words}");
        assert!(words.contains("does not run"), "{args:?}: {words}");
    }
    assert_eq!(lab.status(&["nobody"]).0, Some(5));
}

#[test]
fn flag_to_and_flag_overwrite_of_screenshot() {
    let lab = Lab::new();
    let output = lab.run(&["screenshot", "web01", "--to", "a.png", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&row["width"], &row["height"], &row["made_by"]),
        (&640.into(), &400.into(), &"platform".into())
    );
    let own = std::fs::read(lab.at("a.png")).unwrap();
    assert_eq!(own, lab.screen(), "as kubectl gets it");
    assert_eq!(lab.status(&["screenshot", "web01", "--to", "a.png"]).0, Some(6));
    // Where the cluster makes no pictures, one is made of what a viewer sees.
    lab.fault("vnc/screenshot", "status=404");
    let output = lab.run(&["screenshot", "web01", "--to", "a.png", "--overwrite", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["made_by"], "hyper");
    let seen = std::fs::read(lab.at("a.png")).unwrap();
    assert_eq!(pixels(&seen), pixels(&own));
    let output = lab.run(&["screenshot", "web01", "--to", "-"]);
    assert_eq!(output.stdout, seen, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("640"), "the record goes elsewhere");
}

#[test]
fn keys_are_pressed_together_and_one_after_another() {
    let lab = Lab::new();
    let output = lab.run(&["send-key", "web01", "ctrl-alt-delete", "F1", "a", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["keys"], serde_json::json!(["ctrl-alt-delete", "F1", "a"]));
    let colour = |symbol: u32| {
        let [_, high, middle, low] = symbol.to_be_bytes();
        [low, middle, 255 - high]
    };
    let pressed = [0xffe3, 0xffe9, 0xffff, 0xffbe, 0x61].map(colour);
    assert_eq!(cells(&lab.screen(), 5), pressed);
    assert_eq!(lab.status(&["send-key", "web01", "nokey"]).0, Some(2));
    // Somebody who sees the screen goes on seeing it.
    let (_serving, address) = lab.viewer(&[]);
    let mut viewer = hello(&address);
    let (status, words) = lab.status(&["send-key", "web01", "b"]);
    assert_eq!(status, Some(8), "{words}");
    assert!(words.contains("Active VNC connection"), "{words}");
    press(&mut viewer, 0x63);
    assert_eq!(update(&mut viewer).len(), 4, "it is still connected");
}

/// A viewer that has said hello.
fn hello(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    assert_eq!(read(&mut stream, 12), b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(read(&mut stream, 2), [1, 1]);
    stream.write_all(&[1]).unwrap();
    assert_eq!(read(&mut stream, 4), [0; 4]);
    stream.write_all(&[1]).unwrap();
    read(&mut stream, 24 + 9);
    stream
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("more from the server");
    bytes
}

fn press(stream: &mut TcpStream, symbol: u32) {
    let mut message = vec![4, 1, 0, 0];
    message.extend(symbol.to_be_bytes());
    stream.write_all(&message).unwrap();
}

/// The first pixel.
fn update(stream: &mut TcpStream) -> Vec<u8> {
    stream.write_all(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap();
    read(stream, 16);
    read(stream, 4)
}

#[test]
fn flag_listen_and_flag_preserve_session() {
    let lab = Lab::new();
    let (_serving, address) = lab.viewer(&["--listen", "127.0.0.2:0", "--preserve-session"]);
    assert!(address.starts_with("127.0.0.2:"), "{address}");
    let mut first = hello(&address);
    press(&mut first, 0x0078_5634);
    assert_eq!(update(&mut first)[..3], [255 - 0x78, 0x56, 0x34]);
    let mut second = TcpStream::connect(&address).unwrap();
    read(&mut second, 12);
    second.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(read(&mut second, 1), [0]);
    let len = u32::from_be_bytes(read(&mut second, 4).try_into().unwrap());
    let words = text(&read(&mut second, len as usize));
    assert!(words.contains("Active VNC connection"), "{words}");
    update(&mut first);
    drop(first);

    let (_serving, address) = lab.viewer(&[]);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut first = hello(&address);
    update(&mut hello(&address));
    // Without it the last one wins.
    first.write_all(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap_or_default();
    let mut rest = Vec::new();
    assert!(matches!(first.read_to_end(&mut rest), Ok(0) | Err(_)), "it is ended");
}

#[test]
fn flag_context_and_flag_namespace_and_flag_kubeconfig_and_flag_output() {
    let lab = Lab::new();
    let program = env!("CARGO_BIN_EXE_hyper-console");
    let config = lab.at("other");
    std::fs::copy(lab.cluster.kubeconfig(), &config).unwrap();
    let file = config.to_str().unwrap();
    let rename = ["config", "rename-context", "hyper-sim", "elsewhere", "--kubeconfig", file];
    lab.cluster.kubectl(&rename);
    let shot = |args: &[&str]| {
        let to = ["screenshot", "web01", "--to", "a.png", "--overwrite"];
        let output = lab.command(program, &[&to, args].concat()).output().unwrap();
        (output.status.code(), output.stdout)
    };
    let space = lab.space.as_str();
    let there = shot(&["-c", "hyper-sim", "-n", space, "-o", "name"]);
    assert_eq!(there, (Some(0), b"a.png\n".to_vec()));
    assert_eq!(shot(&["-c", "hyper-sim-nobody", "-n", space]).0, Some(4));
    assert_eq!(shot(&["--kubeconfig", file, "-c", "elsewhere", "-n", space]).0, Some(0));
    assert_eq!(shot(&["-c", "elsewhere", "-n", space]).0, Some(5), "no such context here");
    assert_eq!(shot(&["-c", "local"]).0, Some(7));
}

#[test]
fn flag_quiet_and_flag_verbose_and_flag_timeout() {
    let lab = Lab::new();
    let wait = ["web01", "--expect", "never", "--timeout", "300ms"];
    let (status, plain) = lab.status(&wait);
    assert_eq!(status, Some(11), "{plain}");
    let (_, much) = lab.status(&[&wait[..], &["-v"]].concat());
    assert!(much.contains("connected") && !plain.contains("connected"), "{much}");
    let typist = include_str!("../../hyper-vm/tests/lab/typist.py");
    let python = program("HYPER_TB_PYTHON", "python3").display().to_string();
    let sit = |flag: &[&str]| {
        let own =
            [env!("CARGO_BIN_EXE_hyper-console"), "web01", "-c", "hyper-sim", "-n", &lab.space];
        let args = [&["-c", typist, "", "\\r", "login: ", "\\x1d", "--"], &own[..], flag].concat();
        text(&lab.command(&python, &args).output().unwrap().stdout)
    };
    assert!(sit(&[]).contains("Ctrl-]"));
    assert!(!sit(&["--quiet"]).contains("Ctrl-]"));
}
