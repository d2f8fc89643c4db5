//! What goes wrong by rule, and what the server refuses by itself.

use crate::server::{Client, Server, flat, wait_for};

fn with(rules: &[&str]) -> (Server, Client) {
    let mut args = vec!["--plain"];
    rules.iter().for_each(|rule| args.extend(["--fault", rule]));
    let server = Server::start(&args);
    let client = server.login();
    (server, client)
}

const WEB: (&str, &str) = ("VirtualMachine", "vm-1001");

#[test]
fn a_stream_is_cut_shortened_and_corrupted_once_each() {
    let (_server, client) = with(&[
        "op=nfc,object=disk-0,max=1,cut=100000",
        "op=nfc,object=disk-0,skip=1,max=1,short=100000",
        "op=nfc,object=disk-0,skip=2,max=1,corrupt=100000",
    ]);
    let (_, urls) = client.export("vm-1001");
    let get = || client.get(&urls[0]);
    let (cut, short, corrupt, good) = (get(), get(), get(), get());
    assert!(good.whole && good.body.len() > 200_000);
    assert!(!cut.whole && cut.body.len() <= 100_000);
    assert!(short.whole && short.body == good.body[..100_000]);
    let differ = |at: &usize| corrupt.body[*at] != good.body[*at];
    let places: Vec<usize> = (0..good.body.len()).filter(differ).collect();
    assert!(corrupt.whole && places == [100_000]);
    assert_eq!(good.headers["content-type"], "application/x-vnd.vmware-streamVmdk");
    assert!(!good.headers.contains_key("content-length"));
}

#[test]
fn only_what_was_sent_whole_is_in_the_manifest() {
    let (_server, client) = with(&["op=nfc,object=disk-1,cut=10"]);
    let (lease, urls) = client.export("vm-1002");
    assert!(client.get(&urls[0]).whole && !client.get(&urls[1]).whole);
    let manifest = client.call("HttpNfcLeaseGetManifest", ("HttpNfcLease", &lease), "");
    assert!(manifest.has("/vm-1002/ParaVirtualSCSIController0:0"));
    assert!(!manifest.has("/vm-1002/ParaVirtualSCSIController0:1"));
}

#[test]
fn a_login_expires_and_a_listing_never_looks_empty() {
    let (_server, client) = with(&["op=RetrievePropertiesEx,max=1,expire"]);
    let inner = "<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet>\
                 <objectSet><obj type=\"Folder\">group-v3</obj><skip>true</skip></objectSet>\
                 </specSet><options/>";
    let answer =
        client.call("RetrievePropertiesEx", ("PropertyCollector", "propertyCollector"), inner);
    assert_eq!(answer.status, 200);
    assert!(answer.has("<missingSet><path>name</path>") && answer.has("NotAuthenticated"));
    assert!(client.fetch(WEB, "name").has("NotAuthenticatedFault"));
    assert_eq!(client.get(&flat("web01")).status, 401);
}

#[test]
fn leases_are_lost() {
    let (_server, client) = with(&["op=HttpNfcLeaseProgress,skip=1,max=1,lose"]);
    let (lease, urls) = client.export("vm-1001");
    let this = ("HttpNfcLease", lease.as_str());
    let progress = || client.call("HttpNfcLeaseProgress", this, "<percent>5</percent>");
    assert_eq!(progress().status, 200);
    assert!(progress().has("InvalidStateFault"));
    assert_eq!(client.get(&urls[0]).status, 404);
    assert!(client.fetch(this, "state").has(">error<"));
    assert_eq!(client.call("PowerOnVM_Task", WEB, "").status, 200);
}

#[test]
fn a_fault_and_a_delay_are_made_up() {
    let (_server, client) = with(&[
        "op=PowerOnVM_Task,object=vm-1001,fault=NoPermission",
        "op=CurrentTime,delay=300ms",
    ]);
    assert!(client.call("PowerOnVM_Task", WEB, "").has("xsi:type=\"NoPermission\""));
    let start = std::time::Instant::now();
    client.call("CurrentTime", ("ServiceInstance", "ServiceInstance"), "");
    assert!(start.elapsed() >= std::time::Duration::from_millis(300));
}

#[test]
fn a_task_is_slow_and_fails_as_asked() {
    let (_server, client) = with(&[
        "op=task,object=powerOn vm-1001,max=1,fault=HostNotConnected",
        "op=task,object=powerOn vm-1001,delay=300ms",
    ]);
    let end = |state: &str| {
        let answer = client.call("PowerOnVM_Task", WEB, "");
        let task = answer.element("returnval");
        let begun = std::time::Instant::now();
        let info = || client.fetch(("Task", &task), "info");
        wait_for("the end of the task", || info().has(&format!("<state>{state}</state>")));
        let cancel = client.call("CancelTask", ("Task", &task), "");
        assert!(cancel.has("InvalidStateFault"), "{}", cancel.text());
        begun.elapsed()
    };
    end("error");
    assert!(client.fetch(WEB, "runtime").has("poweredOff"));
    assert!(end("success") >= std::time::Duration::from_millis(300));
    // Only what makes something can be called off.
    let off = client.call("PowerOffVM_Task", WEB, "").element("returnval");
    assert!(client.call("CancelTask", ("Task", &off), "").has("NotSupportedFault"));
}

#[test]
fn ranges_of_a_flat_disk() {
    let (_server, client) = with(&["op=folder,object=web01-flat,skip=6,max=1,whole"]);
    let path = flat("web01");
    let get = |range: &str| client.request("GET", &path, &[("Range", range)], "");
    let whole = client.get(&path);
    assert_eq!((whole.status, whole.body.len()), (200, 64 << 20));
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let part = get("bytes=1000-1999");
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[1000..2000]));
    assert_eq!(part.headers["content-range"], "bytes 1000-1999/67108864");
    assert_eq!(get("bytes=-5").body, whole.body[whole.body.len() - 5..]);
    let past = get("bytes=67108864-");
    assert_eq!((past.status, past.headers["content-range"].as_str()), (416, "bytes */67108864"));
    let modified = whole.headers["last-modified"].as_str();
    let with_date = |date: &str| {
        client.request("GET", &path, &[("Range", "bytes=0-9"), ("If-Range", date)], "").status
    };
    assert_eq!(with_date(modified), 206);
    assert_eq!(with_date("Sat, 01 Jan 2000 00:00:00 GMT"), 200);
    assert_eq!(get("bytes=0-9").status, 200, "the rule lets it ignore the range");
    let head = client.request("HEAD", &path, &[], "");
    assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "67108864"));
    assert_eq!(client.get(&path.replace("DC0", "DC9")).status, 404);
}

#[test]
fn a_running_disk_is_locked_until_it_has_a_snapshot() {
    let server = Server::start(&["--plain", "--running", "web01"]);
    let client = server.login();
    assert_eq!(client.get(&flat("web01")).status, 500);
    let inner = "<name>a</name><memory>false</memory><quiesce>false</quiesce>";
    assert_eq!(client.call("CreateSnapshot_Task", WEB, inner).status, 200);
    wait_for("the disk", || client.get(&flat("web01")).status == 200);
    assert!(client.fetch(WEB, "config").has("web01/web01-000001.vmdk"));
}

#[test]
fn requests_that_are_none_are_refused() {
    let (_server, client) = with(&["op=nothing,delay=1s"]);
    let post = |body: &str| client.request("POST", "/sdk", &[], body);
    assert!(post("").has("InvalidRequest") && post("<a/>").has("InvalidRequest"));
    assert!(client.call("Rename_Task", WEB, "").has("there is no method Rename_Task here"));
    assert!(client.fetch(WEB, "colour").has("InvalidPropertyFault"));
    let gone = ("VirtualMachine", "vm-1");
    assert!(client.fetch(gone, "name").has("ManagedObjectNotFoundFault"));
    assert_eq!(client.request("PUT", "/folder/a", &[], "").status, 405);
    assert_eq!(client.get("/nfc/a/b").status, 404);
    assert_eq!(client.get("/").status, 404);
}
