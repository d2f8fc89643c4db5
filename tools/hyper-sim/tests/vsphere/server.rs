//! A simulated server as a process, and a client that does nothing by itself.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A server that ends with the test.
pub struct Server {
    child: Child,
    /// What it printed: how to reach it.
    pub access: Value,
    /// What it said on standard error so far.
    pub said: Arc<Mutex<String>>,
    /// Who listens to that.
    ear: Option<std::thread::JoinHandle<()>>,
    /// A folder of the test's own.
    pub home: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in an environment of its own.
pub fn command(home: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-sim"));
    command.arg("vsphere").args(args).env_clear().env("HOME", home).current_dir(home);
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    // What a killed server leaves behind goes with the test's own folder.
    command.env("TMPDIR", home).stdin(Stdio::null());
    command
}

impl Server {
    /// Starts a server in a folder that `prepare` has filled.
    pub fn prepared(args: &[&str], prepare: impl FnOnce(&std::path::Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        prepare(home.path());
        let mut all = args.to_vec();
        all.extend(["-o", "ndjson"]);
        let mut starting = command(home.path(), &all);
        let child = starting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        // From here on it ends with the test, whatever it prints.
        let mut server = Self { child, access: Value::Null, said: said.clone(), ear: None, home };
        let (mut stderr, heard) = (server.child.stderr.take().unwrap(), said.clone());
        server.ear = Some(std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(len @ 1..) = stderr.read(&mut part) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..len]));
            }
        }));
        let mut line = String::new();
        let stdout = server.child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let access = serde_json::from_str(&line);
        server.access = access.unwrap_or_else(|_| panic!("{line:?} {}", said.lock().unwrap()));
        server
    }

    pub fn start(args: &[&str]) -> Self {
        Self::prepared(args, |_| {})
    }

    /// Ends it: all that it said.
    pub fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.ear.take().unwrap().join().unwrap();
        self.said.lock().unwrap().clone()
    }

    pub fn url(&self) -> &str {
        self.access["url"].as_str().unwrap()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.url().split('/').nth(2).unwrap().to_owned()
    }

    /// Asks it to stop, as Ctrl-C does; its exit status.
    pub fn interrupt(mut self) -> i32 {
        // The shell's own: Debian's base has no program of that name.
        let line = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap()
    }

    /// A client that has not logged in.
    pub fn client(&self) -> Client {
        Client { address: self.address(), cookie: None }
    }

    /// A client that has logged in as `user`, `pass`.
    pub fn login(&self) -> Client {
        let mut client = self.client();
        let answer = client.log_in("user", "pass");
        assert_eq!(answer.status, 200, "{}", answer.text());
        client
    }
}

/// Speaks HTTP without encryption.
pub struct Client {
    address: String,
    pub cookie: Option<String>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text between the first `<name …>` and its end.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let start = text.find(&format!("<{name}")).unwrap_or_else(|| panic!("{name}: {text}"));
        let inner = text[start..].split_once('>').unwrap().1;
        inner.split_once(&format!("</{name}>")).unwrap().0.to_owned()
    }

    pub fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }
}

impl Client {
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(cookie) = &self.cookie {
            head.push_str(&format!("Cookie: vmware_soap_session={cookie}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A connection that is broken as asked ends in an error; what came before counts.
        let ended = stream.read_to_end(&mut bytes).is_ok();
        parse(&bytes, ended)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    /// A call: the parameters after `_this` are `inner`.
    pub fn call(&self, method: &str, this: (&str, &str), inner: &str) -> Answer {
        let (kind, id) = this;
        let body = format!(
            "<?xml version=\"1.0\"?><e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:x=\"http://www.w3.org/2001/XMLSchema-instance\"><e:Body><{method} \
             xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{inner}</{method}></e:Body>\
             </e:Envelope>"
        );
        self.request("POST", "/sdk", &[("Content-Type", "text/xml")], &body)
    }

    pub fn log_in(&mut self, user: &str, password: &str) -> Answer {
        let inner = format!("<userName>{user}</userName><password>{password}</password>");
        let answer = self.call("Login", ("SessionManager", "SessionManager"), &inner);
        if let Some(cookie) = answer.headers.get("set-cookie") {
            let value = cookie.split_once('=').unwrap().1.split(';').next().unwrap();
            self.cookie = Some(value.to_owned());
        }
        answer
    }

    /// A property, as pyVmomi reads them.
    pub fn fetch(&self, this: (&str, &str), name: &str) -> Answer {
        self.call("Fetch", this, &format!("<prop>{name}</prop>"))
    }

    /// The id of what is at a path.
    pub fn find(&self, path: &str) -> String {
        let inner = format!("<inventoryPath>{path}</inventoryPath>");
        self.call("FindByInventoryPath", ("SearchIndex", "SearchIndex"), &inner)
            .element("returnval")
    }

    /// A lease on a machine that is ready, and the paths of what it lets one fetch.
    pub fn export(&self, machine: &str) -> (String, Vec<String>) {
        let answer = self.call("ExportVm", ("VirtualMachine", machine), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lease = answer.element("returnval");
        let this = ("HttpNfcLease", lease.as_str());
        wait_for("the lease", || self.fetch(this, "state").has(">ready<"));
        let info = self.fetch(this, "info").text();
        let urls = info.split("<url>").skip(1).map(|rest| rest.split_once("</url>").unwrap().0);
        let path = |url: &str| url[url.find("/nfc").unwrap()..].to_owned();
        (lease, urls.map(path).collect())
    }
}

fn parse(bytes: &[u8], ended: bool) -> Answer {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let Some(end) = end else {
        return Answer { status: 0, headers: HashMap::new(), body: Vec::new(), whole: false };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let rest = &bytes[end + 4..];
    let (body, whole) = match headers.get("transfer-encoding") {
        Some(_) => unchunk(rest),
        None => {
            let len = headers.get("content-length").and_then(|len| len.parse().ok());
            (rest.to_vec(), len.is_none_or(|len: usize| len == rest.len()))
        }
    };
    Answer { status, headers, body, whole: whole && ended }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|part| part == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let data = &rest[line + 2..];
        if data.len() < size + 2 {
            body.extend_from_slice(data);
            break;
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
    (body, false)
}

/// Waits until something is so; fails when that takes too long.
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The path of the flat disk of a machine.
pub fn flat(machine: &str) -> String {
    format!("/folder/{machine}/{machine}-flat.vmdk?dcPath=DC0&dsName=datastore1")
}
