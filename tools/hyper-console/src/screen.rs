//! Pictures of screens, and keys.

use std::path::Path;

use hyper_common::error::{Error, Result};
use hyper_common::fs::{Target, write_small};
use hyper_common::tool::Context;

use crate::keys::Chord;
use crate::png;
use crate::record::{KeyRow, PictureRow};
use crate::rfb::Rfb;
use crate::run::Machine;
use crate::serial::show;

/// Takes a picture: the platform's own, else one of what a viewer would see.
///
/// # Errors
/// The provider's; `Conflict` for a file that is there.
pub async fn picture(
    machine: &Machine,
    to: &Path,
    overwrite: bool,
    cx: &mut Context,
) -> Result<()> {
    let is_stdout = to == Path::new("-");
    if is_stdout {
        cx.printer.yield_stdout();
    } else if Target::new(to)?.exists() && !overwrite {
        return Err(Error::conflict("this file exists already")
            .with_subject(to.display().to_string())
            .with_hint("--overwrite replaces it"));
    }
    let (file, made_by) = cx.cancel.unless_cancelled(take(machine)).await?;
    let (width, height) = png::size(&file)?;
    match is_stdout {
        true if !show(&file)? => {
            let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            return Err(Error::io("write to standard output", gone));
        }
        true => {}
        false => write_small(to, &file, overwrite)?,
    }
    cx.printer.one(&PictureRow {
        vm: machine.name.clone(),
        context: machine.context.clone(),
        path: to.display().to_string(),
        width,
        height,
        size_bytes: file.len() as u64,
        made_by,
    })
}

async fn take(machine: &Machine) -> Result<(Vec<u8>, &'static str)> {
    let console = machine.console()?;
    if let Some(file) = console.picture(&machine.id).await? {
        return Ok((file.to_vec(), "platform"));
    }
    let mut rfb = Rfb::open(console.screen(&machine.id, true).await?).await?;
    let pixels = rfb.picture().await?;
    Ok((png::write(rfb.width, rfb.height, &pixels)?, "hyper"))
}

/// Presses keys, without ending the session of whoever sees the screen.
///
/// # Errors
/// The provider's.
pub async fn press(machine: &Machine, keys: &[Chord], cx: &mut Context) -> Result<()> {
    let chords: Vec<&[u32]> = keys.iter().map(|chord| &chord.symbols[..]).collect();
    let work = async {
        if machine.console()?.press(&machine.id, &chords).await? {
            return Ok(());
        }
        let mut rfb = Rfb::open(machine.console()?.screen(&machine.id, true).await?).await?;
        for chord in keys {
            rfb.press(&chord.symbols).await?;
        }
        rfb.settle().await
    };
    cx.cancel.unless_cancelled(work).await?;
    cx.printer.one(&KeyRow {
        vm: machine.name.clone(),
        context: machine.context.clone(),
        keys: keys.iter().map(|it| it.name.clone()).collect(),
    })
}
