//! Content libraries, over the REST API that a vCenter has beside the other one (vSphere Automation
//! API, `com.vmware.content`). It has logins of its own, which last as long as a look.

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::auth;
use super::client::Client;
use crate::config::{PasswordSource, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Request, Response};
use crate::provider::facets::templates::{Template, TemplateKind};

/// Where the API is on a server.
const ROOT: &str = "/rest/";

/// The header that shows who is logged in.
const SESSION: &str = "vmware-api-session-id";

/// Items that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Largest answer.
const LARGEST: usize = 16 << 20;

/// The items of all libraries, sorted by library and name; none where the server has no libraries.
/// Unless `wanted` is set, nobody is asked for a password for them.
///
/// # Errors
/// Those of reaching the server and of logging in; `Protocol` for an answer of another form.
pub(super) async fn items(client: &Client, wanted: bool) -> Result<Vec<Template>> {
    if client.content().await?.api_type != "VirtualCenter" {
        return Ok(Vec::new());
    }
    let sources = &client.endpoint().server.passwords;
    if !wanted && sources.iter().all(|it| matches!(it, PasswordSource::Ask)) {
        tracing::info!(
            "content libraries have a login of their own: --kind library-item shows them"
        );
        return Ok(Vec::new());
    }
    let Some(session) = Session::open(client).await? else { return Ok(Vec::new()) };
    let found = session.items().await;
    session.close().await;
    found
}

/// A login for content libraries.
pub(super) struct Session<'c> {
    client: &'c Client,
    id: Secret,
}

impl<'c> Session<'c> {
    /// Logs in; `None` where there is no such API.
    ///
    /// # Errors
    /// Those of reaching the server and of logging in.
    pub(super) async fn open(client: &'c Client) -> Result<Option<Self>> {
        let endpoint = client.endpoint().clone();
        let user = auth::user(&endpoint)?;
        let name = user.clone();
        let password = tokio::task::spawn_blocking(move || auth::password(&endpoint, &name)).await;
        let failed = |error| Error::new(ErrorKind::Internal, "log in").with_source(error);
        let password = password.map_err(failed)??;
        let request =
            Request::post(url(client, "com/vmware/cis/session"), "").login(&user, password);
        let answer = client.http().send(request).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let answer = answer.expect(&[200, 201]);
        let answer = answer.map_err(|error| error.context("log in for content libraries"))?;
        match value(answer).await?.as_str() {
            Some(id) => Ok(Some(Self { client, id: Secret::new(id) })),
            None => Err(malformed("the server gave no login")),
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = Request::get(url(self.client, path)).header(SESSION, self.id.expose());
        value(self.client.http().send(request).await?.expect(&[200])?).await
    }

    /// What the server answers to JSON. How long it works on that is not limited.
    ///
    /// # Errors
    /// The server's own, by its type; those of reaching it.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(url(self.client, path), "")
            .header("content-type", "application/json")
            .header(SESSION, self.id.expose());
        let bytes = bytes::Bytes::from(body.to_string());
        let len = bytes.len() as u64;
        let body = futures::stream::once(async { Ok(bytes) }).boxed();
        let answer = self.client.http().upload(request, Some(len), body).await?;
        if matches!(answer.status(), 200 | 201) {
            return value(answer).await;
        }
        Err(refusal(answer).await)
    }

    /// What kind of thing an item is: `ovf`, `vm-template`, `iso` and others.
    ///
    /// # Errors
    /// `NotFound` for an item that is gone; those of reaching the server.
    pub(super) async fn kind(&self, item: &str) -> Result<String> {
        let found = self.get(&format!("com/vmware/content/library/item/id:{item}")).await?;
        let kind = found["type"].as_str().ok_or_else(|| malformed("the item is of no type"))?;
        Ok(kind.to_owned())
    }

    async fn ids(&self, path: &str) -> Result<Vec<String>> {
        let list = self.get(path).await?;
        // Servers have no list where it would be empty.
        let none = Vec::new();
        let all = if list.is_null() { Some(&none) } else { list.as_array() };
        let all = all.ok_or_else(|| malformed("there should be a list"))?;
        all.iter()
            .map(|id| Ok(id.as_str().ok_or_else(|| malformed("an id is no text"))?.to_owned()))
            .collect()
    }

    async fn items(&self) -> Result<Vec<Template>> {
        let mut all = Vec::new();
        for library in self.ids("com/vmware/content/library").await? {
            let named = self.get(&format!("com/vmware/content/library/id:{library}")).await?;
            let name = named["name"].as_str().unwrap_or(&library).to_owned();
            let ids =
                self.ids(&format!("com/vmware/content/library/item?library_id={library}")).await?;
            let look = |id: String| async move {
                let found = self.get(&format!("com/vmware/content/library/item/id:{id}")).await?;
                Ok::<_, Error>(item(&id, &found))
            };
            let found = futures::stream::iter(ids.into_iter().map(look)).buffered(AT_ONCE);
            let mut found: Vec<Template> = found.try_collect().await?;
            found.iter_mut().for_each(|it| it.source = Some(name.clone()));
            all.extend(found);
        }
        all.sort_by(|a, b| (&a.source, &a.name).cmp(&(&b.source, &b.name)));
        Ok(all)
    }

    /// Logs out. That it cannot is no failure: the login ends by itself.
    pub(super) async fn close(self) {
        let request = Request::delete(url(self.client, "com/vmware/cis/session"))
            .header(SESSION, self.id.expose());
        if let Err(error) = self.client.http().send(request).await {
            tracing::debug!("log out of content libraries: {error}");
        }
    }
}

fn item(id: &str, found: &Value) -> Template {
    let text = |field: &str| found[field].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    Template {
        // Whether all of it has come to the server that it was subscribed for.
        ready: found["cached"].as_bool(),
        size_bytes: found["size"].as_u64(),
        description: text("description"),
        created: text("creation_time").and_then(|it| it.parse().ok()),
        guest_os_name: None,
        ..Template::new(id, text("name").unwrap_or_default(), TemplateKind::LibraryItem)
    }
}

fn url(client: &Client, path: &str) -> crate::net::Url {
    let mut url = client.endpoint().url.clone();
    let (path, query) =
        path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(&format!("{ROOT}{path}"));
    url.set_query(query);
    url
}

/// What an answer holds.
async fn value(answer: Response) -> Result<Value> {
    let bytes = answer.bytes(LARGEST).await?;
    let whole: Value = serde_json::from_slice(&bytes)
        .map_err(|error| malformed("this is no JSON").with_source(error))?;
    match whole {
        Value::Object(mut map) => {
            map.remove("value").ok_or_else(|| malformed("there is no value in it"))
        }
        _ => Err(malformed("there is no value in it")),
    }
}

/// Why the server refused something.
async fn refusal(answer: Response) -> Error {
    let bare = |answer: Response| match answer.expect(&[]) {
        Err(error) => error,
        Ok(_) => malformed("there is no value in it"),
    };
    if !matches!(answer.status(), 400..=500) {
        return bare(answer);
    }
    let (status, place) = (answer.status(), answer.place().to_owned());
    let whole = answer.bytes(LARGEST).await.unwrap_or_default();
    let whole: Value = serde_json::from_slice(&whole).unwrap_or_default();
    let words = format!("the server answers {status}");
    match whole["type"].as_str() {
        Some(class) => failure(class, &whole["value"], words).with_subject(place),
        None => Error::new(ErrorKind::Protocol, words).with_subject(place),
    }
}

/// An error of the API (`com.vmware.vapi.std.errors`): its class, and the messages in it.
pub(super) fn failure(class: &str, error: &Value, doing: impl Into<String>) -> Error {
    let class = class.rsplit('.').next().unwrap_or(class).to_ascii_lowercase();
    let kind = match class.replace('_', "").as_str() {
        "unauthenticated" | "unauthorized" => ErrorKind::Auth,
        "notfound" => ErrorKind::NotFound,
        "alreadyexists"
        | "alreadyindesiredstate"
        | "notallowedincurrentstate"
        | "resourcebusy"
        | "resourceinuse"
        | "concurrentchange" => ErrorKind::Conflict,
        "unsupported" | "operationnotfound" => ErrorKind::Unsupported,
        "serviceunavailable" | "timedout" | "resourceinaccessible" | "unabletoallocateresource" => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Protocol,
    };
    let messages = error["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let messages: Vec<_> =
        messages.iter().filter_map(|it| it["default_message"].as_str()).collect();
    let words = if messages.is_empty() { class } else { messages.join("; ") };
    Error::new(kind, doing).with_source(words)
}

fn malformed(words: &str) -> Error {
    Error::new(ErrorKind::Protocol, "the answer about content libraries is not as it should be")
        .with_source(words.to_owned())
}
