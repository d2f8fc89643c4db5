//! A namespace with a machine that runs, and a viewer of its screen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, machine};

/// A namespace of the cluster with a machine that runs, and a user of it.
pub struct Lab {
    pub cluster: &'static Cluster,
    pub space: String,
    pub home: tempfile::TempDir,
}

/// A talk with a login that ends with what it answers.
pub const TALK: [&str; 14] = [
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

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Lab {
    pub fn new() -> Self {
        let cluster = Cluster::shared();
        let lab = Self { cluster, space: cluster.namespace(), home: tempfile::tempdir().unwrap() };
        lab.cluster.apply(&lab.space, &machine("web01", "Always"));
        lab.cluster.machine_is(&lab.space, "web01", "Running");
        lab
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
        command.env("KUBECONFIG", self.cluster.kubeconfig());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `hyper console` in the namespace.
    pub fn start(&self, args: &[&str]) -> Command {
        let own = ["-c", "hyper-sim", "-n", &self.space];
        self.command(env!("CARGO_BIN_EXE_hyper-console"), &[args, &own].concat())
    }

    /// `hyper console` without a namespace.
    pub fn bare(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_hyper-console"), args)
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.start(args).output().unwrap()
    }

    /// The status of a run and what it says about it.
    pub fn status(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        (output.status.code(), text(&output.stderr))
    }

    pub fn at(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// Lets something go wrong with what is asked of the machine.
    pub fn fault(&self, op: &str, what: &str) {
        let object = format!("{}/virtualmachineinstances/web01", self.space);
        self.cluster.fault(&format!("op={op},object={object},{what}"));
    }

    /// The screen as kubectl gets it.
    pub fn screen(&self) -> Vec<u8> {
        let path = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{}/virtualmachineinstances/web01/vnc/screenshot",
            self.space
        );
        let output = self.cluster.try_kubectl(&["get", "--raw", &path], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    }

    /// A viewer's address, and what serves there.
    pub fn viewer(&self, args: &[&str]) -> (Serving, String) {
        let mut child =
            self.start(&[&["vnc", "web01", "-o", "ndjson"], args].concat()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let row: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut words = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut words);
            panic!("no address: {words}")
        });
        let place = row["url"].as_str().or(row["address"].as_str()).unwrap();
        (Serving(child), place.to_owned())
    }
}

/// Ends with the test.
pub struct Serving(pub Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Width, height and pixels of a picture with eight bits for each of three colours, unfiltered.
pub fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
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
pub fn cells(png: &[u8], count: usize) -> Vec<[u8; 3]> {
    let (_, _, pixels) = pixels(png);
    (0..count).map(|cell| pixels[cell * 24..cell * 24 + 3].try_into().unwrap()).collect()
}

/// A viewer that has said hello.
pub fn hello(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    assert_eq!(read(&mut stream, 12), b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(read(&mut stream, 2), [1, 1]);
    stream.write_all(&[1]).unwrap();
    assert_eq!(read(&mut stream, 4), [0; 4]);
    stream.write_all(&[1]).unwrap();
    let start = read(&mut stream, 24);
    read(&mut stream, usize::from(start[23]));
    stream
}

pub fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("more from the server");
    bytes
}

pub fn press(stream: &mut TcpStream, symbol: u32) {
    let mut message = vec![4, 1, 0, 0];
    message.extend(symbol.to_be_bytes());
    stream.write_all(&message).unwrap();
}

/// The first pixel.
pub fn update(stream: &mut TcpStream) -> Vec<u8> {
    stream.write_all(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap();
    read(stream, 16);
    read(stream, 4)
}
