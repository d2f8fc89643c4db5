//! What `hyper snapshot` takes.

use clap::{Args, Subcommand};
use hyper_common::time::parse_moment;
use hyper_common::tool::flags::{
    ChoiceFlags, DryRunFlags, OutputFlags, ReferenceFlags, TalkFlags, TimeoutFlags, YesFlags,
};

/// The arguments of `hyper snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take snapshots of machines
    ///
    /// It is waited until each can be returned to. One that fails, or that --timeout or Ctrl-C
    /// comes before, is taken back on KubeVirt; a vSphere server goes on with it.
    Create(CreateArgs),
    /// Show the snapshots of machines, each below the one that it was made from
    ///
    /// SIZE is what the snapshot takes up beyond the one that it was made from, where the platform
    /// tells; for the one that the machine goes on from, with all that was written since.
    List(ListArgs),
    /// Make a machine again what it was when a snapshot was taken
    ///
    /// What the machine has become since is lost, unless another snapshot has it. On KubeVirt the
    /// machine must be off.
    #[command(visible_alias = "restore")]
    Revert(RevertArgs),
    /// Remove snapshots of a machine, which stays what it is
    ///
    /// Those that were made from a removed one stay, unless --children is given.
    Delete(DeleteArgs),
    /// Merge what removed snapshots left of the disks of vSphere machines
    ///
    /// A server leaves it where a snapshot was removed while something held the disks. Machines
    /// that need it not are left alone.
    Consolidate(ConsolidateArgs),
    /// Remove old snapshots of machines
    ///
    /// What is being made stays, and so does what an export has made for itself. Only snapshots
    /// that can be returned to count for --keep.
    Prune(PruneArgs),
}

/// The arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Call it so instead of by the time; {vm} stands for the machine's name
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub name: Option<String>,

    /// Say what it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Keep the guest's memory, too (vSphere)
    #[arg(long, conflicts_with = "quiesce")]
    pub memory: bool,

    /// Bring the guest's file systems to rest for it, or fail
    #[arg(long)]
    pub quiesce: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
    // Last: its heading is that of all that follows.
    #[command(flatten)]
    pub choice: ChoiceFlags,
}

/// The arguments of `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    #[command(flatten)]
    pub one: OneArgs,

    /// The snapshot: its name, or @ID
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,

    #[command(flatten)]
    pub yes: YesFlags,
}

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub one: OneArgs,

    /// Snapshots: their names, or @ID
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshots: Vec<String>,

    /// Remove those made from them, too (vSphere)
    #[arg(long)]
    pub children: bool,

    #[command(flatten)]
    pub yes: YesFlags,
}

/// The arguments of `consolidate`.
#[derive(Debug, Args)]
pub struct ConsolidateArgs {
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Keep the newest so many of each machine
    #[arg(long, value_name = "N", required_unless_present = "older_than")]
    pub keep: Option<usize>,

    /// Remove only those made before: a time ago (7d), a date, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub older_than: Option<jiff::Timestamp>,

    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub yes: YesFlags,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What the verbs that change one machine share.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The machine: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vm: String,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// What the verbs that change several machines share.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
    // Last: its heading is that of all that follows.
    #[command(flatten)]
    pub choice: ChoiceFlags,
}

/// A moment before now.
fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    parse_moment(text, &jiff::Zoned::now())
}

impl SnapshotArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Verb::List(args) => args.vms.clone(),
            Verb::Create(CreateArgs { change, .. })
            | Verb::Consolidate(ConsolidateArgs { change })
            | Verb::Prune(PruneArgs { change, .. }) => change.vms.clone(),
            Verb::Revert(RevertArgs { one, .. }) | Verb::Delete(DeleteArgs { one, .. }) => {
                vec![one.vm.clone()]
            }
        }
    }
}
