//! Machines in folders of a test: found, listed, opened, refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::StreamExt;

use super::*;
use crate::error::one_line;
use crate::image::{Extent, ImageFormat, testing};
use crate::package::ova::{end_blocks, member_header, padding};
use crate::provider::{ExportOptions, ExportSource};
use crate::vm::{FirmwareKind, VmMatch};

/// Bytes of the disks of these tests.
const SIZE: u64 = 1 << 20;

fn qemu_img(args: &[&str], folder: &Path) {
    let run = Command::new(testing::qemu_img()).args(args).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
}

fn local(root: &Path) -> Local {
    let context = ContextConfig {
        name: "lab".into(),
        provider: NAME.into(),
        path: Some(root.to_owned()),
        title: None,
        namespace: None,
        all_namespaces: false,
        kube: None,
        server: None,
        configured: true,
        surroundings: crate::config::Surroundings::default(),
    };
    Local::open(&context).unwrap()
}

/// A raw disk with `byte` at its start.
fn raw(path: &Path, byte: u8) {
    let mut bytes = vec![0; SIZE as usize];
    bytes[..5000].fill(byte);
    std::fs::write(path, bytes).unwrap();
}

/// A qcow2 image of such a disk.
fn qcow2(path: &Path, byte: u8) {
    let folder = path.parent().unwrap();
    raw(&folder.join("tmp.bin"), byte);
    let name = path.file_name().unwrap().to_str().unwrap();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "tmp.bin", name], folder);
    std::fs::remove_file(folder.join("tmp.bin")).unwrap();
}

/// An envelope with one drive per file.
fn envelope(name: &str, files: &[&str]) -> String {
    let (mut references, mut disks, mut items) = (String::new(), String::new(), String::new());
    for (at, file) in files.iter().enumerate() {
        references += &format!("<File o:id='f{at}' o:href='{file}'/>");
        disks += &format!("<Disk o:diskId='d{at}' o:fileRef='f{at}' o:capacity='{SIZE}'/>");
        items += &format!(
            "<Item><r:InstanceID>{}</r:InstanceID><r:ResourceType>17</r:ResourceType>\
             <r:Parent>1</r:Parent><r:AddressOnParent>{at}</r:AddressOnParent>\
             <r:HostResource>ovf:/disk/d{at}</r:HostResource></Item>",
            10 + at
        );
    }
    format!(
        "<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1' \
         xmlns:o='http://schemas.dmtf.org/ovf/envelope/1' xmlns:r='urn:rasd'>\
         <References>{references}</References><DiskSection>{disks}</DiskSection>\
         <VirtualSystem o:id='{name}'><VirtualHardwareSection>\
         <Item><r:InstanceID>1</r:InstanceID><r:ResourceType>6</r:ResourceType></Item>\
         <Item><r:InstanceID>2</r:InstanceID><r:ResourceType>3</r:ResourceType>\
         <r:VirtualQuantity>2</r:VirtualQuantity></Item>{items}\
         </VirtualHardwareSection></VirtualSystem></Envelope>"
    )
}

/// A package of files.
fn package(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(member_header(name, content.len() as u64, 0).unwrap());
        bytes.extend(content);
        bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
    }
    bytes.extend(end_blocks());
    bytes
}

async fn open(
    local: &Local,
    reference: &str,
    options: &ExportOptions,
) -> Result<Box<dyn ExportSource>> {
    let id = local.resolve(reference).await?;
    local.export().unwrap().open(&id, options).await
}

/// The first byte of each disk, by way of its extents, which must cover the whole disk.
async fn first_bytes(source: &dyn ExportSource) -> Vec<u8> {
    let mut firsts = Vec::new();
    for (number, disk) in source.disks().iter().enumerate() {
        let batches: Vec<_> = source.read(number, 0..disk.capacity).collect().await;
        let extents: Vec<Extent> = batches.into_iter().flat_map(|batch| batch.unwrap()).collect();
        assert_eq!(extents.last().unwrap().range.end, disk.capacity);
        firsts.push(testing::load(&extents[0])[0]);
    }
    firsts
}

async fn names(local: &Local, within: Option<&str>) -> Vec<std::result::Result<String, String>> {
    let filter = VmFilter { within: within.map(str::to_owned), ..VmFilter::default() };
    let all: Vec<_> = local.list(filter).collect().await;
    all.into_iter().map(|vm| vm.map(|vm| vm.name).map_err(|error| one_line(&error))).collect()
}

#[tokio::test]
async fn a_bare_image_with_its_chain_is_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    qcow2(&folder.path().join("base.qcow2"), 7);
    qemu_img(
        &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "web.qcow2"],
        folder.path(),
    );
    let local = local(folder.path());
    assert_eq!(names(&local, None).await, [Ok("web".to_owned())], "the base is no machine");
    let source = open(&local, "web.qcow2", &ExportOptions::default()).await.unwrap();
    assert_eq!(source.machine().firmware.kind, FirmwareKind::Unknown);
    assert_eq!(source.machine().disks[0].capacity_bytes, SIZE);
    assert_eq!(first_bytes(&*source).await, [7]);
    assert!(source.whole(0).is_none(), "it needs its base");
    // The base belongs to the disk's identity, and a change of it is noticed.
    let before = source.disks()[0].identity.clone();
    source.still_same().await.unwrap();
    let base = std::fs::File::options().append(true).open(folder.path().join("base.qcow2"));
    std::io::Write::write_all(&mut base.unwrap(), &[0; 512]).unwrap();
    let error = source.still_same().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let again = open(&local, "web", &ExportOptions::default()).await.unwrap();
    assert_ne!(again.disks()[0].identity, before);
}

#[tokio::test]
async fn files_outside_the_folder_need_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(&other).unwrap();
    qcow2(&other.join("base.qcow2"), 9);
    qcow2(&own.join("inner.qcow2"), 8);
    std::os::unix::fs::symlink(other.join("base.qcow2"), own.join("link.qcow2")).unwrap();
    let absolute = other.join("base.qcow2");
    let local = local(&own);
    let leave = ExportOptions { allow_path: vec![other.clone()], ..ExportOptions::default() };
    for (name, base) in [
        ("up.qcow2", "../other/base.qcow2"),
        ("abs.qcow2", absolute.to_str().unwrap()),
        ("sym.qcow2", "link.qcow2"),
    ] {
        qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, name], &own);
        let error = open(&local, name, &ExportOptions::default()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth, "{}", one_line(&error));
        assert!(one_line(&error).contains("--allow-path"), "{}", one_line(&error));
        let source = open(&local, name, &leave).await.unwrap();
        assert_eq!(first_bytes(&*source).await, [9], "{name}");
    }
    let file = format!(
        "<domain><name>x</name><devices><disk><driver type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
        absolute.display()
    );
    std::fs::write(own.join("x.xml"), &file).unwrap();
    let refused = open(&local, "x.xml", &ExportOptions::default()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Auth);
    assert_eq!(first_bytes(&*open(&local, "x.xml", &leave).await.unwrap()).await, [9]);
    let inner = file.replace(absolute.to_str().unwrap(), own.join("inner.qcow2").to_str().unwrap());
    std::fs::write(own.join("y.xml"), inner).unwrap();
    let source = open(&local, "y.xml", &ExportOptions::default()).await.unwrap();
    assert_eq!(first_bytes(&*source).await, [8], "an absolute path into its own folder is its own");
}

#[tokio::test]
async fn an_ovf_folder_and_its_package_are_the_same_machine() {
    let folder = tempfile::tempdir().unwrap();
    let disks = folder.path().join("disks");
    std::fs::create_dir(&disks).unwrap();
    qcow2(&disks.join("a b.qcow2"), 1);
    qcow2(&disks.join("two.qcow2"), 2);
    let text = envelope("shed", &["a%20b.qcow2", "two.qcow2"]);
    std::fs::write(disks.join("shed.ovf"), &text).unwrap();
    let sum = "ab".repeat(32);
    let manifest = format!("SHA256(two.qcow2)= {sum}\n");
    std::fs::write(disks.join("shed.mf"), &manifest).unwrap();
    let read = |name: &str| std::fs::read(disks.join(name)).unwrap();
    let plain = package(&[
        ("shed.ovf", text.into_bytes()),
        ("a b.qcow2", read("a b.qcow2")),
        ("two.qcow2", read("two.qcow2")),
        ("shed.mf", manifest.into_bytes()),
    ]);
    std::fs::write(folder.path().join("shed.ova"), &plain).unwrap();
    std::fs::write(folder.path().join("z.ova.zst"), zstd::encode_all(&*plain, 1).unwrap()).unwrap();
    let local = local(folder.path());
    assert_eq!(names(&local, None).await, ["shed", "shed", "shed"].map(|name| Ok(name.to_owned())));
    let spool = tempfile::tempdir().unwrap();
    let options = ExportOptions { spool: Some(spool.path().into()), ..ExportOptions::default() };
    for reference in ["disks", "disks/shed.ovf", "shed.ova", "z.ova.zst"] {
        let source = open(&local, reference, &options).await.unwrap();
        assert_eq!(source.machine().name, "shed");
        assert_eq!(source.machine().cpus.count, 2);
        assert_eq!(first_bytes(&*source).await, [1, 2], "{reference}");
        let whole = source.whole(1).unwrap();
        assert_eq!(
            (whole.format, whole.expected),
            (ImageFormat::Qcow2, Some(("sha256".into(), sum.clone())))
        );
        assert_eq!(
            whole.bytes.len().unwrap(),
            std::fs::metadata(disks.join("two.qcow2")).unwrap().len()
        );
        source.still_same().await.unwrap();
        let again = open(&local, reference, &options).await.unwrap();
        assert_eq!(source.disks()[1].identity, again.disks()[1].identity);
        assert_ne!(source.disks()[0].identity, source.disks()[1].identity);
    }
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "nothing stays behind");
    let error = open(&local, "z.ova.zst", &ExportOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hints()[0].contains("--spool"));
    // Several things are called shed here.
    let error = local.resolve("shed").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.hints().len(), 3);
}

#[tokio::test]
async fn a_vmx_machine_hides_its_disks_from_the_list() {
    let folder = tempfile::tempdir().unwrap();
    raw(&folder.path().join("tmp.bin"), 5);
    qemu_img(&["convert", "-f", "raw", "-O", "vmdk", "tmp.bin", "vm.vmdk"], folder.path());
    std::fs::remove_file(folder.path().join("tmp.bin")).unwrap();
    let vmx = "displayName = \"Mill\"\nmemSize = \"512\"\nscsi0:0.present = \"TRUE\"\n\
               scsi0:0.fileName = \"vm.vmdk\"\nfirmware = \"efi\"\nnvram = \"gone.nvram\"\n";
    std::fs::write(folder.path().join("vm.vmx"), vmx).unwrap();
    std::fs::write(folder.path().join("broken.ovf"), "<Envelope").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "nothing").unwrap();
    std::fs::write(folder.path().join("net.xml"), "<network/>").unwrap();
    let local = local(folder.path());
    let list = names(&local, None).await;
    assert_eq!(list.len(), 2, "{list:?}");
    assert!(list[0].as_ref().unwrap_err().contains("broken.ovf"), "{list:?}");
    assert_eq!(list[1], Ok("Mill".to_owned()));
    let id = local.resolve("Mill").await.unwrap();
    let vm = local.get(&id).await.unwrap();
    assert_eq!(
        (vm.format.as_deref(), vm.memory_bytes, vm.disk_count),
        (Some("vmx"), Some(512 << 20), 1)
    );
    assert_eq!(vm.capacity_bytes, Some(SIZE));
    assert!(vm.allocated_bytes.unwrap() > 0 && vm.updated.is_some());
    let source = open(&local, "vm.vmx", &ExportOptions::default()).await.unwrap();
    assert_eq!(first_bytes(&*source).await, [5]);
    assert!(source.nvram().is_none());
    assert!(source.notes()[0].contains("gone.nvram"), "{:?}", source.notes());
}

#[tokio::test]
async fn references_that_mean_nothing_or_too_much_say_so() {
    let folder = tempfile::tempdir().unwrap();
    raw(&folder.path().join("one.raw"), 1);
    raw(&folder.path().join("two.img"), 2);
    raw(&folder.path().join("odd.bin"), 3);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let local = local(folder.path());
    let kind = async |reference: &str| local.resolve(reference).await.map_err(|e| e.kind());
    assert_eq!(kind("").await, Err(ErrorKind::Conflict));
    assert_eq!(kind("none").await, Err(ErrorKind::NotFound));
    assert_eq!(kind("empty").await, Err(ErrorKind::NotFound));
    assert_eq!(kind("no/such.ova").await, Err(ErrorKind::NotFound));
    let id = kind("two").await.unwrap();
    assert_eq!(PathBuf::from(&id.0), folder.path().join("two.img"));
    assert_eq!(kind(&format!("@{id}")).await.unwrap(), id);
    assert_eq!(names(&local, Some("two.img")).await, [Ok("two".to_owned())]);
    assert_eq!(names(&local, Some("empty")).await, []);
    let filter = VmFilter { matches: vec![VmMatch::parse("t*").unwrap()], ..VmFilter::default() };
    assert_eq!(local.list(filter).count().await, 1);
    // Bytes alone never say that they are raw; the user does.
    let error = open(&local, "odd.bin", &ExportOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hints()[0].contains("--from-format raw"));
    let raw = ExportOptions { from_format: Some(ImageFormat::Raw), ..ExportOptions::default() };
    assert_eq!(first_bytes(&*open(&local, "odd.bin", &raw).await.unwrap()).await, [3]);
    assert_eq!(local.probe().await.unwrap().endpoint, folder.path().display().to_string());
}

#[tokio::test]
async fn an_empty_disk_of_an_envelope_reads_as_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    qcow2(&folder.path().join("a.qcow2"), 4);
    let text = envelope("e", &["a.qcow2", "b.qcow2"]).replace("o:fileRef='f1'", "");
    std::fs::write(folder.path().join("e.ovf"), text).unwrap();
    let source = open(&local(folder.path()), "e.ovf", &ExportOptions::default()).await.unwrap();
    assert_eq!(first_bytes(&*source).await, [4, 0]);
    assert_eq!(source.disks()[1].capacity, SIZE);
    assert!(source.whole(1).is_none());
}
