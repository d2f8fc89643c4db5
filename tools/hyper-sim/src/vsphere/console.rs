//! Consoles of machines: tickets for their screens, keys, pictures, and serial lines that are ports
//! of the host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::Power;
use super::session::blake3_hex;
use super::sim::Sim;
use super::value::{Data, Ref};
use crate::body::Reply;
use crate::guest::Guest;
use crate::guest::line::{Line, handshake};
use crate::guest::vnc;

/// What is spoken inside of a ticket's WebSocket.
const PROTOCOL: &str = "binary";

/// Telnet's mark of commands, what it wants to do and wants done (RFC 854), and the options of a
/// terminal whose signs come back and that needs no turns.
const IAC: u8 = 255;
const GREETING: [u8; 9] = [IAC, 251, 1, IAC, 251, 3, IAC, 253, 0];

/// What runs inside machines, and the tickets that lead there.
#[derive(Debug, Default)]
pub struct Consoles {
    guests: Mutex<HashMap<String, Arc<Guest>>>,
    tickets: Mutex<HashMap<String, String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runs(sim: &Sim, id: &str) -> bool {
    sim.lock().tree.machines.get(id).is_some_and(|machine| machine.power == Power::On)
}

/// What runs inside a machine, where it is on.
pub fn guest(sim: &Arc<Sim>, id: &str) -> Option<Arc<Guest>> {
    let mut news = sim.news();
    if !runs(sim, id) {
        return None;
    }
    let name = sim.lock().tree.machines.get(id)?.name.clone();
    let mut guests = lock(&sim.consoles.guests);
    if let Some(guest) = guests.get(id) {
        return Some(guest.clone());
    }
    let guest = Arc::new(Guest::new(&name));
    guest.boot();
    guests.insert(id.to_owned(), guest.clone());
    let (sim, id, inside) = (sim.clone(), id.to_owned(), guest.clone());
    // It ends with the machine's power.
    tokio::spawn(async move {
        while runs(&sim, &id) && news.changed().await.is_ok() {}
        lock(&sim.consoles.guests).remove(&id);
        inside.power_off();
    });
    Some(guest)
}

fn running(sim: &Arc<Sim>, this: &Ref) -> Result<Arc<Guest>, Fault> {
    guest(sim, &this.value).ok_or_else(|| Fault::power(Some("poweredOn"), Power::Off.word()))
}

/// `AcquireTicket`: a word that opens the screen once.
///
/// # Errors
/// `InvalidPowerState` for a machine that is off; `NotSupported` for other tickets.
pub fn ticket(sim: &Arc<Sim>, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    if args.text_of("ticketType") != Some("webmks") {
        return Err(Fault::new("NotSupported", "Only tickets for webmks are simulated."));
    }
    running(sim, this)?;
    let number = sim.lock().number();
    let ticket = blake3_hex(&format!("ticket {number} {}", jiff::Timestamp::now().as_nanosecond()));
    let ticket = ticket.get(..16).unwrap_or_default().to_owned();
    lock(&sim.consoles.tickets).insert(ticket.clone(), this.value.clone());
    let settings = &sim.settings;
    let scheme = if settings.scheme == "https" { "wss" } else { "ws" };
    let data = Data::new("VirtualMachineTicket")
        .set("ticket", &ticket)
        .set("cfgFile", format!("/vmfs/volumes/{}/{}.vmx", super::inventory::DATASTORE, this.value))
        .set("host", settings.address.ip().to_string())
        .set("port", i32::from(settings.address.port()))
        .maybe(
            "sslThumbprint",
            Some(settings.thumbprint.as_str()).filter(|print| !print.is_empty()),
        )
        .set("url", format!("{scheme}://{}/ticket/{ticket}", settings.address));
    Ok(Answer::Value(data.into()))
}

/// `PutUsbScanCodes`: each key colours a cell of the screen by its usage and its modifiers.
///
/// # Errors
/// `InvalidPowerState` for a machine that is off; `InvalidArgument` for what is no key.
pub fn keys(sim: &Arc<Sim>, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let guest = running(sim, this)?;
    let mut count = 0;
    for event in args.one("spec").into_iter().flat_map(|spec| spec.all("keyEvents")) {
        let code = event.text_of("usbHidCode").and_then(|text| text.trim().parse::<u32>().ok());
        // The page of keyboards is 7.
        let usage = code.filter(|code| code & 0xffff == 7).map(|code| code >> 16);
        let usage = usage.filter(|usage| (0x04..=0xe7).contains(usage));
        let usage = usage.ok_or_else(|| Fault::argument("spec.keyEvents.usbHidCode", "no key"))?;
        let names = [
            "leftControl",
            "leftShift",
            "leftAlt",
            "leftGui",
            "rightControl",
            "rightShift",
            "rightAlt",
            "rightGui",
        ];
        let held = event.one("modifiers");
        let bits = names.iter().enumerate().filter(|(_, name)| held.is_some_and(|it| it.is(name)));
        let bits = bits.fold(0, |bits, (at, _)| bits | 1 << at);
        guest.screen.key(usage << 16 | bits << 8 | 7);
        count += 1;
    }
    Ok(Answer::Value(count.into()))
}

/// A picture of the screen, or the status and words of a refusal.
///
/// # Errors
/// 404 for a machine that is not there, 503 for one that is off.
pub fn picture(sim: &Arc<Sim>, query: &str) -> Result<Vec<u8>, (u16, &'static str)> {
    let id = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or_default();
    if !sim.lock().tree.machines.contains_key(id) {
        return Err((404, "there is no such machine"));
    }
    let guest = guest(sim, id).ok_or((503, "the machine is off"))?;
    guest.screen.png().map_err(|_| (500, "the picture failed"))
}

/// Opens the screen that a ticket is for, once.
///
/// # Errors
/// The status and words of a refusal.
pub fn open(
    sim: &Arc<Sim>,
    ticket: &str,
    mut request: Request<Incoming>,
    left: Option<u64>,
) -> Result<Response<Reply>, (u16, &'static str)> {
    let (mut answer, offered) = handshake(&request).ok_or((400, "this is for WebSockets"))?;
    if !offered.iter().any(|it| it == PROTOCOL) {
        return Err((400, "the client does not speak binary"));
    }
    let id = lock(&sim.consoles.tickets).remove(ticket).ok_or((404, "there is no such ticket"))?;
    let guest = guest(sim, &id).ok_or((503, "the machine is off"))?;
    let value = HeaderValue::from_static(PROTOCOL);
    answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            vnc::serve(Line::over(upgraded, left).await, &guest, false).await;
        }
    });
    Ok(answer)
}

/// Serves a machine's serial line by Telnet, for as long as this is waited for.
pub async fn serial(sim: Arc<Sim>, id: String, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if let Some(guest) = guest(&sim, &id) {
            tokio::spawn(async move { talk(stream, &guest).await });
        }
    }
}

async fn talk(stream: TcpStream, guest: &Guest) -> Option<()> {
    let (mut from, mut to) = stream.into_split();
    let mut output = guest.listen();
    let mut sessions = guest.console.subscribe();
    to.write_all(&GREETING).await.ok()?;
    let (mut buffer, mut skip) = ([0; 4096], 0);
    loop {
        tokio::select! {
            // The end of the guest.
            _ = sessions.changed() => return to.shutdown().await.ok(),
            text = output.recv() => {
                let text = text.unwrap_or_default();
                let twice = |byte: &u8| if *byte == IAC { vec![IAC; 2] } else { vec![*byte] };
                to.write_all(&text.iter().flat_map(twice).collect::<Vec<_>>()).await.ok()?;
            }
            read = from.read(&mut buffer) => {
                let len = read.ok().filter(|len| *len > 0)?;
                guest.take(&data(&buffer[..len], &mut skip));
            }
        }
    }
}

/// What is typed, without the commands of Telnet; `skip` is what remains of one.
fn data(bytes: &[u8], skip: &mut u8) -> Vec<u8> {
    let mut typed = Vec::new();
    for byte in bytes {
        match (*skip, *byte) {
            (0, IAC) => *skip = 1,
            (0, byte) => typed.push(byte),
            // Those about options have one byte more; others end here.
            (1, 251..=254) => *skip = 2,
            (1, IAC) => {
                typed.push(IAC);
                *skip = 0;
            }
            _ => *skip = 0,
        }
    }
    typed
}
