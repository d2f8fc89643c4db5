//! `-o jsonpath=EXPR`: templates in the manner of kubectl over RFC 9535 paths.
//!
//! A template is text with `{…}` pieces: a path (`{.items[*].name}`), a quoted literal
//! (`{"\n"}`), or `{range PATH}…{end}`, inside which paths start at each value found. An
//! expression that starts with `$` or `.` and holds no braces is one path; its values are
//! printed one to a line. Strings are printed as they are, everything else as JSON; several
//! values of one `{PATH}` are joined by a space; a missing value prints nothing.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// How deep ranges may stand in each other.
const MAX_DEPTH: usize = 8;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template(Vec<Node>);

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Path { query: JpQuery, separator: &'static str },
    Range { query: JpQuery, body: Vec<Node> },
}

/// A piece of the source: what stands outside or inside of braces.
enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

impl Template {
    /// Parses a template or a bare path.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the expression.
    pub fn parse(source: &str) -> Result<Self, String> {
        if !source.contains('{') && source.starts_with(['$', '.']) {
            return Ok(Self(vec![Node::Path { query: parse_path(source)?, separator: "\n" }]));
        }
        let mut pieces = split(source)?.into_iter();
        parse_nodes(&mut pieces, 0).map(Self)
    }

    /// The text for one document, ended by a line feed unless it is empty or ends in one.
    pub fn render(&self, document: &Value) -> String {
        let mut text = String::new();
        render_nodes(&self.0, document, &mut text);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// Cuts the source at braces; braces within quotes inside an action do not count.
fn split(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        let (text, action) = (rest.get(..open), rest.get(open + 1..));
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            pieces.push(Piece::Text(text));
        }
        let action = action.unwrap_or_default();
        let close = closing_brace(action).ok_or("a `{` is not closed")?;
        pieces.push(Piece::Action(action.get(..close).unwrap_or_default().trim()));
        rest = action.get(close + 1..).unwrap_or_default();
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn closing_brace(action: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn parse_nodes<'a>(
    pieces: &mut impl Iterator<Item = Piece<'a>>,
    depth: usize,
) -> Result<Vec<Node>, String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} ranges stand in each other"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let node = match piece {
            Piece::Text(text) => Node::Text(text.to_owned()),
            Piece::Action("end") if depth > 0 => return Ok(nodes),
            Piece::Action("end") => return Err("an {end} without its {range}".to_owned()),
            Piece::Action(action) if action.starts_with(['"', '\'']) => {
                Node::Text(literal(action)?)
            }
            Piece::Action(action) => match action.strip_prefix("range ") {
                Some(path) => Node::Range {
                    query: parse_path(path.trim())?,
                    body: parse_range(pieces, depth + 1)?,
                },
                None => Node::Path { query: parse_path(action)?, separator: " " },
            },
        };
        nodes.push(node);
    }
    if depth > 0 { Err("a {range} without its {end}".to_owned()) } else { Ok(nodes) }
}

/// The body of a range; a function of its own so that the iterator's type does not nest.
fn parse_range<'a>(
    pieces: &mut dyn Iterator<Item = Piece<'a>>,
    depth: usize,
) -> Result<Vec<Node>, String> {
    let mut pieces = pieces;
    parse_nodes(&mut pieces, depth)
}

/// A quoted literal with the escapes of JSON; single quotes are taken like double ones.
fn literal(action: &str) -> Result<String, String> {
    let quote = action.chars().next().unwrap_or('"');
    let inner = action
        .strip_prefix(quote)
        .and_then(|rest| rest.strip_suffix(quote))
        .ok_or_else(|| format!("the literal {action} is not closed"))?;
    let json = if quote == '"' {
        format!("\"{inner}\"")
    } else {
        format!("\"{}\"", inner.replace('"', "\\\""))
    };
    serde_json::from_str(&json).map_err(|error| format!("the literal {action}: {error}"))
}

/// Brings kubectl's spellings (`.a.b`, `@.a`, `a`) to one that starts with `$`.
fn parse_path(path: &str) -> Result<JpQuery, String> {
    let full = match path.chars().next() {
        None => return Err("an empty path".to_owned()),
        Some('$') => path.to_owned(),
        Some('@') => format!("${}", path.get(1..).unwrap_or_default()),
        Some('.') if path == "." => "$".to_owned(),
        Some('.' | '[') => format!("${path}"),
        Some(_) => format!("$.{path}"),
    };
    parse_json_path(&full).map_err(|_| format!("{path:?} is not a path like .items[*].name"))
}

/// The values that a path finds; a path that finds none, or that no value fits, finds nothing.
fn find<'a>(query: &JpQuery, document: &'a Value) -> Vec<&'a Value> {
    js_path_process(query, document)
        .map(|found| found.into_iter().map(|reference| reference.val()).collect())
        .unwrap_or_default()
}

fn render_nodes(nodes: &[Node], document: &Value, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Path { query, separator } => {
                for (at, value) in find(query, document).into_iter().enumerate() {
                    if at > 0 {
                        text.push_str(separator);
                    }
                    match value {
                        Value::String(words) => text.push_str(words),
                        other => text.push_str(&other.to_string()),
                    }
                }
            }
            Node::Range { query, body } => {
                for value in find(query, document) {
                    render_nodes(body, value, text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str) -> String {
        let document = json!({"items": [
            {"name": "a", "cpus": 2, "disks": [{"id": "d0"}, {"id": "d1"}]},
            {"name": "b", "cpus": 4, "disks": []},
        ]});
        Template::parse(source).unwrap().render(&document)
    }

    #[test]
    fn templates_and_bare_paths() {
        assert_eq!(render("{.items[*].name}"), "a b\n");
        assert_eq!(render("{ items[*].name }"), "a b\n");
        assert_eq!(render("$.items[*].name"), "a\nb\n");
        assert_eq!(render(".items[0].disks"), "[{\"id\":\"d0\"},{\"id\":\"d1\"}]\n");
        assert_eq!(render("first={.items[0].name}!"), "first=a!\n");
        assert_eq!(render("{.items[?(@.cpus>2)].name}"), "b\n");
        assert_eq!(render("{.absent.deeper}"), "");
    }

    #[test]
    fn ranges_nest_and_literals_hold_escapes() {
        let source =
            r#"{range .items[*]}{.name}{":"}{range .disks[*]}{'\t'}{@.id}{end}{"\n"}{end}"#;
        assert_eq!(render(source), "a:\td0\td1\nb:\n");
        assert_eq!(render(r#"{"}{"}"#), "}{\n");
    }

    #[test]
    fn bad_expressions_are_named() {
        for (source, message) in [
            ("{.a", "not closed"),
            ("{}", "empty path"),
            ("{range .a}x", "without its {end}"),
            ("{end}", "without its {range}"),
            ("{.a[}", "is not a path"),
            ("{\"a\\x\"}", "the literal"),
        ] {
            let error = Template::parse(source).unwrap_err();
            assert!(error.contains(message), "{source}: {error}");
        }
        let deep = "{range .a}".repeat(20) + &"{end}".repeat(20);
        assert!(Template::parse(&deep).unwrap_err().contains("ranges"));
    }
}
