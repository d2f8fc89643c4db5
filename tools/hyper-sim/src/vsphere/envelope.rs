//! SOAP: from the text of a request to a checked call, and answers back to text.

use roxmltree::{Document, Node as Xml};

use super::check;
use super::fault::Fault;
use super::schema::{SCHEMA, Type};
use super::value::{Ref, Value, escape, write, write_any};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// An element of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Its local name.
    pub name: String,
    /// The local name of its `xsi:type`.
    pub kind: Option<String>,
    /// Its attribute `type`: the kind of object that a reference leads to.
    pub object: Option<String>,
    /// Its text.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Node>,
}

impl Node {
    fn of(xml: Xml<'_, '_>) -> Self {
        let local = |text: &str| text.rsplit(':').next().unwrap_or_default().to_owned();
        Self {
            name: xml.tag_name().name().to_owned(),
            kind: xml.attribute((XSI, "type")).map(local),
            object: xml.attribute("type").map(str::to_owned),
            text: xml.text().unwrap_or_default().to_owned(),
            children: xml.children().filter(Xml::is_element).map(Self::of).collect(),
        }
    }

    /// The elements of that name.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element of that name.
    pub fn one(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the element of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.one(name).map(|node| node.text.as_str())
    }

    /// Whether the element of that name says yes.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.text_of(name).map(str::trim), Some("true" | "1"))
    }

    /// This element as a reference.
    pub fn reference(&self) -> Ref {
        Ref::new(self.object.as_deref().unwrap_or_default(), self.text.trim())
    }

    /// The reference in the element of that name.
    pub fn reference_of(&self, name: &str) -> Option<Ref> {
        self.one(name).map(Self::reference)
    }
}

/// A call whose parameters are as the interface wants them.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The object.
    pub this: Ref,
    /// The parameters.
    pub args: Node,
}

/// Reads a request.
///
/// # Errors
/// `InvalidRequest` for what is no SOAP, for an unknown method, and for parameters that are
/// missing, unknown, of a wrong type or in the wrong order.
pub fn parse(text: &str) -> Result<Request, Fault> {
    let document =
        Document::parse(text).map_err(|error| Fault::request(format!("no XML: {error}")))?;
    let root = document.root_element();
    if !root.has_tag_name((SOAP, "Envelope")) {
        return Err(Fault::request("the document is no SOAP envelope"));
    }
    let body = root.children().find(|node| node.has_tag_name((SOAP, "Body")));
    let call = body.and_then(|body| body.children().find(Xml::is_element));
    let call = call.ok_or_else(|| Fault::request("the envelope has no body with a call"))?;
    if call.tag_name().namespace() != Some("urn:vim25") {
        return Err(Fault::request("the call is not in the namespace urn:vim25"));
    }
    let mut args = Node::of(call);
    let method = args.name.clone();
    let known = SCHEMA.call(&method);
    let called =
        known.ok_or_else(|| Fault::request(format!("there is no method {method} here")))?;
    if args.children.first().is_none_or(|first| first.name != "_this") {
        return Err(Fault::request(format!("{method}: the first parameter must be _this")));
    }
    let this = args.children.remove(0);
    check::reference(&method, &this, called.owner)?;
    check::members(&method, &args.children, &called.params)?;
    Ok(Request { method, this: this.reference(), args })
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenc=\"\
         http://schemas.xmlsoap.org/soap/encoding/\" xmlns:soapenv=\"{SOAP}\" xmlns:xsd=\"\
         http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"{XSI}\">\n<soapenv:Body>\n{body}\n\
         </soapenv:Body>\n</soapenv:Envelope>"
    )
}

/// What a call answers.
#[derive(Debug)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// A value of the type that the call says.
    Value(Value),
    /// A value whose type goes with it.
    Typed(Value, Type),
    /// `returnval`, written already.
    Written(String),
}

/// The answer to `method` as text.
pub fn answer(method: &str, answer: &Answer) -> String {
    let mut inner = String::new();
    match answer {
        Answer::Nothing => {}
        Answer::Value(value) => {
            if let Some(call) = SCHEMA.call(method) {
                write(&mut inner, "returnval", value, call.result);
            }
        }
        Answer::Typed(value, kind) => write_any(&mut inner, "returnval", value, *kind),
        Answer::Written(text) => inner.push_str(text),
    }
    envelope(&format!("<{method}Response xmlns=\"urn:vim25\">{inner}</{method}Response>"))
}

/// A fault as text.
pub fn fault(fault: &Fault) -> String {
    let kind = fault.data.kind;
    let mut inner = String::new();
    super::value::write_fields(&mut inner, &fault.data);
    envelope(&format!(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{}</faultstring>\
         <detail><{kind}Fault xmlns=\"urn:vim25\" xsi:type=\"{kind}\">{inner}</{kind}Fault>\
         </detail></soapenv:Fault>",
        escape(&fault.message)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(inner: &str) -> Result<Request, Fault> {
        parse(&envelope(inner))
    }

    const VM: &str = "<_this type=\"VirtualMachine\">vm-1</_this>";

    #[test]
    fn a_call_as_it_should_be_is_taken() {
        let request = call(&format!(
            "<CreateSnapshot_Task xmlns=\"urn:vim25\">{VM}<name>a</name><memory>false</memory>\
             <quiesce>0</quiesce></CreateSnapshot_Task>"
        ));
        let request = request.unwrap();
        assert_eq!(request.this, Ref::new("VirtualMachine", "vm-1"));
        assert_eq!(request.args.text_of("name"), Some("a"));
        assert!(!request.args.is("memory"));
    }

    #[test]
    fn what_the_interface_does_not_have_is_refused() {
        let wrong = [
            ("order", format!("{VM}<memory>false</memory><name>a</name><quiesce>0</quiesce>")),
            ("missing", format!("{VM}<name>a</name><memory>true</memory>")),
            ("type", format!("{VM}<name>a</name><memory>maybe</memory><quiesce>0</quiesce>")),
            ("unknown", format!("{VM}<name>a</name><colour/><memory>0</memory><quiesce>0</quiesce>")),
            ("twice", format!("{VM}<name>a</name><name>a</name><memory>0</memory><quiesce>0</quiesce>")),
            ("this", "<name>a</name><memory>0</memory><quiesce>0</quiesce>".to_owned()),
            ("kind", "<_this type=\"Folder\">f</_this><name>a</name><memory>0</memory><quiesce>0</quiesce>".to_owned()),
        ];
        for (what, inner) in wrong {
            let text =
                format!("<CreateSnapshot_Task xmlns=\"urn:vim25\">{inner}</CreateSnapshot_Task>");
            assert_eq!(call(&text).unwrap_err().data.kind, "InvalidRequest", "{what}");
        }
        assert!(call("<Nothing xmlns=\"urn:vim25\"/>").is_err());
        assert!(call("<Logout><_this type=\"SessionManager\">s</_this></Logout>").is_err());
        assert!(parse("<a/>").is_err() && parse("<").is_err());
    }
}
