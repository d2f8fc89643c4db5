//! The names of `-o`.

use std::str::FromStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use super::jsonpath::Template;

/// How records are printed.
#[derive(Debug, Clone, Default)]
pub enum OutputFormat {
    /// Columns for people; may change between releases.
    #[default]
    Table,
    /// The table with all its columns.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object to a line.
    Ndjson,
    /// YAML.
    Yaml,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// Names only, one to a line.
    Name,
    /// A template over the JSON document.
    JsonPath(Template),
}

/// The names with their help, in the order of the help text.
const NAMES: [(&str, &str); 8] = [
    ("table", "Columns for people"),
    ("wide", "All columns for people"),
    ("json", "One JSON document"),
    ("ndjson", "One JSON object to a line"),
    ("yaml", "YAML"),
    ("csv", "Comma-separated values"),
    ("name", "Names only"),
    ("jsonpath=EXPR", "A template over the JSON document"),
];

impl OutputFormat {
    /// Whether a program reads it: everything but tables. The final error is then JSON as well.
    pub fn is_machine(&self) -> bool {
        !matches!(self, Self::Table | Self::Wide)
    }

    /// A value parser for clap that also knows the names, for help and completion.
    pub fn value_parser() -> impl TypedValueParser<Value = Self> + use<> {
        Parser
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "ndjson" => Self::Ndjson,
            "yaml" => Self::Yaml,
            "csv" => Self::Csv,
            "name" => Self::Name,
            other => match other.strip_prefix("jsonpath=") {
                Some(expression) => Self::JsonPath(Template::parse(expression)?),
                None => {
                    let names: Vec<_> = NAMES.iter().map(|&(name, _)| name).collect();
                    return Err(format!("not one of {}", names.join(", ")));
                }
            },
        })
    }
}

#[derive(Debug, Clone)]
struct Parser;

impl TypedValueParser for Parser {
    type Value = OutputFormat;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<OutputFormat, clap::Error> {
        StringValueParser::new().try_map(|text| text.parse()).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(NAMES.iter().map(|&(name, help)| PossibleValue::new(name).help(help))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_others_do_not() {
        for (name, _) in NAMES {
            let text = if name == "jsonpath=EXPR" { "jsonpath={.name}" } else { name };
            let format: OutputFormat = text.parse().unwrap();
            assert_eq!(format.is_machine(), !matches!(name, "table" | "wide"));
        }
        assert!("xml".parse::<OutputFormat>().unwrap_err().contains("ndjson"));
        assert!("jsonpath={.a".parse::<OutputFormat>().unwrap_err().contains("not closed"));
    }
}
