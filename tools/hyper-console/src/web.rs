//! The page for browsers: a small HTTP server on one address, which answers only below a path that
//! nobody can guess, only under its own name, and opens WebSockets only for its own page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::net::secret_word;
use hyper_common::tool::Context;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::run::Machine;
use crate::sessions::Session;
use crate::socket;
use crate::tabs::Tabs;
use crate::viewer::Screen;

/// The page's own files, and what they are.
const FILES: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("terminal.js", "text/javascript; charset=utf-8", include_str!("page/terminal.js")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
];

/// The folders of noVNC that browsers need.
const PARTS: [&str; 2] = ["core", "vendor"];

/// Most bytes of a file of noVNC.
const LARGEST: u64 = 4 << 20;

/// Letters of the secret word: 160 bits.
const SECRET: usize = 32;

type Answer = Response<Full<Bytes>>;

/// What is served.
pub struct Page {
    novnc: PathBuf,
    secret: String,
}

/// All that answers need.
struct Server {
    page: Page,
    /// The names under which it may be reached.
    hosts: Vec<String>,
    machine: Machine,
    screen: Arc<Screen>,
    tabs: Arc<Tabs>,
}

impl Page {
    /// A page with the noVNC of a folder.
    ///
    /// # Errors
    /// `Config` where noVNC is not there.
    pub fn open(novnc: &Path) -> Result<Self> {
        let missing = |error| {
            Error::new(
                ErrorKind::Config,
                "noVNC, which shows the screen in a browser, is not there",
            )
            .with_subject(novnc.display().to_string())
            .with_source(error)
            .with_hint("install it (Debian and Ubuntu: apt-get install novnc)")
            .with_hint("--novnc names the folder where it is")
        };
        let root = std::fs::canonicalize(novnc).map_err(missing)?;
        std::fs::metadata(root.join("core/rfb.js")).map_err(missing)?;
        Ok(Self { novnc: root, secret: secret_word(SECRET)? })
    }

    /// Its address.
    pub fn url(&self, address: SocketAddr) -> String {
        format!("http://{address}/{}/", self.secret)
    }

    /// A script of noVNC, by its path below its folder.
    fn script(&self, path: &str) -> Option<Vec<u8>> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        let letters = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
        let known = path.split('/').next().is_some_and(|part| PARTS.contains(&part));
        if !known
            || !path.ends_with(".js")
            || !path.chars().all(letters)
            || !path.split('/').all(plain)
        {
            return None;
        }
        // A link may lead out of the folder.
        let file = std::fs::canonicalize(self.novnc.join(path)).ok()?;
        let meta = std::fs::metadata(&file).ok()?;
        let good = file.starts_with(&self.novnc) && meta.is_file() && meta.len() <= LARGEST;
        good.then(|| std::fs::read(file).ok())?
    }
}

/// Serves browsers until asked to stop.
///
/// # Errors
/// Those of being asked to stop.
pub async fn serve(
    page: Page,
    listener: TcpListener,
    address: SocketAddr,
    (machine, screen, open): (Machine, Arc<Screen>, Arc<Session>),
    cx: &Context,
) -> Result<()> {
    let mut hosts = vec![address.to_string()];
    if address.ip().is_loopback() {
        hosts.push(format!("localhost:{}", address.port()));
    }
    let tabs = Tabs::new(machine.clone(), open, cx.cancel.clone(), cx.remarks.clone());
    let server = Arc::new(Server { page, hosts, machine, screen, tabs });
    loop {
        tokio::select! {
            () = cx.cancel.cancelled() => return cx.cancel.check(),
            accepted = listener.accept() => {
                // Out of descriptors, most likely: some connections have to end first.
                let Ok((stream, from)) = accepted else {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(server.clone(), TokioIo::new(stream), from));
            }
        }
    }
}

async fn connection(server: Arc<Server>, stream: TokioIo<tokio::net::TcpStream>, from: SocketAddr) {
    let service = service_fn(|request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request, from)) }
    });
    let spoken = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .serve_connection(stream, service)
        .with_upgrades()
        .await;
    if let Err(error) = spoken {
        tracing::debug!("the connection from {from} ended: {error}");
    }
}

fn plain(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn file(bytes: impl Into<Bytes>, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(bytes.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Whether two words are the same, in a time that tells nothing about either.
fn same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differ == 0
}

impl Server {
    fn answer(self: &Arc<Self>, request: Request<Incoming>, from: SocketAddr) -> Answer {
        let mut answer = self.route(request, from);
        let sockets: String = self.hosts.iter().map(|host| format!(" ws://{host}")).collect();
        // Nothing from elsewhere, in no other page, and no word of where one comes from.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; \
             connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let headers = answer.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn route(self: &Arc<Self>, request: Request<Incoming>, from: SocketAddr) -> Answer {
        let value = |name| request.headers().get(name).map(HeaderValue::to_str);
        // Another name that leads here is somebody's trick (DNS rebinding).
        let host = value(header::HOST).and_then(|it| it.ok());
        if !host.is_some_and(|host| self.hosts.iter().any(|own| own == host)) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "this server has another name");
        }
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let (secret, rest) = path.split_once('/').unwrap_or((&path, ""));
        if !same(secret, &self.page.secret) {
            return plain(StatusCode::NOT_FOUND, "there is nothing here");
        }
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        }
        if matches!(rest, "screen" | "serial") {
            // Browsers always say from which page; other programs need not.
            let own = |it: &str| self.hosts.iter().any(|own| it == format!("http://{own}"));
            return match value(header::ORIGIN) {
                Some(Ok(origin)) if own(origin) => self.socket(request, rest == "screen", from),
                Some(_) => plain(StatusCode::FORBIDDEN, "this is not for other pages"),
                None => self.socket(request, rest == "screen", from),
            };
        }
        if let Some((_, kind, text)) = FILES.iter().find(|(name, _, _)| *name == rest) {
            let name = &self.machine.name;
            return match *kind == FILES[0].1 {
                true => file(text.replace("{{machine}}", &escape(name)), kind),
                false => file(*text, kind),
            };
        }
        match rest.strip_prefix("novnc/").and_then(|path| self.page.script(path)) {
            Some(bytes) => file(bytes, "text/javascript; charset=utf-8"),
            None => plain(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    fn socket(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        screen: bool,
        from: SocketAddr,
    ) -> Answer {
        let answer = match socket::agree(&request) {
            Ok(answer) => answer.map(|()| Full::default()),
            Err(words) => return plain(StatusCode::BAD_REQUEST, words),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let server = self.clone();
        tokio::spawn(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => TokioIo::new(upgraded),
                Err(error) => return tracing::debug!("no WebSocket from {from}: {error}"),
            };
            if screen {
                let (stream, pump) = socket::stream(upgraded).await;
                let from = from.to_string();
                tokio::join!(server.screen.attend(stream, &from), pump);
            } else if let Err(error) = server.tabs.attend(upgraded).await {
                tracing::info!("a tab has gone ({from}): {}", one_line(&error));
            }
        });
        answer
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let sign = |sign| match sign {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(sign).collect()
}
