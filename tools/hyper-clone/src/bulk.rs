//! Files of clones: YAML or JSON with a list `clones` (or `specs`), a bare list, JSON records one
//! after the other, CSV with a line of names.

use std::io::Read;
use std::path::Path;

use hyper_common::error::{Error, Result, ResultExt};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest file that is read.
const LARGEST: u64 = 64 << 20;

/// Keys under which a document has its list.
const LISTS: [&str; 2] = ["clones", "specs"];

/// A clone as a file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The machine to clone.
    #[serde(alias = "source")]
    pub source_vm: String,
    /// The name of the clone.
    #[serde(alias = "target")]
    pub target_name: String,
    /// Whether it is switched on.
    #[serde(default)]
    pub power_on: Option<bool>,
    /// Its pool.
    #[serde(default, alias = "pool")]
    pub resource_pool: Option<String>,
    /// Its folder.
    #[serde(default, alias = "folder")]
    pub target_folder: Option<String>,
    /// Its datastore.
    #[serde(default)]
    pub datastore: Option<String>,
    /// Its host.
    #[serde(default)]
    pub host: Option<String>,
    /// Whether it shares disks with its source.
    #[serde(default, alias = "linked")]
    pub linked_clone: Option<bool>,
    /// Whether it goes on where its source is.
    #[serde(default, alias = "instant")]
    pub instant_clone: Option<bool>,
    /// The snapshot that it is made of.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// The specification of its guest.
    #[serde(default)]
    pub customize: Option<String>,
    /// Its guest's host name.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Its guest's addresses, with commas between them.
    #[serde(default)]
    pub ip: Option<String>,
    /// What a record says about its own form.
    #[serde(default)]
    pub schema: Option<String>,
}

/// All clones of a file; `-` is standard input.
///
/// # Errors
/// Those of reading; `Usage` for what is no list of clones, with the number of the one that is
/// wrong.
pub fn load(path: &str) -> Result<Vec<Line>> {
    let text = read(path).subject(|| path.to_owned())?;
    parse(&text, Form::of(path, &text)).subject(|| path.to_owned())
}

fn read(path: &str) -> Result<String> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text),
        path => std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)),
    };
    let read = read.map_err(|error| Error::io("read the clones", error))?;
    if read as u64 > LARGEST {
        return Err(Error::usage("this is too large for a list of clones"));
    }
    Ok(text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
    Yaml,
}

impl Form {
    /// By the name of the file, else by how it begins.
    fn of(path: &str, text: &str) -> Self {
        let suffix = Path::new(path).extension().and_then(|it| it.to_str()).unwrap_or_default();
        match suffix {
            "csv" => return Self::Csv,
            "yaml" | "yml" => return Self::Yaml,
            "json" | "ndjson" | "jsonl" => return Self::Json,
            _ => {}
        }
        let text = text.trim_start();
        let first = text.lines().next().unwrap_or_default();
        match text.starts_with(['{', '[']) {
            true => Self::Json,
            false if first.contains(',') && !first.contains(':') => Self::Csv,
            false => Self::Yaml,
        }
    }
}

fn parse(text: &str, form: Form) -> Result<Vec<Line>> {
    let items = match form {
        Form::Csv => csv(text)?,
        Form::Yaml => {
            let wrong = |error| Error::usage("this is no YAML").with_source(error);
            items(serde_saphyr::from_str(text).map_err(wrong)?)?
        }
        Form::Json => {
            let mut all = Vec::new();
            for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
                let wrong = |error| Error::usage("this is no JSON").with_source(error);
                all.extend(items(document.map_err(wrong)?)?);
            }
            all
        }
    };
    let line = |(at, item): (usize, Value)| {
        serde_json::from_value::<Line>(item).map_err(|error| {
            Error::usage(format!("clone {} of the list is wrong", at + 1)).with_source(error)
        })
    };
    let lines = items.into_iter().enumerate().map(line).collect::<Result<Vec<_>>>()?;
    match lines.is_empty() {
        true => Err(Error::usage("this names no clones")),
        false => Ok(lines),
    }
}

/// The list of a document, or the one record that it is.
fn items(document: Value) -> Result<Vec<Value>> {
    match document {
        Value::Array(all) => Ok(all),
        Value::Object(mut map) => {
            let Some(list) = LISTS.into_iter().find(|name| map.contains_key(*name)) else {
                return Ok(vec![Value::Object(map)]);
            };
            let all = map.remove(list);
            if let Some(other) = map.keys().find(|name| *name != "schema") {
                return Err(Error::usage(format!("beside {list:?} there is {other:?}"))
                    .with_hint("what holds for all clones is said by flags"));
            }
            match all {
                Some(Value::Array(all)) => Ok(all),
                _ => Err(Error::usage(format!("{list:?} is no list"))),
            }
        }
        _ => Err(Error::usage("this is no list of clones")
            .with_hint("clones: [{source_vm: a, target_name: b}]")),
    }
}

/// Each row by the names of the first; empty cells are not said.
fn csv(text: &str) -> Result<Vec<Value>> {
    let wrong = |error: csv::Error| Error::usage("this is no CSV").with_source(error);
    let truth = ["power_on", "linked_clone", "linked", "instant_clone", "instant"];
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let names = reader.headers().map_err(wrong)?.clone();
    let mut items = Vec::new();
    for row in reader.records() {
        let row = row.map_err(wrong)?;
        let mut item = Map::new();
        for (name, cell) in names.iter().zip(&row).filter(|(_, cell)| !cell.is_empty()) {
            let value = match cell {
                "true" | "yes" | "1" if truth.contains(&name) => Value::Bool(true),
                "false" | "no" | "0" if truth.contains(&name) => Value::Bool(false),
                _ => Value::from(cell),
            };
            item.insert(name.to_owned(), value);
        }
        items.push(Value::Object(item));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &str, text: &str) -> Result<Vec<Line>> {
        parse(text, Form::of(path, text))
    }

    fn line(source: &str, target: &str) -> Line {
        Line { source_vm: source.into(), target_name: target.into(), ..Line::default() }
    }

    #[test]
    fn every_form_says_the_same() {
        let pool = Some("gold".to_owned());
        let wanted = vec![
            Line { power_on: Some(true), resource_pool: pool, ..line("a", "b") },
            line("c", "d"),
        ];
        let yaml = "clones:\n- source_vm: a\n  target_name: b\n  power_on: true\n  \
                    resource_pool: gold\n- {source_vm: c, target_name: d}\n";
        let json = r#"{"specs":[{"source_vm":"a","target_name":"b","power_on":true,"pool":"gold"},
            {"source":"c","target":"d","schema":"x/v1"}]}"#;
        let records = "{\"source_vm\":\"a\",\"target_name\":\"b\",\"power_on\":true,\
            \"resource_pool\":\"gold\"}\n{\"source_vm\":\"c\",\"target_name\":\"d\"}\n";
        let csv = "source_vm,target_name,power_on,resource_pool\na,b,yes,gold\nc, d,,\n";
        for (path, text) in [
            ("a.yaml", yaml),
            ("-", yaml),
            ("a.json", json),
            ("-", json),
            ("-", records),
            ("a.csv", csv),
            ("-", csv),
        ] {
            let schema = |it: Line| Line { schema: None, ..it };
            let read: Vec<_> = all(path, text).unwrap().into_iter().map(schema).collect();
            assert_eq!(read, wanted, "{path}: {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("clones: [{source_vm: a, target_name: b, customize_guest: true}]", "customize_guest"),
            ("clones: [{source_vm: a, target_name: b}, {source_vm: c}]", "clone 2"),
            ("clones: {}", "is no list"),
            ("clones: []", "names no clones"),
            ("just words", "no list of clones"),
            ("{\"clones\":[], \"max_concurrent\": 5}", "max_concurrent"),
            ("[1, {]", "no JSON"),
            ("source_vm,target_name,power_on\na,b,perhaps\n", "clone 1"),
        ] {
            let error = all("-", text).unwrap_err();
            assert_eq!(error.kind().exit_status(), 2, "{text}");
            let words = hyper_common::error::one_line(&error);
            assert!(words.contains(part), "{text}: {words}");
        }
    }
}
