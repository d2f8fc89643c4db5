//! What a property collector is asked for: which objects, and which properties of them.

use std::collections::{HashMap, HashSet};

use super::envelope::Node;
use super::fault::Fault;
use super::schema::{SCHEMA, Type};
use super::state::State;
use super::value::Ref;

/// A filter's specification, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterSpec {
    properties: Vec<PropertySpec>,
    objects: Vec<ObjectSpec>,
    report_missing: bool,
}

/// Properties of one kind of object.
#[derive(Debug, Clone, PartialEq)]
struct PropertySpec {
    kind: String,
    all: bool,
    paths: Vec<String>,
}

/// An object to start at.
#[derive(Debug, Clone, PartialEq)]
struct ObjectSpec {
    object: Ref,
    skip: bool,
    select: Vec<Select>,
}

/// Where to go on from an object.
#[derive(Debug, Clone, PartialEq)]
enum Select {
    /// Along a property of a kind of object.
    Along(Traversal),
    /// As the one of that name says.
    Named(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Traversal {
    name: String,
    kind: String,
    path: String,
    skip: bool,
    select: Vec<Select>,
}

impl FilterSpec {
    /// Understands a `PropertyFilterSpec`.
    ///
    /// # Errors
    /// `InvalidArgument` and `InvalidProperty` for kinds, properties and names that are not there.
    pub fn new(node: &Node) -> Result<Self, Fault> {
        let properties: Result<Vec<_>, Fault> = node.all("propSet").map(property_spec).collect();
        let objects = node.all("objectSet").map(|node| {
            Ok(ObjectSpec {
                object: node.reference_of("obj").unwrap_or_else(|| Ref::new("", "")),
                skip: node.is("skip"),
                select: selects(node)?,
            })
        });
        let objects: Result<Vec<_>, Fault> = objects.collect();
        let (properties, objects) = (properties?, objects?);
        if properties.is_empty() || objects.is_empty() {
            return Err(Fault::argument(
                "specSet",
                "a specification names no object or no property",
            ));
        }
        let report_missing = node.is("reportMissingObjectsInResults");
        Ok(Self { properties, objects, report_missing })
    }

    /// The objects that it names or leads to, each once, that it wants properties of.
    ///
    /// # Errors
    /// `ManagedObjectNotFound`; `InvalidArgument` for an undefined name.
    pub fn objects(&self, state: &State, session: Option<&str>) -> Result<Vec<Ref>, Fault> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut add = |object: &Ref| {
            if self.wants(object) && seen.insert(object.clone()) {
                found.push(object.clone());
            }
        };
        for spec in &self.objects {
            if !state.exists(session, &spec.object) {
                if self.report_missing {
                    continue;
                }
                return Err(Fault::gone(&spec.object));
            }
            if !spec.skip {
                add(&spec.object);
            }
            let mut names = HashMap::new();
            collect_names(&spec.select, &mut names);
            let mut walk = Walk { state, session, names, been: HashSet::new() };
            walk.from(&spec.object, &spec.select, &mut add)?;
        }
        Ok(found)
    }

    /// What a client without a login gets to see: the objects that it named itself.
    pub fn named_objects(&self) -> impl Iterator<Item = &Ref> {
        self.objects.iter().map(|spec| &spec.object)
    }

    /// All paths of all kinds, for one who may see none of them.
    pub fn every_path(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.properties.iter().flat_map(|it| it.paths.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn wants(&self, object: &Ref) -> bool {
        self.properties.iter().any(|spec| SCHEMA.is_a(&object.kind, &spec.kind))
    }

    /// The paths that are wanted of objects of a kind, each once, in order.
    pub fn paths(&self, kind: &str) -> Vec<Path> {
        let mut paths: Vec<String> = Vec::new();
        for spec in self.properties.iter().filter(|spec| SCHEMA.is_a(kind, &spec.kind)) {
            match spec.all {
                true => paths.extend(SCHEMA.members(kind).iter().map(|it| it.name.to_owned())),
                false => paths.extend(spec.paths.iter().cloned()),
            }
        }
        let mut seen = HashSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        let typed = |path: String| Some(Path { kind: SCHEMA.path(kind, &path)?, path });
        paths.into_iter().filter_map(typed).collect()
    }
}

/// A property path and the type that it leads to.
#[derive(Debug, Clone)]
pub struct Path {
    /// The path.
    pub path: String,
    /// The type.
    pub kind: Type,
}

fn property_spec(node: &Node) -> Result<PropertySpec, Fault> {
    let kind = node.text_of("type").unwrap_or_default().trim().to_owned();
    if !SCHEMA.is_managed(&kind) {
        return Err(Fault::argument("type", format!("there are no objects of kind {kind}")));
    }
    let paths: Vec<String> = node.all("pathSet").map(|path| path.text.trim().to_owned()).collect();
    // Kinds that are not simulated have properties that are not known here.
    let known = !SCHEMA.members(&kind).is_empty();
    if let Some(path) = paths.iter().find(|path| known && SCHEMA.path(&kind, path).is_none()) {
        return Err(Fault::property(path));
    }
    Ok(PropertySpec { kind, all: node.is("all"), paths })
}

fn selects(node: &Node) -> Result<Vec<Select>, Fault> {
    node.all("selectSet").map(select).collect()
}

fn select(node: &Node) -> Result<Select, Fault> {
    let text = |name| node.text_of(name).unwrap_or_default().trim().to_owned();
    if node.kind.as_deref() != Some("TraversalSpec") {
        return Ok(Select::Named(text("name")));
    }
    let (kind, path) = (text("type"), text("path"));
    if !SCHEMA.is_managed(&kind) {
        return Err(Fault::argument("type", format!("there are no objects of kind {kind}")));
    }
    let known = !SCHEMA.members(&kind).is_empty();
    if known && !SCHEMA.path(&kind, &path).is_some_and(|found| found.reference) {
        return Err(Fault::property(&path));
    }
    let select = selects(node)?;
    Ok(Select::Along(Traversal { name: text("name"), kind, path, skip: node.is("skip"), select }))
}

fn collect_names<'s>(selects: &'s [Select], names: &mut HashMap<&'s str, &'s Traversal>) {
    for select in selects {
        if let Select::Along(traversal) = select {
            if !traversal.name.is_empty() {
                names.insert(&traversal.name, traversal);
            }
            collect_names(&traversal.select, names);
        }
    }
}

/// A walk along traversals, each taken once from each object.
struct Walk<'s> {
    state: &'s State,
    session: Option<&'s str>,
    names: HashMap<&'s str, &'s Traversal>,
    been: HashSet<(Ref, *const Traversal)>,
}

impl<'s> Walk<'s> {
    fn from(
        &mut self,
        start: &Ref,
        selects: &'s [Select],
        add: &mut impl FnMut(&Ref),
    ) -> Result<(), Fault> {
        let mut open = vec![(start.clone(), selects)];
        while let Some((object, selects)) = open.pop() {
            for select in selects {
                let traversal: &'s Traversal = match select {
                    Select::Along(traversal) => traversal,
                    Select::Named(name) => self.names.get(name.as_str()).ok_or_else(|| {
                        Fault::argument("selectSet", format!("no traversal is named {name}"))
                    })?,
                };
                let fits = SCHEMA.is_a(&object.kind, &traversal.kind);
                if !fits || !self.been.insert((object.clone(), std::ptr::from_ref(traversal))) {
                    continue;
                }
                let value = self.state.property(self.session, &object, &traversal.path);
                for next in value.map(|value| value.references()).unwrap_or_default() {
                    if !traversal.skip {
                        add(&next);
                    }
                    if !traversal.select.is_empty() {
                        open.push((next, &traversal.select));
                    }
                }
            }
        }
        Ok(())
    }
}
