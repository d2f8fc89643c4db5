//! The part of the vim25 interface that is spoken here: kinds of managed objects, calls, data.
//!
//! It decides what is accepted (names, order and types of what a client sends) and how values are
//! written (which need their type beside them). `schema.txt` holds it; a test compares it with
//! the interface as pyVmomi has it.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A type as a member or a parameter has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// `string`, `VirtualDevice`; of a reference, the kind of object that it leads to.
    pub name: &'static str,
    /// Whether it is a reference to a managed object.
    pub reference: bool,
    /// Whether there can be several.
    pub list: bool,
    /// Whether it may be left out.
    pub optional: bool,
}

/// A property of an object, a field of data, a parameter of a call.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
}

/// A kind of managed object, or a type of data.
#[derive(Debug)]
struct Kind {
    base: Option<&'static str>,
    members: Vec<Member>,
}

/// What a call takes and gives.
#[derive(Debug)]
pub struct Call {
    /// The kind of object that has it.
    pub owner: &'static str,
    /// Its parameters, in order.
    pub params: Vec<Member>,
    /// What it answers.
    pub result: Type,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Schema {
    objects: HashMap<&'static str, Kind>,
    data: HashMap<&'static str, Kind>,
    calls: HashMap<&'static str, Call>,
    enums: HashMap<&'static str, Vec<&'static str>>,
    known: HashSet<&'static str>,
    /// The members of each kind with those of what it is made from, which come first.
    whole: HashMap<&'static str, Vec<Member>>,
}

/// The one schema.
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = parse(include_str!("schema.txt"));
    let kinds = schema.objects.keys().chain(schema.data.keys());
    schema.whole = kinds.map(|kind| (*kind, schema.collect(kind))).collect();
    schema
});

const PRIMITIVES: [&str; 10] =
    ["string", "boolean", "byte", "short", "int", "long", "float", "double", "dateTime", "anyURI"];

/// Whether `name` is a type of XML Schema.
pub fn is_primitive(name: &str) -> bool {
    PRIMITIVES.contains(&name) || name == "base64Binary"
}

impl Schema {
    /// The call of that name.
    pub fn call(&self, name: &str) -> Option<&Call> {
        self.calls.get(name)
    }

    /// Whether `name` is a kind of managed object of vim25, simulated or not.
    pub fn is_managed(&self, name: &str) -> bool {
        self.known.contains(name) || self.objects.contains_key(name)
    }

    /// Whether `name` is a type of data that is known here.
    pub fn is_data(&self, name: &str) -> bool {
        self.data.contains_key(name)
    }

    /// A fault of that name that has no fields of its own that must be there.
    pub fn fault(&self, name: &str) -> Option<&'static str> {
        let (name, _) = self.data.get_key_value(name)?;
        let bare = self.members(name).iter().all(|member| member.kind.optional);
        (bare && self.is_a(name, "MethodFault")).then_some(*name)
    }

    /// The words of an enumeration.
    pub fn words(&self, name: &str) -> Option<&[&'static str]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    /// Whether a `kind` is a `wanted`, by itself or through what it is made from.
    pub fn is_a(&self, kind: &str, wanted: &str) -> bool {
        if wanted == "ManagedObject" && self.is_managed(kind) {
            return true;
        }
        kind == wanted || self.line(kind).any(|base| base == wanted)
    }

    /// What `kind` is made from, nearest first.
    fn line<'s>(&'s self, kind: &str) -> impl Iterator<Item = &'static str> + use<'s> {
        let of = |name: &str| self.objects.get(name).or_else(|| self.data.get(name));
        std::iter::successors(of(kind).and_then(|kind| kind.base), move |base| {
            of(base).and_then(|kind| kind.base)
        })
    }

    fn collect(&self, kind: &'static str) -> Vec<Member> {
        let mut kinds: Vec<&str> = self.line(kind).collect();
        kinds.reverse();
        kinds.push(kind);
        let of = |name: &&str| self.objects.get(*name).or_else(|| self.data.get(*name));
        kinds.iter().filter_map(of).flat_map(|kind| kind.members.iter().copied()).collect()
    }

    /// The members of a kind of object or a type of data, those of what it is made from first.
    pub fn members(&self, kind: &str) -> &[Member] {
        self.whole.get(kind).map(Vec::as_slice).unwrap_or_default()
    }

    /// One member of a kind.
    pub fn member(&self, kind: &str, name: &str) -> Option<Member> {
        self.members(kind).iter().find(|member| member.name == name).copied()
    }

    /// The type that a property path of a kind of object leads to. `None` where there is no such
    /// property. Where the path enters data that is not known here, the last known type.
    pub fn path(&self, kind: &str, path: &str) -> Option<Type> {
        let mut steps = path.split('.');
        let mut at = self.member(kind, steps.next()?)?.kind;
        for step in steps {
            if at.list || at.reference {
                return None;
            }
            if !self.is_data(at.name) {
                return Some(at);
            }
            at = self.member_below(at.name, step)?.kind;
        }
        Some(at)
    }

    /// A member of a type, or of any type made from it.
    fn member_below(&self, kind: &str, name: &str) -> Option<Member> {
        self.member(kind, name).or_else(|| {
            let mut below: Vec<_> = self
                .data
                .keys()
                .filter(|other| self.line(other).any(|base| base == kind))
                .collect();
            below.sort_unstable();
            below.into_iter().find_map(|other| self.member(other, name))
        })
    }
}

fn parse(text: &'static str) -> Schema {
    let mut schema = Schema::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (head, rest) = line.split_once(':').unwrap_or((line, ""));
        let parts = rest.split(';').map(str::trim).filter(|part| !part.is_empty());
        let head: Vec<&'static str> = head.split(' ').collect();
        match head.as_slice() {
            ["known"] => schema.known.extend(parts),
            ["enum", name] => {
                schema.enums.insert(name, parts.collect());
            }
            ["object", name, base] => {
                schema.objects.insert(name, kind(base, parts));
            }
            ["data", name, base] => {
                schema.data.insert(name, kind(base, parts));
            }
            ["call", owner, name] => {
                let members: Vec<Member> = parts.filter_map(member).collect();
                let (results, params) = members.iter().partition(|member| member.name == "=");
                let results: Vec<Member> = results;
                let result = results.first().map_or_else(|| a_type("void"), |member| member.kind);
                schema.calls.insert(name, Call { owner, params, result });
            }
            _ => {}
        }
    }
    schema
}

fn kind(base: &'static str, parts: impl Iterator<Item = &'static str>) -> Kind {
    Kind { base: (base != "-").then_some(base), members: parts.filter_map(member).collect() }
}

fn member(text: &'static str) -> Option<Member> {
    let (name, kind) = text.split_once(' ')?;
    Some(Member { name, kind: a_type(kind) })
}

fn a_type(text: &'static str) -> Type {
    let (text, optional) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
    let (text, list) = text.strip_suffix("[]").map_or((text, false), |text| (text, true));
    let (name, reference) = text.strip_prefix('&').map_or((text, false), |text| (text, true));
    Type { name, reference, list, optional }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_know_what_they_are_made_from() {
        assert!(SCHEMA.is_a("ClusterComputeResource", "ComputeResource"));
        assert!(SCHEMA.is_a("VirtualMachine", "ManagedEntity"));
        assert!(SCHEMA.is_a("VirtualMachine", "ManagedObject"));
        assert!(!SCHEMA.is_a("Folder", "Datacenter"));
        assert!(SCHEMA.is_managed("DistributedVirtualSwitch") && !SCHEMA.is_managed("Nothing"));
    }

    #[test]
    fn paths_lead_to_their_types() {
        let name = |path| SCHEMA.path("VirtualMachine", path).map(|kind| kind.name);
        assert_eq!(name("name"), Some("string"));
        assert_eq!(name("config.hardware.device"), Some("VirtualDevice"));
        assert_eq!(name("runtime.powerState"), Some("VirtualMachinePowerState"));
        assert_eq!(name("config.hardware.device.key"), None);
        assert_eq!(name("config.nothing"), None);
        assert_eq!(name("nothing"), None);
    }

    #[test]
    fn calls_have_their_parameters_in_order() {
        let call = SCHEMA.call("CreateSnapshot_Task").unwrap();
        let names: Vec<_> = call.params.iter().map(|param| param.name).collect();
        assert_eq!(names, ["name", "description", "memory", "quiesce"]);
        assert!(call.result.reference && call.params[1].kind.optional);
    }
}
