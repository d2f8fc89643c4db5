//! Whether what a client sent is what the interface has: names, order, types.

use super::envelope::Node;
use super::fault::Fault;
use super::schema::{Member, SCHEMA, Type, is_primitive};

/// Checks the elements of a call or of data against their members.
///
/// # Errors
/// `InvalidRequest` that says which element is wrong.
pub fn members(place: &str, nodes: &[Node], members: &[Member]) -> Result<(), Fault> {
    let mut next = 0;
    let mut last: Option<usize> = None;
    for node in nodes {
        let name = &node.name;
        let Some(at) = members.iter().position(|member| member.name == name) else {
            return Err(Fault::request(format!("{place} has no {name}")));
        };
        let Some(member) = members.get(at) else { continue };
        if last == Some(at) && !member.kind.list {
            return Err(Fault::request(format!("{place}: {name} comes twice")));
        }
        if at < next && last != Some(at) {
            return Err(Fault::request(format!("{place}: {name} comes too late")));
        }
        present(place, members.get(next..at).unwrap_or_default())?;
        (next, last) = (at + 1, Some(at));
        value(&format!("{place}.{name}"), node, member.kind)?;
    }
    present(place, members.get(next..).unwrap_or_default())
}

fn present(place: &str, skipped: &[Member]) -> Result<(), Fault> {
    // An empty list is no element at all.
    match skipped.iter().find(|member| !member.kind.optional && !member.kind.list) {
        Some(member) => Err(Fault::request(format!("{place}: {} is missing", member.name))),
        None => Ok(()),
    }
}

/// Checks that an element is a reference to a `wanted`.
///
/// # Errors
/// `InvalidRequest`.
pub fn reference(place: &str, node: &Node, wanted: &str) -> Result<(), Fault> {
    match node.object.as_deref() {
        None => Err(Fault::request(format!("{place}: the reference says no type"))),
        Some(kind) if !SCHEMA.is_a(kind, wanted) => {
            Err(Fault::request(format!("{place}: a {kind} is no {wanted}")))
        }
        Some(_) => Ok(()),
    }
}

fn value(place: &str, node: &Node, declared: Type) -> Result<(), Fault> {
    if declared.reference {
        return reference(place, node, declared.name);
    }
    if is_primitive(declared.name) {
        let text = node.text.trim();
        if !node.children.is_empty() || !is_of(declared.name, text) {
            return Err(Fault::request(format!("{place}: {text:?} is no {}", declared.name)));
        }
        return Ok(());
    }
    if let Some(words) = SCHEMA.words(declared.name) {
        return match words.contains(&node.text.trim()) {
            true => Ok(()),
            false => Err(Fault::request(format!("{place}: {:?} is no word for it", node.text))),
        };
    }
    let kind = node.kind.as_deref().unwrap_or(declared.name);
    if declared.name == "anyType" {
        return Ok(());
    }
    if !SCHEMA.is_data(kind) || !SCHEMA.is_a(kind, declared.name) {
        return Err(Fault::request(format!("{place}: a {kind} is no {}", declared.name)));
    }
    members(place, &node.children, SCHEMA.members(kind))
}

fn is_of(kind: &str, text: &str) -> bool {
    match kind {
        "boolean" => matches!(text, "true" | "false" | "1" | "0"),
        "byte" | "short" | "int" => text.parse::<i32>().is_ok(),
        "long" => text.parse::<i64>().is_ok(),
        "float" | "double" => text.parse::<f64>().is_ok(),
        _ => true,
    }
}
