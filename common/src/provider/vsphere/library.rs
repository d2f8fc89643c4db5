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
const ROOT: &str = "/rest/com/vmware/";

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

struct Session<'c> {
    client: &'c Client,
    id: Secret,
}

impl<'c> Session<'c> {
    /// Logs in; `None` where there is no such API.
    async fn open(client: &'c Client) -> Result<Option<Self>> {
        let endpoint = client.endpoint().clone();
        let user = auth::user(&endpoint)?;
        let name = user.clone();
        let password = tokio::task::spawn_blocking(move || auth::password(&endpoint, &name)).await;
        let failed = |error| Error::new(ErrorKind::Internal, "log in").with_source(error);
        let password = password.map_err(failed)??;
        let request = Request::post(url(client, "cis/session"), "").login(&user, password);
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
        for library in self.ids("content/library").await? {
            let named = self.get(&format!("content/library/id:{library}")).await?;
            let name = named["name"].as_str().unwrap_or(&library).to_owned();
            let ids = self.ids(&format!("content/library/item?library_id={library}")).await?;
            let look = |id: String| async move {
                let found = self.get(&format!("content/library/item/id:{id}")).await?;
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
    async fn close(self) {
        let request =
            Request::delete(url(self.client, "cis/session")).header(SESSION, self.id.expose());
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

fn malformed(words: &str) -> Error {
    Error::new(ErrorKind::Protocol, "the answer about content libraries is not as it should be")
        .with_source(words.to_owned())
}
