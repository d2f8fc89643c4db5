//! Asking a person for a machine, bit by bit. Each answer is checked, on the platform where that
//! alone knows; at the end the platform is asked whether it would take the whole.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input, Select};
use hyper_common::config::ContextConfig;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::provider::{
    Answer, Create, Deed, Described, DiskKind, Making, NewDisk, NewVm, Question,
};
use hyper_common::tool::{Context, unanswered};
use hyper_common::vm::{format_bytes, parse_bytes};

/// The machine that a person wants.
///
/// # Errors
/// `Usage` where there is no terminal; `Interrupted` for one who does not want it after all; those
/// of the platform.
pub async fn ask(
    create: &dyn Create,
    context: &ContextConfig,
    cx: &mut Context,
) -> Result<Described> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::usage("--interactive needs a terminal")
            .with_hint("`hyper vm create --help` shows the flags that say the same"));
    }
    let (name, namespace) = match create.has_namespaces() {
        true => place(create, context, cx).await?,
        false => (free_name(create, cx).await?, String::new()),
    };
    let cpus = loop {
        match line("CPUs", Some("2"))?.parse::<u32>() {
            Ok(cpus) if cpus > 0 => break cpus,
            _ => cx.remarks.warn("a number from 1 on, such as 4"),
        }
    };
    let memory = loop {
        match parse_bytes(&line("Memory", Some("4Gi"))?) {
            Ok(bytes) if bytes > 0 => break bytes,
            Ok(_) => cx.remarks.warn("a machine needs memory"),
            Err(why) => cx.remarks.warn(&why),
        }
    };
    let disk = loop {
        let Some(disk) = source(create.disks(), cx)? else { continue };
        if passes(create.check(&Answer::Disk(&namespace, &disk)).await, cx)? {
            break disk;
        }
    };
    let what = format!("{cpus} CPUs, {}, {}", format_bytes(memory), words(&disk));
    let reference = match create.has_namespaces() {
        true => format!("{namespace}/{name}"),
        false => name.clone(),
    };
    let mut vm = NewVm {
        name: reference,
        cpus: Some(cpus),
        memory_bytes: Some(memory),
        disk: Some(disk),
        ..NewVm::default()
    };
    let mut at = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    for (question, words) in QUESTIONS {
        let all = create.choices(question, &vm).await?;
        let Some(chosen) = choose(words, &all)? else { continue };
        at.push_str(&format!(", {} {chosen}", words.to_lowercase()));
        match question {
            Question::Pool => vm.place.pool = Some(chosen),
            Question::Datastore => vm.place.datastore = Some(chosen),
            Question::Network => vm.networks = vec![chosen],
        }
    }
    if !confirmed(&format!("Make {name}{at} with {what}?"))? {
        return Err(Error::new(ErrorKind::Interrupted, "not confirmed"));
    }
    let described = cx.cancel.unless_cancelled(create.describe(&vm)).await?;
    if let Deed::Make { objects, .. } = &described.deed {
        let trial = Making { objects, dry_run: true, start: false, wait: false, upload: None };
        if let Some(note) = create.make(&trial, &cx.cancel).await?.note {
            cx.remarks.say(&note);
        }
    }
    Ok(described)
}

/// A name that is free, and the namespace in which it is.
async fn place(
    create: &dyn Create,
    context: &ContextConfig,
    cx: &Context,
) -> Result<(String, String)> {
    let usual = context.namespace.as_deref().unwrap_or("default");
    loop {
        let name = line("Name", None)?;
        if !passes(create.check(&Answer::Name(&name)).await, cx)? {
            continue;
        }
        loop {
            let namespace = line("Namespace", Some(usual))?;
            let checked = create.check(&Answer::Namespace(&namespace, &name)).await;
            let is_taken = checked.as_ref().is_err_and(|it| it.kind() == ErrorKind::Conflict);
            if passes(checked, cx)? {
                return Ok((name, namespace));
            }
            if is_taken {
                break;
            }
        }
    }
}

/// A name that can be one.
async fn free_name(create: &dyn Create, cx: &Context) -> Result<String> {
    loop {
        let name = line("Name", None)?;
        if passes(create.check(&Answer::Name(&name)).await, cx)? {
            return Ok(name);
        }
    }
}

/// One of several; the only one without asking.
fn choose(question: &str, all: &[String]) -> Result<Option<String>> {
    match all {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let chosen = Select::new().with_prompt(question).items(several).default(0).interact();
            Ok(several.get(chosen.map_err(unanswered)?).cloned())
        }
    }
}

/// Whether an answer is good; what is wrong with it is told, and it is asked for again.
fn passes(checked: Result<()>, cx: &Context) -> Result<bool> {
    match checked {
        Ok(()) => Ok(true),
        Err(error) if is_an_answers_fault(error.kind()) => {
            cx.remarks.warn(&one_line(&error));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn is_an_answers_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Usage | ErrorKind::NotFound | ErrorKind::Conflict)
}

/// What is asked where there is more than one of it, with the word for it.
const QUESTIONS: [(Question, &str); 3] =
    [(Question::Pool, "Pool"), (Question::Datastore, "Datastore"), (Question::Network, "Network")];

/// A disk from one of the sources that a platform has.
fn source(kinds: &[DiskKind], cx: &Context) -> Result<Option<NewDisk>> {
    let word = |kind: &DiskKind| match kind {
        DiskKind::Image => "a container image",
        DiskKind::Source => "a copy of a DataSource",
        DiskKind::Volume => "a volume that is there",
        DiskKind::Blank => "a new disk without content",
    };
    let chosen = match kinds {
        [one] => *one,
        several => {
            let words: Vec<_> = several.iter().map(word).collect();
            let chosen = Select::new().with_prompt("Disk").items(&words).default(0).interact();
            let chosen = several.get(chosen.map_err(unanswered)?).copied();
            chosen.unwrap_or(DiskKind::Blank)
        }
    };
    Ok(Some(match chosen {
        DiskKind::Image => NewDisk::Image(line("Image", Some("quay.io/containerdisks/fedora"))?),
        DiskKind::Source => NewDisk::Source(line("DataSource, as NAME or NAMESPACE/NAME", None)?),
        DiskKind::Volume => NewDisk::Volume(line("Volume", None)?),
        DiskKind::Blank => match parse_bytes(&line("Size", Some("20Gi"))?) {
            Ok(bytes) if bytes > 0 => NewDisk::Blank(bytes),
            _ => {
                cx.remarks.warn("a size such as 20Gi");
                return Ok(None);
            }
        },
    }))
}

fn words(disk: &NewDisk) -> String {
    match disk {
        NewDisk::Image(image) => format!("the container image {image}"),
        NewDisk::Source(name) | NewDisk::Template(name) => format!("a copy of {name}"),
        NewDisk::Volume(name) => format!("the volume {name}"),
        NewDisk::Blank(bytes) | NewDisk::Upload(bytes) => {
            format!("a new disk of {}", format_bytes(*bytes))
        }
    }
}

fn line(question: &str, usual: Option<&str>) -> Result<String> {
    let mut input = Input::<String>::new().with_prompt(question);
    if let Some(usual) = usual {
        input = input.default(usual.to_owned());
    }
    Ok(input.interact_text().map_err(unanswered)?.trim().to_owned())
}

fn confirmed(question: &str) -> Result<bool> {
    Confirm::new().with_prompt(question).default(true).interact().map_err(unanswered)
}
