//! Kubeconfigs: the one that is printed, and the one of a cluster that is there already.

use std::path::Path;
use std::sync::Arc;

use hyper_common::error::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::cluster::{IDENTITIES, trust};
use super::coding::{decode, encode};
use super::json::{list, text};
use super::upstream::Upstream;

/// The token that clients show for an attached cluster.
pub const TOKEN: &str = "hyper-sim-attached";

/// A kubeconfig for clients: a context for each identity, the first one by the plain name.
pub fn write(name: &str, url: &str, authority: &str, tokens: &[(&str, &str)]) -> Value {
    let call = |who: &str| match who {
        "admin" => name.to_owned(),
        who => format!("{name}-{who}"),
    };
    let context = |(who, _): &(&str, &str)| json!({ "name": call(who), "context": { "cluster": name, "user": call(who) } });
    let user =
        |(who, token): &(&str, &str)| json!({ "name": call(who), "user": { "token": token } });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": {
            "server": url,
            "certificate-authority-data": encode(authority.as_bytes()),
        } }],
        "contexts": tokens.iter().map(context).collect::<Vec<_>>(),
        "users": tokens.iter().map(user).collect::<Vec<_>>(),
    })
}

/// The tokens of a cluster that was started here.
pub fn own_tokens() -> Vec<(&'static str, &'static str)> {
    IDENTITIES.iter().map(|(who, token, _)| (*who, *token)).collect()
}

/// The cluster of a kubeconfig's current context, and the token that is shown there, if any.
///
/// # Errors
/// `Config` for a file that says too little.
pub fn attach(file: &Path) -> Result<(Arc<Upstream>, Option<String>)> {
    let wrong = |what: &str| {
        Error::new(ErrorKind::Config, what.to_owned()).with_subject(file.display().to_string())
    };
    let read = std::fs::read_to_string(file)
        .map_err(|error| Error::io("read it", error).with_subject(file.display().to_string()))?;
    let config: Value = serde_saphyr::from_str(&read)
        .map_err(|error| wrong("this is no kubeconfig").with_source(error))?;
    let find = |plural: &str, kind: &str, name: &str| {
        let found =
            list(&config, &format!("/{plural}")).iter().find(|it| text(it, "/name") == name);
        found.map(|it| it[kind].clone())
    };
    let context = find("contexts", "context", text(&config, "/current-context"))
        .ok_or_else(|| wrong("it has no current context"))?;
    let cluster = find("clusters", "cluster", text(&context, "/cluster"))
        .ok_or_else(|| wrong("it has no cluster for its current context"))?;
    let user = find("users", "user", text(&context, "/user")).unwrap_or_default();
    let server = text(&cluster, "/server");
    let address =
        server.strip_prefix("https://").ok_or_else(|| wrong("its server speaks no https"))?;
    let authority = pem(&cluster, "certificate-authority")
        .ok_or_else(|| wrong("it has no certificate of an authority"))?;
    let token = Some(text(&user, "/token").to_owned()).filter(|it| !it.is_empty());
    let tls = match (pem(&user, "client-certificate"), pem(&user, "client-key")) {
        (Some(certificate), Some(key)) => with_certificate(&authority, &certificate, &key)?,
        _ => trust(&authority)?,
    };
    let address = address.trim_end_matches('/').to_owned();
    let upstream = Upstream::new(address, Some(tls), token.as_deref());
    let upstream = upstream.map_err(|error| Error::io("reach the API server", error))?;
    Ok((Arc::new(upstream), token))
}

/// What a kubeconfig has under a name: the data itself, or in a file.
fn pem(value: &Value, name: &str) -> Option<String> {
    let data = text(value, &format!("/{name}-data"));
    match data.is_empty() {
        false => String::from_utf8(decode(data)?).ok(),
        true => std::fs::read_to_string(text(value, &format!("/{name}"))).ok(),
    }
}

fn with_certificate(authority: &str, certificate: &str, key: &str) -> Result<Arc<ClientConfig>> {
    let failed = || Error::new(ErrorKind::Config, "read a client's certificate");
    let mut roots = rustls::RootCertStore::empty();
    for it in CertificateDer::pem_slice_iter(authority.as_bytes()).flatten() {
        roots.add(it).map_err(|error| failed().with_source(error))?;
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| failed().with_hint(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed().with_source(error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| failed().with_source(error))?;
    Ok(Arc::new(config))
}
