//! Flags that mean the same in every tool, as groups to flatten into a tool's arguments.
//!
//! The frame reads some of them by field name: `output`, `progress`, `quiet`, `verbose`,
//! `timeout`, `context`, `all_contexts`, `namespace`, `all_namespaces`, `kubeconfig`. A field of one of these names must come from here.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;

use crate::config::{Config, ContextConfig};
use crate::error::{Error, Result};
use crate::output::OutputFormat;
use crate::progress::ProgressMode;
use crate::provider::Customize;
use crate::time::{parse_duration, parse_moment};
use crate::tool::contexts::Platforms;
use crate::vm::{StatusWord, VmFilter, VmMatch, parse_bytes};

/// `-o`: the format of records. Read by the frame.
#[derive(Debug, Clone, Args)]
pub struct OutputFlags {
    /// Print results in this format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true,
        value_parser = OutputFormat::value_parser(),
    )]
    pub output: OutputFormat,
}

/// `-o` of a tool that has values for Prometheus. Read by the frame.
#[derive(Debug, Clone, Args)]
pub struct MetricsOutputFlags {
    /// Print results in this format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true,
        value_parser = OutputFormat::metrics_parser(),
    )]
    pub output: OutputFormat,
}

/// `-c`, `--all-contexts`: where to look. Read by the frame for defaults of flags.
#[derive(Debug, Clone, Default, Args)]
pub struct ContextFlags {
    /// Use this context instead of the current one; repeat it or part names by commas for several
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    pub context: Vec<String>,

    /// Use all contexts
    #[arg(long, conflicts_with = "context")]
    pub all_contexts: bool,

    /// Look in all namespaces of a cluster
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// Where in clusters.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// `-n`, `--kubeconfig`: where to look in clusters. Obeyed by the frame, through the
/// configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterFlags {
    /// Look in this namespace of a cluster
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Find clusters in this file instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

impl ContextFlags {
    /// The contexts meant: all, those named, or the current one.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn select(&self, config: &Config) -> Result<Vec<ContextConfig>> {
        config.select(&self.context, self.all())
    }

    /// The same, by name.
    ///
    /// # Errors
    /// As [`ContextFlags::select`].
    pub fn platforms(&self, config: &Config) -> Result<Platforms> {
        let contexts = self.select(config)?.into_iter().map(|it| it.name).collect();
        Ok(Platforms { contexts, all: self.all() })
    }

    /// Whether simply all are meant: a typed `--context` wins over `--all-contexts` from the
    /// environment.
    fn all(&self) -> bool {
        self.all_contexts && self.context.is_empty()
    }

    /// The context and the rest of a reference: the one that leads it, else the single one that
    /// the flags mean.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context; `Usage` when a reference without a context
    /// meets several of them.
    pub fn locate(&self, config: &Config, reference: &str) -> Result<(ContextConfig, String)> {
        if let (Some(name), rest) = config.split_reference(reference) {
            return Ok((config.context(name)?, rest.to_owned()));
        }
        let mut selected = self.select(config)?;
        match selected.pop() {
            Some(context) if selected.is_empty() => {
                // Nothing in a cluster is called so: it is all of a context that is meant.
                if context.kube.is_some()
                    && let Some(name) = reference.strip_suffix(':')
                {
                    config.context(name)?;
                }
                Ok((context, reference.to_owned()))
            }
            _ => Err(Error::usage("this could be in several contexts")
                .with_subject(reference)
                .with_hint(format!("name one: CONTEXT:{reference}"))),
        }
    }
}

/// `-c`, for a tool whose references name one machine each. Read by the frame for defaults of
/// flags.
#[derive(Debug, Clone, Default, Args)]
pub struct ReferenceFlags {
    /// Look in this context for machines that are named without one
    #[arg(long, short, value_name = "NAME")]
    pub context: Option<String>,

    /// Where in clusters.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

impl ReferenceFlags {
    /// The context and the rest of a reference: the context that leads it, else the one of the
    /// flag, else the current one.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn locate(&self, config: &Config, reference: &str) -> Result<(ContextConfig, String)> {
        let context = self.context.iter().cloned().collect();
        ContextFlags { context, ..ContextFlags::default() }.locate(config, reference)
    }

    /// The context of the flag, else the current one.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn only(&self, config: &Config) -> Result<ContextConfig> {
        config.named_or_current(self.context.as_deref())
    }
}

/// `-c`, `--all-contexts`: which platforms, for what has no namespaces. Read by the frame for
/// defaults of flags.
#[derive(Debug, Clone, Default, Args)]
pub struct PlatformsFlags {
    /// Use this context instead of the current one; repeat it or part names by commas for several
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    pub context: Vec<String>,

    /// Use all contexts
    #[arg(long, conflicts_with = "context")]
    pub all_contexts: bool,
}

impl PlatformsFlags {
    /// The contexts meant: all, those named, or the current one.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn platforms(&self, config: &Config) -> Result<Platforms> {
        let Self { context, all_contexts } = self.clone();
        ContextFlags { context, all_contexts, ..ContextFlags::default() }.platforms(config)
    }
}

/// `-c`: which platform, for what has no namespaces. Read by the frame for defaults of flags.
#[derive(Debug, Clone, Default, Args)]
pub struct PlatformFlags {
    /// Look in this context for what is named without one
    #[arg(long, short, value_name = "NAME")]
    pub context: Option<String>,
}

impl PlatformFlags {
    /// The context and the rest of a reference, as [`ReferenceFlags::locate`].
    ///
    /// # Errors
    /// `NotFound` for a name that is no context.
    pub fn locate(&self, config: &Config, reference: &str) -> Result<(ContextConfig, String)> {
        let context = self.context.clone();
        ReferenceFlags { context, ..ReferenceFlags::default() }.locate(config, reference)
    }
}

/// Which VMs a list shows.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterFlags {
    /// Show only VMs that match: GLOB or /REGEX/ on the name, FIELD=GLOB, FIELD=/REGEX/
    #[arg(long = "match", value_name = "PATTERN", value_parser = match_parser)]
    pub matches: Vec<VmMatch>,

    /// Show only VMs that do not match all of --match
    #[arg(long, requires = "matches")]
    pub invert_match: bool,

    /// Show only VMs in this state: running, stopped, paused, starting, stopping, failed, unknown,
    /// or the platform's own word
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<StatusWord>,

    /// Show only VMs with these labels, on a platform that has them, such as app=web
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Show only VMs on this host
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Show only VMs made since: a time ago (7d), a date, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub created_after: Option<jiff::Timestamp>,

    /// Show only VMs made before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub created_before: Option<jiff::Timestamp>,

    /// Show only VMs changed since
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub updated_after: Option<jiff::Timestamp>,

    /// Show only VMs last changed before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub updated_before: Option<jiff::Timestamp>,

    /// Show only VMs with at least so many processors
    #[arg(long, value_name = "N")]
    pub min_cpus: Option<u32>,

    /// Show only VMs with at least so much memory, such as 4Gi
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub min_memory: Option<u64>,
}

/// The hint of a wrong pattern would get lost in clap's own report.
fn match_parser(text: &str) -> std::result::Result<VmMatch, String> {
    VmMatch::parse(text).map_err(|error| {
        let hints = error.hints().iter().map(|hint| format!(" ({hint})"));
        crate::error::one_line(&error) + &hints.collect::<String>()
    })
}

/// A moment before now, as `--created-after` and `--since` take it, for clap.
///
/// # Errors
/// What is wrong with it, in words.
pub fn moment(text: &str) -> std::result::Result<jiff::Timestamp, String> {
    parse_moment(text, &jiff::Zoned::now())
}

impl From<FilterFlags> for VmFilter {
    fn from(flags: FilterFlags) -> Self {
        Self {
            within: None,
            ids: Vec::new(),
            matches: flags.matches,
            invert_match: flags.invert_match,
            status: flags.status,
            selector: flags.selector,
            node: flags.node,
            created_after: flags.created_after,
            created_before: flags.created_before,
            updated_after: flags.updated_after,
            updated_before: flags.updated_before,
            min_cpus: flags.min_cpus,
            min_memory_bytes: flags.min_memory,
        }
    }
}

/// The heading of flags that choose what is changed. None of them takes a value from the
/// environment or the configuration: what is changed must be typed.
pub const CHOICE: &str = "Several machines";

/// Which machines are meant where none is named, for verbs that change machines.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = CHOICE)]
pub struct ChoiceFlags {
    /// Mean all VMs that match: GLOB or /REGEX/ on the name, FIELD=GLOB, FIELD=/REGEX/
    #[arg(long = "match", value_name = "PATTERN", value_parser = match_parser, conflicts_with = "vms")]
    pub matches: Vec<VmMatch>,

    /// Mean all VMs with these labels, on a platform that has them, such as app=web
    #[arg(long, short = 'l', value_name = "SELECTOR", conflicts_with = "vms")]
    pub selector: Option<String>,

    /// Mean those in all namespaces of a cluster
    #[arg(long, short = 'A', conflicts_with_all = ["namespace", "vms"])]
    pub all_namespaces: bool,
}

impl ChoiceFlags {
    /// The filter of the flags.
    ///
    /// # Errors
    /// `Usage` where they choose nothing.
    pub fn filter(self) -> Result<VmFilter> {
        if self.matches.is_empty() && self.selector.is_none() {
            return Err(super::pick::nothing_meant());
        }
        let Self { matches, selector, .. } = self;
        Ok(VmFilter { matches, selector, ..VmFilter::default() })
    }
}

/// What a person is told on standard error. Read by the frame.
#[derive(Debug, Clone, Default, Args)]
pub struct TalkFlags {
    /// Leave out remarks; warnings and errors stay
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Tell more: once what is done, twice how, three times everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How progress is shown, and what else a person is told. Read by the frame.
#[derive(Debug, Clone, Default, Args)]
pub struct ProgressFlags {
    /// Show progress as bars, lines or JSON on standard error: auto, bar, lines, json or none
    #[arg(long, value_name = "MODE", default_value = "auto", hide_default_value = true)]
    pub progress: ProgressMode,

    /// The rest of the talk.
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// `--timeout`: a limit for the whole run. Obeyed by the frame.
#[derive(Debug, Clone, Default, Args)]
pub struct TimeoutFlags {
    /// Stop and clean up after so long, such as 90s, 5m or 2h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// `--timeout` for verbs that wait for a platform, which must not wait for ever: five minutes
/// unless something else is asked for. Obeyed by the frame.
#[derive(Debug, Clone, Args)]
pub struct PatienceFlags {
    /// Stop waiting and clean up after so long, such as 90s, 5m or 2h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5m")]
    pub timeout: Duration,
}

/// `--yes`, for [`super::Context::confirm`].
#[derive(Debug, Clone, Default, Args)]
pub struct YesFlags {
    /// Do it without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// `--customize` and `--hostname`, for what makes machines of machines.
#[derive(Debug, Clone, Default, Args)]
pub struct CustomizeFlags {
    /// Make each guest one of its own by this specification, which the vCenter keeps (vSphere)
    ///
    /// The guest is customized when it is switched on for the first time.
    #[arg(long, value_name = "SPEC", value_parser = Text::new())]
    pub customize: Option<String>,

    /// Give guests this host name instead of the one that the specification says; {name} is the
    /// name of each machine
    #[arg(long, value_name = "NAME", value_parser = Text::new(), requires = "customize")]
    pub hostname: Option<String>,
}

impl CustomizeFlags {
    /// What a machine of that name is made with, where anything is.
    pub fn of(&self, name: &str) -> Option<Customize> {
        let spec = self.customize.clone()?;
        let hostname = self.hostname.as_ref().map(|pattern| pattern.replace("{name}", name));
        Some(Customize { spec, hostname, addresses: Vec::new() })
    }
}

/// `--dry-run`.
#[derive(Debug, Clone, Default, Args)]
pub struct DryRunFlags {
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
