//! Recordings in the form of asciinema (asciicast v2): a line for the whole, then one for each
//! piece of text and when it came. What is typed is not recorded, because it may be a password.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use hyper_common::error::{Error, Result};
use hyper_common::fs::{Claim, Target};
use serde_json::json;

/// A recording under way. It gets its name when it is finished.
pub struct Cast {
    claim: Claim,
    file: BufWriter<File>,
    begun: Instant,
    /// The front of a letter whose rest has not come yet.
    rest: Vec<u8>,
}

impl Cast {
    /// Begins a recording of a terminal of `columns` and `rows`.
    ///
    /// # Errors
    /// `Conflict` where the file is there and may not be replaced; those of making it.
    pub fn begin(path: &Path, overwrite: bool, (columns, rows): (u16, u16)) -> Result<Self> {
        let target = Target::new(path)?;
        if target.exists() && !overwrite {
            return Err(Error::conflict("this file exists already")
                .with_subject(path.display().to_string())
                .with_hint("--overwrite replaces it"));
        }
        let claim = target.claim()?;
        let file = BufWriter::new(claim.create()?);
        let mut cast = Self { claim, file, begun: Instant::now(), rest: Vec::new() };
        let head = json!({
            "version": 2,
            "width": columns,
            "height": rows,
            "timestamp": jiff::Timestamp::now().as_second(),
            "env": { "TERM": "vt220" },
        });
        cast.line(&head)?;
        Ok(cast)
    }

    /// Adds what was written.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            // The last letter may go on in the next piece; what is wrong by itself is not kept.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.rest.len(),
        };
        let piece: Vec<u8> = self.rest.drain(..whole).collect();
        if piece.is_empty() {
            return Ok(());
        }
        let time = self.begun.elapsed().as_secs_f64();
        self.line(&json!([time, "o", String::from_utf8_lossy(&piece)]))?;
        self.file.flush().map_err(|error| Error::io("write the recording", error))
    }

    /// Adds that the terminal has another size now.
    ///
    /// # Errors
    /// As [`Cast::add`].
    pub fn resize(&mut self, (columns, rows): (u16, u16)) -> Result<()> {
        let time = self.begun.elapsed().as_secs_f64();
        self.line(&json!([time, "r", format!("{columns}x{rows}")]))
    }

    fn line(&mut self, value: &serde_json::Value) -> Result<()> {
        writeln!(self.file, "{value}").map_err(|error| Error::io("write the recording", error))
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// As [`Cast::begin`].
    pub fn finish(self, overwrite: bool) -> Result<()> {
        let file = self.file.into_inner();
        let file = file.map_err(|error| Error::io("write the recording", error.into_error()))?;
        self.claim.commit(&file, overwrite)
    }
}
