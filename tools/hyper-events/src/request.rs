//! What was asked for, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::provider::EventFilter;
use hyper_common::tool::flags::ContextFlags;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::args::{EventsArgs, ListArgs, Verb};

/// How far a list goes back where nobody says.
const LAST: SignedDuration = SignedDuration::from_hours(1);

/// A checked request.
#[derive(Debug, Serialize)]
pub struct Request {
    /// The contexts, each with the references that were given in it; with none, all that happens
    /// there is meant.
    pub contexts: BTreeMap<String, Vec<String>>,
    /// What is wanted of them.
    pub what: What,
}

/// What is wanted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Events.
    Events(Wanted),
    /// Alarms.
    Alarms,
}

/// Which events.
#[derive(Debug, Serialize)]
pub struct Wanted {
    /// Which are shown.
    pub filter: EventFilter,
    /// Since when; `None` is from now on.
    pub since: Option<Timestamp>,
    /// Whether also what comes.
    pub follow: bool,
    /// How long events of several contexts are held back.
    pub delay: Duration,
    /// Where the places are read that they are begun behind.
    pub cursor: Option<PathBuf>,
    /// Where the places are noted.
    pub save_cursor: Option<PathBuf>,
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in several.
    pub fn new(args: EventsArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Some(Verb::Alarms(args)) => {
                Ok(Self { contexts: all(&args.context, config)?, what: What::Alarms })
            }
            None => Self::of_events(args.events, config),
        }
    }

    fn of_events(args: ListArgs, config: &Config) -> Result<Self> {
        let mut contexts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for reference in &args.subjects {
            let (context, rest) = args.context.locate(config, reference)?;
            contexts.entry(context.name).or_default().push(rest);
        }
        if args.subjects.is_empty() {
            contexts = all(&args.context, config)?;
        }
        let last = (!args.follow).then(|| Timestamp::now().saturating_sub(LAST)).transpose();
        let filter = EventFilter { types: args.types, severities: args.severity, users: args.user };
        let what = What::Events(Wanted {
            filter,
            since: args.since.or(last.unwrap_or_default()),
            follow: args.follow,
            delay: args.delay,
            cursor: args.cursor,
            save_cursor: args.save_cursor,
        });
        Ok(Self { contexts, what })
    }
}

fn all(flags: &ContextFlags, config: &Config) -> Result<BTreeMap<String, Vec<String>>> {
    let selected = flags.select(config)?;
    Ok(selected.into_iter().map(|context| (context.name, Vec::new())).collect())
}
