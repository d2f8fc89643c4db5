//! Machine descriptions and packages: OVF and OVA, their manifests, VMX files, libvirt domain
//! XML, the Artifact Manifest and `machine.json`. Readers give a [`Description`]; writers give
//! bytes. Nothing here opens files: the local provider reads with it, the engine writes with it.

pub mod artifact_manifest;
mod description;
pub mod domain_xml;
pub mod machine_json;
pub mod manifest;
pub mod ova;
pub mod ovf;
mod units;
pub mod vmx;
mod xml;
mod xml_text;

pub(crate) use self::description::{Controllers, mac, number_disks, uuid};
pub use self::description::{Description, DiskData, DiskFile};
pub use self::xml::LARGEST_DESCRIPTION;
