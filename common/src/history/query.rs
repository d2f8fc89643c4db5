//! Reading the journal, newest run first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::backward::Backward;
use super::entry::{Action, ArtifactEntry, BeginLine, EndLine, Line, LineBody, Outcome, Thing};
use super::filter::RunFilter;
use super::journal::is_alive;
use super::record::RunRecord;
use super::segment::{self, LONGEST_LINE};
use crate::config::Login;
use crate::error::{Error, Result};

/// The runs of a journal that pass a filter, newest begin first, read as they are asked for. What
/// is held is one block of a file, and the lines of runs that were at work at the same time.
/// Lines that make no sense (torn by a crash, of a later version) are passed over.
#[derive(Debug)]
pub struct Runs {
    dir: PathBuf,
    filter: RunFilter,
    /// Files still to read, oldest first, with the length each had at the start.
    ahead: Vec<(String, u64)>,
    /// The lengths of all files at the start: what comes after was written meanwhile.
    lengths: HashMap<String, u64>,
    lines: Option<Backward>,
    open: HashMap<String, Pieces>,
}

/// What was met of a run whose begin was not met yet.
#[derive(Debug, Default)]
struct Pieces {
    end: Option<(jiff::Timestamp, EndLine)>,
    /// Last one first.
    artifacts: Vec<ArtifactEntry>,
    logins: Vec<Login>,
    /// The last that is known of each thing, last one first.
    things: Vec<(Thing, Action)>,
    known: std::collections::HashSet<Thing>,
}

impl Runs {
    /// Looks at the journal in `dir`. A folder that is not there is an empty journal. Needs no
    /// right to write.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn open(dir: &Path, filter: RunFilter) -> Result<Self> {
        let list = || -> io::Result<Vec<(String, u64)>> {
            let names = segment::names(dir)?.into_iter();
            names.map(|name| Ok((name.clone(), std::fs::metadata(dir.join(name))?.len()))).collect()
        };
        tracing::info!(folder = %dir.display(), "reading the history of runs");
        let files = list().map_err(|e| unreadable(dir, e))?;
        // Whole months before the wanted time need not be opened.
        let first = filter.since.map(segment::name_at).unwrap_or_default();
        let lengths = files.iter().cloned().collect();
        let ahead = files.into_iter().filter(|(name, _)| *name >= first).collect();
        let (dir, open) = (dir.to_owned(), HashMap::new());
        Ok(Self { dir, filter, ahead, lengths, lines: None, open })
    }

    fn next_run(&mut self) -> io::Result<Option<RunRecord>> {
        while let Some(bytes) = self.next_line()? {
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { continue };
            if let Some(run) = self.take(line)?
                && self.filter.accepts(&run)
            {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.lines.as_mut().and_then(Iterator::next) {
                return line.map(Some);
            }
            let Some((name, len)) = self.ahead.pop() else { return Ok(None) };
            self.lines = Some(Backward::new(File::open(self.dir.join(name))?, len));
        }
    }

    /// Puts a line to its run; gives the run once its begin is met.
    fn take(&mut self, line: Line) -> io::Result<Option<RunRecord>> {
        if let LineBody::Begin(begin) = line.body {
            let pieces = self.open.remove(&line.run).unwrap_or_default();
            return self.whole(line.run, line.time, begin, pieces).map(Some);
        }
        let pieces = self.open.entry(line.run).or_default();
        match line.body {
            LineBody::End(end) => pieces.end = Some((line.time, end)),
            LineBody::Artifact(artifact) => pieces.artifacts.push(artifact),
            LineBody::Login(login) => pieces.logins.push(login),
            LineBody::Note { action, thing } if pieces.known.insert(thing.clone()) => {
                pieces.things.push((thing, action));
            }
            LineBody::Note { .. } | LineBody::Begin(_) | LineBody::Unknown => {}
        }
        Ok(None)
    }

    fn whole(
        &self,
        id: String,
        started: jiff::Timestamp,
        begin: BeginLine,
        mut pieces: Pieces,
    ) -> io::Result<RunRecord> {
        let mut outcome = Outcome::Lost;
        if pieces.end.is_none() {
            if is_alive(&self.dir, &id)? {
                outcome = Outcome::Running;
            } else {
                // It may have ended between our look at the files and our look at its lock.
                pieces.end = self.end_since(&id)?;
            }
        }
        let (ended, end) = pieces.end.unzip();
        pieces.things.retain(|(_, action)| *action == Action::Making);
        pieces.things.reverse();
        pieces.artifacts.reverse();
        pieces.logins.reverse();
        Ok(RunRecord {
            id,
            tool: begin.tool,
            version: begin.version,
            outcome: end.as_ref().map_or(outcome, |end| end.outcome),
            started,
            ended,
            seconds: end.as_ref().map(|end| end.seconds),
            pid: begin.pid,
            host: begin.host,
            sources: begin.sources,
            targets: begin.targets,
            request: begin.request,
            artifacts: pieces.artifacts,
            logins: pieces.logins,
            counts: end.as_ref().map(|end| end.counts),
            read_bytes: end.as_ref().map(|end| end.read_bytes),
            written_bytes: end.as_ref().map(|end| end.written_bytes),
            error: end.and_then(|end| end.error),
            leftovers: pieces.things.into_iter().map(|(thing, _)| thing).collect(),
        })
    }

    /// The end of the run `id` among the lines that came since this reading began.
    fn end_since(&self, id: &str) -> io::Result<Option<(jiff::Timestamp, EndLine)>> {
        for name in segment::names(&self.dir)? {
            let from = self.lengths.get(&name).copied().unwrap_or(0);
            let mut file = File::open(self.dir.join(&name))?;
            file.seek(SeekFrom::Start(from))?;
            let mut reader = BufReader::new(file);
            loop {
                let mut bytes = Vec::new();
                let longest = LONGEST_LINE as u64;
                if reader.by_ref().take(longest).read_until(b'\n', &mut bytes)? == 0 {
                    break;
                }
                match serde_json::from_slice::<Line>(&bytes) {
                    Ok(Line { run, time, body: LineBody::End(end) }) if run == id => {
                        return Ok(Some((time, end)));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Runs {
    type Item = Result<RunRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_run().map_err(|e| unreadable(&self.dir, e)).transpose()
    }
}

/// The run with the id `id`, or the only one whose id starts with it.
///
/// # Errors
/// `NotFound`; `Conflict` where several ids start with it, with some of them as hints; what the
/// operating system said.
pub fn find_run(dir: &Path, id: &str) -> Result<RunRecord> {
    let mut found: Option<RunRecord> = None;
    let mut others = Vec::new();
    for run in Runs::open(dir, RunFilter::default())? {
        let run = run?;
        if run.id == id {
            return Ok(run);
        }
        if !id.is_empty() && run.id.starts_with(id) {
            match &found {
                None => found = Some(run),
                Some(_) if others.len() < 5 => others.push(run.id),
                Some(_) => {}
            }
        }
    }
    match found {
        Some(run) if others.is_empty() => Ok(run),
        Some(run) => {
            let mut error = Error::conflict("several runs have an id like this").with_subject(id);
            for id in std::iter::once(&run.id).chain(&others) {
                error = error.with_hint(format!("one is {id}"));
            }
            Err(error)
        }
        None => Err(Error::not_found("no such run in the history")
            .with_subject(id)
            .with_hint("hyper history runs list shows what there is")),
    }
}

fn unreadable(dir: &Path, error: io::Error) -> Error {
    Error::io("read the history of runs", error).with_subject(dir.display().to_string())
}
