//! The ways to the server of an export: the cluster's ingress, or a port of its pod through the API
//! server. Its certificate is held against the authority that the export names.

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use super::port::PodPort;
use super::vmexport::{Exports, Link, LinkedVolume, VmExport};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::net::{Http, Request, Response, Trust, Tunnelled, Url, Way, retry};
use crate::provider::Transport;

/// The header in which the server wants the token.
const TOKEN: &str = "x-kubevirt-export-token";

/// The server of an export as it is reached.
#[derive(Debug)]
pub(super) struct Server {
    /// The export's name.
    pub export: String,
    /// The way that leads to it.
    pub transport: Transport,
    /// When the export ends.
    pub ends: Option<Timestamp>,
    token: String,
    link: Link,
    way: Way,
}

impl Server {
    /// The one that is reached by the ingress.
    ///
    /// # Errors
    /// `Unsupported` where there is none; `Protocol` for a certificate that is none.
    pub(super) fn by_ingress(export: &VmExport, token: &str) -> Result<Self> {
        let link = export.status.links.external.as_ref().ok_or_else(|| {
            Error::unsupported("the cluster has no ingress or route for exports")
                .with_hint("--transport port-forward goes through the API server")
        })?;
        let way = Way::Direct(Http::new(trust(link)?));
        Ok(Self::new(export, token, Transport::Ingress, link, way))
    }

    /// The one that is reached by a port of its pod.
    ///
    /// # Errors
    /// `Unavailable` where no pod runs; `Protocol` for a certificate that is none; the API
    /// server's.
    pub(super) async fn by_port(exports: &Exports, export: &VmExport, token: &str) -> Result<Self> {
        let link = export.status.links.internal.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the export does not say how its server is reached")
        })?;
        let Exports { client, namespace, .. } = exports;
        let port = PodPort::find(client, namespace, &export.status.service_name).await?;
        let way = Way::Through(Tunnelled::new(trust(link)?, Arc::new(port)));
        Ok(Self::new(export, token, Transport::PortForward, link, way))
    }

    fn new(export: &VmExport, token: &str, transport: Transport, link: &Link, way: Way) -> Self {
        Self {
            export: export.metadata.name.clone(),
            transport,
            ends: export.status.ttl_expiration_time,
            token: token.to_owned(),
            link: link.clone(),
            way,
        }
    }

    /// Asks for a volume, or for a part of it, and waits for the head of the answer.
    ///
    /// # Errors
    /// Those of HTTP; by the answer's status, of which `good` are successes.
    pub(super) async fn get(
        &self,
        url: &str,
        range: Option<&Range<u64>>,
        good: &[u16],
    ) -> Result<Response> {
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https");
        let url = parsed.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the export names no place that HTTPS leads to")
        })?;
        let mut request = Request::get(url).header(TOKEN, &self.token);
        if let Some(range) = range {
            request = request.header("range", &format!("bytes={}-{}", range.start, range.end - 1));
        }
        self.way.send(request).await?.expect(good)
    }

    /// The volume of a claim. Older releases put the export's name before a snapshot's.
    pub(super) fn volume(&self, claim: &str) -> Option<&LinkedVolume> {
        self.link.volume(claim, &self.export)
    }

    /// The claims whose volumes are served.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.link.volumes.iter().map(|volume| volume.plain(&self.export))
    }

    /// Asks for a byte, to see that somebody answers.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub(super) async fn answers(self) -> Result<Self> {
        let found =
            self.link.volumes.iter().find_map(|it| it.url("raw").or_else(|| it.url("gzip")));
        if let Some(url) = found {
            retry(|| async { self.get(url, Some(&(0..1)), &[200, 206, 416]).await.map(drop) })
                .await?;
        }
        Ok(self)
    }
}

/// What the export's own certificate vouches for; the platform's authorities where it names none.
fn trust(link: &Link) -> Result<Trust> {
    match link.cert.trim() {
        "" => Ok(Trust::default()),
        text => Trust::default()
            .with_authorities_of(text)
            .context(|| "take the certificates that the export names"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshots_volume_is_known_with_and_without_the_exports_name() {
        let link = serde_json::from_value::<Link>(json!({ "volumes": [
            { "name": "e1-root" }, { "name": "data" },
        ] }))
        .unwrap();
        let mut export = VmExport::default();
        export.metadata.name = "e1".into();
        export.status.links.external = Some(link);
        let server = Server::by_ingress(&export, "t").unwrap();
        assert_eq!(server.volume("root").unwrap().name, "e1-root");
        assert_eq!(server.volume("data").unwrap().name, "data");
        assert!(server.volume("e1-root").is_none());
        assert_eq!(server.claims().collect::<Vec<_>>(), ["root", "data"]);
    }
}
