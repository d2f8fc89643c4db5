//! Which VMs a list shows: `--match`, `--status`, `--min-cpus`, `--min-memory`. Pure; providers
//! may hand part of it to their servers, and apply all of it to what comes back.

use serde::{Serialize, Serializer};

use super::pattern::{Pattern, unknown_field};
use super::{Vm, VmId, VmObject, VmStatus};
use crate::error::{Error, Result};

/// Conditions on VMs, all of which must hold. The default holds for every VM.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VmFilter {
    /// A place in the platform's inventory (a folder, a file) to which the list is confined; the
    /// provider sees to that, [`VmFilter::accepts`] does not look at it. `None`: everything.
    pub within: Option<String>,
    /// Only these, where any are named.
    pub ids: Vec<VmId>,
    /// Patterns on fields; each must match.
    pub matches: Vec<VmMatch>,
    /// Whether it is those that do not match all patterns that pass.
    pub invert_match: bool,
    /// One of these, where any are given.
    pub status: Vec<StatusWord>,
    /// Labels, as Kubernetes selects by them; a provider whose platform has none refuses it.
    pub selector: Option<String>,
    /// On this host.
    pub node: Option<String>,
    /// Made at this moment or later. A VM that does not tell does not pass.
    pub created_after: Option<jiff::Timestamp>,
    /// Made before this moment. A VM that does not tell does not pass.
    pub created_before: Option<jiff::Timestamp>,
    /// Changed at this moment or later. A VM that does not tell does not pass.
    pub updated_after: Option<jiff::Timestamp>,
    /// Changed before this moment. A VM that does not tell does not pass.
    pub updated_before: Option<jiff::Timestamp>,
    /// At least so many processors. A VM that does not tell does not pass.
    pub min_cpus: Option<u32>,
    /// At least so many bytes of memory. A VM that does not tell does not pass.
    pub min_memory_bytes: Option<u64>,
}

impl VmFilter {
    /// For a platform without labels: nothing is selected by them.
    ///
    /// # Errors
    /// `Unsupported` where something is.
    pub fn without_labels(&self, provider: &str) -> Result<()> {
        match &self.selector {
            None => Ok(()),
            Some(selector) => {
                Err(Error::unsupported(format!("{provider} machines have no labels"))
                    .with_subject(selector.clone())
                    .with_hint("--match selects by any field of a machine"))
            }
        }
    }

    /// Whether an object that has to do with machines passes, as far as objects have what is
    /// looked at; `ids` are those of their machines.
    pub fn accepts_object(&self, object: &VmObject) -> bool {
        let one_of = |id: &VmId| self.ids.contains(id);
        (self.ids.is_empty() || object.vm_id.as_ref().is_some_and(one_of))
            && self.matches.iter().all(|pattern| pattern.accepts_object(object))
                != self.invert_match
            && (self.status.is_empty() || self.status.iter().any(|it| it.accepts_object(object)))
            && self.node.as_ref().is_none_or(|node| {
                object.node.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(node))
            })
            && within(object.created, self.created_after, self.created_before)
    }

    /// Whether `vm` passes; the labels are for the provider to look at.
    pub fn accepts(&self, vm: &Vm) -> bool {
        (self.ids.is_empty() || self.ids.contains(&vm.id))
            && self.matches.iter().all(|pattern| pattern.accepts(vm)) != self.invert_match
            && (self.status.is_empty() || self.status.iter().any(|word| word.accepts(vm)))
            && self.node.as_ref().is_none_or(|node| {
                vm.node.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(node))
            })
            && within(vm.created, self.created_after, self.created_before)
            && within(vm.updated, self.updated_after, self.updated_before)
            && self.min_cpus.is_none_or(|least| vm.cpus.is_some_and(|cpus| cpus >= least))
            && self
                .min_memory_bytes
                .is_none_or(|least| vm.memory_bytes.is_some_and(|bytes| bytes >= least))
    }
}

/// Whether a moment is not before `after` and before `before`.
fn within(
    moment: Option<jiff::Timestamp>,
    after: Option<jiff::Timestamp>,
    before: Option<jiff::Timestamp>,
) -> bool {
    after.is_none_or(|after| moment.is_some_and(|moment| moment >= after))
        && before.is_none_or(|before| moment.is_some_and(|moment| moment < before))
}

/// One `--status`: a neutral status, or a platform's own word for one. Neither looks at upper and
/// lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StatusWord(String);

/// `printableStatus` of KubeVirt's VirtualMachine, beyond the neutral words.
const PLATFORM_WORDS: [&str; 14] = [
    "Provisioning",
    "Migrating",
    "Terminating",
    "CrashLoopBackOff",
    "ErrorUnschedulable",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrorPvcNotFound",
    "DataVolumeError",
    "WaitingForVolumeBinding",
    "WaitingForReceiver",
    "Scheduling",
    "Scheduled",
    "Pending",
];

/// `VirtualMachinePowerState` of vSphere, each of which is a neutral status.
const VSPHERE: [(&str, VmStatus); 3] = [
    ("poweredOn", VmStatus::Running),
    ("poweredOff", VmStatus::Stopped),
    ("suspended", VmStatus::Paused),
];

/// Phases of other objects, as `hyper watch --kind` follows them.
const OBJECT_WORDS: [&str; 29] = [
    "Succeeded",
    "InProgress",
    "Deleting",
    "Ready",
    "Terminated",
    "Skipped",
    "SnapshotInProgress",
    "CreatingTargetVM",
    "RestoreInProgress",
    "PreparingTarget",
    "TargetReady",
    "WaitingForSync",
    "Synchronizing",
    "PVCBound",
    "ImportScheduled",
    "ImportInProgress",
    "CloneScheduled",
    "CloneInProgress",
    "CSICloneInProgress",
    "SnapshotForSmartCloneInProgress",
    "ExpansionInProgress",
    "NamespaceTransferInProgress",
    "UploadScheduled",
    "UploadReady",
    "WaitForFirstConsumer",
    "PendingPopulation",
    "PrepClaimInProgress",
    "RebindInProgress",
    "Paused",
];

impl StatusWord {
    /// Whether an object is in this state.
    fn accepts_object(&self, object: &VmObject) -> bool {
        object.status.as_ref().is_some_and(|status| status.eq_ignore_ascii_case(&self.0))
    }

    /// Whether a VM is in this state, by the neutral word or the platform's.
    pub fn accepts(&self, vm: &Vm) -> bool {
        vm.status.name().eq_ignore_ascii_case(&self.0)
            || vm.state.as_ref().is_some_and(|state| state.eq_ignore_ascii_case(&self.0))
    }
}

impl std::str::FromStr for StatusWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((_, status)) = VSPHERE.iter().find(|(word, _)| word.eq_ignore_ascii_case(text))
        {
            return Ok((*status).into());
        }
        let known = VmStatus::ALL.map(VmStatus::name).into_iter().chain(PLATFORM_WORDS);
        let all = known.clone().chain(OBJECT_WORDS);
        if let Some(word) = all.clone().find(|word| word.eq_ignore_ascii_case(text)) {
            return Ok(Self(word.to_owned()));
        }
        let near = crate::config::closest(text, all);
        let near = near.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default();
        let words = known.collect::<Vec<_>>().join(", ");
        Err(format!("not one of {words}: {text:?}{near}"))
    }
}

impl From<VmStatus> for StatusWord {
    fn from(status: VmStatus) -> Self {
        Self(status.name().to_owned())
    }
}

/// One `--match`. Written as
/// `GLOB` (on the name), `/REGEX/` (on the name), `FIELD=GLOB`, `FIELD=/REGEX/` or `FIELD~REGEX`.
/// Globs cover the whole value, with `*`, `?`, `[a-z]` and `{a,b}`; regular expressions may match
/// anywhere in it. Neither looks at upper and lower case. A field with several values (`macs`,
/// `networks`, `labels` as `key=value`) matches where one of them does; a field that a VM does not tell never matches.
#[derive(Debug, Clone)]
pub struct VmMatch {
    text: String,
    field: Field,
    pattern: Pattern,
}

/// A field that a pattern can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Id,
    Context,
    Provider,
    Status,
    GuestOs,
    GuestOsId,
    GuestOsName,
    Firmware,
    Format,
    Path,
    Node,
    Uuid,
    InstanceUuid,
    Macs,
    Networks,
    Namespace,
    State,
    IpAddresses,
    Labels,
}

/// Field names as in records; the singular of a list is taken as well.
const FIELDS: [(&str, Field); 24] = [
    ("name", Field::Name),
    ("id", Field::Id),
    ("context", Field::Context),
    ("provider", Field::Provider),
    ("status", Field::Status),
    ("guest_os", Field::GuestOs),
    ("guest_os_id", Field::GuestOsId),
    ("guest_os_name", Field::GuestOsName),
    ("firmware", Field::Firmware),
    ("format", Field::Format),
    ("path", Field::Path),
    ("node", Field::Node),
    ("uuid", Field::Uuid),
    ("instance_uuid", Field::InstanceUuid),
    ("macs", Field::Macs),
    ("mac", Field::Macs),
    ("networks", Field::Networks),
    ("network", Field::Networks),
    ("namespace", Field::Namespace),
    ("state", Field::State),
    ("ip_addresses", Field::IpAddresses),
    ("ip_address", Field::IpAddresses),
    ("labels", Field::Labels),
    ("label", Field::Labels),
];

impl VmMatch {
    /// Parses one `--match` value; see [`VmMatch`] for the syntax.
    ///
    /// # Errors
    /// `Usage` for an unknown field (with the nearest name as a hint) or a broken pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let (word, pattern) = Pattern::parse(text)?;
        let field = word.map_or(Ok(Field::Name), field)?;
        Ok(Self { text: text.to_owned(), field, pattern })
    }

    /// Whether the pattern matches a value.
    fn hits(&self, value: &str) -> bool {
        self.pattern.is_match(value)
    }

    /// Whether objects beside machines have the field at all.
    pub fn is_of_objects(&self) -> bool {
        use Field::{Context, Id, Labels, Name, Namespace, Node, Provider, State, Status};
        let of_objects = [Name, Id, Context, Provider, Status, State, Namespace, Node, Labels];
        of_objects.contains(&self.field)
    }

    /// Whether the field of an object beside machines matches.
    pub fn accepts_object(&self, object: &VmObject) -> bool {
        let told = |value: &Option<String>| value.as_deref().is_some_and(|it| self.hits(it));
        match self.field {
            Field::Name => self.hits(&object.name),
            Field::Id => self.hits(&object.id.0),
            Field::Context => self.hits(&object.context),
            Field::Provider => self.hits(&object.provider),
            Field::Status | Field::State => told(&object.status),
            Field::Namespace => told(&object.namespace),
            Field::Node => told(&object.node),
            Field::Labels => {
                object.labels.iter().any(|(key, value)| self.hits(&format!("{key}={value}")))
            }
            _ => false,
        }
    }

    /// Whether the field of `vm` matches.
    pub fn accepts(&self, vm: &Vm) -> bool {
        let hit = |value: &str| self.hits(value);
        let told = |value: &Option<String>| value.as_deref().is_some_and(hit);
        match self.field {
            Field::Name => hit(&vm.name),
            Field::Id => hit(&vm.id.0),
            Field::Context => hit(&vm.context),
            Field::Provider => hit(&vm.provider),
            Field::Status => hit(vm.status.name()) || told(&vm.state),
            Field::GuestOs => hit(vm.guest_os.name()),
            Field::GuestOsId => told(&vm.guest_os_id),
            Field::GuestOsName => told(&vm.guest_os_name),
            Field::Firmware => hit(vm.firmware.name()),
            Field::Format => told(&vm.format),
            Field::Path => told(&vm.path),
            Field::Node => told(&vm.node),
            Field::Uuid => told(&vm.uuid),
            Field::InstanceUuid => told(&vm.instance_uuid),
            Field::Macs => vm.macs.iter().any(|mac| hit(mac)),
            Field::Networks => vm.networks.iter().any(|network| hit(network)),
            Field::Namespace => told(&vm.namespace),
            Field::State => told(&vm.state),
            Field::IpAddresses => vm.ip_addresses.iter().any(|address| hit(address)),
            Field::Labels => vm.labels.iter().any(|(key, value)| hit(&format!("{key}={value}"))),
        }
    }
}

impl std::str::FromStr for VmMatch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl std::fmt::Display for VmMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for VmMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn field(word: &str) -> Result<Field> {
    let found = FIELDS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, field)| field).ok_or_else(|| unknown_field(word, &FIELDS.map(|it| it.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vm::{Cpus, GuestOs, Machine, Nic, OsFamily};

    fn web01() -> Vm {
        let machine = Machine {
            name: "Web01".into(),
            cpus: Cpus { count: 4, ..Cpus::default() },
            memory_bytes: 4 << 30,
            os: GuestOs {
                id: Some("debian12_64Guest".into()),
                name: None,
                family: OsFamily::Linux,
            },
            nics: vec![
                Nic { mac: Some("52:54:00:00:00:01".into()), ..Nic::default() },
                Nic { mac: Some("52:54:00:00:00:02".into()), ..Nic::default() },
            ],
            ..Machine::default()
        };
        Vm::of_machine(VmId("x/web01.ova".into()), "local", "local", &machine)
    }

    fn hits(text: &str) -> bool {
        VmMatch::parse(text).unwrap().accepts(&web01())
    }

    #[test]
    fn patterns_look_at_the_field_they_name() {
        for text in [
            "web*",
            "WEB0?",
            "/^web\\d+$/",
            "name={db,web}*",
            "guest_os~lin",
            "guest_os=linux",
            "guest_os_id=/debian1[0-9]/",
            "mac=*:02",
            "id=x/*",
            "status=unknown",
        ] {
            assert!(hits(text), "{text}");
        }
        for text in ["web", "/^eb/", "name=db*", "guest_os~^windows", "guest_os_name=*", "path=*"] {
            assert!(!hits(text), "{text}");
        }
    }

    #[test]
    fn broken_patterns_say_what_is_wrong() {
        let error = VmMatch::parse("gest_os=linux").unwrap_err();
        assert_eq!(error.hints()[0], "did you mean guest_os?");
        assert!(error.hints()[1].contains("networks"));
        for text in ["name~(", "name=[", "/(/"] {
            let error = VmMatch::parse(text).unwrap_err();
            assert_eq!(error.kind().exit_status(), 2);
            assert!(!crate::error::one_line(&error).contains('\n'));
        }
    }

    #[test]
    fn an_unknown_size_passes_no_minimum() {
        let mut vm = web01();
        let cpus = VmFilter { min_cpus: Some(4), ..VmFilter::default() };
        let memory = VmFilter { min_memory_bytes: Some(4 << 30), ..VmFilter::default() };
        assert!(cpus.accepts(&vm) && memory.accepts(&vm));
        vm.cpus = None;
        vm.memory_bytes = Some((4 << 30) - 1);
        assert!(!cpus.accepts(&vm) && !memory.accepts(&vm));
    }

    proptest! {
        #[test]
        fn every_condition_counts(
            cpus in proptest::option::of(0_u32..9), memory in proptest::option::of(0_u64..9),
            min_cpus in proptest::option::of(0_u32..9), min_memory in proptest::option::of(0_u64..9),
            status in proptest::collection::vec(0_usize..7, 0..3), own in 0_usize..7,
            name in "[ab]{1,2}", glob in "[ab*?]{1,3}",
        ) {
            let vm = Vm { cpus, memory_bytes: memory, status: VmStatus::ALL[own], name, ..web01() };
            let one = |filter: VmFilter| filter.accepts(&vm);
            let pattern = VmMatch::parse(&glob).unwrap();
            let all = VmFilter {
                matches: vec![pattern.clone()],
                status: status.iter().map(|i| VmStatus::ALL[*i].into()).collect(),
                min_cpus,
                min_memory_bytes: min_memory,
                ..VmFilter::default()
            };
            let each = one(VmFilter { matches: all.matches.clone(), ..VmFilter::default() })
                && one(VmFilter { status: all.status.clone(), ..VmFilter::default() })
                && one(VmFilter { min_cpus, ..VmFilter::default() })
                && one(VmFilter { min_memory_bytes: min_memory, ..VmFilter::default() });
            prop_assert_eq!(all.accepts(&vm), each);
            prop_assert_eq!(pattern.accepts(&vm), glob_by_hand(glob.as_bytes(), vm.name.as_bytes()));
            prop_assert!(one(VmFilter::default()));
        }
    }

    fn glob_by_hand(glob: &[u8], text: &[u8]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                glob_by_hand(&glob[1..], text)
                    || (!text.is_empty() && glob_by_hand(glob, &text[1..]))
            }
            (Some(b'?'), Some(_)) => glob_by_hand(&glob[1..], &text[1..]),
            (Some(a), Some(b)) if a == b => glob_by_hand(&glob[1..], &text[1..]),
            _ => false,
        }
    }
}
