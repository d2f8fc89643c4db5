//! `xtask flags`: every flag has a test that fails when the flag does nothing.
//!
//! The test of `--min-cpus` has `flag_min_cpus` in its name and stands in the tool's `tests`
//! folder; one test may stand for several flags (`flag_path_and_flag_title`). Each flag is
//! neutralised in turn (`HYPER_NEUTRALISE`, debug builds only) and its tests are run: at least
//! one must then fail, or not end in time. Tests start their tool with an environment of their
//! own and pass that variable on.
//!
//! The programs of tests are those of `cargo test --workspace`, so that nothing is built twice,
//! and a few flags are judged at a time: tests mostly wait for servers.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper_common::error::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{commands, io, say};

/// Flags judged at the same time; their tests wait more than they work.
const AT_A_TIME: usize = 4;
/// How long the tests of one program may take. What waits for ever without its flag is
/// noticed; a test that takes this long with it is too slow for a test.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a program that runs is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Checks the flags of every tool, or of one.
///
/// # Errors
/// `Integrity` when a flag has no test or one that passes without it; each is printed. `Io`.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let mut built = build(root)?;
    let (mut passed, mut failed) = (0, 0);
    for (tool, command) in commands() {
        if tool == "hyper" || only.is_some_and(|only| only != tool) {
            continue;
        }
        let started = Instant::now();
        let programs = built.remove(tool).unwrap_or_default();
        let folder = root.join("tools").join(tool);
        let programs = programs.into_iter().map(|path| Tests::of(path, &folder));
        let programs = programs.collect::<Result<Vec<_>>>()?;
        let flags: Vec<_> = flags(&command).into_iter().collect();
        let faults = judge_all(&programs, &flags)?;
        for (flag, fault) in &faults {
            say(&format!("{tool} --{flag}: {fault}"));
        }
        let took = started.elapsed().as_secs();
        say(&format!("{tool}: {} flags, {} faults ({took} s)", flags.len(), faults.len()));
        passed += flags.len() - faults.len();
        failed += faults.len();
    }
    // scripts/test adds it up.
    say(&format!("{passed} passed, {failed} failed"));
    if failed == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Integrity, format!("{failed} flags are not tested")))
}

/// The long names of a tool's flags, help and version left out: those are clap's.
fn flags(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_long());
    let mut names: BTreeSet<_> = own.map(str::to_owned).collect();
    names.extend(command.get_subcommands().flat_map(flags));
    names.remove("help");
    names.remove("version");
    names
}

/// Builds all tests; by tool, the programs that hold those of its `tests` folder.
fn build(root: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--workspace", "--no-run", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::null())
        .output();
    let output = io(output, "build the tests", root)?;
    if !output.status.success() {
        return Err(Error::new(ErrorKind::Internal, "the tests do not build")
            .with_hint("cargo test --workspace --no-run"));
    }
    let mut built = BTreeMap::<_, Vec<PathBuf>>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
        let tool = folder.and_then(|folder| folder.file_name()?.to_str());
        let program = message["executable"].as_str();
        if let (Some(tool), Some(program), Some("test")) =
            (tool, program, message["target"]["kind"][0].as_str())
        {
            built.entry(tool.to_owned()).or_default().push(PathBuf::from(program));
        }
    }
    Ok(built)
}

/// A program of tests.
struct Tests {
    path: PathBuf,
    folder: PathBuf,
    /// Its tests of flags.
    names: Vec<String>,
    /// Those of them that fail as they are: they prove nothing.
    failing: Vec<String>,
}

impl Tests {
    /// Lists the tests of flags and runs them once as they are.
    fn of(path: PathBuf, folder: &Path) -> Result<Self> {
        let run = |arguments: &[&str]| {
            let output = Command::new(&path).args(arguments).current_dir(folder).output();
            let output = io(output, "run the tests", &path)?;
            Ok::<_, Error>(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let listed = |text: &str, end: &str| -> Vec<String> {
            let names = text.lines().filter_map(|line| line.strip_suffix(end));
            names.map(|name| name.trim_start_matches("test ").to_owned()).collect()
        };
        let names = listed(&run(&["flag_", "--list"])?, ": test");
        let mut failing = Vec::new();
        if !names.is_empty() {
            let said = run(&["flag_"])?;
            failing = listed(&said, " ... FAILED");
            if !failing.is_empty() {
                say(&said);
            }
        }
        Ok(Self { path, folder: folder.to_owned(), names, failing })
    }

    /// Whether its tests of a flag notice that the flag does nothing.
    fn notice(&self, flag: &str) -> Result<bool> {
        let mut child = Command::new(&self.path);
        let child = child
            .arg(test_of(flag))
            .current_dir(&self.folder)
            .env("HYPER_NEUTRALISE", format!("--{flag}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut child = io(child, "run the tests", &self.path)?;
        let started = Instant::now();
        loop {
            if let Some(status) = io(child.try_wait(), "wait for the tests", &self.path)? {
                return Ok(!status.success());
            }
            if started.elapsed() > PATIENCE {
                end(&mut child);
                return Ok(true);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// Ends a program of tests with all that it has started.
fn end(child: &mut Child) {
    // Whoever has ended meanwhile needs no end.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// What is wrong with the tests of flags, a few flags at a time.
fn judge_all(programs: &[Tests], flags: &[String]) -> Result<Vec<(String, &'static str)>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<_>> {
        let mut faults = Vec::new();
        while let Some(flag) = flags.get(next.fetch_add(1, Ordering::Relaxed)) {
            faults.extend(judge(programs, flag)?.map(|fault| (flag.clone(), fault)));
        }
        Ok(faults)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let mut faults = Vec::new();
        for worker in workers {
            let found = worker.join().map_err(|_| Error::new(ErrorKind::Internal, "a worker died"));
            faults.extend(found??);
        }
        faults.sort();
        Ok(faults)
    })
}

/// What the name of a flag's test has in it.
fn test_of(flag: &str) -> String {
    format!("flag_{}", flag.replace('-', "_"))
}

/// What is wrong with the tests of a flag, if anything is.
fn judge(programs: &[Tests], flag: &str) -> Result<Option<&'static str>> {
    let test = test_of(flag);
    let any = |names: &[String]| names.iter().any(|name| name.contains(&test));
    if programs.iter().any(|tests| any(&tests.failing)) {
        return Ok(Some("its test fails as it is"));
    }
    let mut fault = "no test has it in its name";
    for tests in programs.iter().filter(|tests| any(&tests.names)) {
        if tests.notice(flag)? {
            return Ok(None);
        }
        fault = "its test passes without it";
    }
    Ok(Some(fault))
}
