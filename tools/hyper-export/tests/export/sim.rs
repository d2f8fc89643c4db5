//! A simulated vCenter, and the user who exports from it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::disks::{noise, raw, soft, stream_vmdk};
use crate::user::User;

/// Guest bytes of the two disks of `web01`. The second one ends inside a grain.
pub const SIZES: [usize; 2] = [5 << 20, (2 << 20) + 4096];

/// `hyper-sim vsphere` at work.
pub struct Sim {
    child: Child,
    log: PathBuf,
    place: String,
    esx: bool,
    pub env: Vec<(String, String)>,
}

/// A vCenter with the machine `web01`, and what its disks hold.
pub struct Lab {
    pub user: User,
    pub sim: Sim,
    pub disks: Vec<Vec<u8>>,
}

impl Lab {
    pub fn new(flags: &[&str]) -> Self {
        let user = User::new();
        let mut first = soft(SIZES[0], 61);
        first[1 << 20..2 << 20].fill(0);
        let disks = vec![first, noise(SIZES[1], 62)];
        for (name, bytes) in ["a.raw", "b.raw"].iter().zip(&disks) {
            raw(&user.at(name), bytes);
        }
        Self::serving(user, disks, ["a.raw", "b.raw"], flags)
    }

    /// The same with disks whose streams have their tables in front, as qemu-img writes them.
    pub fn with_tables_in_front(flags: &[&str]) -> Self {
        let user = User::new();
        let disks = vec![noise(SIZES[0], 63), noise(SIZES[0], 64)];
        for (name, bytes) in ["a.vmdk", "b.vmdk"].iter().zip(&disks) {
            stream_vmdk(&user.at(name), bytes);
        }
        Self::serving(user, disks, ["a.vmdk", "b.vmdk"], flags)
    }

    fn serving(mut user: User, disks: Vec<Vec<u8>>, files: [&str; 2], flags: &[&str]) -> Self {
        let [first, second] = files.map(|name| user.at(name).display().to_string());
        let machine = format!("web01={first},{second}");
        let sim = Sim::start(&user.at("sim.log"), &[&["--vm", &machine], flags].concat());
        user.env.clone_from(&sim.env);
        Self { user, sim, disks }
    }

    /// The arguments of an export of the machine to `out`.
    pub fn args<'a>(flags: &[&'a str]) -> Vec<&'a str> {
        [&["govc:web01", "--to", "out"], flags].concat()
    }
}

impl Sim {
    fn start(log: &Path, flags: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_hyper-export")).with_file_name("hyper-sim");
        assert!(program.exists(), "{} is not built: run cargo test --workspace", program.display());
        let mut child = Command::new("env")
            .arg("--default-signal=INT,TERM")
            .arg(program)
            .args(["vsphere", "--plain", "-v"])
            .args(flags)
            .env_clear()
            .env("HOME", log.parent().unwrap())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        let mut env = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !env.iter().any(|(name, _)| name == "GOVC_PASSWORD") {
            let line = lines.next().unwrap().unwrap();
            if let Some((name, value)) = line.trim_start_matches("export ").split_once('=') {
                env.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            }
        }
        // Whatever else it prints must find a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let url = &env.iter().find(|(name, _)| name == "GOVC_URL").unwrap().1;
        let place = url.split('/').nth(2).unwrap().to_owned();
        Self { child, log: log.to_owned(), place, esx: flags.contains(&"--esx"), env }
    }

    /// The requests so far, a line each.
    pub fn requests(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// How many requests hold `text`.
    pub fn count(&self, text: &str) -> usize {
        self.requests().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `count` lines of requests hold `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str, count: usize) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.count(text) < count {
            assert!(std::time::Instant::now() < end, "no {text:?}: {}", self.requests());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Fails where a lease or a snapshot was made and not ended.
    #[track_caller]
    pub fn is_clean(&self) {
        let leases = self.count("ExportVm on") + self.count("ExportSnapshot on");
        let ended = self.count("HttpNfcLeaseAbort") + self.count("HttpNfcLeaseComplete");
        assert!(leases <= ended, "{}", self.requests());
        assert_eq!(self.snapshots(), [""; 0], "{}", self.requests());
    }

    /// The names of all snapshots of `web01`.
    pub fn snapshots(&self) -> Vec<String> {
        let spec = "<specSet><propSet><type>VirtualMachine</type><all>false</all>\
                    <pathSet>snapshot</pathSet></propSet><objectSet>\
                    <obj type=\"VirtualMachine\">VM</obj></objectSet></specSet><options/>";
        let body = spec.replace("VM", &self.machine());
        let answer = self.call(
            "RetrievePropertiesEx",
            "PropertyCollector",
            &self.manager("propertyCollector"),
            &body,
        );
        let parts = answer.split("<name>").skip(1).filter_map(|part| part.split("</name>").next());
        parts.filter(|name| *name != "snapshot").map(str::to_owned).collect()
    }

    /// Makes a snapshot of `web01` and waits a moment for it.
    pub fn snapshot(&self, name: &str) {
        let body = format!("<name>{name}</name><memory>false</memory><quiesce>false</quiesce>");
        let before = self.snapshots().len();
        self.call("CreateSnapshot_Task", "VirtualMachine", &self.machine(), &body);
        while self.snapshots().len() == before {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The identifier of `web01`.
    fn machine(&self) -> String {
        let top = if self.esx { "ha-datacenter" } else { "DC0" };
        let body = format!("<inventoryPath>/{top}/vm/web01</inventoryPath>");
        let index = self.manager("searchIndex");
        let answer = self.call("FindByInventoryPath", "SearchIndex", &index, &body);
        between(&answer, "VirtualMachine\">", "<").unwrap_or_else(|| panic!("{answer}"))
    }

    fn manager(&self, name: &str) -> String {
        let content =
            self.post("RetrieveServiceContent", "ServiceInstance", "ServiceInstance", "", "");
        let part = between(&content, &format!("<{name}"), &format!("</{name}>")).unwrap();
        part.split('>').nth(1).unwrap().to_owned()
    }

    fn call(&self, method: &str, kind: &str, id: &str, body: &str) -> String {
        let login = "<userName>user</userName><password>pass</password>";
        let manager = self.manager("sessionManager");
        let head = self.post("Login", "SessionManager", &manager, login, "");
        let cookie = between(&head, "vmware_soap_session=", ";").unwrap();
        self.post(method, kind, id, body, &cookie)
    }

    /// A call as plain as it can be: no code is shared with what is tested.
    fn post(&self, method: &str, kind: &str, id: &str, body: &str, cookie: &str) -> String {
        let text = format!(
            "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body>\
             <{method} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{body}</{method}>\
             </Body></Envelope>"
        );
        let head = format!(
            "POST /sdk HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\
             Cookie: vmware_soap_session={cookie}\r\nConnection: close\r\n\r\n",
            self.place,
            text.len()
        );
        let mut stream = TcpStream::connect(&self.place).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0.to_owned())
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
