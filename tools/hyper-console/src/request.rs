//! What was asked for, checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::tool::flags::ReferenceFlags;
use serde::Serialize;

use crate::args::{ConsoleArgs, SerialArgs, Verb};
use crate::keys::Chord;
use crate::script::Script;

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Which consoles are open.
    Sessions,
    /// Something of a machine.
    Machine(MachineRequest),
}

/// What is wanted of which machine.
#[derive(Debug, Serialize)]
pub struct MachineRequest {
    /// The context.
    pub context: String,
    /// The machine, without its context.
    pub vm: String,
    /// What is wanted of it.
    pub what: What,
}

/// A session on the serial line.
#[derive(Debug, Serialize)]
pub struct Serial {
    /// What to say there; a person does where this is empty.
    pub script: Script,
    /// The file of the recording, and whether it may be replaced.
    pub record: Option<(PathBuf, bool)>,
    /// Whether changes of the terminal's size are typed there.
    pub resize: bool,
}

/// A screen for viewers.
#[derive(Debug, Clone, Serialize)]
pub struct Vnc {
    /// Where they come.
    pub listen: SocketAddr,
    /// Whether the one that is there stays.
    pub preserve: bool,
    /// Whether all see one connection.
    pub share: bool,
    /// The folder of noVNC, where they are browsers.
    pub browser: Option<PathBuf>,
}

/// What is wanted of a machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Its serial line.
    Serial(Serial),
    /// What it wrote there.
    Log {
        /// Whether also what it writes from now on.
        follow: bool,
    },
    /// Its screen, for viewers.
    Vnc(Vnc),
    /// A picture of it.
    Screenshot {
        /// The file.
        to: PathBuf,
        /// Whether it may be replaced.
        overwrite: bool,
    },
    /// Keys.
    Keys(Vec<Chord>),
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there.
    pub fn new(args: ConsoleArgs, config: &Config) -> Result<Self> {
        let machine = match args.verb {
            None => MachineRequest::of_serial(args.serial, config),
            Some(Verb::Sessions(_)) => return Ok(Self::Sessions),
            Some(Verb::Serial(args)) => MachineRequest::of_serial(args, config),
            Some(Verb::Vnc(args)) => {
                let what = What::Vnc(Vnc {
                    listen: args.listen,
                    preserve: args.preserve_session,
                    share: args.share,
                    browser: args.browser.then_some(args.novnc),
                });
                MachineRequest::of(&args.vm, &args.context, what, config)
            }
            Some(Verb::Screenshot(args)) => {
                let what = What::Screenshot { to: args.to, overwrite: args.overwrite };
                MachineRequest::of(&args.vm, &args.context, what, config)
            }
            Some(Verb::SendKey(args)) => {
                MachineRequest::of(&args.vm, &args.context, What::Keys(args.keys), config)
            }
        };
        machine.map(Self::Machine)
    }
}

impl MachineRequest {
    fn of_serial(args: SerialArgs, config: &Config) -> Result<Self> {
        let vm = args.vm.ok_or_else(|| Error::usage("which machine is meant?"))?;
        let what = match args.log {
            true => What::Log { follow: args.follow },
            false => What::Serial(Serial {
                script: args.script,
                record: args.record.map(|path| (path, args.overwrite)),
                resize: args.resize,
            }),
        };
        Self::of(&vm, &args.context, what, config)
    }

    fn of(vm: &str, flags: &ReferenceFlags, what: What, config: &Config) -> Result<Self> {
        let (context, vm) = flags.locate(config, vm)?;
        Ok(Self { context: context.name, vm, what })
    }
}
