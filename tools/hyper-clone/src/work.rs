//! Making one clone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::output::Outcome;
use hyper_common::progress::{Reporter, TaskProgress};
use hyper_common::provider::{CloneJob, Provider, Step, Switched};
use hyper_common::tool::JournaledRun;
use hyper_common::vm::VmId;

use crate::plan::{Item, Next};
use crate::record::CloneRow;

/// What came of a clone.
pub struct Done {
    /// What is printed of it.
    pub row: CloneRow,
    /// Why it failed.
    pub failure: Option<Error>,
    /// What this run has made of it, whole or not.
    pub made: Option<VmId>,
}

/// What all clones of a run share.
pub struct Shop<'s> {
    /// Whether it is waited for guests.
    pub wait: bool,
    /// Whether no more are begun once one has failed.
    pub stop_on_error: bool,
    /// Whether one has failed.
    pub stopped: AtomicBool,
    /// The wish to stop.
    pub cancel: &'s Cancel,
    /// The run in the journal.
    pub run: &'s JournaledRun,
    /// Who hears how far it is.
    pub reporter: Arc<dyn Reporter>,
}

impl Shop<'_> {
    /// Makes what an item wants.
    pub async fn work(&self, item: Item) -> Done {
        let Item { mut row, provider, power_on, next, new } = item;
        let stops = self.stop_on_error && self.stopped.load(Ordering::Relaxed);
        let works = match next {
            Next::Make(_) => true,
            Next::There => power_on,
            Next::Fail(_) => false,
        };
        if works && (stops || self.cancel.is_cancelled()) {
            row.outcome = Outcome::Skipped;
            return Done { row, failure: None, made: None };
        }
        let begun = Instant::now();
        let (mut made, mut result) = (None, Ok(()));
        let works = !matches!(next, Next::Fail(_) | Next::There);
        let task = works.then(|| self.reporter.task(&row.target_name, "clone"));
        match next {
            Next::Fail(error) => result = Err(error),
            Next::There => row.outcome = Outcome::Exists,
            Next::Make(job) => match self.make(&*job, &row.context, task.as_deref()).await {
                Ok(id) => {
                    row.id = Some(id.clone());
                    row.outcome = Outcome::Done;
                    made = Some(id);
                    if !power_on && new.is_some_and(|new| new.customize.is_some()) {
                        row.note = Some("customized when switched on".to_owned());
                    }
                    for remark in job.remarks() {
                        self.reporter.warn(&format!("{}: {remark}", row.target_name));
                    }
                }
                Err(error) => result = Err(error),
            },
        }
        if let (true, Some(id), Ok(())) = (power_on, &row.id, &result) {
            if let Some(task) = &task {
                task.step(Some("switch on"), None);
            }
            match self.switch_on(&*provider, id).await {
                Ok(Switched::Done) => row.note = Some("switched on".to_owned()),
                Ok(Switched::Already) => row.note = Some("it runs".to_owned()),
                Err(error) => result = Err(error.context("switch on the clone, which is there")),
            }
        }
        if let Some(task) = task {
            task.finish(result.is_ok());
        }
        row.duration = made.is_some().then(|| begun.elapsed());
        if let Err(error) = result {
            self.stopped.store(true, Ordering::Relaxed);
            let place = format!("{}:{}", row.context, row.target_name);
            let row = row.failed(&error);
            return Done { row, failure: Some(error.with_subject(place)), made };
        }
        Done { row, failure: None, made }
    }

    async fn make(
        &self,
        job: &dyn CloneJob,
        context: &str,
        task: Option<&dyn TaskProgress>,
    ) -> Result<VmId> {
        let ledgers = |vm: &VmId| self.run.ledger(context, vm);
        let tell = |step: Step| match (task, step) {
            (Some(task), Step::Phase(phase)) => task.step(Some(&phase), None),
            (Some(task), Step::Percent(percent)) => task.step(None, Some(percent)),
            (None, _) => {}
        };
        job.make(&tell, &ledgers, self.cancel).await
    }

    async fn switch_on(&self, provider: &dyn Provider, id: &VmId) -> Result<Switched> {
        let power = provider.power().ok_or_else(|| {
            Error::unsupported(format!("{} machines cannot be switched on", provider.name()))
        })?;
        power.start(id, self.wait, self.cancel).await
    }
}
