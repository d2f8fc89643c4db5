//! Servers that behave badly, played by a few lines: what vcsim does not do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use futures::StreamExt;

use super::*;
use crate::config::{LoginKind, PasswordSource, Secret, Server, Surroundings};
use crate::error::ErrorKind;

const ENVELOPE: &str = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:x=\"http://www.w3.org/2001/XMLSchema-instance\"><e:Body>";

/// Answers each call, by its number among those of its method.
type Answer = Box<dyn Fn(&str, usize) -> (u16, String) + Send>;

/// A server and the methods that it was asked for.
struct Fake {
    vsphere: Vsphere,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/sdk", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let calls = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                serve(stream, &calls, &answer);
            }
        });
        let server = Server {
            url,
            user: Some("user".into()),
            passwords: vec![PasswordSource::Given(Secret::new("pass"))],
            ..Server::default()
        };
        let context = ContextConfig {
            name: "fake".into(),
            provider: NAME.into(),
            path: None,
            title: None,
            namespace: None,
            all_namespaces: false,
            kube: None,
            server: Some(server),
            configured: true,
            surroundings: Surroundings::default(),
        };
        Self { vsphere: Vsphere::open(&context).unwrap(), asked }
    }

    fn count(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }

    async fn list(&self) -> Vec<Result<Vm>> {
        self.vsphere.list(VmFilter::default()).collect().await
    }
}

/// One request to a connection.
fn serve(stream: std::net::TcpStream, calls: &Mutex<Vec<String>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let call = parse(&body).unwrap();
    let number = {
        let mut calls = calls.lock().unwrap();
        calls.push(call.name.clone());
        calls.iter().filter(|asked| **asked == call.name).count()
    };
    let (status, inner) = match call.name.as_str() {
        "RetrieveServiceContent" => (200, content()),
        _ => answer(&call.name, number),
    };
    let text = format!("{ENVELOPE}{inner}</e:Body></e:Envelope>");
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\nRetry-After: 0\r\n\
         Set-Cookie: vmware_soap_session=\"c{number}\"; Path=/\r\n\r\n{text}",
        text.len()
    );
}

fn content() -> String {
    let reference = |name: &str| format!("<{name} type=\"T\">{name}</{name}>");
    let all = ["rootFolder", "propertyCollector", "sessionManager", "viewManager", "searchIndex"];
    let all: String = all.map(reference).concat();
    format!("<R><returnval>{all}<about><name>fake</name></about></returnval></R>")
}

fn fault(kind: &str) -> (u16, String) {
    let detail = format!("<detail><F x:type=\"{kind}\"/></detail>");
    (500, format!("<e:Fault><faultcode>c</faultcode><faultstring/>{detail}</e:Fault>"))
}

fn machine(id: &str) -> String {
    let name = format!("<propSet><name>name</name><val>{id}</val></propSet>");
    format!("<objects><obj type=\"VirtualMachine\">{id}</obj>{name}</objects>")
}

fn missing(kind: &str) -> String {
    format!(
        "<objects><obj type=\"VirtualMachine\">vm-1</obj><missingSet><path>name</path>\
         <fault><fault x:type=\"{kind}\"/></fault></missingSet></objects>"
    )
}

fn page(inner: &str) -> (u16, String) {
    (200, format!("<R><returnval>{inner}</returnval></R>"))
}

/// A server whose retrievals answer what `retrieve` says, from the second on: the first one is
/// about names.
fn listing(retrieve: impl Fn(&str, usize) -> (u16, String) + Send + 'static) -> Fake {
    Fake::new(Box::new(move |method, number| match method {
        "CreateContainerView" => (200, "<R><returnval type=\"V\">v</returnval></R>".into()),
        "RetrievePropertiesEx" if number == 1 => (200, "<R></R>".into()),
        "RetrievePropertiesEx" => retrieve(method, number - 1),
        "ContinueRetrievePropertiesEx" => retrieve(method, number),
        _ => (200, "<R></R>".into()),
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_login_told_beside_the_values_is_renewed() {
    let fake = listing(|_, number| match number {
        1 => page(&missing("NotAuthenticated")),
        _ => page(&machine("vm-1")),
    });
    let found = fake.list().await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].as_ref().unwrap().name, "vm-1");
    assert_eq!(fake.count("Login"), 2);
    let logins = fake.vsphere.client().endpoint().config.surroundings.logins.all();
    assert!(logins.iter().all(|login| login.how == LoginKind::Made) && logins.len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_never_holds_is_a_failure_and_no_empty_list() {
    let fake = listing(|_, _| page(&missing("NotAuthenticated")));
    let found = fake.list().await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].as_ref().unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(fake.count("Login"), 5, "it is not tried without end");
    // What was told before stays told, once.
    let fake = listing(|_, _| page(&format!("{}{}", machine("vm-1"), missing("NotAuthenticated"))));
    let found = fake.list().await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].as_ref().unwrap_err().kind(), ErrorKind::Auth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_outlives_logins_and_views_and_names_no_machine_twice() {
    let all = || format!("{}{}{}", machine("vm-1"), machine("vm-2"), machine("vm-3"));
    let gone = || {
        let detail = "<detail><F x:type=\"ManagedObjectNotFound\"><obj type=\"ContainerView\">v\
                      </obj></F></detail>";
        (500, format!("<e:Fault><faultcode>c</faultcode><faultstring/>{detail}</e:Fault>"))
    };
    let fake = listing(move |_, number| match number {
        1 => page(&format!("{}{}", machine("vm-1"), missing("NotAuthenticated"))),
        2 => gone(),
        3 => fault("NotAuthenticated"),
        4 => {
            page(&format!("{}{}{}", machine("vm-2"), machine("vm-1"), missing("NotAuthenticated")))
        }
        _ => page(&all()),
    });
    let names: Vec<_> = fake.list().await.into_iter().map(|vm| vm.unwrap().name).collect();
    assert_eq!(names, ["vm-1", "vm-2", "vm-3"]);
    assert_eq!((fake.count("Login"), fake.count("CreateContainerView")), (4, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_read_to_the_last() {
    let fake = listing(|method, number| match (method, number) {
        ("RetrievePropertiesEx", _) => page(&format!("<token>1</token>{}", machine("vm-1"))),
        (_, 1) => page(&format!("{}<token>2</token>", machine("vm-2"))),
        _ => page(&machine("vm-3")),
    });
    let names: Vec<_> = fake.list().await.into_iter().map(|vm| vm.unwrap().name).collect();
    assert_eq!(names, ["vm-1", "vm-2", "vm-3"]);
    assert_eq!(fake.count("DestroyView"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once() {
    let fake = Fake::new(Box::new(|_, _| fault("InvalidLogin")));
    let one = || fake.vsphere.resolve("web01");
    let all = futures::future::join_all([one(), one(), one(), one()]).await;
    assert!(all.iter().all(|it| it.as_ref().unwrap_err().kind() == ErrorKind::Auth), "{all:?}");
    assert_eq!(fake.vsphere.probe().await.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(fake.count("Login"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_but_never_to_log_in_or_to_act() {
    let fake = Fake::new(Box::new(|method, number| match method {
        "Login" => (200, "<R></R>".into()),
        "RetrievePropertiesEx" if number > 2 => page(&machine("vm-1")),
        _ => (503, String::new()),
    }));
    let client = fake.vsphere.client();
    let vm = MoRef::new("VirtualMachine", "vm-1");
    assert_eq!(client.properties(&vm, &["name"]).await.unwrap().str("name"), Some("vm-1"));
    let acted = client.call("PowerOnVM_Task", &vm, Body::new()).await.unwrap_err();
    assert_eq!((acted.kind(), fake.count("PowerOnVM_Task")), (ErrorKind::Unavailable, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_devices_only_what_a_record_needs_is_kept() {
    let nic = "<VirtualDevice x:type=\"VirtualVmxnet3\"><key>4000</key><deviceInfo><label>a</label>\
               <macAddress>wrong</macAddress></deviceInfo><backing x:type=\"B\"><port><switchUuid/>\
               <portgroupKey>pg</portgroupKey></port><deviceName>net</deviceName></backing>\
               <connectable><a><b/></a></connectable><macAddress>00:50:56:00:00:01</macAddress>\
               </VirtualDevice>";
    let disk = "<VirtualDevice x:type=\"VirtualDisk\"><key>2000</key><shares><level/></shares>\
                <capacityInKB>7</capacityInKB></VirtualDevice>";
    let devices = format!(
        "<propSet><name>config.hardware.device</name><val>{nic}{disk}</val></propSet></objects>"
    );
    let fake = listing(move |_, _| page(&machine("vm-1").replace("</objects>", &devices)));
    let vm = fake.list().await.pop().unwrap().unwrap();
    assert_eq!((vm.macs, vm.networks), (vec!["00:50:56:00:00:01".into()], vec!["net".into()]));
    assert_eq!((vm.disk_count, vm.capacity_bytes), (1, Some(7 * 1024)));
    let deep = format!("<objects><VirtualDevice><a>{}", "<a>".repeat(1000));
    let fake = listing(move |_, _| (200, format!("<R><returnval>{deep}")));
    assert!(fake.list().await.pop().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_lists_end_with_an_error() {
    let deep = format!("<objects>{}", "<a>".repeat(1000));
    let numbers = machine("vm-1").replace("vm-1", &"9".repeat(1000));
    for (inner, fine) in [(deep, false), (numbers, true), ("<objects".to_owned(), false)] {
        let fake = listing(move |_, _| (200, format!("<R><returnval>{inner}")));
        let found = fake.list().await;
        assert!(found.last().unwrap().is_err(), "cut: {found:?}");
        assert_eq!(found.len(), 1 + usize::from(fine));
    }
}

#[test]
fn hostile_messages_are_refused_or_bounded() {
    let whole = |inner: &str| parse(format!("{ENVELOPE}{inner}</e:Body></e:Envelope>").as_bytes());
    assert!(whole(&format!("{}{}", "<a>".repeat(80), "</a>".repeat(80))).is_err());
    assert!(
        parse(b"<!DOCTYPE a [<!ENTITY b \"bb\">]><Envelope><Body><a/></Body></Envelope>").is_err()
    );
    assert!(whole("<a>&unknown;</a>").is_err());
    for broken in ["", "<", "<a/>", "<Envelope/>", "<Envelope><Body/></Envelope>", "\u{0}"] {
        assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
    }
    let huge = whole(&format!("<a><n>{}</n><m>-1</m></a>", "9".repeat(100))).unwrap();
    assert_eq!((huge.number::<u64>("n"), huge.number::<u64>("m")), (None, None));
    let text = whole("<a x:type=\"p:Kind\" type=\"T\">a&amp;b<![CDATA[<c>]]>&#x41;</a>").unwrap();
    assert_eq!(text.text, "a&b<c>A");
    assert_eq!((text.kind.as_deref(), text.refers.as_deref()), (Some("Kind"), Some("T")));
}

#[test]
fn any_text_survives_the_way_to_the_server() {
    let text = "p&<s>\"'%41:@/ \u{e4}\r\n]]>";
    let message = Body::new().text("password", text).envelope("Login", &MoRef::new("T", "<&>"));
    let call = parse(message.as_bytes()).unwrap();
    assert_eq!(call.str("password"), Some(text));
    assert_eq!(call.child("_this").unwrap().reference().unwrap().value, "<&>");
}
