//! A port of a pod, which is reached through the API server.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Place, escape};
use super::discovery::Resource;
use super::wire::Meta;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::net::{Duplex, Tunnel};

/// A port of a pod.
#[derive(Debug)]
pub(super) struct PodPort {
    client: Client,
    namespace: String,
    pod: String,
    port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Meta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: String,
    container_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
}

impl PodPort {
    /// The port that a service leads to.
    ///
    /// # Errors
    /// `NotFound` where there is no such service; `Unavailable` where no pod runs behind it;
    /// `Protocol` where it does not say which port it is; the server's.
    pub(super) async fn find(client: &Client, namespace: &str, service: &str) -> Result<Self> {
        let place = |plural| Place { resource: Resource::core(plural), namespace: Some(namespace) };
        let subject = || format!("the service {namespace}/{service}");
        let found: Value = client.get(place("services"), service).await.subject(subject)?;
        let labels = found.pointer("/spec/selector").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels: Vec<_> =
            labels.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
        let query = format!("labelSelector={}", escape(&labels.join(",")));
        let pods = client.page::<Pod>(place("pods"), &query, "").await.subject(subject)?.items;
        let runs =
            |pod: &Pod| pod.status.phase == "Running" && pod.metadata.deletion_timestamp.is_none();
        let pod =
            pods.into_iter().find(|pod| !labels.is_empty() && runs(pod)).ok_or_else(|| {
                Error::new(ErrorKind::Unavailable, "no pod runs behind it").with_subject(subject())
            })?;
        let target = found.pointer("/spec/ports/0/targetPort").unwrap_or(&Value::Null);
        let port = pod.port(target).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "it does not say which port it leads to")
                .with_subject(subject())
        })?;
        let (client, namespace) = (client.clone(), namespace.to_owned());
        Ok(Self { client, namespace, pod: pod.metadata.name, port })
    }
}

impl Pod {
    /// The port that a service's target is: a number, or the name of one.
    fn port(&self, target: &Value) -> Option<u16> {
        if let Some(number) = target.as_u64() {
            return u16::try_from(number).ok();
        }
        let name = target.as_str()?;
        let mut ports = self.spec.containers.iter().flat_map(|container| &container.ports);
        ports.find(|port| port.name == name).map(|port| port.container_port)
    }
}

#[async_trait]
impl Tunnel for PodPort {
    async fn connect(&self) -> Result<Box<dyn Duplex>> {
        let stream = self.client.forward(&self.namespace, &self.pod, self.port).await;
        Ok(Box::new(stream.context(|| format!("forward port {} of {}", self.port, self.pod))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_names_its_port_by_number_or_by_name() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [
            { "ports": [{ "name": "metrics", "containerPort": 1 }] },
            { "ports": [{ "name": "export", "containerPort": 8443 }] },
        ] } }))
        .unwrap();
        assert_eq!(pod.port(&json!(8080)), Some(8080));
        assert_eq!(pod.port(&json!("export")), Some(8443));
        assert_eq!(pod.port(&json!("none")), None);
        assert_eq!(pod.port(&Value::Null), None);
    }
}
