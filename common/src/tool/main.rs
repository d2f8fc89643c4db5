//! The whole of a tool's `main`.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind as ClapError;
use clap::{ArgMatches, FromArgMatches};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::arguments::{Parsed, leaf, mistake, names_no_context, parse};
use super::context::Context;
use super::remarks::{Remarks, Warnings};
use super::report::{ErrorForm, report};
use super::{Tool, complete, signals, surroundings};
use crate::cancel::{Cancel, Reason};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::net::REMARK;
use crate::output::{OutputFormat, Printer, Target};
use crate::progress::ProgressMode;

/// Set by the panic hook: a run in which anything panicked has not succeeded.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Runs a tool from its arguments to its exit status; the one statement of its `main`.
pub fn main<T: Tool>() -> ExitCode {
    std::panic::set_hook(Box::new(|info| complain(T::NAME, info)));
    let argv: Vec<OsString> = std::env::args_os().collect();
    let status = catch_unwind(AssertUnwindSafe(|| start::<T>(argv)));
    let status = status.unwrap_or(ErrorKind::Internal.exit_status());
    if PANICKED.load(Ordering::Acquire) {
        return ExitCode::from(ErrorKind::Internal.exit_status());
    }
    ExitCode::from(status)
}

/// One line for what must not happen.
fn complain(name: &str, info: &PanicHookInfo<'_>) {
    PANICKED.store(true, Ordering::Release);
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    super::remarks::print(&format!(
        "{name}: this is a bug in hyper {}, please report it: {what}{}",
        env!("CARGO_PKG_VERSION"),
        place.unwrap_or_default()
    ));
}

fn start<T: Tool>(argv: Vec<OsString>) -> u8 {
    if std::env::var_os(complete::VARIABLE).is_some() {
        return print_candidates::<T>(&argv);
    }
    let guess = || ErrorForm::guess(&argv, std::env::var_os("HYPER_OUTPUT"));
    let (matches, config) = match parse::<T>(&argv) {
        Ok(Parsed::Run(parsed)) => *parsed,
        Ok(Parsed::Words(error)) => return print_words(T::NAME, &error, guess()),
        Err(error) => return report(T::NAME, &error, guess()),
    };
    let shared = Shared::of(&matches);
    let form = ErrorForm::of(&shared.output);
    match run::<T>(&matches, config, shared) {
        Ok(()) => 0,
        Err(error) => report(T::NAME, &error, form),
    }
}

/// The shared flags that the frame itself obeys, where the tool has them.
struct Shared {
    output: OutputFormat,
    progress: ProgressMode,
    quiet: bool,
    verbose: u8,
    timeout: Option<Duration>,
}

impl Shared {
    fn of(matches: &ArgMatches) -> Self {
        fn get<V: Clone + Send + Sync + 'static>(leaf: &ArgMatches, id: &str) -> Option<V> {
            leaf.try_get_one::<V>(id).ok().flatten().cloned()
        }
        let leaf = leaf(matches);
        Self {
            output: get(leaf, "output").unwrap_or_default(),
            progress: get(leaf, "progress").unwrap_or_default(),
            quiet: get(leaf, "quiet").unwrap_or_default(),
            verbose: get(leaf, "verbose").unwrap_or_default(),
            timeout: get(leaf, "timeout"),
        }
    }
}

fn run<T: Tool>(matches: &ArgMatches, config: Config, shared: Shared) -> Result<()> {
    let args = T::Args::from_arg_matches(matches).map_err(|error| mistake(&error))?;
    let remarks = Remarks::new(T::NAME, shared.quiet);
    log(shared.verbose, &remarks);
    tracing::info!("configuration: {}", config.path().display());
    let config = config.with_surroundings(surroundings::surroundings());
    let hinted = |error: Error, config: &Config| with_hint::<T>(error, matches, config);
    let request = T::request(args, &config).map_err(|error| hinted(error, &config))?;
    let mut context = Context {
        config,
        printer: Printer::new(shared.output, Target::Stdout),
        progress: shared.progress,
        quiet: shared.quiet,
        cancel: Cancel::new(),
        remarks,
    };
    signals::watch(context.cancel.clone(), context.remarks.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the runtime", error))?;
    let cancel = context.cancel.clone();
    let result = runtime.block_on(async {
        if let Some(limit) = shared.timeout {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                tokio::time::sleep(limit).await;
                cancel.cancel(Reason::Timeout);
            });
        }
        T::run(request, &mut context).await
    });
    // A thread that still waits for a dead disk must not hold up the end.
    runtime.shutdown_background();
    result.map_err(|error| hinted(error, &context.config))
}

/// An error of looking at the wrong place, with the way to another.
fn with_hint<T: Tool>(error: Error, matches: &ArgMatches, config: &Config) -> Error {
    let wrong_place = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported);
    if !wrong_place || !names_no_context::<T>(matches, config) {
        return error;
    }
    match config.hint_where_none_is_chosen() {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The log of what happens inside, for `-v`; without it only hyper's own warnings are heard, as the
/// remarks that they are.
fn log(verbose: u8, remarks: &Remarks) {
    let level = match verbose {
        0 => return warnings(remarks.clone()),
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let remarks = remarks.clone();
    // A second subscriber in one process only happens in tests.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || remarks.log())
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

fn warnings(remarks: Remarks) {
    let own = filter_fn(|of| match of.target() {
        REMARK => true,
        target => *of.level() == tracing::Level::WARN && target.starts_with("hyper_"),
    });
    let _ = tracing_subscriber::registry().with(Warnings(remarks).with_filter(own)).try_init();
}

/// Prints what could stand at the place of the last word.
fn print_candidates<T: Tool>(argv: &[OsString]) -> u8 {
    use std::io::Write;
    let text = complete::lines(&complete::candidates::<T>(argv));
    // A shell that has gone away misses nothing.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    0
}

/// Prints help, version or a mistake in the arguments.
fn print_words(name: &str, error: &clap::Error, form: ErrorForm) -> u8 {
    let help = ClapError::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && (error.kind() != help || form == ErrorForm::Machine) {
        return report(name, &mistake(error), form);
    }
    // Help into a pipe that nobody reads any more is no failure.
    let _ = error.print();
    if error.use_stderr() { ErrorKind::Usage.exit_status() } else { 0 }
}
