//! A machine as it is in another namespace: what of its object stays, what is only its own, and what
//! it needs there. Nothing is asked of a server.

use serde_json::{Value, json};

use super::create::text;
use super::discovery::{KUBEVIRT, Resource};
use crate::error::{Error, Result};

/// A volume that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// The claim of the source.
    pub claim: String,
    /// What it is called in the other namespace.
    pub name: String,
}

/// An object that must be there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// What it is, for people.
    pub kind: &'static str,
    /// Its group and its name in paths.
    pub resource: (&'static str, &'static str),
    /// Its name.
    pub name: String,
    /// What needs it.
    pub user: String,
}

/// A machine in the making.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transplant {
    /// Its object, without the templates of its volumes.
    pub machine: Value,
    pub volumes: Vec<Moved>,
    pub needs: Vec<Need>,
    /// What does not go along.
    pub remarks: Vec<String>,
}

/// What a machine of the namespace `from` becomes in `namespace` under the name `name`.
///
/// # Errors
/// `Unsupported` for a volume that cannot go along, by name.
pub(super) fn transplant(
    object: &Value,
    from: &str,
    (namespace, name): (&str, &str),
) -> Result<Transplant> {
    let mut made = Transplant {
        machine: json!({
            "kind": "VirtualMachine",
            "metadata": { "name": name, "namespace": namespace },
            "spec": object["spec"],
        }),
        volumes: Vec::new(),
        needs: Vec::new(),
        remarks: Vec::new(),
    };
    made.label(object, text(object, "/metadata/name"), name);
    let spec = &mut made.machine["spec"];
    for field in ["running", "dataVolumeTemplates"] {
        remove(spec, field);
    }
    spec["runStrategy"] = "Halted".into();
    made.sized();
    made.own(from);
    made.move_volumes(name)?;
    made.credentials();
    Ok(made)
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

fn each<'v>(object: &'v mut Value, pointer: &str) -> impl Iterator<Item = &'v mut Value> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

impl Transplant {
    /// Takes over labels and annotations, but for those that are about the source.
    fn label(&mut self, object: &Value, old: &str, name: &str) {
        if let Some(labels) = object["metadata"].get("labels") {
            self.machine["metadata"]["labels"] = labels.clone();
        }
        let all = object.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in all.into_iter().flatten() {
            if !key.contains("kubevirt.io/")
                && !key.contains("kubernetes.io/")
                && !key.starts_with("hyper/")
            {
                self.machine["metadata"]["annotations"][key] = value.clone();
            }
        }
        let label = &mut self.machine["spec"]["template"]["metadata"]["labels"];
        if label["vm.kubevirt.io/name"] == old {
            label["vm.kubevirt.io/name"] = name.into();
        } else if label.is_null() {
            // Only looked at, and made by that.
            remove(&mut self.machine["spec"]["template"]["metadata"], "labels");
            if self.machine["spec"]["template"]["metadata"].is_null() {
                remove(&mut self.machine["spec"]["template"], "metadata");
            }
        }
    }

    /// Its size and preferred devices, where they are the namespace's own.
    fn sized(&mut self) {
        const GROUP: &str = "instancetype.kubevirt.io";
        for (field, own, plural) in [
            ("instancetype", "VirtualMachineInstancetype", "virtualmachineinstancetypes"),
            ("preference", "VirtualMachinePreference", "virtualmachinepreferences"),
        ] {
            let Some(named) = self.machine["spec"].get_mut(field) else { continue };
            // A copy of it in the source's namespace.
            remove(named, "revisionName");
            if text(named, "/kind") == own {
                let need = Need {
                    kind: field,
                    resource: (GROUP, plural),
                    name: text(named, "/name").to_owned(),
                    user: "it".to_owned(),
                };
                self.needs.push(need);
            }
        }
    }

    /// Takes away what no two machines may share, and names networks as they are seen from elsewhere.
    fn own(&mut self, from: &str) {
        let part = &mut self.machine["spec"]["template"]["spec"];
        for card in each(part, "/domain/devices/interfaces") {
            remove(card, "macAddress");
        }
        if let Some(firmware) = part.pointer_mut("/domain/firmware") {
            remove(firmware, "uuid");
            remove(firmware, "serial");
        }
        for network in each(part, "/networks") {
            let named = text(network, "/multus/networkName").to_owned();
            if !named.is_empty() && !named.contains('/') {
                network["multus"]["networkName"] = format!("{from}/{named}").into();
            }
        }
        let kept = [
            ("/domain/devices/tpm/persistent", "the state of its TPM"),
            ("/domain/firmware/bootloader/efi/persistent", "the variables of its firmware"),
        ];
        for (pointer, what) in kept {
            if part.pointer(pointer) == Some(&Value::Bool(true)) {
                self.remarks.push(format!("{what} is not carried over"));
            }
        }
    }

    fn move_volumes(&mut self, name: &str) -> Result<()> {
        let part = &mut self.machine["spec"]["template"]["spec"];
        let disks = part.pointer("/domain/devices/disks").and_then(Value::as_array);
        let disks: Vec<String> =
            disks.into_iter().flatten().map(|it| text(it, "/name").to_owned()).collect();
        for volume in each(part, "/volumes") {
            let own = text(volume, "/name").to_owned();
            let claim = [
                text(volume, "/dataVolume/name"),
                text(volume, "/persistentVolumeClaim/claimName"),
            ];
            let claim = claim.into_iter().find(|it| !it.is_empty()).map(str::to_owned);
            let refused = |why: &str| {
                Err(Error::unsupported(format!("its volume {own} {why}"))
                    .with_hint("a clone in the source's own namespace keeps it"))
            };
            match claim {
                Some(_) if !disks.contains(&own) => {
                    return refused("is shared with the guest and no disk, which is not exported");
                }
                Some(claim) => {
                    let moved = Moved { claim, name: format!("{name}-{own}") };
                    *volume = json!({ "name": own, "dataVolume": { "name": moved.name } });
                    self.volumes.push(moved);
                }
                None => {
                    let Some(found) = needs(volume, &own) else {
                        return refused("is of its node or of its namespace, and cannot leave it");
                    };
                    self.needs.extend(found);
                }
            }
        }
        Ok(())
    }

    /// Secrets with which people log in.
    fn credentials(&mut self) {
        let all = self.machine["spec"]["template"]["spec"]["accessCredentials"].as_array();
        for one in all.into_iter().flatten() {
            for kind in ["sshPublicKey", "userPassword"] {
                let name = text(one, &format!("/{kind}/source/secret/secretName"));
                if !name.is_empty() {
                    self.needs.push(secret(name, "its access credentials"));
                }
            }
        }
    }
}

fn secret(name: &str, user: &str) -> Need {
    Need { kind: "secret", resource: ("", "secrets"), name: name.to_owned(), user: user.to_owned() }
}

/// What a volume that is not on a claim needs; nothing where it cannot be elsewhere.
fn needs(volume: &Value, own: &str) -> Option<Vec<Need>> {
    const ANYWHERE: [&str; 6] = [
        "containerDisk",
        "cloudInitNoCloud",
        "cloudInitConfigDrive",
        "emptyDisk",
        "downwardAPI",
        "downwardMetrics",
    ];
    const NAMED: [(&str, &str, &str); 9] = [
        ("/containerDisk/imagePullSecret", "secret", "secrets"),
        ("/cloudInitNoCloud/secretRef/name", "secret", "secrets"),
        ("/cloudInitNoCloud/networkDataSecretRef/name", "secret", "secrets"),
        ("/cloudInitConfigDrive/secretRef/name", "secret", "secrets"),
        ("/cloudInitConfigDrive/networkDataSecretRef/name", "secret", "secrets"),
        ("/secret/secretName", "secret", "secrets"),
        ("/sysprep/secret/name", "secret", "secrets"),
        ("/configMap/name", "config map", "configmaps"),
        ("/sysprep/configMap/name", "config map", "configmaps"),
    ];
    let mut found: Vec<Need> = Vec::new();
    for (pointer, kind, plural) in NAMED {
        let name = text(volume, pointer);
        if !name.is_empty() {
            let user = format!("its volume {own}");
            found.push(Need { kind, resource: ("", plural), name: name.to_owned(), user });
        }
    }
    let account = text(volume, "/serviceAccount/serviceAccountName");
    if !account.is_empty() {
        found.push(Need {
            kind: "service account",
            resource: ("", "serviceaccounts"),
            name: account.to_owned(),
            user: format!("its volume {own}"),
        });
    }
    let anywhere = ANYWHERE.iter().any(|kind| volume.get(kind).is_some());
    (anywhere || !found.is_empty()).then_some(found)
}

impl Need {
    /// Where it is looked for.
    ///
    /// # Errors
    /// Those of asking what the server serves.
    pub(super) async fn place(&self, client: &super::Client) -> Result<Resource> {
        match self.resource {
            ("", plural) => Ok(Resource::core(plural)),
            (group, plural) => client.resource(group, plural).await,
        }
    }

    /// What is told where it is not there.
    pub(super) fn missing(&self, namespace: &str) -> Error {
        let Self { kind, name, user, .. } = self;
        Error::not_found(format!(
            "there is no {kind} {name:?} in the namespace {namespace}, which {user} needs"
        ))
        .with_hint(format!(
            "copy it there first: it belongs to the source's namespace ({KUBEVIRT})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn machine(part: Value) -> Value {
        json!({
            "metadata": {
                "name": "web01",
                "labels": { "app": "web" },
                "annotations": { "note": "x", "kubevirt.io/y": "1", "hyper/cloned-from": "z" },
            },
            "spec": {
                "running": true,
                "instancetype": { "kind": "VirtualMachineInstancetype", "name": "u1", "revisionName": "r" },
                "dataVolumeTemplates": [{}],
                "template": { "metadata": { "labels": { "vm.kubevirt.io/name": "web01" } }, "spec": part },
            },
        })
    }

    #[test]
    fn what_is_a_machines_own_stays_behind() {
        let object = machine(json!({
            "domain": {
                "firmware": { "uuid": "u", "serial": "s" },
                "devices": {
                    "tpm": { "persistent": true },
                    "disks": [{ "name": "root" }, { "name": "seed" }],
                    "interfaces": [{ "name": "a", "macAddress": "02:00:00:00:00:01" }],
                },
            },
            "networks": [{ "name": "a", "multus": { "networkName": "vlan" } }, { "name": "b", "pod": {} }],
            "volumes": [
                { "name": "root", "dataVolume": { "name": "web01-root" } },
                { "name": "seed", "cloudInitNoCloud": { "secretRef": { "name": "seed" } } },
            ],
        }));
        let made = transplant(&object, "shop", ("lab", "copy")).unwrap();
        let about = json!({
            "name": "copy", "namespace": "lab", "labels": { "app": "web" }, "annotations": { "note": "x" },
        });
        assert_eq!(made.machine["metadata"], about);
        let spec = &made.machine["spec"];
        assert_eq!((&spec["runStrategy"], spec.get("running")), (&json!("Halted"), None));
        assert_eq!(spec["template"]["metadata"]["labels"]["vm.kubevirt.io/name"], "copy");
        let part = &spec["template"]["spec"];
        assert_eq!(part["domain"]["devices"]["interfaces"], json!([{ "name": "a" }]));
        assert_eq!(part["domain"]["firmware"], json!({}));
        assert_eq!(part["networks"][0]["multus"]["networkName"], "shop/vlan");
        assert_eq!(part["volumes"][0]["dataVolume"]["name"], "copy-root");
        let moved = Moved { claim: "web01-root".into(), name: "copy-root".into() };
        assert_eq!(made.volumes, [moved]);
        let needs: Vec<_> = made.needs.iter().map(|it| (it.kind, it.name.as_str())).collect();
        assert_eq!(needs, [("instancetype", "u1"), ("secret", "seed")]);
        assert_eq!(made.remarks, ["the state of its TPM is not carried over"]);
    }

    #[test]
    fn what_cannot_leave_is_named() {
        for volume in [json!({ "hostDisk": {} }), json!({ "memoryDump": {} })] {
            let mut volume = volume;
            volume["name"] = "odd".into();
            let object = machine(json!({ "volumes": [volume] }));
            let error = transplant(&object, "a", ("b", "c")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("odd"));
        }
        let shared = json!({ "volumes": [{ "name": "d", "dataVolume": { "name": "x" } }] });
        assert!(transplant(&machine(shared), "a", ("b", "c")).is_err());
    }
}
