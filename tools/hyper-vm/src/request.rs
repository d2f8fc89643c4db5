//! What was asked for, checked.

use std::path::PathBuf;

use hyper_common::config::{Config, ContextConfig};
use hyper_common::error::{Error, Result};
use hyper_common::image::ImageFormat;
use hyper_common::provider::{Destination, Link, NewDisk, NewVm, Place, Size, Stop, UploadProxy};
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::{ContextFlags, FilterFlags};
use hyper_common::tool::machines::{Reference, Which};
use hyper_common::vm::VmFilter;
use serde::Serialize;

use crate::args::{ChangeArgs, CreateArgs, GetArgs, ListArgs, Verb, VmArgs};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the machines in some places that pass a filter.
    List {
        /// Where to look, in order.
        places: Vec<Reference>,
        /// Which machines.
        filter: Box<VmFilter>,
        /// What is shown of them.
        shape: Shape,
    },
    /// Show all about some machines.
    Get {
        /// Which.
        which: Which,
        /// Whether to go on and tell what changes.
        watch: bool,
    },
    /// Show the machines in some places as they change.
    Watch(Box<hyper_watch::Request>),
    /// Make machines.
    Create(NewMachines),
    /// Change some machines.
    Change {
        /// Which.
        which: Which,
        /// What is done to each.
        action: Action,
    },
}

/// What a list shows.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// How many there are in each place.
    Count,
    /// The machines, in a file where that is wanted.
    Machines(SaveFlags),
}

impl Shape {
    fn of(args: &ListArgs) -> Self {
        if args.count { Self::Count } else { Self::Machines(args.save) }
    }
}

/// What is to be made.
#[derive(Debug, Clone, Serialize)]
pub struct NewMachines {
    /// Where.
    pub context: String,
    /// Where it is described.
    pub from: Origin,
    /// Whether it is to be switched on.
    pub start: bool,
    /// Whether to wait until it is complete.
    pub wait: bool,
    /// Whether the platform is only to say that it would.
    pub dry_run: bool,
}

/// Where a new machine is described.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// In the arguments.
    Arguments {
        /// As far as that.
        vm: Box<NewVm>,
        /// The file with its user data.
        user_data: Option<PathBuf>,
        /// The files with the keys that may log in.
        ssh_keys: Vec<PathBuf>,
        /// The image that its disk is filled with.
        upload: Option<Box<ImageUpload>>,
    },
    /// In a file.
    Manifest(PathBuf),
    /// In the head of the person at the terminal.
    Answers,
}

/// An image that is sent.
#[derive(Debug, Clone, Serialize)]
pub struct ImageUpload {
    /// Where it is.
    pub file: PathBuf,
    /// Its format, where stated.
    pub format: Option<ImageFormat>,
    /// Who takes it.
    pub proxy: UploadProxy,
}

/// What is to be done to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Switch it on.
    Start {
        /// Whether to wait for the guest's agent.
        wait: bool,
    },
    /// Switch it off.
    Stop(Stop),
    /// Restart it.
    Restart {
        /// Whether without asking the guest.
        force: bool,
    },
    /// Hold it still.
    Pause,
    /// Let it go on.
    Unpause,
    /// Remove it.
    Delete {
        /// Whether to wait until it is gone.
        wait: bool,
        /// Whether nobody is to be asked.
        yes: bool,
    },
    /// Change its size.
    Resize(Size),
    /// Move it.
    Migrate(Destination),
    /// Connect its cards to networks.
    Network(Vec<Link>),
    /// Put it into a pool or a folder.
    Move(Place),
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a reference that could be in
    /// several.
    pub fn new(args: VmArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Verb::List(list) => Self::list(list, config),
            Verb::Create(args) => Ok(Self::Create(new_machines(*args, config)?)),
            Verb::Get(get) => Ok(Self::Get { which: shown(&get, config)?, watch: get.watch }),
            Verb::Start(args) => {
                Self::change(args.change, Action::Start { wait: args.wait }, config)
            }
            Verb::Stop(args) => {
                let grace = args.grace_period;
                let how = if args.force { Stop::Hard } else { Stop::Graceful { grace } };
                Self::change(args.change, Action::Stop(how), config)
            }
            Verb::Restart(args) => {
                Self::change(args.change, Action::Restart { force: args.force }, config)
            }
            Verb::Pause(args) => Self::change(args, Action::Pause, config),
            Verb::Unpause(args) => Self::change(args, Action::Unpause, config),
            Verb::Delete(args) => {
                let action = Action::Delete { wait: args.wait, yes: args.yes.yes };
                Self::change(args.change, action, config)
            }
            Verb::Resize(args) => {
                let size = Size { cpus: args.cpus, memory_bytes: args.memory };
                Self::change(args.change, Action::Resize(size), config)
            }
            Verb::Migrate(args) => {
                let (node, datastore) = (args.to_node, args.to_datastore);
                let to = Destination { node, datastore, allow_cold: args.allow_cold };
                Self::change(args.change, Action::Migrate(to), config)
            }
            Verb::Network(args) => Self::change(args.change, Action::Network(args.set), config),
            Verb::Move(args) => {
                let place = Place { pool: args.pool, folder: args.folder, ..Place::default() };
                Self::change(args.change, Action::Move(place), config)
            }
        }
    }
}

impl Request {
    fn list(list: ListArgs, config: &Config) -> Result<Self> {
        let places = match list.places.as_slice() {
            [] => {
                let contexts = list.context.select(config)?.into_iter();
                let whole = |context: ContextConfig| Reference {
                    context: context.name,
                    rest: String::new(),
                };
                contexts.map(whole).collect()
            }
            places => locate(places, &list.context, config)?,
        };
        let (shape, watch) = (Shape::of(&list), list.watch);
        let filter = filter(list.filter);
        Ok(match watch {
            true => Self::Watch(Box::new(hyper_watch::Request::of_places(places, *filter))),
            false => Self::List { places, filter, shape },
        })
    }

    fn change(args: ChangeArgs, action: Action, config: &Config) -> Result<Self> {
        let which = Which::new(&args.vms, args.choice, &args.context, config)?;
        Ok(Self::Change { which, action })
    }
}

fn new_machines(args: CreateArgs, config: &Config) -> Result<NewMachines> {
    let (start, wait, dry_run) = (args.start, args.wait, args.dry_run.dry_run);
    let (context, from) = match (&args.name, &args.file) {
        (Some(name), _) => {
            let (context, name) = args.context.locate(config, name)?;
            (context, described(args, name)?)
        }
        (None, Some(file)) => (args.context.only(config)?, Origin::Manifest(file.clone())),
        (None, None) => (args.context.only(config)?, Origin::Answers),
    };
    Ok(NewMachines { context: context.name, from, start, wait, dry_run })
}

fn described(args: CreateArgs, name: String) -> Result<Origin> {
    let sources = [
        args.container_disk.map(NewDisk::Image),
        args.datavolume.map(NewDisk::Volume),
        args.data_source.map(NewDisk::Source),
        args.template.map(NewDisk::Template),
        args.blank.map(NewDisk::Blank),
    ];
    let disk = sources.into_iter().flatten().next();
    let proxy = UploadProxy {
        url: args.upload_proxy_url,
        transport: args.transport.parse().map_err(Error::usage)?,
        authorities: args.upload_proxy_ca,
        insecure: args.insecure,
    };
    let upload =
        args.image_upload.map(|file| ImageUpload { file, format: args.from_format, proxy });
    if disk.is_none() && upload.is_none() {
        return Err(Error::usage("where does its disk come from?").with_hint(
            "give --container-disk, --datavolume, --data-source, --template, --blank or \
             --image-upload",
        ));
    }
    let vm = NewVm {
        name,
        cpus: args.cpus,
        memory_bytes: args.memory,
        disk,
        storage_class: args.storage_class,
        instancetype: args.instancetype,
        preference: args.preference,
        networks: args.network,
        gpus: args.gpu,
        host_devices: args.host_device,
        labels: args.label.into_iter().collect(),
        guest_id: args.guest_id,
        place: Place {
            folder: args.folder,
            pool: args.pool,
            datastore: args.datastore,
            host: args.host,
        },
        ..NewVm::default()
    };
    Ok(Origin::Arguments {
        vm: Box::new(vm),
        user_data: args.cloud_init,
        ssh_keys: args.ssh_key,
        upload: upload.map(Box::new),
    })
}

fn filter(flags: FilterFlags) -> Box<VmFilter> {
    Box::new(flags.into())
}

/// The machines that are named, else the one that a person will pick.
fn shown(args: &GetArgs, config: &Config) -> Result<Which> {
    if !args.vms.is_empty() {
        return Ok(Which::Named(locate(&args.vms, &args.context, config)?));
    }
    match args.context.select(config)?.as_slice() {
        [context] => Which::picked(&context.name),
        _ => Err(Error::usage("a machine is picked from one context; name one")),
    }
}

fn locate(texts: &[String], flags: &ContextFlags, config: &Config) -> Result<Vec<Reference>> {
    let one = |text: &String| {
        let (context, rest) = flags.locate(config, text)?;
        Ok(Reference { context: context.name, rest })
    };
    texts.iter().map(one).collect()
}
