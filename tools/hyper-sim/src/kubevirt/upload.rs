//! CDI's way of bringing bytes into a cluster: a token for a claim, and a proxy that takes them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, header};
use hyper_common::error::{Error, Result as Done};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, before, bytes, json as reply, refusal};
use super::discovery;
use super::json::{has, hash, list, text, uid, uuid};
use super::kind::{Key, Kind};
use super::pod;
use super::sim::Sim;
use super::subresource::may;
use super::upstream::{Fail, all, next_frame};
use crate::body::Reply;
use crate::rule::Action;
use crate::vsphere::disk::DiskImage;

const GROUP: &str = "upload.cdi.kubevirt.io";

/// The namespace of CDI.
pub const HOME: &str = "cdi";

/// The service in front of the proxy.
pub const SERVICE: &str = "cdi-uploadproxy";

/// The pod of the proxy.
pub const POD: &str = "cdi-uploadproxy-7d9b5f6c4-x2x7k";

/// How long a token is good.
const LIFE: Duration = Duration::from_secs(300);

/// The tokens that were given out: for which claim, and until when.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<String, (Key, Instant)>>);

impl Tokens {
    fn give(&self, key: Key) -> String {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = format!("{key}/{}/{}", tokens.len(), jiff::Timestamp::now());
        let token = format!("upload.{}.{:x}", uuid(&seed), hash(&seed));
        tokens.insert(token.clone(), (key, Instant::now() + LIFE));
        token
    }

    fn find(&self, token: &str) -> Option<Key> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, until) = tokens.get(token)?;
        (Instant::now() < *until).then(|| key.clone())
    }
}

/// The proxy's service and pod and the authority of its certificate, for those who look for them.
///
/// # Errors
/// Those of the API server.
pub async fn install(sim: &Sim) -> Result<(), Fail> {
    let labels = json!({ "cdi.kubevirt.io": SERVICE });
    let metadata = |name: &str| json!({ "name": name, "namespace": HOME, "labels": labels });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(SERVICE),
        "spec": {
            "selector": labels,
            "ports": [{ "port": 443, "targetPort": 8443, "protocol": "TCP" }],
        },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(POD),
        "spec": { "containers": [{
            "name": SERVICE,
            "image": "quay.io/kubevirt/cdi-uploadproxy",
        }] },
    });
    let bundle = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata("cdi-uploadproxy-signer-bundle"),
        "data": { "ca-bundle.crt": sim.authority.pem() },
    });
    let objects = [("services", service), ("pods", pod), ("configmaps", bundle)];
    pod::serve(sim, HOME, POD, &objects).await
}

/// Gives out a token, and answers what else is asked of its group.
pub async fn request_token(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    rest: &[&str],
    action: &Action,
) -> Answer {
    if let Some(answer) = discovery::about(GROUP, rest, action) {
        return answer;
    }
    let [_, "namespaces", space, "uploadtokenrequests"] = rest else {
        return refusal(404, "the server could not find the requested resource");
    };
    if request.method() != Method::POST {
        return refusal(405, "not with this method");
    }
    let rights = ["create", GROUP, "uploadtokenrequests", "", space, ""];
    if let Err(answer) = may(sim, &request, rights).await {
        return answer;
    }
    let Ok(body) = all(request.into_body()).await else {
        return refusal(400, "the request broke off");
    };
    let Ok(mut object) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, "this is no UploadTokenRequest");
    };
    let claim = text(&object, "/spec/pvcName").to_owned();
    if claim.is_empty() {
        return refusal(422, "spec.pvcName: Required value");
    }
    let token = sim.tokens.give(Key::new(Kind::Claim, space, &claim));
    object["kind"] = "UploadTokenRequest".into();
    object["apiVersion"] = format!("{GROUP}/v1beta1").into();
    object["metadata"]["namespace"] = (*space).into();
    object["status"] = json!({ "token": token });
    reply(201, &object, action)
}

fn plain(status: u16, words: &str) -> Answer {
    bytes(status, "text/plain", words.to_owned(), &Action::default())
}

/// Takes the bytes of an image for the claim of the token.
pub async fn take(sim: &Arc<Sim>, request: Request<Incoming>) -> Answer {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let key = shown.and_then(|it| it.strip_prefix("Bearer ")).and_then(|it| sim.tokens.find(it));
    let Some(key) = key else { return plain(401, "Unauthorized\n") };
    let action = sim.rules.meet("upload", &key.to_string());
    if let Some(answer) = before(&action).await {
        return answer;
    }
    let Some(claim) = sim.control.get(&key) else { return plain(404, "the PVC is not there\n") };
    let annotations = &claim["metadata"]["annotations"];
    if annotations["cdi.kubevirt.io/storage.pod.ready"] != "true"
        && !list(&claim, "/metadata/ownerReferences").is_empty()
    {
        return plain(503, "the upload server is not ready\n");
    }
    match *request.method() {
        // Clients look whether it can be reached.
        Method::HEAD => return plain(200, ""),
        Method::POST | Method::PUT => {}
        _ => return plain(405, "not with this method\n"),
    }
    match keep(sim, &claim, request.into_body(), &action).await {
        Ok(true) => {
            sim.control.enqueue(key.other(Kind::Volume));
            plain(200, "")
        }
        Ok(false) => broken(),
        Err(error) => plain(400, &format!("Saving stream failed: {error}\n")),
    }
}

/// An answer that breaks off before anything of it is sent.
fn broken() -> Answer {
    let (sender, parts) = tokio::sync::mpsc::channel(1);
    let _ = sender.try_send(Err(std::io::Error::other("the connection is broken as asked")));
    hyper::Response::new(Reply::Parts(parts, Some(1)))
}

/// Puts a body on a claim; `false` where it was broken off as asked.
async fn keep(sim: &Arc<Sim>, claim: &Value, mut body: Incoming, action: &Action) -> Done<bool> {
    let failed = |error| Error::io("keep what is uploaded", error);
    let mut file = tempfile::tempfile_in(sim.disks.store.folder()).map_err(failed)?;
    let mut len = 0_u64;
    while let Some(part) = next_frame(&mut body).await {
        let part = part.map_err(failed)?;
        len += part.len() as u64;
        if action.cut.is_some_and(|cut| len >= cut) {
            return Ok(false);
        }
        // Through the page cache, a part at a time: nothing that a worker would wait for long.
        file.write_all(&part).map_err(failed)?;
    }
    let (sim, id) = (sim.clone(), uid(claim).to_owned());
    let room = has(claim, "/spec/resources/requests/storage").then(|| super::disks::size(claim));
    let stored = tokio::task::spawn_blocking(move || store(&sim, &id, file, room));
    stored
        .await
        .map_err(|error| Error::io("keep what is uploaded", std::io::Error::other(error)))?
}

/// Unpacks an image, looks what it is, and puts it on the claim.
pub fn store(sim: &Sim, claim: &str, mut file: File, room: Option<u64>) -> Done<bool> {
    let failed = |error| Error::io("read what was uploaded", error);
    let mut magic = [0; 4];
    file.rewind().map_err(failed)?;
    let got = file.read(&mut magic).map_err(failed)?;
    file.rewind().map_err(failed)?;
    if magic[..got].starts_with(&[0x1f, 0x8b]) {
        let mut plain = tempfile::tempfile_in(sim.disks.store.folder()).map_err(failed)?;
        let mut unpacked = flate2::read::MultiGzDecoder::new(file);
        std::io::copy(&mut unpacked, &mut plain).map_err(failed)?;
        file = plain;
        file.rewind().map_err(failed)?;
        let _ = file.read(&mut magic).map_err(failed)?;
    }
    let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let capacity = match magic {
        [b'Q', b'F', b'I', 0xfb] => {
            let path = sim.disks.store.folder().join(format!("upload-{claim}.qcow2"));
            file.rewind().map_err(failed)?;
            let mut named = File::create(&path).map_err(failed)?;
            std::io::copy(&mut file, &mut named).map_err(failed)?;
            let image = DiskImage::open(&path)?;
            let capacity = image.capacity;
            sim.disks.received(claim, image);
            capacity
        }
        _ => {
            sim.disks.upload(claim, file, len);
            len
        }
    };
    match room.is_some_and(|room| capacity > room) {
        true => {
            sim.disks.drop(claim);
            Err(Error::usage(format!(
                "Virtual image size {capacity} is larger than the reported available storage"
            )))
        }
        false => Ok(true),
    }
}
