//! What `hyper history` is asked to do.

use hyper_common::error::{Error, Result};
use hyper_common::history::RunFilter;
use serde::Serialize;

use crate::args::{CleanArgs, HistoryArgs, ListArgs, Part, RunsVerb};

/// A request, checked.
#[derive(Debug, Serialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// Show runs.
    List {
        /// Which.
        filter: RunFilter,
        /// At most so many.
        limit: Option<usize>,
    },
    /// Show one run.
    Show {
        /// Its id or the start of it.
        id: String,
    },
    /// Remove what runs left.
    Clean {
        /// Only show it.
        dry_run: bool,
        /// Do not ask.
        yes: bool,
    },
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `Usage` for a time span that ends before it starts.
    pub fn new(args: HistoryArgs) -> Result<Self> {
        let Part::Runs(verb) = args.part;
        match verb {
            RunsVerb::List(args) => Self::list(args),
            RunsVerb::Show(args) => Ok(Self::Show { id: args.id }),
            RunsVerb::Clean(CleanArgs { dry_run, yes, .. }) => {
                Ok(Self::Clean { dry_run: dry_run.dry_run, yes: yes.yes })
            }
        }
    }

    fn list(args: ListArgs) -> Result<Self> {
        if let (Some(since), Some(until)) = (args.since, args.until)
            && since >= until
        {
            return Err(Error::usage(format!("--until {until} is not after --since {since}")));
        }
        let filter = RunFilter {
            since: args.since,
            until: args.until,
            tools: args.tools,
            outcomes: args.outcomes,
            matches: args.matches,
        };
        Ok(Self::List { filter, limit: args.limit })
    }
}
