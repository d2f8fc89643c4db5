//! Which machines: references typed, from a file, or from standard input.

use std::io::Read;
use std::path::PathBuf;

use hyper_common::config::{Config, ContextConfig};
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::tool::flags::ReferenceFlags;
use hyper_common::vm::VmId;
use serde::Serialize;

/// Most bytes of references that are read from a file or a pipe.
const MOST: u64 = 64 << 20;

/// One machine that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is.
    pub context: ContextConfig,
    /// What names it there.
    pub name: Name,
    /// How messages call it: as it was typed.
    pub label: String,
}

/// What names a machine within a context.
#[derive(Debug, Clone)]
pub enum Name {
    /// To be resolved.
    Reference(String),
    /// As the provider issued it.
    Id(VmId),
}

/// The machines as they were asked for.
#[derive(Debug, Serialize)]
pub struct Wants {
    references: Vec<String>,
    stdin: bool,
    file: Option<PathBuf>,
    #[serde(skip)]
    context: ReferenceFlags,
}

impl Wants {
    /// Checks the references that were typed.
    ///
    /// # Errors
    /// `Usage` where nothing is named; `NotFound` for a context.
    pub fn new(
        typed: &[String],
        file: Option<PathBuf>,
        context: &ReferenceFlags,
        config: &Config,
    ) -> Result<Self> {
        let stdin = typed.iter().any(|reference| reference == "-");
        let references: Vec<_> =
            typed.iter().filter(|reference| *reference != "-").cloned().collect();
        if references.is_empty() && !stdin && file.is_none() {
            return Err(Error::usage("no machine was named")
                .with_hint("name one, such as local:appliance.ova, or - to read names"));
        }
        for reference in &references {
            context.locate(config, reference)?;
        }
        Ok(Self { references, stdin, file, context: context.clone() })
    }

    /// How many were typed.
    pub fn known(&self) -> usize {
        self.references.len()
    }

    /// All of them, those from the file and from standard input included.
    ///
    /// # Errors
    /// `Usage` for a line that is no reference; `Io`.
    pub async fn read(&self, config: &Config) -> Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        for reference in &self.references {
            wanted.push(self.locate(config, reference)?);
        }
        if let Some(path) = &self.file {
            let file = std::fs::File::open(path).map_err(|error| {
                Error::io("open the list of machines", error)
                    .with_subject(path.display().to_string())
            })?;
            self.parse(&read_text(file)?, config, &mut wanted)?;
        }
        if self.stdin {
            let text = tokio::task::spawn_blocking(|| read_text(std::io::stdin())).await;
            let text = text.map_err(|error| {
                Error::new(ErrorKind::Internal, "read standard input").with_source(error)
            })??;
            self.parse(&text, config, &mut wanted)?;
        }
        Ok(wanted)
    }

    fn locate(&self, config: &Config, reference: &str) -> Result<Wanted> {
        let (context, rest) = self.context.locate(config, reference)?;
        let name = match rest.strip_prefix('@') {
            Some(id) => Name::Id(VmId(id.to_owned())),
            None => Name::Reference(rest),
        };
        Ok(Wanted { context, name, label: reference.to_owned() })
    }

    /// References a line, JSON records a line, or one JSON document with `items`.
    fn parse(&self, text: &str, config: &Config, wanted: &mut Vec<Wanted>) -> Result<()> {
        if let Ok(document) = serde_json::from_str::<serde_json::Value>(text) {
            let items = document.get("items").and_then(|items| items.as_array());
            for record in items.unwrap_or(&vec![document.clone()]) {
                wanted.push(of_record(record, config)?);
            }
            return Ok(());
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !line.starts_with('{') {
                wanted.push(self.locate(config, line)?);
                continue;
            }
            let record = serde_json::from_str(line).map_err(|error| {
                Error::usage(format!("line {} is no JSON record", number + 1)).with_source(error)
            })?;
            wanted.push(of_record(&record, config)?);
        }
        Ok(())
    }
}

/// The machine of a record such as `hyper vm list -o ndjson` prints.
fn of_record(record: &serde_json::Value, config: &Config) -> Result<Wanted> {
    let field = |name: &str| record.get(name).and_then(|value| value.as_str());
    let (Some(id), Some(context)) = (field("id"), field("context")) else {
        return Err(Error::usage("a record without id and context names no machine")
            .with_hint("hyper vm list -o ndjson prints records that do"));
    };
    Ok(Wanted {
        context: config.context(context)?,
        name: Name::Id(VmId(id.to_owned())),
        label: field("name").unwrap_or(id).to_owned(),
    })
}

fn read_text(from: impl Read) -> Result<String> {
    let mut text = String::new();
    let read = from.take(MOST + 1).read_to_string(&mut text);
    let read = read.map_err(|error| Error::io("read the list of machines", error))?;
    if read as u64 > MOST {
        return Err(Error::usage(format!("the list of machines is longer than {MOST} bytes")));
    }
    Ok(text)
}
