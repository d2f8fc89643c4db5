//! What killed runs left on platforms: removed when asked for, and by the next run on the VM.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Context, JournaledRun};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::fs::Folders;
use crate::history::{Journal, Outcome, Run, RunFilter, Runs, Thing, in_work};
use crate::provider::{Ledger, Provider, Reclaimed, registry};
use crate::vm::VmId;

impl Context {
    /// Removes things on platforms for [`crate::history::clean`], through the provider of the
    /// context that each belongs to.
    pub fn remover(&self) -> impl FnMut(&Thing, bool) -> Result<Reclaimed> + use<> {
        let config = self.config.clone();
        // The journal is read by code that blocks.
        move |thing, dry_run| {
            let work = remove(&config, thing, dry_run);
            tokio::task::block_in_place(|| Handle::current().block_on(work))
        }
    }
}

async fn remove(config: &Config, thing: &Thing, dry_run: bool) -> Result<Reclaimed> {
    let Thing::Remote { context, vm, what, id } = thing else {
        return Ok(Reclaimed::Kept("it is not on a platform".into()));
    };
    let provider = registry::open(&config.context(context)?)?;
    let Some(reclaim) = provider.reclaim() else {
        return Ok(Reclaimed::Kept(format!("{} cannot remove it", provider.name())));
    };
    reclaim.reclaim(&VmId(vm.clone()), what, id, dry_run).await
}

impl JournaledRun {
    /// Where things on a platform that this run makes for a VM are noted.
    pub fn ledger(&self, context: &str, vm: &VmId) -> Arc<dyn Ledger> {
        Arc::new(RunLedger { run: self.run.clone(), context: context.into(), vm: vm.0.clone() })
    }

    /// Removes what earlier runs left on the platform for this VM and no living run works on.
    /// Answers with a clause for each thing that was there. What cannot be removed is said in
    /// one, too, and is tried again by the next run.
    ///
    /// # Errors
    /// Those of the journal.
    pub async fn reclaim(
        &self,
        provider: &dyn Provider,
        context: &str,
        vm: &VmId,
    ) -> Result<Vec<String>> {
        let Some(reclaim) = provider.reclaim() else { return Ok(Vec::new()) };
        let (context, id) = (context.to_owned(), vm.0.clone());
        let left = tokio::task::spawn_blocking(move || left_for(&context, &id)).await;
        let left = left.map_err(|error| {
            Error::new(ErrorKind::Internal, "read the history of runs").with_source(error)
        })??;
        let mut said = Vec::new();
        for (run, thing) in left {
            let Thing::Remote { what, id, .. } = &thing else { continue };
            match reclaim.reclaim(vm, what, id, false).await {
                Ok(Reclaimed::Gone) => forget(&run, &thing)?,
                Ok(Reclaimed::Removed) => {
                    forget(&run, &thing)?;
                    said.push(format!("the {what} that run {run} left was removed"));
                }
                Ok(Reclaimed::Kept(why)) => {
                    said.push(format!("the {what} that run {run} left stays: {why}"));
                }
                Ok(Reclaimed::Found) => {}
                Err(error) => said.push(format!(
                    "the {what} that run {run} left could not be removed: {}",
                    one_line(&error)
                )),
            }
        }
        Ok(said)
    }
}

/// What ended runs left for a VM, newest first.
fn left_for(context: &str, vm: &str) -> Result<Vec<(String, Thing)>> {
    let dir = Folders::from_environment()?.history();
    let in_work = in_work(&dir)?;
    let mut left = Vec::new();
    for run in Runs::open(&dir, RunFilter::default())? {
        let run = run?;
        if run.outcome == Outcome::Running {
            continue;
        }
        let of_vm = run.leftovers.into_iter().filter(|thing| {
            matches!(thing, Thing::Remote { context: place, vm: owner, .. }
                if place == context && owner == vm)
                && !in_work.contains(thing)
        });
        // What was made last stands in the way of what was made before.
        left.extend(of_vm.rev().map(|thing| (run.id.clone(), thing)));
    }
    Ok(left)
}

fn forget(run: &str, thing: &Thing) -> Result<()> {
    Journal::open(&Folders::from_environment()?.history())?.note_removed(run, thing)
}

/// The journal as a source sees it.
#[derive(Debug)]
struct RunLedger {
    run: Arc<Run>,
    context: String,
    vm: String,
}

impl RunLedger {
    fn thing(&self, what: &str, id: &str) -> Thing {
        Thing::Remote {
            context: self.context.clone(),
            vm: self.vm.clone(),
            what: what.to_owned(),
            id: id.to_owned(),
        }
    }
}

impl Ledger for RunLedger {
    fn making(&self, what: &str, id: &str) -> Result<()> {
        self.run.making(&self.thing(what, id))
    }

    fn removed(&self, what: &str, id: &str) -> Result<()> {
        self.run.removed(&self.thing(what, id))
    }
}
