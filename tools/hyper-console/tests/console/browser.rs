//! The page for browsers, as Python's HTTP and WebSocket libraries see it, and in a browser.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use crate::cluster::program;
use crate::lab::{Lab, text};

/// noVNC as it is installed, with files beside it that are not for browsers.
fn novnc(lab: &Lab) -> String {
    let from = std::env::var_os("HYPER_TB_NOVNC");
    let from = from.expect("HYPER_TB_NOVNC is not set: eval \"$(scripts/testbed --env vnc)\"");
    let folder = lab.at("novnc");
    let done = Command::new("cp").arg("-r").arg(&from).arg(&folder).status().unwrap();
    assert!(done.success(), "{}", Path::new(&from).display());
    std::fs::write(lab.at("secret.js"), "secret").unwrap();
    std::os::unix::fs::symlink(lab.at("secret.js"), folder.join("core/link.js")).unwrap();
    std::fs::write(folder.join("core/.hidden.js"), "hidden").unwrap();
    folder.to_str().unwrap().to_owned()
}

fn visit(lab: &Lab, url: &str) {
    let python = program("HYPER_TB_PYTHON", "python3").display().to_string();
    let output = lab.command(&python, &["-c", include_str!("page.py"), url]).output().unwrap();
    assert_eq!(text(&output.stdout), "done\n", "{}", text(&output.stderr));
}

#[test]
fn flag_browser_and_flag_novnc() {
    let lab = Lab::new();
    let novnc = novnc(&lab);
    let (_serving, url) = lab.viewer(&["--browser", "--novnc", &novnc]);
    let path = url.strip_prefix("http://127.0.0.1:").expect("the address of a page");
    assert!(path.split('/').nth(1).is_some_and(|secret| secret.len() == 32), "{url}");
    visit(&lab, &url);
    let (_other, other) = lab.viewer(&["--browser", "--novnc", &novnc]);
    assert_ne!(other.split('/').nth(3), url.split('/').nth(3), "each has a word of its own");
    // Where noVNC is not, one line says what to do, and nobody is asked for anything.
    let nothing = lab.at("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let nothing = nothing.to_str().unwrap();
    let none = ["vnc", "web01", "--timeout", "10s", "--browser", "--novnc", nothing];
    let (status, words) = lab.status(&none);
    assert_eq!(status, Some(3), "{words}");
    assert!(words.contains("noVNC") && words.contains("apt-get install novnc"), "{words}");
}

#[test]
fn a_page_shares_the_screen_where_asked() {
    let lab = Lab::new();
    let (_serving, url) = lab.viewer(&["--browser", "--share", "--novnc", &novnc(&lab)]);
    visit(&lab, &url);
}

#[test]
fn in_a_browser_the_screen_and_the_serial_line_can_be_used() {
    let lab = Lab::new();
    let (serving, url) = lab.viewer(&["--browser", "--novnc", &novnc(&lab)]);
    let python = program("HYPER_TB_PYTHON", "python3").display().to_string();
    let browser = program("HYPER_TB_BROWSER", "chromium").display().to_string();
    let folder = lab.at("profile").display().to_string();
    let args = ["-c", include_str!("visitor.py"), &browser, &folder, &url];
    let mut visitor = lab.command(&python, &args).spawn().unwrap();
    let mut lines = BufReader::new(visitor.stdout.take().unwrap()).lines();
    let mut said = || lines.next().and_then(Result::ok);
    let seen = said();
    drop(serving);
    let done = said();
    let mut words = String::new();
    visitor.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((seen.as_deref(), done.as_deref()), (Some("seen"), Some("done")), "{words}");
    assert!(visitor.wait().unwrap().success(), "{words}");
}
