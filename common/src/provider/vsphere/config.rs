//! From a context to what is needed to reach its server.

use std::path::Path;

use crate::config::{ContextConfig, Server};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Thumbprint, Trust, Url};

/// Where the API is below a server's address.
const API: &str = "/sdk";

/// One vCenter or ESXi host as a context names it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The context's name.
    pub context: String,
    /// The API's URL, without user and password.
    pub url: Url,
    /// `host:port`.
    pub place: String,
    /// What the context says about its server.
    pub server: Server,
    /// The whole context.
    pub config: ContextConfig,
}

impl Endpoint {
    /// Reads the context. Nothing is contacted and no file opened.
    ///
    /// # Errors
    /// `Config` for a URL that is none.
    pub fn new(context: &ContextConfig) -> Result<Self> {
        let fail = |message: &str| {
            Error::new(ErrorKind::Config, message.to_owned())
                .with_subject(format!("context {:?}", context.name))
        };
        let server = context.server.clone().ok_or_else(|| fail("it has no URL"))?;
        let url = parse_url(&server.url).map_err(|reason| fail(&reason))?;
        let host = url.host_str().unwrap_or_default();
        let place = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
        Ok(Self { context: context.name.clone(), url, place, server, config: context.clone() })
    }

    /// Whom to believe.
    ///
    /// # Errors
    /// `Config` for a thumbprint that is none and files that cannot be read.
    pub fn trust(&self) -> Result<Trust> {
        let mut trust = Trust::default();
        if self.server.insecure {
            trust = trust.anyone();
        }
        for file in &self.server.ca_files {
            trust = trust.with_authorities(file)?;
        }
        if let Some(text) = &self.server.thumbprint {
            let print = text.parse().map_err(|reason: String| {
                Error::new(ErrorKind::Config, reason)
                    .with_subject(format!("context {:?}", self.context))
            })?;
            trust = trust.only(&self.place, print);
        }
        for file in &self.server.known_hosts {
            trust = with_known_hosts(trust, file)?;
        }
        Ok(trust)
    }
}

/// A URL as govc takes them: `https` where no scheme is given, `/sdk` where no path is.
///
/// # Errors
/// A sentence that says why it is none.
pub fn parse_url(text: &str) -> std::result::Result<Url, String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    // A URL that is laid out oddly may still hold a password, and is then not repeated.
    let text = if text.contains('@') { "what stands there" } else { text };
    let mut url = Url::parse(&whole).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user or a password in a place where none is expected".into());
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("{text:?} is no URL of a vCenter or ESXi: it starts with https://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{text:?} names no server"));
    }
    if url.path().is_empty() || url.path() == "/" {
        url.set_path(API);
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Adds the lines `host:port thumbprint` of a file; port 443 where none is given. A file that is
/// not there and lines of another form are passed over, as govc does.
fn with_known_hosts(mut trust: Trust, file: &Path) -> Result<Trust> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(trust),
        Err(error) => {
            return Err(Error::new(ErrorKind::Config, "read the known hosts")
                .with_subject(file.display().to_string())
                .with_source(error));
        }
    };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(host), Some(print)) = (words.next(), words.next()) else { continue };
        let Ok(print) = print.parse::<Thumbprint>() else {
            tracing::warn!("{}: {print:?} is no thumbprint", file.display());
            continue;
        };
        let port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = if port { host.to_owned() } else { format!("{host}:443") };
        trust = trust.also(&place, print);
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed_as_govc_does() {
        let shown = |text: &str| parse_url(text).map(|url| url.to_string());
        assert_eq!(shown("vc.example.com").unwrap(), "https://vc.example.com/sdk");
        assert_eq!(shown("vc:8443/").unwrap(), "https://vc:8443/sdk");
        assert_eq!(shown("http://127.0.0.1:8989/sdk?x=1#y").unwrap(), "http://127.0.0.1:8989/sdk");
        assert_eq!(shown("https://[::1]:8989/other").unwrap(), "https://[::1]:8989/other");
        for wrong in ["", "ftp://vc", "https://", "https://a b/", "https:///user:pass@vc/"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
