//! The serial line, and what all verbs have in common.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::cluster::{self, program};
use crate::lab::{Lab, Serving, TALK, text};

#[test]
fn flag_expect_and_flag_send() {
    let lab = Lab::new();
    let output = lab.run(&[&["web01"], &TALK[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("root@web01:~# "), "{output:?}");
    // The same order of values, in another order of steps: nothing answers before it is asked.
    let early = ["--expect", "login: ", "--send", r"\r", "--timeout", "500ms"];
    let (status, words) = lab.status(&[&["web01"], &early[..]].concat());
    assert_eq!(status, Some(11), "{words}");
    assert!(words.contains(r#"writes "login: ""#) && words.contains(r"--send '\r'"), "{words}");
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
    // Where that lasts, a script's reader hears of it as well.
    let lab = Lab::new();
    lab.fault("console", "max=1,cut=60");
    lab.fault("console", "max=5,status=503");
    let (status, words) = lab.status(&[&["web01", "-v"], &TALK[..]].concat());
    assert_eq!(status, Some(0), "{words}");
    assert_eq!(words.matches("the connection is lost (").count(), 1, "{words}");
    assert_eq!(words.matches("the connection is back").count(), 1, "{words}");
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
    let typist = include_str!("../../../hyper-vm/tests/lab/typist.py");
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
fn input_that_is_no_terminal_is_typed_to_its_end() {
    let lab = Lab::new();
    let mut child =
        lab.start(&["web01", "--timeout", "30s"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\r").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("login: "), "{output:?}");
    let (status, words) = lab.status(&["web01", "--timeout", "30s"]);
    assert_eq!(status, Some(0), "nothing to type: {words}");
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
    let wait = ["web01", "--expect", "never", "--timeout", "2s"];
    let (status, plain) = lab.status(&wait);
    assert_eq!(status, Some(11), "{plain}");
    let (_, much) = lab.status(&[&wait[..], &["-v"]].concat());
    assert!(much.contains("connected") && !plain.contains("connected"), "{much}");
    let typist = include_str!("../../../hyper-vm/tests/lab/typist.py");
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

#[test]
fn flag_resize() {
    let lab = Lab::new();
    let python = program("HYPER_TB_PYTHON", "python3").display().to_string();
    let program = env!("CARGO_BIN_EXE_hyper-console");
    let record = lab.at("sizes.cast").display().to_string();
    let own = [program, "serial", "web01", "-c", "hyper-sim", "-n", &lab.space, "--resize"];
    let script = include_str!("resize.py");
    let args = [&["-c", script], &own[..], &["--record", &record]].concat();
    let output = lab.command(&python, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let file = std::fs::read_to_string(record).unwrap();
    let lines = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert_eq!((&lines[0]["width"], &lines[0]["height"]), (&100.into(), &30.into()));
    let sizes: Vec<_> = lines[1..].iter().filter(|line| line[1] == "r").collect();
    assert_eq!(sizes.len(), 1, "{file}");
    assert_eq!(sizes[0][2], "132x50");
}
