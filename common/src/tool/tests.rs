//! The pieces of the frame; whole tools are tried by the tests of the tools.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use super::arguments::{leaf, mistake};
use super::flags::{ContextFlags, OutputFlags, ProgressFlags};
#[cfg(debug_assertions)]
use super::neutralise;
use super::{ErrorForm, layers};
use crate::config::{Config, FlagDefaults};
use crate::error::one_line;

#[derive(Debug, Args)]
struct Everything {
    #[command(flatten)]
    contexts: ContextFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    progress: ProgressFlags,
    #[arg(long)]
    format: Option<String>,
    #[arg(long)]
    overwrite: bool,
    #[arg(long)]
    dry_run: bool,
    words: Vec<String>,
}

fn command() -> Command {
    Everything::augment_args(Command::new("probe"))
}

fn config(text: &str) -> Config {
    Config::parse(std::path::Path::new("/c.yaml"), text.to_owned()).unwrap()
}

fn parse(
    argv: &[&str],
    environment: &[(&str, &str)],
    defaults: &FlagDefaults,
) -> Result<Everything, String> {
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    let command =
        layers::apply(command(), &variable, defaults).map_err(|error| one_line(&error))?;
    let argv = std::iter::once("probe").chain(argv.iter().copied());
    let matches =
        command.try_get_matches_from(argv).map_err(|error| mistake(&error).message().to_owned())?;
    Everything::from_arg_matches(leaf(&matches)).map_err(|error| error.to_string())
}

#[test]
fn typed_wins_over_environment_over_configuration_over_built_in() {
    let defaults = config("defaults: {format: from-file, progress: lines}").flag_defaults(None);
    let none = FlagDefaults::default();
    let environment = [("HYPER_FORMAT", "from-env")];
    let format = |argv: &[&str], environment: &[(&str, &str)], defaults: &FlagDefaults| {
        parse(argv, environment, defaults).unwrap().format
    };
    assert_eq!(format(&[], &[], &none), None);
    assert_eq!(format(&[], &[], &defaults).unwrap(), "from-file");
    assert_eq!(format(&[], &environment, &defaults).unwrap(), "from-env");
    assert_eq!(format(&["--format", "typed"], &environment, &defaults).unwrap(), "typed");
    assert_eq!(format(&[], &[("HYPER_FORMAT", "")], &none), None);
    let progress = parse(&[], &[], &defaults).unwrap().progress.progress;
    assert_eq!(progress, crate::progress::ProgressMode::Lines);
}

#[test]
fn values_from_elsewhere_never_conflict_with_typed_ones() {
    let none = FlagDefaults::default();
    let typed = parse(&["--all-contexts"], &[("HYPER_CONTEXT", "a,b")], &none).unwrap();
    assert!(typed.contexts.all_contexts);
    assert_eq!(typed.contexts.context, ["a", "b"]);
    let typed = parse(&["-v"], &[("HYPER_QUIET", "1")], &none).unwrap();
    assert_eq!((typed.progress.talk.verbose, typed.progress.talk.quiet), (1, true));
}

#[test]
fn switches_counts_and_lists_take_words() {
    let none = FlagDefaults::default();
    assert!(parse(&[], &[("HYPER_DRY_RUN", "yes")], &none).unwrap().dry_run);
    assert!(!parse(&[], &[("HYPER_DRY_RUN", "off")], &none).unwrap().dry_run);
    assert_eq!(parse(&[], &[("HYPER_VERBOSE", "2")], &none).unwrap().progress.talk.verbose, 2);
    let defaults = config("defaults: {context: [local, local]}").flag_defaults(None);
    assert_eq!(parse(&[], &[], &defaults).unwrap().contexts.context, ["local", "local"]);
}

#[test]
fn wrong_values_name_their_place() {
    let none = FlagDefaults::default();
    let wrong = |environment: &[(&str, &str)]| parse(&[], environment, &none).unwrap_err();
    let line = wrong(&[("HYPER_OUTPUT", "xml")]);
    assert!(line.starts_with("HYPER_OUTPUT: invalid value 'xml' for '--output"), "{line}");
    assert_eq!(
        wrong(&[("HYPER_DRY_RUN", "maybe")]),
        "HYPER_DRY_RUN: --dry-run takes true or false here"
    );
    assert_eq!(wrong(&[("HYPER_VERBOSE", "x")]), "HYPER_VERBOSE: --verbose takes a number here");
    let defaults = config("defaults: {progress: dots}").flag_defaults(None);
    let line = parse(&[], &[], &defaults).unwrap_err();
    assert!(line.starts_with("defaults.progress: invalid value 'dots'"), "{line}");
    let defaults = config("defaults: {format: [a, b]}").flag_defaults(None);
    assert_eq!(
        parse(&[], &[], &defaults).unwrap_err(),
        "defaults.format: --format takes one value"
    );
}

#[test]
fn destructive_flags_are_only_typed() {
    let none = FlagDefaults::default();
    assert!(!parse(&[], &[("HYPER_OVERWRITE", "true")], &none).unwrap().overwrite);
    assert!(parse(&["--overwrite"], &[], &none).unwrap().overwrite);
}

#[cfg(debug_assertions)]
#[test]
fn a_neutralised_flag_leaves_no_trace() {
    let without = |flag: &str, argv: &[&str]| -> Vec<String> {
        let argv = std::iter::once("probe").chain(argv.iter().copied()).map(OsString::from);
        neutralise::without(argv.collect(), &command(), flag)
            .into_iter()
            .skip(1)
            .map(|word| word.into_string().unwrap())
            .collect()
    };
    assert_eq!(without("--format", &["a", "--format", "raw", "b"]), ["a", "b"]);
    assert_eq!(without("--format", &["--format=raw", "b"]), ["b"]);
    assert_eq!(
        without("--output", &["-o", "json", "-ojson", "-vojson", "-vo", "json"]),
        ["-v", "-v"]
    );
    assert_eq!(without("--verbose", &["-vv", "-vq", "--verbose", "-c", "v"]), ["-q", "-c", "v"]);
    assert_eq!(without("--context", &["-ojson", "--", "-c", "x"]), ["-ojson", "--", "-c", "x"]);
    assert_eq!(without("--nothing", &["--nothing"]), ["--nothing"]);
}

#[test]
fn verbs_are_reached() {
    let verbs = Command::new("probe").subcommand(
        Command::new("list").arg(Arg::new("status").long("status").action(ArgAction::Set)),
    );
    let variable = |name: &str| (name == "HYPER_STATUS").then(|| OsString::from("running"));
    let command = layers::apply(verbs, &variable, &FlagDefaults::default()).unwrap();
    let matches = command.try_get_matches_from(["probe", "list"]).unwrap();
    assert_eq!(leaf(&matches).get_one::<String>("status").unwrap(), "running");
}

#[test]
fn the_form_of_an_early_error_is_guessed() {
    let guess = |argv: &[&str], variable: Option<&str>| {
        let argv: Vec<_> = argv.iter().map(OsString::from).collect();
        ErrorForm::guess(&argv, variable.map(OsString::from))
    };
    for argv in [&["x", "-o", "json"], &["x", "-o=yaml", ""], &["x", "--output=csv", ""]] {
        assert_eq!(guess(argv, None), ErrorForm::Machine, "{argv:?}");
    }
    assert_eq!(guess(&["x", "-o", "wide"], Some("json")), ErrorForm::Human);
    assert_eq!(guess(&["x"], Some("json")), ErrorForm::Machine);
    assert_eq!(guess(&["x", "--", "-ojson"], None), ErrorForm::Human);
    assert_eq!(guess(&["x", "-o", "xml"], None), ErrorForm::Human);
}
