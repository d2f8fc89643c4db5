//! The text format of Prometheus (exposition format 0.0.4), as its node exporter's textfile
//! collector reads it: no times, each family's lines together.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One value of a record, for `-o prometheus`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// The family, with its unit in the name: `hyper_vm_memory_usage_bytes`.
    pub name: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
    /// What tells it from others of its family.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Values by family. Of those with the same labels the last counts: a reader refuses two.
#[derive(Debug, Default)]
pub(super) struct Exposition(BTreeMap<&'static str, Family>);

#[derive(Debug)]
struct Family {
    help: &'static str,
    values: BTreeMap<String, f64>,
}

impl Exposition {
    /// Takes values.
    pub fn extend(&mut self, gauges: Vec<Gauge>) {
        for Gauge { name, help, labels, value } in gauges {
            let family = self.0.entry(name);
            let family = family.or_insert_with(|| Family { help, values: BTreeMap::new() });
            family.values.insert(braces(&labels), value);
        }
    }

    /// The whole text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.0 {
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (labels, value) in &family.values {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

fn braces(labels: &[(&'static str, String)]) -> String {
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let all: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_labels_are_escaped() {
        let gauge = |name, label: &str, value| Gauge {
            name,
            help: "What it is",
            labels: vec![("vm", label.to_owned())],
            value,
        };
        let mut all = Exposition::default();
        all.extend(vec![gauge("b_bytes", "x", 1.0), gauge("a_ratio", "a\"b\\c\nd", 0.5)]);
        all.extend(vec![gauge("b_bytes", "y", 2e12), gauge("b_bytes", "x", 3.0)]);
        assert_eq!(
            all.render(),
            "# HELP a_ratio What it is\n# TYPE a_ratio gauge\n\
             a_ratio{vm=\"a\\\"b\\\\c\\nd\"} 0.5\n\
             # HELP b_bytes What it is\n# TYPE b_bytes gauge\n\
             b_bytes{vm=\"x\"} 3\nb_bytes{vm=\"y\"} 2000000000000\n"
        );
    }
}
