//! Specifications that make guests ones of their own (CustomizationSpecManager, vSphere API
//! reference): the server keeps them, and a clone is given a copy in which this clone's own name and
//! addresses stand.

use super::client::Client;
use super::fault::fault_of;
use super::soap::{Body, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::Customize;

const FIXED_NAME: &str = "CustomizationFixedName";
const UNKNOWN_NAME: &str = "CustomizationUnknownName";
const FIXED_IP: &str = "CustomizationFixedIp";
const UNKNOWN_IP: &str = "CustomizationUnknownIpGenerator";

/// The specification of that name, as the server has it.
///
/// # Errors
/// `Unsupported` where the server keeps none (an ESXi host); `NotFound` for a name that it does not
/// know, with those that it does; those of a call.
pub(super) async fn specification(client: &Client, name: &str) -> Result<Value> {
    let content = client.content().await?;
    let manager = content.manager("customizationSpecManager").map_err(|_| {
        let words =
            format!("{} {} keeps no specifications of guests", content.name, content.version);
        Error::unsupported(words).with_hint("a vCenter does; --customize cannot be used here")
    })?;
    let body = Body::new().text("name", name);
    let item = match client.call("GetCustomizationSpec", &manager, body).await {
        Err(error) if fault_of(&error).is_some_and(|fault| fault.kind == "NotFound") => {
            let known = client.properties(&manager, &["info"]).await?;
            let known = known.get("info").map(|it| it.children.iter()).into_iter().flatten();
            let known: Vec<_> = known.filter_map(|it| it.str("name")).collect();
            let error = Error::not_found("there is no such specification of a guest");
            let hint = match known.is_empty() {
                true => "none is kept there".to_owned(),
                false => format!("there are: {}", known.join(", ")),
            };
            return Err(error.with_hint(hint).with_subject(name));
        }
        answer => answer?.into_value(),
    };
    let spec = item.and_then(|item| item.children.into_iter().find(|it| it.name == "spec"));
    spec.ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the specification says nothing").with_subject(name)
    })
}

/// A specification with what is this guest's own.
///
/// # Errors
/// `Usage` for a name or an address that the specification leaves open and nobody gives, and for
/// more addresses than there are places; `Unsupported` for a host name where it has no place.
pub(super) fn complete(spec: &Value, wanted: &Customize) -> Result<Value> {
    let named = |error: Error| error.with_subject(wanted.spec.clone());
    let mut spec = spec.clone();
    name(&mut spec, wanted).map_err(named)?;
    addresses(&mut spec, wanted).map_err(named)?;
    Ok(spec)
}

fn name(spec: &mut Value, wanted: &Customize) -> Result<()> {
    let place = name_place(spec);
    let open = place.as_ref().is_some_and(|place| place.is(UNKNOWN_NAME));
    match (&wanted.hostname, place) {
        (None, _) if open => {
            Err(Error::usage("the specification leaves the host name to who uses it")
                .with_hint("give it with --hostname; '{name}' is the name of the machine"))
        }
        (Some(name), Some(place)) => {
            place.kind = Some(FIXED_NAME.to_owned());
            place.children = vec![leaf("name", name)];
            Ok(())
        }
        (Some(_), None) => Err(Error::unsupported(
            "the specification has its host name in data for cloud-init or Sysprep",
        )
        .with_hint("leave --hostname away")),
        (None, _) => Ok(()),
    }
}

/// Where the host name stands: LinuxPrep has it itself, Sysprep among the data of the user.
fn name_place(spec: &mut Value) -> Option<&mut Value> {
    let identity = child(spec, "identity")?;
    match identity.child("userData").is_some() {
        true => child(child(identity, "userData")?, "computerName"),
        false => child(identity, "hostName"),
    }
}

fn addresses(spec: &mut Value, wanted: &Customize) -> Result<()> {
    let cards = spec.children.iter_mut().filter(|it| it.name == "nicSettingMap");
    let places = cards.filter_map(|card| child(child(card, "adapter")?, "ip"));
    let mut places = places.filter(|ip| ip.is(FIXED_IP) || ip.is(UNKNOWN_IP));
    for address in &wanted.addresses {
        let place = places.next().ok_or_else(|| {
            let count = wanted.addresses.len();
            Error::usage(format!("the specification has no place for {count} addresses"))
                .with_hint("those of network cards that use DHCP are not replaced")
        })?;
        place.kind = Some(FIXED_IP.to_owned());
        place.children = vec![leaf("ipAddress", address)];
    }
    match places.any(|ip| ip.is(UNKNOWN_IP)) {
        true => Err(Error::usage("the specification leaves an address to who uses it")
            .with_hint("give it with --ip, or as ip in a file of clones")),
        false => Ok(()),
    }
}

/// The host name and the addresses that the specification gives whoever uses it: two guests that
/// have one of them are in each other's way.
pub(super) fn fixed(spec: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let identity = spec.child("identity");
    let name = identity.and_then(|it| it.at("hostName").or_else(|| it.at("userData.computerName")));
    all.extend(
        name.filter(|it| it.is(FIXED_NAME)).and_then(|it| it.str("name")).map(str::to_owned),
    );
    let ips = spec.all("nicSettingMap").filter_map(|card| card.at("adapter.ip"));
    all.extend(ips.filter_map(|ip| ip.str("ipAddress")).map(str::to_owned));
    all
}

fn child<'v>(value: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    value.children.iter_mut().find(|child| child.name == name)
}

fn leaf(name: &str, text: &str) -> Value {
    Value { name: name.to_owned(), text: text.to_owned(), ..Value::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::vsphere::soap::parse;

    fn spec(identity: &str, ip: &str) -> Value {
        let message = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><e:Body><spec>\
             {identity}<nicSettingMap><adapter><ip i:type=\"{ip}\"/></adapter></nicSettingMap>\
             <encryptionKey>48</encryptionKey><encryptionKey>-126</encryptionKey></spec>\
             </e:Body></e:Envelope>"
        );
        parse(message.as_bytes()).unwrap()
    }

    fn wanted(hostname: Option<&str>, addresses: &[&str]) -> Customize {
        Customize {
            spec: "web".into(),
            hostname: hostname.map(str::to_owned),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        }
    }

    const LINUX: &str = "<identity i:type=\"CustomizationLinuxPrep\"><hostName \
                         i:type=\"CustomizationUnknownName\"/><domain>a&amp;b</domain></identity>";

    #[test]
    fn what_is_left_open_is_filled_in_and_the_rest_goes_along() {
        let open = spec(LINUX, UNKNOWN_IP);
        let full = complete(&open, &wanted(Some("w1"), &["10.0.0.7"])).unwrap();
        let text = format!("{:?}", Body::new().value("customization", &full));
        let expected = "<customization><identity xsi:type=\"CustomizationLinuxPrep\"><hostName \
                        xsi:type=\"CustomizationFixedName\"><name>w1</name></hostName><domain>\
                        a&amp;b</domain></identity><nicSettingMap><adapter><ip xsi:type=\
                        \"CustomizationFixedIp\"><ipAddress>10.0.0.7</ipAddress></ip></adapter>\
                        </nicSettingMap><encryptionKey>48</encryptionKey><encryptionKey>-126\
                        </encryptionKey></customization>";
        assert_eq!(text.replace('\\', ""), format!("Body(\"{expected}\")"));
        assert_eq!(fixed(&full), ["w1", "10.0.0.7"]);
        for (wanted, part) in [
            (wanted(None, &["10.0.0.7"]), "host name"),
            (wanted(Some("w1"), &[]), "an address"),
            (wanted(Some("w1"), &["10.0.0.7", "10.0.0.8"]), "no place for 2"),
        ] {
            let error = complete(&open, &wanted).unwrap_err();
            assert_eq!(error.kind().exit_status(), 2, "{error}");
            assert!(error.to_string().contains(part) && error.to_string().starts_with("web: "));
        }
    }

    #[test]
    fn windows_has_its_name_elsewhere_and_cloud_init_nowhere() {
        let windows = "<identity i:type=\"CustomizationSysprep\"><userData><computerName \
                       i:type=\"CustomizationVirtualMachineName\"/></userData></identity>";
        let dhcp = "CustomizationDhcpIpGenerator";
        let full = complete(&spec(windows, dhcp), &wanted(Some("w1"), &[])).unwrap();
        assert_eq!(full.at("identity.userData.computerName").unwrap().str("name"), Some("w1"));
        assert_eq!(fixed(&spec(windows, dhcp)), [""; 0]);
        let cloud = "<identity i:type=\"CustomizationCloudinitPrep\"><metadata/></identity>";
        let error = complete(&spec(cloud, dhcp), &wanted(Some("w1"), &[])).unwrap_err();
        assert_eq!(error.kind().exit_status(), 7);
        assert_eq!(complete(&spec(cloud, dhcp), &wanted(None, &[])).unwrap(), spec(cloud, dhcp));
    }
}
