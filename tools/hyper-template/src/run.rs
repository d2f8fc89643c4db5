//! Doing what `hyper template` is asked to.

use std::sync::Arc;

use futures::StreamExt;
use hyper_common::error::{Error, Result};
use hyper_common::history::Counts;
use hyper_common::output::Outcome;
use hyper_common::provider::{Provider, Template, TemplateKind, Templates, registry};
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Reference, question};

use crate::record::ActionRow;
use crate::request::Request;
use crate::{make, show};

/// A provider that keeps templates.
#[derive(Debug, Clone)]
pub struct Keeper(pub Arc<dyn Provider>);

impl Keeper {
    /// Its facet.
    ///
    /// # Errors
    /// As [`templates`].
    pub fn templates(&self) -> Result<&dyn Templates> {
        templates(&*self.0)
    }
}

/// The facet of a provider.
///
/// # Errors
/// `Unsupported` where it has none.
pub fn templates(provider: &dyn Provider) -> Result<&dyn Templates> {
    provider.templates().ok_or_else(|| {
        let words = format!("{} machines have no templates here", provider.name());
        Error::unsupported(words).with_hint("they are files; any of them can be copied")
    })
}

/// The provider of a context.
///
/// # Errors
/// `NotFound` for a context that is not there; `Unsupported` where it keeps no templates.
pub fn open(context: &str, cx: &Context) -> Result<Keeper> {
    let keeper = Keeper(registry::open(&cx.config.context(context)?)?.into());
    keeper.templates().map_err(|error| error.with_subject(context))?;
    Ok(keeper)
}

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some of several things failed.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::List { platforms, kinds } => show::list(&platforms, &kinds, cx).await,
        Request::Get { templates, kinds } => show::get(templates, &kinds, cx).await,
        Request::Create(creation) => make::create(creation, cx).await,
        Request::Deploy(deploy) => make::deploy(deploy, cx).await,
        Request::Delete { templates, dry_run, yes } => delete(templates, dry_run, yes, cx).await,
    }
}

/// A template to be removed, as far as it was found.
struct Victim {
    reference: Reference,
    keeper: Keeper,
    found: Result<Template>,
}

impl Victim {
    fn row(&self) -> ActionRow {
        let Reference { context, rest } = &self.reference;
        let found = self.found.as_ref().ok();
        let name = found.map_or(rest.as_str(), |it| it.name.as_str());
        let id = found.map(|it| it.id.clone());
        ActionRow { id, ..ActionRow::new("delete", context, name, None) }
    }
}

/// Looks all of them up before anybody is asked.
async fn victims(templates: Vec<Reference>, cx: &Context) -> Result<Vec<Victim>> {
    let mut all = Vec::new();
    for reference in templates {
        let keeper = open(&reference.context, cx)?;
        let look =
            async { keeper.templates()?.template(&reference.rest, &TemplateKind::WHOLE).await };
        let found = cx.cancel.unless_cancelled(look).await;
        cx.cancel.check()?;
        all.push(Victim { reference, keeper, found });
    }
    Ok(all)
}

async fn delete(
    templates: Vec<Reference>,
    dry_run: bool,
    yes: bool,
    cx: &mut Context,
) -> Result<()> {
    let victims = victims(templates.clone(), cx).await?;
    let there = |it: &&Victim| it.found.is_ok();
    let shown = |it: &Victim| format!("{}:{}", it.reference.context, it.row().template);
    let names: Vec<_> = victims.iter().filter(there).map(shown).collect();
    if dry_run {
        return delete_all(victims, true, &mut Counts::default(), cx).await;
    }
    if !names.is_empty() {
        cx.confirm(&question("delete", "templates", &names), yes)?;
    }
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = Request::Delete { templates, dry_run, yes };
    let run = cx.begin_run("hyper-template", &request, &sources, &[])?;
    let mut counts = Counts { total: victims.len() as u64, ..Counts::default() };
    let outcome = delete_all(victims, false, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

async fn delete_all(
    victims: Vec<Victim>,
    dry_run: bool,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = victims.len();
    let cancel = cx.cancel.clone();
    let work = victims.into_iter().map(|victim| async {
        let row = victim.row();
        let place = victim.reference.to_string();
        let done = match victim.found {
            Ok(_) if dry_run => Ok(Outcome::Planned),
            Ok(template) => match victim.keeper.templates() {
                Ok(facet) => {
                    facet.delete_template(&template, &cancel).await.map(|()| Outcome::Done)
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        (row, done.map_err(|error| error.with_subject(place)))
    });
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some((row, done)) = work.next().await {
        match done {
            Ok(outcome) => {
                cx.printer.next(&ActionRow { outcome, ..row })?;
                counts.succeeded += 1;
            }
            Err(error) => {
                cx.printer.next(&row.failed(&error))?;
                failures.push(error);
            }
        }
    }
    drop(work);
    cx.end_of_several(failures, total, "templates")
}
