//! What the nodes of a cluster have for a machine.

use futures::TryStreamExt;
use serde_json::Value;

use super::discovery::Resource;
use super::{Kubevirt, quantity};
use crate::error::{Error, ErrorKind, Result};
use crate::vm::format_bytes;

/// Processors, and bytes of memory, up to which nobody asks whether a node has so much.
const USUAL: (u32, u64) = (64, 256 << 30);

/// The nodes; none where they may not be listed.
pub(super) struct Nodes(Option<Vec<Value>>);

impl Nodes {
    /// Lists them.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn of(kubevirt: &Kubevirt) -> Result<Self> {
        let nodes = kubevirt.client().list::<Value>(Resource::core("nodes"), None, String::new());
        match nodes.try_collect().await {
            Ok(nodes) => Ok(Self(Some(nodes))),
            Err(error) if error.kind() == ErrorKind::Auth => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// The most that one of them has of something.
    fn most(&self, resource: &str) -> Option<f64> {
        let has = |node: &Value| {
            let all = node.pointer("/status/allocatable")?.get(resource)?;
            quantity::number(all.as_str()?)
        };
        Some(self.0.as_ref()?.iter().filter_map(has).fold(0.0, f64::max))
    }

    /// Makes sure that some one node has each device, as often as it is wanted.
    ///
    /// # Errors
    /// `Unsupported` where none has.
    pub(super) fn offer(&self, wanted: &[&String], remarks: &mut Vec<String>) -> Result<()> {
        for resource in wanted {
            let Some(most) = self.most(resource) else {
                remarks.push(
                    "whether a node has the devices is not known: nodes may not be listed"
                        .to_owned(),
                );
                return Ok(());
            };
            let count = wanted.iter().filter(|it| it == &resource).count();
            if most < count as f64 {
                let words = match most {
                    0.0 => format!("no node of the cluster offers {resource}"),
                    _ => format!("no node of the cluster offers {count} of {resource}, but {most}"),
                };
                return Err(Error::unsupported(words).with_hint(
                    "`kubectl get nodes -o yaml` shows under allocatable what they offer",
                ));
            }
        }
        Ok(())
    }

    /// Says where a machine is larger than every node. A cluster may be set up to promise more than
    /// it has, so that this is no mistake by itself.
    fn room(&self, cpus: Option<u32>, memory: Option<u64>, remarks: &mut Vec<String>) {
        let more = |wanted: f64, resource: &str| {
            self.most(resource).filter(|most| *most > 0.0 && *most < wanted)
        };
        if let Some(most) = cpus.and_then(|cpus| more(f64::from(cpus), "cpu")) {
            remarks.push(format!("no node has so many processors ({most}): it may never run"));
        }
        if let Some(most) = memory.and_then(|bytes| more(bytes as f64, "memory")) {
            let most = format_bytes(most as u64);
            remarks.push(format!("no node has so much memory ({most}): it may never run"));
        }
    }
}

/// Looks whether some node is as large as a machine that is larger than most.
///
/// # Errors
/// The server's.
pub(super) async fn check_room(
    kubevirt: &Kubevirt,
    cpus: Option<u32>,
    memory: Option<u64>,
    remarks: &mut Vec<String>,
) -> Result<()> {
    if cpus.is_some_and(|it| it > USUAL.0) || memory.is_some_and(|it| it > USUAL.1) {
        Nodes::of(kubevirt).await?.room(cpus, memory, remarks);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_no_node_has_is_told_and_what_may_not_be_seen_is_not_guessed() {
        let node = |cpu: &str, memory: &str| json!({ "status": { "allocatable": { "cpu": cpu, "memory": memory } } });
        let nodes = Nodes(Some(vec![node("8", "16Gi"), node("79500m", "512Gi")]));
        let told = |nodes: &Nodes, cpus, memory| {
            let mut remarks = Vec::new();
            nodes.room(cpus, memory, &mut remarks);
            remarks
        };
        assert!(told(&nodes, Some(79), Some(512 << 30)).is_empty());
        let both = told(&nodes, Some(100_000), Some(1 << 40));
        assert!(both[0].contains("79.5") && both[1].contains("512Gi"), "{both:?}");
        assert!(told(&Nodes(None), Some(100_000), None).is_empty());
    }
}
