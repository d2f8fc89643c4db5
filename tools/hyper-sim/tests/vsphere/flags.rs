//! What each flag does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::server::{Server, command, flat, wait_for};

const WEB: (&str, &str) = ("VirtualMachine", "vm-1001");

/// A raw image of 1 MiB in the test's folder, its first bytes telling of its name.
fn raw(folder: &std::path::Path, name: &str) {
    let mut bytes = vec![0; 1 << 20];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    std::fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn flag_listen_is_where_it_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(Server::start(&["--listen", &free]).address(), free);
}

#[test]
fn flag_plain_speaks_http() {
    let server = Server::start(&["--plain"]);
    assert!(server.url().starts_with("http://"));
    assert_eq!(server.client().get("/sdk/vimServiceVersions.xml").status, 200);
    assert!(server.access["thumbprint"].is_null());
    let server = Server::start(&[]);
    assert!(server.url().starts_with("https://"));
    assert_eq!(server.access["thumbprint"].as_str().unwrap().len(), 59);
}

#[test]
fn flag_esx_is_a_single_host() {
    let server = Server::start(&["--plain", "--esx"]);
    let content =
        server.client().call("RetrieveServiceContent", ("ServiceInstance", "ServiceInstance"), "");
    assert!(content.has("<apiType>HostAgent</apiType>") && content.has(">ha-folder-root<"));
}

#[test]
fn flag_user_and_flag_password_let_in() {
    let server = Server::start(&["--plain", "--user", "o'b", "--password", "p&lt;"]);
    assert_eq!(server.client().log_in("user", "pass").status, 500);
    assert_eq!(server.client().log_in("o'b", "wrong").status, 500);
    assert_eq!(server.client().log_in("o'b", "p&amp;lt;").status, 200);
}

#[test]
fn flag_vm_makes_machines_of_image_files() {
    let args = ["--plain", "--vm", "prod/web01=a.raw,b.raw", "--vm", "db01=b.raw"];
    let server = Server::prepared(&args, |folder| {
        raw(folder, "a.raw");
        raw(folder, "b.raw");
    });
    let client = server.login();
    assert_eq!(client.find("DC0/vm/prod/web01"), "vm-1002");
    client.find("DC0/vm/db01");
    for (name, content) in [("web01-flat", "a.raw"), ("web01_1-flat", "b.raw")] {
        let path = format!("/folder/web01/{name}.vmdk?dcPath=DC0&dsName=datastore1");
        let answer = client.get(&path);
        assert_eq!(answer.body.len(), 1 << 20);
        assert!(answer.body.starts_with(content.as_bytes()));
    }
}

#[test]
fn flag_vms_makes_many_machines() {
    let server = Server::start(&["--plain", "--vms", "12"]);
    let client = server.login();
    let names = client.fetch(("Folder", "group-v3"), "childEntity").text();
    assert_eq!(names.matches("xsi:type=\"ManagedObjectReference\"").count(), 12);
    assert_eq!(client.find("DC0/vm/vm-00012"), "vm-1012");
}

#[test]
fn flag_running_and_flag_efi_say_what_a_machine_is() {
    let args = ["--plain", "--running", "web01", "--efi", "web01", "--efi", "app01=tpm"];
    let server = Server::start(&args);
    let client = server.login();
    let with_tpm = client.fetch(("VirtualMachine", "vm-1003"), "config");
    assert!(with_tpm.has("<efiSecureBootEnabled>true<") && with_tpm.has("\"VirtualTPM\""));
    assert!(client.fetch(WEB, "config").has("<efiSecureBootEnabled>false<"));
    assert!(client.fetch(WEB, "runtime").has("<powerState>poweredOn<"));
    assert!(client.fetch(WEB, "config").has("<firmware>efi<"));
    let other = ("VirtualMachine", "vm-1002");
    assert!(client.fetch(other, "runtime").has("<powerState>poweredOff<"));
    assert!(client.fetch(other, "config").has("<firmware>bios<"));
}

#[test]
fn flag_thick_takes_the_space() {
    for (args, word) in [(&["--plain", "--thick"][..], "false"), (&["--plain"], "true")] {
        let config = Server::start(args).login().fetch(WEB, "config");
        assert!(config.has(&format!("<thinProvisioned>{word}<")), "{args:?}");
    }
}

#[test]
fn flag_odd_makes_disks_that_cannot_be_exported() {
    for (kind, sign) in [
        ("independent", "<diskMode>independent_persistent<"),
        ("rdm", "<compatibilityMode>physicalMode<"),
        ("shared", "<sharing>sharingMultiWriter<"),
        ("encrypted", "<keyId>"),
    ] {
        let server = Server::start(&["--plain", "--odd", &format!("web01={kind}")]);
        let client = server.login();
        assert!(client.fetch(WEB, "config").has(sign), "{kind}");
        assert!(!client.fetch(("VirtualMachine", "vm-1002"), "config").has(sign), "{kind}");
        let exported = client.call("ExportVm", WEB, "").status;
        assert_eq!(exported, if kind == "independent" { 200 } else { 500 }, "{kind}");
    }
}

#[test]
fn flag_events_are_in_the_history() {
    let server = Server::start(&["--plain", "--events", "3"]);
    let client = server.login();
    let latest = client.fetch(("EventManager", "EventManager"), "latestEvent");
    assert!(latest.has("<key>3<") && latest.has(">remark 3<"));
}

#[test]
fn flag_event_rate_adds_to_the_history_each_second() {
    let server = Server::start(&["--plain", "--event-rate", "7"]);
    let client = server.login();
    let two_seconds = || {
        let latest = client.fetch(("EventManager", "EventManager"), "latestEvent");
        let at = |second: u32| format!(">remark {}<", 7 * second);
        (2..20).any(|second| latest.has(&at(second)))
    };
    let mut looks = (0..120).map(|_| std::thread::sleep(Duration::from_millis(50)));
    assert!(looks.any(|()| two_seconds()));
}

#[test]
fn flag_alarm_is_triggered_on_a_machine_and_seen_above_it() {
    let server = Server::start(&["--plain", "--alarm", "web01=red:jo"]);
    let client = server.login();
    for object in [WEB, ("Folder", "group-d1"), ("Datacenter", "datacenter-2")] {
        let states = client.fetch(object, "triggeredAlarmState");
        assert!(states.has("<overallStatus>red<") && states.has(">jo<"), "{object:?}");
    }
    assert!(!client.fetch(("VirtualMachine", "vm-1002"), "triggeredAlarmState").has("red"));
}

#[test]
fn flag_session_timeout_ends_an_idle_login() {
    let server = Server::start(&["--plain", "--session-timeout", "300ms"]);
    let client = server.login();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.fetch(WEB, "name").status, 200, "a login that is used lives on");
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(client.fetch(WEB, "name").has("NotAuthenticated"));
}

#[test]
fn flag_lease_timeout_ends_a_lease_that_makes_no_progress() {
    let server = Server::start(&["--plain", "--lease-timeout", "600ms"]);
    let client = server.login();
    let (lease, urls) = client.export("vm-1001");
    let this = ("HttpNfcLease", lease.as_str());
    assert!(client.call("PowerOnVM_Task", WEB, "").has("InvalidState"), "the machine is locked");
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(200));
        let answer = client.call("HttpNfcLeaseProgress", this, "<percent>1</percent>");
        assert_eq!(answer.status, 200, "progress keeps the lease");
    }
    wait_for("the end of the lease", || client.fetch(this, "state").has(">error<"));
    assert!(client.fetch(this, "error").has("Timedout"));
    assert_eq!(client.get(&urls[0]).status, 404);
    assert_eq!(client.call("PowerOnVM_Task", WEB, "").status, 200, "the machine is free");
}

const LIST: &str = "<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet>\
    <objectSet><obj type=\"Folder\">group-v3</obj><skip>true</skip><selectSet \
    x:type=\"TraversalSpec\"><type>Folder</type><path>childEntity</path><skip>false</skip>\
    </selectSet></objectSet></specSet>";

#[test]
fn flag_page_size_bounds_a_page() {
    let server = Server::start(&["--plain", "--vms", "7", "--page-size", "3"]);
    let client = server.login();
    let pc = ("PropertyCollector", "propertyCollector");
    let page = |most: &str| {
        let answer =
            client.call("RetrievePropertiesEx", pc, &format!("{LIST}<options>{most}</options>"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    assert_eq!(page("<maxObjects>2</maxObjects>").text().matches("<objects>").count(), 2);
    let mut answer = page("");
    let mut sizes = vec![answer.text().matches("<objects>").count()];
    while answer.has("<token>") {
        let token = format!("<token>{}</token>", answer.element("token"));
        answer = client.call("ContinueRetrievePropertiesEx", pc, &token);
        assert_eq!(client.call("ContinueRetrievePropertiesEx", pc, &token).status, 500);
        sizes.push(answer.text().matches("<objects>").count());
    }
    assert_eq!(sizes, [3, 3, 1]);
}

#[test]
fn flag_no_manifest_offers_no_checksums() {
    for (args, status) in [(&["--plain", "--no-manifest"][..], 500), (&["--plain"], 200)] {
        let client = Server::start(args);
        let client = (client.login(), client);
        let (lease, urls) = client.0.export("vm-1001");
        assert!(client.0.get(&urls[0]).whole);
        let manifest = client.0.call("HttpNfcLeaseGetManifest", ("HttpNfcLease", &lease), "");
        assert_eq!(manifest.status, status, "{args:?}");
        assert_eq!(manifest.has("<sha1>"), status == 200);
    }
}

#[test]
fn flag_nfc_host_names_the_host_of_disks() {
    let server = Server::start(&["--plain", "--nfc-host", "esx9.invalid:1"]);
    let client = server.login();
    let (lease, _) = client.export("vm-1001");
    let info = client.fetch(("HttpNfcLease", &lease), "info");
    assert!(info.has("<url>http://esx9.invalid:1/nfc/session%5B"), "{}", info.text());
}

#[test]
fn flag_nfc_streams_refuses_more_at_a_time() {
    let args = ["--plain", "--vm", "big=noise.raw", "--nfc-streams", "1"];
    let server = Server::prepared(&args, |folder| {
        // More than the buffers of a connection hold, so that it stays open unread.
        let mut number = 1_u64;
        let noise = std::iter::repeat_with(|| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 56) as u8
        });
        std::fs::write(folder.join("noise.raw"), noise.take(32 << 20).collect::<Vec<_>>()).unwrap();
    });
    let client = server.login();
    let (_, urls) = client.export("vm-1001");
    let mut open = TcpStream::connect(server.address()).unwrap();
    write!(open, "GET {} HTTP/1.1\r\nHost: a\r\n\r\n", urls[0]).unwrap();
    open.read_exact(&mut [0; 64]).unwrap();
    assert_eq!(client.get(&urls[0]).status, 503);
    assert_eq!(client.get(&urls[1]).status, 200, "the firmware's memory is no disk");
    drop(open);
    wait_for("a free stream", || client.get(&urls[0]).status == 200);
}

#[test]
fn flag_fault_lets_things_go_wrong() {
    let server = Server::start(&["--plain", "--fault", "op=Login,max=1,status=503,retry-after=7"]);
    let answer = server.client().log_in("user", "pass");
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "7"));
    assert_eq!(server.client().log_in("user", "pass").status, 200);
    assert_eq!(server.login().get(&flat("web01")).status, 200);
}

#[test]
fn flag_output_chooses_the_form() {
    // Every server of these tests is reached through what -o ndjson prints.
    let server = Server::start(&[]);
    assert_eq!(server.access["schema"], "hyper.sim_access/v1");
    let file = |name: &str| std::fs::read_to_string(server.access[name].as_str().unwrap()).unwrap();
    assert!(file("ca_file").starts_with("-----BEGIN CERTIFICATE-----"));
    let line = format!("{} {}\n", server.address(), server.access["thumbprint"].as_str().unwrap());
    assert_eq!(file("known_hosts_file"), line);
}

#[test]
fn flag_verbose_tells_of_each_call() {
    let server = Server::start(&["--plain", "--verbose"]);
    server.login().get(&flat("web01"));
    let said = || server.said.lock().unwrap().clone();
    wait_for("the log", || said().contains("Login on SessionManager:SessionManager"));
    wait_for("the log", || said().contains("GET /folder/web01/web01-flat.vmdk 200"));
}

#[test]
fn flag_quiet_leaves_out_remarks() {
    for (args, heard) in [(&["--plain", "--quiet"][..], false), (&["--plain"], true)] {
        let mut all = args.to_vec();
        all.extend(["--vm", "web01=a.raw"]);
        let server = Server::prepared(&all, |folder| raw(folder, "a.raw"));
        server.login();
        let said = server.end();
        assert_eq!(said.contains("web01: disk 1 of 1 is ready"), heard, "{said:?}");
    }
}

#[test]
fn mistakes_are_said_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    raw(home.path(), "a.raw");
    std::fs::write(home.path().join("odd.raw"), [0; 700]).unwrap();
    for (args, status, words) in [
        (&["--running", "nobody"][..], 2, "there is no such machine"),
        (&["--odd", "web01=round"], 2, "KIND is"),
        (&["--efi", "web01=round"], 2, "KIND is secure or tpm"),
        (&["--vm", "a=a.raw", "--vm", "x/a=a.raw"], 2, "two machines have this name"),
        (&["--esx", "--vm", "x/a=a.raw"], 2, "no folders"),
        (&["--vm", "=a.raw"], 2, "is empty"),
        (&["--vm", "a=nothing.raw"], 5, "nothing.raw"),
        (&["--vm", "a=odd.raw"], 7, "whole KiB"),
        (&["--fault", "op=nfc"], 2, "it does nothing"),
        (&["--fault", "fault=Sunshine"], 2, "no fault"),
        (&["--page-size", "0"], 2, "page-size"),
    ] {
        let output = command(home.path(), args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn an_interruption_ends_it_well_and_leaves_nothing() {
    let server = Server::start(&[]);
    let file = server.access["ca_file"].as_str().unwrap().to_owned();
    assert_eq!(server.interrupt(), 0);
    assert!(!std::path::Path::new(&file).exists());
}

#[test]
fn flag_serial_is_a_port_of_the_host() {
    let server = Server::start(&["--plain", "--running", "app01", "--serial", "app01"]);
    let client = server.login();
    let app = client.find("DC0/vm/app01");
    let devices = client.fetch(("VirtualMachine", &app), "config").text();
    let address = devices.split("telnet://").nth(1).expect("a serial port").split('<').next();
    let mut line = TcpStream::connect(address.unwrap()).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    line.write_all(b"\r").unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("app01 login: ") {
        let mut part = [0; 256];
        let len = line.read(&mut part).unwrap();
        assert_ne!(len, 0);
        said.extend_from_slice(&part[..len]);
    }
    assert_eq!(said[0], 255, "it speaks Telnet");
    let other = client.find("DC0/vm/web01");
    let devices = client.fetch(("VirtualMachine", &other), "config").text();
    assert!(!devices.contains("VirtualSerialPort"));
}
