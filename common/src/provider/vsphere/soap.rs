//! The messages of the vSphere API: SOAP 1.1 with types by `xsi:type` (vSphere Web Services
//! API). What comes from a server is not trusted: sizes, depth and the number of elements are
//! bounded, and a document type is refused.

use std::fmt::{Display, Write as _};

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use crate::error::{Error, ErrorKind, Result};

/// The namespace of `xsi:type`. Servers bind it to prefixes of their own.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Deepest nesting of a reply; the data objects of the API stay far below.
const DEEPEST: usize = 64;

/// Most elements in a reply that is held as a whole.
const MOST_ELEMENTS: usize = 2_000_000;

/// A reference to an object on the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MoRef {
    /// Its type: `VirtualMachine`.
    pub kind: String,
    /// Its identifier: `vm-42`.
    pub value: String,
}

impl MoRef {
    /// A reference to the object of type `kind` that the server calls `value`.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }
}

impl Display for MoRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.value)
    }
}

/// The parameters of a call, in the order in which the API's description has them. Text is
/// escaped; names are the program's own and are not.
#[derive(Debug, Clone, Default)]
pub struct Body(String);

impl Body {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An element with text: a string, a number, `true` or `false`.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Display) -> Self {
        self.leaf(name, "", &value.to_string());
        self
    }

    /// An element with text whose type the API leaves open, such as `xsd:string`.
    #[must_use]
    pub fn typed(mut self, name: &str, xsi_type: &str, value: impl Display) -> Self {
        self.leaf(name, &format!(" xsi:type=\"{xsi_type}\""), &value.to_string());
        self
    }

    /// An element that refers to an object.
    #[must_use]
    pub fn reference(mut self, name: &str, object: &MoRef) -> Self {
        let mut kind = String::new();
        escape(&mut kind, &object.kind);
        self.leaf(name, &format!(" type=\"{kind}\""), &object.value);
        self
    }

    /// The start of an element that holds others; see [`Body::close`].
    #[must_use]
    pub fn open(mut self, name: &str, xsi_type: Option<&str>) -> Self {
        let _ = match xsi_type {
            Some(kind) => write!(self.0, "<{name} xsi:type=\"{kind}\">"),
            None => write!(self.0, "<{name}>"),
        };
        self
    }

    /// The end of an element.
    #[must_use]
    pub fn close(mut self, name: &str) -> Self {
        let _ = write!(self.0, "</{name}>");
        self
    }

    /// Adds what another holds.
    #[must_use]
    pub fn append(mut self, other: Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// An element as a server has sent it, with all that is in it, under this name.
    #[must_use]
    pub fn value(mut self, name: &str, value: &Value) -> Self {
        self.element(name, value);
        self
    }

    fn element(&mut self, name: &str, value: &Value) {
        let mut attributes = String::new();
        for (attribute, kind) in [("xsi:type", &value.kind), ("type", &value.refers)] {
            if let Some(kind) = kind {
                let space = if is_primitive(kind) { "xsd:" } else { "" };
                let _ = write!(attributes, " {attribute}=\"{space}");
                escape(&mut attributes, kind);
                attributes.push('"');
            }
        }
        if value.children.is_empty() {
            return self.leaf(name, &attributes, &value.text);
        }
        let _ = write!(self.0, "<{name}{attributes}>");
        for child in &value.children {
            self.element(&child.name, child);
        }
        let _ = write!(self.0, "</{name}>");
    }

    fn leaf(&mut self, name: &str, attributes: &str, text: &str) {
        let _ = write!(self.0, "<{name}{attributes}>");
        escape(&mut self.0, text);
        let _ = write!(self.0, "</{name}>");
    }

    /// The whole message that calls `method` of `this`.
    pub(super) fn envelope(&self, method: &str, this: &MoRef) -> String {
        let call = Self::new().reference("_this", this).0;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><soapenv:Body>\
             <{method} xmlns=\"urn:vim25\">{call}{}</{method}>\
             </soapenv:Body></soapenv:Envelope>",
            self.0
        )
    }
}

/// Whether a type is one of XML Schema, which begin with a small letter, and not of the API.
fn is_primitive(kind: &str) -> bool {
    kind.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Text as XML; what XML 1.0 cannot hold at all becomes U+FFFD.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A bare carriage return would be read back as a line feed.
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
}

/// An element of a reply with all that is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Value {
    /// Its name, without prefix.
    pub name: String,
    /// Its `xsi:type`, without prefix, where the server tells: what it really is.
    pub kind: Option<String>,
    /// The type of the object that it refers to, where it is a reference.
    pub refers: Option<String>,
    /// Its text, unescaped.
    pub text: String,
    /// The elements in it, in order.
    pub children: Vec<Value>,
}

impl Value {
    /// The first child called `name`.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children called `name`, in order.
    pub fn all<'v>(&'v self, name: &'v str) -> impl Iterator<Item = &'v Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// What a path of names such as `info.key` leads to.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| value.child(name))
    }

    /// The text at a path; `None` where there is none or it is empty.
    pub fn str(&self, path: &str) -> Option<&str> {
        Some(self.at(path)?.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The number at a path; `None` where there is none or it does not fit.
    pub fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        number(self.str(path)?)
    }

    /// The truth value at a path.
    pub fn flag(&self, path: &str) -> Option<bool> {
        flag(self.str(path)?)
    }

    /// The object that this refers to.
    pub fn reference(&self) -> Option<MoRef> {
        let kind = self.refers.as_ref()?;
        (!self.text.is_empty()).then(|| MoRef::new(kind, &self.text))
    }

    /// Whether the server says that this is a `kind`.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// A number as XML Schema writes it.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.trim().parse().ok()
}

/// A truth value as XML Schema writes it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What a call answered: the element `<MethodResponse>`.
#[derive(Debug, Clone)]
pub struct Reply(pub(super) Value);

impl Reply {
    /// The result, where the method has one that is not a list.
    pub fn value(&self) -> Option<&Value> {
        self.0.child("returnval")
    }

    /// The same, taken out.
    pub fn into_value(self) -> Option<Value> {
        self.0.children.into_iter().find(|child| child.name == "returnval")
    }

    /// All results of a method that answers a list.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.all("returnval")
    }

    /// The object that the method answers with: a task, a view.
    ///
    /// # Errors
    /// `Protocol` where there is none.
    pub fn reference(&self) -> Result<MoRef> {
        self.value().and_then(Value::reference).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("{} names no object", self.0.name))
        })
    }
}

/// Reads a message and gives the first element of its body: an answer or a fault.
///
/// # Errors
/// `Protocol` where it is none, nested too deeply or too large.
pub fn parse(message: &[u8]) -> Result<Value> {
    let mut reader = NsReader::from_reader(message);
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(|error| malformed(&error))? {
            Event::Eof => break,
            event => tree.take(&reader, event)?,
        }
    }
    let envelope = tree.done.ok_or_else(|| not_soap("the answer is no XML document"))?;
    if envelope.name != "Envelope" {
        return Err(not_soap("the answer is no SOAP message"));
    }
    let body = envelope.children.into_iter().find(|child| child.name == "Body");
    body.and_then(|body| body.children.into_iter().next())
        .ok_or_else(|| not_soap("the SOAP message has no body"))
}

fn malformed(error: &quick_xml::Error) -> Error {
    not_soap("the answer is not proper XML").with_source(error.to_string())
}

pub(super) fn not_soap(words: &str) -> Error {
    Error::new(ErrorKind::Protocol, words.to_owned())
}

/// Elements of which only some children are of interest: the others are passed over, which is
/// most of the work saved where a machine has a dozen devices with a dozen properties each.
pub(super) type Only = &'static [(&'static str, &'static [&'static str])];

/// Builds values from the events of a parser.
#[derive(Debug, Default)]
pub(super) struct Tree {
    open: Vec<Value>,
    pub done: Option<Value>,
    elements: usize,
    only: Only,
    /// How many elements are open that are passed over.
    passing: usize,
}

impl Tree {
    /// Builds values that lack what `only` leaves out.
    pub fn of(only: Only) -> Self {
        Self { only, ..Self::default() }
    }

    /// Takes the next event.
    pub fn take<R>(&mut self, reader: &NsReader<R>, event: Event<'_>) -> Result<()> {
        if self.passing > 0 || self.passes_over(&event) {
            return self.pass(&event);
        }
        match event {
            Event::Start(start) => self.start(reader, &start),
            Event::Empty(start) => self.start(reader, &start).map(|()| self.end()),
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => {
                self.text(&text.xml10_content());
                Ok(())
            }
            Event::CData(text) => {
                self.text(&text.xml10_content());
                Ok(())
            }
            Event::GeneralRef(entity) => {
                let text = character(&entity).ok_or_else(|| not_soap("an unknown entity"))?;
                self.text(text.encode_utf8(&mut [0; 4]));
                Ok(())
            }
            Event::DocType(_) => Err(not_soap("the answer has a document type")),
            Event::Eof | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Ok(()),
        }
    }

    fn passes_over(&self, event: &Event<'_>) -> bool {
        let (Event::Start(start) | Event::Empty(start)) = event else { return false };
        let Some(parent) = self.open.last() else { return false };
        let wanted = self.only.iter().find(|(name, _)| *name == parent.name);
        wanted.is_some_and(|(_, names)| !names.contains(&start.local_name().as_ref()))
    }

    fn pass(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start(_) => self.passing += 1,
            Event::End(_) => self.passing -= 1,
            Event::DocType(_) => return Err(not_soap("the answer has a document type")),
            _ => {}
        }
        match self.open.len() + self.passing > DEEPEST {
            true => Err(not_soap("the answer is nested too deeply or too large")),
            false => Ok(()),
        }
    }

    fn start<R>(&mut self, reader: &NsReader<R>, start: &BytesStart<'_>) -> Result<()> {
        self.elements += 1;
        if self.open.len() >= DEEPEST || self.elements > MOST_ELEMENTS || self.done.is_some() {
            return Err(not_soap("the answer is nested too deeply or too large"));
        }
        let mut value = Value { name: start.local_name().as_ref().to_owned(), ..Value::default() };
        for attribute in start.attributes() {
            let attribute =
                attribute.map_err(|error| malformed(&quick_xml::Error::InvalidAttr(error)))?;
            let (space, name) = reader.resolver().resolve_attribute(attribute.key);
            if name.as_ref() != "type" {
                continue;
            }
            match space {
                ResolveResult::Bound(space) if space.as_ref() == XSI => {
                    value.kind = Some(local(&attribute.value).to_owned());
                }
                ResolveResult::Unbound => value.refers = Some(local(&attribute.value).to_owned()),
                _ => {}
            }
        }
        self.open.push(value);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(value) = self.open.last_mut() {
            value.text.push_str(text);
        }
    }

    fn end(&mut self) {
        let Some(mut value) = self.open.pop() else { return };
        if !value.children.is_empty() {
            // What stands between elements is layout.
            value.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(value),
            None => self.done = Some(value),
        }
    }

    /// Ends all elements that are open.
    pub fn close(&mut self) {
        while !self.open.is_empty() {
            self.end();
        }
    }

    /// Forgets the elements counted so far: they were taken out and dropped.
    pub fn forget(&mut self) {
        self.elements = self.open.len();
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Takes the last child out of the innermost open element.
    pub fn take_last(&mut self) -> Option<Value> {
        self.open.last_mut()?.children.pop()
    }

    /// Puts back what [`Tree::take_last`] took.
    pub fn put_back(&mut self, value: Value) {
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(value);
        }
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// The character that a reference such as `amp` or `#x41` stands for.
fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
