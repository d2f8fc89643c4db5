//! Events as a server tells them (`Event` of the vSphere API and what is made from it), and their
//! records.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::NAME;
use super::client::Client;
use super::soap::{MoRef, Value};
use crate::error::Result;
use crate::provider::facets::events::{Pattern, Severity, VmEvent};

/// The things that an event may be about: its field, the reference in that, and the type of one
/// that does not tell. What an event is about above all comes first.
const ABOUT: [(&str, &str); 7] = [
    ("vm", "vm"),
    ("host", "host"),
    ("ds", "datastore"),
    ("net", "network"),
    ("dvs", "dvs"),
    ("computeResource", "computeResource"),
    ("datacenter", "datacenter"),
];

/// The fields of every event, which have fields of their own in the record.
const COMMON: [&str; 14] = [
    "key",
    "chainId",
    "createdTime",
    "userName",
    "datacenter",
    "computeResource",
    "host",
    "vm",
    "ds",
    "net",
    "dvs",
    "fullFormattedMessage",
    "eventTypeId",
    "severity",
];

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its number; later events have higher ones.
    pub key: i64,
    /// When it happened.
    pub time: Timestamp,
    value: Value,
}

impl Item {
    /// The types of things that an event names.
    pub const NAMED: [&'static str; 9] = [
        "VirtualMachine",
        "HostSystem",
        "Datastore",
        "Network",
        "DistributedVirtualPortgroup",
        "DistributedVirtualSwitch",
        "ComputeResource",
        "ClusterComputeResource",
        "Datacenter",
    ];

    /// An event of which nothing else is known.
    #[cfg(test)]
    pub fn at(key: i64, time: Timestamp) -> Self {
        Self { key, time, value: Value::default() }
    }

    fn read(value: &Value) -> Option<Self> {
        let time = value.str("createdTime")?.parse().ok()?;
        Some(Self { key: value.number("key")?, time, value: value.clone() })
    }

    /// The things that it is about, the first above all: what they are called, and which.
    fn about(&self) -> impl Iterator<Item = (&str, MoRef)> {
        ABOUT.iter().filter_map(|(field, reference)| {
            let argument = self.value.child(field)?;
            Some((
                argument.str("name").unwrap_or_default(),
                argument.child(reference)?.reference()?,
            ))
        })
    }

    /// Whether it names a thing.
    pub fn is_about(&self, thing: &MoRef) -> bool {
        self.about().any(|(_, own)| own.value == thing.value)
    }
}

/// The events among some values. What has no key or time is none.
pub(super) fn read_items<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<Item> {
    values.filter_map(Item::read).collect()
}

/// What the server says of its kinds of events.
#[derive(Debug)]
pub(super) struct Reader {
    severities: HashMap<String, Severity>,
}

impl Reader {
    /// Asks the server.
    ///
    /// # Errors
    /// Those of a call; `Unsupported` for a server without events.
    pub async fn new(client: &Client) -> Result<Self> {
        let manager = client.content().await?.manager("eventManager")?;
        let found = client.properties(&manager, &["description.eventInfo"]).await?;
        let infos = found.get("description.eventInfo").map(|it| it.children.as_slice());
        let severities = infos.unwrap_or_default().iter().filter_map(|info| {
            Some((id_of(info)?.to_owned(), info.str("category")?.parse().ok()?))
        });
        Ok(Self { severities: severities.collect() })
    }

    /// The server's names of types that a person wrote; `None` where one is not known for certain.
    pub fn types(&self, words: &[String]) -> Option<Vec<String>> {
        let server = |word: &String| {
            let known = |it: &&String| {
                it.eq_ignore_ascii_case(word) || clean(it).eq_ignore_ascii_case(word)
            };
            self.severities.keys().find(known).cloned()
        };
        words.iter().map(server).collect()
    }

    /// Those of some types that the server describes none of. What has a dot in it may come from an
    /// extension that describes nothing.
    pub fn unknown(&self, types: &[Pattern]) -> Vec<String> {
        let is_known = |it: &Pattern| self.severities.keys().any(|id| it.accepts_type(clean(id)));
        let unknown = types.iter().filter(|it| !it.text().contains('.') && !is_known(it));
        unknown.map(|it| it.text().to_owned()).collect()
    }

    /// The record of an event.
    pub fn record(&self, context: &str, item: &Item) -> VmEvent {
        let value = &item.value;
        let text = |path: &str| value.str(path).map(str::to_owned);
        let class = value.kind.as_deref().unwrap_or("Event");
        let id = value.str("eventTypeId").unwrap_or(class);
        let own = value.str("severity").and_then(|it| it.parse().ok());
        let severity = own.or_else(|| self.severities.get(id).copied());
        // Events of one class that have each its own severity are informational where they have none.
        let severity = severity.or_else(|| (class == "EventEx").then_some(Severity::Info));
        let mut about = item.about();
        let first = about.next().map(|(name, it)| (name.to_owned(), it.kind, it.value));
        let first = first.or_else(|| object(value));
        let (entity_name, entity_type, entity_id) = first
            .map_or((None, None, None), |(name, kind, id)| {
                (Some(name).filter(|it| !it.is_empty()), Some(kind), Some(id))
            });
        VmEvent {
            context: context.to_owned(),
            provider: NAME.to_owned(),
            event_id: item.key.to_string(),
            event_type: clean(id).to_owned(),
            severity,
            created_time: item.time,
            first_time: None,
            count: 1,
            message: value.str("fullFormattedMessage").unwrap_or_default().trim().to_owned(),
            entity_name,
            entity_type,
            entity_id,
            vm: text("vm.name"),
            vm_id: text("vm.vm"),
            namespace: None,
            datacenter: text("datacenter.name"),
            cluster: text("computeResource.name"),
            host: text("host.name"),
            user_name: text("userName"),
            source: None,
            chain_id: text("chainId"),
            metadata: metadata(value),
            late: false,
            gap: None,
        }
    }
}

/// What an event of no class of its own says that it is about.
fn object(value: &Value) -> Option<(String, String, String)> {
    let text = |path: &str| value.str(path).map(str::to_owned);
    let kind = text("objectType")?;
    let kind = kind.strip_prefix("vim.").unwrap_or(&kind).to_owned();
    Some((text("objectName").unwrap_or_default(), kind, text("objectId")?))
}

/// The kind of event that a description is about. Those of no class of their own are described as
/// `EventEx`, their own name being in front of the words.
fn id_of(info: &Value) -> Option<&str> {
    let key = info.str("key")?;
    match key {
        "EventEx" | "ExtendedEvent" => info.str("fullFormat")?.split('|').next(),
        _ => Some(key),
    }
}

/// The name of a kind of event without the word that all classes end in.
fn clean(id: &str) -> &str {
    match id.contains('.') {
        true => id,
        false => id.strip_suffix("Event").filter(|it| !it.is_empty()).unwrap_or(id),
    }
}

/// What else the event tells: texts, names of things, and the words of faults.
fn metadata(value: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for child in value.children.iter().filter(|it| !COMMON.contains(&it.name.as_str())) {
        if child.name == "arguments" {
            if let Some((name, text)) = child.str("key").zip(child.str("value")) {
                all.insert(name.to_owned(), text.to_owned());
            }
            continue;
        }
        let text = match child.children.is_empty() {
            true => Some(child.text.as_str()).filter(|it| !it.is_empty()),
            false => child
                .str("name")
                .or_else(|| child.str("localizedMessage"))
                .or_else(|| child.str("entityName")),
        };
        if let Some(text) = text {
            all.entry(child.name.clone()).or_insert_with(|| text.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::soap::parse;
    use super::*;

    fn item(inner: &str) -> Item {
        let text = format!(
            "<e:Envelope xmlns:e=\"x\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <e:Body>{inner}</e:Body></e:Envelope>"
        );
        Item::read(&parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_event_without_a_class_has_its_own_name_and_severity() {
        let severities = [("com.vmware.x".to_owned(), Severity::Warning)].into();
        let reader = Reader { severities };
        let event = |severity: &str| {
            let item = item(&format!(
                "<returnval xsi:type=\"EventEx\"><key>7</key><chainId>7</chainId>\
                 <createdTime>2026-11-20T10:00:00Z</createdTime><userName></userName>\
                 <fullFormattedMessage>words </fullFormattedMessage>\
                 <eventTypeId>com.vmware.x</eventTypeId>{severity}\
                 <arguments><key>a</key><value xsi:type=\"xsd:string\">b</value></arguments>\
                 <objectId>host-1</objectId><objectType>vim.HostSystem</objectType>\
                 <objectName>esx1</objectName></returnval>"
            ));
            reader.record("lab", &item)
        };
        let told = event("");
        assert_eq!(
            (told.event_type.as_str(), told.severity),
            ("com.vmware.x", Some(Severity::Warning))
        );
        assert_eq!(
            (told.entity_name.as_deref(), told.entity_type.as_deref()),
            (Some("esx1"), Some("HostSystem"))
        );
        assert_eq!((told.metadata["a"].as_str(), told.message.as_str()), ("b", "words"));
        assert_eq!(told.user_name, None);
        assert_eq!(event("<severity>error</severity>").severity, Some(Severity::Error));
    }

    #[test]
    fn names_of_classes_lose_their_last_word() {
        assert_eq!(clean("VmPoweredOnEvent"), "VmPoweredOn");
        assert_eq!(clean("com.vmware.vc.ha.Event"), "com.vmware.vc.ha.Event");
        assert_eq!(clean("Event"), "Event");
    }
}
