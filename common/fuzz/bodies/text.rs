//! What people type: the configuration, paths into records, names, sizes and times.
#![expect(clippy::unwrap_used, reason = "a fault is told by a panic")]

use std::path::Path;

use hyper_common::config::{Config, ContextDraft};
use hyper_common::error::ErrorKind;
use hyper_common::output::Template;
use hyper_common::time::{parse_duration, parse_moment};
use hyper_common::vm::{VmMatch, format_bytes, parse_bytes};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A record to look into, and a configuration to look names up in.
const RECORD: &str = r#"{"items": [{"name": "web01", "cpus": 4, "tags": ["a", "b"], "up": true},
    {"name": "db", "cpus": 16, "disk": {"bytes": 1e3, "label": "\u00e9\n"}}], "schema": "x/v1"}"#;
const CONTEXTS: &str = "contexts:\n  a: {provider: local}\n  a:b: {provider: local}\n";

pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("/etc/hyper/config.yaml");
    let Ok(config) = Config::parse(path, text.to_owned()) else { return };
    if let Err(error) = config.current() {
        assert_eq!(error.kind(), ErrorKind::Config, "the current context");
    }
    for context in config.contexts() {
        let _ = config.flag_defaults(Some(&context.name));
        if let Ok(changed) = config.with_current(&context.name) {
            assert_eq!(changed.current_context(), context.name);
        }
        if let Ok(changed) = config.without_context(&context.name) {
            assert!(
                changed
                    .contexts()
                    .iter()
                    .all(|other| !other.configured || other.name != context.name)
            );
        }
    }
    let draft = ContextDraft {
        name: "fresh".to_owned(),
        provider: "local".to_owned(),
        path: Some("/srv/vm: 'a'".into()),
        title: Some("a \"b\" # c".to_owned()),
        namespace: None,
        kubeconfig: None,
        kube_context: None,
        server: None,
    };
    if let Ok(changed) = config.with_context(&draft) {
        let found = changed.context("fresh").unwrap();
        assert_eq!((found.path, found.title), (draft.path, draft.title));
    }
}

/// The first line is the template, what follows a document of its own (else a fixed one).
pub fn jsonpath(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (template, document) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(template) = Template::parse(template) else { return };
    let document =
        serde_json::from_str(document).unwrap_or_else(|_| serde_json::from_str(RECORD).unwrap());
    let _ = template.render(&document);
}

/// One word: a size, a time, a filter, a reference.
pub fn words(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
    }
    let _ = parse_duration(text);
    let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let _ = parse_moment(text, &now);
    let _ = VmMatch::parse(text);
    let config = Config::parse(Path::new("config.yaml"), CONTEXTS.to_owned()).unwrap();
    if let (Some(context), rest) = config.split_reference(text) {
        assert!(config.context(context).is_ok());
        assert_eq!(format!("{context}:{rest}"), text);
    }
}
