//! Faults of the interface.

use super::value::{Data, Ref};

/// A fault: what a person reads and what a program does.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// For people; may be empty, as a server's may.
    pub message: String,
    /// The fault's type and fields.
    pub data: Data,
}

impl Fault {
    /// A fault of a type without fields.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), data: Data::new(kind) }
    }

    /// A call that the interface does not have.
    pub fn request(message: impl Into<String>) -> Self {
        Self::new("InvalidRequest", message)
    }

    /// An argument that is not understood.
    pub fn argument(name: &str, message: impl Into<String>) -> Self {
        let data = Data::new("InvalidArgument").set("invalidProperty", name);
        Self { message: message.into(), data }
    }

    /// A property that a kind of object does not have.
    pub fn property(name: &str) -> Self {
        let data = Data::new("InvalidProperty").set("name", name);
        Self { message: format!("there is no property {name}"), data }
    }

    /// An object that is not there, or no more.
    pub fn gone(object: &Ref) -> Self {
        let message = format!(
            "The object '{object}' has already been deleted or has not been completely created"
        );
        Self { message, data: Data::new("ManagedObjectNotFound").set("obj", object) }
    }

    /// A call without a login.
    pub fn not_authenticated(object: &Ref) -> Self {
        let data =
            Data::new("NotAuthenticated").set("object", object).set("privilegeId", "System.View");
        Self { message: "The session is not authenticated.".to_owned(), data }
    }

    /// A change of power that the machine's state does not allow.
    pub fn power(requested: Option<&str>, existing: &str) -> Self {
        let data = Data::new("InvalidPowerState")
            .maybe("requestedState", requested)
            .set("existingState", existing);
        let message = format!(
            "The attempted operation cannot be performed in the current state ({existing})."
        );
        Self { message, data }
    }

    /// The form that a task or a lease has.
    pub fn localized(&self) -> Data {
        Data::new("LocalizedMethodFault")
            .set("fault", self.data.clone())
            .set("localizedMessage", &self.message)
    }
}
