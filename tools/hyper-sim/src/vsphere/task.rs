//! Tasks: work that a call starts and a client waits for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::fault::Fault;
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
    completed: Option<Timestamp>,
    outcome: Option<Result<Option<Value>, Fault>>,
}

impl Task {
    /// A property of the task.
    pub fn property(&self, name: &str) -> Option<Value> {
        (name == "info").then(|| self.info().into())
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
            .set("cancelled", false)
            .set("cancelable", false)
            .maybe("error", error.map(Fault::localized))
            .maybe("result", result)
            .maybe("progress", self.outcome.is_none().then_some(50))
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
        completed: None,
        outcome: None,
    };
    state.tasks.insert(reference.value.clone(), task);
    drop(state);
    let (sim, id) = (sim.clone(), reference.value.clone());
    tokio::spawn(async move {
        tokio::time::sleep(WORK).await;
        let mut state = sim.lock();
        let outcome = work(&mut state);
        if let Some(task) = state.tasks.get_mut(&id) {
            task.completed = Some(Timestamp::now());
            task.outcome = Some(outcome);
        }
        drop(state);
        sim.changed();
    });
    reference
}
