//! Every value that objects give is held against the interface: types, fields, their order, and
//! that none is missing that must be there.

use clap::FromArgMatches;
use hyper_common::cancel::Cancel;

use super::disk::Store;
use super::http::made_fault;
use super::lease;
use super::machine::{Power, Snapshot};
use super::schema::{SCHEMA, Type, is_primitive};
use super::sim::{Settings, Sim};
use super::state::State;
use super::value::{Data, Ref, Value};
use crate::args::SimArgs;
use crate::request::Request;
use crate::rule::Rules;

fn faults(place: &str, value: &Value, kind: Type, found: &mut Vec<String>) {
    match value {
        Value::List(list) if kind.list => {
            let one = Type { list: false, ..kind };
            list.iter().for_each(|item| faults(place, item, one, found));
        }
        _ if kind.list => found.push(format!("{place}: no list")),
        Value::Ref(it) if kind.reference => {
            if !SCHEMA.is_a(&it.kind, kind.name) {
                found.push(format!("{place}: a {} is no {}", it.kind, kind.name));
            }
        }
        Value::Any(..) | Value::Ref(_) if kind.name == "anyType" => {}
        Value::Text(text) if !kind.reference => {
            let good = match (kind.name, SCHEMA.words(kind.name)) {
                (_, Some(words)) => words.contains(&text.as_str()),
                ("int", _) => text.parse::<i32>().is_ok(),
                ("short", _) => text.parse::<i16>().is_ok(),
                ("long", _) => text.parse::<i64>().is_ok(),
                ("boolean", _) => text.parse::<bool>().is_ok(),
                ("dateTime", _) => text.parse::<jiff::Timestamp>().is_ok(),
                (name, _) => is_primitive(name),
            };
            if !good {
                found.push(format!("{place}: {text:?} is no {}", kind.name));
            }
        }
        Value::Data(data) if !kind.reference && SCHEMA.is_a(data.kind, kind.name) => {
            fields(place, data, found);
        }
        other => found.push(format!("{place}: {other:?} is no {}", kind.name)),
    }
}

fn fields(place: &str, data: &Data, found: &mut Vec<String>) {
    let members = SCHEMA.members(data.kind);
    let at = |name: &str| members.iter().position(|member| member.name == name);
    let places: Vec<_> = data.fields.iter().map(|(name, _)| at(name)).collect();
    if !places.is_sorted() || places.array_windows().any(|[a, b]| a == b) {
        found.push(format!("{place}: the fields of {} are out of order", data.kind));
    }
    for (name, value) in &data.fields {
        let place = format!("{place}.{name}");
        match SCHEMA.member(data.kind, name) {
            Some(member) => faults(&place, value, member.kind, found),
            None => found.push(format!("{place}: {} has no such field", data.kind)),
        }
    }
    for member in members.iter().filter(|it| !it.kind.optional && !it.kind.list) {
        if data.get(member.name).is_none() {
            found.push(format!("{place}: {} is missing in {}", member.name, data.kind));
        }
    }
}

fn properties(state: &State, session: Option<&str>, object: &Ref) -> (usize, Vec<String>) {
    let (mut count, mut found) = (0, Vec::new());
    for member in SCHEMA.members(&object.kind) {
        if let Some(value) = state.property(session, object, member.name) {
            faults(&format!("{}.{}", object.kind, member.name), &value, member.kind, &mut found);
            count += 1;
        }
    }
    (count, found)
}

async fn sim(args: &[&str]) -> std::sync::Arc<Sim> {
    let words = ["hyper-sim", "vsphere"].iter().chain(args);
    let matches = crate::command().try_get_matches_from(words).unwrap();
    let Request::Vsphere(request) =
        Request::new(SimArgs::from_arg_matches(&matches).unwrap()).unwrap()
    else {
        panic!("another platform")
    };
    let (tree, _) = crate::world::make(&request).await.unwrap();
    let settings = Settings {
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 443)),
        user: "user".into(),
        password: "pass".into(),
        session_timeout: std::time::Duration::from_secs(60),
        lease_timeout: std::time::Duration::from_secs(60),
        page_size: None,
        manifest: true,
        nfc_host: "*".into(),
        nfc_streams: None,
        scheme: "https",
        thumbprint: "AA".into(),
    };
    let store = Store::new(Cancel::new()).unwrap();
    std::sync::Arc::new(Sim::new(settings, store, Rules::new(vec![]), State::new(tree)))
}

#[tokio::test]
async fn every_value_is_what_the_interface_says() {
    let odd = ["--odd", "db01=rdm", "--odd", "web01=encrypted", "--running", "app01"];
    for args in [
        &[][..],
        &odd,
        &["--esx", "--running", "db01"],
        &["--efi", "web01=tpm", "--alarm", "web01=red:jo"],
    ] {
        let sim = sim(args).await;
        let mut state = sim.lock();
        let ids: Vec<String> = state.tree.machines.keys().cloned().collect();
        let first = state.tree.machines.get_mut(&ids[2]).unwrap();
        for id in 1..4 {
            first.snapshots.push(Snapshot {
                reference: Ref::new("VirtualMachineSnapshot", format!("snapshot-{id}")),
                id,
                name: "a".into(),
                description: String::new(),
                created: first.created,
                quiesced: false,
                memory: id == 2,
                power: Power::Off,
                parent: (id > 1).then(|| id - 1),
            });
        }
        first.current = Some(3);
        let mut objects: Vec<Ref> = state.tree.entities.keys().cloned().collect();
        objects.extend(state.tree.all_machines());
        objects.push(Ref::new("VirtualMachineSnapshot", "snapshot-2"));
        let on = state.tree.all_machines()[0].value.clone();
        super::history::switched(&mut state, &on, Power::On, "jo");
        objects.push(super::service::manager(state.tree.esx, "EventManager"));
        objects.extend((!state.tree.esx).then(super::alarm::definition));
        objects.push(Ref::new("ServiceInstance", "ServiceInstance"));
        if !state.tree.esx {
            objects.push(super::service::manager(false, "CustomizationSpecManager"));
        }
        for object in objects {
            assert!(state.exists(None, &object), "{object}");
            let (count, found) = properties(&state, None, &object);
            assert!(count > 1, "{object} shows nothing");
            assert!(found.is_empty(), "{args:?} {object}: {found:#?}");
        }
    }
}

#[tokio::test]
async fn a_lease_and_a_fault_are_what_the_interface_says() {
    let sim = sim(&[]).await;
    let machine = sim.lock().tree.all_machines()[0].clone();
    lease::export(&sim, &machine, None).unwrap();
    let lease = Ref::new("HttpNfcLease", sim.lock().leases.keys().next().unwrap().as_str());
    let ready = |sim: &Sim| sim.lock().leases[&lease.value].is_ready();
    while !ready(&sim) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (count, found) = properties(&sim.lock(), None, &lease);
    assert_eq!((count, found), (6, vec![]));
    lease::lose_all(&sim);
    let (count, found) = properties(&sim.lock(), None, &lease);
    assert_eq!((count, found), (6, vec![]));
    let fault = made_fault("NoPermission").unwrap();
    let kind =
        Type { name: "LocalizedMethodFault", reference: false, list: false, optional: false };
    let mut found = Vec::new();
    faults("fault", &fault.localized().into(), kind, &mut found);
    assert_eq!(found, [""; 0]);
    assert!(made_fault("VirtualDisk").is_none() && made_fault("InvalidProperty").is_none());
}
