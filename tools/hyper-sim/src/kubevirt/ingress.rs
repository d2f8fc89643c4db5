//! What an ingress of a cluster would lead to: the servers of exports, and the upload proxy.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_common::image::ReadAt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{Answer, before, set};
use super::coding::encode;
use super::export::Served;
use super::json::{name, namespace, text, unset};
use super::kind::{Key, Kind};
use super::proxy::parameter;
use super::sim::Sim;
use super::upload;
use crate::body::{Reply, Watch, send};
use crate::rule::Action;

/// What clients show.
const TOKEN: &str = "x-kubevirt-export-token";

fn plain(status: u16, words: &str) -> Answer {
    super::answer::bytes(status, "text/plain", words.to_owned(), &Action::default())
}

/// Answers a request.
pub async fn answer(sim: Arc<Sim>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let answer = match parts.as_slice() {
        [
            "api",
            "export.kubevirt.io",
            _,
            "namespaces",
            space,
            "virtualmachineexports",
            name,
            rest @ ..,
        ] => {
            let key = Key::new(Kind::Export, space, name);
            serve(&sim, &request, &key, rest).await
        }
        ["v1beta1", kind] if kind.starts_with("upload") => upload::take(&sim, request).await,
        _ => plain(404, "there is nothing here\n"),
    };
    tracing::info!("{method} {path} {}", answer.status().as_u16());
    answer
}

/// Answers what the server of an export is asked.
pub async fn serve(
    sim: &Arc<Sim>,
    request: &Request<Incoming>,
    key: &Key,
    rest: &[&str],
) -> Answer {
    let action = sim.rules.meet("export", request.uri().path());
    if let Some(answer) = before(&action).await {
        return answer;
    }
    let Some(served) = sim.exports.find(key) else {
        return plain(503, "no server of this export runs\n");
    };
    let shown = request.headers().get(TOKEN).and_then(|it| it.to_str().ok()).map(str::to_owned);
    if shown.or_else(|| parameter(request, TOKEN)).as_ref() != Some(&served.token) {
        return plain(401, "missing token or wrong token\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(405, "not with this method\n");
    }
    match rest {
        ["volumes", volume, file] => {
            let found = served.volumes.iter().find(|(name, _)| name == volume);
            let Some((_, bytes)) = found else { return plain(404, "there is no such volume\n") };
            let bytes = match sim.disks.bytes(bytes).await {
                Ok(bytes) => bytes,
                Err(error) => return plain(500, &format!("{error}\n")),
            };
            match *file {
                "disk.img" => raw(sim, request, key, bytes, &action),
                "disk.img.gz" => gzip(bytes, &action),
                _ => plain(404, "there is no such form\n"),
            }
        }
        ["internal" | "external", "manifests", what] => manifests(sim, request, &served, what),
        _ => plain(404, "there is nothing here\n"),
    }
}

/// Ends with the server of the export.
struct OnExport {
    sim: Arc<Sim>,
    key: Key,
    /// Ends the server itself with the last byte that is sent.
    loses: bool,
}

impl Watch for OnExport {
    fn go_on(&mut self) -> bool {
        !self.sim.exports.is_gone(&self.key)
    }
}

impl Drop for OnExport {
    fn drop(&mut self) {
        if self.loses {
            let until = Instant::now() + self.sim.pace * 8;
            self.sim.exports.lose(&self.key, until);
            self.sim.control.enqueue(self.key.clone());
        }
    }
}

/// The bytes as they are, all of them or a range.
fn raw(
    sim: &Arc<Sim>,
    request: &Request<Incoming>,
    key: &Key,
    bytes: Arc<dyn ReadAt>,
    action: &Action,
) -> Answer {
    let len = bytes.len();
    let asked = request.headers().get(header::RANGE).and_then(|it| it.to_str().ok());
    let range = match asked.filter(|_| !action.whole).map(|it| part(it, len)) {
        None => None,
        Some(Some(range)) => Some(range),
        Some(None) => {
            let mut answer = plain(416, "invalid range: failed to overlap\n");
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{len}"));
            return answer;
        }
    };
    let place = range.clone().unwrap_or(0..len);
    let size = place.end - place.start;
    let words = format!("bytes {}-{}/{len}", place.start, place.end.saturating_sub(1));
    let watch = OnExport { sim: sim.clone(), key: key.clone(), loses: action.lose };
    let mut answer = match *request.method() == Method::HEAD {
        true => Response::new(Reply::Text(None)),
        false => Response::new(send(bytes, place, action, true, watch)),
    };
    if range.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut answer, header::CONTENT_RANGE, &words);
    }
    set(&mut answer, header::CONTENT_LENGTH, &size.to_string());
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::CONTENT_TYPE, "application/octet-stream");
    answer
}

/// The range that a header asks for; `None` where nothing is in it. Of several the first.
fn part(asked: &str, len: u64) -> Option<Range<u64>> {
    let asked = asked.strip_prefix("bytes=")?.split(',').next()?;
    let (from, to) = asked.split_once('-')?;
    let range = match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) => from..to.saturating_add(1).min(len),
        (Ok(from), Err(_)) => from..len,
        (Err(_), Ok(last)) => len.saturating_sub(last)..len,
        (Err(_), Err(_)) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// The bytes packed on the way: no length, no ranges.
fn gzip(bytes: Arc<dyn ReadAt>, action: &Action) -> Answer {
    let (sender, parts) = mpsc::channel(4);
    let cut = action.cut;
    tokio::task::spawn_blocking(move || pack(&*bytes, Parts { sender, left: cut }));
    let mut answer = Response::new(Reply::Parts(parts, None));
    set(&mut answer, header::CONTENT_TYPE, "application/gzip");
    answer
}

/// Where packed bytes go; it breaks off after so many.
struct Parts {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    left: Option<u64>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let len = self.left.map_or(bytes.len(), |left| bytes.len().min(left as usize));
        self.sender.blocking_send(Ok(Bytes::copy_from_slice(&bytes[..len]))).map_err(gone)?;
        if let Some(left) = &mut self.left {
            *left -= len as u64;
            if *left == 0 {
                let broken = std::io::Error::other("the connection is broken as asked");
                self.sender.blocking_send(Err(broken)).map_err(gone)?;
                return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
            }
        }
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pack(bytes: &dyn ReadAt, to: Parts) {
    let to = std::io::BufWriter::with_capacity(1 << 16, to);
    let mut packer = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
    let mut at = 0;
    let mut part = vec![0; 1 << 20];
    while at < bytes.len() {
        let len = (bytes.len() - at).min(part.len() as u64) as usize;
        if bytes.read_exact_at(&mut part[..len], at).is_err()
            || packer.write_all(&part[..len]).is_err()
        {
            return;
        }
        at += len as u64;
    }
    if let Ok(mut to) = packer.finish() {
        let _ = to.flush();
    }
}

/// The objects that make the machine anew, or the secret that their imports need.
fn manifests(sim: &Sim, request: &Request<Incoming>, served: &Served, what: &str) -> Answer {
    let found = match what {
        "all" => machine(sim, served),
        "secret" => vec![secret(served)],
        _ => return plain(404, "there is nothing here\n"),
    };
    let accept = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok());
    // YAML takes JSON as it is.
    let kind = match accept {
        Some(it) if it.contains("json") => "application/json",
        _ => "application/yaml",
    };
    let body = match kind {
        "application/json" => {
            json!({ "apiVersion": "v1", "kind": "List", "items": found }).to_string()
        }
        _ => found.iter().map(|it| format!("---\n{it}\n")).collect(),
    };
    super::answer::bytes(200, kind, body, &Action::default())
}

fn secret(served: &Served) -> Value {
    let id = format!("header-secret-{}", name(&served.object));
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": id, "namespace": namespace(&served.object) },
        "data": { "token": encode(format!("{TOKEN}:{}", served.token).as_bytes()) },
    })
}

fn machine(sim: &Sim, served: &Served) -> Vec<Value> {
    let from = text(&served.object, "/spec/source/name");
    let key = Key::new(Kind::Machine, namespace(&served.object), from);
    let mut all = Vec::new();
    if let Some(machine) = sim.control.get(&key) {
        let mut machine = (*machine).clone();
        unset(&mut machine, &["status"]);
        machine["metadata"] = json!({ "name": from, "namespace": namespace(&served.object) });
        all.push(machine);
    }
    let links = super::json::list(&served.object, "/status/links/external/volumes");
    for volume in links {
        all.push(json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": { "name": volume["name"], "namespace": namespace(&served.object) },
            "spec": {
                "source": { "http": {
                    "url": volume["formats"][1]["url"],
                    "secretExtraHeaders": [format!("header-secret-{}", name(&served.object))],
                } },
                "storage": {},
            },
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        assert_eq!(part("bytes=2-4", 10), Some(2..5));
        assert_eq!(part("bytes=8-", 10), Some(8..10));
        assert_eq!(part("bytes=-3", 10), Some(7..10));
        assert_eq!(part("bytes=8-99", 10), Some(8..10));
        assert_eq!(part("bytes=10-", 10), None);
        assert_eq!(part("lines=1-2", 10), None);
    }
}
