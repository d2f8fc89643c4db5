//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::flags::{ContextFlags, FilterFlags};
use hyper_common::vm::VmFilter;
use serde::Serialize;

use crate::args::{PowerArgs, Verb, VmArgs};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the machines in some places that pass a filter.
    List {
        /// Where to look, in order.
        places: Vec<Reference>,
        /// Which machines.
        filter: Box<VmFilter>,
    },
    /// Show all about some machines.
    Get {
        /// Which.
        vms: Vec<Reference>,
    },
    /// Switch some machines on or off.
    Power {
        /// Which, without repetition.
        vms: Vec<Reference>,
        /// On, or how off.
        action: Action,
    },
}

/// What is to be done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Switch it on.
    Start,
    /// Switch it on and wait for the guest's agent.
    StartAndWait,
    /// Let the guest shut down.
    Stop,
    /// Switch it off.
    ForcedStop,
}

/// A context and what it is to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The context's name.
    pub context: String,
    /// The rest of the reference; empty for everything.
    pub rest: String,
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in
    /// several.
    pub fn new(args: VmArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Verb::List(list) if list.places.is_empty() => {
                let contexts = list.context.select(config)?.into_iter();
                let places = contexts
                    .map(|context| Reference { context: context.name, rest: String::new() });
                Ok(Self::List { places: places.collect(), filter: filter(list.filter) })
            }
            Verb::List(list) => Ok(Self::List {
                places: locate(&list.places, &list.context, config)?,
                filter: filter(list.filter),
            }),
            Verb::Get(get) => Ok(Self::Get { vms: locate(&get.vms, &get.context, config)? }),
            Verb::Start(args) => {
                let action = if args.wait { Action::StartAndWait } else { Action::Start };
                Self::power(args.power, action, config)
            }
            Verb::Stop(args) => {
                let action = if args.force { Action::ForcedStop } else { Action::Stop };
                Self::power(args.power, action, config)
            }
        }
    }
}

impl Request {
    fn power(args: PowerArgs, action: Action, config: &Config) -> Result<Self> {
        let mut vms: Vec<Reference> = Vec::new();
        for text in &args.vms {
            let (context, rest) = args.context.locate(config, text)?;
            let reference = Reference { context: context.name, rest };
            if !vms.contains(&reference) {
                vms.push(reference);
            }
        }
        Ok(Self::Power { vms, action })
    }
}

fn filter(flags: FilterFlags) -> Box<VmFilter> {
    Box::new(flags.into())
}

fn locate(texts: &[String], flags: &ContextFlags, config: &Config) -> Result<Vec<Reference>> {
    let one = |text: &String| {
        let (context, rest) = flags.locate(config, text)?;
        Ok(Reference { context: context.name, rest })
    };
    texts.iter().map(one).collect()
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.context, self.rest)
    }
}
