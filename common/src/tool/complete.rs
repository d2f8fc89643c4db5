//! Completion while a person types: what could stand at the end of a command line, asked of the
//! tool itself by `HYPER_COMPLETE`, for shells and for kubectl, which completes the words of its
//! plugins since 1.26 by running `kubectl_complete-NAME`.
//!
//! Flags, verbs and values come from the tool's own command, names of contexts from the
//! configuration, and names of machines, templates and namespaces from their platform, as far as
//! that answers at once.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use futures::StreamExt;

use super::arguments::{leaf, scope_of};
use super::command::{Caller, command_for};
use super::{Tool, layers, surroundings};
use crate::config::{Config, ContextConfig};
use crate::provider::{TemplateKind, registry};
use crate::vm::VmFilter;

/// Where this is set, a tool tells what could stand at the place of its last word, and does
/// nothing else.
pub const VARIABLE: &str = "HYPER_COMPLETE";

/// Names of machines that are offered at most.
const MOST: usize = 500;

/// How long a platform is waited for: nobody waits longer for a key.
const PATIENCE: Duration = Duration::from_secs(2);

/// No file names in their place (`ShellCompDirectiveNoFileComp` of the cobra library).
const NO_FILES: u32 = 4;

/// No blank behind the word (`ShellCompDirectiveNoSpace`).
const NO_BLANK: u32 = 2;

/// What can stand somewhere, and what it means.
pub type Candidate = (String, Option<String>);

/// The candidates as kubectl reads them: one a line with what it means behind a tab, and at the
/// end a line with what the shell is to do.
pub fn lines(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    for (value, help) in candidates {
        let help = help.as_deref().and_then(|help| help.lines().next());
        match help.filter(|help| !help.is_empty()) {
            Some(help) => text.push_str(&format!("{value}\t{help}\n")),
            None => text.push_str(&format!("{value}\n")),
        }
    }
    let open = |(value, _): &Candidate| value.ends_with(['/', ':', '=']);
    let blank = if candidates.iter().any(open) { NO_BLANK } else { 0 };
    text.push_str(&format!(":{}\n", NO_FILES + blank));
    text
}

/// What can stand at the place of the last word of `argv`.
pub fn candidates<T: Tool>(argv: &[OsString]) -> Vec<Candidate> {
    let caller = Caller::of(argv.first());
    let mut command = command_for::<T>(caller);
    if let Some(place) = place_of(&command, argv, caller) {
        command = layers::walk(command, &mut |arg| with_names(arg, T::NAME, &place));
    }
    let folder = std::env::current_dir().ok();
    let last = argv.len().saturating_sub(1);
    let found = complete(&mut command, argv.to_vec(), last, folder.as_deref());
    let shown = found.unwrap_or_default().into_iter().filter(|it| !it.is_hide_set());
    shown
        .map(|it| {
            let help = it.get_help().map(ToString::to_string);
            (it.get_value().to_string_lossy().into_owned(), help)
        })
        .collect()
}

/// Where names are looked up.
#[derive(Debug, Clone)]
struct Place {
    config: Config,
    /// The context of the flags, else the current one.
    context: String,
    all_namespaces: bool,
}

/// What the words before the last say about where to look; `None` where the configuration cannot
/// be read.
fn place_of(command: &Command, argv: &[OsString], caller: Caller) -> Option<Place> {
    let variable = |name: &str| std::env::var_os(name);
    let location = Config::location(variable).ok()?;
    let config = Config::load(&location).ok()?.with_environment(variable);
    let words = &argv[..argv.len().saturating_sub(1)];
    let tolerant = command.clone().ignore_errors(true);
    let matches = tolerant.try_get_matches_from(words).ok();
    let scope = matches.as_ref().map(|matches| scope_of(matches, caller)).unwrap_or_default();
    let all_namespaces = scope.all_namespaces;
    let config = config.with_scope(scope).with_surroundings(surroundings::surroundings());
    let named = |id: &str| {
        let leaf = leaf(matches.as_ref()?);
        leaf.try_get_many::<String>(id).ok().flatten()?.next().cloned()
    };
    let context = named("context").unwrap_or_else(|| config.current_context().to_owned());
    Some(Place { config, context, all_namespaces })
}

/// An argument that stands for a context or a machine, with the names of these.
fn with_names(arg: Arg, tool: &str, place: &Place) -> Arg {
    let value = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    let positional = arg.get_long().is_none() && arg.get_short().is_none();
    let is_new = arg.get_value_hint() == clap::ValueHint::Other;
    let is_context =
        arg.get_id() == "context" || (positional && tool == "hyper-context" && !is_new);
    let is_machine = value == Some("VM") || positional && value == Some("SOURCE");
    let is_template = positional && value == Some("TEMPLATE");
    let place = place.clone();
    if is_context {
        return arg.add(ArgValueCompleter::new(move |word: &OsStr| place.contexts(word, "")));
    }
    if is_machine {
        return arg.add(ArgValueCompleter::new(move |word: &OsStr| place.named(word, Sort::Vm)));
    }
    if is_template {
        return arg
            .add(ArgValueCompleter::new(move |word: &OsStr| place.named(word, Sort::Template)));
    }
    if arg.get_id() == "namespace" {
        return arg.add(ArgValueCompleter::new(move |word: &OsStr| place.namespaces(word)));
    }
    arg
}

impl Place {
    /// The contexts whose names start with `word`, with `tail` behind each.
    fn contexts(&self, word: &OsStr, tail: &str) -> Vec<CompletionCandidate> {
        let Some(word) = word.to_str() else { return Vec::new() };
        let contexts = self.config.contexts().into_iter();
        contexts
            .filter(|context| context.name.starts_with(word))
            .map(|context| {
                let help = context.title.unwrap_or(context.provider);
                CompletionCandidate::new(context.name + tail).help(Some(help.into()))
            })
            .collect()
    }

    /// The namespaces of the context whose names start with `word`.
    fn namespaces(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let Some(word) = word.to_str() else { return Vec::new() };
        let found = self.config.context(&self.context).ok().map(|it| namespaces(&it));
        let found = found.unwrap_or_default().into_iter();
        found.filter(|name| name.starts_with(word)).map(CompletionCandidate::new).collect()
    }

    /// What of a sort has names that start with `word`, which may name their context as well.
    fn named(&self, word: &OsStr, sort: Sort) -> Vec<CompletionCandidate> {
        let Some(text) = word.to_str() else { return Vec::new() };
        let (context, rest) = self.config.split_reference(text);
        let lead = &text[..text.len() - rest.len()];
        let name = context.unwrap_or(&self.context);
        let listed = self.config.context(name).ok().map(|it| names(&it, sort, self.all_namespaces));
        let listed = listed.unwrap_or_default().into_iter();
        let mut found: Vec<_> = listed
            .filter(|(name, _)| name.starts_with(rest))
            .map(|(name, status)| {
                CompletionCandidate::new(format!("{lead}{name}")).help(Some(status.into()))
            })
            .collect();
        if context.is_none() && !text.is_empty() {
            found.extend(self.contexts(word, ":"));
        }
        found
    }
}

/// What has names on a platform.
#[derive(Debug, Clone, Copy)]
enum Sort {
    Vm,
    Template,
}

/// The names of a context's machines and their states, or of its templates and their kinds, as
/// many as it tells at once.
fn names(context: &ContextConfig, sort: Sort, with_namespace: bool) -> Vec<(String, String)> {
    let Ok(provider) = registry::open(context) else { return Vec::new() };
    let found = RefCell::new(Vec::new());
    let add = |namespace: Option<String>, name: String, help: String| {
        let name = match namespace.filter(|_| with_namespace) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        };
        found.borrow_mut().push((name, help));
    };
    let list = async {
        match sort {
            Sort::Vm => {
                let mut vms = provider.list(VmFilter::default()).take(MOST);
                while let Some(vm) = vms.next().await {
                    // What cannot be read is told by a list, not here.
                    let Ok(vm) = vm else { continue };
                    add(vm.namespace, vm.name, vm.status.to_string());
                }
            }
            Sort::Template => {
                let Some(facet) = provider.templates() else { return };
                let all = facet.all_templates(&TemplateKind::WHOLE).await.unwrap_or_default();
                for one in all.into_iter().take(MOST) {
                    add(one.namespace, one.name, one.kind.name().to_owned());
                }
            }
        }
    };
    shortly(list);
    found.into_inner()
}

/// The names of a context's namespaces, where it has any and tells at once.
fn namespaces(context: &ContextConfig) -> Vec<String> {
    let Ok(provider) = registry::open(context) else { return Vec::new() };
    let Some(facet) = provider.create() else { return Vec::new() };
    let list = async { facet.namespaces().await.unwrap_or_default() };
    shortly(list).unwrap_or_default()
}

/// Does something that must not take long. What it had come to by then is worth showing.
fn shortly<T>(work: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let done = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
    runtime.shutdown_background();
    done.ok()
}
