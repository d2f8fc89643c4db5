//! Calls to the API server: JSON in and out, lists by pages, watches by lines, all with the
//! authentication and TLS of the `kube` crate and the errors and retries of hyper.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, mpsc};

use super::config::Endpoint;
use super::discovery::{Groups, Resource};
use super::{error, wire};
use crate::config::ContextConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Contact, retry};

/// Objects of one page of a list.
const PAGE: usize = 500;

/// How long a server may take for the head of its answer.
const SILENCE: Duration = Duration::from_secs(60);

/// How long credentials are left alone after they were fetched anew.
const RENEWAL: Duration = Duration::from_secs(1);

/// Wait before a change is tried again that another one got in the way of.
const OVERTAKEN: Duration = Duration::from_millis(100);

/// What is escaped in a part of a path or a query: all but the unreserved characters of RFC 3986.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An API server. Clones share connections and what was learned of it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    connected: OnceCell<(kube::Client, String)>,
    renewed: AsyncMutex<Renewed>,
    groups: OnceCell<Groups>,
    contact: Contact,
}

/// What became of credentials that the server does not take any more.
#[derive(Default)]
struct Renewed {
    /// With those that took their place.
    client: Option<kube::Client>,
    /// Whether the last answer was that they are not valid.
    refused: bool,
    /// When they were fetched last.
    at: Option<Instant>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

/// Where objects of a kind are: a path below the server.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// Which kind.
    pub resource: Resource,
    /// The namespace; `None` for all of them, and for kinds that have none.
    pub namespace: Option<&'p str>,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    /// About the list.
    #[serde(default)]
    pub metadata: ListMeta,
    /// Its objects, sorted by namespace and name.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// `ListMeta` of the Kubernetes API (meta/v1).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    /// Where the list stands in the server's history: a watch goes on from there.
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    #[serde(rename = "continue")]
    pub next: String,
    /// How many objects follow the page, where the server tells.
    pub remaining_item_count: Option<u64>,
}

impl Client {
    /// The server of a context. Nothing is contacted.
    pub fn new(context: &ContextConfig) -> Self {
        Self(Arc::new(Inner {
            endpoint: Endpoint::new(context),
            connected: OnceCell::new(),
            renewed: AsyncMutex::default(),
            groups: OnceCell::new(),
            contact: Contact::new(&context.name),
        }))
    }

    /// What is told of the connections to it.
    pub(super) fn contact(&self) -> &Contact {
        &self.0.contact
    }

    async fn connected(&self) -> Result<&(kube::Client, String)> {
        self.0.connected.get_or_try_init(|| self.0.endpoint.connect()).await
    }

    /// The connections to use now, and the server's URL. Credentials that were refused are fetched
    /// anew where the kubeconfig says: a token's file is read, a command run.
    async fn current(&self) -> Result<(kube::Client, &str)> {
        let (first, url) = self.connected().await?;
        let mut renewed = self.0.renewed.lock().await;
        if renewed.refused && renewed.at.is_none_or(|at| at.elapsed() >= RENEWAL) {
            renewed.at = Some(Instant::now());
            let (fresh, _) = self.0.endpoint.connect().await?;
            renewed.client = Some(fresh);
            renewed.refused = false;
        }
        Ok((renewed.client.as_ref().unwrap_or(first).clone(), url))
    }

    /// The server's URL.
    ///
    /// # Errors
    /// `Config` and `Auth` for a kubeconfig that cannot be used.
    pub async fn url(&self) -> Result<&str> {
        Ok(&self.connected().await?.1)
    }

    /// Sends a request and waits for the head of the answer, whatever its status: for what is
    /// neither JSON nor a list (an upgrade, a picture, a log).
    ///
    /// # Errors
    /// `Unavailable`, `Auth` for a server that cannot be reached or is not believed.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (client, url) = self.current().await?;
        tracing::debug!("{url} {} {}", request.method(), request.uri().path());
        match tokio::time::timeout(SILENCE, client.send(request)).await {
            Ok(Ok(response)) => {
                if response.status() == StatusCode::UNAUTHORIZED {
                    self.0.renewed.lock().await.refused = true;
                }
                Ok(response)
            }
            Ok(Err(failure)) => Err(error::of_client(failure, url)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the API server has said nothing for {} s", SILENCE.as_secs()),
            )
            .with_subject(url.to_owned())),
        }
    }

    /// Sends a request whose answer must be a success.
    ///
    /// # Errors
    /// As [`Client::send`], and by the answer's status: see `error.rs`.
    pub async fn succeed(&self, request: Request<Body>) -> Result<Response<Body>> {
        let response = self.send(request).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let asked = response.headers().get(http::header::RETRY_AFTER);
        let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = self.read(response).await.unwrap_or_default();
        Err(error::of_answer(status, &body, asked.map(Duration::from_secs)))
    }

    async fn is_refused(&self) -> bool {
        self.0.renewed.lock().await.refused
    }

    async fn read(&self, response: Response<Body>) -> Result<Bytes> {
        let whole = response.into_body().collect().await;
        Ok(whole.map_err(|failure| self.broke(failure.to_string()))?.to_bytes())
    }

    fn broke(&self, reason: String) -> Error {
        let place = self.0.connected.get().map(|(_, url)| url.clone());
        Error::new(ErrorKind::Unavailable, "the connection to the API server broke")
            .with_subject(place.unwrap_or_default())
            .with_source(reason)
            .with_retry_after(Duration::from_millis(500))
    }

    /// Calls `path` (with its query); the answer is JSON, or nothing (`null`).
    ///
    /// # Errors
    /// As [`Client::succeed`]; `Protocol` for an answer of another form. A GET is tried again
    /// where that may help.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<T> {
        let once = || async {
            let response = self.succeed(request(&method, path, body)?).await?;
            let bytes = self.read(response).await?;
            let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            wire::read(text).map_err(|failure| {
                Error::new(ErrorKind::Protocol, "the API server's answer is not as it should be")
                    .with_subject(path.split('?').next().unwrap_or_default().to_owned())
                    .with_source(failure)
            })
        };
        let twice = || async {
            match once().await {
                // What was refused was not done; with other credentials it may be.
                Err(error) if error.kind() == ErrorKind::Auth && self.is_refused().await => {
                    once().await
                }
                other => other,
            }
        };
        if method == Method::GET { retry(twice).await } else { twice().await }
    }

    /// One object.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get<T: DeserializeOwned>(&self, place: Place<'_>, name: &str) -> Result<T> {
        self.call(Method::GET, &place.path(Some(name)), None).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// As [`Client::call`]; `Conflict` where one of its name is there.
    pub async fn create<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        object: &Value,
        dry_run: bool,
    ) -> Result<T> {
        let query = if dry_run { "?dryRun=All" } else { "" };
        let path = place.path(None) + query;
        self.call(Method::POST, &path, Some(("application/json", object))).await
    }

    /// Changes the fields of an object that `patch` names (RFC 7386).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn merge<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        name: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<T> {
        let query = if dry_run { "?dryRun=All" } else { "" };
        let path = place.path(Some(name)) + query;
        let once =
            || self.call(Method::PATCH, &path, Some(("application/merge-patch+json", patch)));
        // One that is for a certain version cannot be made to another.
        match patch.pointer("/metadata/resourceVersion") {
            None => anew(once).await,
            Some(_) => once().await,
        }
    }

    /// Removes an object, and what belongs to it in the background.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, place: Place<'_>, name: &str, options: &Value) -> Result<()> {
        let path = place.path(Some(name));
        self.call::<Value>(Method::DELETE, &path, Some(("application/json", options)))
            .await
            .map(drop)
    }

    /// A page of a list. `query` holds what is asked for beside the page (`labelSelector=…`), in
    /// parts that are escaped already; `next` is where an earlier page said that this one begins.
    ///
    /// # Errors
    /// As [`Client::call`]; `NotFound` where `next` is too old.
    pub async fn page<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        query: &str,
        next: &str,
    ) -> Result<Page<T>> {
        let mut path = format!("{}?limit={PAGE}", place.path(None));
        if !query.is_empty() {
            path.push('&');
            path.push_str(query);
        }
        if !next.is_empty() {
            path.push_str("&continue=");
            path.push_str(&escape(next));
        }
        self.call(Method::GET, &path, None).await
    }

    /// All objects of a list, page by page, sorted by namespace and name. Ends after an error. The
    /// next page is on its way while one is looked at.
    pub fn list<T: DeserializeOwned + Send + 'static>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        query: String,
    ) -> BoxStream<'static, Result<T>> {
        let (client, namespace) = (self.clone(), namespace.map(str::to_owned));
        let (sender, mut pages) = mpsc::channel(1);
        tokio::spawn(async move {
            let place = Place { resource, namespace: namespace.as_deref() };
            let mut next = Some(String::new());
            while let Some(at) = next.take() {
                let page = client.page(place, &query, &at).await;
                let page = page.map(|Page { metadata, items }| {
                    next = Some(metadata.next).filter(|next| !next.is_empty());
                    items
                });
                // Nobody may want more.
                if sender.send(page).await.is_err() {
                    break;
                }
            }
        });
        futures::stream::poll_fn(move |context| pages.poll_recv(context))
            .flat_map(|page| {
                futures::stream::iter(match page {
                    Ok(items) => items.into_iter().map(Ok).collect::<Vec<_>>(),
                    Err(error) => vec![Err(error)],
                })
            })
            .boxed()
    }

    /// A connection to a port of a pod, by way of the server.
    ///
    /// # Errors
    /// As [`Client::send`]; `Unsupported` where something between lets no WebSocket through.
    pub async fn forward(&self, namespace: &str, pod: &str, port: u16) -> Result<DuplexStream> {
        let (client, url) = self.current().await?;
        tracing::debug!("{url} port {port} of {namespace}/{pod}");
        let pods: kube::Api<Pod> = kube::Api::namespaced(client, namespace);
        let opened = pods.portforward(pod, &[port]).await;
        let mut opened = opened.map_err(|failure| error::of_client(failure, url))?;
        opened
            .take_stream(port)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a forwarded port has no connection"))
    }

    /// What the server serves.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn groups(&self) -> Result<&Groups> {
        self.0.groups.get_or_try_init(|| Groups::ask(self)).await
    }
}

impl Place<'_> {
    /// The path of its list, or of one object of it.
    pub fn path(&self, name: Option<&str>) -> String {
        let mut path = self.resource.root();
        if let Some(namespace) = self.namespace {
            path.push_str("/namespaces/");
            path.push_str(&escape(namespace));
        }
        path.push('/');
        path.push_str(self.resource.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&escape(name));
        }
        path
    }
}

/// Does what changes an object anew while something else has changed that just before: KubeVirt's
/// controllers write to machines all the time. What was refused for that was not done.
///
/// # Errors
/// The last attempt's.
pub async fn anew<T, F>(once: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    retry(|| async {
        match once().await {
            Err(error) if was_overtaken(&error) => Err(error.with_retry_after(OVERTAKEN)),
            other => Ok(other),
        }
    })
    .await?
}

/// Whether a change was refused because it was not made of the latest version: the words of the
/// API server for that, and KubeVirt's for a JSON patch whose test fails.
fn was_overtaken(error: &Error) -> bool {
    let words = ["the object has been modified", "test operation does not apply"];
    error.kind() == ErrorKind::Conflict && words.iter().any(|it| error.message().contains(it))
}

/// A part of a path or of a query.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// A request with a body of JSON, or with none.
///
/// # Errors
/// `Usage` for words that no request can hold.
pub fn request(method: &Method, path: &str, body: Option<(&str, &Value)>) -> Result<Request<Body>> {
    let mut builder = Request::builder().method(method.clone()).uri(path);
    builder = builder.header(http::header::ACCEPT, "application/json");
    let (body, form) = match body {
        Some((form, value)) => (Body::from(value.to_string().into_bytes()), Some(form)),
        None => (Body::empty(), None),
    };
    if let Some(form) = form {
        builder = builder.header(http::header::CONTENT_TYPE, form);
    }
    builder.body(body).map_err(|failure| {
        Error::usage("this cannot be asked of an API server").with_source(failure)
    })
}
