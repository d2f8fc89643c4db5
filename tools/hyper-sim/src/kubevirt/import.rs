//! Imports over HTTP, as CDI's importer makes them: from the servers of exports, by the names that
//! these have inside of the cluster, believed by the authorities of a config map, with headers out of
//! secrets.

use std::io::Write;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::cluster::trust;
use super::coding::decode;
use super::forward::{Behind, within};
use super::json::{has, list, namespace, text, uid};
use super::kind::{Key, Kind};
use super::sim::Sim;
use super::upload::store;
use super::upstream::next_frame;
use crate::body::Reply;
use crate::serve::speak;

/// Bytes that wait on their way.
const ROOM: usize = 1 << 18;

/// Where a volume is imported from, if that is a server of this cluster: the export, and the path.
fn origin(url: &str) -> Option<(Key, String, String)> {
    let (host, path) = url.strip_prefix("https://")?.split_once('/')?;
    let (pod, space) = host.strip_suffix(".svc")?.split_once('.')?;
    let name = pod.strip_prefix("virt-export-")?;
    Some((Key::new(Kind::Export, space, name), host.to_owned(), format!("/{path}")))
}

/// Whether a volume's bytes can be had here.
pub fn is_near(volume: &Value) -> bool {
    origin(text(volume, "/spec/source/http/url")).is_some()
}

/// Puts on a claim what the volume's source sends; why not, where it does not come.
pub async fn fetch(sim: &Arc<Sim>, volume: &Value, claim: &Value) -> Result<(), String> {
    let Some((key, host, path)) = origin(text(volume, "/spec/source/http/url")) else {
        return Err("dial tcp: lookup of the host failed".to_owned());
    };
    if sim.exports.find(&key).is_none() {
        return Err(format!("dial tcp: lookup {host}: no such host"));
    }
    let space = namespace(volume);
    let believed = text(volume, "/spec/source/http/certConfigMap");
    let map = object(sim, space, "configmaps", believed).await?;
    let pem: String =
        map["data"].as_object().into_iter().flatten().filter_map(|(_, it)| it.as_str()).collect();
    let mut request = Request::get(&path).header(header::HOST, &host);
    for secret in list(volume, "/spec/source/http/secretExtraHeaders") {
        let secret = object(sim, space, "secrets", secret.as_str().unwrap_or_default()).await?;
        for (_, value) in secret["data"].as_object().into_iter().flatten() {
            let (name, value) = line(value).ok_or("a secret holds no header")?;
            request = request.header(name, value);
        }
    }
    let request = request.body(Reply::Text(None)).map_err(|error| error.to_string())?;
    let mut answer = ask(sim, key, host, &pem, request).await?;
    if answer.status() != 200 {
        return Err(format!("expected status code 200, got {}", answer.status()));
    }
    let failed = |error: std::io::Error| format!("unable to read the source: {error}");
    let mut file = tempfile::tempfile_in(sim.disks.store.folder()).map_err(failed)?;
    while let Some(part) = next_frame(answer.body_mut()).await {
        file.write_all(&part.map_err(failed)?).map_err(failed)?;
    }
    let (sim, id) = (sim.clone(), uid(claim).to_owned());
    let room = has(claim, "/spec/resources/requests/storage").then(|| super::disks::size(claim));
    let kept = tokio::task::spawn_blocking(move || store(&sim, &id, file, room)).await;
    kept.map_err(|error| error.to_string())?.map(drop).map_err(|error| error.to_string())
}

async fn object(sim: &Sim, space: &str, plural: &str, name: &str) -> Result<Value, String> {
    let path = format!("/api/v1/namespaces/{space}/{plural}/{name}");
    let found = sim.control.api.find(&path).await.map_err(|fail| fail.to_string())?;
    found.ok_or_else(|| format!("{plural} \"{name}\" not found"))
}

/// The header in a secret, written as `name:value`.
fn line(value: &Value) -> Option<(HeaderName, HeaderValue)> {
    let text = String::from_utf8(decode(value.as_str()?)?).ok()?;
    let (name, value) = text.split_once(':')?;
    Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

/// Sends a request to the server of an export, over TLS.
async fn ask(
    sim: &Arc<Sim>,
    key: Key,
    host: String,
    pem: &str,
    request: Request<Reply>,
) -> Result<hyper::Response<hyper::body::Incoming>, String> {
    let words = |error: std::io::Error| format!("Get \"https://{host}\": {error}");
    let own = sim.authority.sign(&[&host]).map_err(|error| error.to_string())?.config;
    let (near, far) = tokio::io::duplex(ROOM);
    let served = sim.clone();
    tokio::spawn(async move {
        let Ok(stream) = TlsAcceptor::from(own).accept(far).await else { return };
        let behind = Behind::Export(key.clone());
        let answer = move |_, request| within(served.clone(), behind.clone(), request);
        speak(stream, [127, 0, 0, 1].into(), answer).await;
    });
    let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let tls = TlsConnector::from(trust(pem).map_err(|error| error.to_string())?);
    let stream = tls.connect(name, near).await.map_err(words)?;
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_exports_are_known_by_their_names() {
        let (key, host, path) =
            origin("https://virt-export-e1.shop.svc/volumes/a/disk.img.gz").unwrap();
        assert_eq!((key.namespace.as_str(), key.name.as_str()), ("shop", "e1"));
        assert_eq!(
            (host.as_str(), path.as_str()),
            ("virt-export-e1.shop.svc", "/volumes/a/disk.img.gz")
        );
        assert!(origin("http://nowhere.invalid/a.qcow2").is_none());
    }
}
