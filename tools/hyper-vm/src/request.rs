//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::tool::flags::ContextFlags;
use hyper_common::vm::VmFilter;
use serde::Serialize;

use crate::args::{Verb, VmArgs};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the machines in some places that pass a filter.
    List {
        /// Where to look, in order.
        places: Vec<Reference>,
        /// Which machines.
        filter: VmFilter,
    },
    /// Show all about some machines.
    Get {
        /// Which.
        vms: Vec<Reference>,
    },
}

/// A context and what it is to look for.
#[derive(Debug, Serialize)]
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
                Ok(Self::List { places: places.collect(), filter: list.filter.into() })
            }
            Verb::List(list) => Ok(Self::List {
                places: locate(&list.places, &list.context, config)?,
                filter: list.filter.into(),
            }),
            Verb::Get(get) => Ok(Self::Get { vms: locate(&get.vms, &get.context, config)? }),
        }
    }
}

fn locate(texts: &[String], flags: &ContextFlags, config: &Config) -> Result<Vec<Reference>> {
    let one = |text: &String| {
        let (context, rest) = flags.locate(config, text)?;
        Ok(Reference { context: context.name, rest })
    };
    texts.iter().map(one).collect()
}
