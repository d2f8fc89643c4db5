//! Making machines.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use hyper_common::error::{Error, Result, one_line};
use hyper_common::history::Counts;
use hyper_common::provider::{
    Create, Deed, Described, Making, NewDisk, NewVm, Provider, Upload, registry,
};
use hyper_common::tool::Context;
use hyper_common::vm::VmId;

use crate::action::{self, Done};
use crate::record::ActionRow;
use crate::request::{Action, NewMachines, Origin, Request};
use crate::upload::Image;
use crate::wizard;

/// Most bytes of a manifest, of user data or of keys; etcd holds no larger object anyway.
const MOST: u64 = 16 << 20;

/// How a key may begin that others can see (OpenSSH's `authorized_keys`).
const KEYS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

/// Makes what is described; a record for each thing that is done.
///
/// # Errors
/// The provider's; `Partial` where some of several things failed.
pub async fn run(new: NewMachines, cx: &mut Context) -> Result<()> {
    let context = cx.config.context(&new.context)?;
    let provider = registry::open(&context)?;
    let Some(create) = provider.create() else {
        let words = format!("hyper cannot make machines on {}", provider.name());
        return Err(Error::unsupported(words).with_subject(new.context));
    };
    let mut image = None;
    let wanted = match &new.from {
        Origin::Arguments { vm, user_data, ssh_keys, upload } => {
            let mut vm = NewVm::clone(vm);
            if let Some(upload) = upload {
                let opened = cx.cancel.unless_cancelled(Image::open(upload, cx)).await?;
                vm.disk = Some(NewDisk::Upload(opened.capacity));
                image = Some((opened, &upload.proxy));
            }
            vm.user_data = user_data.as_deref().map(read).transpose()?;
            for file in ssh_keys {
                vm.ssh_keys.extend(keys(file)?);
            }
            vec![cx.cancel.unless_cancelled(create.describe(&vm)).await?]
        }
        Origin::Manifest(file) => {
            let read = create.read(&read(file)?);
            read.map_err(|error| error.with_subject(file.display().to_string()))?
        }
        Origin::Answers => vec![wizard::ask(create, &context, cx).await?],
    };
    for remark in wanted.iter().flat_map(|it| &it.remarks) {
        cx.remarks.warn(remark);
    }
    if new.dry_run {
        let (mut counts, maker) = (Counts::default(), Maker { provider: &*provider, create });
        return all(&wanted, &new, &maker, None, &mut counts, cx).await;
    }
    let shown: Vec<String> =
        wanted.iter().map(|it| format!("{}:{}", new.context, it.reference)).collect();
    let targets: Vec<&str> = shown.iter().map(String::as_str).collect();
    let run = cx.begin_run("hyper-vm", &Request::Create(new.clone()), &[], &targets)?;
    let mut counts = Counts { total: wanted.len() as u64, ..Counts::default() };
    let progress = image.is_some().then(|| cx.start_progress());
    if let (Some((image, _)), Some(progress)) = (&mut image, &progress) {
        image.tell(progress.reporter().as_ref());
    }
    let ledger = |vm: &VmId| run.ledger(&new.context, vm);
    let upload =
        image.as_ref().map(|(image, proxy)| Upload { content: image, proxy, ledger: &ledger });
    let maker = Maker { provider: &*provider, create };
    let outcome = all(&wanted, &new, &maker, upload, &mut counts, cx).await;
    drop(progress);
    counts.failed = counts.total - counts.succeeded;
    run.end_with(outcome.as_ref().err(), counts, 0)?;
    outcome
}

/// Who makes what is described.
struct Maker<'m> {
    provider: &'m dyn Provider,
    create: &'m dyn Create,
}

async fn all(
    wanted: &[Described],
    how: &NewMachines,
    maker: &Maker<'_>,
    upload: Option<Upload<'_>>,
    counts: &mut Counts,
    cx: &mut Context,
) -> Result<()> {
    let (mut failures, mut coming) = (Vec::new(), HashSet::new());
    let progress = cx.start_progress();
    let reporter = progress.reporter();
    for one in wanted {
        let task = reporter.task(&one.vm, verb(&one.deed));
        let (id, result) = match &one.deed {
            Deed::Make { objects, .. } => {
                let wait = how.wait || one.awaited;
                let NewMachines { dry_run, start, .. } = *how;
                let making = Making { objects, dry_run, start, wait, upload };
                match maker.create.make(&making, &cx.cancel).await {
                    Ok(made) => (made.vm, Ok(Done::made(how.dry_run, made.note))),
                    Err(error) => (None, Err(error)),
                }
            }
            // Its machine would be there by then.
            _ if how.dry_run && (one.follows || coming.contains(&one.reference)) => {
                (None, Ok(Done::made(true, None)))
            }
            deed => act(maker.provider, one, &action(deed), how.dry_run, cx).await,
        };
        if matches!(&one.deed, Deed::Make { verb: "create", .. }) {
            coming.insert(&one.reference);
        }
        let verb = verb(&one.deed);
        let place = (how.context.as_str(), one.vm.as_str());
        task.finish(result.is_ok());
        let row = ActionRow::new(place, id, verb, result.as_ref());
        cx.print_over(&*reporter, &row)?;
        match result {
            Ok(_) => counts.succeeded += 1,
            Err(error) => failures.push(error.with_subject(format!("{}:{}", how.context, one.vm))),
        }
    }
    cx.cancel.check()?;
    for error in failures.iter().filter(|_| wanted.len() > 1) {
        cx.remarks.warn(&one_line(error));
    }
    let total = wanted.len();
    Error::of_several(failures, total, |failed| format!("{failed} of {total} failed"))
}

/// Does something to a machine that is there.
async fn act(
    provider: &dyn Provider,
    one: &Described,
    action: &Action,
    dry_run: bool,
    cx: &Context,
) -> (Option<VmId>, Result<Done>) {
    match cx.cancel.unless_cancelled(provider.resolve(&one.reference)).await {
        Ok(id) if dry_run => (Some(id), Ok(Done::made(true, None))),
        Ok(id) => {
            let done = action::perform(provider, &id, action, &cx.cancel).await;
            (Some(id), done)
        }
        Err(error) => (None, Err(error)),
    }
}

/// The action that does something to a machine; nothing is made by any.
fn action(deed: &Deed) -> Action {
    match deed {
        Deed::Start | Deed::Make { .. } => Action::Start { wait: false },
        Deed::Stop(how) => Action::Stop(*how),
        Deed::Restart { hard } => Action::Restart { force: *hard },
        Deed::Resize(size) => Action::Resize(*size),
        Deed::Migrate(to) => Action::Migrate(to.clone()),
    }
}

fn verb(deed: &Deed) -> &'static str {
    match deed {
        Deed::Make { verb, .. } => verb,
        deed => action(deed).word(),
    }
}

/// The text of a file, or of standard input.
fn read(file: &Path) -> Result<String> {
    let failed = |error| Error::io(format!("read {}", file.display()), error);
    let mut text = String::new();
    let size = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(MOST).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|open| open.take(MOST).read_to_string(&mut text)),
    };
    match size.map_err(failed)? {
        size if size as u64 == MOST => Err(Error::usage("this is too large for a description")
            .with_subject(file.display().to_string())),
        _ => Ok(text),
    }
}

/// The keys of a file that may log in.
fn keys(file: &Path) -> Result<Vec<String>> {
    let text = read(file)?;
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    let wrong = |why: &str| Error::usage(why).with_subject(file.display().to_string());
    if text.contains("PRIVATE KEY") {
        return Err(wrong("this is a private key").with_hint("the public one ends in .pub"));
    }
    match keys.iter().all(|key| KEYS.iter().any(|kind| key.starts_with(kind))) && !keys.is_empty() {
        true => Ok(keys),
        false => Err(wrong("this is no file of public keys, one a line")),
    }
}
