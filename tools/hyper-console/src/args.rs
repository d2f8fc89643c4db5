//! What `hyper console` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper_common::tool::flags::{OutputFlags, ReferenceFlags, TalkFlags, TimeoutFlags};

use crate::keys::Chord;
use crate::script::Script;

/// The arguments of `hyper console`.
///
/// Without a verb the terminal becomes that of the machine's serial line until Ctrl-] is pressed or
/// the machine ends. Standard input that is no terminal is typed, and after its end hyper leaves once
/// the machine has been silent for a second, after ten at the latest. A connection that breaks while the machine runs is made again. Who was
/// connected before is not any more: a serial line has one end.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ConsoleArgs {
    /// What to do instead.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    pub serial: SerialArgs,
}

/// What else to do with a console.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Sit down at the serial line, as without a verb
    Serial(SerialArgs),
    /// Show which consoles are open
    ///
    /// These are the ones that hyper holds for this user on this machine.
    Sessions(SessionsArgs),
    /// Let VNC viewers see the screen, through an address of this machine
    ///
    /// Each viewer that connects gets a connection to the screen of its own. How many there may be
    /// at once is up to the platform: on KubeVirt the last one wins. With --share all viewers see
    /// one connection, which is made again when it breaks while they stay.
    Vnc(VncArgs),
    /// Take a picture of the screen
    Screenshot(ScreenshotArgs),
    /// Press keys
    SendKey(SendKeyArgs),
}

/// The arguments of the serial line.
#[derive(Debug, Args)]
pub struct SerialArgs {
    /// The machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM", required = true)]
    pub vm: Option<String>,

    #[command(flatten)]
    pub script: Script,

    /// Record what the machine writes in this file (asciicast v2)
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    pub record: Option<PathBuf>,

    /// Replace the file of the recording
    #[arg(long, requires = "record")]
    pub overwrite: bool,

    /// Print what the machine wrote since it started, and leave the line to whoever has it
    #[arg(long, conflicts_with_all = ["expect", "send"])]
    pub log: bool,

    /// Go on with what it writes from now on
    #[arg(long, requires = "log")]
    pub follow: bool,

    /// Tell the machine when the size of the terminal changes, by typing stty: for a shell at its
    /// prompt
    #[arg(long, conflicts_with_all = ["log", "expect", "send"])]
    pub resize: bool,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `sessions`.
#[derive(Debug, Args)]
pub struct SessionsArgs {
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `vnc`.
#[derive(Debug, Args)]
pub struct VncArgs {
    /// The machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vm: String,

    /// Listen on this address; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Refuse a viewer while another one is connected, instead of ending that one
    #[arg(long)]
    pub preserve_session: bool,

    /// Let any number of viewers see the screen at once
    #[arg(long)]
    pub share: bool,

    /// Serve a page for browsers, with the screen and the serial line, instead of VNC
    ///
    /// Its address holds a secret word: whoever has it can use the machine's screen, keyboard and
    /// serial line. The screen is shown by noVNC, which has to be installed.
    #[arg(long)]
    pub browser: bool,

    /// Find noVNC in this folder
    #[arg(long, value_name = "DIR", default_value = "/usr/share/novnc", requires = "browser")]
    pub novnc: PathBuf,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `screenshot`.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// The machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vm: String,

    /// Write the picture to this PNG file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// Replace the file
    #[arg(long)]
    pub overwrite: bool,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `send-key`.
#[derive(Debug, Args)]
pub struct SendKeyArgs {
    /// The machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vm: String,

    /// Keys, one after another; those of one word together: ctrl-alt-delete, f1, enter, a
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<Chord>,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

impl ConsoleArgs {
    /// The machine as typed.
    pub fn reference(&self) -> Option<&str> {
        match &self.verb {
            None => self.serial.vm.as_deref(),
            Some(Verb::Serial(args)) => args.vm.as_deref(),
            Some(Verb::Sessions(_)) => None,
            Some(Verb::Vnc(args)) => Some(&args.vm),
            Some(Verb::Screenshot(args)) => Some(&args.vm),
            Some(Verb::SendKey(args)) => Some(&args.vm),
        }
    }
}
