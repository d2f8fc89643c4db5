//! What was asked for, checked.

use std::collections::BTreeMap;

use hyper_common::config::Config;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::tool::machines::Reference;
use hyper_common::vm::{ObjectKind, VmFilter, VmMatch};
use serde::Serialize;

use crate::args::WatchArgs;
use crate::item::Item;

/// A checked request.
#[derive(Debug, Serialize)]
pub struct Request {
    /// Where, and which machines there.
    pub targets: Vec<Target>,
    /// What is followed: machines, or objects of these kinds.
    pub kinds: Vec<ObjectKind>,
    /// Which of them.
    pub filter: VmFilter,
    /// When to end; never where there is none.
    pub until: Vec<Condition>,
    /// What to run at each change.
    pub exec: Option<String>,
}

/// A part of what is followed.
#[derive(Debug, Serialize)]
pub struct Target {
    /// The context.
    pub context: String,
    /// The place in it; all of it where there is none.
    pub within: Option<String>,
    /// The machines, as they were named; all where none is.
    pub vms: Vec<String>,
}

/// One `--until`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A field of each matches.
    Field(VmMatch),
    /// Nothing is there any more.
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
    /// Whether it holds for all that is there. A condition on fields needs something.
    pub fn holds<'v>(&self, mut items: impl ExactSizeIterator<Item = &'v Item>) -> bool {
        match self {
            Self::Deleted => items.len() == 0,
            Self::Field(pattern) => items.len() > 0 && items.all(|item| item.matches(pattern)),
        }
    }
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in
    /// several, for conditions that exclude each other, and for those that objects cannot meet.
    pub fn new(args: WatchArgs, config: &Config) -> Result<Self> {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for reference in &args.vms {
            let (context, rest) = args.context.locate(config, reference)?;
            named.entry(context.name).or_default().push(rest);
        }
        if args.vms.is_empty() {
            let selected = args.context.select(config)?;
            named = selected.into_iter().map(|context| (context.name, Vec::new())).collect();
        }
        let deleted = args.until.iter().any(|it| matches!(it, Condition::Deleted));
        if deleted && args.until.len() > 1 {
            return Err(Error::usage("--until deleted stands by itself")
                .with_hint("what is gone has no fields"));
        }
        let target = |(context, vms)| Target { context, within: None, vms };
        let mut kinds = args.kind;
        kinds.sort_unstable();
        kinds.dedup();
        let request = Self {
            targets: named.into_iter().map(target).collect(),
            kinds,
            filter: args.filter.into(),
            until: args.until,
            exec: args.exec,
        };
        request.check_objects()?;
        Ok(request)
    }

    /// The machines in some places that pass a filter.
    pub fn of_places(places: Vec<Reference>, filter: VmFilter) -> Self {
        let target = |Reference { context, rest }| {
            let within = (!rest.is_empty()).then_some(rest);
            Target { context, within, vms: Vec::new() }
        };
        let targets = places.into_iter().map(target).collect();
        Self { targets, kinds: vec![ObjectKind::Vm], filter, until: Vec::new(), exec: None }
    }

    /// Some machines.
    pub fn of_machines(vms: Vec<Reference>) -> Self {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Reference { context, rest } in vms {
            named.entry(context).or_default().push(rest);
        }
        let target = |(context, vms)| Target { context, within: None, vms };
        let targets = named.into_iter().map(target).collect();
        let (kinds, filter) = (vec![ObjectKind::Vm], VmFilter::default());
        Self { targets, kinds, filter, until: Vec::new(), exec: None }
    }

    /// Whether machines alone are followed, and told whole.
    pub fn is_of_machines(&self) -> bool {
        self.kinds == [ObjectKind::Vm]
    }

    /// Refuses what only machines have where other objects are followed.
    fn check_objects(&self) -> Result<()> {
        if self.is_of_machines() {
            return Ok(());
        }
        let filter = &self.filter;
        let flags = [
            ("--min-cpus", filter.min_cpus.is_some()),
            ("--min-memory", filter.min_memory_bytes.is_some()),
            ("--updated-after", filter.updated_after.is_some()),
            ("--updated-before", filter.updated_before.is_some()),
        ];
        let only = |words: String| {
            Error::usage(format!("{words} is about machines alone"))
                .with_hint("leave it away, or follow --kind vm by itself")
        };
        if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
            return Err(only(flag.to_owned()));
        }
        let conditions = self.until.iter().filter_map(|it| match it {
            Condition::Field(pattern) => Some(pattern),
            Condition::Deleted => None,
        });
        let mut patterns = filter.matches.iter().chain(conditions);
        match patterns.find(|pattern| !pattern.is_of_objects()) {
            Some(pattern) => Err(only(format!("{pattern:?}", pattern = pattern.to_string()))),
            None => Ok(()),
        }
    }
}
