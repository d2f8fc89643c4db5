//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::provider::NewSnapshot;
use hyper_common::tool::machines::{Reference, Which};
use serde::Serialize;

use crate::args::{ChangeArgs, OneArgs, SnapshotArgs, Verb};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the snapshots of some machines.
    List {
        /// Which.
        which: Which,
    },
    /// Change some machines or their snapshots.
    Change {
        /// Which.
        which: Which,
        /// What is done to each.
        change: Change,
    },
    /// Remove old snapshots of some machines.
    Prune {
        /// Which.
        which: Which,
        /// Which of their snapshots.
        rule: Rule,
        /// Whether they are only shown.
        dry_run: bool,
        /// Whether nobody is to be asked.
        yes: bool,
    },
}

/// What is to be done to a machine.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Take a snapshot. Its name may hold `{vm}`.
    Create(NewSnapshot),
    /// Return to a snapshot.
    Revert {
        /// Its name, or `@` and its id.
        snapshot: String,
        /// Whether nobody is to be asked.
        yes: bool,
    },
    /// Remove snapshots.
    Delete {
        /// Their names, or `@` and an id.
        snapshots: Vec<String>,
        /// Whether those made from them go, too.
        children: bool,
        /// Whether nobody is to be asked.
        yes: bool,
    },
    /// Merge what removed snapshots left.
    Consolidate,
}

/// Which snapshots of a machine are old.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rule {
    /// The newest so many are not.
    pub keep: Option<usize>,
    /// Only those made before are.
    pub older_than: Option<jiff::Timestamp>,
}

impl Change {
    /// The verb in records.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Revert { .. } => "revert",
            Self::Delete { .. } => "delete",
            Self::Consolidate => "consolidate",
        }
    }
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` where no machine is meant.
    pub fn new(args: SnapshotArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Verb::List(list) => {
                Ok(Self::List { which: Which::new(&list.vms, list.choice, &list.context, config)? })
            }
            Verb::Create(args) => {
                let wanted = NewSnapshot {
                    name: args.name,
                    description: args.description,
                    memory: args.memory,
                    quiesce: args.quiesce,
                };
                Self::several(args.change, Change::Create(wanted), config)
            }
            Verb::Revert(args) => {
                let change = Change::Revert { snapshot: args.snapshot, yes: args.yes.yes };
                Self::one(&args.one, change, config)
            }
            Verb::Delete(args) => {
                let (children, yes) = (args.children, args.yes.yes);
                let change = Change::Delete { snapshots: args.snapshots, children, yes };
                Self::one(&args.one, change, config)
            }
            Verb::Consolidate(args) => Self::several(args.change, Change::Consolidate, config),
            Verb::Prune(args) => Ok(Self::Prune {
                which: which(args.change, config)?,
                rule: Rule { keep: args.keep, older_than: args.older_than },
                dry_run: args.dry_run.dry_run,
                yes: args.yes.yes,
            }),
        }
    }

    fn several(args: ChangeArgs, change: Change, config: &Config) -> Result<Self> {
        Ok(Self::Change { which: which(args, config)?, change })
    }

    fn one(args: &OneArgs, change: Change, config: &Config) -> Result<Self> {
        let reference = Reference::locate(&args.vm, &args.context, config)?;
        Ok(Self::Change { which: Which::Named(vec![reference]), change })
    }
}

fn which(args: ChangeArgs, config: &Config) -> Result<Which> {
    Which::new(&args.vms, args.choice, &args.context, config)
}
