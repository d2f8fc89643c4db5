//! Pictures, keys and viewers.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::lab::{Lab, cells, hello, pixels, press, read, text, update};

#[test]
fn flag_to_and_flag_overwrite_of_screenshot() {
    let lab = Lab::new();
    let output = lab.run(&["screenshot", "web01", "--to", "a.png", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&row["width"], &row["height"], &row["made_by"]),
        (&640.into(), &400.into(), &"platform".into())
    );
    let own = std::fs::read(lab.at("a.png")).unwrap();
    assert_eq!(own, lab.screen(), "as kubectl gets it");
    assert_eq!(lab.status(&["screenshot", "web01", "--to", "a.png"]).0, Some(6));
    // Where the cluster makes no pictures, one is made of what a viewer sees.
    lab.fault("vnc/screenshot", "status=404");
    let output = lab.run(&["screenshot", "web01", "--to", "a.png", "--overwrite", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["made_by"], "hyper");
    let seen = std::fs::read(lab.at("a.png")).unwrap();
    assert_eq!(pixels(&seen), pixels(&own));
    let output = lab.run(&["screenshot", "web01", "--to", "-"]);
    assert_eq!(output.stdout, seen, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("640"), "the record goes elsewhere");
}

#[test]
fn keys_are_pressed_together_and_one_after_another() {
    let lab = Lab::new();
    let output = lab.run(&["send-key", "web01", "ctrl-alt-delete", "F1", "a", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["keys"], serde_json::json!(["ctrl-alt-delete", "F1", "a"]));
    let colour = |symbol: u32| {
        let [_, high, middle, low] = symbol.to_be_bytes();
        [low, middle, 255 - high]
    };
    let pressed = [0xffe3, 0xffe9, 0xffff, 0xffbe, 0x61].map(colour);
    assert_eq!(cells(&lab.screen(), 5), pressed);
    assert_eq!(lab.status(&["send-key", "web01", "nokey"]).0, Some(2));
    // Somebody who sees the screen goes on seeing it.
    let (_serving, address) = lab.viewer(&[]);
    let mut viewer = hello(&address);
    let (status, words) = lab.status(&["send-key", "web01", "b"]);
    assert_eq!(status, Some(8), "{words}");
    assert!(words.contains("Active VNC connection"), "{words}");
    press(&mut viewer, 0x63);
    assert_eq!(update(&mut viewer).len(), 4, "it is still connected");
}

#[test]
fn flag_listen_and_flag_preserve_session() {
    let lab = Lab::new();
    let (_serving, address) = lab.viewer(&["--listen", "127.0.0.2:0", "--preserve-session"]);
    assert!(address.starts_with("127.0.0.2:"), "{address}");
    let mut first = hello(&address);
    press(&mut first, 0x0078_5634);
    assert_eq!(update(&mut first)[..3], [255 - 0x78, 0x56, 0x34]);
    let mut second = TcpStream::connect(&address).unwrap();
    read(&mut second, 12);
    second.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(read(&mut second, 1), [0]);
    let len = u32::from_be_bytes(read(&mut second, 4).try_into().unwrap());
    let words = text(&read(&mut second, len as usize));
    assert!(words.contains("Active VNC connection"), "{words}");
    update(&mut first);
    drop(first);

    let (_serving, address) = lab.viewer(&[]);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut first = hello(&address);
    update(&mut hello(&address));
    // Without it the last one wins.
    first.write_all(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap_or_default();
    let mut rest = Vec::new();
    assert!(matches!(first.read_to_end(&mut rest), Ok(0) | Err(_)), "it is ended");
}
