//! Specifications that make guests ones of their own: those that the server keeps, and what a
//! clone's guest makes of the one that it is given.

use jiff::Timestamp;

use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{Identity, Machine};
use super::value::{Data, Value};

/// The public key that passwords in specifications are encrypted with, as far as it goes here.
const KEY: [i32; 4] = [48, -126, 1, 34];

/// The mask and the router of addresses that do not come from DHCP.
const STATIC: (&str, &str) = ("255.255.255.0", "10.9.0.1");

/// The specifications: name, kind of guest, what it is for.
const SPECS: [(&str, &str, &str); 4] = [
    ("linux", "Linux", "the machine's name, an address by DHCP"),
    ("linux-fixed", "Linux", "one name and one address for all"),
    ("linux-ask", "Linux", "name and address are left to who uses it"),
    ("windows", "Windows", "the machine's name, an encrypted password"),
];

/// A property of the manager.
pub fn property(name: &str) -> Option<Value> {
    Some(match name {
        "info" => SPECS.map(info).to_vec().into(),
        "encryptionKey" => KEY.to_vec().into(),
        _ => return None,
    })
}

fn info((name, guest, purpose): (&str, &str, &str)) -> Data {
    Data::new("CustomizationSpecInfo")
        .set("name", name)
        .set("description", purpose)
        .set("type", guest)
        .set("changeVersion", "1700000000")
        .set("lastUpdateTime", Timestamp::UNIX_EPOCH)
}

/// `DoesCustomizationSpecExist`.
pub fn exists(args: &Node) -> Answer {
    let name = args.text_of("name").unwrap_or_default();
    Answer::Value(SPECS.iter().any(|(known, ..)| *known == name).into())
}

/// `GetCustomizationSpec`.
///
/// # Errors
/// `NotFound`.
pub fn get(args: &Node) -> Result<Answer, Fault> {
    let name = args.text_of("name").unwrap_or_default();
    let found = SPECS.into_iter().find(|(known, ..)| *known == name);
    let found = found.ok_or_else(|| Fault::new("NotFound", "The object was not found."))?;
    let item = Data::new("CustomizationSpecItem").set("info", info(found)).set("spec", spec(name));
    Ok(Answer::Value(item.into()))
}

fn spec(name: &str) -> Data {
    let name_of_machine = || Data::new("CustomizationVirtualMachineName");
    let dhcp = || Data::new("CustomizationDhcpIpGenerator");
    let (identity, ip, fixed) = match name {
        "linux-fixed" => (
            linux(Data::new("CustomizationFixedName").set("name", "golden")),
            Data::new("CustomizationFixedIp").set("ipAddress", "10.9.0.5"),
            true,
        ),
        "linux-ask" => (
            linux(Data::new("CustomizationUnknownName")),
            Data::new("CustomizationUnknownIpGenerator"),
            true,
        ),
        "windows" => (windows(name_of_machine()), dhcp(), false),
        _ => (linux(name_of_machine()), dhcp(), false),
    };
    let options = match name {
        "windows" => Data::new("CustomizationWinOptions")
            .set("changeSID", true)
            .set("deleteAccounts", false)
            .set("reboot", "reboot"),
        _ => Data::new("CustomizationLinuxOptions"),
    };
    let dns = Data::new("CustomizationGlobalIPSettings")
        .set("dnsSuffixList", vec!["example.com"])
        .set("dnsServerList", vec!["10.9.0.2"]);
    let adapter = Data::new("CustomizationIPSettings")
        .set("ip", ip)
        .maybe("subnetMask", fixed.then_some(STATIC.0))
        .maybe("gateway", fixed.then(|| vec![STATIC.1]));
    Data::new("CustomizationSpec")
        .set("options", options)
        .set("identity", identity)
        .set("globalIPSettings", dns)
        .set(
            "nicSettingMap",
            vec![Data::new("CustomizationAdapterMapping").set("adapter", adapter)],
        )
        .set("encryptionKey", KEY.to_vec())
}

fn linux(name: Data) -> Data {
    Data::new("CustomizationLinuxPrep")
        .set("hostName", name)
        .set("domain", "example.com")
        .set("timeZone", "Europe/Sofia")
        .set("hwClockUTC", true)
        .set("scriptText", "#!/bin/sh\necho \"a & b\" >/etc/motd")
}

fn windows(name: Data) -> Data {
    let password =
        Data::new("CustomizationPassword").set("value", "c2VjcmV0==").set("plainText", false);
    let setup = Data::new("CustomizationGuiUnattended")
        .set("password", password)
        .set("timeZone", 110)
        .set("autoLogon", false)
        .set("autoLogonCount", 1);
    let user = Data::new("CustomizationUserData")
        .set("fullName", "Example")
        .set("orgName", "Example <Ltd>")
        .set("computerName", name)
        .set("productId", "");
    let group = Data::new("CustomizationIdentification").set("joinWorkgroup", "WORKGROUP");
    Data::new("CustomizationSysprep")
        .set("guiUnattended", setup)
        .set("userData", user)
        .set("identification", group)
}

/// What the guest of a new machine makes of itself with a specification.
///
/// # Errors
/// `NicSettingMismatch` where it is about another number of network cards,
/// `CannotDecryptPasswords` where the key that goes with an encrypted password is another one,
/// `InvalidArgument` where a name or an address is still left open.
pub fn identity(spec: &Node, name: &str, source: &Machine) -> Result<Identity, Fault> {
    let cards: Vec<&Node> = spec.all("nicSettingMap").collect();
    if cards.len() != source.nics.len() {
        let data = Data::new("NicSettingMismatch")
            .set("numberOfNicsInSpec", cards.len() as i32)
            .set("numberOfNicsInVM", source.nics.len() as i32);
        let message = "The number of network adapters in the customization specification is not \
                       that of the virtual machine.";
        return Err(Fault { message: message.to_owned(), data });
    }
    let identity = spec.one("identity").ok_or_else(|| left_open("identity"))?;
    if encrypted(identity) {
        let key = spec.all("encryptionKey").map(|byte| byte.text.trim().parse().unwrap_or(0));
        if !key.eq(KEY) {
            let message = "The passwords of the specification cannot be decrypted.";
            return Err(Fault::new("CannotDecryptPasswords", message));
        }
    }
    let own = identity.one("hostName");
    let own = own.or_else(|| identity.one("userData").and_then(|user| user.one("computerName")));
    let host_name = match own.and_then(|own| Some((own, own.kind.as_deref()?))) {
        Some((own, "CustomizationFixedName")) => own.text_of("name").unwrap_or_default().to_owned(),
        Some((own, "CustomizationPrefixName")) => {
            format!("{}1", own.text_of("base").unwrap_or_default())
        }
        Some((_, "CustomizationVirtualMachineName")) => name.to_owned(),
        _ => return Err(left_open("spec.customization.identity")),
    };
    let address = |card: &&Node| {
        let ip = card.one("adapter").and_then(|adapter| adapter.one("ip"));
        match ip.and_then(|ip| Some((ip, ip.kind.as_deref()?))) {
            Some((ip, "CustomizationFixedIp")) => {
                Ok(Some(ip.text_of("ipAddress").unwrap_or_default().to_owned()))
            }
            Some((_, "CustomizationDhcpIpGenerator")) => Ok(None),
            _ => Err(left_open("spec.customization.nicSettingMap.adapter.ip")),
        }
    };
    let addresses = cards.iter().map(address).collect::<Result<_, _>>()?;
    Ok(Identity { host_name, addresses })
}

fn left_open(place: &str) -> Fault {
    Fault::argument(place, format!("A specified parameter was not correct: {place}"))
}

/// Whether a password in it is not plain text.
fn encrypted(node: &Node) -> bool {
    node.text_of("plainText").is_some_and(|plain| plain.trim() == "false")
        || node.children.iter().any(encrypted)
}
