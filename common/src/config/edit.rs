//! Changes of the file by `hyper context`: lines are put in, replaced and taken out, so that
//! comments and order stay; the result is read back before it is written.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{Config, PasswordSource, Server, check_name};
use crate::error::{Error, ErrorKind, Result};

/// A context to be added.
#[derive(Debug, Clone)]
pub struct ContextDraft {
    /// Its name.
    pub name: String,
    /// The provider, one of [`super::PROVIDERS`].
    pub provider: String,
    /// The directory of a local context.
    pub path: Option<PathBuf>,
    /// A few words for lists.
    pub title: Option<String>,
    /// The namespace used where none is given.
    pub namespace: Option<String>,
    /// The kubeconfig of a cluster, where it is not the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// The cluster's context in its kubeconfig; `None` for the current one.
    pub kube_context: Option<String>,
    /// How its server is reached. Of the places for the password a file and a command are
    /// written down; the rest goes without saying.
    pub server: Option<Server>,
}

impl Config {
    /// The configuration with one more context.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `Usage` for a name that cannot be; `Config` when the
    /// file is laid out in a way that cannot be edited line by line.
    pub fn with_context(&self, draft: &ContextDraft) -> Result<Self> {
        check_name(&draft.name).map_err(Error::usage)?;
        if self.document.contexts.contains_key(&draft.name) {
            return Err(Error::conflict("this context exists already")
                .with_subject(draft.name.clone())
                .with_hint(format!("`hyper context remove {}` first", draft.name)));
        }
        let mut lines = self.lines();
        let at = match top_level(&lines, "contexts") {
            Some(at) => {
                // `contexts: {}` becomes a block.
                if let Some(line) = lines.get_mut(at) {
                    *line = "contexts:".to_owned();
                }
                block_end(&lines, at)
            }
            None => {
                lines.push("contexts:".to_owned());
                lines.len()
            }
        };
        let indent = self.indent(&lines);
        let entry = entry_lines(draft, &indent)?;
        lines.splice(at..at, entry);
        let mut expected = self.entries();
        expected.insert(draft.name.clone());
        self.checked(lines, &expected, self.chosen())
    }

    /// The configuration without the context `name`; when it was the current one, none is set.
    ///
    /// # Errors
    /// `NotFound` when it does not stand in the file; `Config` as [`Config::with_context`].
    pub fn without_context(&self, name: &str) -> Result<Self> {
        if !self.document.contexts.contains_key(name) {
            return Err(match self.context(name) {
                Ok(_) => Error::conflict("this context is built in").with_subject(name),
                Err(error) => error,
            });
        }
        let mut lines = self.lines();
        let start = top_level(&lines, "contexts").ok_or_else(|| self.not_editable())?;
        let end = block_end(&lines, start);
        let depth = self.indent(&lines).len();
        let is_entry =
            |line: &String| key(line).is_some_and(|(at, key)| at == depth && key == name);
        let first = (start + 1..end)
            .find(|&at| lines.get(at).is_some_and(is_entry))
            .ok_or_else(|| self.not_editable())?;
        let last = (first + 1..end)
            .find(|&at| lines.get(at).and_then(|line| key(line)).is_some_and(|(at, _)| at <= depth))
            .unwrap_or(end);
        lines.drain(first..last);
        let mut expected = self.entries();
        expected.remove(name);
        if expected.is_empty()
            && let Some(line) = lines.get_mut(start)
        {
            *line = "contexts: {}".to_owned();
        }
        let mut current = self.chosen();
        if current == Some(name) {
            current = None;
            if let Some(at) = top_level(&lines, "current_context") {
                lines.remove(at);
            }
        }
        self.checked(lines, &expected, current)
    }

    /// The configuration with `name` as the current context.
    ///
    /// # Errors
    /// `NotFound` for a name that is no context; `Config` as [`Config::with_context`].
    pub fn with_current(&self, name: &str) -> Result<Self> {
        self.context(name)?;
        let mut lines = self.lines();
        let line = format!("current_context: {}", quoted(name)?);
        match top_level(&lines, "current_context") {
            Some(at) => lines.splice(at..=at, [line]).for_each(drop),
            None => {
                let at = lines.iter().position(|line| key(line).is_some()).unwrap_or(lines.len());
                lines.insert(at, line);
            }
        }
        self.checked(lines, &self.entries(), Some(name))
    }

    /// Writes the file in one step, readable by its owner alone where it is new.
    ///
    /// # Errors
    /// `Io`, `Auth` as the operating system says.
    pub fn save(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::io("make the configuration's folder", error)
                    .with_subject(folder.display().to_string())
            })?;
        }
        let text = self.text.as_deref().unwrap_or_default();
        let mode = std::fs::metadata(&self.path).map_or(0o600, |meta| meta.mode() & 0o777);
        crate::fs::write_atomic(&self.path, text.as_bytes(), mode)
    }

    fn lines(&self) -> Vec<String> {
        self.text.as_deref().unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn entries(&self) -> BTreeSet<String> {
        self.document.contexts.keys().cloned().collect()
    }

    /// The indentation of the entries under `contexts`.
    fn indent(&self, lines: &[String]) -> String {
        let entry = top_level(lines, "contexts")
            .and_then(|start| lines.get(start + 1..))
            .and_then(|rest| rest.iter().find_map(|line| key(line)));
        match entry {
            Some((depth, _)) if depth > 0 => " ".repeat(depth),
            _ => "  ".to_owned(),
        }
    }

    /// Reads the edited lines back: a layout that the edit did not understand must not be saved.
    fn checked(
        &self,
        lines: Vec<String>,
        names: &BTreeSet<String>,
        current: Option<&str>,
    ) -> Result<Self> {
        let mut text = lines.join("\n");
        text.push('\n');
        let parsed = Self::parse(&self.path, text).map_err(|_| self.not_editable())?;
        let edited = Self { text: parsed.text, document: parsed.document, ..self.clone() };
        let rest_same = self.document.contexts.iter().all(|(name, entry)| {
            !names.contains(name)
                || edited.document.contexts.get(name).is_some_and(|new| new.same(entry))
        });
        let same = rest_same
            && edited.entries() == *names
            && edited.chosen() == current
            && edited.document.aliases == self.document.aliases
            && edited.flag_defaults(None) == self.flag_defaults(None);
        if same { Ok(edited) } else { Err(self.not_editable()) }
    }

    fn not_editable(&self) -> Error {
        Error::new(ErrorKind::Config, "this layout cannot be edited without losing something")
            .with_subject(self.path.display().to_string())
            .with_hint("write `contexts:` as a block, one key to a line, or edit it by hand")
    }
}

/// The column and the name of a line `  name: …`; `None` for comments, blanks and all else.
fn key(line: &str) -> Option<(usize, String)> {
    let text = line.trim_start_matches(' ');
    if text.is_empty() || text.starts_with(['#', '-']) {
        return None;
    }
    let depth = line.len() - text.len();
    let quoted = text.starts_with(['"', '\'']);
    let end = if quoted {
        let quote = text.chars().next()?;
        text.get(1..)?.find(quote)? + 2
    } else {
        text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1))?
    };
    let name: String = serde_saphyr::from_str(text.get(..end)?).ok()?;
    Some((depth, name))
}

/// The line of a key at the left margin.
fn top_level(lines: &[String], name: &str) -> Option<usize> {
    lines.iter().position(|line| key(line).is_some_and(|(depth, key)| depth == 0 && key == name))
}

/// The line after the last one that belongs to the block that starts at `start`.
fn block_end(lines: &[String], start: usize) -> usize {
    let inside = |line: &&String| line.starts_with(' ');
    let rest = lines.get(start + 1..).unwrap_or_default();
    let next = rest.iter().position(|line| key(line).is_some_and(|(depth, _)| depth == 0));
    let body = rest.get(..next.unwrap_or(rest.len())).unwrap_or_default();
    // Comments and blanks at the left margin before the next block belong to that one.
    start + 1 + body.iter().rposition(|line| inside(&line)).map_or(0, |last| last + 1)
}

/// The lines of a new entry.
fn entry_lines(draft: &ContextDraft, indent: &str) -> Result<Vec<String>> {
    let mut lines = vec![
        format!("{indent}{}:", quoted(&draft.name)?),
        format!("{indent}{indent}provider: {}", quoted(&draft.provider)?),
    ];
    let text = |path: &Option<PathBuf>| {
        let text = path.as_ref().map(|path| path.to_str().map(str::to_owned).ok_or(path));
        text.transpose().map_err(|path| {
            Error::usage("a path that is not UTF-8 cannot stand in the configuration")
                .with_subject(path.display().to_string())
        })
    };
    let fields = [
        ("path", text(&draft.path)?),
        ("title", draft.title.clone()),
        ("namespace", draft.namespace.clone()),
        ("kubeconfig", text(&draft.kubeconfig)?),
        ("kube_context", draft.kube_context.clone()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            lines.push(format!("{indent}{indent}{name}: {}", quoted(&value)?));
        }
    }
    for (name, value) in
        draft.server.iter().map(server_fields).collect::<Result<Vec<_>>>()?.concat()
    {
        lines.push(format!("{indent}{indent}{name}: {value}"));
    }
    Ok(lines)
}

/// The keys of a server and their values as YAML.
fn server_fields(server: &Server) -> Result<Vec<(&'static str, String)>> {
    let text = |value: &Option<String>| value.as_deref().map(quoted).transpose();
    let path = |path: &PathBuf| quoted(&path.to_string_lossy());
    let files = server.ca_files.iter().map(path).collect::<Result<Vec<_>>>()?;
    let ca_file = match files.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    };
    let mut fields = vec![
        ("url", Some(quoted(&server.url)?)),
        ("user", text(&server.user)?),
        ("datacenter", text(&server.datacenter)?),
        ("ca_file", ca_file),
        ("thumbprint", text(&server.thumbprint)?),
        ("insecure", server.insecure.then(|| "true".to_owned())),
    ];
    for source in &server.passwords {
        match source {
            PasswordSource::File(file) => fields.push(("password_file", Some(path(file)?))),
            PasswordSource::Command(line) => {
                fields.push(("password_command", Some(quoted(line)?)));
            }
            _ => {}
        }
    }
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// A string as YAML in one line: plain where that reads back as the same string, else as JSON,
/// which is YAML too.
fn quoted(text: &str) -> Result<String> {
    let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'))
        && text.starts_with(|c: char| c.is_alphabetic() || c == '/')
        && serde_saphyr::from_str::<serde_json::Value>(text).ok()
            == Some(serde_json::Value::String(text.to_owned()));
    if plain {
        return Ok(text.to_owned());
    }
    serde_json::to_string(text)
        .map_err(|error| Error::usage("cannot be written as YAML").with_source(error))
}
