//! Where events come from: the platforms of all contexts.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::BoxStream;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{EventQuery, Pattern, Provider, Told, registry};
use hyper_common::tool::Context;

use crate::cursor::Cursor;
use crate::request::Wanted;

/// The platforms, each with what is asked about there.
pub struct Sources(Vec<(String, Vec<String>, Box<dyn Provider>)>);

/// A step of the events of a context.
pub type Tagged<'p> = BoxStream<'p, (&'p str, Result<Told>)>;

impl Sources {
    /// Opens all contexts, each of which must have events.
    ///
    /// # Errors
    /// `Unsupported` for a platform that notes none; those of the registry.
    pub fn open(contexts: BTreeMap<String, Vec<String>>, cx: &Context) -> Result<Self> {
        let mut all = Vec::with_capacity(contexts.len());
        for (name, subjects) in contexts {
            let provider = registry::open(&cx.config.context(&name)?)?;
            if provider.events().is_none() {
                return Err(missing(provider.as_ref(), "events").with_subject(name));
            }
            all.push((name, subjects, provider));
        }
        Ok(Self(all))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Contexts that have none of some types of events, each with the type.
    pub async fn unknown(&self, types: &[Pattern]) -> Vec<(String, String)> {
        let mut unknown = Vec::new();
        for (name, _, provider) in self.0.iter().filter(|_| !types.is_empty()) {
            let Some(events) = provider.events() else { continue };
            // Where that cannot be asked the events cannot be either, and tell why.
            let found = events.unknown_types(types).await.unwrap_or_default();
            unknown.extend(found.into_iter().map(|it| (name.clone(), it)));
        }
        unknown
    }

    /// The events of each, which end when `stop` is raised.
    pub fn streams(&self, wanted: &Wanted, cursor: &Cursor, stop: &Cancel) -> Vec<Tagged<'_>> {
        let streams = self.0.iter().filter_map(|(name, subjects, provider)| {
            let query = EventQuery {
                subjects: subjects.clone(),
                since: wanted.since,
                place: cursor.place(name),
                follow: wanted.follow,
                filter: wanted.filter.clone(),
            };
            let events = provider.events()?.events(query, stop.clone());
            Some(events.map(move |told| (name.as_str(), told)).boxed())
        });
        streams.collect()
    }
}

/// The error of a platform that lacks something.
pub fn missing(provider: &dyn Provider, what: &str) -> Error {
    Error::unsupported(format!("{} has no {what}", provider.name()))
        .with_hint("`hyper context capabilities` shows what each platform can do")
}
