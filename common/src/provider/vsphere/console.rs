//! Consoles of machines. The screen comes by a ticket: a WebSocket in which RFB is spoken. A serial
//! line is reached where it is a port on the network of the machine's host (vSphere API reference,
//! `AcquireTicket`, `VirtualSerialPortURIBackingInfo`).

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::net::TcpStream;

use super::Vsphere;
use super::client::{Client, Download};
use super::inventory::MACHINE;
use super::keyboard;
use super::power::{must_run, state};
use super::soap::{Body, MoRef, Value};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::net::{Line, Thumbprint, Trust, Url};
use crate::provider::facets::console::{Console, LogFrom};
use crate::vm::VmId;

/// What is spoken in the WebSocket of a ticket.
const PROTOCOL: &str = "binary";

/// Most bytes of a picture.
const LARGEST: usize = 64 << 20;

/// How every PNG file begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// How long a host may take to answer on a serial line's port.
const CONNECT: Duration = Duration::from_secs(30);

#[async_trait]
impl Console for Vsphere {
    async fn serial(&self, vm: &VmId) -> Result<Line> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        must_run(client, &vm).await?;
        let port = Port::find(client, &vm).await?;
        let stream = TcpStream::connect((port.host.as_str(), port.number));
        let place = format!("{}:{}", port.host, port.number);
        let stream = tokio::time::timeout(CONNECT, stream).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "connect to the serial line")
                .with_subject(place)
                .with_source(error)
                .with_hint(
                    "the host's firewall lets it through with the rule set \"remoteSerialPort\"",
                )
        })?;
        let _ = stream.set_nodelay(true);
        Ok(Line::bare(stream, port.telnet))
    }

    /// Whoever sees the screen already goes on seeing it, polite or not.
    async fn screen(&self, vm: &VmId, _: bool) -> Result<Line> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        must_run(client, &vm).await?;
        let body = Body::new().text("ticketType", "webmks");
        let reply = client.call("AcquireTicket", &vm, body).await?;
        let ticket = reply.value().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server gives no ticket for the screen")
        })?;
        let (url, trust) = way(client, ticket)?;
        // The ticket is a secret, and so is the address that has it.
        Line::open(&url, &trust, PROTOCOL).await.context(|| "open the screen".to_owned())
    }

    async fn picture(&self, vm: &VmId) -> Result<Option<Bytes>> {
        let client = self.client();
        must_run(client, &MoRef::new(MACHINE, &vm.0)).await?;
        let mut url = client.endpoint().url.clone();
        url.set_path("/screen");
        url.set_query(Some(&format!("id={}", vm.0)));
        let options = Download { cookie: true, ..Download::default() };
        let picture = match client.download(url.as_str(), options).await {
            Ok(answer) => answer.bytes(LARGEST).await?,
            // Not every server makes pictures.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Protocol) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(picture.starts_with(PNG).then(|| picture.into()))
    }

    async fn press(&self, vm: &VmId, chords: &[&[u32]]) -> Result<bool> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        must_run(client, &vm).await?;
        // All of them are known before any is pressed.
        let mut calls = Vec::new();
        for chord in chords {
            let (body, count) = keyboard::events(Body::new().open("spec", None), chord)?;
            calls.push((body.close("spec"), count));
        }
        for (body, count) in calls {
            let reply = client.call("PutUsbScanCodes", &vm, body).await?;
            let pressed = reply.value().and_then(|value| value.text.trim().parse::<u32>().ok());
            if pressed.is_none_or(|pressed| pressed < count) {
                return Err(Error::new(ErrorKind::Unavailable, "the machine took not all keys"));
            }
        }
        Ok(true)
    }

    async fn log(&self, _: &VmId, _: LogFrom) -> Result<BoxStream<'static, Result<Bytes>>> {
        Err(Error::unsupported("vSphere keeps nothing of what a machine writes on its serial line")
            .with_hint("a serial port that is a file of the datastore keeps it there"))
    }

    async fn runs(&self, vm: &VmId) -> Result<bool> {
        match state(self.client(), &MoRef::new(MACHINE, &vm.0)).await {
            Ok(state) => Ok(state == "poweredOn"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Where a ticket leads, and whom to believe there: the certificate that it names and no other.
fn way(client: &Client, ticket: &Value) -> Result<(Url, Trust)> {
    let wrong = || Error::new(ErrorKind::Protocol, "the ticket for the screen leads nowhere");
    let url = match ticket.str("url") {
        Some(url) => url.to_owned(),
        None => {
            let host = ticket.str("host").unwrap_or_else(|| client.host());
            let port = ticket.number::<u16>("port").unwrap_or(443);
            let word = ticket.str("ticket").ok_or_else(wrong)?;
            format!("wss://{host}:{port}/ticket/{word}")
        }
    };
    let url = Url::parse(&url).map_err(|_| wrong())?;
    let plain = url.scheme() == "ws" && client.endpoint().url.scheme() == "http";
    if !plain && url.scheme() != "wss" {
        return Err(wrong());
    }
    let print = ticket.str("sslThumbprint").or_else(|| ticket.str("certThumbprintList.thumbprint"));
    let Some(print) = print else { return Ok((url, client.endpoint().trust()?)) };
    let print: Thumbprint =
        print.parse().map_err(|reason: String| Error::new(ErrorKind::Protocol, reason))?;
    let host = url.host_str().unwrap_or_default();
    let place = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
    Ok((url, Trust::default().only(&place, print)))
}

/// A serial line on the network.
#[derive(Debug, PartialEq, Eq)]
struct Port {
    host: String,
    number: u16,
    telnet: bool,
}

impl Port {
    /// The first that a machine has.
    async fn find(client: &Client, vm: &MoRef) -> Result<Self> {
        let read = client.properties(vm, &["config.hardware.device", "runtime.host"]).await?;
        let devices = read.get("config.hardware.device").map(|it| it.children.as_slice());
        let ports = devices.unwrap_or_default().iter().filter(|it| it.is("VirtualSerialPort"));
        let ports: Vec<&Value> = ports.collect();
        let backing = |port: &&Value| {
            let backing = port.child("backing")?;
            backing.is("VirtualSerialPortURIBackingInfo").then(|| backing.clone())
        };
        let Some(backing) = ports.iter().find_map(backing) else {
            let words = match ports.is_empty() {
                true => "the machine has no serial port",
                false => "the machine's serial port is not on the network",
            };
            return Err(missing(words));
        };
        let mut port = Self::read(&backing)?;
        if port.host.is_empty() {
            let host =
                read.reference("runtime.host").ok_or_else(|| missing("its host is unknown"))?;
            let host = client.properties(&host, &["name"]).await?;
            port.host = host.str("name").unwrap_or_default().to_owned();
        }
        Ok(port)
    }

    /// What a backing says: `telnet://:2001`, `tcp://esx1:2001`. The host may be left to be found.
    fn read(backing: &Value) -> Result<Self> {
        let uri = backing.str("serviceURI").unwrap_or_default();
        if let Some(proxy) = backing.str("proxyURI") {
            return Err(
                missing("the machine's serial port goes to a concentrator").with_subject(proxy)
            );
        }
        if backing.str("direction") != Some("server") {
            let words = "the machine's serial port calls somewhere and cannot be called";
            return Err(missing(words).with_subject(uri));
        }
        let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
        let telnet = match scheme {
            "telnet" => true,
            "tcp" | "tcp4" | "tcp6" => false,
            _ => {
                let words = "the machine's serial port speaks what hyper does not";
                return Err(missing(words).with_subject(uri));
            }
        };
        let place = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, number) = place.rsplit_once(':').unwrap_or((place, ""));
        let number = number
            .parse()
            .map_err(|_| missing("the machine's serial port has no number").with_subject(uri))?;
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), number, telnet })
    }
}

fn missing(words: &str) -> Error {
    Error::unsupported(words.to_owned()).with_hint(
        "it needs a network serial port as server, such as telnet://:2001 (govc device.serial.connect)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        let backing = |uri: &str, direction: &str| {
            let leaf = |name: &str, text: &str| Value {
                name: name.to_owned(),
                text: text.to_owned(),
                ..Value::default()
            };
            let children = vec![leaf("serviceURI", uri), leaf("direction", direction)];
            Port::read(&Value { children, ..Value::default() })
        };
        let port = |host: &str, telnet| Port { host: host.to_owned(), number: 2001, telnet };
        assert_eq!(backing("telnet://:2001", "server").unwrap(), port("", true));
        assert_eq!(backing("tcp://esx1:2001", "server").unwrap(), port("esx1", false));
        assert_eq!(backing("telnet://[::1]:2001/?x", "server").unwrap(), port("::1", true));
        for (uri, direction) in
            [("telnet://a:2001", "client"), ("telnets://:2001", "server"), ("tcp://a", "server")]
        {
            assert_eq!(
                backing(uri, direction).unwrap_err().kind(),
                ErrorKind::Unsupported,
                "{uri}"
            );
        }
    }
}
