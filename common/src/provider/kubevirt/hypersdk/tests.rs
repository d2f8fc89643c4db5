use serde_json::{Value, json};

use super::super::manifest::read;
use crate::error::{Error, ErrorKind};
use crate::provider::facets::create::{Deed, Described};
use crate::provider::facets::migrate::Destination;
use crate::provider::facets::power::Stop;
use crate::provider::facets::resize::Size;

fn all(kind: &str, spec: &str) -> Result<Vec<Described>, Error> {
    let head = format!("apiVersion: hypersdk.io/v1alpha1\nkind: {kind}\nmetadata: {{name: one}}\n");
    read(&format!("{head}spec:\n{spec}"), "shop")
}

fn objects(described: &Described) -> &[Value] {
    match &described.deed {
        Deed::Make { objects, .. } => objects,
        other => panic!("{other:?}"),
    }
}

const MACHINE: &str = r#"
  cpus: 4
  memory: 8Gi
  running: true
  disks:
  - {name: data, size: 100Gi, storageClass: slow, bootOrder: 2}
  - {name: system, size: 50Gi, bootOrder: 1}
  - {name: media, size: 1Gi, type: cdrom, source: {containerDisk: registry/tools}}
  - {name: old, source: {pvc: there}}
  networks:
  - {name: default}
  - {name: out, type: multus, multusNetworkName: vlan10, macAddress: "02:00:00:00:00:01"}
  image:
    source: https://images.example.com/a.qcow2
    checksum: {type: sha256, value: abc}
  cloudInit: {userData: "echo", networkData: "net"}
  nodeSelector: {disk: ssd}
  carbonAware: {enabled: true, maxIntensity: 200}
  machineType: q35
  firmware: {bootloader: uefi, secureBoot: true}
  guestAgent: {enabled: true}
  highAvailability: {enabled: true, restartPolicy: OnFailure, restartDelay: 30s, evictionStrategy: Shutdown}
  gpus: [{name: gpu, resourceName: nvidia.com/T4, vendor: nvidia, count: 2}]
  usbDevices: [{name: stick, vendorID: "0781"}]
  labels: {app: web}
"#;

#[test]
fn a_machine_becomes_one_of_kubevirt_and_what_it_lacks_is_told() {
    let all = all("VirtualMachine", MACHINE).unwrap();
    assert_eq!((all.len(), all[0].reference.as_str()), (1, "@shop/one"));
    let vm = &objects(&all[0])[0];
    assert_eq!(vm["metadata"]["labels"], json!({ "app": "web" }));
    assert_eq!(vm["spec"]["runStrategy"], "RerunOnFailure");
    let part = &vm["spec"]["template"]["spec"];
    let domain = &part["domain"];
    assert_eq!(domain["cpu"]["sockets"], 4);
    assert_eq!(domain["memory"]["guest"], "8Gi");
    assert_eq!(domain["machine"]["type"], "q35");
    assert_eq!(domain["firmware"]["bootloader"]["efi"]["secureBoot"], true);
    assert_eq!(domain["features"]["smm"]["enabled"], true);
    assert_eq!(part["evictionStrategy"], "None");
    assert_eq!(part["nodeSelector"], json!({ "disk": "ssd" }));
    assert_eq!(domain["devices"]["gpus"][1]["deviceName"], "nvidia.com/T4");
    assert_eq!(domain["devices"]["disks"][2]["cdrom"]["bus"], "sata");
    assert_eq!(domain["devices"]["interfaces"][1]["macAddress"], "02:00:00:00:00:01");
    assert_eq!(part["networks"][1]["multus"]["networkName"], "vlan10");
    let volumes = part["volumes"].as_array().unwrap();
    assert_eq!(volumes[2]["containerDisk"]["image"], "registry/tools");
    assert_eq!(volumes[3]["persistentVolumeClaim"]["claimName"], "there");
    assert_eq!(volumes[4]["cloudInitNoCloud"], json!({ "userData": "echo", "networkData": "net" }));
    let templates = vm["spec"]["dataVolumeTemplates"].as_array().unwrap();
    assert_eq!(templates[0]["spec"]["source"], json!({ "blank": {} }));
    assert_eq!(templates[0]["spec"]["storage"]["storageClassName"], "slow");
    let image = json!({ "http": { "url": "https://images.example.com/a.qcow2" } });
    assert_eq!(templates[1]["spec"]["source"], image, "the image fills the disk that boots");
    assert_eq!(templates[1]["spec"]["storage"]["resources"]["requests"]["storage"], "50Gi");
    let told = |part: &str| all[0].remarks.iter().any(|it| it.contains(part));
    for part in [
        "spec.image.checksum.type has no counterpart",
        "spec.image.checksum.value",
        "spec.carbonAware.enabled",
        "spec.carbonAware.maxIntensity",
        "spec.highAvailability.restartDelay",
        "spec.gpus[0].vendor",
        "spec.usbDevices[0].vendorID",
        "spec.disks[2].size: the disk is as large",
    ] {
        assert!(told(part), "{part}: {:?}", all[0].remarks);
    }
    // The name of the USB device and its vendor are the last ones; nothing else is told.
    assert_eq!(all[0].remarks.len(), 9, "{:?}", all[0].remarks);
}

#[test]
fn a_template_becomes_a_size_devices_and_a_source_of_images() {
    let spec = r#"
  displayName: Debian
  version: 1.0.0
  defaultSpec:
    cpus: 2
    memory: 4Gi
    disks: [{name: root, size: 30Gi, bootOrder: 1}, {name: data, size: 1Gi}]
    networks: [{name: default, type: pod-network}]
    firmware: {bootloader: uefi}
  image: {source: "registry.example.com/debian:12", format: qcow2}
  recommendedResources: {minMemory: 2Gi}
"#;
    let all = all("VMTemplate", spec).unwrap();
    let objects = objects(&all[0]);
    let kinds: Vec<_> = objects.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    let wanted =
        ["VirtualMachineInstancetype", "VirtualMachinePreference", "DataVolume", "DataSource"];
    assert_eq!(kinds, wanted);
    assert_eq!(objects[0]["spec"]["cpu"]["guest"], 2);
    assert_eq!(objects[1]["spec"]["firmware"]["preferredEfi"]["secureBoot"], false);
    assert_eq!(objects[1]["spec"]["requirements"]["memory"]["guest"], "2Gi");
    let registry = "docker://registry.example.com/debian:12";
    assert_eq!(objects[2]["spec"]["source"]["registry"]["url"], registry);
    assert_eq!(objects[2]["spec"]["storage"]["resources"]["requests"]["storage"], "30Gi");
    assert_eq!(objects[3]["spec"]["source"]["pvc"]["name"], "one");
    let label = &objects[3]["metadata"]["labels"]["instancetype.kubevirt.io/default-instancetype"];
    assert_eq!(label, "one");
    let told = all[0].remarks.join("\n");
    for part in ["spec.version", "spec.image.format", "spec.defaultSpec.disks[1].size"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(all[0].remarks.len(), 4, "{told}");
}

#[test]
fn operations_become_what_is_to_be_done() {
    let one = |spec: &str| all("VMOperation", &format!("  vmRef: {{name: web01}}\n{spec}"));
    let deed = |spec: &str| one(spec).unwrap().remove(0).deed;
    assert_eq!(deed("  operation: start"), Deed::Start);
    assert_eq!(deed("  operation: stop\n  force: true"), Deed::Stop(Stop::Hard));
    assert_eq!(deed("  operation: restart"), Deed::Restart { hard: false });
    let size = Size { cpus: Some(4), memory_bytes: Some(2 << 30) };
    let resize = deed("  operation: resize\n  resizeSpec: {cpus: 4, memory: 2Gi}");
    assert_eq!(resize, Deed::Resize(size));
    let to = Destination { node: Some("node02".to_owned()), datastore: None, allow_cold: true };
    let moved = deed("  operation: migrate\n  migrateSpec: {targetNode: node02, live: false}");
    assert_eq!(moved, Deed::Migrate(to));
    let cloned = one(
        "  operation: clone\n  cloneSpec: {targetName: web02, startAfterClone: true}\n  timeout: 1m",
    )
    .unwrap();
    assert_eq!(objects(&cloned[0])[0]["spec"]["target"]["name"], "web02");
    assert_eq!((cloned[0].awaited, &cloned[1].deed), (true, &Deed::Start));
    assert_eq!(cloned[1].reference, "@shop/web02");
    assert!(cloned[0].remarks[0].contains("spec.timeout"), "{:?}", cloned[0].remarks);
    let snapshot = one("  operation: snapshot\n  snapshotSpec: {name: s, includeMemory: true}");
    let snapshot = snapshot.unwrap();
    assert_eq!(objects(&snapshot[0])[0]["metadata"]["name"], "s");
    assert!(snapshot[0].remarks[0].contains("memory"), "{:?}", snapshot[0].remarks);
    let kind = |spec: &str| one(spec).unwrap_err().kind();
    assert_eq!(kind("  operation: delete"), ErrorKind::Unsupported);
    assert_eq!(kind("  operation: dance"), ErrorKind::Usage);
    let elsewhere = "  operation: clone\n  cloneSpec: {targetName: a, targetNamespace: other}";
    assert_eq!(kind(elsewhere), ErrorKind::Unsupported);
    let hints = one(elsewhere).unwrap_err().hints().join("");
    assert!(hints.contains("other/a"), "{hints}");
}

#[test]
fn a_snapshot_is_of_the_machine_it_names() {
    let spec = "  vmRef: {name: web01, namespace: prod}\n  quiesce: true\n  description: before";
    let all = all("VMSnapshot", &format!("{spec}\n  retention: {{keepDays: 3}}")).unwrap();
    let object = &objects(&all[0])[0];
    assert_eq!(object["metadata"], json!({ "name": "one", "namespace": "prod" }));
    assert_eq!(object["spec"]["source"]["name"], "web01");
    assert_eq!((all[0].vm.as_str(), all[0].remarks.len()), ("web01", 2));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("  cpus: many\n  memory: 1Gi", "spec.cpus"),
        ("  cpus: 0\n  memory: 1Gi", "spec.cpus"),
        ("  cpus: 1\n  memory: lots", "spec.memory"),
        ("  cpus: 1", "spec.memory"),
        ("  cpus: 1\n  memory: 1Gi\n  disks: [{name: a}]", "spec.disks[0].size"),
        ("  cpus: 1\n  memory: 1Gi\n  networks: [{name: a, type: tin}]", "spec.networks[0].type"),
        ("  cpus: 1\n  memory: 1Gi\n  firmware: {secureBoot: true}", "spec.firmware.secureBoot"),
    ];
    for (spec, place) in cases {
        let error = all("VirtualMachine", spec).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let subject = format!("VirtualMachine one: {place}");
        assert_eq!(error.subject(), Some(subject.as_str()), "{error}");
    }
    assert_eq!(all("BackupJob", "  a: 1").unwrap_err().kind(), ErrorKind::Unsupported);
}
