//! A collector of events (`EventHistoryCollector` of the vSphere API): what the server keeps of one
//! filter, read in parts. Servers have few of them for each login, so that each is freed.

use jiff::Timestamp;

use super::client::Client;
use super::event::{Item, Reader, read_items};
use super::inventory::{MACHINE, absolute};
use super::names::{Names, find_by_path};
use super::resolve::resolve;
use super::soap::{Body, MoRef};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::events::EventQuery;

/// The largest page that servers give.
const LARGEST: usize = 1000;

/// What a server is asked to collect.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// What events must be about, with all below it.
    entity: Option<MoRef>,
    /// The same where it is several things, which a filter of the server's cannot be about.
    several: Vec<MoRef>,
    /// The server's own names of types; empty for all.
    types: Vec<String>,
    /// Users; empty for all.
    users: Vec<String>,
}

impl Scope {
    /// Finds what the query is about.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` for a reference; `Unsupported` for a folder or pool among several.
    pub(super) async fn new(client: &Client, query: &EventQuery, reader: &Reader) -> Result<Self> {
        let mut found = Vec::with_capacity(query.subjects.len());
        for reference in &query.subjects {
            found.push(subject(client, reference).await?);
        }
        let (mut entity, mut several) = (None, Vec::new());
        if found.len() == 1 {
            entity = found.pop();
        } else {
            several = found;
        }
        if let Some(other) = several.iter().find(|it| !Item::NAMED.contains(&it.kind.as_str())) {
            return Err(Error::unsupported(format!(
                "the events of a {} cannot be asked for together with others",
                other.kind
            ))
            .with_hint("ask for each by itself"));
        }
        // What is no plain word is left to the caller.
        let plain = |all: &[crate::provider::Pattern]| -> Option<Vec<String>> {
            all.iter().map(|it| it.plain().map(str::to_owned)).collect()
        };
        let types = plain(&query.filter.types).and_then(|all| reader.types(&all));
        let users = plain(&query.filter.users).filter(|all| all.iter().all(|it| it.contains('\\')));
        let (types, users) = (types.unwrap_or_default(), users.unwrap_or_default());
        Ok(Self { entity, several, types, users })
    }

    /// Whether an event is about what was named.
    pub(super) fn wants(&self, item: &Item) -> bool {
        self.several.is_empty() || self.several.iter().any(|it| item.is_about(it))
    }

    /// The filter (`EventFilterSpec`), its fields in the order of the API.
    fn filter(&self, begin: Option<Timestamp>) -> Body {
        let mut body = Body::new().open("filter", Some("EventFilterSpec"));
        if let Some(entity) = &self.entity {
            body = body.open("entity", None).reference("entity", entity);
            body = body.text("recursion", "all").close("entity");
        }
        if let Some(begin) = begin {
            let begin = begin.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
            body = body.open("time", None).text("beginTime", begin).close("time");
        }
        if !self.users.is_empty() {
            body = body.open("userName", None).text("systemUser", false);
            body = self.users.iter().fold(body, |body, user| body.text("userList", user));
            body = body.close("userName");
        }
        let body = self.types.iter().fold(body, |body, kind| body.text("eventTypeId", kind));
        body.close("filter")
    }
}

/// What a reference is about: a machine, or what an inventory path leads to.
async fn subject(client: &Client, reference: &str) -> Result<MoRef> {
    if reference.contains('/') && !reference.starts_with('@') {
        let names = Names::read(client).await?;
        for path in absolute(client, &names, reference) {
            if let Some(found) = find_by_path(client, &path).await? {
                return Ok(found);
            }
        }
    }
    let missing = |error: Error| match error.kind() {
        ErrorKind::NotFound => {
            error.with_hint("a host or a cluster is named by its path: /DC0/host/C0")
        }
        _ => error,
    };
    Ok(MoRef::new(MACHINE, resolve(client, reference).await.map_err(missing)?.0))
}

/// A collector, until destroyed.
pub(super) struct Collector<'c> {
    client: &'c Client,
    id: MoRef,
}

impl<'c> Collector<'c> {
    /// The history from `begin` on, read from its oldest event.
    ///
    /// # Errors
    /// Those of a call.
    pub(super) async fn new(
        client: &'c Client,
        scope: &Scope,
        begin: Option<Timestamp>,
    ) -> Result<Self> {
        let collector = Self::make(client, scope.filter(begin), LARGEST).await?;
        let rewound = client.call("RewindCollector", &collector.id, Body::new()).await;
        collector.or_destroy(rewound.map(drop)).await
    }

    /// The latest events, at most `size` of them.
    ///
    /// # Errors
    /// Those of a call.
    pub(super) async fn latest(client: &'c Client, scope: &Scope, size: usize) -> Result<Self> {
        Self::make(client, scope.filter(None), size).await
    }

    async fn make(client: &'c Client, filter: Body, size: usize) -> Result<Self> {
        let manager = client.content().await?.manager("eventManager")?;
        let id = client.call("CreateCollectorForEvents", &manager, filter).await?.reference()?;
        let collector = Self { client, id };
        let body = Body::new().text("maxCount", size);
        let sized = client.call("SetCollectorPageSize", &collector.id, body).await;
        collector.or_destroy(sized.map(drop)).await
    }

    async fn or_destroy(self, done: Result<()>) -> Result<Self> {
        match done {
            Ok(()) => Ok(self),
            Err(error) => {
                self.destroy().await;
                Err(error)
            }
        }
    }

    /// The next part of the history, the oldest first but for those within it; empty at its end.
    ///
    /// # Errors
    /// Those of a call; a collector ends with its login.
    pub(super) async fn next(&self) -> Result<Vec<Item>> {
        let body = Body::new().text("maxCount", LARGEST);
        let reply = self.client.call("ReadNextEvents", &self.id, body).await?;
        Ok(read_items(reply.values()))
    }

    /// The latest events, in no order.
    ///
    /// # Errors
    /// As [`Collector::next`].
    pub(super) async fn page(&self) -> Result<Vec<Item>> {
        let properties = self.client.properties(&self.id, &["latestPage"]).await?;
        let page = properties.get("latestPage").map(|it| it.children.as_slice());
        Ok(read_items(page.unwrap_or_default().iter()))
    }

    /// Frees it. That it cannot be freed is no failure: it ends with the login.
    pub(super) async fn destroy(self) {
        if let Err(error) = self.client.call("DestroyCollector", &self.id, Body::new()).await {
            tracing::debug!("free the collector {}: {error}", self.id);
        }
    }
}
