//! Exports that are ended in each of their phases: nothing under a final name, nothing left on the
//! server or all of it in the journal, and the next run completes.

use crate::disks::holds;
use crate::sim::Lab;

/// What the server does in the phase, so slowly that the signal comes in it: a rule for the
/// simulator without its counts, and what its log says then.
struct Phase {
    rule: &'static str,
    told: &'static str,
}

const fn phase(rule: &'static str, told: &'static str) -> Phase {
    Phase { rule, told }
}

/// Phases before any file has its name.
const BEFORE: [Phase; 7] = [
    phase("op=CreateSnapshot_Task,delay=2s", "CreateSnapshot_Task waits"),
    phase("op=CreateSnapshot_Task,late=2s", "CreateSnapshot_Task is answered later"),
    phase("op=ExportSnapshot,delay=2s", "ExportSnapshot waits"),
    phase("op=ExportSnapshot,late=2s", "ExportSnapshot is answered later"),
    phase("op=lease,delay=2s", "lease waits"),
    phase("op=nfc,object=disk-0,delay=2s", "nfc waits"),
    phase("op=HttpNfcLeaseGetManifest,delay=2s", "HttpNfcLeaseGetManifest waits"),
];

/// Phases in which the files have their names already.
const CLOSING: [Phase; 3] = [
    phase("op=HttpNfcLeaseComplete,delay=2s", "HttpNfcLeaseComplete waits"),
    phase("op=HttpNfcLeaseComplete,late=2s", "HttpNfcLeaseComplete is answered later"),
    phase("op=RemoveSnapshot_Task,late=2s", "RemoveSnapshot_Task is answered later"),
];

const EXPORT: [&str; 1] = ["--temp-snapshot"];

impl Lab {
    /// A lab where the first time of the phase is slow.
    fn slow(phase: &Phase) -> Self {
        let rule = format!("{},max=1", phase.rule);
        // What a killed run left without knowing its name ends by itself.
        Self::new(&["--running", "web01", "--lease-timeout", "4s", "--fault", &rule])
    }

    /// Ends an export in the phase; answers its status and what it said.
    #[track_caller]
    fn end_in(&self, phase: &Phase, signal: &str) -> (Option<i32>, String) {
        let run = self.user.start(&Self::args(&EXPORT));
        self.sim.wait_for(phase.told, 1);
        run.signal(signal);
        let done = run.end();
        (done.status, done.err)
    }

    /// What the journal says was left on the server.
    fn left(&self) -> String {
        let args = ["runs", "list", "-o", "json"];
        let runs = self.user.tool("hyper-history", &args).ends(0).json();
        runs["items"][0]["leftovers"].to_string()
    }

    #[track_caller]
    fn completes(&self, flags: &[&str]) {
        self.user.run(&Self::args(&[&EXPORT[..], flags].concat())).ends(0);
        for (number, bytes) in self.disks.iter().enumerate() {
            holds(&self.user.at(&format!("out/web01-disk{number}.qcow2")), "qcow2", bytes);
        }
    }
}

#[test]
fn a_signal_in_any_phase_leaves_nothing() {
    for (number, phase) in BEFORE.iter().enumerate() {
        let signal = ["INT", "TERM", "HUP"][number % 3];
        let lab = Lab::slow(phase);
        let (status, err) = lab.end_in(phase, signal);
        assert_eq!(status, Some(130), "{} {signal}: {err}", phase.rule);
        assert!(lab.user.all_names("out").is_empty(), "{:?}", lab.user.all_names("out"));
        lab.sim.is_clean();
        assert!(matches!(lab.left().as_str(), "null" | "[]"), "{}", lab.left());
        lab.completes(&[]);
        lab.sim.is_clean();
    }
}

#[test]
fn a_signal_while_all_is_closed_leaves_nothing_either() {
    for (phase, signal) in CLOSING.iter().zip(["INT", "TERM", "HUP"]) {
        let lab = Lab::slow(phase);
        let (status, err) = lab.end_in(phase, signal);
        assert!(matches!(status, Some(0 | 130)), "{} {signal}: {status:?} {err}", phase.rule);
        lab.sim.is_clean();
        assert!(matches!(lab.left().as_str(), "null" | "[]"), "{}", lab.left());
        lab.completes(&["--overwrite"]);
        lab.sim.is_clean();
    }
}

#[test]
fn a_kill_in_any_phase_is_cleaned_up_after() {
    for (number, phase) in BEFORE.iter().chain(&CLOSING).enumerate() {
        let lab = Lab::slow(phase);
        assert_eq!(lab.end_in(phase, "KILL").0, None, "{}", phase.rule);
        let before = number < BEFORE.len();
        assert_eq!(lab.user.names("out").is_empty(), before, "{}", phase.rule);
        let left = lab.left();
        let snapshots = lab.sim.snapshots();
        assert!(snapshots.iter().all(|name| left.contains(name)), "{snapshots:?}: {left}");
        assert!(left.contains("hyper-export-"), "{}: {left}", phase.rule);
        if number % 2 == 0 {
            lab.user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
            // The first one may only be made now.
            assert!(number == 0 || lab.sim.snapshots().is_empty(), "{}", phase.rule);
        }
        lab.completes(if before { &[] } else { &["--overwrite"] });
        if number == 0 {
            // A server may do what it was asked for although nobody waits for it any more.
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        lab.user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
        assert_eq!(lab.sim.snapshots(), [""; 0], "{}: {}", phase.rule, lab.sim.requests());
    }
}

#[test]
fn a_login_that_is_broken_off_keeps_nobody_out() {
    let login = phase("op=Login,delay=2s", "Login waits");
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let lab = Lab::slow(&login);
        let (status, err) = lab.end_in(&login, signal);
        assert_eq!(status, (signal != "KILL").then_some(130), "{signal}: {err}");
        assert!(lab.user.all_names("out").is_empty());
        lab.completes(&[]);
    }
}
