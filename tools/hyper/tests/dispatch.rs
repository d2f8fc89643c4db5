//! `hyper` as a process, with folders of made-up tools and nothing of the caller's environment.

#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;

/// Held for writing while a program is written, for reading while one is started: a process that
/// another test starts meanwhile would hold the file open, and Linux starts no program that is
/// open for writing.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// A home, a folder with `hyper` in it, and one more folder for tools.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        for folder in ["bin", "more", "home/.config/hyper"] {
            std::fs::create_dir_all(place.root.path().join(folder)).unwrap();
        }
        // A link would lead back to the folder where the build put all tools.
        let writing = PROGRAMS.write().unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_hyper"), place.at("bin/hyper")).unwrap();
        drop(writing);
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// A tool that tells how it was called and ends with `status`.
    fn tool(&self, path: &str, status: i32) {
        let text = format!("#!/bin/sh\necho \"$(basename \"$0\") $$\" \"$@\"\nexit {status}\n");
        let _writing = PROGRAMS.write().unwrap();
        std::fs::write(self.at(path), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.at(path), mode).unwrap();
    }

    fn config(&self, text: &str) {
        std::fs::write(self.at("home/.config/hyper/config.yaml"), text).unwrap();
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.at(program));
        command.env_clear().env("HOME", self.at("home")).env("PATH", "/usr/bin:/bin");
        command.args(args).current_dir(self.root.path());
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(&mut self.command("bin/hyper", args))
    }
}

#[derive(Debug)]
struct Done {
    status: i32,
    out: String,
    err: String,
}

fn start(command: &mut Command) -> Child {
    let _starting = PROGRAMS.read().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(command: &mut Command) -> Done {
    let output = start(command).wait_with_output().unwrap();
    Done {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn it_becomes_the_tool() {
    let place = Place::new();
    place.tool("bin/hyper-x", 9);
    let child = start(&mut place.command("bin/hyper", &["x", "--help", "a b", ""]));
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("hyper-x {pid} --help a b \n"), "the same process, all arguments");
}

#[test]
fn tools_are_found_beside_it_then_in_the_exec_path_then_in_path() {
    let place = Place::new();
    let status = |exec_path: &Path| {
        let mut command = place.command("bin/hyper", &["x"]);
        let path = format!("{}:/usr/bin:/bin", place.at("more").display());
        finish(command.env("HYPER_EXEC_PATH", exec_path).env("PATH", path)).status
    };
    assert_eq!(status(Path::new("")), 2);
    place.tool("more/hyper-x", 3);
    assert_eq!(status(Path::new("")), 3);
    place.tool("home/hyper-x", 4);
    assert_eq!(status(&place.at("home")), 4);
    place.tool("bin/hyper-x", 5);
    assert_eq!(status(&place.at("home")), 5);
}

#[test]
fn nothing_is_started_from_the_current_directory() {
    let place = Place::new();
    place.tool("hyper-x", 0);
    for path in ["", ".", ":", "::/usr/bin", "bin/..", "./"] {
        let mut command = place.command("bin/hyper", &["x"]);
        let done = finish(command.env("PATH", path).env("HYPER_EXEC_PATH", path));
        assert_eq!((done.status, done.out.as_str()), (2, ""), "PATH={path}");
    }
    assert_eq!(place.run(&["../hyper-x"]).status, 2);
}

#[test]
fn what_is_unknown_ends_with_two_and_a_suggestion() {
    let place = Place::new();
    place.tool("bin/hyper-export", 0);
    let done = place.run(&["exprot"]);
    assert_eq!((done.status, done.out.as_str()), (2, ""));
    assert_eq!(
        done.err,
        "hyper: there is no tool \"exprot\"\nhint: did you mean `hyper export`?\n"
    );
    let done = place.run(&["--lits"]);
    assert_eq!(done.err, "hyper: there is no option \"--lits\"\nhint: did you mean --list?\n");
    assert_eq!(done.status, 2);
    let done = place.run(&[]);
    assert!(done.status == 2 && done.out.is_empty() && done.err.contains("Usage: hyper NAME"));
}

#[test]
fn aliases_stand_for_words_and_never_hide_a_tool() {
    let place = Place::new();
    place.tool("bin/hyper-vm", 7);
    place.config(
        "aliases: {ls: \"vm list --match 'a b'\", vm: nothing, bad: nope, open: \"vm 'x\"}\n",
    );
    let done = place.run(&["ls", "-o", "json"]);
    assert_eq!(done.status, 7);
    assert!(done.out.ends_with(" list --match a b -o json\n"), "{}", done.out);
    assert_eq!(place.run(&["vm"]).status, 7);
    let done = place.run(&["bad"]);
    assert!(done.status == 2 && done.err.contains("the alias \"bad\": there is no tool \"nope\""));
    let done = place.run(&["open"]);
    assert!(done.status == 3 && done.err.contains("a quote is not closed"), "{}", done.err);
    place.config("aliasses: {}\n");
    let done = place.run(&["ls"]);
    assert!(done.status == 3 && done.err.contains("did you mean \"aliases\"?"), "{}", done.err);
}

#[test]
fn the_list_shows_what_is_there() {
    let place = Place::new();
    place.tool("bin/hyper-export", 0);
    place.tool("bin/hyper-own", 0);
    let done = place.run(&["--list"]);
    let lines: Vec<_> = done.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", done.out);
    assert!(lines[2].starts_with("export") && lines[2].contains("Export virtual machines"));
    assert!(lines[4].starts_with("own") && lines[4].contains("bin/hyper-own"));
    let done = place.run(&["--exec-path"]);
    assert_eq!(
        Path::new(done.out.trim()).canonicalize().unwrap(),
        place.at("bin").canonicalize().unwrap()
    );
    assert!(place.run(&["--version"]).out.starts_with("hyper 0."));
}

#[test]
fn help_is_the_manual_or_the_tools_own() {
    let place = Place::new();
    place.tool("bin/hyper-export", 0);
    let done = place.run(&["help", "export", "verb"]);
    assert!(done.out.ends_with(" verb --help\n"), "{}", done.out);
    std::fs::create_dir_all(place.at("share/man/man1")).unwrap();
    std::fs::write(place.at("share/man/man1/hyper-export.1"), ".TH X 1\n").unwrap();
    let writing = PROGRAMS.write().unwrap();
    std::fs::write(place.at("more/man"), "#!/bin/sh\necho man \"$@\"\n").unwrap();
    drop(writing);
    std::fs::set_permissions(place.at("more/man"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command("bin/hyper", &["help", "export"]);
    let path = format!("{}:/usr/bin:/bin", place.at("more").display());
    let done = finish(command.env("PATH", path));
    assert!(
        done.out.starts_with("man /") && done.out.ends_with("man1/hyper-export.1\n"),
        "{done:?}"
    );
    assert!(place.run(&["help"]).out.contains("Examples:"));
    assert_eq!(place.run(&["help", "exprot"]).status, 2);
}

#[test]
fn completion_prints_the_script_of_a_shell() {
    let place = Place::new();
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef hyper"), ("fish", "complete -c hyper")]
    {
        let done = place.run(&["completion", shell]);
        assert!(done.status == 0 && done.out.contains(sign), "{shell}");
    }
    for args in [&["completion"][..], &["completion", "tcsh"]] {
        assert_eq!(place.run(args).status, 2);
    }
}

#[test]
fn it_runs_as_a_kubectl_plugin() {
    let place = Place::new();
    symlink("hyper", place.at("bin/kubectl-hyper")).unwrap();
    place.tool("bin/hyper-x", 6);
    assert_eq!(finish(&mut place.command("bin/kubectl-hyper", &["x"])).status, 6);
    let done = finish(&mut place.command("bin/kubectl-hyper", &["--help"]));
    assert!(done.out.contains("Usage: kubectl hyper NAME"), "{}", done.out);
}

#[test]
fn kubectl_gets_what_could_stand_at_the_end_of_a_line() {
    let place = Place::new();
    symlink("hyper", place.at("bin/kubectl_complete-hyper")).unwrap();
    place.tool("bin/hyper-vm", 0);
    place.tool("bin/hyper-sheet", 0);
    place.config("aliases:\n  running: vm list --status running\n");
    let ask = |words: &[&str]| finish(&mut place.command("bin/kubectl_complete-hyper", words));
    let all = ask(&[""]).out;
    for word in ["help\tShow the manual", "vm\tList, make", "running\thyper vm list", "sheet\n"] {
        assert!(all.contains(word), "{word}: {all}");
    }
    assert!(all.ends_with(":4\n"), "{all}");
    assert_eq!(ask(&["sh"]).out, "sheet\n:4\n");
    assert_eq!(ask(&["help", "sh"]).out, "sheet\n:4\n");
    assert_eq!(ask(&["completion", "f"]).out, "fish\n:4\n");
    assert_eq!(ask(&["nothing", ""]).out, ":4\n");
    // Everything else is the tool's to know, which hears that it is asked.
    let tool = "#!/bin/sh\necho \"$(basename \"$0\") $HYPER_COMPLETE\" \"$@\"\n";
    std::fs::write(place.at("bin/hyper-vm"), tool).unwrap();
    assert_eq!(ask(&["vm", "list", "--st"]).out, "hyper-vm 1 list --st\n");
    assert_eq!(ask(&["running", "w"]).out, "hyper-vm 1 list --status running w\n");
    assert_eq!(ask(&["vm", ""]).out, "hyper-vm 1 \n");
}
