//! What was asked for, checked.

use std::net::IpAddr;

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{Customize, Place};
use hyper_common::tool::flags::CustomizeFlags;
use hyper_common::tool::machines::Reference;
use serde::Serialize;

use crate::args::CloneArgs;
use crate::bulk::{self, Line};

/// A checked request.
#[derive(Debug, Serialize)]
pub struct Request {
    /// The clones, in the order in which they are begun.
    pub clones: Vec<Wanted>,
    /// Whether the snapshots that linked clones need are taken.
    pub make_snapshot: bool,
    /// Whether it is waited for the guests of those that are switched on.
    pub wait: bool,
    /// How many are made at the same time.
    pub max_concurrent: usize,
    /// What one that fails means for the others.
    pub on_error: OnError,
    /// Whether it is only shown what would be made.
    pub dry_run: bool,
}

/// What one that fails means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// One that cannot be begun keeps all from being begun; one that fails later, none.
    Check,
    /// Nothing.
    KeepGoing,
    /// No more are begun.
    Stop,
    /// No more are begun, and what was made is removed.
    RollBack,
}

/// A clone that is wanted.
#[derive(Debug, Clone, Serialize)]
pub struct Wanted {
    /// What it is made of.
    pub source: Reference,
    /// Its name; may hold `{source}`.
    pub name: String,
    /// The snapshot that it is made of.
    pub snapshot: Option<String>,
    /// Whether it shares disks with its source.
    pub linked: bool,
    /// Whether it goes on where its source is.
    pub instant: bool,
    /// What makes its guest one of its own.
    pub customize: Option<Customize>,
    /// Where it is put.
    pub place: Place,
    /// Whether it is switched on.
    pub power_on: bool,
}

impl Request {
    /// Checks the arguments against the configuration; reads the file of clones.
    ///
    /// # Errors
    /// `Usage` for a pattern that gives several clones one name, or names twice; `NotFound` for a
    /// context that is not there; those of the file.
    pub fn new(args: CloneArgs, config: &Config) -> Result<Self> {
        let lines = match &args.bulk {
            Some(path) => bulk::load(path)?,
            None => counted(&args)?,
        };
        let wanted = |line| wanted(line, &args, config);
        let clones = lines.into_iter().map(wanted).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            clones,
            make_snapshot: args.make_snapshot,
            wait: args.wait,
            max_concurrent: args.max_concurrent as usize,
            on_error: match () {
                () if args.rollback => OnError::RollBack,
                () if args.stop_on_error => OnError::Stop,
                () if args.keep_going => OnError::KeepGoing,
                () => OnError::Check,
            },
            dry_run: args.dry_run.dry_run,
        })
    }
}

/// The clones of one source.
fn counted(args: &CloneArgs) -> Result<Vec<Line>> {
    let source = args.source.clone().unwrap_or_default();
    let name = args.target.as_ref().or(args.name.as_ref()).cloned().unwrap_or_default();
    let count = args.count.unwrap_or(1);
    let mut lines = Vec::new();
    for number in 1..=count {
        let target_name = match args.name {
            Some(_) => numbered(&name, number)?,
            None => name.clone(),
        };
        lines.push(Line { source_vm: source.clone(), target_name, ..Line::default() });
    }
    if let [first, second, ..] = &*lines
        && first.target_name == second.target_name
    {
        return Err(Error::usage("the pattern gives all clones the same name")
            .with_subject(name)
            .with_hint("{n} in it stands for the number of each, {n:02} with two digits"));
    }
    Ok(lines)
}

/// A pattern with its number. `{source}` stays for later.
fn numbered(pattern: &str, number: u32) -> Result<String> {
    let wrong = |part: &str| {
        Error::usage(format!("there is no {{{part}}} in a pattern"))
            .with_subject(pattern)
            .with_hint("there are {n}, {n:02} and {source}")
    };
    let (mut name, mut rest) = (String::new(), pattern);
    while let Some((before, after)) = rest.split_once('{') {
        let (part, after) = after.split_once('}').ok_or_else(|| wrong(after))?;
        name.push_str(before);
        match part.strip_prefix("n:0").map(str::parse::<usize>) {
            Some(Ok(digits)) if digits <= 20 => name.push_str(&format!("{number:0digits$}")),
            None if part == "n" => name.push_str(&number.to_string()),
            None if part == "source" => name.push_str("{source}"),
            _ => return Err(wrong(part)),
        }
        rest = after;
    }
    Ok(name + rest)
}

/// A clone, with what it does not say as the flags say.
fn wanted(line: Line, args: &CloneArgs, config: &Config) -> Result<Wanted> {
    let or = |own: Option<String>, flag: &Option<String>| own.or_else(|| flag.clone());
    if line.target_name.trim().is_empty() {
        return Err(Error::usage("a clone has no name").with_subject(line.source_vm));
    }
    let customize = customize(&line, args)?;
    let wanted = Wanted {
        source: Reference::locate(&line.source_vm, &args.context, config)?,
        name: line.target_name,
        snapshot: or(line.snapshot, &args.snapshot),
        linked: line.linked_clone.unwrap_or(args.linked),
        instant: line.instant_clone.unwrap_or(args.instant),
        customize,
        place: Place {
            folder: or(line.target_folder, &args.folder),
            pool: or(line.resource_pool, &args.pool),
            datastore: or(line.datastore, &args.datastore),
            host: or(line.host, &args.host),
        },
        power_on: line.power_on.unwrap_or(args.power_on),
    };
    wanted.check_instant()?;
    Ok(wanted)
}

/// What makes the guest of a clone one of its own: what the file says, else the flags.
fn customize(line: &Line, args: &CloneArgs) -> Result<Option<Customize>> {
    let flags = CustomizeFlags {
        customize: line.customize.clone().or_else(|| args.customize.customize.clone()),
        hostname: line.hostname.clone().or_else(|| args.customize.hostname.clone()),
    };
    let own = line.ip.iter().flat_map(|all| all.split(',')).map(str::trim);
    let own = own.map(|ip| {
        ip.parse::<IpAddr>().map_err(|_| {
            Error::usage(format!("{ip:?} is no address")).with_subject(&line.target_name)
        })
    });
    let own = own.collect::<Result<Vec<_>>>()?;
    let addresses = if own.is_empty() { &args.ip } else { &own };
    let Some(customize) = flags.of(&line.target_name) else {
        return match line.hostname.is_some() || line.ip.is_some() {
            false => Ok(None),
            true => Err(Error::usage("a host name and addresses come with a specification")
                .with_subject(&line.target_name)
                .with_hint("name one as customize in the file, or with --customize")),
        };
    };
    let addresses = addresses.iter().map(ToString::to_string).collect();
    Ok(Some(Customize { addresses, ..customize }))
}

impl Wanted {
    /// That an instant clone is asked for nothing that it cannot have.
    fn check_instant(&self) -> Result<()> {
        let others = [
            ("linked", self.linked),
            ("of a snapshot", self.snapshot.is_some()),
            ("customized", self.customize.is_some()),
            ("on a host of its own", self.place.host.is_some()),
        ];
        match others.into_iter().find(|(_, is)| self.instant && *is) {
            None => Ok(()),
            Some((other, _)) => Err(Error::usage(format!("a clone is either instant or {other}"))
                .with_subject(&self.name)
                .with_hint("an instant clone runs where its source runs, as its source does")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_filled_in() {
        assert_eq!(numbered("web-{n:02}", 7).unwrap(), "web-07");
        assert_eq!(numbered("{source}-{n}x{n:03}", 12).unwrap(), "{source}-12x012");
        assert_eq!(numbered("plain", 1).unwrap(), "plain");
        for wrong in ["{m}", "{n", "{n:x}", "{n:2}", "{}", "{n:0999}"] {
            assert_eq!(numbered(wrong, 1).unwrap_err().kind().exit_status(), 2, "{wrong}");
        }
    }
}
