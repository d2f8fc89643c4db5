//! Snapshots, restores, clones and the states of exports, as kubectl sees them.

use serde_json::{Value, json};

use crate::cluster::{Cluster, machine, wait_for};

/// A machine whose disk is a volume of its own.
fn with_disk(name: &str, strategy: &str) -> Value {
    let mut it = machine(name, strategy);
    it["spec"]["dataVolumeTemplates"] = json!([{
        "metadata": { "name": format!("{name}-root") },
        "spec": {
            "source": { "registry": { "url": "docker://debian" } },
            "storage": { "resources": { "requests": { "storage": "64Mi" } } },
        },
    }]);
    it["spec"]["template"]["spec"]["volumes"][0] =
        json!({ "name": "root", "dataVolume": { "name": format!("{name}-root") } });
    it
}

fn snapshot(name: &str, of: &str) -> Value {
    json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": { "name": name },
        "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": of } },
    })
}

#[test]
fn a_snapshot_is_taken_restored_and_deleted() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &with_disk("web01", "Always"));
    cluster.machine_is(&space, "web01", "Running");
    wait_for("the agent", || {
        cluster.get(&space, "vmi", "web01")["status"]["guestOSInfo"]["id"] == "debian"
    });
    cluster.apply(&space, &snapshot("before", "web01"));
    wait_for("the snapshot", || {
        cluster.get(&space, "vmsnapshot", "before")["status"]["readyToUse"] == true
    });
    let taken = cluster.get(&space, "vmsnapshot", "before");
    assert_eq!(taken["status"]["phase"], "Succeeded");
    assert_eq!(taken["status"]["indications"], json!(["Online", "GuestAgent"]));
    assert_eq!(taken["status"]["snapshotVolumes"]["includedVolumes"], json!(["root"]));

    let restore = json!({
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineRestore",
        "metadata": { "name": "back" },
        "spec": {
            "target": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" },
            "virtualMachineSnapshotName": "before",
        },
    });
    cluster.apply(&space, &restore);
    wait_for("word of the target", || {
        cluster.get(&space, "vmrestore", "back").to_string().contains("must be stopped")
    });
    cluster.put(&space, "virtualmachines/web01/stop", "{}").unwrap();
    wait_for("the restore", || {
        cluster.get(&space, "vmrestore", "back")["status"]["complete"] == true
    });
    let restored = cluster.get(&space, "vmrestore", "back");
    let claim = restored["status"]["restores"][0]["persistentVolumeClaim"].clone();
    let spec = &cluster.get(&space, "vm", "web01")["spec"];
    assert_eq!(spec["template"]["spec"]["volumes"][0]["dataVolume"]["name"], claim);
    assert_eq!(cluster.get(&space, "pvc", claim.as_str().unwrap())["status"]["phase"], "Bound");

    cluster.kubectl(&["delete", "vmsnapshot", "-n", &space, "before"]);
    wait_for("the content to go", || {
        cluster.kubectl(&["get", "vmsnapshotcontents", "-n", &space, "--no-headers"]).is_empty()
    });
    cluster.fault(&format!("op=snapshot,object={space}/bad,fault=the storage says no"));
    cluster.apply(&space, &snapshot("bad", "web01"));
    wait_for("the failure", || {
        cluster.get(&space, "vmsnapshot", "bad")["status"]["phase"] == "Failed"
    });
    let bad = cluster.get(&space, "vmsnapshot", "bad");
    assert_eq!(bad["status"]["error"]["message"], "the storage says no");
}

#[test]
fn a_clone_is_another_machine() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    let mut source = with_disk("web01", "Halted");
    source["metadata"]["labels"]["drop/me"] = "1".into();
    let cards = "interfaces";
    source["spec"]["template"]["spec"]["domain"]["devices"][cards][0]["macAddress"] =
        "02:00:00:00:00:01".into();
    cluster.apply(&space, &source);
    cluster.machine_is(&space, "web01", "Stopped");
    let clone = json!({
        "apiVersion": "clone.kubevirt.io/v1beta1",
        "kind": "VirtualMachineClone",
        "metadata": { "name": "copy" },
        "spec": {
            "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" },
            "target": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web02" },
            "labelFilters": ["*", "!drop/*"],
        },
    });
    cluster.apply(&space, &clone);
    wait_for("the clone", || {
        cluster.get(&space, "vmclone", "copy")["status"]["phase"] == "Succeeded"
    });
    assert_eq!(cluster.get(&space, "vmclone", "copy")["status"]["targetName"], "web02");
    let made = cluster.get(&space, "vm", "web02");
    assert_eq!(made["metadata"]["labels"], json!({ "app": "web01" }));
    assert_eq!(made["spec"]["runStrategy"], "Halted");
    let card = &made["spec"]["template"]["spec"]["domain"]["devices"][cards][0];
    assert!(card["macAddress"].is_null(), "{card}");
    cluster.put(&space, "virtualmachines/web02/start", "{}").unwrap();
    cluster.machine_is(&space, "web02", "Running");
    cluster.apply(&space, &{
        let mut again = clone;
        again["metadata"]["name"] = "again".into();
        again
    });
    wait_for("the refusal", || {
        cluster.get(&space, "vmclone", "again")["status"]["phase"] == "Failed"
    });
}

#[test]
fn an_export_waits_for_its_machine_and_ends_with_its_time() {
    let cluster = Cluster::shared();
    let space = cluster.namespace();
    cluster.apply(&space, &with_disk("web01", "Always"));
    cluster.machine_is(&space, "web01", "Running");
    cluster.kubectl(&[
        "create",
        "secret",
        "generic",
        "-n",
        &space,
        "t",
        "--from-literal=token=abc",
    ]);
    cluster.apply(
        &space,
        &json!({
            "apiVersion": "export.kubevirt.io/v1",
            "kind": "VirtualMachineExport",
            "metadata": { "name": "out" },
            "spec": {
                "tokenSecretRef": "t",
                "ttlDuration": "20s",
                "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01" },
            },
        }),
    );
    wait_for("word of the machine", || {
        cluster.get(&space, "vmexport", "out").to_string().contains("web01 is running")
    });
    assert_eq!(cluster.get(&space, "vmexport", "out")["status"]["phase"], "Pending");
    cluster.put(&space, "virtualmachines/web01/stop", r#"{"gracePeriod":0}"#).unwrap();
    wait_for("the export", || cluster.get(&space, "vmexport", "out")["status"]["phase"] == "Ready");
    let links = cluster.get(&space, "vmexport", "out")["status"]["links"]["external"].clone();
    assert_eq!(links["volumes"][0]["name"], "web01-root");
    assert!(links["cert"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    wait_for("its time", || cluster.get(&space, "vmexport", "out").is_null());
}
