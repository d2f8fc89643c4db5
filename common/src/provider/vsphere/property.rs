//! The property collector: what objects say about themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::fault::Fault;
use super::soap::{Body, MoRef, Value, flag, number};
use crate::cancel::Cancel;
use crate::config::Secret;
use crate::error::{Error, Result};

/// Properties of one object: the path asked for, and the value.
#[derive(Debug, Clone, Default)]
pub struct Properties(pub(super) BTreeMap<String, Value>);

impl Properties {
    /// The value of a path that was asked for; `None` where the object has none.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.0.get(path)
    }

    /// The text of a property; `None` where it is not there or empty.
    pub fn str(&self, path: &str) -> Option<&str> {
        Some(self.get(path)?.text.as_str()).filter(|text| !text.is_empty())
    }

    /// A property that is a number.
    pub fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        number(self.str(path)?)
    }

    /// A property that is true or false.
    pub fn flag(&self, path: &str) -> Option<bool> {
        flag(self.str(path)?)
    }

    /// A property that refers to an object.
    pub fn reference(&self, path: &str) -> Option<MoRef> {
        self.get(path)?.reference()
    }
}

/// An object and what it said.
#[derive(Debug, Clone)]
pub struct Object {
    /// Which.
    pub id: MoRef,
    /// Its properties.
    pub properties: Properties,
}

impl Object {
    /// Reads an `<objects>` element.
    ///
    /// # Errors
    /// The fault for which a property is missing, where that concerns more than the property:
    /// above all that nobody is logged in, which some servers only tell here. A property that
    /// the object does not have, or that this user may not see, is only left out.
    pub fn read(content: Value) -> Result<Self> {
        let id = content.child("obj").and_then(Value::reference).unwrap_or(MoRef::new("", ""));
        let mut properties = BTreeMap::new();
        for part in content.children {
            match part.name.as_str() {
                "propSet" => {
                    let name = part.str("name").unwrap_or_default().to_owned();
                    if let Some(value) = part.children.into_iter().find(|it| it.name == "val") {
                        properties.insert(name, value);
                    }
                }
                "missingSet" => check_missing(&part, &id)?,
                _ => {}
            }
        }
        Ok(Self { id, properties: Properties(properties) })
    }
}

/// Lets pass what is missing for a reason of its own.
pub(super) fn check_missing(missing: &Value, id: &MoRef) -> Result<()> {
    let fault = missing.child("fault").map_or_else(
        || Fault { kind: String::new(), message: String::new(), detail: Value::default() },
        Fault::of_method,
    );
    match fault.kind.as_str() {
        "InvalidProperty" | "NoPermission" => Ok(()),
        _ => {
            let path = missing.str("path").unwrap_or("a property");
            Err(fault.into_error(format!("read {path}")).with_subject(id.to_string()))
        }
    }
}

impl Client {
    /// Properties of one object, by the paths asked for.
    ///
    /// # Errors
    /// `NotFound` where the object is gone; those of a call.
    pub async fn properties(&self, object: &MoRef, paths: &[&str]) -> Result<Properties> {
        let objects = self.objects(std::slice::from_ref(object), paths).await?;
        objects.into_iter().next().map(|found| found.properties).ok_or_else(|| {
            Error::not_found("the server does not know this object")
                .with_subject(object.to_string())
        })
    }

    /// Looks at properties of an object until `see` makes something of them. `looks` are the first
    /// and the longest wait between two looks.
    ///
    /// # Errors
    /// What `see` answers; `Interrupted` or `TimedOut` when asked to stop; those of
    /// [`Client::properties`].
    pub(super) async fn watch<T>(
        &self,
        object: &MoRef,
        paths: &[&str],
        looks: (Duration, Duration),
        cancel: &Cancel,
        see: impl Fn(&Properties) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut wait = looks.0;
        loop {
            if let Some(seen) = see(&self.properties(object, paths).await?)? {
                return Ok(seen);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => cancel.check()?,
            }
            wait = (wait * 2).min(looks.1);
        }
    }

    /// Properties of several objects of one type. Those that are gone are left out by some
    /// servers and an error on others.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn objects(&self, objects: &[MoRef], paths: &[&str]) -> Result<Vec<Object>> {
        let Some(first) = objects.first() else { return Ok(Vec::new()) };
        let collector = self.content().await?.property_collector.clone();
        let mut body = property_spec(Body::new().open("specSet", None), &first.kind, paths);
        for object in objects {
            body = body.open("objectSet", None).reference("obj", object).close("objectSet");
        }
        let body = body.close("specSet").open("options", None).close("options");
        self.read_all(&collector, body).await
    }

    /// Reads all pages of a retrieval. What is missing for want of a login renews that and
    /// reads from the start.
    pub(super) async fn read_all(&self, collector: &MoRef, body: Body) -> Result<Vec<Object>> {
        let mut turns = self.turns();
        loop {
            let cookie = turns.cookie().await?;
            match self.read_pages(&cookie, collector, &body).await {
                Err(error) => turns.renew(cookie, error)?,
                found => return found,
            }
        }
    }

    /// Reads all pages of a retrieval with a login that may turn out to have ended.
    pub(super) async fn read_pages(
        &self,
        cookie: &Secret,
        collector: &MoRef,
        body: &Body,
    ) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        let mut reply = self.call_as(cookie, "RetrievePropertiesEx", collector, body).await?;
        while let Some(page) = reply.into_value() {
            let mut token = None;
            for child in page.children {
                match child.name.as_str() {
                    "objects" => found.push(Object::read(child)?),
                    "token" => token = Some(child.text),
                    _ => {}
                }
            }
            let Some(token) = token else { break };
            let body = Body::new().text("token", token);
            reply = self.call_as(cookie, "ContinueRetrievePropertiesEx", collector, &body).await?;
        }
        Ok(found)
    }
}

/// Adds which properties of which type are wanted.
pub(super) fn property_spec(body: Body, kind: &str, paths: &[&str]) -> Body {
    let mut body = body.open("propSet", None).text("type", kind).text("all", false);
    for path in paths {
        body = body.text("pathSet", path);
    }
    body.close("propSet")
}
