//! Faults: how the server says that it did not do something.

use super::soap::Value;
use crate::error::{Error, ErrorKind};

/// A fault of the API, the source of the error that it became.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its type: `InvalidLogin`.
    pub kind: String,
    /// The server's words; may be empty.
    pub message: String,
    /// Its properties.
    pub detail: Value,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(&self.kind),
            message => write!(f, "{message} ({})", self.kind),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// The fault in a `<Fault>` element of SOAP. Its type is that of the detail; the words
    /// around it may be missing.
    pub fn of_soap(fault: &Value) -> Self {
        let detail = fault.child("detail").and_then(|detail| detail.children.first());
        let message = fault.str("faultstring").unwrap_or_default().trim().to_owned();
        match detail {
            Some(detail) => {
                let name = detail.kind.as_deref().unwrap_or(&detail.name);
                let kind = name.strip_suffix("Fault").filter(|it| !it.is_empty()).unwrap_or(name);
                // A name that ends in Fault by itself comes by `xsi:type`.
                let kind = if detail.kind.is_some() { name } else { kind };
                Self { kind: kind.to_owned(), message, detail: detail.clone() }
            }
            None => Self {
                kind: fault.str("faultcode").unwrap_or("Fault").to_owned(),
                message,
                detail: Value::default(),
            },
        }
    }

    /// The fault in a `LocalizedMethodFault`: a task's, a missing property's, a lease's.
    pub fn of_method(localized: &Value) -> Self {
        let fault = localized.child("fault");
        Self {
            kind: fault.and_then(|it| it.kind.clone()).unwrap_or_else(|| "MethodFault".to_owned()),
            message: localized.str("localizedMessage").unwrap_or_default().trim().to_owned(),
            detail: fault.cloned().unwrap_or_default(),
        }
    }

    /// The kind of error that the fault stands for (vSphere API reference, the faults' own pages).
    pub fn error_kind(&self) -> ErrorKind {
        match self.kind.as_str() {
            "InvalidLogin" | "NotAuthenticated" | "NoPermission" | "PasswordExpired"
            | "InvalidLocale" | "RestrictedVersion" | "UserLocked" => ErrorKind::Auth,
            "ManagedObjectNotFound" | "NotFound" | "FileNotFound" | "DatacenterMismatch" => {
                ErrorKind::NotFound
            }
            "InvalidPowerState"
            | "InvalidState"
            | "TaskInProgress"
            | "DuplicateName"
            | "FileLocked"
            | "ResourceInUse"
            | "ConcurrentAccess"
            | "FileAlreadyExists"
            | "AlreadyExists"
            | "AlreadyBeingManaged"
            | "ToolsUnavailable"
            | "VmConfigFault"
            | "QuestionPending"
            | "SnapshotLocked"
            | "NicSettingMismatch"
            | "CustomizationPending"
            | "CannotDecryptPasswords"
            | "SnapshotFault" => ErrorKind::Conflict,
            "NotSupported"
            | "MethodNotFound"
            | "MethodNotFoundFault"
            | "RestrictedByAdministrator"
            | "LicenseRestricted"
            | "FeatureRequirementsNotMet"
            | "NotImplemented"
            | "SnapshotNoChange"
            | "UncustomizableGuest"
            | "NoDisksToCustomize"
            | "MissingLinuxCustResources"
            | "MissingWindowsCustResources"
            | "MemorySnapshotOnIndependentDisk" => ErrorKind::Unsupported,
            "HostNotConnected"
            | "HostCommunication"
            | "HostNotReachable"
            | "HostConnectFault"
            | "NoDiskSpace"
            | "Timedout"
            | "TooManyConsecutiveOverrides" => ErrorKind::Unavailable,
            "RequestCanceled" => ErrorKind::Interrupted,
            _ => ErrorKind::Protocol,
        }
    }

    /// The error of a call that was refused so; `doing` says what was being done.
    pub fn into_error(self, doing: impl Into<String>) -> Error {
        let kind = self.error_kind();
        Error::new(kind, doing).with_source(self)
    }
}

/// The fault that an error came from, if it came from one.
pub fn fault_of(error: &Error) -> Option<&Fault> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(level) = next {
        if let Some(fault) = level.downcast_ref::<Fault>() {
            return Some(fault);
        }
        next = level.source();
    }
    None
}

/// Whether an error says that a view is gone: its login has ended, and another one was made, while
/// it was read.
pub(super) fn is_lost_view(error: &Error) -> bool {
    fault_of(error).is_some_and(|fault| {
        let object = fault.detail.child("obj");
        let kind = object.and_then(|object| object.refers.as_deref());
        fault.kind == "ManagedObjectNotFound"
            && (kind == Some("ContainerView") || fault.message.contains("ContainerView"))
    })
}

/// Whether an error says that there is no login, or none any more.
pub fn is_logged_out(error: &Error) -> bool {
    fault_of(error).is_some_and(|fault| fault.kind == "NotAuthenticated")
}
