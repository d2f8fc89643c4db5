//! Doing what `hyper console` is asked to.

use std::sync::Arc;

use futures::StreamExt;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{Console, LogFrom, Provider, registry};
use hyper_common::tool::Context;
use hyper_common::vm::VmId;

use crate::request::{MachineRequest, Request, What};
use crate::{screen, serial, sessions, viewer};

/// A machine, and how it is reached.
#[derive(Clone)]
pub struct Machine {
    /// The platform.
    pub provider: Arc<dyn Provider>,
    /// The machine there.
    pub id: VmId,
    /// Its context.
    pub context: String,
    /// How it was named.
    pub name: String,
}

impl Machine {
    /// Its consoles.
    ///
    /// # Errors
    /// `Unsupported` on a platform without any that hyper reaches.
    pub fn console(&self) -> Result<&dyn Console> {
        console(&*self.provider)
    }
}

fn console(provider: &dyn Provider) -> Result<&dyn Console> {
    provider.console().ok_or_else(|| {
        Error::unsupported(format!("hyper reaches no consoles on {}", provider.name()))
    })
}

/// Carries out a request.
///
/// # Errors
/// The provider's; those of the terminal and of files.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    match request {
        Request::Sessions => cx.printer.all(&sessions::list()?),
        Request::Machine(request) => of_machine(request, cx).await,
    }
}

async fn of_machine(request: MachineRequest, cx: &mut Context) -> Result<()> {
    let provider = registry::open(&cx.config.context(&request.context)?)?;
    console(&*provider).map_err(|error| error.with_subject(request.context.clone()))?;
    let id = cx.cancel.unless_cancelled(provider.resolve(&request.vm)).await?;
    let name = format!("{}:{}", request.context, request.vm);
    let machine = Machine {
        provider: provider.into(),
        id,
        context: request.context.clone(),
        name: request.vm.clone(),
    };
    let done = match &request.what {
        What::Serial(own) => serial::run(&machine, own, &request, cx).await,
        What::Log { follow } => log(&machine, *follow, cx).await,
        What::Vnc(own) => viewer::serve(machine, own, cx).await,
        What::Screenshot { to, overwrite } => screen::picture(&machine, to, *overwrite, cx).await,
        What::Keys(keys) => screen::press(&machine, keys, cx).await,
    };
    done.map_err(|error| error.with_subject(name))
}

async fn log(machine: &Machine, follow: bool, cx: &Context) -> Result<()> {
    let from = LogFrom { since: None, follow };
    let log = machine.console()?.log(&machine.id, from);
    let mut log = cx.cancel.unless_cancelled(log).await?;
    let open = follow.then(|| Arc::new(sessions::Session::open("log", machine, None)));
    let _viewer = open.as_ref().map(sessions::Session::viewer);
    while let Some(part) = cx.cancel.unless_cancelled(async { Ok(log.next().await) }).await? {
        if !serial::show(&part?)? {
            break;
        }
    }
    Ok(())
}
