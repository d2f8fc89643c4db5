//! Making, changing and removing pools: looked at first, then done.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::history::Counts;
use hyper_common::output::Outcome;
use hyper_common::provider::{
    Left, Pool, PoolChange, PoolKind, Pools, Provider, find_named, registry,
};
use hyper_common::tool::Context;
use hyper_common::tool::machines::{Reference, question};

use crate::record::{ActionRow, differences};
use crate::request::{Change, Request};
use crate::run::pools;

/// A pool as it is, or as it is to be, and what is to be done to it.
struct Step {
    context: String,
    provider: Arc<dyn Provider>,
    deed: Deed,
}

enum Deed {
    Create { parent: Pool, planned: Pool },
    Update { now: Pool, planned: Pool },
    Delete { now: Pool },
}

impl Step {
    /// The row of what is to be done.
    fn row(&self) -> ActionRow {
        match &self.deed {
            Deed::Create { planned, .. } => ActionRow {
                changes: differences(None, planned),
                ..ActionRow::new(&self.context, planned, "create")
            },
            Deed::Update { now, planned } => ActionRow {
                changes: differences(Some(now), planned),
                ..ActionRow::new(&self.context, planned, "update")
            },
            Deed::Delete { now } => {
                ActionRow { note: content(now), ..ActionRow::new(&self.context, now, "delete") }
            }
        }
    }
}

/// What is in a pool that is to be removed.
fn content(pool: &Pool) -> Option<String> {
    match (pool.pools, pool.vms) {
        (0, 0) => None,
        (pools, vms) => Some(format!("{pools} pools and {vms} machines are in it")),
    }
}

/// Does it, or shows what would be done.
///
/// # Errors
/// Those of looking, with nothing changed; those of doing; `Partial` where some failed and others
/// did not.
pub async fn run(change: Change, dry_run: bool, yes: bool, cx: &mut Context) -> Result<()> {
    let steps = plan(&change, cx).await?;
    if dry_run {
        for step in &steps {
            let row = step.row();
            let same = row.action == "update" && row.changes.is_empty();
            let outcome = if same { Outcome::Already } else { Outcome::Planned };
            cx.printer.next(&ActionRow { outcome, ..row })?;
        }
        return Ok(());
    }
    confirm(&steps, yes, cx)?;
    let sources = match &change {
        Change::Create { context, new, .. } => vec![format!("{context}:{}", new.name)],
        Change::Update { pool, .. } => vec![pool.to_string()],
        Change::Delete { pools } => pools.iter().map(ToString::to_string).collect(),
    };
    let shown: Vec<&str> = sources.iter().map(String::as_str).collect();
    let request = Request::Change { change: change.clone(), dry_run, yes };
    let run = cx.begin_run("hyper-pool", &request, &shown, &[])?;
    let (mut counts, mut failures, mut printed) = (Counts::default(), Vec::new(), Ok(()));
    for step in &steps {
        let (row, failure) = perform(step, &change, cx).await;
        counts.total += 1;
        match failure {
            None => counts.succeeded += 1,
            Some(error) => {
                counts.failed += 1;
                failures.push(error);
            }
        }
        printed = printed.and(cx.printer.next(&row));
    }
    let outcome = printed.and_then(|()| cx.end_of_several(failures, steps.len(), "pools"));
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

/// Looks at all of it, and changes nothing.
async fn plan(change: &Change, cx: &Context) -> Result<Vec<Step>> {
    match change {
        Change::Create { context, parent, new } => {
            let (provider, all) = read(context, cx).await?;
            let parent = parent_of(parent.as_deref(), &all)?.clone();
            let planned = Pool::planned(&parent, new, &all)?;
            let deed = Deed::Create { parent, planned };
            Ok(vec![Step { context: context.clone(), provider, deed }])
        }
        Change::Update { pool, change } => {
            let (provider, all) = read(&pool.context, cx).await?;
            let now = find_named(&all, &pool.rest)?;
            let planned = now.with(change, &all).map_err(|error| named(error, now))?;
            let deed = Deed::Update { now: now.clone(), planned };
            Ok(vec![Step { context: pool.context.clone(), provider, deed }])
        }
        Change::Delete { pools } => plan_deletion(pools, cx).await,
    }
}

async fn plan_deletion(references: &[Reference], cx: &Context) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut known = BTreeMap::new();
    for Reference { context, rest } in references {
        if !known.contains_key(context) {
            known.insert(context.clone(), read(context, cx).await?);
        }
        let Some((provider, all)) = known.get(context) else { continue };
        let now = find_named(all, rest)?.clone();
        let refused = match now.kind {
            PoolKind::Pool => None,
            PoolKind::Root => Some("the own pool of a cluster or host comes and goes with it"),
            PoolKind::Vapp => Some("a vApp would take its machines with it"),
        };
        if let Some(words) = refused {
            return Err(named(Error::unsupported(words), &now));
        }
        let there = |step: &Step| {
            step.context == *context
                && matches!(&step.deed, Deed::Delete { now: it } if it.id == now.id)
        };
        if !steps.iter().any(there) {
            let (context, provider) = (context.clone(), provider.clone());
            steps.push(Step { context, provider, deed: Deed::Delete { now } });
        }
    }
    // The innermost first, so that nothing is moved into what goes next.
    let depth = |step: &Step| match &step.deed {
        Deed::Delete { now } => now.depth,
        _ => 0,
    };
    steps.sort_by_key(|step| std::cmp::Reverse(depth(step)));
    Ok(steps)
}

/// All pools of a context.
async fn read(context: &str, cx: &Context) -> Result<(Arc<dyn Provider>, Vec<Pool>)> {
    let provider = registry::open(&cx.config.context(context)?)?;
    let all = pools(&*provider).map_err(|error| error.with_subject(context))?.all();
    let all = cx.cancel.unless_cancelled(all).await?;
    Ok((provider.into(), all))
}

/// The pool that a new one is to be in.
fn parent_of<'p>(named: Option<&str>, all: &'p [Pool]) -> Result<&'p Pool> {
    if let Some(name) = named {
        return find_named(all, name);
    }
    let mut own = all.iter().filter(|it| it.kind == PoolKind::Root);
    match (own.next(), own.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::not_found("there is no pool to make one in")),
        _ => {
            let error = Error::usage("in which pool is it to be?");
            let own = all.iter().filter(|it| it.kind == PoolKind::Root);
            let paths = own.filter_map(|it| it.parent_path.as_deref()).take(10);
            Err(paths.fold(error, |error, path| error.with_hint(format!("--parent {path}"))))
        }
    }
}

fn confirm(steps: &[Step], yes: bool, cx: &Context) -> Result<()> {
    let names: Vec<String> = steps
        .iter()
        .filter_map(|step| match &step.deed {
            Deed::Delete { now } => Some(now),
            _ => None,
        })
        .map(|pool| {
            let place = pool.path.clone().unwrap_or_else(|| pool.name.clone());
            content(pool).map_or(place.clone(), |words| format!("{place} ({words})"))
        })
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    cx.confirm(&question("delete", "resource pools", &names), yes)
}

/// Does one step. Its row, and the failure where it is one.
async fn perform(step: &Step, change: &Change, cx: &Context) -> (ActionRow, Option<Error>) {
    let row = step.row();
    let done = match pools(&*step.provider) {
        Ok(facet) => act(step, change, facet, cx).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(done) => {
            let row = ActionRow {
                outcome: done.outcome,
                pool_id: done.id.or(row.pool_id),
                note: done.note,
                ..row
            };
            (row, None)
        }
        Err(error) => {
            let subject = row.path.clone().unwrap_or_else(|| row.pool.clone());
            (row.failed(&error), Some(error.with_subject(subject)))
        }
    }
}

/// What came of a step that did not fail.
struct Done {
    outcome: Outcome,
    id: Option<String>,
    note: Option<String>,
}

impl Done {
    fn with(outcome: Outcome, id: &str) -> Self {
        Self { outcome, id: Some(id.to_owned()), note: None }
    }
}

async fn act(step: &Step, change: &Change, facet: &dyn Pools, cx: &Context) -> Result<Done> {
    cx.cancel.check()?;
    match (&step.deed, change) {
        (Deed::Create { parent, planned }, Change::Create { new, .. }) => {
            let id = facet.create(parent, new).await?;
            check_kept(facet, &id, planned).await?;
            Ok(Done::with(Outcome::Done, &id))
        }
        (Deed::Update { now, planned }, Change::Update { change, .. }) => {
            if differences(Some(now), planned).is_empty() {
                return Ok(Done::with(Outcome::Already, &now.id));
            }
            // A name that it has already would be taken for another's.
            let name = change.name.clone().filter(|name| *name != now.name);
            let change = PoolChange { name, ..change.clone() };
            facet.update(now, &change).await?;
            check_kept(facet, &now.id, planned).await?;
            Ok(Done::with(Outcome::Done, &now.id))
        }
        (Deed::Delete { now }, _) => {
            let left = match facet.delete(now, &cx.cancel).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Done::with(Outcome::Already, &now.id));
                }
                other => other?,
            };
            Ok(Done { note: moved(&left, now), ..Done::with(Outcome::Done, &now.id) })
        }
        _ => Err(Error::new(ErrorKind::Internal, "a step that belongs to another change")),
    }
}

/// What the server made of the content of a pool.
fn moved(left: &Left, pool: &Pool) -> Option<String> {
    let around = pool.parent_path.as_deref().unwrap_or("the pool around it");
    let kept = (left.pools + left.vms > 0)
        .then(|| format!("{} pools and {} machines are now in {around}", left.pools, left.vms));
    let gone = (left.gone > 0).then(|| format!("{} of what was in it are not there", left.gone));
    let all: Vec<String> = kept.into_iter().chain(gone).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Whether the server has now what it was told: some take a change and leave part of it.
async fn check_kept(facet: &dyn Pools, id: &str, planned: &Pool) -> Result<()> {
    let all = facet.all().await?;
    let now = all.iter().find(|it| it.id == id).ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the server took the change, and has no such pool")
    })?;
    let other = differences(Some(planned), now);
    if other.is_empty() {
        return Ok(());
    }
    let words: Vec<_> = other.iter().map(|it| format!("{} is {}", it.field, it.after)).collect();
    Err(Error::new(
        ErrorKind::Protocol,
        format!("the server took the change, but {}", words.join(", ")),
    ))
}

fn named(error: Error, pool: &Pool) -> Error {
    error.with_subject(pool.path.clone().unwrap_or_else(|| pool.name.clone()))
}
