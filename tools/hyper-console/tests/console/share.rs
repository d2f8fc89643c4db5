//! Several viewers of one screen, with a connection that breaks and another maker's client.

use std::io::Write;
use std::process::Command;

use crate::lab::{Lab, hello, pixels, press, read, text, update};

/// The first pixel after a key was pressed: what it is in the end.
fn becomes(stream: &mut std::net::TcpStream, pixel: [u8; 3]) {
    crate::cluster::wait_for("the pixel", || update(stream)[..3] == pixel);
}

#[test]
fn flag_share() {
    let lab = Lab::new();
    let (_serving, address) = lab.viewer(&["--share"]);
    let (mut one, mut two) = (hello(&address), hello(&address));
    press(&mut one, 0x0078_5634);
    becomes(&mut one, [255 - 0x78, 0x56, 0x34]);
    becomes(&mut two, [255 - 0x78, 0x56, 0x34]);
    // Only what changes is sent, when it does: the second cell is the next key's.
    two.write_all(&[3, 1, 0, 8, 0, 0, 0, 8, 0, 8]).unwrap();
    press(&mut one, 0x0012_3456);
    let head = read(&mut two, 16);
    assert_eq!(head, [0, 0, 0, 1, 0, 8, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0]);
    assert_eq!(read(&mut two, 256)[..3], [255 - 0x12, 0x34, 0x56]);
    // What one copies there both hear.
    one.write_all(&[6, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']).unwrap();
    for stream in [&mut one, &mut two] {
        assert_eq!(read(stream, 10), [3, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    }
    // Pixels as a viewer wants them: 16 bits, big-endian.
    two.write_all(&[0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]).unwrap();
    two.write_all(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap();
    read(&mut two, 16);
    let (red, green, blue) = (0x34 * 31 / 255, 0x56 * 63 / 255, (255 - 0x78) * 31 / 255);
    let pixel: u16 = red << 11 | green << 5 | blue;
    assert_eq!(read(&mut two, 2), pixel.to_be_bytes());
}

/// The topmost row of pixels.
fn top(stream: &mut std::net::TcpStream) -> Vec<u8> {
    stream.write_all(&[3, 0, 0, 0, 0, 0, 0x02, 0x80, 0, 1]).unwrap();
    assert_eq!(read(stream, 16)[..4], [0, 0, 0, 1]);
    read(stream, 640 * 4)
}

#[test]
fn viewers_stay_while_the_connection_is_made_again() {
    let lab = Lab::new();
    // In the middle of the second picture: the first takes a million bytes.
    lab.fault("vnc", "max=1,cut=1030000");
    let (_serving, address) = lab.viewer(&["--share"]);
    let mut viewer = hello(&address);
    // Keys come to nothing while there is no connection: of those that are counted up some are
    // missing among the cells that they colour, and later ones are there.
    let mut symbol = 0x0001_0000;
    crate::cluster::wait_for("keys to arrive again", || {
        symbol += 1;
        press(&mut viewer, symbol);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let row = top(&mut viewer);
        let cells = row.chunks(8 * 4).map(|it| (it[0], u16::from_be_bytes([it[1], it[2]])));
        let came: Vec<u16> = cells.take_while(|it| it.0 == 0xfe).map(|it| it.1).collect();
        came.windows(2).any(|pair| pair[1] > pair[0] + 1)
    });
    update(&mut viewer);
    lab.cluster.put(&lab.space, "virtualmachines/web01/stop", "{}").unwrap();
    let mut rest = Vec::new();
    assert!(std::io::Read::read_to_end(&mut viewer, &mut rest).is_ok(), "it is ended");
}

/// A program of the testbed.
fn tool(variable: &str) -> std::ffi::OsString {
    let missing = || panic!("{variable} is not set: eval \"$(scripts/testbed --env vnc)\"");
    std::env::var_os(variable).unwrap_or_else(missing)
}

#[test]
fn a_client_of_others_takes_a_picture() {
    let lab = Lab::new();
    let (width, height, expected) = pixels(&lab.screen());
    for share in [&[][..], &["--share"]] {
        let (_serving, address) = lab.viewer(share);
        let mut command = Command::new(tool("HYPER_TB_VNCSNAPSHOT"));
        // It counts displays from port 5900 on, wherever that leads.
        let (host, port) = address.split_once(':').unwrap();
        let display = format!("{host}:{}", port.parse::<i32>().unwrap() - 5900);
        command.args(["-quiet", "-quality", "100", &display]).arg(lab.at("picture.jpg"));
        let output = command.env("HOME", lab.home.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut command = Command::new(tool("HYPER_TB_DJPEG"));
        let output = command.arg("-ppm").arg(lab.at("picture.jpg")).output().unwrap();
        let head = format!("P6\n{width} {height}\n255\n");
        let seen = output.stdout.strip_prefix(head.as_bytes()).expect("a picture of that size");
        assert_eq!(seen.len(), expected.len());
        let away: u64 = seen.iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(away / (seen.len() as u64) < 4, "{away}: JPEG loses less than that");
    }
}
