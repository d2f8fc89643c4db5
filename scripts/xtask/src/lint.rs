//! `xtask lint`: the layers of `common`, and the sizes of files.
//!
//! A room of `common/src` may use rooms of its own height and below, never one above; a provider
//! never uses another provider. Test code is held to the same rule.

use std::path::{Path, PathBuf};

use hyper_common::error::{Error, ErrorKind, Result};

use crate::{io, say};

/// The rooms by height, from the bottom up.
const ROOMS: [&[&str]; 5] = [
    &["error", "cancel", "time"],
    &["vm", "fs", "config"],
    &["image", "package", "sink", "net"],
    &["provider", "transfer", "output", "history", "progress"],
    &["tool"],
];

/// A file gets a warning above so many lines …
const LONG: usize = 500;
/// … and is refused above so many.
const TOO_LONG: usize = 800;

/// Checks the repository.
///
/// # Errors
/// `Integrity` when something breaks a rule; each finding is printed.
pub fn run(root: &Path) -> Result<()> {
    let mut findings = Vec::new();
    for file in sources(root)? {
        let text = io(std::fs::read_to_string(root.join(&file)), "read the source", &file)?;
        findings.extend(layers(&file, &text));
        findings.extend(size(&file, &text));
    }
    for finding in &findings {
        say(&finding.line);
    }
    let refused = findings.iter().filter(|finding| finding.refused).count();
    if refused == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Integrity, format!("{refused} findings to be fixed")))
}

/// Something that was found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: String,
    refused: bool,
}

impl Finding {
    fn refused(line: String) -> Self {
        Self { line: format!("error: {line}"), refused: true }
    }
}

/// All Rust sources below the folders that hold any, by path below the root.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders =
        vec![PathBuf::from("common"), PathBuf::from("tools"), PathBuf::from("scripts")];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for entry in io(std::fs::read_dir(&full), "read the folder", &full)? {
            let entry = io(entry, "read the folder", &full)?;
            let path = folder.join(entry.file_name());
            let kind = io(entry.file_type(), "look at the file", &path)?;
            if kind.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|suffix| suffix == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn height(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

/// What the `crate::` paths of a file in `common/src` may not name.
fn layers(file: &Path, text: &str) -> Vec<Finding> {
    let Ok(inside) = file.strip_prefix("common/src") else { return Vec::new() };
    let mut parts = inside.iter().filter_map(|part| part.to_str());
    let room = parts.next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let provider = parts.next().map(|part| part.trim_end_matches(".rs").to_owned());
    if room == "lib" {
        return Vec::new();
    }
    let Some(own) = height(&room) else {
        return vec![Finding::refused(format!("{}: no layer for the room {room}", file.display()))];
    };
    let mut findings = Vec::new();
    for (number, line) in statements(text) {
        let place = || format!("{}:{number}", file.display());
        for path in crate_paths(&line) {
            let mut names = path.split("::");
            let used = names.next().unwrap_or_default();
            let Some(above) = height(used) else { continue };
            if above > own {
                findings
                    .push(Finding::refused(format!("{}: {room} uses {used} above it", place())));
            }
            let sibling = names.next().unwrap_or_default();
            if room == "provider"
                && used == "provider"
                && is_platform(sibling)
                && provider.as_deref().is_some_and(|own| is_platform(own) && own != sibling)
            {
                findings.push(Finding::refused(format!(
                    "{}: the provider {} uses the provider {sibling}",
                    place(),
                    provider.as_deref().unwrap_or_default()
                )));
            }
        }
    }
    findings
}

/// Folders of `provider` that are platforms rather than what platforms share.
fn is_platform(folder: &str) -> bool {
    !matches!(folder, "" | "mod" | "facets" | "registry" | "conformance" | "tests")
        && folder.chars().all(|c| c.is_ascii_lowercase())
}

/// The lines with their numbers, comments left out; a group `crate::{…}` over several lines is
/// one.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        match statements.last_mut().filter(|_| open) {
            Some((_, statement)) => statement.push_str(code),
            None => statements.push((number + 1, code.to_owned())),
        }
        open =
            statements.last().is_some_and(|(_, it)| it.contains("crate::{") && !it.contains(';'));
    }
    statements
}

/// The paths behind `crate::` in a statement; a group counts once for each name.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code.get(at + "crate::".len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => {
                let names = group.split([',', '}']).map(str::trim);
                paths.extend(names.filter(|name| !name.is_empty()).map(path_start));
            }
            None => paths.push(path_start(rest)),
        }
    }
    paths
}

fn path_start(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect()
}

fn size(file: &Path, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let message = format!("{}: {lines} lines", file.display());
    if lines > TOO_LONG {
        return Some(Finding::refused(format!("{message}, at most {TOO_LONG}")));
    }
    (lines > LONG).then(|| Finding { line: format!("warning: {message}"), refused: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        layers(Path::new(file), text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn upward_imports_are_found_and_downward_ones_are_not() {
        let text = "use crate::error::Result;\nuse crate::{vm::Vm, tool::Tool};\n// crate::tool\n";
        assert_eq!(
            found("common/src/image/raw/mod.rs", text),
            ["error: common/src/image/raw/mod.rs:2: image uses tool above it"]
        );
        let group = "use crate::{\n    error::Result, // why\n    provider::Provider,\n};\n";
        assert_eq!(
            found("common/src/vm/mod.rs", group),
            ["error: common/src/vm/mod.rs:1: vm uses provider above it"]
        );
        assert_eq!(found("common/src/tool/mod.rs", text), [""; 0]);
        assert_eq!(found("tools/hyper/src/lib.rs", text), [""; 0]);
        assert_eq!(found("common/src/cancel.rs", "use crate::vm::Vm;").len(), 1);
        assert!(found("common/src/attic/mod.rs", "")[0].contains("no layer for the room attic"));
    }

    #[test]
    fn providers_do_not_use_each_other() {
        let text = "use crate::provider::aws::Client;\nuse crate::provider::facets::Export;\n";
        let file = "common/src/provider/local/mod.rs";
        assert_eq!(
            found(file, text),
            [format!("error: {file}:1: the provider local uses the provider aws")]
        );
        assert_eq!(found("common/src/provider/registry.rs", text), [""; 0]);
        assert_eq!(found("common/src/provider/aws/mod.rs", text), [""; 0]);
    }

    #[test]
    fn sizes_warn_before_they_refuse() {
        let size = |lines: usize| size(Path::new("a.rs"), &"x\n".repeat(lines));
        assert_eq!(size(500), None);
        assert!(!size(501).unwrap().refused);
        assert!(size(801).unwrap().refused);
    }
}
