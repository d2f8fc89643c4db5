//! One action on one machine: which facet does it, and what came of it.

use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{
    Destination, How, Lifecycle, Migrate, Power, Provider, Rearrange, Resize, Resized, Size,
    Switched,
};
use hyper_common::vm::VmId;

use crate::request::Action;

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// Whether it was done, or so already.
    pub switched: Switched,
    /// Whether the platform only said that it would.
    pub planned: bool,
    /// What else there is to know.
    pub note: Option<String>,
}

impl From<Switched> for Done {
    fn from(switched: Switched) -> Self {
        Self { switched, planned: false, note: None }
    }
}

impl Done {
    fn noted(switched: Switched, note: impl Into<String>) -> Self {
        Self { switched, planned: false, note: Some(note.into()) }
    }

    /// Something that was made, or with `planned` would be.
    pub fn made(planned: bool, note: Option<String>) -> Self {
        Self { switched: Switched::Done, planned, note }
    }
}

/// That a provider can do it at all.
///
/// # Errors
/// `Unsupported` where it cannot.
pub fn check(provider: &dyn Provider, action: &Action) -> Result<()> {
    match action {
        Action::Delete { .. } => lifecycle(provider).map(drop),
        Action::Resize(_) => resize(provider).map(drop),
        Action::Migrate(_) => migrate(provider).map(drop),
        Action::Network(_) | Action::Move(_) => rearrange(provider).map(drop),
        _ => power(provider).map(drop),
    }
}

fn lacks(provider: &dyn Provider, done: &str) -> Error {
    Error::unsupported(format!("{} machines cannot be {done}", provider.name()))
        .with_hint("they are files; a hypervisor runs them")
}

fn power(provider: &dyn Provider) -> Result<&dyn Power> {
    provider.power().ok_or_else(|| lacks(provider, "switched on or off"))
}

fn lifecycle(provider: &dyn Provider) -> Result<&dyn Lifecycle> {
    provider.lifecycle().ok_or_else(|| lacks(provider, "deleted"))
}

fn resize(provider: &dyn Provider) -> Result<&dyn Resize> {
    provider.resize().ok_or_else(|| lacks(provider, "resized"))
}

fn migrate(provider: &dyn Provider) -> Result<&dyn Migrate> {
    provider.migrate().ok_or_else(|| lacks(provider, "moved"))
}

fn rearrange(provider: &dyn Provider) -> Result<&dyn Rearrange> {
    provider.rearrange().ok_or_else(|| {
        let words = format!("{} machines are in no pools and folders", provider.name());
        Error::unsupported(words).with_hint("networks, too, are changed on vSphere only")
    })
}

/// Does it.
///
/// # Errors
/// Those of the facet.
pub async fn perform(
    provider: &dyn Provider,
    id: &VmId,
    action: &Action,
    cancel: &Cancel,
) -> Result<Done> {
    match action {
        Action::Start { wait } => Ok(power(provider)?.start(id, *wait, cancel).await?.into()),
        Action::Stop(how) => Ok(power(provider)?.stop(id, *how, cancel).await?.into()),
        Action::Restart { force } => {
            power(provider)?.restart(id, *force, cancel).await?;
            Ok(Switched::Done.into())
        }
        Action::Pause => Ok(power(provider)?.pause(id, cancel).await?.into()),
        Action::Unpause => Ok(power(provider)?.unpause(id, cancel).await?.into()),
        Action::Delete { wait, .. } => {
            lifecycle(provider)?.delete(id, *wait, cancel).await?;
            // A cluster takes its time.
            let there = !*wait && provider.get(id).await.is_ok();
            let note = "it is on its way; --wait waits until it is gone";
            Ok(if there { Done::noted(Switched::Done, note) } else { Switched::Done.into() })
        }
        Action::Resize(size) => resized(resize(provider)?, id, *size, cancel).await,
        Action::Migrate(to) => moved(migrate(provider)?, id, to, cancel).await,
        Action::Network(links) => Ok(rearrange(provider)?.connect(id, links, cancel).await?.into()),
        Action::Move(place) => Ok(rearrange(provider)?.put(id, place, cancel).await?.into()),
    }
}

async fn resized(resize: &dyn Resize, id: &VmId, size: Size, cancel: &Cancel) -> Result<Done> {
    Ok(match resize.resize(id, size, cancel).await? {
        Resized::Already => Switched::Already.into(),
        Resized::Stored => Done::noted(Switched::Done, "it starts with it"),
        Resized::Live => Done::noted(Switched::Done, "the guest has it"),
        Resized::AfterRestart(why) if why.is_empty() => {
            Done::noted(Switched::Done, "a restart is needed")
        }
        Resized::AfterRestart(why) => {
            Done::noted(Switched::Done, format!("a restart is needed: {why}"))
        }
    })
}

async fn moved(
    migrate: &dyn Migrate,
    id: &VmId,
    to: &Destination,
    cancel: &Cancel,
) -> Result<Done> {
    let moved = migrate.migrate(id, to, cancel).await?;
    let node = match &moved.datastore {
        Some(datastore) => format!("{}, its disks on {datastore}", moved.node),
        None => moved.node,
    };
    Ok(match moved.how {
        How::Already => Done::noted(Switched::Already, format!("on {node}")),
        How::Moved => Done::noted(Switched::Done, format!("on {node}")),
        How::Restarted => {
            Done::noted(Switched::Done, format!("on {node}, after a restart that binds it there"))
        }
    })
}

impl Action {
    /// The verb in records.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Stop(_) => "stop",
            Self::Restart { .. } => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Delete { .. } => "delete",
            Self::Resize(_) => "resize",
            Self::Migrate(_) => "migrate",
            Self::Network(_) => "network",
            Self::Move(_) => "move",
        }
    }
}
