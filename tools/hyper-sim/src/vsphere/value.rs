//! Values of the interface: built by name, written as XML by the schema's types.

use std::borrow::Cow;
use std::fmt::Write;

use super::schema::{SCHEMA, Type, is_primitive};

/// A reference to a managed object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// Its kind, such as `VirtualMachine`.
    pub kind: String,
    /// Its id, such as `vm-42`.
    pub value: String,
}

impl Ref {
    /// A reference.
    pub fn new(kind: &str, value: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), value: value.into() }
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A simple value in its XML form.
    Text(String),
    /// A simple value where the interface allows any, with its type of XML Schema.
    Any(&'static str, String),
    /// A reference.
    Ref(Ref),
    /// Data with fields.
    Data(Data),
    /// Several.
    List(Vec<Value>),
}

/// Data: a type and its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// The type.
    pub kind: &'static str,
    /// The fields, in the order of the interface.
    pub fields: Vec<(&'static str, Value)>,
}

impl Data {
    /// Data of a type, without fields yet.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field where there is a value.
    #[must_use]
    pub fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

impl Value {
    /// What a path of field names below this value leads to.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, step| match value {
            Self::Data(data) => data.get(step),
            _ => None,
        })
    }

    /// The references that it is.
    pub fn references(&self) -> Vec<Ref> {
        match self {
            Self::Ref(reference) => vec![reference.clone()],
            Self::List(list) => list.iter().flat_map(Self::references).collect(),
            _ => Vec::new(),
        }
    }
}

macro_rules! text_values {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::Text(value.to_string())
            }
        })*
    };
}

text_values!(&str, String, &String, bool, i32, u32, i64, u64, u16, jiff::Timestamp);

impl From<Ref> for Value {
    fn from(value: Ref) -> Self {
        Self::Ref(value)
    }
}

impl From<&Ref> for Value {
    fn from(value: &Ref) -> Self {
        Self::Ref(value.clone())
    }
}

impl From<Data> for Value {
    fn from(value: Data) -> Self {
        Self::Data(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

/// Text as XML has it.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\r']) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\r' => safe.push_str("&#xD;"),
            c => safe.push(c),
        }
    }
    safe.into()
}

/// Writes `value` as the element `name`, whose type is declared; a list is an element for each.
pub fn write(out: &mut String, name: &str, value: &Value, declared: Type) {
    match value {
        Value::List(list) => {
            let one = Type { list: false, ..declared };
            list.iter().for_each(|item| write(out, name, item, one));
        }
        Value::Text(text) => element(out, name, "", &escape(text)),
        Value::Any(kind, text) => {
            element(out, name, &format!(" xsi:type=\"xsd:{kind}\""), &escape(text));
        }
        Value::Ref(reference) => {
            let kind = format!(" type=\"{}\"", reference.kind);
            element(out, name, &kind, &escape(&reference.value));
        }
        Value::Data(data) => {
            let stated = data.kind != declared.name;
            let kind = if stated { format!(" xsi:type=\"{}\"", data.kind) } else { String::new() };
            out.push_str(&format!("<{name}{kind}>"));
            write_fields(out, data);
            out.push_str(&format!("</{name}>"));
        }
    }
}

/// Writes `value` where the interface allows anything, with its type.
pub fn write_any(out: &mut String, name: &str, value: &Value, declared: Type) {
    let list_kind = |declared: Type| match declared {
        Type { reference: true, .. } => "ManagedObjectReference".to_owned(),
        Type { name, .. } => name.to_owned(),
    };
    match value {
        Value::List(list) => {
            let item = list_kind(declared);
            let mut letters = item.chars();
            let capital = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
            let array: String = capital.chain(letters).collect();
            out.push_str(&format!("<{name} xsi:type=\"ArrayOf{array}\">"));
            for value in list {
                match value {
                    Value::Ref(it) => {
                        let kind =
                            format!(" type=\"{}\" xsi:type=\"ManagedObjectReference\"", it.kind);
                        element(out, &item, &kind, &escape(&it.value));
                    }
                    value => write(out, &item, value, Type { list: false, ..declared }),
                }
            }
            out.push_str(&format!("</{name}>"));
        }
        Value::Text(text) => {
            let space = if is_primitive(declared.name) { "xsd:" } else { "" };
            let kind = format!(" xsi:type=\"{space}{}\"", declared.name);
            element(out, name, &kind, &escape(text));
        }
        Value::Ref(it) => {
            let kind = format!(" type=\"{}\" xsi:type=\"ManagedObjectReference\"", it.kind);
            element(out, name, &kind, &escape(&it.value));
        }
        Value::Any(..) => write(out, name, value, declared),
        Value::Data(data) => {
            out.push_str(&format!("<{name} xsi:type=\"{}\">", data.kind));
            write_fields(out, data);
            out.push_str(&format!("</{name}>"));
        }
    }
}

/// Writes the fields of data.
pub fn write_fields(out: &mut String, data: &Data) {
    for (name, value) in &data.fields {
        let declared = SCHEMA.member(data.kind, name).map(|member| member.kind);
        let any = Type { name: "anyType", reference: false, list: false, optional: false };
        match declared.unwrap_or(any) {
            kind if kind.name == "anyType" && !matches!(value, Value::Any(..)) => {
                write_any(out, name, value, kind);
            }
            kind => write(out, name, value, kind),
        }
    }
}

fn element(out: &mut String, name: &str, attributes: &str, text: &str) {
    let _ = write!(out, "<{name}{attributes}>{text}</{name}>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(kind: &str, path: &str) -> Type {
        SCHEMA.path(kind, path).unwrap()
    }

    #[test]
    fn a_subtype_says_its_name_and_the_declared_type_does_not() {
        let disk = Data::new("VirtualDisk")
            .set("key", 2000)
            .set("deviceInfo", Data::new("Description").set("label", "a<b").set("summary", "c"));
        let mut out = String::new();
        let list = Value::from(vec![disk]);
        write_any(&mut out, "val", &list, declared("VirtualMachine", "config.hardware.device"));
        assert_eq!(
            out,
            "<val xsi:type=\"ArrayOfVirtualDevice\"><VirtualDevice xsi:type=\"VirtualDisk\">\
             <key>2000</key><deviceInfo><label>a&lt;b</label><summary>c</summary></deviceInfo>\
             </VirtualDevice></val>"
        );
    }

    #[test]
    fn simple_values_say_their_types() {
        let mut out = String::new();
        write_any(
            &mut out,
            "val",
            &"poweredOn".into(),
            declared("VirtualMachine", "runtime.powerState"),
        );
        write_any(&mut out, "val", &"x".into(), declared("VirtualMachine", "name"));
        let hosts = Value::from(vec![Ref::new("HostSystem", "host-9")]);
        write_any(&mut out, "val", &hosts, declared("ComputeResource", "host"));
        assert_eq!(
            out,
            "<val xsi:type=\"VirtualMachinePowerState\">poweredOn</val>\
             <val xsi:type=\"xsd:string\">x</val>\
             <val xsi:type=\"ArrayOfManagedObjectReference\">\
             <ManagedObjectReference type=\"HostSystem\" xsi:type=\"ManagedObjectReference\">host-9\
             </ManagedObjectReference></val>"
        );
    }
}
