//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::Result;
use hyper_common::output::Matching;
use hyper_common::provider::{Cluster, Datacenter, Datastore, Host, Network, Server, Task};
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::machines::Reference;
use serde::Serialize;

use crate::args::{InfraArgs, ListArgs, Noun, ServerVerb, Verb};
use crate::record::{Row, Shown};

/// A checked request.
#[derive(Debug, Serialize)]
pub struct Request {
    /// What is looked at.
    pub kind: Kind,
    /// Which of it.
    pub which: Which,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Hosts.
    Host,
    /// Clusters.
    Cluster,
    /// Datacenters.
    Datacenter,
    /// Datastores.
    Datastore,
    /// Networks.
    Network,
    /// Servers.
    Server,
    /// Tasks.
    Task,
}

/// Which of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All that match in some contexts.
    All {
        /// Which contexts.
        platforms: Platforms,
        /// Patterns that all must match.
        matches: Vec<String>,
    },
    /// These.
    Named(Vec<Reference>),
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a pattern that is none.
    pub fn new(args: InfraArgs, config: &Config) -> Result<Self> {
        let (kind, verb) = match args.noun {
            Noun::Host(args) => (Kind::Host, args.verb),
            Noun::Cluster(args) => (Kind::Cluster, args.verb),
            Noun::Datacenter(args) => (Kind::Datacenter, args.verb),
            Noun::Datastore(args) => (Kind::Datastore, args.verb),
            Noun::Network(args) => (Kind::Network, args.verb),
            Noun::Tasks(args) => (Kind::Task, Verb::List(args)),
            Noun::Vcenter(args) => match args.verb {
                ServerVerb::List(args) => (Kind::Server, Verb::List(args)),
                ServerVerb::Get(args) => {
                    let named = args.name.as_deref().map(|name| name.trim_end_matches(':'));
                    let context = config.named_or_current(named)?.name;
                    let which = Which::Named(vec![Reference { context, rest: String::new() }]);
                    return Ok(Self { kind: Kind::Server, which });
                }
            },
        };
        let which = match verb {
            Verb::List(args) => all(kind, args, config)?,
            Verb::Get(args) => {
                let mut named: Vec<Reference> = Vec::new();
                for name in &args.names {
                    let reference = Reference::of(args.context.locate(config, name)?);
                    if !named.contains(&reference) {
                        named.push(reference);
                    }
                }
                Which::Named(named)
            }
        };
        Ok(Self { kind, which })
    }
}

fn all(kind: Kind, args: ListArgs, config: &Config) -> Result<Which> {
    let check = match kind {
        Kind::Host => checked::<Host>,
        Kind::Cluster => checked::<Cluster>,
        Kind::Datacenter => checked::<Datacenter>,
        Kind::Datastore => checked::<Datastore>,
        Kind::Network => checked::<Network>,
        Kind::Server => checked::<Server>,
        Kind::Task => checked::<Task>,
    };
    check(&args.matches)?;
    Ok(Which::All { platforms: args.contexts.platforms(config)?, matches: args.matches })
}

fn checked<T: Shown>(matches: &[String]) -> Result<()> {
    Matching::<Row<T>>::parse(matches).map(drop)
}
