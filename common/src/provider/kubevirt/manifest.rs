//! Manifests: YAML or JSON with one or several objects, KubeVirt's own machines and what HyperSDK
//! calls so (`hypersdk.rs`).

use serde_json::Value;

use super::create::{kind, reference, text};
use super::discovery::KUBEVIRT;
use super::{describe, hypersdk};
use crate::error::{Error, Result};
use crate::provider::facets::create::{Deed, Described};

/// What the objects of a manifest come to; those that name no namespace are in `namespace`.
///
/// # Errors
/// `Usage` for a text that is none, or an object of another kind.
pub fn read(manifest: &str, namespace: &str) -> Result<Vec<Described>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).map_err(|error| {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default().to_owned();
        Error::usage("this is neither YAML nor JSON").with_source(first)
    })?;
    let mut all = Vec::new();
    for object in documents.into_iter().flat_map(items) {
        all.extend(one(object, namespace)?);
    }
    match all.is_empty() {
        true => Err(Error::usage("there is no object in it")),
        false => Ok(all),
    }
}

/// The objects of a list, else the object itself; nothing for an empty document.
fn items(object: Value) -> Vec<Value> {
    match object {
        Value::Null => Vec::new(),
        mut list if kind(&list) == "List" && list["items"].is_array() => {
            list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
        }
        object => vec![object],
    }
}

fn one(mut object: Value, namespace: &str) -> Result<Vec<Described>> {
    let (group, version) = text(&object, "/apiVersion").split_once('/').unwrap_or_default();
    let (name, kind) = (text(&object, "/metadata/name").to_owned(), kind(&object).to_owned());
    match (group, version, kind.as_str()) {
        (KUBEVIRT, _, "VirtualMachine") => {}
        (hypersdk::GROUP, hypersdk::VERSION, _) => return hypersdk::read(object, namespace),
        _ => {
            let version = text(&object, "/apiVersion");
            let words = format!("{kind:?} of {version:?} is nothing that is made here");
            return Err(Error::usage(words).with_hint(format!(
                "VirtualMachine of {KUBEVIRT} is, and {} of {}",
                hypersdk::KINDS.join(", "),
                hypersdk::GROUP
            )));
        }
    }
    describe::checked_name(&name, "a machine")?;
    if text(&object, "/metadata/namespace").is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    let place = text(&object, "/metadata/namespace").to_owned();
    Ok(vec![Described {
        reference: reference(&place, &name),
        vm: name,
        deed: Deed::Make { verb: "create", objects: vec![object] },
        remarks: Vec::new(),
        awaited: false,
        follows: false,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn several_objects_come_in_their_order_and_others_are_refused() {
        let one = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: a}\n";
        let list = r#"{"apiVersion":"v1","kind":"List","items":[
            {"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine",
             "metadata":{"name":"b","namespace":"x"}}]}"#;
        let all = read(&format!("{one}---\n{list}\n---\n"), "shop").unwrap();
        let names: Vec<_> = all.iter().map(|it| it.reference.as_str()).collect();
        assert_eq!(names, ["@shop/a", "@x/b"]);
        let pod = one.replace("kubevirt.io/v1", "v1").replace("VirtualMachine", "Pod");
        for text in ["", "---\n", "a: [", "just words", &pod, &one.replace("name: a", "name: A")] {
            assert_eq!(read(text, "shop").unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
