//! One of what is followed: a machine, or an object beside machines.

use hyper_common::vm::{Vm, VmFilter, VmId, VmMatch, VmObject};

/// One of what is followed.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A machine, told whole.
    Vm(Box<Vm>),
    /// An object of any kind, machines among them.
    Object(Box<VmObject>),
}

impl Item {
    /// What its provider calls it.
    pub fn id(&self) -> &VmId {
        match self {
            Self::Vm(vm) => &vm.id,
            Self::Object(object) => &object.id,
        }
    }

    /// Whether it passes.
    pub fn passes(&self, filter: &VmFilter) -> bool {
        match self {
            Self::Vm(vm) => filter.accepts(vm),
            Self::Object(object) => filter.accepts_object(object),
        }
    }

    /// Whether a field of it matches.
    pub fn matches(&self, pattern: &VmMatch) -> bool {
        match self {
            Self::Vm(vm) => pattern.accepts(vm),
            Self::Object(object) => pattern.accepts_object(object),
        }
    }

    /// The kind in `--kind`'s word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Vm(_) => "vm",
            Self::Object(object) => object.kind.name(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Vm(vm) => &vm.name,
            Self::Object(object) => &object.name,
        }
    }

    /// The name of the machine that it is or is about.
    pub fn machine(&self) -> Option<&str> {
        match self {
            Self::Vm(vm) => Some(&vm.name),
            Self::Object(object) => object.vm.as_deref(),
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Vm(vm) => vm.namespace.as_deref(),
            Self::Object(object) => object.namespace.as_deref(),
        }
    }

    /// The platform's own word for the state, or the neutral one.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::Vm(vm) => Some(vm.state.as_deref().unwrap_or(vm.status.name())),
            Self::Object(object) => object.status.as_deref(),
        }
    }
}
