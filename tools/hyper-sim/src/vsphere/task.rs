//! Tasks: work that a call starts and a client waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::envelope::Answer;
use super::fault::Fault;
use super::http::made_fault;
use super::sim::Sim;
use super::state::State;
use super::value::{Data, Ref, Value};

/// How long the work of a task seems to take.
const WORK: Duration = Duration::from_millis(40);

/// A task.
#[derive(Debug)]
pub struct Task {
    reference: Ref,
    description: &'static str,
    entity: Ref,
    entity_name: String,
    user: String,
    queued: Timestamp,
    begun: Instant,
    /// How long it takes.
    length: Duration,
    /// Whether it can be called off.
    cancelable: bool,
    /// Whether somebody has called it off.
    cancelled: bool,
    completed: Option<Timestamp>,
    outcome: Option<Result<Option<Value>, Fault>>,
}

/// What a task is about.
#[derive(Debug)]
pub struct Job<'a> {
    /// The object that is worked on.
    pub entity: Ref,
    /// Who wants it.
    pub user: &'a str,
    /// The interface's word for what is done.
    pub description: &'static str,
    /// What it is to be called, where something is made that can be called off.
    pub makes: Option<&'a str>,
}

impl Task {
    /// A property of the task.
    pub fn property(&self, name: &str) -> Option<Value> {
        (name == "info").then(|| self.info().into())
    }

    /// Hundredths that are done of one that goes on.
    fn progress(&self) -> Option<u32> {
        let halfway = self.length == WORK;
        let done = self.begun.elapsed().as_secs_f64() / self.length.as_secs_f64();
        let percent = if halfway { 50 } else { (done * 100.0).min(99.0) as u32 };
        self.outcome.is_none().then_some(percent)
    }

    fn info(&self) -> Data {
        let state = match &self.outcome {
            None => "running",
            Some(Ok(_)) => "success",
            Some(Err(_)) => "error",
        };
        let error = self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
        let result = self.outcome.as_ref().and_then(|outcome| outcome.as_ref().ok()?.clone());
        Data::new("TaskInfo")
            .set("key", &self.reference.value)
            .set("task", &self.reference)
            .set("descriptionId", self.description)
            .set("entity", &self.entity)
            .set("entityName", &self.entity_name)
            .set("state", state)
            .set("cancelled", self.cancelled)
            .set("cancelable", self.cancelable && self.outcome.is_none())
            .maybe("error", error.map(Fault::localized))
            .maybe("result", result)
            .maybe("progress", self.progress())
            .set("reason", Data::new("TaskReasonUser").set("userName", &self.user))
            .set("queueTime", self.queued)
            .set("startTime", self.queued)
            .maybe("completeTime", self.completed)
            .set("eventChainId", 1)
    }
}

/// Starts work on an object and answers with its task.
pub fn start(
    sim: &Arc<Sim>,
    entity: Ref,
    user: &str,
    description: &'static str,
    work: impl FnOnce(&mut State) -> Result<Option<Value>, Fault> + Send + 'static,
) -> Ref {
    begin(sim, Job { entity, user, description, makes: None }, work)
}

/// The same of a job; a rule can make it slow or let it fail. One that is called off does nothing.
pub fn begin(
    sim: &Arc<Sim>,
    job: Job<'_>,
    work: impl FnOnce(&mut State) -> Result<Option<Value>, Fault> + Send + 'static,
) -> Ref {
    let Job { entity, user, description, makes } = job;
    let object = format!("{description} {} {}", entity.value, makes.unwrap_or_default());
    let action = sim.rules.meet("task", &object);
    let length = WORK + action.delay.unwrap_or_default();
    let mut state = sim.lock();
    let reference = Ref::new("Task", format!("task-{}", state.number()));
    let entity_name = state.tree.name(&entity).unwrap_or_default().to_owned();
    let task = Task {
        reference: reference.clone(),
        description,
        entity,
        entity_name,
        user: user.to_owned(),
        queued: Timestamp::now(),
        begun: Instant::now(),
        length,
        cancelable: makes.is_some(),
        cancelled: false,
        completed: None,
        outcome: None,
    };
    state.tasks.insert(reference.value.clone(), task);
    drop(state);
    let (sim, id) = (sim.clone(), reference.value.clone());
    tokio::spawn(async move {
        let called_off = tokio::time::timeout(length, called_off(&sim, &id)).await.is_ok();
        let mut state = sim.lock();
        let outcome = match action.fault.as_deref().and_then(made_fault) {
            _ if called_off => {
                Err(Fault::new("RequestCanceled", "The task was canceled by a user."))
            }
            Some(fault) => Err(fault),
            None => work(&mut state),
        };
        if let Some(task) = state.tasks.get_mut(&id) {
            task.completed = Some(Timestamp::now());
            task.outcome = Some(outcome);
        }
        drop(state);
        sim.changed();
    });
    reference
}

/// Waits until somebody calls a task off.
async fn called_off(sim: &Sim, id: &str) {
    let mut news = sim.news();
    loop {
        news.mark_unchanged();
        if sim.lock().tasks.get(id).is_some_and(|task| task.cancelled) {
            return;
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// `CancelTask`: asks a task to end, which it does on its own time.
///
/// # Errors
/// `InvalidState` for one that has ended, `NotSupported` for one that cannot be called off.
pub fn cancel(sim: &Sim, this: &Ref) -> Result<Answer, Fault> {
    {
        let mut state = sim.lock();
        let task = state.tasks.get_mut(&this.value).ok_or_else(|| Fault::gone(this))?;
        if task.outcome.is_some() {
            return Err(Fault::new("InvalidState", "The task has ended."));
        }
        if !task.cancelable {
            return Err(Fault::new("NotSupported", "The task cannot be canceled."));
        }
        task.cancelled = true;
    }
    sim.changed();
    Ok(Answer::Nothing)
}
