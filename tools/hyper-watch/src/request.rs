//! What was asked for, checked.

use std::collections::BTreeMap;

use hyper_common::config::Config;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::vm::{Vm, VmFilter, VmMatch};
use serde::Serialize;

use crate::args::WatchArgs;

/// A checked request.
#[derive(Debug, Serialize)]
pub struct Request {
    /// The contexts, each with the references that were given in it; with none, all of its
    /// machines are followed.
    pub contexts: BTreeMap<String, Vec<String>>,
    /// Which machines.
    pub filter: VmFilter,
    /// When to end; never where there is none.
    pub until: Vec<Condition>,
    /// What to run at each change.
    pub exec: Option<String>,
}

/// One `--until`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A field of each machine matches.
    Field(VmMatch),
    /// No machine is there any more.
    Deleted,
}

impl std::str::FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.eq_ignore_ascii_case("deleted") {
            return Ok(Self::Deleted);
        }
        if !text.contains(['=', '~']) {
            return Err("it is neither FIELD=VALUE, such as status=running, nor deleted".to_owned());
        }
        VmMatch::parse(text).map(Self::Field).map_err(|error| {
            let hints = error.hints().iter().map(|hint| format!(" ({hint})"));
            one_line(&error) + &hints.collect::<String>()
        })
    }
}

impl Condition {
    /// Whether it holds for all machines that are there. A condition on fields needs one.
    pub fn holds<'v>(&self, mut vms: impl ExactSizeIterator<Item = &'v Vm>) -> bool {
        match self {
            Self::Deleted => vms.len() == 0,
            Self::Field(pattern) => vms.len() > 0 && vms.all(|vm| pattern.accepts(vm)),
        }
    }
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in
    /// several, and for conditions that exclude each other.
    pub fn new(args: WatchArgs, config: &Config) -> Result<Self> {
        let mut contexts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for reference in &args.vms {
            let (context, rest) = args.context.locate(config, reference)?;
            contexts.entry(context.name).or_default().push(rest);
        }
        if args.vms.is_empty() {
            let selected = args.context.select(config)?;
            contexts = selected.into_iter().map(|context| (context.name, Vec::new())).collect();
        }
        let deleted = args.until.iter().any(|it| matches!(it, Condition::Deleted));
        if deleted && args.until.len() > 1 {
            return Err(Error::usage("--until deleted stands by itself")
                .with_hint("a machine that is gone has no fields"));
        }
        let (until, exec) = (args.until, args.exec);
        Ok(Self { contexts, filter: args.filter.into(), until, exec })
    }
}
