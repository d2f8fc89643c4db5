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
pub struct Request {
    /// The context.
    pub context: String,
    /// The machine, without its context.
    pub vm: String,
    /// What is wanted of it.
    pub what: What,
}

/// What is wanted of a machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Its serial line.
    Serial {
        /// What to say there; a person does where this is empty.
        script: Script,
        /// The file of the recording, and whether it may be replaced.
        record: Option<(PathBuf, bool)>,
    },
    /// What it wrote there.
    Log {
        /// Whether also what it writes from now on.
        follow: bool,
    },
    /// Its screen, for viewers.
    Vnc {
        /// Where they come.
        listen: SocketAddr,
        /// Whether the one that is there stays.
        preserve: bool,
    },
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
        match args.verb {
            None => Self::of_serial(args.serial, config),
            Some(Verb::Vnc(args)) => {
                let what = What::Vnc { listen: args.listen, preserve: args.preserve_session };
                Self::of(&args.vm, &args.context, what, config)
            }
            Some(Verb::Screenshot(args)) => {
                let what = What::Screenshot { to: args.to, overwrite: args.overwrite };
                Self::of(&args.vm, &args.context, what, config)
            }
            Some(Verb::SendKey(args)) => {
                Self::of(&args.vm, &args.context, What::Keys(args.keys), config)
            }
        }
    }

    fn of_serial(args: SerialArgs, config: &Config) -> Result<Self> {
        let vm = args.vm.ok_or_else(|| Error::usage("which machine is meant?"))?;
        let what = match args.log {
            true => What::Log { follow: args.follow },
            false => What::Serial {
                script: args.script,
                record: args.record.map(|path| (path, args.overwrite)),
            },
        };
        Self::of(&vm, &args.context, what, config)
    }

    fn of(vm: &str, flags: &ReferenceFlags, what: What, config: &Config) -> Result<Self> {
        let (context, vm) = flags.locate(config, vm)?;
        Ok(Self { context: context.name, vm, what })
    }
}
