//! The frame as a process: this program is a tool made for the purpose when it is called with
//! `FRAME_PROBE` set, and otherwise the judge that calls it.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, reason = "a test")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use hyper_common::config::Config;
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::output::{Cell, Column, Record};
use hyper_common::tool::flags::{ContextFlags, OutputFlags, ProgressFlags, TimeoutFlags};
use hyper_common::tool::{self, Context, Example, Tool};
use serde::Serialize;

#[derive(Debug, clap::Args)]
struct ProbeArgs {
    /// What to do
    act: String,
    /// Set something
    #[arg(long)]
    format: Option<String>,
    /// Destroy something
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    contexts: ContextFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    progress: ProgressFlags,
    #[command(flatten)]
    timeout: TimeoutFlags,
}

#[derive(Debug, Serialize)]
struct Told {
    format: Option<String>,
    overwrite: bool,
}

impl Record for Told {
    const SCHEMA: &'static str = "hyper.probe/v1";
    const COLUMNS: &'static [Column] = &[Column::text("format", "FORMAT")];
    fn cells(&self) -> Vec<Cell> {
        vec![self.format.clone().into()]
    }
    fn name(&self) -> String {
        self.format.clone().unwrap_or_default()
    }
}

struct Probe;

impl Tool for Probe {
    const NAME: &'static str = "hyper-probe";
    const EXAMPLES: &'static [Example] = &[Example { what: "Tell", line: "hyper probe tell" }];
    type Args = ProbeArgs;
    type Request = (String, Option<String>, bool);

    fn references(args: &ProbeArgs) -> Vec<String> {
        args.act.strip_prefix("at:").map(str::to_owned).into_iter().collect()
    }

    fn request(args: ProbeArgs, config: &Config) -> Result<Self::Request> {
        args.contexts.select(config)?;
        Ok((args.act, args.format, args.overwrite))
    }

    async fn run((act, format, overwrite): Self::Request, cx: &mut Context) -> Result<()> {
        match act.as_str() {
            "fail" => Err(Error::conflict("it is\nthere").with_subject("x\u{1b}").with_hint("go")),
            "panic" => panic!("no such luck"),
            "thread" => {
                let _ = std::thread::spawn(|| panic!("in a thread")).join();
                Ok(())
            }
            "wait" => {
                let _leftover = cx.cancel.leftover("half.part");
                println!("ready");
                cx.cancel.cancelled().await;
                std::thread::sleep(Duration::from_millis(300));
                cx.remarks.say("cleaned up");
                cx.cancel.check()
            }
            "stuck" => {
                let _leftover = cx.cancel.leftover("half.part");
                println!("ready");
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            "many" => {
                let mut list = cx.printer.list();
                for _ in 0..200_000 {
                    list.push(&Told { format: Some("x".repeat(40)), overwrite })?;
                }
                list.finish()
            }
            _ => cx.printer.one(&Told { format, overwrite }),
        }
    }
}

fn main() -> ExitCode {
    if std::env::var_os("FRAME_PROBE").is_some() {
        return tool::main::<Probe>();
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let checks: [(&str, fn()); 9] = [
        ("errors_are_one_line_and_hints", errors_are_one_line_and_hints),
        ("values_come_in_layers", values_come_in_layers),
        ("mistakes_end_with_two", mistakes_end_with_two),
        ("a_wrong_configuration_ends_with_three", a_wrong_configuration_ends_with_three),
        ("panics_end_with_seventy", panics_end_with_seventy),
        ("the_first_signal_cleans_up", the_first_signal_cleans_up),
        ("the_second_signal_leaves", the_second_signal_leaves),
        ("a_timeout_ends_with_eleven", a_timeout_ends_with_eleven),
        ("a_closed_pipe_is_no_failure", a_closed_pipe_is_no_failure),
    ];
    for (name, check) in checks {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            check();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// The probe with nothing of the caller's environment.
fn probe(args: &[&str]) -> Command {
    let home = std::env::temp_dir().join("hyper-frame-no-such-home");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env("FRAME_PROBE", "1").env("HOME", home).args(args);
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn errors_are_one_line_and_hints() {
    let (status, out, err) = run(&mut probe(&["fail"]));
    assert_eq!((status, out.as_str()), (6, ""));
    assert_eq!(err, "hyper-probe: x\\u{1b}: it is there\nhint: go\n");
    let (status, _, err) = run(&mut probe(&["fail", "-o", "json"]));
    assert_eq!(status, 6);
    assert!(err.starts_with(r#"{"schema":"hyper.error/v1","kind":"conflict","exit_status":6"#));
    assert_eq!(err.lines().count(), 1);
}

fn values_come_in_layers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let text = "defaults: {format: raw}\ncontexts:\n  lab:\n    provider: local\n    \
                defaults: {format: vmdk}\n";
    std::fs::write(&file, text).unwrap();
    let told = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = probe(args);
        command.args(["-o", "jsonpath={.format} {.overwrite}"]).env("HYPER_CONFIG", &file);
        let (status, out, err) = run(command.envs(environment.iter().copied()));
        assert_eq!((status, err.as_str()), (0, ""));
        out.trim().to_owned()
    };
    assert_eq!(told(&["tell"], &[]), "raw false");
    assert_eq!(told(&["tell", "-c", "lab"], &[]), "vmdk false");
    assert_eq!(told(&["at:lab:web"], &[]), "vmdk false");
    assert_eq!(told(&["at:local:web"], &[]), "raw false");
    assert_eq!(told(&["tell", "-c", "lab,local"], &[]), "raw false");
    let environment = [("HYPER_FORMAT", "vhd"), ("HYPER_OVERWRITE", "1")];
    assert_eq!(told(&["tell", "-c", "lab"], &environment), "vhd false");
    assert_eq!(told(&["tell", "--format", "vdi", "--overwrite"], &environment), "vdi true");
    if cfg!(debug_assertions) {
        let neutral = [("HYPER_NEUTRALISE", "--format"), ("HYPER_FORMAT", "vhd")];
        assert_eq!(told(&["tell", "-c", "lab", "--format", "vdi"], &neutral), "null false");
    }
}

fn mistakes_end_with_two() {
    let (status, out, err) = run(&mut probe(&["tell", "--formt", "x"]));
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.starts_with("hyper-probe: unexpected argument '--formt' found\nhint: "), "{err}");
    let (status, _, err) = run(&mut probe(&["tell", "--formt", "-o=json"]));
    assert!(status == 2 && err.starts_with(r#"{"schema":"hyper.error/v1","kind":"usage""#));
    let (status, _, err) = run(&mut probe(&["tell", "-o", "jsonpath={.a"]));
    assert!(status == 2 && err.contains("a `{` is not closed"), "{err}");
    let (status, out, err) = run(&mut probe(&["--help"]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with("Examples:\n  Tell:\n    hyper probe tell\n"), "{out}");
}

fn a_wrong_configuration_ends_with_three() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "\ncontxts: {}\n").unwrap();
    let (status, _, err) = run(probe(&["tell"]).env("HYPER_CONFIG", &file));
    assert_eq!(status, 3);
    assert!(err.ends_with(
        "c.yaml:2: there is no key \"contxts\" here\nhint: did you mean \"contexts\"?\n"
    ));
    let (status, ..) = run(probe(&["--help"]).env("HYPER_CONFIG", &file));
    assert_eq!(status, 0, "help is to be had");
    let (status, _, err) = run(probe(&["tell"]).env("HYPER_PROGRESS", "dots"));
    assert!(status == 3 && err.starts_with("hyper-probe: HYPER_PROGRESS: "), "{err}");
}

fn panics_end_with_seventy() {
    for (act, words) in [("panic", "no such luck"), ("thread", "in a thread")] {
        let (status, _, err) = run(&mut probe(&[act]));
        assert_eq!(status, 70);
        assert!(err.starts_with("hyper-probe: this is a bug in hyper") && err.contains(words));
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

/// Starts the probe, waits until it is ready, and sends it signals, leaving it a moment between
/// them.
fn signalled(act: &str, signals: &[&str]) -> (i32, String) {
    let mut child = probe(&[act]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    for signal in signals {
        // The shell's own: Debian's base has no program of that name.
        let line = format!("kill {signal} {}", child.id());
        let sent = Command::new("sh").args(["-c", &line]).status();
        assert!(sent.expect("sh").success());
        // Its first line says that it has seen the signal.
        stderr.read_line(&mut text).unwrap();
    }
    stderr.read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code().unwrap(), text)
}

fn the_first_signal_cleans_up() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let (status, err) = signalled("wait", &[signal]);
        assert_eq!(status, 130);
        assert_eq!(
            err,
            "hyper-probe: interrupted: cleaning up (once more to leave at once)\ncleaned up\n\
             hyper-probe: interrupted\n"
        );
    }
}

fn the_second_signal_leaves() {
    let (status, err) = signalled("stuck", &["-TERM", "-INT"]);
    assert_eq!(status, 130);
    assert!(err.ends_with("hyper-probe: may remain: half.part\n"), "{err}");
}

fn a_timeout_ends_with_eleven() {
    let (status, _, err) = run(&mut probe(&["wait", "--timeout", "0.2s"]));
    assert_eq!(status, i32::from(ErrorKind::TimedOut.exit_status()));
    assert_eq!(err, "cleaned up\nhyper-probe: the time given with --timeout has passed\n");
    let (status, _, err) = run(&mut probe(&["wait", "--timeout", "0.2s", "-q"]));
    assert!(status == 11 && !err.contains("cleaned up"), "{err}");
}

fn a_closed_pipe_is_no_failure() {
    for args in [&["many", "-o", "ndjson"][..], &["many"], &["--help"]] {
        let mut child = probe(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}
