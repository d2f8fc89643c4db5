//! `xtask flags`: every flag has a test that fails when the flag does nothing.
//!
//! The test of `--min-cpus` has `flag_min_cpus` in its name and stands in the tool's `tests`
//! folder; one test may stand for several flags (`flag_path_and_flag_title`). Each flag is
//! neutralised in turn (`HYPER_NEUTRALISE`, debug builds only) and its tests are run: at least
//! one must then fail. Tests start their tool with an environment of their own and pass that
//! variable on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hyper_common::error::{Error, ErrorKind, Result};

use crate::{commands, io, say};

/// Checks the flags of every tool, or of one.
///
/// # Errors
/// `Integrity` when a flag has no test or one that passes without it; each is printed. `Io`.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let (mut passed, mut failed) = (0, 0);
    for (tool, command) in commands() {
        if tool == "hyper" || only.is_some_and(|only| only != tool) {
            continue;
        }
        let folder = root.join("tools").join(tool);
        let programs = build(root, tool)?.into_iter().map(|path| Tests::of(path, &folder));
        let programs = programs.collect::<Result<Vec<_>>>()?;
        for flag in flags(&command) {
            match judge(&folder, &programs, &flag)? {
                None => passed += 1,
                Some(fault) => {
                    failed += 1;
                    say(&format!("{tool} --{flag}: {fault}"));
                }
            }
        }
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

/// Builds the tests of a tool; the programs that hold those of its `tests` folder.
fn build(root: &Path, tool: &str) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--no-run", "--package", tool, "--test", "*"])
        .current_dir(root)
        .stdout(Stdio::null())
        .output();
    let output = io(output, "build the tests", Path::new(tool))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(Error::new(ErrorKind::Internal, "the tests do not build")
            .with_subject(tool)
            .with_hint(format!("cargo test --package {tool}")));
    }
    // Cargo says `Executable tests/x.rs (target/debug/deps/x-0123)`.
    let lines = said.lines().filter(|line| line.trim_start().starts_with("Executable"));
    let paths = lines.filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'));
    Ok(paths.map(|path| root.join(path)).collect())
}

/// A program of tests, and those of its tests of flags that fail as they are.
struct Tests {
    path: PathBuf,
    failing: Vec<String>,
}

impl Tests {
    /// Runs all tests of flags once: what fails without any flag neutralised proves nothing.
    fn of(path: PathBuf, folder: &Path) -> Result<Self> {
        let output = Command::new(&path).arg("flag_").current_dir(folder).output();
        let text = io(output, "run the tests", &path)?.stdout;
        let text = String::from_utf8_lossy(&text);
        let failed =
            |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
        Ok(Self { failing: text.lines().filter_map(failed).collect(), path })
    }
}

/// What is wrong with the tests of a flag, if anything is.
fn judge(folder: &Path, programs: &[Tests], flag: &str) -> Result<Option<&'static str>> {
    let filter = format!("flag_{}", flag.replace('-', "_"));
    let mut ran = false;
    for Tests { path, failing } in programs {
        if failing.iter().any(|name| name.contains(&filter)) {
            return Ok(Some("its test fails as it is"));
        }
        let mut command = Command::new(path);
        command.arg(&filter).current_dir(folder).env("HYPER_NEUTRALISE", format!("--{flag}"));
        let output = io(command.output(), "run the tests", path)?;
        if String::from_utf8_lossy(&output.stdout).contains("running 0 tests") {
            continue;
        }
        ran = true;
        if !output.status.success() {
            return Ok(None);
        }
    }
    Ok(Some(if ran { "its test passes without it" } else { "no test has it in its name" }))
}
