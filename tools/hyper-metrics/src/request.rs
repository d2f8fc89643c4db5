//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::provider::{EntityKind, Window};
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::ContextFlags;
use serde::Serialize;

use crate::args::{MetricsArgs, SummaryArgs, UsageArgs, Verb};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Count what there is.
    Summary {
        /// Where.
        contexts: Vec<String>,
        /// Whether these are all that there are, so that those without metrics are passed over.
        every: bool,
        /// Whether into a file.
        save: SaveFlags,
    },
    /// Measure what is used.
    Usage {
        /// By what.
        kind: EntityKind,
        /// Where, each with the references that were given in it; with none, everything there.
        places: Vec<Place>,
        /// As above.
        every: bool,
        /// When.
        window: Window,
    },
}

/// A context and what is meant there.
#[derive(Debug, Serialize)]
pub struct Place {
    /// The context.
    pub context: String,
    /// What; everything where this is empty.
    pub references: Vec<String>,
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in
    /// several.
    pub fn new(args: MetricsArgs, config: &Config) -> Result<Self> {
        match args.verb {
            None => Self::summary(args.summary, config),
            Some(Verb::Summary(args)) => Self::summary(args, config),
            Some(Verb::Vm(args)) => Self::usage(EntityKind::Vm, args, config),
        }
    }

    fn summary(args: SummaryArgs, config: &Config) -> Result<Self> {
        let (contexts, every) = contexts(&args.context, config)?;
        Ok(Self::Summary { contexts, every, save: args.save })
    }

    fn usage(kind: EntityKind, args: UsageArgs, config: &Config) -> Result<Self> {
        let mut places: Vec<Place> = Vec::new();
        for reference in &args.names {
            let (context, rest) = args.context.locate(config, reference)?;
            match places.iter_mut().find(|place| place.context == context.name) {
                Some(place) => place.references.push(rest),
                None => places.push(Place { context: context.name, references: vec![rest] }),
            }
        }
        let mut every = false;
        if args.names.is_empty() {
            let (contexts, all) = contexts(&args.context, config)?;
            let place = |context| Place { context, references: Vec::new() };
            places = contexts.into_iter().map(place).collect();
            every = all;
        }
        Ok(Self::Usage { kind, places, every, window: Window::Latest { samples: 1 } })
    }
}

/// The contexts that are meant, and whether these are all that there are.
fn contexts(flags: &ContextFlags, config: &Config) -> Result<(Vec<String>, bool)> {
    let names = flags.select(config)?.into_iter().map(|context| context.name).collect();
    Ok((names, flags.all_contexts && flags.context.is_empty()))
}
