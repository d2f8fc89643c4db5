//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::output::Matching;
use hyper_common::provider::{AllocationChange, NewPool, PoolChange};
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::flags::PlatformFlags;
use hyper_common::tool::machines::Reference;
use serde::Serialize;

use crate::args::{PoolArgs, Verb};
use crate::record::PoolRow;

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the pools of some contexts.
    List {
        /// Which contexts.
        platforms: Platforms,
        /// Patterns that all must match.
        matches: Vec<String>,
    },
    /// Show single pools.
    Get {
        /// Which.
        pools: Vec<Reference>,
    },
    /// Change something.
    Change {
        /// What.
        change: Change,
        /// Whether it is only shown.
        dry_run: bool,
        /// Whether nobody is to be asked.
        yes: bool,
    },
}

/// A change.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Make a pool.
    Create {
        /// In which context.
        context: String,
        /// In which pool; `None` for the own one of the only cluster or host.
        parent: Option<String>,
        /// What.
        new: NewPool,
    },
    /// Change a pool.
    Update {
        /// Which.
        pool: Reference,
        /// What of it.
        change: PoolChange,
    },
    /// Remove pools.
    Delete {
        /// Which.
        pools: Vec<Reference>,
    },
}

impl Change {
    /// The verb in records.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a pattern or a change that is none.
    pub fn new(args: PoolArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Verb::List(args) => {
                Matching::<PoolRow>::parse(&args.matches)?;
                Ok(Self::List {
                    platforms: args.contexts.platforms(config)?,
                    matches: args.matches,
                })
            }
            Verb::Get(args) => {
                Ok(Self::Get { pools: located(&args.pools, &args.context, config)? })
            }
            Verb::Create(args) => {
                let (context, name) = args.change.context.locate(config, &args.name)?;
                let (cpu, memory) = args.size.changes();
                let (context, new) = (context.name, NewPool { name, cpu, memory });
                let change = Change::Create { context, parent: args.parent, new };
                Ok(Self::Change { change, dry_run: args.change.dry_run.dry_run, yes: false })
            }
            Verb::Update(args) => {
                let pool = Reference::of(args.change.context.locate(config, &args.pool)?);
                let (cpu, memory) = args.size.changes();
                let none = AllocationChange::default();
                if args.name.is_none() && cpu == none && memory == none {
                    return Err(Error::usage("what of the pool is to be changed?")
                        .with_hint("name it, such as --memory-limit 16Gi"));
                }
                let change =
                    Change::Update { pool, change: PoolChange { name: args.name, cpu, memory } };
                Ok(Self::Change { change, dry_run: args.change.dry_run.dry_run, yes: false })
            }
            Verb::Delete(args) => {
                let pools = located(&args.pools, &args.change.context, config)?;
                let change = Change::Delete { pools };
                let dry_run = args.change.dry_run.dry_run;
                Ok(Self::Change { change, dry_run, yes: args.yes.yes })
            }
        }
    }
}

/// The pools that are named, without repetition.
fn located(names: &[String], flags: &PlatformFlags, config: &Config) -> Result<Vec<Reference>> {
    let mut all: Vec<Reference> = Vec::new();
    for name in names {
        let reference = Reference::of(flags.locate(config, name)?);
        if !all.contains(&reference) {
            all.push(reference);
        }
    }
    Ok(all)
}
