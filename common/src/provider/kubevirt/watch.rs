//! One kind of object, listed and then watched (Kubernetes API concepts, "Efficient detection of
//! changes"): what the server forgets (410) is listed anew, what breaks is taken up again where it
//! was, and nothing in between is lost or told twice.

use std::time::Duration;

use async_stream::try_stream;
use bytes::{Buf, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{Client, Page, Place, request};
use super::discovery::Resource;
use super::error::of_answer;
use super::wire;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Contact, Contacted};

/// How long the server is asked to keep a watch open, in seconds.
const OPEN: u64 = 290;

/// How long a watch may be silent beyond that: the connection is dead then.
const SILENCE: Duration = Duration::from_secs(OPEN + 40);

/// First and longest wait before a broken watch is taken up again.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// How often in a row credentials may be refused: they may be renewed meanwhile.
const REFUSALS: u32 = 6;

/// How often in a row a kind that was there may be unknown, a quarter of a minute with the waits
/// between: servers say so for a moment after their start (kubernetes/kubernetes#71218, #115241).
const ABSENCES: u32 = 6;

/// The longest line of a watch. etcd takes no object above 1.5 MiB.
const LONGEST: usize = 16 << 20;

/// One step.
#[derive(Debug)]
pub enum Step<T> {
    /// A full list begins.
    Reset,
    /// An object of the list.
    Listed(T),
    /// The list is complete.
    Synced,
    /// An object is new or changed.
    Applied(T),
    /// An object is gone, as it last was.
    Gone(T),
}

impl<T> Step<T> {
    /// The object that it is about.
    pub fn object(&self) -> Option<&T> {
        match self {
            Self::Reset | Self::Synced => None,
            Self::Listed(object) | Self::Applied(object) | Self::Gone(object) => Some(object),
        }
    }

    /// The same step with what is made of its object.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Reset => Step::Reset,
            Self::Listed(object) => Step::Listed(read(object)),
            Self::Synced => Step::Synced,
            Self::Applied(object) => Step::Applied(read(object)),
            Self::Gone(object) => Step::Gone(read(object)),
        }
    }
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// What ended a watch.
enum End {
    /// The server forgot where it stood.
    Forgotten,
    /// It may go on from the last version.
    Broken(Option<Error>),
}

/// What to watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The kind.
    pub resource: Resource,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// What the server selects by, escaped.
    pub query: String,
}

impl Watched {
    fn place(&self) -> Place<'_> {
        Place { resource: self.resource, namespace: self.namespace.as_deref() }
    }

    fn path(&self, version: &str) -> String {
        let path = self.place().path(None);
        let query = if self.query.is_empty() { String::new() } else { format!("&{}", self.query) };
        format!(
            "{path}?watch=1&allowWatchBookmarks=true&timeoutSeconds={OPEN}\
             &resourceVersion={version}{query}"
        )
    }
}

/// Watches for ever; ends after an error that will not pass.
pub fn watch<T>(client: Client, what: Watched) -> BoxStream<'static, Result<Step<T>>>
where
    T: DeserializeOwned + Send + 'static,
{
    watch_from(client, what, None)
}

/// The same; with a version of the server's state it begins with what changed since, and with a
/// list only where the server has forgotten that.
pub fn watch_from<T>(
    client: Client,
    what: Watched,
    mut from: Option<String>,
) -> BoxStream<'static, Result<Step<T>>>
where
    T: DeserializeOwned + Send + 'static,
{
    try_stream! {
        let mut patience = Patience::new(client.contact());
        let mut listed = false;
        loop {
            // The list: its first page says from where the watch goes on.
            let mut version = from.take().unwrap_or_default();
            let resumed = !version.is_empty();
            let mut next = String::new();
            let mut begun = false;
            let mut listing = !resumed;
            while listing {
                let page: Page<T> = match client.page(what.place(), &what.query, &next).await {
                    Ok(page) => page,
                    // A page that came too late: the list begins anew.
                    Err(error) if !next.is_empty() && error.kind() == ErrorKind::NotFound => {
                        next.clear();
                        begun = false;
                        continue;
                    }
                    Err(error) => {
                        patience.bear(error, listed, what.resource).await?;
                        continue;
                    }
                };
                patience.rest();
                if !begun {
                    begun = true;
                    version = page.metadata.resource_version;
                    yield Step::Reset;
                }
                for object in page.items {
                    yield Step::Listed(object);
                }
                next = page.metadata.next;
                listing = !next.is_empty();
            }
            if !resumed {
                listed = true;
                yield Step::Synced;
            }
            // The watch, taken up again as often as it ends.
            loop {
                let mut lines = match open(&client, &what.path(&version)).await {
                    Ok(lines) => lines,
                    Err(error) if is_forgotten(&error) => break,
                    Err(error) => {
                        patience.bear(error, listed, what.resource).await?;
                        continue;
                    }
                };
                listed = true;
                patience.contact.works();
                let end = loop {
                    let line = match lines.next().await {
                        Ok(Some(line)) => line,
                        Ok(None) => break End::Broken(None),
                        Err(error) => break End::Broken(Some(error)),
                    };
                    match read(line, &mut version)? {
                        Read::Step(step) => {
                            patience.rest();
                            yield step;
                        }
                        Read::Nothing => patience.rest(),
                        Read::End(end) => break end,
                    }
                };
                match end {
                    End::Forgotten => break,
                    End::Broken(None) => {}
                    End::Broken(Some(error)) => patience.bear(error, true, what.resource).await?,
                }
            }
        }
    }
    .boxed()
}

/// What a line says.
enum Read<T> {
    Step(Step<T>),
    Nothing,
    End(End),
}

fn read<T: DeserializeOwned>(line: Line, version: &mut String) -> Result<Read<T>> {
    let Line { kind, object } = line;
    if kind == "ERROR" {
        let code = object.get("code").and_then(Value::as_u64).unwrap_or(500);
        let status =
            u16::try_from(code).ok().and_then(|code| http::StatusCode::from_u16(code).ok());
        let status = status.unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let error = of_answer(status, object.to_string().as_bytes(), None);
        let forgotten = status == http::StatusCode::GONE || is_forgotten(&error);
        return Ok(Read::End(if forgotten { End::Forgotten } else { End::Broken(Some(error)) }));
    }
    if let Some(at) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        at.clone_into(version);
    }
    let step = match kind.as_str() {
        "ADDED" | "MODIFIED" => Step::Applied,
        "DELETED" => Step::Gone,
        // BOOKMARK, and whatever may come.
        _ => return Ok(Read::Nothing),
    };
    wire::read_value(object).map(|object| Read::Step(step(object))).map_err(|failure| {
        Error::new(ErrorKind::Protocol, "the API server sends an object of another form")
            .with_source(failure)
    })
}

/// Whether the server says that it does not remember a version.
fn is_forgotten(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound && error.message().contains("too old")
}

/// How failures are borne: those that may pass are waited out.
struct Patience {
    failures: u32,
    refusals: u32,
    absences: u32,
    contact: Contacted,
}

impl Patience {
    fn new(contact: &Contact) -> Self {
        Self { failures: 0, refusals: 0, absences: 0, contact: contact.line() }
    }

    /// The server has answered as it should.
    fn rest(&mut self) {
        (self.failures, self.refusals, self.absences) = (0, 0, 0);
        self.contact.works();
    }

    /// Waits before another try.
    async fn bear(&mut self, error: Error, listed: bool, kind: Resource) -> Result<()> {
        match error.kind() {
            ErrorKind::Unavailable if listed => self.contact.failed(&error),
            ErrorKind::Auth if listed && self.refusals < REFUSALS => self.refusals += 1,
            ErrorKind::NotFound if listed => self.miss(&error, kind)?,
            _ => return Err(error),
        }
        tracing::info!("{error}; taking the watch up again");
        let wait = WAITS.0.saturating_mul(1 << self.failures.min(10)).min(WAITS.1);
        self.failures += 1;
        tokio::time::sleep(error.retry_after().unwrap_or(wait).max(wait)).await;
        Ok(())
    }

    /// Takes in that the server does not know a kind that it had.
    fn miss(&mut self, error: &Error, kind: Resource) -> Result<()> {
        let what = format!("the API server has no {} ({})", kind.plural, kind.api_version());
        if self.absences == ABSENCES {
            return Err(Error::not_found(format!("{what} any more"))
                .with_source(error.message().to_owned())
                .with_hint("`kubectl api-resources` shows what it has"));
        }
        if self.absences == 0 {
            tracing::warn!("{what} at the moment; asked again for a while");
        }
        self.absences += 1;
        Ok(())
    }
}

/// The lines of a watch.
struct Lines {
    body: BoxStream<'static, Result<bytes::Bytes, String>>,
    text: BytesMut,
    /// How far `text` was looked through for the end of a line.
    seen: usize,
}

async fn open(client: &Client, path: &str) -> Result<Lines> {
    let response = client.succeed(request(&Method::GET, path, None)?).await?;
    let body = response.into_body().into_data_stream();
    let body = body.map(|part| part.map_err(|failure| failure.to_string())).boxed();
    Ok(Lines { body, text: BytesMut::new(), seen: 0 })
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Line>> {
        let broke = |reason: String| {
            Error::new(ErrorKind::Unavailable, "the watch broke").with_source(reason)
        };
        loop {
            let fresh = self.text.get(self.seen..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = self.text.split_to(self.seen + at);
                self.text.advance(1);
                self.seen = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|failure| {
                    Error::new(ErrorKind::Protocol, "the API server sends a line that is no event")
                        .with_source(failure)
                });
            }
            self.seen = self.text.len();
            if self.seen > LONGEST {
                return Err(Error::new(ErrorKind::Protocol, "a line of the watch is too long"));
            }
            match tokio::time::timeout(SILENCE, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.text.extend_from_slice(&bytes),
                Ok(Some(Err(reason))) => return Err(broke(reason)),
                // Half a line at the end was never said: the version is that of the last whole one.
                Ok(None) => return Ok(None),
                Err(_) => return Err(broke("the server has fallen silent".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&str]) -> Lines {
        let parts: Vec<_> =
            parts.iter().map(|it| Ok(bytes::Bytes::copy_from_slice(it.as_bytes()))).collect();
        Lines { body: futures::stream::iter(parts).boxed(), text: BytesMut::new(), seen: 0 }
    }

    #[tokio::test]
    async fn lines_are_put_together_and_half_a_line_is_none() {
        let mut lines = lines(&[
            "{\"type\":\"AD",
            "DED\",\"object\":{}}\n\n{\"type\":",
            "\"B\",\"object\":1}\n{\"ty",
        ]);
        assert_eq!(lines.next().await.unwrap().unwrap().kind, "ADDED");
        assert_eq!(lines.next().await.unwrap().unwrap().kind, "B");
        assert!(lines.next().await.unwrap().is_none());
    }

    #[test]
    fn a_line_moves_the_version_and_an_old_one_is_forgotten() {
        let mut version = "1".to_owned();
        let line = |text: &str| serde_json::from_str::<Line>(text).unwrap();
        let bookmark = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        assert!(matches!(read::<Value>(line(bookmark), &mut version), Ok(Read::Nothing)));
        assert_eq!(version, "7");
        let old = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        let read = read::<Value>(line(old), &mut version).unwrap();
        assert!(matches!(read, Read::End(End::Forgotten)));
        assert_eq!(version, "7");
    }
}
