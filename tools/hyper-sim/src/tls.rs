//! The certificate that the server makes for itself.

use std::fmt::Write;
use std::sync::Arc;

use hyper_common::error::{BoxError, Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};

/// A certificate, and what clients are told of it.
#[derive(Debug)]
pub struct Certificate {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// As PEM, for clients that take an authority.
    pub pem: String,
    /// Its SHA-1 as `AA:BB:…`, for clients that pin.
    pub thumbprint: String,
}

fn failed(error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Internal, "make a certificate").with_source(error)
}

impl Certificate {
    /// A fresh one for this machine's own names and `host`.
    ///
    /// # Errors
    /// `Internal`.
    pub fn new(host: &str) -> Result<Self> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let der = made.cert.der().clone();
        let mut thumbprint = String::new();
        for byte in Sha1::digest(&der) {
            let colon = if thumbprint.is_empty() { "" } else { ":" };
            let _ = write!(thumbprint, "{colon}{byte:02X}");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![der], key)
            .map_err(failed)?;
        Ok(Self { config: Arc::new(config), pem: made.cert.pem(), thumbprint })
    }
}
