//! Networks, and the cards of machines on them.

use super::client::Client;
use super::names::Names;
use super::soap::{Body, MoRef, Value};
use crate::error::{Error, Result};

/// What a card is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Backing {
    /// A network of a host, by its name.
    Standard(String),
    /// A port group of a distributed switch: the UUID of one, the key of the other.
    Distributed(String, String),
}

impl Backing {
    /// Adds it to a card.
    pub fn write(&self, body: Body) -> Body {
        match self {
            Self::Standard(name) => body
                .open("backing", Some("VirtualEthernetCardNetworkBackingInfo"))
                .text("deviceName", name)
                .close("backing"),
            Self::Distributed(switch, group) => body
                .open("backing", Some("VirtualEthernetCardDistributedVirtualPortBackingInfo"))
                .open("port", None)
                .text("switchUuid", switch)
                .text("portgroupKey", group)
                .close("port")
                .close("backing"),
        }
    }

    /// Whether a card is connected so.
    pub fn is_of(&self, card: &Value) -> bool {
        match self {
            Self::Standard(name) => card.str("backing.deviceName") == Some(name),
            Self::Distributed(_, group) => card.str("backing.port.portgroupKey") == Some(group),
        }
    }
}

/// The networks that a host or all hosts of a cluster have.
///
/// # Errors
/// Those of a call.
pub(super) async fn offered(client: &Client, of: &MoRef) -> Result<Vec<MoRef>> {
    let read = client.properties(of, &["network"]).await?;
    let all = read.get("network").map(|it| it.children.iter());
    Ok(all.into_iter().flatten().filter_map(Value::reference).collect())
}

/// How a card is connected to the network of a name, one of those that are offered.
///
/// # Errors
/// `NotFound` with those that there are; `Conflict` where several have the name; `Unsupported` for
/// a network of another kind.
pub(super) async fn find(
    client: &Client,
    names: &Names,
    offered: &[MoRef],
    wanted: &str,
) -> Result<Backing> {
    let name = |it: &MoRef| names.name(&it.value).unwrap_or_default().to_owned();
    let fitting: Vec<_> = offered.iter().filter(|it| name(it) == wanted).collect();
    let found = match fitting.as_slice() {
        [one] => *one,
        [] => {
            let mut known: Vec<_> = offered.iter().map(name).collect();
            known.sort();
            return Err(Error::not_found("there is no such network where the machine is")
                .with_subject(wanted)
                .with_hint(format!("there are: {}", known.join(", "))));
        }
        several => {
            let words = format!("{} networks have this name", several.len());
            return Err(Error::conflict(words).with_subject(wanted));
        }
    };
    match found.kind.as_str() {
        "Network" => Ok(Backing::Standard(wanted.to_owned())),
        "DistributedVirtualPortgroup" => {
            let path = "config.distributedVirtualSwitch";
            let group = client.properties(found, &["key", path]).await?;
            let lacks = || Error::unsupported("it has no switch").with_subject(wanted);
            let switch = group.reference(path).ok_or_else(lacks)?;
            let switch = client.properties(&switch, &["uuid"]).await?;
            let uuid = switch.str("uuid").ok_or_else(lacks)?.to_owned();
            let key = group.str("key").unwrap_or(&found.value).to_owned();
            Ok(Backing::Distributed(uuid, key))
        }
        kind => Err(Error::unsupported(format!("cards cannot be connected to a {kind} here"))
            .with_subject(wanted)),
    }
}

/// The card that a number from 1 on, a label or a hardware address means.
///
/// # Errors
/// `NotFound` with those that there are.
pub(super) fn card<'d>(devices: &'d [Value], wanted: &str) -> Result<&'d Value> {
    let cards: Vec<&Value> = devices.iter().filter(|it| it.child("macAddress").is_some()).collect();
    let numbered = wanted.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
    if let Some(card) = numbered.and_then(|at| cards.get(at)) {
        return Ok(card);
    }
    let is = |card: &&&Value| {
        let texts = [card.str("deviceInfo.label"), card.str("macAddress")];
        texts.into_iter().flatten().any(|text| text.eq_ignore_ascii_case(wanted))
    };
    if let Some(card) = cards.iter().find(is) {
        return Ok(card);
    }
    let words = |(at, card): (usize, &&Value)| {
        let label = card.str("deviceInfo.label").unwrap_or("a card");
        format!("{}: {label}, {}", at + 1, card.str("macAddress").unwrap_or_default())
    };
    let error = Error::not_found("the machine has no such network card").with_subject(wanted);
    Err(cards.iter().enumerate().map(words).fold(error, |error, words| error.with_hint(words)))
}
