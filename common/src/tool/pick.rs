//! Picking a machine where none was named and there is somebody to ask.

use std::io::IsTerminal;

use futures::TryStreamExt;

use super::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::vm::{Vm, VmFilter};

/// Lines of the choice that are seen at once.
const HEIGHT: usize = 15;

/// Whether somebody can be asked: both ends are a terminal.
pub(super) fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A question on the terminal that came to nothing.
pub fn unanswered(dialoguer::Error::IO(error): dialoguer::Error) -> Error {
    match error.kind() {
        // Ctrl-C, which the terminal library takes for itself while it reads a key.
        std::io::ErrorKind::Interrupted => Error::new(ErrorKind::Interrupted, "interrupted"),
        _ => Error::io("ask on the terminal", error),
    }
}

/// What is said where nobody can be asked.
pub(super) fn nothing_meant() -> Error {
    Error::usage("which machines are meant?")
        .with_hint("name them, or choose them by --match or --selector")
}

impl Context {
    /// The machine of `provider` that a person picks from a list, which narrows down to what is
    /// typed.
    ///
    /// # Errors
    /// `NotFound` where there is no machine; `Interrupted` for a person who picks none; those of
    /// listing.
    pub async fn pick(&self, provider: &dyn Provider) -> Result<Vm> {
        let list = provider.list(VmFilter::default()).try_collect::<Vec<_>>();
        let mut vms = self.cancel.unless_cancelled(list).await?;
        if vms.is_empty() {
            return Err(Error::not_found("there is no machine to pick"));
        }
        vms.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let lines: Vec<_> = vms.iter().map(line).collect();
        let before = rustix::termios::tcgetattr(std::io::stdin()).ok();
        let asked = tokio::task::spawn_blocking(move || {
            dialoguer::FuzzySelect::new()
                .with_prompt("Which machine?")
                .items(&lines)
                .default(0)
                .max_length(HEIGHT)
                .interact_opt()
        });
        let picked = tokio::select! {
            answer = asked => answer
                .map_err(|error| Error::new(ErrorKind::Internal, "ask").with_source(error))?
                .map_err(unanswered)?,
            () = self.cancel.cancelled() => {
                leave(before);
                return Err(self.cancel.check().err().unwrap_or_else(nothing_meant));
            }
        };
        match picked.filter(|picked| *picked < vms.len()) {
            Some(picked) => Ok(vms.swap_remove(picked)),
            None => Err(Error::new(ErrorKind::Interrupted, "no machine was picked")),
        }
    }
}

/// Gives the terminal back as it was: who was asked may have stopped in the middle of a key.
fn leave(before: Option<rustix::termios::Termios>) {
    use rustix::termios::{OptionalActions, tcsetattr};
    if let Some(before) = before {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
    let _ = dialoguer::console::Term::stderr().show_cursor();
}

/// How a machine is shown in the choice. Its words are the platform's: no control characters.
fn line(vm: &Vm) -> String {
    let namespace = vm.namespace.as_ref().map(|it| format!("{it}/")).unwrap_or_default();
    let line = format!("{namespace}{}  {}", vm.name, vm.status);
    crate::output::printable(&line)
}
