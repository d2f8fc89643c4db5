//! The machines that a verb means: named one by one or chosen by a filter, found in their contexts,
//! and how a run on several of them ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::Serialize;

use super::Context;
use super::flags::{ChoiceFlags, ReferenceFlags};
use super::pick::{nothing_meant, somebody};
use crate::cancel::Cancel;
use crate::config::{Config, ContextConfig};
use crate::error::{Error, Result, one_line};
use crate::provider::{Provider, registry};
use crate::vm::{Vm, VmFilter, VmId};

/// Machines that are worked on at the same time.
pub const AT_ONCE: usize = 8;

/// Machines that a question names before it only counts them.
const NAMED: usize = 5;

/// A context and what it is to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The context's name.
    pub context: String,
    /// The rest of the reference; empty for everything.
    pub rest: String,
}

impl Reference {
    /// What a text means, with the context of the flags where it names none.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there.
    pub fn locate(text: &str, flags: &ReferenceFlags, config: &Config) -> Result<Self> {
        Ok(Self::of(flags.locate(config, text)?))
    }

    /// A context, and what it is to look for.
    pub fn of((context, rest): (ContextConfig, String)) -> Self {
        Self { context: context.name, rest }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.context, self.rest)
    }
}

/// The machines that are meant.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// These, without repetition.
    Named(Vec<Reference>),
    /// The one of a context that a person picks.
    Picked(String),
    /// All of a context that pass a filter.
    Chosen {
        /// The context.
        context: String,
        /// The filter.
        filter: Box<VmFilter>,
    },
}

impl Which {
    /// The one that a person will pick.
    ///
    /// # Errors
    /// `Usage` where there is nobody to ask.
    pub fn picked(context: &str) -> Result<Self> {
        if somebody() { Ok(Self::Picked(context.to_owned())) } else { Err(nothing_meant()) }
    }

    /// The machines that are named, else those that the flags choose, else the one that a person
    /// will pick, where there is one to ask.
    ///
    /// # Errors
    /// `Usage` where nothing is named or chosen; `NotFound` for a context that is not there.
    pub fn new(
        names: &[String],
        choice: ChoiceFlags,
        flags: &ReferenceFlags,
        config: &Config,
    ) -> Result<Self> {
        if names.is_empty() {
            // A script's variable that is not set must not mean everything.
            if choice.selector.as_deref().is_some_and(|it| it.trim().is_empty()) {
                return Err(Error::usage("--selector is empty, which would choose every machine"));
            }
            let context = flags.only(config)?.name;
            return match choice.filter() {
                Ok(filter) => Ok(Self::Chosen { context, filter: Box::new(filter) }),
                Err(_) if somebody() => Ok(Self::Picked(context)),
                Err(error) => Err(error),
            };
        }
        let mut all: Vec<Reference> = Vec::new();
        for text in names {
            let reference = Reference::locate(text, flags, config)?;
            if !all.contains(&reference) {
                all.push(reference);
            }
        }
        Ok(Self::Named(all))
    }
}

/// A machine that is meant, and who has it.
#[derive(Debug, Clone)]
pub struct Target {
    /// What was meant.
    pub reference: Reference,
    /// How it is called in results.
    pub name: String,
    /// Its context's provider.
    pub provider: Arc<dyn Provider>,
}

impl Target {
    /// A machine that was listed.
    fn of(vm: Vm, context: &str, provider: &Arc<dyn Provider>) -> Self {
        let reference = Reference { context: context.to_owned(), rest: format!("@{}", vm.id) };
        Self { reference, name: vm.name, provider: provider.clone() }
    }

    /// The machine itself.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where several are meant; `Interrupted` or `TimedOut`.
    pub async fn resolve(&self, cancel: &Cancel) -> Result<VmId> {
        cancel.unless_cancelled(self.provider.resolve(&self.reference.rest)).await
    }
}

/// Providers by context, each opened once.
type Providers = BTreeMap<String, Arc<dyn Provider>>;

impl Context {
    /// The machines that are meant. Chosen ones come all or not at all: what cannot be read could
    /// be one of them. `check` says whether a provider can do what is to be done.
    ///
    /// # Errors
    /// What `check` finds; those of opening and listing.
    pub async fn targets(
        &self,
        which: &Which,
        check: impl Fn(&dyn Provider) -> Result<()>,
    ) -> Result<Vec<Target>> {
        let mut providers = Providers::new();
        let mut open = |context: &str| -> Result<Arc<dyn Provider>> {
            if let Some(provider) = providers.get(context) {
                return Ok(provider.clone());
            }
            let provider = registry::open(&self.config.context(context)?)?;
            check(&*provider).map_err(|error| error.with_subject(context))?;
            let provider: Arc<dyn Provider> = provider.into();
            providers.insert(context.to_owned(), provider.clone());
            Ok(provider)
        };
        match which {
            Which::Named(references) => {
                let target = |reference: &Reference| {
                    let provider = open(&reference.context)?;
                    let name = reference.rest.clone();
                    Ok(Target { reference: reference.clone(), name, provider })
                };
                references.iter().map(target).collect()
            }
            Which::Picked(context) => {
                let provider = open(context)?;
                let vm = self.pick(&*provider).await?;
                Ok(vec![Target::of(vm, context, &provider)])
            }
            Which::Chosen { context, filter } => {
                let provider = open(context)?;
                let vms: Vec<Vm> = provider.list((**filter).clone()).try_collect().await?;
                Ok(vms.into_iter().map(|vm| Target::of(vm, context, &provider)).collect())
            }
        }
    }

    /// How a run on `total` things ends: the failure of the only one is the run's own, each of
    /// several is a warning. `things` is what they are: `machines`.
    ///
    /// # Errors
    /// As [`Error::of_several`]; `Interrupted` or `TimedOut` for a run that was to stop.
    pub fn end_of_several(&self, failures: Vec<Error>, total: usize, things: &str) -> Result<()> {
        self.cancel.check()?;
        for error in failures.iter().filter(|_| total > 1) {
            self.remarks.warn(&one_line(error));
        }
        Error::of_several(failures, total, |failed| format!("{failed} of {total} {things} failed"))
    }
}

/// What is asked before something is done that cannot be undone: `delete 2 machines: a, b?`.
pub fn question(doing: &str, things: &str, names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{doing} {shown}?"),
        count if count <= NAMED => format!("{doing} {count} {things}: {shown}?"),
        count => format!("{doing} {count} {things}: {shown} and {} more?", count - NAMED),
    }
}
