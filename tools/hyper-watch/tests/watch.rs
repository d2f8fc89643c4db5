//! `hyper-watch` as a process, against a real API server whose objects kubectl changes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod kubernetes;
mod watching;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use kubernetes::{CONTEXT, Cluster, instance, machine};
use serde_json::{Value, json};
use watching::Watching;

fn command(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-watch"));
    let home = cluster.kubeconfig.parent().unwrap();
    command.args(args).env_clear().env("HOME", home).env("KUBECONFIG", &cluster.kubeconfig);
    command.env("PATH", "/usr/bin:/bin");
    // How each test named after a flag is proved to notice that the flag does nothing.
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end, which is near.
fn run(cluster: &Cluster, args: &[&str]) -> Output {
    let inner = command(cluster, args);
    let mut command = Command::new("timeout");
    command.arg("20").arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names that a watch has told when all are there.
fn names(cluster: &Cluster, args: &[&str], last: &str) -> Vec<String> {
    let mut all = args.to_vec();
    let until = format!("name={last}");
    all.extend(["-o", "ndjson", "--timeout", "8"]);
    if !last.is_empty() {
        all.extend(["--until", &until]);
    }
    let output = run(cluster, &all);
    let lines = text(&output.stdout);
    let of = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["vm"]["name"].as_str().unwrap_or_default().to_owned()
    };
    lines.lines().map(of).collect()
}

#[test]
fn what_kubectl_changes_is_told_once_and_in_order() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Stopped"));
    let mut watch = Watching::start(command(cluster, &["-n", &namespace]));
    watch.expect("ADDED", "a", "Stopped");
    cluster.apply(&machine(&namespace, "a", 2, 2, "Starting"));
    watch.expect("MODIFIED", "a", "Starting");
    // What no field of the record shows is no change of it.
    cluster.kubectl(&["annotate", "-n", &namespace, "virtualmachine/a", "x=y"]);
    cluster.apply(&machine(&namespace, "b", 2, 2, "Stopped"));
    watch.expect("ADDED", "b", "Stopped");
    cluster.apply(&instance(&namespace, "a", "node-1"));
    watch.expect("MODIFIED", "a", "Starting");
    cluster.kubectl(&["delete", "-n", &namespace, "virtualmachine/b"]);
    watch.expect("DELETED", "b", "Stopped");
}

#[test]
fn a_server_that_restarts_and_forgets_loses_and_doubles_nothing() {
    let cluster = Cluster::start();
    let namespace = cluster.namespace();
    for name in ["changed", "gone", "same"] {
        cluster.apply(&machine(&namespace, name, 2, 2, "Stopped"));
    }
    let mut watch = Watching::start(command(&cluster, &["-n", &namespace]));
    for name in ["changed", "gone", "same"] {
        watch.expect("ADDED", name, "Stopped");
    }
    // A restart while nothing happens: the watch goes on where it was.
    cluster.restart();
    cluster.apply(&machine(&namespace, "changed", 2, 2, "Starting"));
    let mut told = watch.next();
    let mut relists = 0;
    while told.0 == "RELISTED" {
        relists += 1;
        told = watch.next();
    }
    assert_eq!(told, ("MODIFIED".to_owned(), "changed".to_owned(), "Starting".to_owned()));
    // One that forgets what happened while nobody listened (410): all is listed again, and what
    // differs is told, each once.
    watch.signal("STOP");
    // Its connection ends before anything happens, so that nothing waits for it in the socket, and
    // the server that it comes back to has begun after all of it.
    cluster.restart();
    cluster.apply(&machine(&namespace, "changed", 2, 2, "Running"));
    cluster.kubectl(&["delete", "-n", &namespace, "virtualmachine/gone"]);
    cluster.apply(&machine(&namespace, "new", 2, 2, "Stopped"));
    cluster.restart();
    watch.signal("CONT");
    let mut rest = Vec::new();
    while rest.len() < 3 {
        let (event, name, _) = watch.next();
        if event == "RELISTED" {
            relists += 1;
        } else {
            rest.push((event, name));
        }
    }
    rest.sort();
    let expected = [("ADDED", "new"), ("DELETED", "gone"), ("MODIFIED", "changed")]
        .map(|(event, name)| (event.to_owned(), name.to_owned()));
    assert_eq!(rest, expected);
    assert!(relists > 0, "the list that was made again is told");
    cluster.apply(&machine(&namespace, "last", 2, 2, "Stopped"));
    watch.expect("ADDED", "last", "Stopped");
    // A kind that is gone for good ends it, after a while in which it could have come back.
    cluster.kubectl(&["delete", "crd", "virtualmachines.kubevirt.io"]);
    for _ in 0..4 {
        assert_eq!(watch.next().0, "DELETED");
    }
    assert_eq!(watch.end(), Some(5));
}

#[test]
fn flag_until_ends_a_watch_and_flag_timeout_as_well() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Running"));
    cluster.apply(&machine(&namespace, "b", 2, 2, "Stopped"));
    let until = |condition: &str, more: &[&str]| {
        let mut args = vec!["-n", &namespace, "--until", condition, "--timeout", "2"];
        args.extend(more);
        status(&run(cluster, &args))
    };
    assert_eq!(until("status=running", &["a"]), 0);
    assert_eq!(until("status=Running", &[]), 11, "b does not run");
    assert_eq!(until("status=running", &["--match", "a"]), 0);
    assert_eq!(until("deleted", &["a"]), 11);
    assert_eq!(until("deleted", &["nobody"]), 0);
    assert_eq!(until("status=running", &["nobody"]), 5);
    assert_eq!(until("running", &[]), 2);
    assert_eq!(until("gest_os=linux", &[]), 2);
}

#[test]
fn flag_exec_runs_a_command_with_what_happened() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Running"));
    let line = "echo \"$HYPER_EVENT $HYPER_VM $HYPER_NAMESPACE $HYPER_CONTEXT $HYPER_STATUS\"; cat";
    let args = ["-n", &namespace, "--until", "name=a", "--exec", line, "-o", "name"];
    let output = run(cluster, &args);
    let said = text(&output.stderr);
    assert_eq!(status(&output), 0, "{said}");
    assert!(said.contains(&format!("ADDED a {namespace} {CONTEXT} Running")), "{said}");
    assert!(said.contains("\"schema\":\"hyper.vm_change/v1\""), "{said}");
    assert_eq!(text(&output.stdout), format!("{CONTEXT}:@{namespace}/a\n"));
    let failing = ["-n", &namespace, "--until", "name=a", "--exec", "exit 3"];
    assert_eq!(status(&run(cluster, &failing)), 10);
}

#[test]
fn flag_namespace_and_flag_all_namespaces_and_flag_context_and_flag_kubeconfig() {
    let cluster = Cluster::shared();
    let (first, second) = (cluster.namespace(), cluster.namespace());
    cluster.apply(&machine(&first, "a", 2, 2, "Running"));
    cluster.apply(&machine(&second, "b", 2, 2, "Running"));
    assert_eq!(names(cluster, &["-n", &first], "a"), ["a"]);
    let all = names(cluster, &["-A", "--match", &format!("namespace={second}")], "b");
    assert_eq!(all, ["b"]);
    assert_eq!(names(cluster, &["--context", CONTEXT, &format!("{first}/a")], "a"), ["a"]);
    let file = cluster.kubeconfig.display().to_string();
    let mut alone = command(cluster, &["--kubeconfig", &file, "-n", &first, "--until", "name=a"]);
    let output = alone.env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().unwrap();
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
}

#[test]
fn flag_all_contexts_follows_every_platform_that_can_be() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Running"));
    // Files cannot be followed, and are among all contexts.
    let output = run(cluster, &["--all-contexts", "-n", &namespace, "--until", "name=a"]);
    assert_eq!(status(&output), 7, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("local"));
}

#[test]
fn flag_match_and_flag_invert_match_and_flag_status_and_flag_min_cpus_and_flag_min_memory() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "large", 8, 16, "Running"));
    cluster.apply(&machine(&namespace, "small", 1, 1, "CrashLoopBackOff"));
    let seen = |flags: &[&str], last: &str| {
        let mut args = vec!["-n", &namespace];
        args.extend(flags);
        names(cluster, &args, last)
    };
    assert_eq!(seen(&["--match", "sm*"], "small"), ["small"]);
    assert_eq!(seen(&["--match", "sm*", "--invert-match"], "large"), ["large"]);
    assert_eq!(seen(&["--status", "RUNNING"], "large"), ["large"]);
    assert_eq!(seen(&["--status", "crashloopbackoff"], "small"), ["small"]);
    assert_eq!(seen(&["--min-cpus", "2"], "large"), ["large"]);
    assert_eq!(seen(&["--min-memory", "2Gi"], "large"), ["large"]);
}

#[test]
fn flag_selector_and_flag_node() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    for name in ["a", "b"] {
        cluster.apply(&machine(&namespace, name, 2, 2, "Running"));
        cluster.apply(&instance(&namespace, name, &format!("node-{name}")));
    }
    assert_eq!(names(cluster, &["-n", &namespace, "-l", "name=b"], "b"), ["b"]);
    assert_eq!(names(cluster, &["-n", &namespace, "--node", "node-a"], "a"), ["a"]);
    // One that loses its label is gone for this watch.
    let mut watch = Watching::start(command(cluster, &["-n", &namespace, "-l", "name in (a)"]));
    watch.expect("ADDED", "a", "Running");
    cluster.kubectl(&["label", "--overwrite", "-n", &namespace, "virtualmachine/a", "name=c"]);
    watch.expect("DELETED", "a", "Running");
}

#[test]
fn flag_created_after_and_flag_created_before_and_flag_updated_after_and_flag_updated_before() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Running"));
    let count = |flag: &str, when: &str| {
        let args = ["-n", &namespace, flag, when, "--timeout", "2", "-o", "name"];
        text(&run(cluster, &args).stdout).lines().count()
    };
    for (after, before) in
        [("--created-after", "--created-before"), ("--updated-after", "--updated-before")]
    {
        assert_eq!(count(after, "1h"), 1);
        assert_eq!(count(after, "2100-01-01"), 0);
        assert_eq!(count(before, "1h"), 0);
    }
}

#[test]
fn flag_output_and_flag_quiet_and_flag_verbose() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Running"));
    let of = |flags: &[&str]| {
        let mut args = vec!["-n", &namespace, "--until", "name=a"];
        args.extend(flags);
        run(cluster, &args)
    };
    let csv = text(&of(&["-o", "csv"]).stdout);
    assert!(csv.starts_with("time,event,name,namespace,status"), "{csv}");
    assert!(text(&of(&["-vv"]).stderr).contains("/virtualmachines"));
    assert_eq!(text(&of(&["--quiet"]).stderr), "");
    assert_eq!(status(&of(&["--quiet", "-v"])), 2);
}

#[test]
fn what_cannot_be_followed_says_why() {
    let cluster = Cluster::shared();
    let broken = json!({"clusters": []}).to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, broken).unwrap();
    let file = file.display().to_string();
    let output = run(cluster, &["--kubeconfig", &file]);
    assert_eq!(status(&output), 3, "{}", text(&output.stderr));
    let dead = "current-context: x\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:9'}}]\n\
         contexts: [{name: x, context: {cluster: x, user: ''}}]\n";
    std::fs::write(&file, dead).unwrap();
    let output = run(cluster, &["--kubeconfig", &file]);
    assert_eq!(status(&output), 8, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("127.0.0.1:9"));
    let output = run(cluster, &["-n", "no-such-place"]);
    assert_eq!(status(&output), 5, "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_goes_away_ends_a_watch_in_which_nothing_happens() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "a", 2, 2, "Stopped"));
    let mut command =
        command(cluster, &["-n", &namespace, "-o", "ndjson", "--timeout", "60", "-c", CONTEXT]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // The pipe is closed after it.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("ADDED"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
