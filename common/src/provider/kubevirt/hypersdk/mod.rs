//! Objects of HyperSDK (hypersdk.io/v1alpha1), whose operator never ran, as what they come to on
//! KubeVirt: machines, templates, snapshots and operations. What of a description has no
//! counterpart is told, field by field; nothing is dropped in silence.

mod fields;
mod machine;
mod operation;
mod template;

use serde_json::Value;

use self::fields::Fields;
use super::create::{kind, text};
use super::describe;
use crate::error::{Error, Result};
use crate::provider::facets::create::Described;

/// The group of these objects.
pub const GROUP: &str = "hypersdk.io";
/// Its only version.
pub const VERSION: &str = "v1alpha1";
/// The kinds that have a counterpart.
pub const KINDS: [&str; 4] = ["VirtualMachine", "VMTemplate", "VMSnapshot", "VMOperation"];

/// Where an object is.
struct Place {
    name: String,
    namespace: String,
}

/// What an object comes to; one that names no namespace is in `namespace`.
///
/// # Errors
/// `Usage` for an object that is not as it should be, `Unsupported` for one without a counterpart.
pub fn read(mut object: Value, namespace: &str) -> Result<Vec<Described>> {
    let kind = kind(&object).to_owned();
    let own = text(&object, "/metadata/namespace");
    let place = Place {
        name: text(&object, "/metadata/name").to_owned(),
        namespace: if own.is_empty() { namespace } else { own }.to_owned(),
    };
    describe::checked_name(&place.name, &format!("a {kind}"))?;
    if let Some(all) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        // kubectl's own memory of the object.
        all.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let mut fields = Fields::new(object, &format!("{kind} {}", place.name));
    // What a cluster adds by itself says nothing about what is wanted.
    for known in ["apiVersion", "kind", "metadata.name", "metadata.namespace", "status"] {
        fields.take(known);
    }
    for added in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        fields.take(&format!("metadata.{added}"));
    }
    let mut all = match kind.as_str() {
        "VirtualMachine" => machine::read(&mut fields, &place)?,
        "VMTemplate" => template::read(&mut fields, &place)?,
        "VMSnapshot" => operation::snapshot(&mut fields, &place)?,
        "VMOperation" => operation::read(&mut fields, &place)?,
        _ => {
            return Err(Error::unsupported(format!("{kind} of {GROUP} has no counterpart"))
                .with_hint(format!("{} have one", KINDS.join(", "))));
        }
    };
    if let Some(first) = all.first_mut() {
        first.remarks.extend(fields.left());
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
