//! Whom to believe: the platform's or named certificate authorities, pinned certificates, or
//! anyone.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::Thumbprint;
use crate::error::{Error, ErrorKind, Result};

/// Which servers to believe. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    insecure: bool,
    authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    pins: Vec<(String, Pin)>,
}

/// A certificate that is known by its thumbprint.
#[derive(Debug, Clone)]
struct Pin {
    print: Thumbprint,
    /// Whether no other certificate will do, even one that an authority vouches for.
    only: bool,
}

impl Trust {
    /// Believes any certificate. The connection is encrypted, the other end unknown.
    #[must_use]
    pub fn anyone(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Believes the certificates in a PEM file, and those that they vouch for, instead of the
    /// platform's authorities. Several files add up.
    ///
    /// # Errors
    /// `Config` for a file that cannot be read or holds no certificate.
    pub fn with_authorities(mut self, file: &Path) -> Result<Self> {
        let fail = |words: String| {
            Error::new(ErrorKind::Config, words).with_subject(file.display().to_string())
        };
        let text = std::fs::read(file)
            .map_err(|error| fail("read the certificates".into()).with_source(error))?;
        self.add(&text).map_err(fail)?;
        Ok(self)
    }

    /// The same of certificates that a server named, in PEM form.
    ///
    /// # Errors
    /// `Protocol` where that is none.
    pub fn with_authorities_of(mut self, text: &str) -> Result<Self> {
        self.add(text.as_bytes()).map_err(|words| Error::new(ErrorKind::Protocol, words))?;
        Ok(self)
    }

    fn add(&mut self, text: &[u8]) -> std::result::Result<(), String> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| format!("read the certificates: {error}"))?;
        if found.is_empty() {
            return Err("there is no certificate in PEM form".to_owned());
        }
        let all = self.authorities.iter().flat_map(|known| known.iter().cloned()).chain(found);
        self.authorities = Some(Arc::new(all.collect()));
        Ok(())
    }

    /// Believes the server at `place` (`host:port`) by this certificate and no other.
    #[must_use]
    pub fn only(mut self, place: &str, print: Thumbprint) -> Self {
        self.pins.push((place.to_ascii_lowercase(), Pin { print, only: true }));
        self
    }

    /// Believes the server at `place` (`host:port`) by this certificate, too.
    #[must_use]
    pub fn also(mut self, place: &str, print: Thumbprint) -> Self {
        self.pins.push((place.to_ascii_lowercase(), Pin { print, only: false }));
        self
    }

    /// The TLS settings for connections to `place`; with `pinned`, that certificate is believed
    /// there as well.
    pub(super) fn client(&self, place: &str, pinned: Option<&Thumbprint>) -> Result<ClientConfig> {
        let place = place.to_ascii_lowercase();
        let mut pins: Vec<Pin> =
            self.pins.iter().filter(|(at, _)| *at == place).map(|(_, pin)| pin.clone()).collect();
        pins.extend(pinned.map(|print| Pin { print: print.clone(), only: false }));
        let provider = provider();
        let verifier = Verifier {
            insecure: self.insecure,
            authorities: self.authorities.clone(),
            pins,
            provider: provider.clone(),
            inner: OnceLock::new(),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Internal, "set up TLS").with_source(error))?;
        let verifier = Arc::new(verifier);
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

/// The one implementation of cryptography, installed for the whole process on first use.
fn provider() -> Arc<CryptoProvider> {
    // Fails where one is installed already, which is as good.
    let _ = aws_lc_rs::default_provider().install_default();
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// `count` letters and digits that nobody can guess.
///
/// # Errors
/// `Internal` where the operating system gives no randomness.
pub fn secret_word(count: usize) -> Result<String> {
    const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; count];
    provider().secure_random.fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, "get random bytes").with_source(format!("{error:?}"))
    })?;
    Ok(bytes.iter().map(|byte| char::from(SIGNS[usize::from(*byte) % SIGNS.len()])).collect())
}

/// A certificate that was not believed, with what a person needs to decide about it.
#[derive(Debug)]
pub(super) struct Refused {
    pub reason: String,
    pub sha256: Thumbprint,
    pub sha1: Thumbprint,
    /// Whether another certificate was expected by its thumbprint.
    pub pinned: bool,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

/// Checks a server's certificate the way [`Trust`] says. The signature of the handshake is checked
/// as well, for who shows a certificate must have its key; only where any certificate will do it
/// would prove nothing, and keys too short for it are let in.
#[derive(Debug)]
struct Verifier {
    insecure: bool,
    authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
    /// Made when first needed: reading the platform's authorities takes longer than a login.
    inner: OnceLock<std::result::Result<Arc<dyn ServerCertVerifier>, String>>,
}

impl Verifier {
    fn inner(&self) -> std::result::Result<Arc<dyn ServerCertVerifier>, String> {
        self.inner.get_or_init(|| self.build().map_err(|error| error.to_string())).clone()
    }

    fn build(
        &self,
    ) -> std::result::Result<Arc<dyn ServerCertVerifier>, Box<dyn std::error::Error>> {
        let provider = self.provider.clone();
        let Some(authorities) = &self.authorities else {
            return Ok(Arc::new(rustls_platform_verifier::Verifier::new(provider)?));
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
    }

    fn believes_anyone(&self) -> bool {
        self.insecure && self.pins.is_empty()
    }

    /// The certificate that a server made for itself is in the file of authorities: then it is
    /// believed for its name, although it vouches for nobody.
    fn is_named(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        self.authorities.as_ref().is_some_and(|known| known.iter().any(|it| it == certificate))
            && ParsedCertificate::try_from(certificate)
                .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }

    fn refuse(&self, certificate: &[u8], reason: String, pinned: bool) -> rustls::Error {
        let refused = Refused {
            reason,
            sha256: Thumbprint::sha256(certificate),
            sha1: Thumbprint::sha1(certificate),
            pinned,
        };
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.pins.iter().any(|pin| pin.print.fits(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        if self.pins.iter().any(|pin| pin.only) {
            let reason = "the certificate is not the one with the known thumbprint".to_owned();
            return Err(self.refuse(end_entity, reason, true));
        }
        if self.insecure || self.is_named(end_entity, server_name) {
            return Ok(ServerCertVerified::assertion());
        }
        let checked = self.inner().map_err(|error| error.to_string()).and_then(|inner| {
            inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| reason(&error))
        });
        checked.map_err(|reason| self.refuse(end_entity, reason, !self.pins.is_empty()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if self.believes_anyone() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if self.believes_anyone() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a certificate is not believed, in words for people.
fn reason(error: &rustls::Error) -> String {
    let words = match error {
        rustls::Error::InvalidCertificate(what) => match what {
            CertificateError::UnknownIssuer => "nobody known vouches for the certificate",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name"
            }
            CertificateError::Revoked => "the certificate was revoked",
            // What a server that made its certificate for itself shows.
            CertificateError::Other(_) => "the certificate vouches for itself only",
            _ => return format!("the certificate cannot be believed: {error}"),
        },
        _ => return format!("the certificate cannot be believed: {error}"),
    };
    words.to_owned()
}
