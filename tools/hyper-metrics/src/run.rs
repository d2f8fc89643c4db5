//! Doing what `hyper metrics` is asked to.

use std::sync::Arc;

use hyper_common::error::{Error, Result};
use hyper_common::provider::{Metrics, Provider, registry};
use hyper_common::tool::Context;

use crate::request::{Request, Time};
use crate::{follow, summary, usage};

/// Carries out a request.
///
/// # Errors
/// The providers'; `Partial` where some contexts or things could be read and others could not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::Summary { contexts, every, save } => {
            summary::run(&sources(&contexts, every, cx)?, save, cx).await
        }
        Request::Usage { kind, places, every, time } => {
            let contexts: Vec<_> = places.iter().map(|place| place.context.clone()).collect();
            let sources = sources(&contexts, every, cx)?;
            match time {
                Time::Once(window) => usage::run(&sources, kind, &places, &window, cx).await,
                Time::Follow { every } => follow::run(&sources, kind, &places, every, cx).await,
            }
        }
    }
}

/// A context that has metrics.
#[derive(Debug)]
pub struct Source {
    /// The context.
    pub context: String,
    provider: Arc<dyn Provider>,
}

impl Source {
    /// Its metrics.
    ///
    /// # Errors
    /// `Unsupported` where the platform has none.
    pub fn metrics(&self) -> Result<&dyn Metrics> {
        self.provider.metrics().ok_or_else(|| {
            Error::unsupported(format!("{} has nothing to measure", self.provider.name()))
                .with_subject(self.context.clone())
                .with_hint("`hyper context capabilities` shows what each platform can do")
        })
    }

    /// An error with the context's name, where it has none.
    pub fn named(&self, error: Error) -> Error {
        match error.subject() {
            None => error.with_subject(self.context.clone()),
            Some(_) => error.context(self.context.clone()),
        }
    }

    /// Its platform.
    pub fn platform(&self) -> &'static str {
        self.provider.name()
    }
}

/// The contexts, opened. With `every` those that have no metrics are passed over.
fn sources(contexts: &[String], every: bool, cx: &Context) -> Result<Vec<Source>> {
    let mut sources = Vec::with_capacity(contexts.len());
    for context in contexts {
        let provider = registry::open(&cx.config.context(context)?)?.into();
        let source = Source { context: context.clone(), provider };
        match source.metrics() {
            Ok(_) => sources.push(source),
            Err(_) if every => {}
            Err(error) => return Err(error),
        }
    }
    if sources.is_empty() {
        return Err(Error::unsupported("no context has anything to measure")
            .with_hint("`hyper context list` shows all contexts"));
    }
    Ok(sources)
}
