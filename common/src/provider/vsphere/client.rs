//! Calls to one endpoint. The first one that needs a login takes an earlier run's or logs in; a
//! login that has ended is renewed, a few times at most. A password that was refused is not tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::auth;
use super::config::Endpoint;
use super::fault::{Fault, is_logged_out, is_lost_view};
use super::session::Shelf;
use super::soap::{self, Body, MoRef, Reply, Value};
use crate::config::{Login, LoginKind, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Contact, Http, Request, Response, Thumbprint, Url, retry};

/// The version of the API that calls are made in: newer servers speak it, older ones answer in
/// their own.
const ACTION: &str = "urn:vim25/7.0";

/// The cookie of a login.
const COOKIE: &str = "vmware_soap_session";

/// Largest reply that is held in memory as a whole.
const LARGEST: usize = 64 << 20;

/// For how long a server that could not be reached to log in is taken to be away.
const AWAY: Duration = Duration::from_secs(1);

/// How often a piece of work begins anew because its login had ended. A server that ends each login
/// at once is not logged in at without end.
const RENEWALS: u32 = 4;

/// One endpoint. Cheap to clone; clones share the login.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    http: Http,
    content: OnceCell<Arc<ServiceContent>>,
    contact: Contact,
    cookie: Mutex<Option<Secret>>,
    /// Held while logging in; holds the error of a login that was refused.
    gate: AsyncMutex<Option<Refusal>>,
}

/// A refused login, so that it can be told again without trying again.
#[derive(Debug, Clone)]
struct Refusal {
    fault: Option<Fault>,
    kind: ErrorKind,
    words: String,
    /// When it may be tried again all the same: a server that was away may be back.
    until: Option<Instant>,
}

/// The server's own objects, and what it is.
#[derive(Debug, Clone)]
pub struct ServiceContent {
    /// What the server calls itself: `VMware vCenter Server`.
    pub name: String,
    /// Its version: `8.0.2`.
    pub version: String,
    /// `VirtualCenter` or `HostAgent`.
    pub api_type: String,
    /// The top of the inventory.
    pub root_folder: MoRef,
    /// Reads properties.
    pub property_collector: MoRef,
    /// All of the answer, for managers that only some servers have.
    pub all: Value,
}

impl ServiceContent {
    fn read(value: &Value) -> Result<Self> {
        let text = |path: &str| value.str(path).unwrap_or_default().to_owned();
        let need = |name: &str| {
            value.child(name).and_then(Value::reference).ok_or_else(|| {
                Error::new(ErrorKind::Protocol, format!("the server names no {name}"))
            })
        };
        Ok(Self {
            name: text("about.name"),
            version: text("about.version"),
            api_type: text("about.apiType"),
            root_folder: need("rootFolder")?,
            property_collector: need("propertyCollector")?,
            all: value.clone(),
        })
    }

    /// A manager such as `searchIndex`.
    ///
    /// # Errors
    /// `Unsupported` where the server has none.
    pub fn manager(&self, name: &str) -> Result<MoRef> {
        self.all.child(name).and_then(Value::reference).ok_or_else(|| {
            Error::unsupported(format!("{} {} has no {name}", self.name, self.version))
        })
    }
}

/// How bytes beside the API are asked for.
#[derive(Debug, Clone, Default)]
pub struct Download {
    /// Only these bytes; the answer may still be the whole (status 200).
    pub range: Option<std::ops::Range<u64>>,
    /// Whether to show who is logged in. Only ever sent to the endpoint's own host and port.
    pub cookie: bool,
    /// A certificate that is believed, too: a lease's URL comes with its host's.
    pub thumbprint: Option<Thumbprint>,
}

impl Client {
    /// A client of the endpoint. Nothing is contacted before it is needed.
    ///
    /// # Errors
    /// `Config` for certificates or a thumbprint that cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        let http = Http::new(endpoint.trust()?);
        Ok(Self(Arc::new(Inner {
            contact: Contact::new(&endpoint.context),
            endpoint,
            http,
            content: OnceCell::new(),
            cookie: Mutex::default(),
            gate: AsyncMutex::default(),
        })))
    }

    /// What the context says.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// What is told of the connections to it.
    pub(super) fn contact(&self) -> &Contact {
        &self.0.contact
    }

    /// The connections to it.
    pub(super) fn http(&self) -> &Http {
        &self.0.http
    }

    /// The host that calls go to, to put in the place of `*` in a lease's URL.
    pub fn host(&self) -> &str {
        self.0.endpoint.url.host_str().unwrap_or_default()
    }

    /// The server's own objects. Needs no login.
    ///
    /// # Errors
    /// Those of reaching the server; `Protocol` where it is none.
    pub async fn content(&self) -> Result<Arc<ServiceContent>> {
        let read = || async {
            let this = MoRef::new("ServiceInstance", "ServiceInstance");
            let body = Body::new();
            let reply = retry(|| self.raw("RetrieveServiceContent", &this, &body, None)).await?;
            let value = reply.value().ok_or_else(|| {
                Error::new(ErrorKind::Protocol, "the server does not say what it is")
            })?;
            Ok(Arc::new(ServiceContent::read(value)?))
        };
        self.0.content.get_or_try_init(read).await.cloned()
    }

    /// Calls `method` of the object `this`, logged in.
    ///
    /// # Errors
    /// A fault by its kind ([`Fault::error_kind`]; [`super::fault::fault_of`] gives it back);
    /// those of reaching the server and of logging in. A call that only reads is tried again
    /// where that may help.
    pub async fn call(&self, method: &str, this: &MoRef, body: Body) -> Result<Reply> {
        let mut turns = self.turns();
        loop {
            let cookie = turns.cookie().await?;
            match self.call_as(&cookie, method, this, &body).await {
                Err(error) => turns.renew(cookie, error)?,
                answer => return answer,
            }
        }
    }

    /// Calls `method` with a login that may turn out to have ended.
    pub(super) async fn call_as(
        &self,
        cookie: &Secret,
        method: &str,
        this: &MoRef,
        body: &Body,
    ) -> Result<Reply> {
        let once = || self.raw(method, this, body, Some(cookie));
        if only_reads(method) { retry(once).await } else { once().await }
    }

    /// What one piece of work needs to outlive the ends of logins.
    pub(super) fn turns(&self) -> Turns<'_> {
        Turns { client: self, ended: None, left: RENEWALS }
    }

    /// Sends a call and reads its answer whole.
    async fn raw(
        &self,
        method: &str,
        this: &MoRef,
        body: &Body,
        cookie: Option<&Secret>,
    ) -> Result<Reply> {
        let response = self.send(method, this, body, cookie).await?;
        let status = response.status();
        if !matches!(status, 200 | 500) {
            response.expect(&[200])?;
            return Err(Error::new(ErrorKind::Protocol, "the server answers nothing"));
        }
        let place = response.place().to_owned();
        self.learn_cookie(method, &response);
        let message = response.bytes(LARGEST).await?;
        let subject = |error: Error| error.with_subject(place.clone());
        let answer = soap::parse(&message).map_err(subject)?;
        if answer.name != "Fault" {
            return Ok(Reply(answer));
        }
        Err(subject(Fault::of_soap(&answer).into_error(format!("{method} was refused"))))
    }

    /// Sends a call and gives the head of its answer.
    pub(super) async fn send(
        &self,
        method: &str,
        this: &MoRef,
        body: &Body,
        cookie: Option<&Secret>,
    ) -> Result<Response> {
        tracing::debug!("{} {method} {}", self.0.endpoint.place, this.value);
        let request = Request::post(self.0.endpoint.url.clone(), body.envelope(method, this))
            .header("content-type", "text/xml; charset=utf-8")
            .header("soapaction", ACTION);
        self.0.http.send(with_cookie(request, cookie)).await
    }

    /// The cookie of a login that is not `ended`: this run's, an earlier run's, a new one.
    pub(super) async fn cookie(&self, ended: Option<&Secret>) -> Result<Secret> {
        if let Some(cookie) = self.current().filter(|cookie| Some(cookie) != ended) {
            return Ok(cookie);
        }
        let mut gate = self.0.gate.lock().await;
        if let Some(cookie) = self.current().filter(|cookie| Some(cookie) != ended) {
            return Ok(cookie);
        }
        if let Some(refusal) = gate.as_ref().filter(|refusal| refusal.stands()) {
            return Err(refusal.again());
        }
        let entered = self.enter(ended).await;
        if let Err(error) = &entered {
            *gate = Some(Refusal::of(error));
        }
        entered
    }

    fn current(&self) -> Option<Secret> {
        self.0.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, cookie: Option<Secret>) {
        *self.0.cookie.lock().unwrap_or_else(PoisonError::into_inner) = cookie;
    }

    /// Takes an earlier run's login, or makes one and keeps it for the next.
    async fn enter(&self, ended: Option<&Secret>) -> Result<Secret> {
        let endpoint = &self.0.endpoint;
        let user = auth::user(endpoint)?;
        let Some(shelf) = Shelf::new(endpoint, &user) else {
            return self.log_in(&user).await;
        };
        let kept = |shelf: &Shelf| shelf.take().filter(|cookie| Some(cookie) != ended);
        if let Some(cookie) = kept(&shelf) {
            return Ok(self.reuse(cookie, &user));
        }
        let waiting = shelf.clone();
        let turn = blocking(move || waiting.turn()).await?;
        // Another run may have logged in while this one waited.
        if let Some(cookie) = kept(&shelf) {
            return Ok(self.reuse(cookie, &user));
        }
        let cookie = self.log_in(&user).await?;
        shelf.put(&cookie)?;
        drop(turn);
        Ok(cookie)
    }

    fn reuse(&self, cookie: Secret, user: &str) -> Secret {
        self.note(user, LoginKind::Reused);
        self.set_current(Some(cookie.clone()));
        cookie
    }

    fn note(&self, user: &str, how: LoginKind) {
        let Endpoint { context, place, config, .. } = &self.0.endpoint;
        match how {
            LoginKind::Made => tracing::info!("{context}: logged in at {place} as {user}"),
            LoginKind::Reused => {
                tracing::info!("{context}: using an earlier login at {place} as {user}");
            }
        }
        let login = Login { context: context.clone(), user: user.to_owned(), how };
        config.surroundings.logins.add(login);
    }

    /// Logs in with the password, once.
    async fn log_in(&self, user: &str) -> Result<Secret> {
        let endpoint = self.0.endpoint.clone();
        // The server first: nobody types a password for one that is not there.
        let manager = self.content().await?.manager("sessionManager")?;
        let name = user.to_owned();
        let password = blocking(move || auth::password(&endpoint, &name)).await?;
        let body = Body::new().text("userName", user).text("password", password.expose());
        self.set_current(None);
        let reply = self.raw("Login", &manager, &body, None).await;
        reply.map_err(|error| self.explain_login(user, error))?;
        let cookie = self.current().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server gave no cookie for the login")
                .with_subject(self.0.endpoint.place.clone())
        })?;
        self.note(user, LoginKind::Made);
        Ok(cookie)
    }

    fn explain_login(&self, user: &str, error: Error) -> Error {
        let Some(fault) = super::fault::fault_of(&error).cloned() else { return error };
        let wrong = fault.kind == "InvalidLogin";
        let error = fault
            .into_error(format!("log in as {user}"))
            .with_subject(self.0.endpoint.place.clone());
        if wrong {
            return error.with_hint("check the user (name@domain on a vCenter) and the password");
        }
        error
    }

    /// Keeps the cookie that the answer to a login sets.
    fn learn_cookie(&self, method: &str, response: &Response) {
        if method != "Login" {
            return;
        }
        let found = response.headers("set-cookie").find_map(|line| {
            let (name, rest) = line.split_once('=')?;
            (name.trim() == COOKIE).then(|| rest.split(';').next().unwrap_or_default().trim())
        });
        if let Some(value) = found.filter(|value| !value.is_empty()) {
            self.set_current(Some(Secret::new(value)));
        }
    }

    /// A GET of bytes beside the API: a lease's disk, a file of a datastore. `url` may have `*`
    /// for its host, which is the endpoint's.
    ///
    /// # Errors
    /// By the status ([`Response::expect`]); those of reaching the host, which is named.
    pub async fn download(&self, url: &str, options: Download) -> Result<Response> {
        let url = self.resolve_url(url)?;
        let own = url.origin() == self.0.endpoint.url.origin();
        if !(options.cookie && own) {
            return self.get(&url, &options, None).await?.expect(&[200, 206]);
        }
        let mut turns = self.turns();
        loop {
            let cookie = turns.cookie().await?;
            let answer = self.get(&url, &options, Some(&cookie)).await?;
            if answer.status() != 401 || !turns.again(cookie) {
                return answer.expect(&[200, 206]);
            }
        }
    }

    async fn get(
        &self,
        url: &Url,
        options: &Download,
        cookie: Option<&Secret>,
    ) -> Result<Response> {
        let mut request = Request::get(url.clone()).pinned(options.thumbprint.clone());
        if let Some(range) = &options.range {
            let last = range.end.saturating_sub(1);
            request = request.header("range", &format!("bytes={}-{last}", range.start));
        }
        self.0.http.send(with_cookie(request, cookie)).await
    }

    /// A lease's URL with the endpoint's host and port where it has `*`.
    fn resolve_url(&self, url: &str) -> Result<Url> {
        let wrong = || Error::new(ErrorKind::Protocol, "the server gave a URL that is none");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let own = &self.0.endpoint.url;
        let whole = match host.split(':').next() {
            Some("*") => {
                let port = own.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{}{port}{path}", own.scheme(), self.host())
            }
            _ => format!("{scheme}://{host}{path}"),
        };
        let url = Url::parse(&whole).map_err(|_| wrong())?;
        if matches!(url.scheme(), "https" | "http") { Ok(url) } else { Err(wrong()) }
    }

    /// Ends the login that is kept for this endpoint, where there is one.
    ///
    /// # Errors
    /// Those of reaching the server; a login that has ended already is none.
    pub async fn log_out(&self) -> Result<bool> {
        let user = auth::user(&self.0.endpoint)?;
        let Some(shelf) = Shelf::new(&self.0.endpoint, &user) else { return Ok(false) };
        let Some(cookie) = shelf.take() else { return Ok(false) };
        let manager = self.content().await?.manager("sessionManager")?;
        let ended = self.raw("Logout", &manager, &Body::new(), Some(&cookie)).await;
        match ended {
            Err(error) if !is_logged_out(&error) => return Err(error),
            _ => shelf.forget(&cookie),
        }
        Ok(true)
    }
}

/// The logins of one piece of work: a new one for each that turns out to have ended, up to a
/// bound.
pub(super) struct Turns<'c> {
    client: &'c Client,
    ended: Option<Secret>,
    left: u32,
}

impl Turns<'_> {
    /// The cookie of a login that is not known to have ended.
    ///
    /// # Errors
    /// Those of logging in.
    pub(super) async fn cookie(&self) -> Result<Secret> {
        self.client.cookie(self.ended.as_ref()).await
    }

    /// Lets the work begin anew where `error` says that the login behind `cookie` has ended.
    ///
    /// # Errors
    /// `error` itself where it says something else, or has said so too often.
    pub(super) fn renew(&mut self, cookie: Secret, error: Error) -> Result<()> {
        if is_logged_out(&error) && self.again(cookie) { Ok(()) } else { Err(error) }
    }

    /// The same where a view may have ended with another's login: views belong to logins.
    ///
    /// # Errors
    /// As [`Turns::renew`].
    pub(super) fn look_again(&mut self, cookie: Secret, error: Error) -> Result<()> {
        if is_lost_view(&error) && self.left > 0 {
            self.left -= 1;
            return Ok(());
        }
        self.renew(cookie, error)
    }

    /// The same for a watch, which may begin anew for whatever the server has forgotten.
    ///
    /// # Errors
    /// As [`Turns::renew`].
    pub(super) fn begin_anew(&mut self, cookie: Secret, error: Error) -> Result<()> {
        if is_logged_out(&error) {
            return self.renew(cookie, error);
        }
        self.left = self.left.checked_sub(1).ok_or(error)?;
        Ok(())
    }

    /// Takes the login for ended; false where that happened too often.
    fn again(&mut self, cookie: Secret) -> bool {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.ended = Some(cookie);
        more
    }
}

impl Refusal {
    fn of(error: &Error) -> Self {
        let fault = super::fault::fault_of(error).cloned();
        let words = match fault {
            Some(_) => error.message().to_owned(),
            None => crate::error::one_line(error),
        };
        let until = (error.kind() == ErrorKind::Unavailable).then(|| Instant::now() + AWAY);
        Self { fault, kind: error.kind(), words, until }
    }

    fn stands(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    fn again(&self) -> Error {
        let error = Error::new(self.kind, self.words.clone());
        match &self.fault {
            Some(fault) => error.with_source(fault.clone()),
            None => error,
        }
    }
}

/// Shows who is logged in.
fn with_cookie(request: Request, cookie: Option<&Secret>) -> Request {
    match cookie {
        Some(cookie) => request.header("cookie", &format!("{COOKIE}={}", cookie.expose())),
        None => request,
    }
}

/// Whether calling twice does the same as calling once.
fn only_reads(method: &str) -> bool {
    [
        "Retrieve",
        "Find",
        "Query",
        "CurrentTime",
        "GetCustomizationSpec",
        "HttpNfcLeaseGet",
        "Search",
    ]
    .iter()
    .any(|prefix| method.starts_with(prefix))
}

/// Runs what waits for files, locks or people off the threads that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Error::new(ErrorKind::Internal, "log in").with_source(error)),
    }
}
