//! What the server answers over HTTP: `/sdk`, `/nfc`, `/folder`, `/screen` and `/ticket`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};

use super::call::{self, Caller};
use super::console;
use super::envelope;
use super::fault::Fault;
use super::folder::{self, Wanted, decode};
use super::lease::lose_all;
use super::schema::SCHEMA;
use super::service;
use super::sim::Sim;
use super::value::Data;
use crate::body::{Always, Reply, Watch, send, text};
use crate::rule::Action;

/// The longest request that is read.
const LONGEST: usize = 16 << 20;

/// An answer.
pub type Answer = Response<Reply>;

fn plain(status: u16, words: &str) -> Answer {
    let mut answer = Response::new(text(format!("{words}\n"), &Action::default()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    set(&mut answer, header::CONTENT_TYPE, "text/plain");
    answer
}

fn set(answer: &mut Answer, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
}

/// Answers a request from `address`.
pub async fn answer(sim: Arc<Sim>, address: IpAddr, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let answer = match (&method, path.as_str()) {
        (&Method::POST, "/sdk" | "/sdk/") => soap(&sim, address, request).await,
        (&Method::GET, "/sdk/vimServiceVersions.xml") => {
            let mut answer = Response::new(text(service::versions(), &Action::default()));
            set(&mut answer, header::CONTENT_TYPE, "text/xml; charset=utf-8");
            answer
        }
        (&Method::GET, path) if path.starts_with("/nfc/") => nfc(&sim, path).await,
        (&Method::GET | &Method::HEAD, path) if path.starts_with("/folder/") => {
            folder(&sim, &request).await
        }
        (&Method::GET, "/screen") => screen(&sim, &request).await,
        (&Method::GET, path) if path.starts_with("/ticket/") => ticket(&sim, request).await,
        (_, "/sdk" | "/sdk/" | "/sdk/vimServiceVersions.xml") => plain(405, "not with this method"),
        (_, path) if path.starts_with("/nfc/") || path.starts_with("/folder/") => {
            plain(405, "not with this method")
        }
        _ => plain(404, "there is nothing here"),
    };
    // Calls are told of by their own names.
    if path != "/sdk" {
        tracing::info!("{method} {path} {}", answer.status().as_u16());
    }
    answer
}

/// Waits and refuses as an action says, before anything else is done.
async fn before(sim: &Sim, (op, action): (&str, &Action), session: Option<&str>) -> Option<Answer> {
    if let Some(delay) = action.delay {
        tracing::info!("{op} waits");
        tokio::time::sleep(delay).await;
    }
    if action.expire {
        sim.end_sessions(session);
    }
    if action.lose {
        lose_all(sim);
    }
    let mut answer = plain(action.status?, "refused as asked");
    if let Some(seconds) = action.retry_after {
        set(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    Some(answer)
}

async fn soap(sim: &Arc<Sim>, address: IpAddr, request: Request<Incoming>) -> Answer {
    let headers = request.headers().clone();
    let Some(body) = read(request.into_body()).await else {
        return plain(413, "the request is too long, or did not come to its end");
    };
    let request = match envelope::parse(&body) {
        Ok(request) => request,
        Err(fault) => return refused(&fault, &Action::default()),
    };
    let session = sim.session(cookie(&headers).as_deref());
    let action = sim.rules.meet(&request.method, &request.this.value);
    if let Some(answer) = before(sim, (&request.method, &action), session.as_deref()).await {
        return answer;
    }
    if let Some(fault) = action.fault.as_deref().and_then(made_fault) {
        return refused(&fault, &action);
    }
    let session = if action.expire { None } else { session };
    let caller = caller(sim, session, address, &headers);
    tracing::info!("{} on {}", request.method, request.this);
    let called = call::call(sim, &caller, &request).await;
    if let Some(late) = action.late {
        tracing::info!("{} is answered later", request.method);
        tokio::time::sleep(late).await;
    }
    match called {
        Ok((answer, cookie)) => {
            let words = envelope::answer(&request.method, &answer);
            let mut answer = Response::new(text(words, &action));
            set(&mut answer, header::CONTENT_TYPE, "text/xml; charset=utf-8");
            if let Some(cookie) = cookie {
                let secure = if sim.settings.scheme == "https" { "; Secure" } else { "" };
                let cookie = format!("vmware_soap_session={cookie}; Path=/; HttpOnly{secure}");
                set(&mut answer, header::SET_COOKIE, &cookie);
            }
            answer
        }
        Err(fault) => {
            tracing::info!("{}: {} ({})", request.method, fault.data.kind, fault.message);
            refused(&fault, &action)
        }
    }
}

fn caller(sim: &Sim, session: Option<String>, address: IpAddr, headers: &HeaderMap) -> Caller {
    let user = {
        let state = sim.lock();
        let own = session.as_ref().and_then(|key| state.sessions.get(key));
        own.map(|own| own.user.clone()).unwrap_or_default()
    };
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = agent.unwrap_or_default().to_owned();
    Caller { session, user, address: address.to_string(), agent }
}

fn refused(fault: &Fault, action: &Action) -> Answer {
    let mut answer = Response::new(text(envelope::fault(fault), action));
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    set(&mut answer, header::CONTENT_TYPE, "text/xml; charset=utf-8");
    answer
}

/// The fault that a rule names.
pub fn made_fault(name: &str) -> Option<Fault> {
    let kind = SCHEMA.fault(name)?;
    Some(Fault { message: "This fault was asked for.".to_owned(), data: Data::new(kind) })
}

async fn read(mut body: Incoming) -> Option<String> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if bytes.len() + data.remaining() > LONGEST {
                return None;
            }
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes.to_vec()).ok()
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == "vmware_soap_session").map(|(_, it)| it.trim().to_owned())
}

/// Ends with the lease, and counts the streams that are open.
struct OnLease {
    sim: Arc<Sim>,
    lease: String,
    device: usize,
}

impl Watch for OnLease {
    fn go_on(&mut self) -> bool {
        self.sim.lock().leases.get(&self.lease).is_some_and(super::lease::Lease::is_ready)
    }

    fn done(&mut self) {
        if let Some(lease) = self.sim.lock().leases.get_mut(&self.lease) {
            lease.sent.insert(self.device);
        }
    }
}

impl Drop for OnLease {
    fn drop(&mut self) {
        self.sim.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A disk of a lease, or the memory of the firmware. The address is all that a client needs.
async fn nfc(sim: &Arc<Sim>, path: &str) -> Answer {
    let rest = path.trim_start_matches("/nfc/");
    let Some((ticket, file)) = rest.split_once('/') else { return plain(404, "no such lease") };
    let (ticket, file) = (decode(ticket, false), decode(file, false));
    let action = sim.rules.meet("nfc", &file);
    if let Some(answer) = before(sim, ("nfc", &action), None).await {
        return answer;
    }
    let found = {
        let state = sim.lock();
        let mut leases = state.leases.iter();
        let lease = leases.find(|(_, lease)| lease.is_ready() && lease.ticket == ticket);
        lease.and_then(|(id, lease)| {
            let device = lease.devices.iter().position(|device| device.target == file)?;
            Some((id.clone(), device, lease.devices.get(device)?.disk.clone()))
        })
    };
    let Some((lease, device, disk)) = found else { return plain(404, "no such lease or file") };
    let open = sim.streams.fetch_add(1, Ordering::AcqRel);
    let watch = OnLease { sim: sim.clone(), lease, device };
    if disk.is_some() && sim.settings.nfc_streams.is_some_and(|most| open >= most) {
        return plain(503, "too many disks are being sent");
    }
    let Some(disk) = disk else {
        let nvram = folder::nvram();
        let len = nvram.len() as u64;
        let mut answer = Response::new(send(Arc::new(nvram), 0..len, &action, true, watch));
        set(&mut answer, header::CONTENT_TYPE, "application/octet-stream");
        return answer;
    };
    match sim.store.stream(&disk).await {
        Ok(stream) => {
            let len = stream.bytes.len();
            let mut answer = Response::new(send(stream.bytes, 0..len, &action, false, watch));
            set(&mut answer, header::CONTENT_TYPE, "application/x-vnd.vmware-streamVmdk");
            answer
        }
        Err(error) => plain(500, &hyper_common::error::one_line(&error)),
    }
}

/// A picture of a machine's screen.
async fn screen(sim: &Arc<Sim>, request: &Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let action = sim.rules.meet("screen", query);
    let session = sim.session(cookie(request.headers()).as_deref());
    if let Some(answer) = before(sim, ("screen", &action), session.as_deref()).await {
        return answer;
    }
    if session.is_none() || action.expire {
        let mut answer = plain(401, "log in first");
        set(&mut answer, header::WWW_AUTHENTICATE, "Basic realm=\"VMware HTTP server\"");
        return answer;
    }
    match console::picture(sim, query) {
        Ok(png) => {
            let mut answer = Response::new(text(png, &action));
            set(&mut answer, header::CONTENT_TYPE, "image/png");
            answer
        }
        Err((status, words)) => plain(status, words),
    }
}

/// The screen of a machine, for who has a ticket.
async fn ticket(sim: &Arc<Sim>, request: Request<Incoming>) -> Answer {
    let ticket = request.uri().path().trim_start_matches("/ticket/").to_owned();
    let action = sim.rules.meet("ticket", &ticket);
    if let Some(answer) = before(sim, ("ticket", &action), None).await {
        return answer;
    }
    match console::open(sim, &ticket, request, action.cut) {
        Ok(answer) => answer,
        Err((status, words)) => plain(status, words),
    }
}

/// A file of the datastore.
async fn folder(sim: &Arc<Sim>, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path().trim_start_matches("/folder/");
    let action = sim.rules.meet("folder", &decode(path, false));
    let session = sim.session(cookie(request.headers()).as_deref());
    if let Some(answer) = before(sim, ("folder", &action), session.as_deref()).await {
        return answer;
    }
    if session.is_none() || action.expire {
        let mut answer = plain(401, "log in first");
        set(&mut answer, header::WWW_AUTHENTICATE, "Basic realm=\"VMware HTTP server\"");
        return answer;
    }
    let query = request.uri().query().unwrap_or_default();
    let found = match folder::find(sim, path, query).await {
        Ok(found) => found,
        Err((status, reason)) => return plain(status, &reason),
    };
    let modified = found.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let value = |name| request.headers().get(name).and_then(|it| it.to_str().ok());
    // There is no ETag: only the exact time of change makes a conditional range valid.
    let unchanged = value(header::IF_RANGE).is_none_or(|date| date == modified);
    let range = value(header::RANGE).filter(|_| unchanged && !action.whole);
    let len = found.bytes.len();
    let (status, part) = match folder::wanted(range, len) {
        Wanted::All => (200, 0..len),
        Wanted::Part(part) => (206, part),
        Wanted::Nothing => {
            let mut answer = plain(416, "there is nothing in that range");
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{len}"));
            return answer;
        }
    };
    let size = part.end - part.start;
    let place = format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1));
    let mut answer = match *request.method() == Method::HEAD {
        true => Response::new(Reply::Text(None)),
        false => Response::new(send(found.bytes, part, &action, true, Always)),
    };
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    set(&mut answer, header::CONTENT_LENGTH, &size.to_string());
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::LAST_MODIFIED, &modified);
    set(&mut answer, header::CONTENT_TYPE, "application/octet-stream");
    if status == 206 {
        set(&mut answer, header::CONTENT_RANGE, &place);
    }
    answer
}
