//! INT, TERM and HUP: the first asks everyone to stop, the second leaves at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::remarks::Remarks;
use crate::cancel::{Cancel, Reason};
use crate::error::{Error, ErrorKind, Result};

/// Watches for signals in a thread of its own, so that they are seen however busy the rest is.
/// A signal that was ignored when the program started (`nohup`, a job in the background of a
/// plain shell) stays ignored.
///
/// # Errors
/// `Io` when no thread or handler can be had.
pub fn watch(cancel: Cancel, remarks: Remarks) -> Result<()> {
    let failed = |error| Error::io("set up the handling of signals", error);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let ignored = ignored_mask();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let heard = kinds.into_iter().filter(|kind| ignored & mask_bit(*kind) == 0);
    // Handlers stand before the tool starts, so that no signal falls between.
    let guard = runtime.enter();
    let mut signals = heard.map(signal).collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    // A handler stays for good once it was set: a file that may not grow any further is an error
    // of the write then, not a sudden end (`ulimit -f`, setrlimit(2)).
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(failed)?);
    drop(guard);
    let wait = move || {
        runtime.block_on(async {
            next(&mut signals).await;
            cancel.cancel(Reason::Signal);
            remarks.announce("interrupted: cleaning up (once more to leave at once)");
            next(&mut signals).await;
            leave(&cancel, &remarks);
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// The next signal of any kind.
async fn next(signals: &mut [Signal]) {
    std::future::poll_fn(|task| {
        let mut seen = false;
        for signal in signals.iter_mut() {
            seen |= signal.poll_recv(task).is_ready();
        }
        if seen { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[expect(clippy::exit, reason = "the second signal must not wait for anything")]
fn leave(cancel: &Cancel, remarks: &Remarks) {
    for leftover in cancel.leftovers() {
        remarks.announce(&format!("may remain: {leftover}"));
    }
    std::process::exit(ErrorKind::Interrupted.exit_status().into());
}

/// The set of ignored signals as the kernel tells it (proc(5), `SigIgn`).
fn ignored_mask() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn mask_bit(kind: SignalKind) -> u64 {
    u32::try_from(kind.as_raw_value() - 1).ok().and_then(|bit| 1u64.checked_shl(bit)).unwrap_or(0)
}
