//! `hyper-vm` against a real API server with machines of KubeVirt's kinds.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-watch/tests/kubernetes/mod.rs"]
mod kubernetes;

use std::process::{Command, Output, Stdio};

use kubernetes::{CONTEXT, Cluster, instance, machine};
use serde_json::Value;

fn run(cluster: &Cluster, args: &[&str]) -> Output {
    command(cluster, args).output().unwrap()
}

fn command(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-vm"));
    let home = cluster.kubeconfig.parent().unwrap();
    command.args(args).env_clear().env("HOME", home).env("KUBECONFIG", &cluster.kubeconfig);
    // How each test named after a flag is proved to notice that the flag does nothing.
    command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names that a list shows.
fn names(cluster: &Cluster, flags: &[&str]) -> Vec<String> {
    let mut args = vec!["list", "-o", "ndjson"];
    args.extend(flags);
    let output = run(cluster, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["name"].clone();
    text(&output.stdout).lines().map(|line| of(line).as_str().unwrap().to_owned()).collect()
}

/// A namespace with two machines, of which one runs.
fn pair(cluster: &Cluster) -> String {
    let namespace = cluster.namespace();
    cluster.apply(&machine(&namespace, "db01", 8, 16, "Stopped"));
    cluster.apply(&machine(&namespace, "web01", 2, 2, "Running"));
    cluster.apply(&instance(&namespace, "web01", "node-1"));
    namespace
}

#[test]
fn flag_namespace_and_flag_all_namespaces() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    assert_eq!(names(cluster, &["-n", &namespace]), ["db01", "web01"]);
    let there = format!("namespace={namespace}");
    assert_eq!(names(cluster, &["-A", "--match", &there]), ["db01", "web01"]);
    // A table tells machines of several namespaces apart.
    let second = pair(cluster);
    let table = |args: &[&str]| text(&run(cluster, &[&["list"], args].concat()).stdout);
    let all = table(&["-A"]);
    assert!(all.contains("NAMESPACE") && all.contains(&second), "{all}");
    assert!(!table(&["-n", &second]).contains("NAMESPACE"));
    let default = names(cluster, &["-c", CONTEXT, "--match", &there]);
    assert!(default.is_empty(), "the default namespace is another");
}

#[test]
fn flag_save_and_flag_overwrite_and_the_columns_of_csv() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    let created = |name: &str| {
        let made = "jsonpath={.metadata.creationTimestamp}";
        cluster.kubectl(&["get", "virtualmachine", name, "-n", &namespace, "-o", made])
    };
    let expected = format!(
        "Name,Namespace,Phase,CPUs,Memory,Node,IP Addresses,Disks,Networks,Created,\
         Carbon Intensity,Guest Agent,CPU Usage,Memory Usage\n\
         db01,{namespace},Stopped,8,16Gi,,,0,0,{},,,,\n\
         web01,{namespace},Running,2,2Gi,node-1,,0,0,{},,false,,\n",
        created("db01"),
        created("web01"),
    );
    let listed = run(cluster, &["list", "-n", &namespace, "-o", "csv"]);
    assert_eq!(text(&listed.stdout), expected);

    let folder = tempfile::tempdir().unwrap();
    let save = |more: &[&str]| {
        let mut command = command(cluster, &["list", "-n", &namespace, "--save"]);
        command.args(more).current_dir(folder.path()).output().unwrap()
    };
    let saved = save(&[]);
    assert_eq!(saved.status.code(), Some(0), "{}", text(&saved.stderr));
    assert_eq!(text(&saved.stdout), "");
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let name = file.file_name().into_string().unwrap();
    let day = name.strip_prefix("vms-").and_then(|rest| rest.strip_suffix(".csv")).unwrap();
    assert!(day.split('-').map(str::len).eq([4, 2, 2]), "{name}");
    let read = || std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(read(), expected);
    std::fs::write(file.path(), "mine").unwrap();
    assert_eq!((save(&[]).status.code(), read().as_str()), (Some(6), "mine"));
    assert_eq!((save(&["--overwrite"]).status.code(), read()), (Some(0), expected));
    assert_eq!(save(&["--overwrite", "-o", "yaml"]).status.code(), Some(2));
}

#[test]
fn flag_kubeconfig() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other");
    let renamed = std::fs::read_to_string(&cluster.kubeconfig).unwrap();
    let renamed =
        renamed.replace("{name: lab,", "{name: elsewhere,").replace(": lab", ": elsewhere");
    std::fs::write(&file, renamed).unwrap();
    let reference = format!("elsewhere:{namespace}/web01");
    let output = run(cluster, &["get", "--kubeconfig", &file.display().to_string(), &reference]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn flag_selector_and_flag_node() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    assert_eq!(names(cluster, &["-n", &namespace, "-l", "name=db01"]), ["db01"]);
    assert_eq!(names(cluster, &["-n", &namespace, "-l", "name!=db01"]), ["web01"]);
    assert_eq!(names(cluster, &["-n", &namespace, "--node", "node-1"]), ["web01"]);
    let refused = run(cluster, &["list", "local:", "-l", "a=b"]);
    assert_eq!(refused.status.code(), Some(7), "files have no labels");
}

#[test]
fn flag_created_after_and_flag_created_before_and_flag_updated_after_and_flag_updated_before() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    let count = |flag: &str, when: &str| names(cluster, &["-n", &namespace, flag, when]).len();
    for (after, before) in
        [("--created-after", "--created-before"), ("--updated-after", "--updated-before")]
    {
        assert_eq!((count(after, "1h"), count(after, "2100-01-01")), (2, 0));
        assert_eq!((count(before, "1h"), count(before, "2100-01-01")), (0, 2));
    }
}

#[test]
fn what_a_cluster_says_becomes_the_record() {
    let cluster = Cluster::shared();
    let namespace = pair(cluster);
    let reference = format!("{CONTEXT}:{namespace}/web01");
    let output = run(cluster, &["get", &reference, "-o", "json"]);
    let vm: Value = serde_json::from_slice(&output.stdout).unwrap();
    let uid = cluster.kubectl(&[
        "get",
        "-n",
        &namespace,
        "virtualmachine/web01",
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    assert_eq!(vm["instance_uuid"], uid);
    assert_eq!((&vm["status"], &vm["state"]), (&"running".into(), &"Running".into()));
    assert_eq!((&vm["cpus"], &vm["memory_bytes"]), (&2.into(), &(2_u64 << 30).into()));
    assert_eq!((&vm["node"], &vm["namespace"]), (&"node-1".into(), &namespace.as_str().into()));
    assert_eq!(vm["labels"]["name"], "web01");
    let facts = text(&run(cluster, &["get", &reference]).stdout);
    assert!(facts.contains("name=web01") && facts.contains(&namespace), "{facts}");
    assert_eq!(names(cluster, &["-n", &namespace, "--status", "STOPPED"]), ["db01"]);
    assert_eq!(names(cluster, &["-n", &namespace, "--min-cpus", "3"]), ["db01"]);
}

#[test]
fn what_is_not_there_is_told_by_its_kind() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace();
    let status = |args: &[&str]| run(cluster, args).status.code().unwrap();
    assert_eq!(status(&["get", "-n", &namespace, "nobody"]), 5);
    assert_eq!(status(&["get", "-n", &namespace, "a/b/c"]), 2);
    let nowhere = run(cluster, &["list", "-n", "no-such-place"]);
    assert_eq!(nowhere.status.code(), Some(5));
    assert!(text(&nowhere.stderr).contains("there is no namespace \"no-such-place\""));
    assert_eq!(status(&["list", "-n", &namespace]), 0, "an empty one is there");
    let nowhere = run(cluster, &["list", "-n", &namespace, "nope:"]);
    assert_eq!(nowhere.status.code(), Some(5));
    assert!(text(&nowhere.stderr).contains("there is no context \"nope\""), "{nowhere:?}");
    let nothing = run(cluster, &["resize", "-n", &namespace, "nobody"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("--cpus <N>|--memory <SIZE>"));
    assert_eq!(status(&["list", "-n", &namespace, "-l", "name in"]), 2);
    assert_eq!(status(&["list", "-n", &namespace, "--min-memory", "lots"]), 2);
    assert_eq!(status(&["list", "-n", &namespace, "--status", "runing"]), 2);
    assert_eq!(status(&["list", &format!("{CONTEXT}:{namespace}/web01")]), 2);
    // A person without a permission.
    let other = cluster.kubeconfig.with_file_name(format!("nobody-{namespace}"));
    let config = std::fs::read_to_string(&cluster.kubeconfig).unwrap();
    std::fs::write(&other, config.replace("token: token", "token: wrong")).unwrap();
    let file = other.display().to_string();
    assert_eq!(status(&["list", "--kubeconfig", &file, "-n", &namespace]), 4);
}
