//! What was asked for, checked.

use hyper_common::config::Config;
use hyper_common::error::{Error, Result};
use hyper_common::provider::{Customize, Place, Size, TemplateKind};
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::flags::ReferenceFlags;
use hyper_common::tool::machines::Reference;
use serde::Serialize;

use crate::args::{CreateArgs, DeployArgs, KindArgs, PlaceArgs, TemplateArgs, Verb};

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Show the templates of some contexts.
    List {
        /// Where to look, in order.
        platforms: Platforms,
        /// What is looked for.
        kinds: Vec<TemplateKind>,
    },
    /// Show all about some templates.
    Get {
        /// Which.
        templates: Vec<Reference>,
        /// What they are.
        kinds: Vec<TemplateKind>,
    },
    /// Make a template.
    Create(Creation),
    /// Make machines from a template.
    Deploy(Deploy),
    /// Remove templates.
    Delete {
        /// Which.
        templates: Vec<Reference>,
        /// Whether they are only shown.
        dry_run: bool,
        /// Whether nobody is to be asked.
        yes: bool,
    },
}

/// A template that is wanted.
#[derive(Debug, Clone, Serialize)]
pub struct Creation {
    /// Its context.
    pub context: String,
    /// Its reference without that.
    pub name: String,
    /// What it is made of.
    pub from: Material,
    /// The size that goes with it.
    pub instancetype: Option<String>,
    /// The devices that go with it.
    pub preference: Option<String>,
    /// Where it is put.
    pub place: Place,
    /// Whether it is only looked at.
    pub dry_run: bool,
}

/// What a template is made of.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// A machine.
    Machine {
        /// Its reference, without the context.
        reference: String,
        /// A snapshot of it.
        snapshot: Option<String>,
        /// Whether it becomes the template.
        convert: bool,
    },
    /// A volume.
    Claim(String),
}

/// Machines that are wanted of a template.
#[derive(Debug, Clone, Serialize)]
pub struct Deploy {
    /// The template.
    pub template: Reference,
    /// The machines, without the context.
    pub machines: Vec<Wanted>,
    /// Another size than the template's.
    pub instancetype: Option<String>,
    /// Other devices than the template's.
    pub preference: Option<String>,
    /// Another size than the template's.
    pub size: Size,
    /// Where they are put.
    pub place: Place,
    /// Whether they are switched on.
    pub power_on: bool,
    /// Whether to wait for their guests.
    pub wait: bool,
    /// Whether they are only looked at.
    pub dry_run: bool,
}

/// A machine that is wanted of a template.
#[derive(Debug, Clone, Serialize)]
pub struct Wanted {
    /// Its reference, without the context.
    pub name: String,
    /// What makes its guest one of its own.
    pub customize: Option<Customize>,
}

impl Request {
    /// Checks the arguments against the configuration.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there; `Usage` for a name that is given twice.
    pub fn new(args: TemplateArgs, config: &Config) -> Result<Self> {
        match args.verb {
            Verb::List(list) => Ok(Self::List {
                platforms: list.context.platforms(config)?,
                kinds: kinds(list.kind),
            }),
            Verb::Get(get) => Ok(Self::Get {
                templates: locate(&get.templates, &get.context, config)?,
                kinds: kinds(get.kind),
            }),
            Verb::Create(args) => creation(args, config).map(Self::Create),
            Verb::Deploy(args) => deploy(args, config).map(Self::Deploy),
            Verb::Delete(args) => Ok(Self::Delete {
                templates: locate(&args.templates, &args.context, config)?,
                dry_run: args.dry_run.dry_run,
                yes: args.yes.yes,
            }),
        }
    }
}

/// The kinds that are named, else those that machines are made from.
fn kinds(args: KindArgs) -> Vec<TemplateKind> {
    match args.kind.is_empty() {
        true => TemplateKind::WHOLE.to_vec(),
        false => args.kind,
    }
}

/// What the texts mean, without repetition.
fn locate(texts: &[String], flags: &ReferenceFlags, config: &Config) -> Result<Vec<Reference>> {
    let mut all: Vec<Reference> = Vec::new();
    for text in texts {
        let reference = Reference::locate(text, flags, config)?;
        if !all.contains(&reference) {
            all.push(reference);
        }
    }
    Ok(all)
}

fn place(args: PlaceArgs) -> Place {
    let PlaceArgs { folder, pool, datastore, host } = args;
    Place { folder, pool, datastore, host }
}

fn creation(args: CreateArgs, config: &Config) -> Result<Creation> {
    let (mut context, name) = args.context.locate(config, &args.name)?;
    let from = match (args.from, args.claim) {
        (Some(vm), _) => {
            let named = config.split_reference(&args.name).0.is_some();
            let from = Reference::locate(&vm, &args.context, config)?;
            if named && from.context != context.name {
                return Err(Error::usage("a template is made where its machine is")
                    .with_subject(args.name)
                    .with_hint(format!("leave {}: away, or name a machine there", context.name)));
            }
            context = config.context(&from.context)?;
            let (snapshot, convert) = (args.snapshot, args.convert);
            Material::Machine { reference: from.rest, snapshot, convert }
        }
        (None, claim) => Material::Claim(claim.unwrap_or_default()),
    };
    Ok(Creation {
        context: context.name,
        name,
        from,
        instancetype: args.instancetype,
        preference: args.preference,
        place: place(args.place),
        dry_run: args.dry_run.dry_run,
    })
}

fn deploy(args: DeployArgs, config: &Config) -> Result<Deploy> {
    let template = Reference::locate(&args.template, &args.context, config)?;
    for (at, name) in args.names.iter().enumerate() {
        if args.names.iter().take(at).any(|earlier| earlier == name) {
            return Err(Error::usage("two machines would have this name").with_subject(name));
        }
    }
    let machine = |name: String| Wanted { customize: args.customize.of(&name), name };
    Ok(Deploy {
        template,
        machines: args.names.into_iter().map(machine).collect(),
        instancetype: args.instancetype,
        preference: args.preference,
        size: Size { cpus: args.cpus, memory_bytes: args.memory },
        place: place(args.place),
        power_on: args.power_on,
        wait: args.wait,
        dry_run: args.dry_run.dry_run,
    })
}
