//! `hyper-context` and a vCenter: vcsim, and certificates made for the test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../hyper-vm/tests/vcsim/mod.rs"]
mod vcsim;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use self::vcsim::{Done, PASSWORD, Vcsim, run};

/// A user with a home of its own.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret"), format!("{PASSWORD}\n")).unwrap();
        let user = Self(home);
        user.protect("secret", 0o600);
        user
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    fn protect(&self, file: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.home().join(file), mode).unwrap();
    }

    fn run_with(&self, variables: &[(&str, String)], args: &[&str]) -> Done {
        run(env!("CARGO_BIN_EXE_hyper-context"), self.home(), variables, args)
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with(&[], args)
    }

    /// Adds the context `prod` for the server; the secret is open as file descriptor 3.
    fn add(&self, server: &Vcsim, more: &[&str]) -> Done {
        let url = server.url();
        let place = ["add", "prod", "--provider", "vsphere", "--url", &url, "--user", "user"];
        let args = [place.as_slice(), more].concat();
        // As a shell does it: the line from the manual.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<secret", env!("CARGO_BIN_EXE_hyper-context")]);
        command.args(args).env_clear().env("HOME", self.home()).current_dir(self.home());
        command.envs(std::env::var_os("HYPER_NEUTRALISE").map(|flag| ("HYPER_NEUTRALISE", flag)));
        command.output().unwrap().into()
    }

    fn added(&self, server: &Vcsim, more: &[&str]) {
        let done = self.add(server, more);
        assert_eq!(done.status, 0, "{done:?}");
    }

    /// Whether the context `prod` answers.
    fn test(&self) -> Done {
        self.run(&["test", "prod", "-o", "json"])
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.home().join(".config/hyper/config.yaml")).unwrap()
    }

    fn password_file(&self) -> PathBuf {
        self.home().join(".config/hyper/credentials/prod")
    }
}

/// A server with a certificate for 127.0.0.1 that an own authority vouches for.
struct Certified {
    server: Vcsim,
    folder: tempfile::TempDir,
    thumbprint: String,
}

impl Certified {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("ca.pem"), authority.pem()).unwrap();
        std::fs::write(at("cert.pem"), leaf.pem()).unwrap();
        std::fs::write(at("key.pem"), key.serialize_pem()).unwrap();
        let bytes = Sha256::digest(leaf.der());
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let (cert, key) = (at("cert.pem"), at("key.pem"));
        let server =
            Vcsim::start(&["-tlscert", cert.to_str().unwrap(), "-tlskey", key.to_str().unwrap()]);
        Self { server, folder, thumbprint: hex.join(":") }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn flag_url_and_flag_user_and_flag_insecure_and_flag_password_fd() {
    let (server, user) = (Vcsim::start(&[]), User::new());
    user.added(&server, &["--password-fd", "3", "--insecure"]);
    let tested = user.test();
    assert_eq!(tested.status, 0, "{tested:?}");
    assert_eq!(tested.json()["endpoint"], server.url());
    assert!(user.config().contains("user: user") && user.config().contains("insecure: true"));
    assert!(!user.config().contains("p&<s>"), "{}", user.config());
    let mode = std::fs::metadata(user.password_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    user.protect(".config/hyper/credentials/prod", 0o644);
    user.run(&["logout", "prod"]);
    let open = user.test();
    assert_eq!(open.status, 4, "others may read it: {open:?}");
    // Without the flag it is not believed.
    let other = User::new();
    other.added(&server, &["--password-fd", "3"]);
    assert_eq!(other.test().status, 4);
}

#[test]
fn flag_password_file_and_flag_password_command() {
    let server = Vcsim::start(&[]);
    let user = User::new();
    user.added(&server, &["--password-file", "secret", "--insecure"]);
    assert_eq!(user.test().status, 0);
    assert!(!user.password_file().exists());
    user.run(&["logout", "prod"]);
    user.protect("secret", 0o640);
    let open = user.test();
    assert_eq!(open.status, 4);
    assert!(open.err.contains("others may read"), "{open:?}");
    let user = User::new();
    user.added(&server, &["--password-command", "cat secret", "--insecure"]);
    let asked = user.test();
    assert_eq!(asked.status, 0, "{asked:?}");
    let user = User::new();
    user.added(&server, &["--password-command", "exit 3", "--insecure"]);
    assert_eq!(user.test().status, 4);
    // The environment goes before all of them.
    let given = [("HYPER_PROD_PASSWORD", PASSWORD.to_owned())];
    assert_eq!(user.run_with(&given, &["test", "prod"]).status, 0);
}

#[test]
fn flag_thumbprint() {
    let certified = Certified::new();
    let user = User::new();
    user.added(
        &certified.server,
        &["--password-fd", "3", "--thumbprint", &certified.thumbprint.replace(':', "")],
    );
    let right = user.test();
    assert_eq!(right.status, 0, "{right:?}");
    let user = User::new();
    let wrong = "AB".repeat(32);
    user.added(&certified.server, &["--password-fd", "3", "--thumbprint", &wrong, "--insecure"]);
    let refused = user.test();
    assert_eq!(refused.status, 4, "a pin holds, whatever else is believed: {refused:?}");
    assert!(refused.err.contains(&certified.thumbprint), "{refused:?}");
    assert_eq!(User::new().add(&certified.server, &["--thumbprint", "zz"]).status, 3);
}

#[test]
fn flag_ca_file() {
    let certified = Certified::new();
    let user = User::new();
    user.added(&certified.server, &["--password-fd", "3", "--ca-file", &certified.file("ca.pem")]);
    let vouched = user.test();
    assert_eq!(vouched.status, 0, "{vouched:?}");
    let user = User::new();
    user.added(&certified.server, &["--password-fd", "3"]);
    assert_eq!(user.test().status, 4, "nobody vouches for it here");
    let key = certified.file("key.pem");
    assert_eq!(User::new().add(&certified.server, &["--ca-file", &key]).status, 3);
}

#[test]
fn govcs_variables_name_certificates_as_well() {
    let certified = Certified::new();
    let user = User::new();
    let with = |name: &'static str, value: String| {
        let mut variables = certified.server.variables();
        variables.retain(|(name, _)| *name != "GOVC_INSECURE");
        variables.push((name, value));
        user.run_with(&variables, &["test"]).status
    };
    assert_eq!(with("GOVC_TLS_CA_CERTS", certified.file("ca.pem")), 0);
    let known = user.home().join("known_hosts");
    let line = |print: &str| format!("{} {print}\n", certified.server.place);
    std::fs::write(&known, line(&certified.thumbprint)).unwrap();
    assert_eq!(with("GOVC_TLS_KNOWN_HOSTS", known.to_str().unwrap().to_owned()), 0);
    std::fs::write(&known, line(&"AB:".repeat(20)[..59])).unwrap();
    assert_eq!(with("GOVC_TLS_KNOWN_HOSTS", known.to_str().unwrap().to_owned()), 4);
}

#[test]
fn flag_datacenter() {
    let (server, user) = (Vcsim::start(&[]), User::new());
    user.added(&server, &["--password-fd", "3", "--insecure", "--datacenter", "DC0"]);
    let listed = user.run(&["list", "-o", "json"]).json();
    let items = listed["items"].as_array().unwrap();
    let prod = items.iter().find(|item| item["name"] == "prod").unwrap();
    assert_eq!(prod["datacenter"], "DC0");
    assert!(user.config().contains("datacenter: DC0"));
}

#[test]
fn a_removed_context_leaves_neither_login_nor_password() {
    let (server, user) = (Vcsim::start(&[]), User::new());
    user.added(&server, &["--password-fd", "3", "--insecure"]);
    assert_eq!(user.test().status, 0);
    assert_eq!(server.logins(user.home()).len(), 1);
    assert_eq!(user.run(&["logout", "prod"]).status, 0);
    assert_eq!(server.logins(user.home()).len(), 0);
    assert_eq!(user.test().status, 0);
    let removed = user.run(&["remove", "prod"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    assert_eq!(server.logins(user.home()).len(), 0);
    assert!(!user.password_file().exists());
    // A server that is gone is no reason to keep its context.
    user.added(&server, &["--password-fd", "3", "--insecure"]);
    assert_eq!(user.test().status, 0);
    drop(server);
    let removed = user.run(&["remove", "prod"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    assert!(removed.err.contains("warning"), "{removed:?}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let user = User::new();
    let add = |args: &[&str]| {
        let done = user.run(&[["add", "x", "--provider"].as_slice(), args].concat());
        (done.status, done.err)
    };
    assert_eq!(add(&["vsphere"]).0, 2);
    let (status, words) = add(&["vsphere", "--url", "https://user:hunter2@vc"]);
    assert!(status == 2 && !words.contains("hunter2"), "{words}");
    assert_eq!(add(&["local", "--url", "https://vc"]).0, 2);
    assert_eq!(add(&["vsphere", "--url", "https://vc", "--path", "."]).0, 2);
    assert_eq!(add(&["vsphere", "--url", "ftp://vc"]).0, 3);
    assert_eq!(add(&["vsphere", "--url", "https://vc", "--password-fd", "77"]).0, 5);
    assert_eq!(user.run(&["list", "-o", "json"]).json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn the_context_of_govcs_variables_is_current_where_none_is_chosen() {
    let (server, user) = (Vcsim::start(&[]), User::new());
    let current = |variables: &[(&str, String)]| {
        let listed = user.run_with(variables, &["list", "-o", "json"]).json();
        let items = listed["items"].as_array().unwrap().clone();
        let current = items.iter().find(|item| item["current"] == true).unwrap();
        current["name"].as_str().unwrap().to_owned()
    };
    let govc = server.variables();
    assert_eq!((current(&[]), current(&govc)), ("local".to_owned(), "govc".to_owned()));
    assert_eq!(user.run(&["use", "local"]).status, 0);
    assert_eq!(current(&govc), "local", "chosen");
    assert_eq!(user.run_with(&govc, &["use", "govc"]).status, 0);
    assert_eq!(current(&govc), "govc");
    assert_eq!(user.run(&["test", "govc"]).status, 5);
    // It stays chosen where the variables that make it are missing.
    let without = user.run(&["test"]);
    let line = "current_context: the context \"govc\" needs GOVC_URL";
    assert!(without.status == 3 && without.err.contains(line), "{without:?}");
    assert_eq!(user.run(&["test", "local"]).status, 0);
}
