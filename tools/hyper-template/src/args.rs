//! What `hyper template` takes.

use clap::builder::{NonEmptyStringValueParser as Text, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hyper_common::provider::TemplateKind;
use hyper_common::tool::flags::{
    ContextFlags, CustomizeFlags, DryRunFlags, OutputFlags, ProgressFlags, ReferenceFlags,
    TalkFlags, TimeoutFlags, YesFlags,
};
use hyper_common::vm::parse_bytes;

/// The arguments of `hyper template`.
///
/// A template is a golden DataSource of a cluster with KubeVirt, with the instancetype and the
/// preference that its labels name, or a machine that vSphere keeps as a template.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a template
    ///
    /// The machine that it is made of stays what it is, unless --convert is given. In a cluster its
    /// disk is copied, while it is off, and the template names the machine's instancetype and
    /// preference. It is waited until machines can be made from it; what fails on the way is
    /// removed again.
    Create(CreateArgs),
    /// Make machines from a template
    ///
    /// It is waited until their disks are filled, or in a cluster until they would be by a machine
    /// that runs. A machine that is there and was made from the same template is reported as
    /// `exists`, so that a run that was interrupted can be run again.
    Deploy(DeployArgs),
    /// Show templates
    ///
    /// Those that machines are made from, unless --kind is given: DataSources of clusters, templates
    /// and items of content libraries on vSphere. SIZE is what a machine's disks will hold.
    List(ListArgs),
    /// Show all about some templates
    Get(GetArgs),
    /// Delete templates and the disks that are theirs alone
    ///
    /// Machines that were made from one stay. A machine that is no template is refused.
    Delete(DeleteArgs),
}

/// The arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The template: NAME, or NAMESPACE/NAME in a cluster
    #[arg(value_name = "NAME", value_parser = Text::new())]
    pub name: String,

    /// Make it of this machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(long, value_name = "VM", required_unless_present = "claim")]
    pub from: Option<String>,

    /// Make it of the machine as it was at this snapshot: its name, or @ID
    #[arg(long, value_name = "SNAPSHOT", requires = "from")]
    pub snapshot: Option<String>,

    /// Make it of this persistent volume claim, which stays what it is (KubeVirt)
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub claim: Option<String>,

    /// Turn the machine itself into the template, which takes the name (vSphere)
    #[arg(long, requires = "from", conflicts_with_all = ["snapshot", "folder", "pool", "datastore", "host"])]
    pub convert: bool,

    /// Give machines made from it the size of this instancetype (KubeVirt)
    #[arg(long, value_name = "NAME")]
    pub instancetype: Option<String>,

    /// Give machines made from it the devices of this preference (KubeVirt)
    #[arg(long, value_name = "NAME")]
    pub preference: Option<String>,

    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub progress: ProgressFlags,
}

/// Where things are put.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Put it into this folder: a name or a path (vSphere)
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,

    /// Put it into this resource pool or cluster: a name or a path (vSphere)
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,

    /// Put its disks on this datastore: a name or a path (vSphere)
    #[arg(long, value_name = "DATASTORE")]
    pub datastore: Option<String>,

    /// Put it on this host (vSphere)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

/// The arguments of `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The template: NAME, CONTEXT:NAME, NAMESPACE/NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "TEMPLATE")]
    pub template: String,

    /// The names of the new machines
    #[arg(value_name = "NAME", required = true, value_parser = Text::new())]
    pub names: Vec<String>,

    /// Give them the size of this instancetype instead of the template's (KubeVirt)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cpus", "memory"])]
    pub instancetype: Option<String>,

    /// Give them the devices of this preference instead of the template's (KubeVirt)
    #[arg(long, value_name = "NAME")]
    pub preference: Option<String>,

    /// Give them so many processors, as the guest counts them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,

    /// Give them so much memory, such as 4Gi
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,

    /// Switch them on, those that are there already as well
    #[arg(long)]
    pub power_on: bool,

    /// Wait until the guest's agent (VMware Tools) runs
    #[arg(long, requires = "power_on")]
    pub wait: bool,

    #[command(flatten)]
    pub customize: CustomizeFlags,
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub progress: ProgressFlags,
}

/// Which kinds are meant.
#[derive(Debug, Args)]
pub struct KindArgs {
    /// Mean only this kind: data-source, machine, library-item, instancetype or preference
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_parser())]
    pub kind: Vec<TemplateKind>,
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub kind: KindArgs,
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Templates: NAME, CONTEXT:NAME, NAMESPACE/NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "TEMPLATE", required = true)]
    pub templates: Vec<String>,

    #[command(flatten)]
    pub kind: KindArgs,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Templates: NAME, CONTEXT:NAME, NAMESPACE/NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "TEMPLATE", required = true)]
    pub templates: Vec<String>,

    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub yes: YesFlags,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

fn kind_parser() -> impl TypedValueParser<Value = TemplateKind> {
    let names = TemplateKind::ALL.map(TemplateKind::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let kind = TemplateKind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or("there is no such kind")
    })
}

/// An amount of memory that a machine can have.
fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("a machine needs memory".to_owned()),
        bytes => Ok(bytes),
    }
}

impl TemplateArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Verb::Create(args) => args.from.iter().cloned().collect(),
            Verb::Deploy(args) => vec![args.template.clone()],
            Verb::List(_) => Vec::new(),
            Verb::Get(args) => args.templates.clone(),
            Verb::Delete(args) => args.templates.clone(),
        }
    }
}
