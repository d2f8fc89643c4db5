//! Reading, checking, naming and editing.

use super::*;

const FULL: &str = "\
# my machines
current_context: lab
contexts:
  lab:
    provider: local
    path: machines   # beside this file
    defaults:
      format: qcow2
  \"a:b\":
    provider: local
    path: /srv
providers:
  local:
    defaults: {format: raw, compress: zlib}
defaults:
  compress: zstd
  timeout: 5m
aliases:
  ls: vm list
";

fn config(text: &str) -> Config {
    Config::parse(Path::new("/etc/hyper/config.yaml"), text.to_owned()).unwrap()
}

fn mistake(text: &str) -> (String, String) {
    let error = Config::parse(Path::new("c.yaml"), text.to_owned()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    (crate::error::one_line(&error), error.hints().join(" "))
}

#[test]
fn the_file_is_found_as_xdg_says() {
    let find = |set: &[(&str, &str)]| {
        Config::location(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
        .map(|path| path.display().to_string())
        .ok()
    };
    assert_eq!(find(&[("HYPER_CONFIG", "x.yaml"), ("HOME", "/h")]).unwrap(), "x.yaml");
    let xdg = [("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")];
    assert_eq!(find(&xdg).unwrap(), "/x/hyper/config.yaml");
    let relative = [("XDG_CONFIG_HOME", "x"), ("HOME", "/h"), ("HYPER_CONFIG", "")];
    assert_eq!(find(&relative).unwrap(), "/h/.config/hyper/config.yaml");
    assert_eq!(find(&[]), None);
}

#[test]
fn contexts_are_described_and_selected() {
    let config = config(FULL);
    let names: Vec<_> = config.contexts().into_iter().map(|context| context.name).collect();
    assert_eq!(names, ["local", "a:b", "lab"]);
    let lab = config.context("lab").unwrap();
    assert_eq!(lab.path.unwrap(), Path::new("/etc/hyper/machines"));
    assert_eq!(config.select(&[], false).unwrap()[0].name, "lab");
    let twice = ["local".to_owned(), "lab".to_owned(), "local".to_owned()];
    assert_eq!(config.select(&twice, false).unwrap().len(), 2);
    assert_eq!(config.select(&[], true).unwrap().len(), 3);
    let error = config.context("labb").unwrap_err();
    assert_eq!(error.hints(), ["did you mean \"lab\"?"]);
}

#[test]
fn the_longest_known_name_leads_a_reference() {
    let config = config("contexts: {a: {provider: local}, \"a:b\": {provider: local}}");
    assert_eq!(config.split_reference("a:b:web"), (Some("a:b"), "web"));
    assert_eq!(config.split_reference("a:c:web"), (Some("a"), "c:web"));
    assert_eq!(config.split_reference("local:x.ova"), (Some("local"), "x.ova"));
    assert_eq!(config.split_reference("ab:web"), (None, "ab:web"));
    assert_eq!(config.split_reference("web"), (None, "web"));
}

#[test]
fn defaults_stack_from_common_to_context() {
    let config = config(FULL);
    let value = |context, flag: &str| {
        config
            .flag_defaults(context)
            .get(flag)
            .map(|(values, place)| (values.join(","), place.to_owned()))
    };
    let said = |value: &str, place: &str| Some((value.to_owned(), place.to_owned()));
    assert_eq!(value(None, "compress"), said("zstd", "defaults.compress"));
    assert_eq!(value(None, "format"), None);
    assert_eq!(value(Some("a:b"), "format"), said("raw", "providers.local.defaults.format"));
    assert_eq!(value(Some("lab"), "format"), said("qcow2", "contexts.lab.defaults.format"));
    assert_eq!(value(Some("lab"), "timeout"), said("5m", "defaults.timeout"));
}

#[test]
fn mistakes_name_line_and_likely_word() {
    let (line, hint) = mistake("defaults: {}\ncontxts: {}\n");
    assert_eq!(line, "c.yaml:2: there is no key \"contxts\" here");
    assert_eq!(hint, "did you mean \"contexts\"?");
    let (line, hint) = mistake("defaults:\n  formt: raw\n");
    assert_eq!(line, "c.yaml:2: defaults: no tool has a flag --formt");
    assert_eq!(hint, "did you mean \"format\"?");
    let (line, _) = mistake("defaults:\n  timeout: 1m\n  overwrite: true\n");
    assert_eq!(line, "c.yaml:3: --overwrite cannot have a default: it must be typed");
    let (line, hint) = mistake("contexts:\n  x:\n    provider: locl\n");
    assert_eq!(line, "c.yaml:3: context \"x\": there is no provider \"locl\"");
    assert_eq!(hint, "did you mean \"local\"?");
    let (line, _) = mistake("contexts: [1, 2\n");
    assert!(line.starts_with("c.yaml:"), "{line}");
    let (line, _) = mistake("defaults: {format: {a: 1}}\n");
    assert!(line.contains("is no word"), "{line}");
    let (line, _) = mistake("contexts: {\"a,b\": {provider: local}}\n");
    assert!(line.contains("no commas"), "{line}");
}

#[test]
fn a_current_context_that_is_none_is_told_to_those_who_need_it() {
    let parsed = Config::parse(Path::new("c.yaml"), "\ncurrent_context: nope\n".to_owned());
    let config = parsed.unwrap();
    assert_eq!(config.select(&["local".to_owned()], false).unwrap()[0].name, "local");
    let error = config.select(&[], false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let line = crate::error::one_line(&error);
    assert_eq!(line, "c.yaml:2: current_context: there is no context \"nope\"");
    assert_eq!(config.with_current("local").unwrap().text.unwrap(), "\ncurrent_context: local\n");
}

#[test]
fn nothing_is_a_configuration_too() {
    for text in ["", "\n# only words\n"] {
        assert_eq!(config(text).current_context(), "local");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = Config::load(&folder.path().join("none.yaml")).unwrap();
    assert_eq!(missing.contexts().len(), 1);
}

fn draft(name: &str) -> ContextDraft {
    ContextDraft {
        name: name.to_owned(),
        provider: "local".to_owned(),
        path: Some("/data/my vms".into()),
        title: None,
        namespace: None,
        kubeconfig: None,
        kube_context: None,
        server: None,
    }
}

#[test]
fn edits_keep_comments_and_come_back_as_meant() {
    let start = config(FULL);
    let added = start.with_context(&draft("new: one").clone()).unwrap_err();
    assert_eq!(added.kind(), ErrorKind::Usage);
    let added = start.with_context(&draft("new:1")).unwrap();
    let text = added.text.clone().unwrap();
    assert!(text.contains("# my machines\n") && text.contains("# beside this file"));
    assert_eq!(added.context("new:1").unwrap().path.unwrap(), Path::new("/data/my vms"));
    let used = added.with_current("new:1").unwrap();
    assert_eq!(used.current_context(), "new:1");
    let removed = used.without_context("new:1").unwrap();
    assert_eq!(removed.current_context(), "local");
    let lines = FULL.lines().filter(|line| !line.starts_with("current_context"));
    assert_eq!(removed.text.unwrap(), lines.map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(start.with_context(&draft("lab")).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(start.without_context("local").unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(start.without_context("nope").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_new_file_is_private_and_a_strange_layout_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/config.yaml");
    let config = Config::load(&path).unwrap().with_context(&draft("one")).unwrap();
    config.save().unwrap();
    let again = Config::load(&path).unwrap();
    assert_eq!(again.context("one").unwrap(), config.context("one").unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    again.without_context("one").unwrap().save().unwrap();
    assert_eq!(Config::load(&path).unwrap().contexts().len(), 1);
    let flow = Config::parse(&path, "contexts: {a: {provider: local}}".to_owned()).unwrap();
    let error = flow.with_context(&draft("one")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(flow.without_context("a").unwrap_err().kind(), ErrorKind::Config);
}
