//! What happened on a platform, as the platform itself notes it: one form for all of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use async_trait::async_trait;
use futures::stream::BoxStream;
use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::output::{Cell, Column, Record};

/// The events facet.
#[async_trait]
pub trait Events: Send + Sync {
    /// The events that are looked for: those that there are, the oldest first, and with `follow`
    /// those that come, for ever.
    ///
    /// The types, severities and users of the query are the caller's to apply; a provider may leave
    /// out what does not pass. None is told twice, and each has a place, from which a later run
    /// goes on. A connection that is lost is made again; what the platform has forgotten by then is
    /// told as a [`Gap`]. Ends after `stop` was asked for, once nothing is left on the platform,
    /// and after an error that will not pass by itself: `Auth`, `Unsupported`, `NotFound` for a
    /// subject that is not there, or a platform that could not be reached at the very start.
    fn events(&self, query: EventQuery, stop: Cancel) -> BoxStream<'_, Result<Told>>;

    /// Those of some types of events that the platform has none of; empty where nobody can know.
    ///
    /// # Errors
    /// Those of asking the platform.
    async fn unknown_types(&self, types: &[Pattern]) -> Result<Vec<String>>;
}

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events about these, where any are named: references to VMs, or to other places of the
    /// platform's inventory.
    pub subjects: Vec<String>,
    /// Since when. `None` is for ever, or with `follow` from now on.
    pub since: Option<Timestamp>,
    /// The place of the last event that was told; it takes the place of `since`.
    pub place: Option<Value>,
    /// Whether also what comes.
    pub follow: bool,
    /// What the caller shows.
    pub filter: EventFilter,
}

/// An event, and where it stands.
#[derive(Debug, Clone)]
pub struct Told {
    /// What happened.
    pub event: VmEvent,
    /// Where a later run goes on behind it: the provider's own words. `None` where only what
    /// follows has one.
    pub place: Option<Value>,
}

/// How bad it is, in the platform's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is worth knowing.
    Info,
    /// A person did it or wrote it.
    User,
    /// Somebody should look.
    Warning,
    /// Something failed.
    Error,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Info, Self::User, Self::Warning, Self::Error];

    /// The word in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::User => "user",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(text.trim()));
        found
            .ok_or_else(|| format!("not one of {}: {text:?}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VmEvent {
    /// The context it was found in.
    pub context: String,
    /// The provider of that context.
    pub provider: String,
    /// What the platform calls it.
    pub event_id: String,
    /// What kind of thing happened: `VmPoweredOn`, `com.vmware.vc.ha.VmRestartedByHAEvent`,
    /// `SuccessfulCreate`; `Gap` for a gap.
    pub event_type: String,
    /// How bad it is; `None` where the platform does not say.
    pub severity: Option<Severity>,
    /// When it happened, the last time where it happened several times.
    pub created_time: Timestamp,
    /// When it happened first, where it happened several times.
    pub first_time: Option<Timestamp>,
    /// How often it happened.
    pub count: u32,
    /// The platform's words.
    pub message: String,
    /// What it is about: its name.
    pub entity_name: Option<String>,
    /// The platform's type of that.
    pub entity_type: Option<String>,
    /// The platform's identifier of that.
    pub entity_id: Option<String>,
    /// The VM that it concerns.
    pub vm: Option<String>,
    /// The identifier of that VM: a reference `@ID` names it.
    pub vm_id: Option<String>,
    /// The namespace, on a platform that has them.
    pub namespace: Option<String>,
    /// The datacenter, on a platform that has them.
    pub datacenter: Option<String>,
    /// The cluster of hosts, on a platform that has them.
    pub cluster: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// Who did it.
    pub user_name: Option<String>,
    /// The part of the platform that noted it.
    pub source: Option<String>,
    /// What events belong together.
    pub chain_id: Option<String>,
    /// What else the platform tells about it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it came after a later one of another context had been told.
    pub late: bool,
    /// What is missing here; the record is about nothing else then.
    pub gap: Option<Gap>,
}

/// Events that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The last event before it.
    pub after: Option<String>,
    /// The first event behind it.
    pub before: Option<String>,
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The platform had dropped them before they were asked for.
    Forgotten,
    /// The platform numbers its events anew: it is not what it was.
    Renumbered,
    /// Everything was listed again; what came and went meanwhile is not known.
    Relisted,
}

impl Gap {
    /// The record of it.
    pub fn record(self, context: &str, provider: &str) -> VmEvent {
        let message = match (self.reason, &self.after, &self.before) {
            (GapReason::Forgotten, Some(after), Some(before)) => {
                format!("the events between {after} and {before} are not known any more")
            }
            (GapReason::Forgotten, ..) => "events are not known any more".to_owned(),
            (GapReason::Renumbered, ..) => {
                "the server numbers its events anew; events may be missing".to_owned()
            }
            (GapReason::Relisted, ..) => {
                "all events were listed again; some may have come and gone meanwhile".to_owned()
            }
        };
        VmEvent {
            context: context.to_owned(),
            provider: provider.to_owned(),
            event_id: String::new(),
            event_type: "Gap".to_owned(),
            severity: Some(Severity::Warning),
            created_time: Timestamp::now(),
            first_time: None,
            count: 1,
            message,
            entity_name: None,
            entity_type: None,
            entity_id: None,
            vm: None,
            vm_id: None,
            namespace: None,
            datacenter: None,
            cluster: None,
            host: None,
            user_name: None,
            source: None,
            chain_id: None,
            metadata: BTreeMap::new(),
            late: false,
            gap: Some(self),
        }
    }
}

impl Record for VmEvent {
    const SCHEMA: &'static str = "hyper.event/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("created_time", "TIME").width(19),
        Column::text("severity", "SEVERITY").width(8),
        Column::text("event_type", "TYPE").width(22),
        Column::text("entity_name", "ENTITY").width(22),
        Column::number("count", "COUNT").width(5),
        Column::text("message", "MESSAGE").width(50),
        Column::text("entity_type", "KIND").width(22).wide(),
        Column::text("vm", "VM").width(16).wide(),
        Column::text("namespace", "NAMESPACE").width(12).wide(),
        Column::text("user_name", "USER").width(16).wide(),
        Column::text("host", "HOST").width(16).wide(),
        Column::text("context", "CONTEXT").width(10).wide(),
        Column::text("late", "LATE").width(4).wide(),
        Column::text("event_id", "ID").width(10).wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.created_time.into(),
            self.severity.map(Severity::name).into(),
            self.event_type.as_str().into(),
            self.entity_name.as_deref().into(),
            self.count.into(),
            self.message.as_str().into(),
            self.entity_type.as_deref().into(),
            self.vm.as_deref().into(),
            self.namespace.as_deref().into(),
            self.user_name.as_deref().into(),
            self.host.as_deref().into(),
            self.context.as_str().into(),
            self.late.into(),
            self.event_id.as_str().into(),
        ]
    }

    fn name(&self) -> String {
        match &self.vm_id {
            Some(id) => format!("{}:@{id}", self.context),
            None => format!("{}:{}", self.context, self.entity_name.as_deref().unwrap_or("-")),
        }
    }
}

/// Which events are shown: all conditions must hold. A gap is always shown.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventFilter {
    /// One of these types, where any are given.
    pub types: Vec<Pattern>,
    /// One of these severities, where any are given.
    pub severities: Vec<Severity>,
    /// One of these users, where any are given.
    pub users: Vec<Pattern>,
}

impl EventFilter {
    /// Whether an event is shown.
    pub fn accepts(&self, event: &VmEvent) -> bool {
        if event.gap.is_some() {
            return true;
        }
        let user = event.user_name.as_deref();
        (self.types.is_empty() || self.types.iter().any(|it| it.accepts_type(&event.event_type)))
            && (self.severities.is_empty()
                || event.severity.is_some_and(|it| self.severities.contains(&it)))
            && (self.users.is_empty()
                || user.is_some_and(|user| self.users.iter().any(|it| it.accepts(user))))
    }
}

/// A glob over a whole word, in which upper and lower case are the same.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    glob: GlobMatcher,
}

impl Pattern {
    /// Whether a word matches.
    pub fn accepts(&self, word: &str) -> bool {
        self.glob.is_match(word)
    }

    /// The same for the type of an event, which may be written as vSphere's classes are called
    /// (`VmPoweredOnEvent`).
    pub fn accepts_type(&self, word: &str) -> bool {
        self.accepts(word) || self.accepts(&format!("{word}Event"))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The word, where it is one and no pattern.
    pub fn plain(&self) -> Option<&str> {
        (!self.text.contains(['*', '?', '[', '{'])).then_some(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("an empty pattern matches nothing".to_owned());
        }
        let mut glob = GlobBuilder::new(text);
        // Users are DOMAIN\NAME.
        glob.case_insensitive(true).literal_separator(false).backslash_escape(false);
        let glob = glob.build().map_err(|error| error.kind().to_string())?;
        Ok(Self { text: text.to_owned(), glob: glob.compile_matcher() })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_counts_and_a_gap_always_passes() {
        let gap = Gap { reason: GapReason::Forgotten, after: None, before: None };
        let gap = gap.record("lab", "vsphere");
        let event = VmEvent {
            gap: None,
            event_type: "VmPoweredOn".into(),
            user_name: Some("LAB\\jo".into()),
            ..gap.clone()
        };
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        let types = |text: &str| EventFilter { types: vec![pattern(text)], ..Default::default() };
        for text in ["VmPowered*", "vmpoweredon", "VmPoweredOnEvent", "Vm{Migrated,PoweredOn}"] {
            assert!(types(text).accepts(&event), "{text}");
        }
        assert!(!types("VmPowered").accepts(&event) && types("VmPowered").accepts(&gap));
        let users = |text: &str| EventFilter { users: vec![pattern(text)], ..Default::default() };
        assert!(users("lab\\JO").accepts(&event) && !users("jo").accepts(&event));
        let severities = vec![Severity::Error];
        assert!(!EventFilter { severities, ..Default::default() }.accepts(&event));
        assert_eq!(pattern("lab\\jo").plain(), Some("lab\\jo"));
        assert_eq!(pattern("a*").plain(), None);
        assert!("[".parse::<Pattern>().is_err() && "".parse::<Pattern>().is_err());
        assert_eq!("WARNING".parse(), Ok(Severity::Warning));
    }
}
