//! The service itself: what it says about itself and which managers it has.

use jiff::Timestamp;

use super::inventory::Places;
use super::value::{Data, Ref, Value};

/// The version of the interface that is spoken.
pub const API: &str = "8.0.3.0";

/// The managers: field of the service content, kind, id on a vCenter, id on a host where that has it.
const MANAGERS: [(&str, &str, &str, &str); 8] = [
    ("propertyCollector", "PropertyCollector", "propertyCollector", "ha-property-collector"),
    ("viewManager", "ViewManager", "ViewManager", "ViewManager"),
    ("sessionManager", "SessionManager", "SessionManager", "ha-sessionmgr"),
    ("perfManager", "PerformanceManager", "PerfMgr", "ha-perfmgr"),
    ("eventManager", "EventManager", "EventManager", "ha-eventmgr"),
    ("customizationSpecManager", "CustomizationSpecManager", "CustomizationSpecManager", ""),
    ("searchIndex", "SearchIndex", "SearchIndex", "ha-searchindex"),
    ("ovfManager", "OvfManager", "OvfManager", "ha-ovf-manager"),
];

/// The manager of a kind.
pub fn manager(esx: bool, kind: &str) -> Ref {
    let found = MANAGERS.iter().find(|manager| manager.1 == kind);
    let id = found.map_or("", |&(_, _, centre, host)| if esx { host } else { centre });
    Ref::new(kind, id)
}

/// The collector that every session has.
pub fn collector(esx: bool) -> Ref {
    manager(esx, "PropertyCollector")
}

/// Whether an object is the service or one of its managers.
pub fn is_manager(esx: bool, object: &Ref) -> bool {
    let service = object.kind == "ServiceInstance" && object.value == "ServiceInstance";
    let managers = MANAGERS.iter().any(|(_, kind, ..)| *kind == object.kind);
    service || managers && !object.value.is_empty() && *object == manager(esx, &object.kind)
}

/// A property of the service.
pub fn property(esx: bool, name: &str) -> Option<Value> {
    Some(match name {
        "serverClock" => Timestamp::now().into(),
        "content" => content(esx).into(),
        _ => return None,
    })
}

/// What a client asks for first.
pub fn content(esx: bool) -> Data {
    let mut data = Data::new("ServiceContent").set("rootFolder", Places::root(esx));
    for (field, kind, _, on_host) in MANAGERS {
        if esx && on_host.is_empty() {
            continue;
        }
        data = data.set(field, manager(esx, kind));
        if field == "viewManager" {
            data = data.set("about", about(esx));
        }
    }
    data
}

/// What the service says about itself.
pub fn about(esx: bool) -> Data {
    let (name, product, api, line, os) = match esx {
        true => ("VMware ESXi", "VMware ESX Server", "HostAgent", "embeddedEsx", "vmnix-x86"),
        false => (
            "VMware vCenter Server",
            "VMware VirtualCenter Server",
            "VirtualCenter",
            "vpx",
            "linux-x64",
        ),
    };
    Data::new("AboutInfo")
        .set("name", name)
        .set("fullName", format!("{name} 8.0.3 build-24022510 (hyper-sim)"))
        .set("vendor", "VMware, Inc.")
        .set("version", "8.0.3")
        .set("build", "24022510")
        .set("localeVersion", "INTL")
        .set("localeBuild", "000")
        .set("osType", os)
        .set("productLineId", line)
        .set("apiType", api)
        .set("apiVersion", API)
        .maybe("instanceUuid", (!esx).then_some("dbed6e0c-bd88-4ef6-b594-21283e1c677f"))
        .set("licenseProductName", product)
        .set("licenseProductVersion", "8.0")
}

/// The document that says which versions of the interface there are.
pub fn versions() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\">\n \
         <namespace>\n  <name>urn:vim25</name>\n  <version>{API}</version>\n  <priorVersions>\n   \
         <version>8.0.2.0</version>\n   <version>8.0.1.0</version>\n   \
         <version>8.0.0.0</version>\n   <version>7.0.3.0</version>\n   \
         <version>7.0</version>\n   <version>6.7</version>\n   <version>6.5</version>\n   \
         <version>6.0</version>\n   <version>5.5</version>\n  </priorVersions>\n \
         </namespace>\n</namespaces>\n"
    )
}
