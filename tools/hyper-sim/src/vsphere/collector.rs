//! Retrieving properties, in pages.

use std::collections::HashMap;
use std::fmt::Write;

use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::schema::Type;
use super::spec::{FilterSpec, Path};
use super::state::State;
use super::value::{Ref, Value, write, write_any};

/// What was not sent yet of a retrieval.
#[derive(Debug)]
pub struct Page {
    specs: Vec<(FilterSpec, Plan)>,
    left: Vec<(usize, Ref)>,
    size: Option<usize>,
}

/// Properties of an object, each written as the interface has it.
pub type Written = Vec<(String, String)>;

/// What a filter wants of each kind of object, worked out once.
#[derive(Debug, Default)]
pub struct Plan(HashMap<String, Vec<Path>>);

impl Plan {
    /// The wanted properties of an object that have a value.
    pub fn properties(
        &mut self,
        state: &State,
        session: Option<&str>,
        spec: &FilterSpec,
        object: &Ref,
    ) -> Written {
        if !self.0.contains_key(&object.kind) {
            self.0.insert(object.kind.clone(), spec.paths(&object.kind));
        }
        let paths = self.0.get(&object.kind).map(Vec::as_slice).unwrap_or_default();
        let mut written = Written::new();
        // Neighbouring paths often lie in one property, which is made once.
        let mut last: (&str, Option<Value>) = ("", None);
        for Path { path, kind } in paths {
            let (top, rest) =
                path.split_once('.').map_or((path.as_str(), None), |(a, b)| (a, Some(b)));
            if last.0 != top {
                last = (top, state.property(session, object, top));
            }
            let whole = last.1.as_ref();
            let value = match rest {
                None => whole,
                Some(rest) => whole.and_then(|whole| whole.at(rest)),
            };
            if let Some(value) = value {
                let mut text = String::new();
                write_any(&mut text, "val", value, *kind);
                written.push((path.clone(), text));
            }
        }
        written
    }
}

/// The type of a reference, for writing it.
pub const REFERENCE: Type =
    Type { name: "ManagedObject", reference: true, list: false, optional: false };

fn content(text: &mut String, name: &str, object: &Ref, properties: &Written) {
    let _ = write!(text, "<{name}>");
    write(text, "obj", &object.into(), REFERENCE);
    for (path, value) in properties {
        let _ = write!(text, "<propSet><name>{path}</name>{value}</propSet>");
    }
    let _ = write!(text, "</{name}>");
}

/// Without a login every property is missing, and yet the answer looks like one.
fn refused(name: &str, spec: &FilterSpec) -> String {
    let mut text = String::new();
    for object in spec.named_objects() {
        text.push_str(&format!("<{name}>"));
        write(&mut text, "obj", &object.into(), REFERENCE);
        for path in spec.every_path() {
            let fault = Fault::not_authenticated(object).localized();
            let kind = Type { name: "LocalizedMethodFault", reference: false, ..REFERENCE };
            let _ = write!(text, "<missingSet><path>{path}</path>");
            write(&mut text, "fault", &fault.into(), kind);
            text.push_str("</missingSet>");
        }
        text.push_str(&format!("</{name}>"));
    }
    text
}

fn begin(state: &State, session: Option<&str>, args: &Node) -> Result<Page, Fault> {
    let specs: Vec<FilterSpec> =
        args.all("specSet").map(FilterSpec::new).collect::<Result<_, _>>()?;
    if specs.is_empty() {
        return Err(Fault::argument("specSet", "nothing is specified"));
    }
    let mut left = Vec::new();
    for (number, spec) in specs.iter().enumerate() {
        let objects = spec.objects(state, session)?;
        left.extend(objects.into_iter().map(|object| (number, object)));
    }
    let specs = specs.into_iter().map(|spec| (spec, Plan::default())).collect();
    Ok(Page { specs, left, size: None })
}

/// `RetrieveProperties`: everything at once.
///
/// # Errors
/// Those of the specification.
pub fn retrieve(state: &State, session: Option<&str>, args: &Node) -> Result<Answer, Fault> {
    if session.is_none() {
        return unauthenticated(args, "returnval", |text| text);
    }
    let mut page = begin(state, session, args)?;
    let mut text = String::new();
    for (number, object) in &page.left {
        if let Some((spec, plan)) = page.specs.get_mut(*number) {
            let properties = plan.properties(state, session, spec, object);
            content(&mut text, "returnval", object, &properties);
        }
    }
    Ok(Answer::Written(text))
}

fn unauthenticated(
    args: &Node,
    name: &str,
    wrap: impl Fn(String) -> String,
) -> Result<Answer, Fault> {
    let specs: Vec<FilterSpec> =
        args.all("specSet").map(FilterSpec::new).collect::<Result<_, _>>()?;
    let text: String = specs.iter().map(|spec| refused(name, spec)).collect();
    Ok(Answer::Written(wrap(text)))
}

/// `RetrievePropertiesEx`: a page of at most as many objects as the client or the server wants.
///
/// # Errors
/// Those of the specification.
pub fn retrieve_page(
    state: &mut State,
    session: Option<&str>,
    args: &Node,
    most: Option<usize>,
) -> Result<Answer, Fault> {
    let Some(key) = session else {
        return unauthenticated(args, "objects", |text| format!("<returnval>{text}</returnval>"));
    };
    let options = args.one("options").and_then(|options| options.text_of("maxObjects"));
    let wanted: Option<usize> = options.and_then(|text| text.trim().parse().ok());
    if wanted == Some(0) {
        return Err(Fault::argument("maxObjects", "a page of no objects"));
    }
    let mut page = begin(state, session, args)?;
    page.size = [wanted, most].into_iter().flatten().min();
    if page.left.is_empty() {
        return Ok(Answer::Nothing);
    }
    page.left.reverse();
    send(state, key, page)
}

/// `ContinueRetrievePropertiesEx`: the next page.
///
/// # Errors
/// `InvalidArgument` for a token that is none, or was used.
pub fn next_page(state: &mut State, session: &str, args: &Node) -> Result<Answer, Fault> {
    let page = take(state, session, args)?;
    send(state, session, page)
}

/// `CancelRetrievePropertiesEx`: no further page is wanted.
///
/// # Errors
/// As [`next_page`].
pub fn cancel(state: &mut State, session: &str, args: &Node) -> Result<Answer, Fault> {
    take(state, session, args).map(|_| Answer::Nothing)
}

fn take(state: &mut State, session: &str, args: &Node) -> Result<Page, Fault> {
    let token = args.text_of("token").unwrap_or_default();
    let own = state.sessions.get_mut(session);
    own.and_then(|own| own.pages.remove(token))
        .ok_or_else(|| Fault::argument("token", "no page is waiting under this token"))
}

/// Sends the last objects of `left`, which is in reverse.
fn send(state: &mut State, session: &str, mut page: Page) -> Result<Answer, Fault> {
    let mut text = String::new();
    for _ in 0..page.size.unwrap_or(usize::MAX) {
        let Some((number, object)) = page.left.pop() else { break };
        // What went meanwhile is no more to be told.
        let there = state.exists(Some(session), &object);
        if let Some((spec, plan)) = page.specs.get_mut(number).filter(|_| there) {
            let properties = plan.properties(state, Some(session), spec, &object);
            content(&mut text, "objects", &object, &properties);
        }
    }
    let mut head = String::new();
    if !page.left.is_empty() {
        let token = format!("{}", state.number());
        head = format!("<token>{token}</token>");
        if let Some(own) = state.sessions.get_mut(session) {
            own.pages.insert(token, page);
        }
    }
    Ok(Answer::Written(format!("<returnval>{head}{text}</returnval>")))
}
