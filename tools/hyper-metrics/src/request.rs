//! What was asked for, checked.

use std::time::Duration;

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::output::OutputFormat;
use hyper_common::provider::{EntityKind, Window};
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::ContextFlags;
use jiff::Timestamp;
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
        time: Time,
    },
}

/// When something is measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// Once.
    Once(Window),
    /// Again and again.
    Follow {
        /// So often; as the platform has it where this is not given.
        every: Option<Duration>,
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
            Some(Verb::Host(args)) => Self::usage(EntityKind::Host, args, config),
            Some(Verb::Cluster(args)) => Self::usage(EntityKind::Cluster, args, config),
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
        let time = time(&args)?;
        Ok(Self::Usage { kind, places, every, time })
    }
}

/// The contexts that are meant, and whether these are all that there are.
fn contexts(flags: &ContextFlags, config: &Config) -> Result<(Vec<String>, bool)> {
    let names = flags.select(config)?.into_iter().map(|context| context.name).collect();
    Ok((names, flags.all_contexts && flags.context.is_empty()))
}

fn time(args: &UsageArgs) -> Result<Time> {
    if args.follow {
        if matches!(args.output.output, OutputFormat::Prometheus) {
            return Err(Error::usage("Prometheus reads a file as a whole, and this has no end")
                .with_hint("leave --follow away, and run it again and again"));
        }
        return Ok(Time::Follow { every: args.every });
    }
    let Some(start) = args.start else {
        let latest = Window::Latest { samples: 1 };
        return Ok(Time::Once(if args.realtime { Window::Recent } else { latest }));
    };
    let end = args.end.unwrap_or_else(Timestamp::now);
    if start >= end {
        return Err(Error::usage(format!("nothing is between {start} and {end}"))
            .with_hint("--start is before --end, and before now"));
    }
    Ok(Time::Once(Window::History { start, end, interval: args.interval }))
}
