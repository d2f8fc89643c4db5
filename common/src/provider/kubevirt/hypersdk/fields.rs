//! A description from which everything that is understood is taken; what stays is told.

use serde_json::Value;

use super::super::quantity;
use crate::error::{Error, Result};

/// Fields that nobody has taken yet.
pub struct Fields {
    value: Value,
    /// Where in the object they are: `spec.disks[0]`.
    path: String,
    /// The object, as a person knows it.
    object: String,
    /// Sentences for what was taken and means something else.
    said: Vec<String>,
}

impl Fields {
    /// All of an object.
    pub fn new(value: Value, object: &str) -> Self {
        Self { value, path: String::new(), object: object.to_owned(), said: Vec::new() }
    }

    /// Takes the value at a path such as `image.source`; nothing where it is missing or null.
    pub fn take(&mut self, path: &str) -> Option<Value> {
        let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
        let mut at = &mut self.value;
        for parent in parents.split('.').filter(|it| !it.is_empty()) {
            at = at.get_mut(parent)?;
        }
        at.as_object_mut()?.remove(last).filter(|value| !value.is_null())
    }

    /// Takes text.
    ///
    /// # Errors
    /// `Usage` for something else.
    pub fn text(&mut self, path: &str) -> Result<Option<String>> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(path, &format!("{other} is no text"))),
        }
    }

    /// Takes text that must be there.
    ///
    /// # Errors
    /// `Usage` where it is missing or something else.
    pub fn needed(&mut self, path: &str) -> Result<String> {
        let text = self.text(path)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong(path, "it is missing"))
    }

    /// Takes one of several words, each with what it stands for.
    ///
    /// # Errors
    /// `Usage` for another word.
    pub fn word<T: Copy>(&mut self, path: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| self.wrong(path, &format!("{text:?} is none of {}", all())))
    }

    /// Takes a truth value.
    ///
    /// # Errors
    /// `Usage` for something else.
    pub fn flag(&mut self, path: &str) -> Result<Option<bool>> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(path, &format!("{other} is neither true nor false"))),
        }
    }

    /// Takes a number of things, at least one.
    ///
    /// # Errors
    /// `Usage` for something else.
    pub fn count(&mut self, path: &str) -> Result<Option<u32>> {
        let Some(value) = self.take(path) else { return Ok(None) };
        let count = value.as_u64().and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
        count.map(Some).ok_or_else(|| self.wrong(path, &format!("{value} is no number of them")))
    }

    /// Takes an amount of bytes, as it is written.
    ///
    /// # Errors
    /// `Usage` for something else, and for nothing at all.
    pub fn amount(&mut self, path: &str) -> Result<Option<String>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        match quantity::whole(&text) {
            Some(bytes) if bytes > 0 => Ok(Some(text)),
            _ => Err(self.wrong(path, &format!("{text:?} is no amount, such as 4Gi"))),
        }
    }

    /// Takes a list of objects, each with fields of its own; give them back with [`Fields::back`].
    ///
    /// # Errors
    /// `Usage` for something else.
    pub fn list(&mut self, path: &str) -> Result<Vec<Self>> {
        match self.take(path) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let each = |(number, value)| Self {
                    value,
                    path: format!("{}[{number}]", self.at(path)),
                    object: self.object.clone(),
                    said: Vec::new(),
                };
                Ok(items.into_iter().enumerate().map(each).collect())
            }
            Some(other) => Err(self.wrong(path, &format!("{other} is no list"))),
        }
    }

    /// Tells of a part's fields what it would tell itself.
    pub fn back(&mut self, part: &Self) {
        self.said.extend(part.left());
    }

    /// Tells something about a field.
    pub fn say(&mut self, path: &str, words: &str) {
        let at = self.at(path);
        self.said.push(format!("{}: {at}: {words}", self.object));
    }

    /// What is to be told: what was said, and every field that nobody took.
    pub fn left(&self) -> Vec<String> {
        let mut paths = Vec::new();
        leaves(&self.value, &self.path, &mut paths);
        let told = |path| format!("{}: {path} has no counterpart in KubeVirt", self.object);
        self.said.iter().cloned().chain(paths.into_iter().map(told)).collect()
    }

    /// That a field is not as it should be.
    pub fn wrong(&self, path: &str, why: &str) -> Error {
        Error::usage(why).with_subject(format!("{}: {}", self.object, self.at(path)))
    }

    fn at(&self, path: &str) -> String {
        if self.path.is_empty() { path.to_owned() } else { format!("{}.{path}", self.path) }
    }
}

/// The paths of all values that are not containers of others.
fn leaves(value: &Value, path: &str, all: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), all);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}[{number}]"), all);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        _ => all.push(path.to_owned()),
    }
}
