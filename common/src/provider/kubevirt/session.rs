//! The export that a run makes, held for as long as it reads: made, reached, taken up again where
//! its server is lost, made anew before its time is over, and removed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::marks::{Marks, Watched};
use super::moment::temporary_name;
use super::vmexport::{Exports, Subject, VmExport};
use super::way::Server;
use crate::cancel::{Cancel, Leftover, Reason};
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::net::{secret_word, varied};
use crate::progress::Reporter;
use crate::provider::{Ledger, Ties, Transport};

/// The word for exports in the journal.
pub(super) const EXPORT: &str = "export";

/// How long before its end an export is made anew.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long one request is made again while the server does not answer.
const PATIENCE: Duration = Duration::from_secs(180);
/// First and longest wait between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Letters of a token.
const TOKEN: usize = 32;

/// What a session is about.
#[derive(Debug)]
pub(super) struct Plan {
    pub exports: Exports,
    pub subject: Subject,
    /// How long an export may live, in hours.
    pub hours: u64,
    pub transport: Transport,
    /// What must be the same after the server was lost; none for what cannot change.
    pub watched: Option<Watched>,
}

/// The export of a run.
#[derive(Debug)]
pub(super) struct Session {
    plan: Plan,
    ledger: Arc<dyn Ledger>,
    reporter: Arc<dyn Reporter>,
    cancel: Cancel,
    /// Raised when the run is over: nothing is made any more.
    closing: Cancel,
    /// How what is watched was when the server had taken hold of it.
    marks: OnceLock<Marks>,
    made: Mutex<Vec<Made>>,
    current: Mutex<Option<Arc<Server>>>,
    /// Held by the one who makes or looks for a server.
    repair: tokio::sync::Mutex<()>,
}

/// An export that was made.
#[derive(Debug)]
struct Made {
    name: String,
    token: String,
    /// Said to a person who does not wait for the end.
    _leftover: Leftover,
}

impl Session {
    /// One for which nothing is made yet.
    pub(super) fn new(plan: Plan, ties: &Ties) -> Self {
        Self {
            plan,
            ledger: ties.ledger.clone(),
            reporter: ties.reporter.clone(),
            cancel: ties.cancel.clone(),
            closing: Cancel::new(),
            marks: OnceLock::new(),
            made: Mutex::default(),
            current: Mutex::default(),
            repair: tokio::sync::Mutex::default(),
        }
    }

    /// Makes the export and waits until its server answers. Whatever comes of it,
    /// [`Session::end`] is to be called.
    ///
    /// # Errors
    /// Those of [`Exports`] and [`Server`]; those of the journal; `Interrupted`.
    pub(super) async fn begin(&self) -> Result<()> {
        let _guard = self.repair.lock().await;
        let (name, token) = self.make().await?;
        let export = self.plan.exports.ready(&name, &self.cancel).await?;
        let server = self.cancel.unless_cancelled(self.reach(&export, &token, self.plan.transport));
        let server = server.await?;
        if let Some(watched) = &self.plan.watched {
            let _ = self.marks.set(watched.look().await?);
        }
        self.set(server);
        Ok(())
    }

    /// How the machine and its claims were when the server had taken hold of them; none for what
    /// cannot change.
    pub(super) fn marks(&self) -> Option<&Marks> {
        self.marks.get()
    }

    /// The server as it was reached last.
    ///
    /// # Errors
    /// `Unavailable` before [`Session::begin`].
    pub(super) fn server(&self) -> Result<Arc<Server>> {
        lock(&self.current)
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "there is no export to read from"))
    }

    /// Asks the server for something until it is had, whatever becomes of the server meanwhile.
    ///
    /// # Errors
    /// The last attempt's, where it cannot pass or took too long; `Conflict` where what is
    /// exported changed while the server was away.
    pub(super) async fn persist<T, F>(&self, ask: impl Fn(Arc<Server>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (began, mut wait) = (Instant::now(), WAITS.0);
        loop {
            let server = self.lasting().await?;
            let error = match ask(server.clone()).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if !passes(&error) || began.elapsed() > PATIENCE {
                return Err(error);
            }
            tracing::info!("{}; asked again", one_line(&error));
            tokio::select! {
                () = tokio::time::sleep(varied(wait)) => {}
                () = self.closing.cancelled() => return Err(error),
            }
            wait = (wait * 2).min(WAITS.1);
            match self.take_up(&server).await {
                Err(error) if !passes(&error) => return Err(error),
                // The next attempt tells.
                _ => {}
            }
        }
    }

    /// The server, which will not end soon.
    async fn lasting(&self) -> Result<Arc<Server>> {
        let server = self.server()?;
        if !ends_soon(server.ends, Timestamp::now()) {
            return Ok(server);
        }
        let _guard = self.repair.lock().await;
        self.closing.check()?;
        let now = self.server()?;
        if !Arc::ptr_eq(&now, &server) {
            return Ok(now);
        }
        self.replace(&server).await?;
        self.server()
    }

    /// Looks for the server anew after `lost` did not answer, unless somebody else did.
    async fn take_up(&self, lost: &Arc<Server>) -> Result<()> {
        let _guard = self.repair.lock().await;
        self.closing.check()?;
        if !Arc::ptr_eq(&self.server()?, lost) {
            return Ok(());
        }
        let token = self.token(&lost.export);
        let there = self.plan.exports.find(&lost.export).await?;
        let (Some(token), Some(_)) = (token, there.filter(|export| !export.is_over())) else {
            return self.replace(lost).await;
        };
        let export = self.plan.exports.ready(&lost.export, &self.closing).await?;
        self.same().await?;
        self.set(self.reach(&export, &token, lost.transport).await?);
        Ok(())
    }

    /// Makes another export in the place of `old`, which may be gone. One volume may not be served
    /// by two of them.
    async fn replace(&self, old: &Server) -> Result<()> {
        self.reporter.note(&format!("its export {} is over; another one is made", old.export));
        self.remove(&old.export).await?;
        let (name, token) = self.make().await?;
        let export = self.plan.exports.ready(&name, &self.closing).await?;
        self.same().await?;
        self.set(self.reach(&export, &token, old.transport).await?);
        Ok(())
    }

    /// Makes an export; its name and its token.
    async fn make(&self) -> Result<(String, String)> {
        let Plan { exports, subject, hours, .. } = &self.plan;
        let (name, token) = (temporary_name(), secret_word(TOKEN)?);
        self.ledger.making(EXPORT, &name)?;
        let words = format!("the VirtualMachineExport {name} in {}", exports.namespace);
        let leftover = self.cancel.leftover(words);
        let made = Made { name: name.clone(), token: token.clone(), _leftover: leftover };
        lock(&self.made).push(made);
        let done = exports.make(&name, subject, *hours, &token).await;
        if done.as_ref().is_err_and(was_refused) && matches!(exports.find(&name).await, Ok(None)) {
            self.forget(&name)?;
        }
        done.map(|()| (name, token))
    }

    async fn reach(&self, export: &VmExport, token: &str, way: Transport) -> Result<Server> {
        let by_port =
            || async { Server::by_port(&self.plan.exports, export, token).await?.answers().await };
        let by_ingress = || async { Server::by_ingress(export, token)?.answers().await };
        match way {
            Transport::PortForward => by_port().await,
            Transport::Auto if export.status.links.external.is_none() => by_port().await,
            Transport::Auto => match by_ingress().await {
                Ok(server) => Ok(server),
                Err(error) => {
                    let why = one_line(&error);
                    let server = by_port().await.map_err(|second| {
                        second.with_hint(format!("nor does the ingress lead to it: {why}"))
                    })?;
                    self.reporter.note(&format!(
                        "the ingress does not lead to the export ({why}); it is read through the \
                         API server"
                    ));
                    Ok(server)
                }
            },
            _ => by_ingress().await,
        }
    }

    /// Whether what is exported is what it was.
    async fn same(&self) -> Result<()> {
        match (&self.plan.watched, self.marks()) {
            (Some(watched), Some(before)) => before.are_those_of(&watched.look().await?),
            _ => Ok(()),
        }
    }

    /// Removes what was made. What remains is named in the journal.
    ///
    /// # Errors
    /// The server's; those of the journal.
    pub(super) async fn end(&self) -> Result<()> {
        self.closing.cancel(Reason::Signal);
        let _guard = self.repair.lock().await;
        let names: Vec<_> = lock(&self.made).iter().map(|made| made.name.clone()).collect();
        let mut ended = Ok(());
        for name in names {
            let removed = self.remove(&name).await.map_err(|error| {
                error
                    .context(format!("remove the VirtualMachineExport {name}"))
                    .with_hint("hyper history runs clean removes it later")
            });
            ended = ended.and(removed);
        }
        ended
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.plan.exports.remove(name).await?;
        self.forget(name)
    }

    fn forget(&self, name: &str) -> Result<()> {
        lock(&self.made).retain(|made| made.name != name);
        self.ledger.removed(EXPORT, name)
    }

    fn token(&self, name: &str) -> Option<String> {
        lock(&self.made).iter().find(|made| made.name == name).map(|made| made.token.clone())
    }

    fn set(&self, server: Server) {
        *lock(&self.current) = Some(Arc::new(server));
    }
}

/// Whether an export that ends then is not worth beginning a request with.
fn ends_soon(ends: Option<Timestamp>, now: Timestamp) -> bool {
    ends.is_some_and(|ends| ends.duration_since(now) < MARGIN)
}

/// Whether asking again may help: the server is away, or its export is being made anew.
fn passes(error: &Error) -> bool {
    error.retry_after().is_some()
        || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound)
}

/// Whether the answer to a request says that nothing was made.
fn was_refused(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol | ErrorKind::Internal)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_made_anew_some_minutes_before_its_end() {
        let now = Timestamp::now();
        let then = |minutes| Some(now + SignedDuration::from_mins(minutes));
        assert!(ends_soon(then(4), now) && ends_soon(then(-1), now));
        assert!(!ends_soon(then(6), now) && !ends_soon(None, now));
    }
}
