//! Records of several contexts.

use futures::{StreamExt, stream};
use serde::Serialize;

use super::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Provider, registry};

/// How many contexts are asked at the same time.
const AT_ONCE: usize = 16;

/// Which contexts are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Platforms {
    /// Their names.
    pub contexts: Vec<String>,
    /// Whether these are simply all: those whose platform has nothing of the kind are left out.
    pub all: bool,
}

/// What was read in some contexts, and what failed in others.
#[derive(Debug)]
#[must_use = "what failed is told by its end"]
pub struct Gathered<T> {
    /// What was read, in the order of the contexts.
    pub found: Vec<T>,
    failures: Vec<Error>,
    total: usize,
}

impl<T> Gathered<T> {
    /// How the run ends, once what was found is printed.
    ///
    /// # Errors
    /// As [`Context::end_of_several`].
    pub fn end(self, cx: &Context) -> Result<()> {
        cx.end_of_several(self.failures, self.total, "contexts")
    }
}

impl Context {
    /// What `read` finds in each of these contexts, by name; several are asked at a time. One that
    /// fails does not keep the others from being read.
    ///
    /// # Errors
    /// Where nothing could be read: a list that could not be had must not look like an empty one.
    pub async fn gather<T>(
        &self,
        platforms: &Platforms,
        read: impl AsyncFn(&str, &dyn Provider) -> Result<Vec<T>>,
    ) -> Result<Gathered<T>> {
        let (mut found, mut failures, mut without) = (Vec::new(), Vec::new(), Vec::new());
        let read = &read;
        let coming = stream::iter(&platforms.contexts).map(|name| async move {
            let one = async {
                let provider = registry::open(&self.config.context(name)?)?;
                read(name, &*provider).await
            };
            (name, self.cancel.unless_cancelled(one).await)
        });
        let mut coming = std::pin::pin!(coming.buffered(AT_ONCE));
        while let Some((name, one)) = coming.next().await {
            match one {
                Ok(some) => found.extend(some),
                Err(error) => {
                    let left_out = platforms.all && error.kind() == ErrorKind::Unsupported;
                    let error = error.with_subject(name);
                    if left_out { without.push(error) } else { failures.push(error) }
                }
            }
        }
        let asked = platforms.contexts.len();
        if failures.len() + without.len() == asked && asked > 0 {
            // Where one is at fault, it is of no interest that others have nothing of the kind.
            let told = if failures.is_empty() { without } else { failures };
            let total = told.len();
            self.end_of_several(told, total, "contexts")?;
            return Ok(Gathered { found, failures: Vec::new(), total });
        }
        Ok(Gathered { found, failures, total: asked - without.len() })
    }
}
