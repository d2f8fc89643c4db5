//! `--save`: the CSV of a list in a file of today's date, whole or not at all.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::error::{Error, Result};
use crate::fs::{Claim, Target};
use crate::output::{OutputFormat, Printer, Target as Stream};

/// `--save` and `--overwrite`.
#[derive(Debug, Clone, Copy, Default, Args, Serialize)]
pub struct SaveFlags {
    /// Write CSV to a file of today's date in the current folder, and print nothing
    #[arg(long)]
    pub save: bool,

    /// Replace the file of --save
    #[arg(long, requires = "save")]
    pub overwrite: bool,
}

/// A file that is being written. Without [`Saving::commit`] it never gets its name.
#[derive(Debug)]
#[must_use = "commit it"]
pub struct Saving {
    claim: Option<Claim>,
    file: File,
    path: PathBuf,
    overwrite: bool,
}

impl Context {
    /// Sends all further records to the file `STEM-YYYY-MM-DD.csv`, where the flags want that.
    ///
    /// # Errors
    /// `Usage` for another format than CSV; `Conflict` where the file is there and may not be
    /// replaced, or another run writes it; those of making it.
    pub fn save(&mut self, flags: SaveFlags, stem: &str) -> Result<Option<Saving>> {
        if !flags.save {
            return Ok(None);
        }
        if !matches!(self.printer.format(), OutputFormat::Table | OutputFormat::Csv) {
            return Err(Error::usage("--save writes CSV and nothing else")
                .with_hint("leave -o away, or give -o csv"));
        }
        let today = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
        let path = PathBuf::from(format!("{stem}-{today}.csv"));
        let target = Target::new(&path)?;
        if target.exists() && !flags.overwrite {
            return Err(Error::conflict("the file is there already")
                .with_subject(path.display().to_string())
                .with_hint("--overwrite replaces it"));
        }
        let claim = target.claim()?;
        let file = claim.create()?;
        let shared = file.try_clone().map_err(|error| Error::io("write the file", error))?;
        self.printer = Printer::to(OutputFormat::Csv, BufWriter::new(shared), None);
        Ok(Some(Saving { claim: Some(claim), file, path, overwrite: flags.overwrite }))
    }
}

impl Saving {
    /// Gives the file its name, tells it, and prints to standard output again.
    ///
    /// # Errors
    /// Those of writing; `Conflict` where somebody else made a file of that name meanwhile.
    pub fn commit(mut self, cx: &mut Context) -> Result<()> {
        cx.printer = Printer::new(OutputFormat::Table, Stream::Stdout);
        if let Some(claim) = self.claim.take() {
            let named = claim.commit(&self.file, self.overwrite);
            named.inspect_err(|_| drop(claim.discard()))?;
        }
        cx.remarks.say(&format!("wrote {}", self.path.display()));
        Ok(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.discard();
        }
    }
}
