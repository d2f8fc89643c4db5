//! Whether a server is there, told once for each time that it is not: what is tried again and again
//! must neither freeze in silence nor repeat itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, one_line};

/// The target of log lines that are remarks: people hear them without `-v`, and not under `--quiet`.
pub const REMARK: &str = "hyper_remark";

/// The connections to one server. Clones share what was told.
#[derive(Debug, Clone)]
pub struct Contact {
    context: Arc<str>,
    /// How many lines are without an answer.
    lost: Arc<AtomicUsize>,
}

/// One of them.
#[derive(Debug)]
pub struct Contacted {
    of: Contact,
    failures: u32,
    told: bool,
}

impl Contact {
    /// With the server of a context.
    pub fn new(context: &str) -> Self {
        Self { context: context.into(), lost: Arc::default() }
    }

    /// A further connection.
    pub fn line(&self) -> Contacted {
        Contacted { of: self.clone(), failures: 0, told: false }
    }
}

impl Contacted {
    /// It failed, and is tried again. The first failure in a row says nothing: servers and what is
    /// in front of them end connections now and then, and take the next.
    pub fn failed(&mut self, why: &Error) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 2 {
            self.lost(why);
        }
    }

    /// It failed, and that is to be told at once.
    pub fn lost(&mut self, why: &Error) {
        let first = !std::mem::replace(&mut self.told, true)
            && self.of.lost.fetch_add(1, Ordering::AcqRel) == 0;
        if first {
            let context = &self.of.context;
            tracing::warn!(
                target: REMARK,
                "{context}: the connection is lost ({}); trying again",
                one_line(why)
            );
        }
    }

    /// It works.
    pub fn works(&mut self) {
        self.failures = 0;
        if self.forget() {
            tracing::info!(target: REMARK, "{}: the connection is back", self.of.context);
        }
    }

    /// Whether it was the last that did not work.
    fn forget(&mut self) -> bool {
        std::mem::take(&mut self.told) && self.of.lost.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Contacted {
    fn drop(&mut self) {
        self.forget();
    }
}
