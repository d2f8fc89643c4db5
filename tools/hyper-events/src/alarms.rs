//! Which alarms are triggered now.

use futures::future::join_all;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::provider::{Alarm, registry};
use hyper_common::tool::Context;

use crate::source::missing;

/// Shows the alarms of all contexts.
///
/// # Errors
/// `Unsupported` for a platform without alarms; the provider's; `Partial` where some of several
/// contexts failed.
pub async fn run(contexts: Vec<String>, cx: &mut Context) -> Result<()> {
    let mut providers = Vec::with_capacity(contexts.len());
    for name in &contexts {
        let provider = registry::open(&cx.config.context(name)?)?;
        if provider.alarms().is_none() {
            return Err(missing(provider.as_ref(), "alarms").with_subject(name.clone()));
        }
        providers.push((name, provider));
    }
    let asked = providers.iter().map(|(name, provider)| async move {
        match provider.alarms() {
            Some(alarms) => alarms.triggered().await.map_err(|it| it.with_subject(name.as_str())),
            None => Ok(Vec::new()),
        }
    });
    let answers = cx.cancel.unless_cancelled(async { Ok(join_all(asked).await) }).await?;
    let mut failures = Vec::new();
    let mut alarms: Vec<Alarm> = Vec::new();
    for answer in answers {
        match answer {
            Ok(found) => alarms.extend(found),
            Err(error) => {
                if contexts.len() > 1 {
                    cx.remarks.warn(&one_line(&error));
                }
                failures.push(error);
            }
        }
    }
    if failures.len() < contexts.len() {
        alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.time));
        cx.printer.all(&alarms)?;
    }
    Error::of_several(failures, contexts.len(), |failed| {
        format!("{failed} of {} contexts did not tell their alarms", contexts.len())
    })
}
