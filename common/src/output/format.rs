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
    /// Values for Prometheus, in tools that have any.
    Prometheus,
}

/// The name of [`OutputFormat::Prometheus`] with its help.
const PROMETHEUS: (&str, &str) = ("prometheus", "Values for Prometheus");

/// The names with their help, in the order of the help text.
const NAMES: [(&str, &str); 8] = [
    ("table", "Columns for people"),
    ("wide", "All columns for people"),
    ("json", "One JSON document; an object to a line where results come one by one"),
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
        Parser { metrics: false }
    }

    /// The same for a tool that has values for Prometheus.
    pub fn metrics_parser() -> impl TypedValueParser<Value = Self> + use<> {
        Parser { metrics: true }
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
struct Parser {
    metrics: bool,
}

impl Parser {
    fn parse(&self, text: &str) -> Result<OutputFormat, String> {
        if self.metrics && text == PROMETHEUS.0 {
            return Ok(OutputFormat::Prometheus);
        }
        let more = if self.metrics { format!(", {}", PROMETHEUS.0) } else { String::new() };
        text.parse().map_err(|reason: String| match reason.starts_with("not one of") {
            true => reason + &more,
            false => reason,
        })
    }
}

impl TypedValueParser for Parser {
    type Value = OutputFormat;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<OutputFormat, clap::Error> {
        let parser = self.clone();
        let parser = StringValueParser::new().try_map(move |text| parser.parse(&text));
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = NAMES.into_iter().chain(self.metrics.then_some(PROMETHEUS));
        Some(Box::new(names.map(|(name, help)| PossibleValue::new(name).help(help))))
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
        assert!("prometheus".parse::<OutputFormat>().is_err(), "only where there are values");
        let parser = Parser { metrics: true };
        assert!(matches!(parser.parse("prometheus"), Ok(OutputFormat::Prometheus)));
        assert!(parser.parse("xml").unwrap_err().ends_with(", prometheus"));
        assert!("jsonpath={.a".parse::<OutputFormat>().unwrap_err().contains("not closed"));
    }
}
