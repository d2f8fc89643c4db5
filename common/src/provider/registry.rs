//! From a context to the provider that serves it: the one place that names the platforms.

use super::Provider;
use super::kubevirt::Kubevirt;
use super::local::Local;
use super::vsphere::Vsphere;
use crate::config::{ContextConfig, PROVIDERS};
use crate::error::{Error, Result};

/// The names of all providers.
pub fn names() -> &'static [&'static str] {
    PROVIDERS
}

/// Opens the endpoint of a context. Nothing is contacted before it is needed.
///
/// # Errors
/// `Config` for a provider that this build does not have; the provider's own.
pub fn open(context: &ContextConfig) -> Result<Box<dyn Provider>> {
    match context.provider.as_str() {
        "kubevirt" => Ok(Box::new(Kubevirt::open(context)?)),
        "local" => Ok(Box::new(Local::open(context)?)),
        "vsphere" => Ok(Box::new(Vsphere::open(context)?)),
        other => Err(Error::new(
            crate::error::ErrorKind::Config,
            format!(
                "the context {:?} names the provider {other:?}, which is not known",
                context.name
            ),
        )
        .with_hint(format!("providers: {}", names().join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Server, Surroundings};

    #[test]
    fn every_provider_that_the_configuration_takes_can_be_opened() {
        for name in names() {
            let context = ContextConfig {
                name: "x".into(),
                provider: (*name).into(),
                path: None,
                title: None,
                namespace: None,
                all_namespaces: false,
                kube: None,
                server: Some(Server { url: "https://127.0.0.1".into(), ..Server::default() }),
                configured: true,
                surroundings: Surroundings::default(),
            };
            assert_eq!(open(&context).unwrap().name(), *name);
            let unknown = ContextConfig { provider: "elsewhere".into(), ..context };
            assert_eq!(open(&unknown).unwrap_err().kind().exit_status(), 3);
        }
    }
}
