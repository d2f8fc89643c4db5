//! Tasks: what a server does on its own time.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::client::Client;
use super::fault::Fault;
use super::property::Properties;
use super::soap::{MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::Step;

/// First and longest wait between two looks at a task.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl Client {
    /// Waits until a task has ended; answers its result, which is empty where it has none.
    ///
    /// # Errors
    /// The fault that it failed with, by its kind; `Interrupted` or `TimedOut` when asked to stop
    /// (the task goes on); those of a call.
    pub async fn wait_task(&self, task: &MoRef, cancel: &Cancel) -> Result<Value> {
        self.follow_task(task, &|_| {}, cancel).await
    }

    /// The same; `tell` hears how far the server says it is.
    ///
    /// # Errors
    /// As [`Client::wait_task`].
    pub(super) async fn follow_task(
        &self,
        task: &MoRef,
        tell: &(dyn Fn(Step) + Send + Sync),
        cancel: &Cancel,
    ) -> Result<Value> {
        let told = AtomicU8::new(0);
        let see = |properties: &Properties| {
            let info = properties.get("info").ok_or_else(|| {
                Error::new(ErrorKind::Protocol, "the task tells nothing about itself")
                    .with_subject(task.to_string())
            })?;
            if let Some(percent) = info.number::<u8>("progress").filter(|it| *it <= 100)
                && told.swap(percent, Ordering::Relaxed) != percent
            {
                tell(Step::Percent(percent));
            }
            ended(info)
        };
        self.watch(task, &["info"], LOOKS, cancel, see).await
    }
}

/// The result of a task that has ended.
fn ended(info: &Value) -> Result<Option<Value>> {
    match info.str("state") {
        Some("success") => Ok(Some(info.child("result").cloned().unwrap_or_default())),
        Some("error") => {
            let name = info.str("descriptionId").or(info.str("name")).unwrap_or("the task");
            Err(match info.child("error").map(Fault::of_method) {
                Some(fault) => fault.into_error(format!("{name} failed")),
                None => Error::new(ErrorKind::Protocol, format!("{name} failed")),
            })
        }
        _ => Ok(None),
    }
}
