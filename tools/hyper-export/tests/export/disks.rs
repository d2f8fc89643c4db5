//! Disks and machines for the tests, and qemu-img as the judge of what becomes of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub const MIB: usize = 1 << 20;

/// Guest bytes with something of everything: data that compresses badly and well, zeros, and
/// blocks of a few bytes.
pub fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for (number, block) in bytes.chunks_mut(64 << 10).enumerate() {
        match number % 4 {
            0 | 1 => fill(block, &mut state),
            2 => {
                let text = format!("disk {seed}, block {number}; ");
                for (byte, letter) in block.iter_mut().zip(text.bytes().cycle()) {
                    *byte = letter;
                }
            }
            _ if number % 8 == 7 => block[100] = 1,
            _ => {}
        }
    }
    bytes
}

/// Bytes that do not compress.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, &mut (seed | 1));
    bytes
}

/// Bytes that compress by about a half.
pub fn soft(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = noise(len, seed);
    bytes.iter_mut().for_each(|byte| *byte &= 0x0F);
    bytes
}

fn fill(block: &mut [u8], state: &mut u64) {
    for word in block.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// qemu-img, run to a good end.
#[track_caller]
pub fn qemu_img(args: &[&str]) -> String {
    let output = judge(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "qemu-img {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn judge(args: &[&str]) -> std::process::Output {
    let program = std::env::var_os("HYPER_TB_QEMU_IMG").unwrap_or_else(|| "qemu-img".into());
    let output = Command::new(&program).args(args).output();
    output.unwrap_or_else(|error| panic!("{program:?}: {error}; scripts/test brings qemu-img"))
}

/// Fails unless the image holds exactly these guest bytes.
#[track_caller]
pub fn holds(image: &Path, format: &str, bytes: &[u8]) {
    let raw = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(raw.path(), bytes).unwrap();
    let raw = raw.path().to_str().unwrap();
    qemu_img(&["compare", "-f", format, "-F", "raw", image.to_str().unwrap(), raw]);
    if matches!(format, "qcow2" | "vdi" | "vhdx") {
        qemu_img(&["check", "-f", format, image.to_str().unwrap()]);
    }
}

/// What qemu-img says of an image.
#[track_caller]
pub fn info(image: &Path) -> Value {
    serde_json::from_str(&qemu_img(&["info", "--output=json", image.to_str().unwrap()])).unwrap()
}

/// A raw image.
pub fn raw(path: &Path, bytes: &[u8]) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    path.to_path_buf()
}

/// An image that qemu-img makes of these guest bytes.
pub fn image(path: &Path, format: &str, options: &str, bytes: &[u8]) -> PathBuf {
    let from = raw(&path.with_extension("from"), bytes);
    let mut args = vec!["convert", "-f", "raw", "-O", format];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    qemu_img(&[&args[..], &[from.to_str().unwrap(), path.to_str().unwrap()]].concat());
    std::fs::remove_file(from).unwrap();
    path.to_path_buf()
}

/// A streamOptimized VMDK.
pub fn stream_vmdk(path: &Path, bytes: &[u8]) -> PathBuf {
    image(path, "vmdk", "subformat=streamOptimized", bytes)
}

/// A VMX file whose disks are these files, which lie in its folder or are named absolutely.
pub fn vmx(folder: &Path, name: &str, disks: &[&str]) -> PathBuf {
    let mut text = format!(
        "displayName = \"{name}\"\nguestOS = \"debian12-64\"\nnumvcpus = \"2\"\n\
         memSize = \"1024\"\nscsi0.present = \"TRUE\"\nscsi0.virtualDev = \"pvscsi\"\n\
         ethernet0.present = \"TRUE\"\nethernet0.virtualDev = \"vmxnet3\"\n\
         ethernet0.addressType = \"static\"\nethernet0.address = \"00:50:56:00:00:01\"\n"
    );
    for (unit, file) in disks.iter().enumerate() {
        text.push_str(&format!(
            "scsi0:{unit}.present = \"TRUE\"\nscsi0:{unit}.fileName = \"{file}\"\n"
        ));
    }
    let path = folder.join("machine.vmx");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// A machine of one VMX file and monolithicSparse VMDKs; answers with the guest bytes of each disk.
pub fn machine(folder: &Path, name: &str, sizes: &[usize]) -> Vec<Vec<u8>> {
    std::fs::create_dir_all(folder).unwrap();
    let mut all = Vec::new();
    let names: Vec<_> = (0..sizes.len()).map(|number| format!("d{number}.vmdk")).collect();
    for (number, size) in sizes.iter().enumerate() {
        let bytes = content(*size, name.len() as u64 * 100 + number as u64);
        image(&folder.join(&names[number]), "vmdk", "", &bytes);
        all.push(bytes);
    }
    let files: Vec<_> = names.iter().map(String::as_str).collect();
    vmx(folder, name, &files);
    all
}

/// An OVF folder with streamOptimized disks, of the test's own hand; answers with the OVF's path.
pub fn ovf(folder: &Path, name: &str, disks: &[&[u8]]) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let (mut files, mut list, mut items) = (String::new(), String::new(), String::new());
    for (number, bytes) in disks.iter().enumerate() {
        let file = format!("{name}-{number}.vmdk");
        stream_vmdk(&folder.join(&file), bytes);
        let size = std::fs::metadata(folder.join(&file)).unwrap().len();
        files +=
            &format!("<File ovf:id=\"file{number}\" ovf:href=\"{file}\" ovf:size=\"{size}\"/>\n");
        list += &format!(
            "<Disk ovf:diskId=\"vmdisk{number}\" ovf:fileRef=\"file{number}\" \
             ovf:capacity=\"{}\" ovf:format=\"http://www.vmware.com/interfaces/\
             specifications/vmdk.html#streamOptimized\"/>\n",
            bytes.len()
        );
        items += &format!(
            "<Item><rasd:AddressOnParent>{number}</rasd:AddressOnParent>\
             <rasd:ElementName>disk {number}</rasd:ElementName>\
             <rasd:HostResource>ovf:/disk/vmdisk{number}</rasd:HostResource>\
             <rasd:InstanceID>1{number}</rasd:InstanceID><rasd:Parent>3</rasd:Parent>\
             <rasd:ResourceType>17</rasd:ResourceType></Item>\n"
        );
    }
    let text = format!(
        "<?xml version=\"1.0\"?>\n\
         <Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/\
         CIM_ResourceAllocationSettingData\">\n\
         <References>{files}</References>\n\
         <DiskSection><Info>disks</Info>{list}</DiskSection>\n\
         <VirtualSystem ovf:id=\"{name}\"><Info>a machine</Info><Name>{name}</Name>\n\
         <VirtualHardwareSection><Info>hardware</Info>\n\
         <Item><rasd:ElementName>2 CPUs</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>\
         <rasd:ResourceType>3</rasd:ResourceType>\
         <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>\n\
         <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>\
         <rasd:ElementName>1 GiB</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>\
         <rasd:ResourceType>4</rasd:ResourceType>\
         <rasd:VirtualQuantity>1024</rasd:VirtualQuantity></Item>\n\
         <Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI</rasd:ElementName>\
         <rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI\
         </rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>\n\
         {items}</VirtualHardwareSection></VirtualSystem></Envelope>\n"
    );
    let path = folder.join(format!("{name}.ovf"));
    std::fs::write(&path, text).unwrap();
    path
}

/// An OVA that tar makes of an OVF folder.
pub fn ova(path: &Path, name: &str, disks: &[&[u8]]) -> PathBuf {
    let folder = tempfile::tempdir().unwrap();
    ovf(folder.path(), name, disks);
    let mut tar = Command::new("tar");
    tar.args(["--format=ustar", "-cf"]).arg(path).arg("-C").arg(folder.path());
    tar.arg(format!("{name}.ovf"));
    tar.args((0..disks.len()).map(|number| format!("{name}-{number}.vmdk")));
    assert!(tar.status().unwrap().success());
    path.to_path_buf()
}

/// Unpacks a tar file and answers with the folder.
pub fn untar(path: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    assert!(tar.arg("-xf").arg(path).arg("-C").arg(folder.path()).status().unwrap().success());
    folder
}

/// The digest that a program such as `sha256sum` prints of a file.
pub fn digest(program: &str, path: &Path) -> String {
    let output = Command::new(program).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().trim_start_matches('\\').to_owned()
}
