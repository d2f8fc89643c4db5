//! `xtask demo`: makes `testdata/demo/appliance.ova`, the machine that scripts/try exports.
//!
//! The machine has two disks and a network card, and is small enough to be in the repository. Its
//! first disk starts in any PC: the boot sector below prints a line on the screen and on the first
//! serial port. The package is written by hyper's own export; the same sources give the same bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use hyper_common::error::{Error, ErrorKind, Result};

use crate::{io, say};

/// What the machine prints, and halts.
const GREETING: &str = "Hello from the appliance that hyper exported.\r\n";

/// Where a PC's firmware puts the boot sector.
const LOADED_AT: u16 = 0x7C00;

/// The boot sector's code, for a processor in real mode. It ends where the greeting begins; `si`
/// is filled in by [`boot_sector`].
const CODE: [u8; 42] = [
    0x31, 0xC0, // xor ax, ax
    0x8E, 0xD8, // mov ds, ax
    0x8E, 0xD0, // mov ss, ax
    0xBC, 0x00, 0x7C, // mov sp, 0x7C00
    0xFC, // cld
    0xBE, 0x00, 0x00, // mov si, greeting
    0xB8, 0xE3, 0x00, // mov ax, 0x00E3: set up the port, 9600 baud, 8N1
    0x31, 0xD2, // xor dx, dx: the first port
    0xCD, 0x14, // int 0x14
    0xAC, // next: lodsb
    0x84, 0xC0, // test al, al
    0x74, 0x10, // jz halt
    0x50, // push ax
    0xB4, 0x0E, // mov ah, 0x0E: print on the screen
    0x31, 0xDB, // xor bx, bx
    0xCD, 0x10, // int 0x10
    0x58, // pop ax
    0xB4, 0x01, // mov ah, 1: send to the port
    0x31, 0xD2, // xor dx, dx
    0xCD, 0x14, // int 0x14
    0xEB, 0xEB, // jmp next
    0xF4, // halt: hlt
];

/// Guest bytes of the two disks. The second is no multiple of any format's block.
const BOOT_BYTES: u64 = 64 << 20;
const DATA_BYTES: u64 = (48 << 20) + 7 * 512;

/// The machine, as libvirt describes one.
const DOMAIN: &str = "<domain type='kvm'>
  <name>appliance</name>
  <description>The demo machine of hyper</description>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='boot.raw'/>
      <target dev='hda' bus='ide'/>
      <boot order='1'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='data.raw'/>
      <target dev='hdb' bus='ide'/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:aa:bb:01'/>
      <source network='default'/>
      <model type='e1000'/>
    </interface>
  </devices>
</domain>
";

/// Makes the package anew.
///
/// # Errors
/// `Io`; `Internal` where the export fails.
pub fn run(root: &Path) -> Result<()> {
    let folder = root.join("testdata/demo");
    let scratch = io(tempfile::tempdir(), "make a scratch folder", &folder)?;
    boot_disk(&scratch.path().join("boot.raw"))?;
    data_disk(&scratch.path().join("data.raw"))?;
    let domain = scratch.path().join("appliance.xml");
    io(std::fs::write(&domain, DOMAIN), "write the description", &domain)?;
    io(std::fs::create_dir_all(&folder), "make the folder", &folder)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "hyper-export", "--"])
        .arg(format!("local:{}", domain.display()))
        .args(["--format", "ova", "--verify", "--overwrite", "--to"])
        .arg(folder.join("appliance.ova"))
        .env("SOURCE_DATE_EPOCH", "1767225600")
        .env("HYPER_STATE_DIR", scratch.path().join("state"))
        .current_dir(root)
        .status();
    if !io(status, "run hyper-export", &domain)?.success() {
        return Err(Error::new(ErrorKind::Internal, "the demo machine could not be exported"));
    }
    say("wrote testdata/demo/appliance.ova");
    Ok(())
}

/// The disk that the machine starts from: boot sector, one partition, and text far behind it.
fn boot_disk(path: &Path) -> Result<()> {
    let disk = create(path, BOOT_BYTES)?;
    write(&disk, path, 0, &boot_sector())?;
    let mut text = String::new();
    for number in 0..4000 {
        text.push_str(&format!("{number:>8}  a line of the demo machine's first partition\n"));
    }
    write(&disk, path, 1 << 20, text.as_bytes())?;
    // A run of zeros that are written, and the last sector.
    write(&disk, path, 20 << 20, &vec![0; 1 << 20])?;
    write(&disk, path, BOOT_BYTES - 512, &[0xE5; 512])
}

/// Code, greeting, and a partition table with one Linux partition from the first MiB on.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    let greeting = CODE.len() + 2;
    let address = LOADED_AT + greeting as u16;
    sector[..CODE.len()].copy_from_slice(&CODE);
    // jmp halt: interrupts wake the processor.
    sector[CODE.len()..greeting].copy_from_slice(&[0xEB, 0xFD]);
    sector[11..13].copy_from_slice(&address.to_le_bytes());
    sector[greeting..greeting + GREETING.len()].copy_from_slice(GREETING.as_bytes());
    let sectors = (BOOT_BYTES / 512) as u32 - 2048;
    sector[446..454].copy_from_slice(&[0x80, 0xFE, 0xFF, 0xFF, 0x83, 0xFE, 0xFF, 0xFF]);
    sector[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// The second disk: bytes that do not compress, bytes that do, and holes.
fn data_disk(path: &Path) -> Result<()> {
    let disk = create(path, DATA_BYTES)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = Vec::new();
    // xorshift64 (Marsaglia, 2003).
    while random.len() < 64 << 10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        random.extend_from_slice(&state.to_le_bytes());
    }
    write(&disk, path, 0, &random)?;
    write(&disk, path, (16 << 20) + 512, &random[..4096])?;
    write(&disk, path, 32 << 20, &[0x2A; 256 << 10])?;
    write(&disk, path, DATA_BYTES - 512, &random[..512])
}

fn create(path: &Path, bytes: u64) -> Result<File> {
    let file = io(File::create(path), "make the disk", path)?;
    io(file.set_len(bytes), "make the disk", path)?;
    Ok(file)
}

fn write(disk: &File, path: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    io(disk.write_all_at(bytes, at), "write the disk", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_greeting_and_partition_table_do_not_overlap() {
        assert!(CODE.len() + 2 + GREETING.len() < 446);
        let sector = boot_sector();
        assert_eq!(&sector[510..], [0x55, 0xAA]);
        // Jumps count from the byte behind them: to `halt` and back to `next`.
        assert_eq!(sector[25 + 0x10], 0xF4);
        assert_eq!(sector[41 - 0x15], 0xAC);
    }
}
