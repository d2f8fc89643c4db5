//! A folder to work in, the program, and `qemu-img`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A user's home, which is also the folder where images are.
pub struct Place {
    root: tempfile::TempDir,
}

/// What a program left.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Asserts the exit status.
    #[track_caller]
    pub fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Place {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.at(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.at(name)).unwrap()
    }

    /// The program, with nothing of the caller's environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-image"));
        command.args(args).env_clear().env("HOME", self.root()).env("TZ", "UTC");
        // How each test named after a flag is proved to notice that the flag does nothing.
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.current_dir(self.root()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    /// Runs it with records as JSON, asked for in the environment, so that they can be read
    /// whichever flag is neutralised.
    pub fn json(&self, args: &[&str]) -> Done {
        self.command(args).env("HYPER_OUTPUT", "json").output().unwrap().into()
    }

    /// Runs it with `input` on standard input; what it gives is raw bytes.
    pub fn fed(&self, args: &[&str], input: Vec<u8>) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env("HYPER_OUTPUT", "json").spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // It may end before it has read all of it.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output
    }

    /// Runs `qemu-img`.
    pub fn try_qemu(&self, args: &[&str]) -> Done {
        let program = std::env::var_os("HYPER_TB_QEMU_IMG").unwrap_or_else(|| "qemu-img".into());
        let output = Command::new(&program).args(args).current_dir(self.root()).output();
        assert!(output.is_ok(), "{} cannot be run: use scripts/test", program.display());
        output.unwrap().into()
    }

    /// Runs `qemu-img`, which must succeed; what it says.
    #[track_caller]
    pub fn qemu(&self, args: &[&str]) -> String {
        self.try_qemu(args).ends(0).out
    }

    /// What `qemu-img info` says.
    #[track_caller]
    pub fn info(&self, name: &str) -> Value {
        serde_json::from_str(&self.qemu(&["info", "--output=json", name])).unwrap()
    }

    /// Asserts that `qemu-img` reads the same from both.
    #[track_caller]
    pub fn same(&self, formats: [&str; 2], names: [&str; 2]) {
        let done =
            self.try_qemu(&["compare", "-f", formats[0], "-F", formats[1], names[0], names[1]]);
        assert_eq!(done.status, 0, "{names:?}: {}{}", done.out, done.err);
    }

    /// The files in the folder, hidden ones left out.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that compress to about a quarter, with matches far back.
pub fn words(seed: u64, len: usize) -> Vec<u8> {
    let pool = noise(seed, 16 << 10);
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % (pool.len() - 48);
        bytes.extend(&pool[at..at + 16 + (state >> 60) as usize]);
    }
    bytes.truncate(len);
    bytes
}

/// A disk of `len` bytes with something of each kind: text, noise, zeros, data in the last sector.
pub fn mixed(len: usize) -> Vec<u8> {
    let mut disk = vec![0; len];
    let part = len / 4;
    disk[..part].copy_from_slice(&words(7, part));
    disk[part..2 * part].copy_from_slice(&noise(9, part));
    let last = len - len.min(300);
    disk[last..].fill(0xa5);
    disk
}
