//! Making templates, and machines from them.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::history::Counts;
use hyper_common::output::Outcome;
use hyper_common::progress::Reporter;
use hyper_common::provider::{
    CloneJob, Deployment, NewTemplate, Origin, Planned, Step, TemplateKind,
};
use hyper_common::tool::machines::AT_ONCE;
use hyper_common::tool::{Context, JournaledRun};
use hyper_common::vm::VmId;

use crate::record::ActionRow;
use crate::request::{Creation, Deploy, Material, Request, Wanted};
use crate::run::{Keeper, open};

/// Makes a template.
///
/// # Errors
/// Those of the provider.
pub async fn create(wanted: Creation, cx: &mut Context) -> Result<()> {
    let keeper = open(&wanted.context, cx)?;
    let machine = match &wanted.from {
        Material::Machine { reference, .. } => Some(reference.as_str()),
        Material::Claim(_) => None,
    };
    let row = ActionRow::new("create", &wanted.context, &wanted.name, machine);
    let place = format!("{}:{}", wanted.context, wanted.name);
    let plan =
        async { keeper.templates()?.plan_template(&new_template(&keeper, &wanted).await?).await };
    let job = match cx.cancel.unless_cancelled(plan).await {
        Ok(job) => job,
        Err(error) => {
            cx.printer.next(&row.failed(&error))?;
            return Err(error.with_subject(place));
        }
    };
    for remark in job.remarks() {
        cx.remarks.warn(&remark);
    }
    if wanted.dry_run {
        return cx.printer.next(&row);
    }
    let sources: Vec<String> =
        machine.map(|it| format!("{}:{it}", wanted.context)).into_iter().collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let request = Request::Create(wanted.clone());
    let run = cx.begin_run("hyper-template", &request, &sources, &[&place])?;
    let begun = Instant::now();
    let progress = cx.start_progress();
    let shop = Shop { context: &wanted.context, run: &run, reporter: progress.reporter() };
    let made = shop.make(&*job, (&wanted.name, "create"), &cx.cancel).await;
    drop(progress);
    let row = ActionRow { duration: Some(begun.elapsed()), ..row };
    let (row, outcome) = match made {
        Ok(id) => (ActionRow { id: Some(id), outcome: Outcome::Done, ..row }, Ok(())),
        Err(error) => (row.failed(&error), Err(error.with_subject(place))),
    };
    let printed = cx.printer.next(&row);
    run.end_one(outcome.as_ref().map(|()| 0))?;
    cx.cancel.check()?;
    outcome.and(printed)
}

async fn new_template(keeper: &Keeper, wanted: &Creation) -> Result<NewTemplate> {
    let from = match &wanted.from {
        Material::Claim(claim) => Origin::Volume(claim.clone()),
        Material::Machine { reference, snapshot, convert } => {
            let vm = keeper.0.resolve(reference).await?;
            match convert {
                true => Origin::Converted(vm),
                false => Origin::Copy { vm, snapshot: snapshot.clone() },
            }
        }
    };
    Ok(NewTemplate {
        name: wanted.name.clone(),
        from,
        place: wanted.place.clone(),
        instancetype: wanted.instancetype.clone(),
        preference: wanted.preference.clone(),
    })
}

/// What all that a run makes shares.
struct Shop<'s> {
    context: &'s str,
    run: &'s JournaledRun,
    reporter: Arc<dyn Reporter>,
}

impl Shop<'_> {
    /// Carries out a job and tells how far it is.
    async fn make(
        &self,
        job: &dyn CloneJob,
        (name, verb): (&str, &str),
        cancel: &Cancel,
    ) -> Result<VmId> {
        let task = self.reporter.task(name, verb);
        let tell = |step: Step| match step {
            Step::Phase(phase) => task.step(Some(&phase), None),
            Step::Percent(percent) => task.step(None, Some(percent)),
        };
        let ledgers = |vm: &VmId| self.run.ledger(self.context, vm);
        let made = job.make(&tell, &ledgers, cancel).await;
        task.finish(made.is_ok());
        made
    }
}

/// A machine that is wanted, and what the look at it showed.
struct Item {
    name: String,
    row: ActionRow,
    plan: Result<Planned>,
}

/// Makes machines from a template; none where not all can be.
///
/// # Errors
/// Those of the provider; `Partial` where some of several failed.
pub async fn deploy(wanted: Deploy, cx: &mut Context) -> Result<()> {
    let context = wanted.template.context.clone();
    let keeper = open(&context, cx)?;
    let items = cx.cancel.unless_cancelled(look(&keeper, &wanted)).await?;
    let bad = items.iter().any(|it| it.plan.is_err());
    if wanted.dry_run || bad {
        return show(items, wanted.dry_run, cx);
    }
    for item in &items {
        let Ok(Planned::Ready(job)) = &item.plan else { continue };
        for remark in job.remarks() {
            cx.remarks.warn(&format!("{}: {remark}", item.name));
        }
    }
    let targets: Vec<String> = items.iter().map(|it| format!("{context}:{}", it.name)).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let source = wanted.template.to_string();
    let request = Request::Deploy(wanted.clone());
    let run = cx.begin_run("hyper-template", &request, &[&source], &targets)?;
    let mut counts = Counts { total: items.len() as u64, ..Counts::default() };
    let outcome = deploy_all(items, (&keeper, &wanted), &run, &mut counts, cx).await;
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

/// Looks at all that is wanted before any of it is made.
async fn look(keeper: &Keeper, wanted: &Deploy) -> Result<Vec<Item>> {
    let facet = keeper.templates()?;
    let template = facet.template(&wanted.template.rest, &TemplateKind::WHOLE).await;
    let template = template.map_err(|error| error.with_subject(wanted.template.to_string()))?;
    let mut items = Vec::new();
    for Wanted { name, customize } in &wanted.machines {
        let deployment = Deployment {
            name: name.clone(),
            customize: customize.clone(),
            place: wanted.place.clone(),
            instancetype: wanted.instancetype.clone(),
            preference: wanted.preference.clone(),
            size: wanted.size,
            power_on: wanted.power_on,
            ready: wanted.wait,
        };
        items.push(Item {
            name: name.clone(),
            row: ActionRow::new("deploy", &wanted.template.context, &template.name, Some(name)),
            plan: facet.plan_deployment(&template, &deployment).await,
        });
    }
    Ok(items)
}

/// Shows what would be made, or why nothing is.
fn show(items: Vec<Item>, dry_run: bool, cx: &mut Context) -> Result<()> {
    let total = items.len();
    let mut failures = Vec::new();
    for Item { name, row, plan } in items {
        let row = match plan {
            Ok(Planned::There(id)) => ActionRow { id: Some(id), outcome: Outcome::Exists, ..row },
            Ok(Planned::Ready(_)) if dry_run => row,
            Ok(Planned::Ready(_)) => ActionRow { outcome: Outcome::Skipped, ..row },
            Err(error) => {
                let place = format!("{}:{name}", row.context);
                let row = row.failed(&error);
                failures.push(error.with_subject(place));
                row
            }
        };
        cx.printer.next(&row)?;
    }
    if !failures.is_empty() && !dry_run && total > 1 {
        cx.remarks.warn("nothing is made, because not all can be");
    }
    cx.end_of_several(failures, total, "machines")
}

async fn deploy_all(
    items: Vec<Item>,
    (keeper, wanted): (&Keeper, &Deploy),
    run: &JournaledRun,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let total = items.len();
    let (cancel, progress) = (cx.cancel.clone(), cx.start_progress());
    let reporter = progress.reporter();
    let shop = Shop { context: &wanted.template.context, run, reporter: reporter.clone() };
    let work = items.into_iter().map(|item| deploy_one(item, keeper, wanted, &shop, &cancel));
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    let (mut failures, mut printed) = (Vec::new(), Ok(()));
    while let Some((row, failure)) = work.next().await {
        printed = printed.and(cx.print_over(&*reporter, &row));
        counts.succeeded += u64::from(failure.is_none());
        failures.extend(failure);
    }
    drop(work);
    printed?;
    cx.end_of_several(failures, total, "machines")
}

async fn deploy_one(
    item: Item,
    keeper: &Keeper,
    wanted: &Deploy,
    shop: &Shop<'_>,
    cancel: &Cancel,
) -> (ActionRow, Option<Error>) {
    let Item { name, row, plan } = item;
    let begun = Instant::now();
    let switched = wanted.power_on.then(|| "switched on".to_owned());
    let done = match plan {
        Ok(Planned::Ready(job)) => {
            let made = shop.make(&*job, (&name, "deploy"), cancel).await;
            made.map(|id| (id, Outcome::Done, switched))
        }
        Ok(Planned::There(id)) => match switch_on(keeper, wanted, &id, cancel).await {
            Ok(()) => Ok((id, Outcome::Exists, wanted.power_on.then(|| "it runs".to_owned()))),
            Err(error) => Err(error.context("switch on the machine, which is there")),
        },
        Err(error) => Err(error),
    };
    match done {
        Ok((id, outcome, note)) => {
            let duration = (outcome == Outcome::Done).then(|| begun.elapsed());
            (ActionRow { id: Some(id), outcome, note, duration, ..row }, None)
        }
        Err(error) => {
            let place = format!("{}:{name}", row.context);
            (row.failed(&error), Some(error.with_subject(place)))
        }
    }
}

async fn switch_on(keeper: &Keeper, wanted: &Deploy, id: &VmId, cancel: &Cancel) -> Result<()> {
    if !wanted.power_on {
        return Ok(());
    }
    let lacks = || Error::unsupported("machines cannot be switched on here");
    let power = keeper.0.power().ok_or_else(lacks)?;
    power.start(id, wanted.wait, cancel).await.map(drop)
}
