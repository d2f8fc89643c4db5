//! What an API server says went wrong, in hyper's own errors.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// How long to wait where a server that is busy does not say.
const PAUSE: Duration = Duration::from_millis(500);

/// `Status` of the Kubernetes API (meta/v1), as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
}

/// The error of an answer with a failing status. `asked` is its Retry-After.
pub fn of_answer(status: StatusCode, body: &[u8], asked: Option<Duration>) -> Error {
    let said: Status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
        // Proxies and aggregated servers answer in plain words.
        message: String::from_utf8_lossy(body.get(..300).unwrap_or(body)).trim().to_owned(),
        ..Status::default()
    });
    let kind = kind_of(status, &said.reason);
    let mut message = one_line(&said.message);
    if message.is_empty() {
        message = format!("the API server answers {status}");
    }
    let mut error = Error::new(kind, message);
    if kind == ErrorKind::Unavailable {
        let wait = said.details.retry_after_seconds;
        let wait = (wait > 0).then(|| Duration::from_secs(wait));
        error = error.with_retry_after(asked.or(wait).unwrap_or(PAUSE));
    }
    if status == StatusCode::UNAUTHORIZED {
        error = error.with_hint("the credentials of the kubeconfig are not valid, or have expired");
    }
    error
}

fn kind_of(status: StatusCode, reason: &str) -> ErrorKind {
    match (status.as_u16(), reason) {
        (401 | 403 | 407, _) => ErrorKind::Auth,
        // What has expired is a place in a list; the caller asks for it anew.
        (410, _) | (_, "Expired" | "Gone") => ErrorKind::NotFound,
        (404, _) => ErrorKind::NotFound,
        (409 | 423, _) => ErrorKind::Conflict,
        (400 | 413 | 415 | 422, _) => ErrorKind::Usage,
        (405 | 501, _) => ErrorKind::Unsupported,
        (408 | 429 | 502..=504, _) => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error of a request that got no answer.
pub fn of_client(error: kube::Error, place: &str) -> Error {
    let unavailable = |words: &str| {
        Error::new(ErrorKind::Unavailable, words.to_owned()).with_subject(place.to_owned())
    };
    match &error {
        kube::Error::Auth(reason) => {
            Error::new(ErrorKind::Auth, "get credentials for the API server")
                .with_subject(place.to_owned())
                .with_source(reason.to_string())
        }
        kube::Error::Api(said) => {
            let kind = kind_of(StatusCode::from_u16(said.code).unwrap_or_default(), &said.reason);
            let error = Error::new(kind, one_line(&said.message));
            if kind == ErrorKind::Unavailable { error.with_retry_after(PAUSE) } else { error }
        }
        kube::Error::UpgradeConnection(reason) => {
            Error::unsupported("nothing but plain requests gets through to the API server")
                .with_subject(place.to_owned())
                .with_source(reason.to_string())
        }
        kube::Error::HyperError(_) | kube::Error::Service(_) => {
            let words = deepest(&error);
            if words.contains("certificate") {
                return Error::new(ErrorKind::Auth, "the API server's certificate is not believed")
                    .with_subject(place.to_owned())
                    .with_source(words);
            }
            unavailable("cannot reach the API server")
                .with_source(words)
                .with_hint(format!("check that {place} can be reached from here"))
        }
        _ => unavailable("talk to the API server").with_source(deepest(&error)),
    }
}

/// The words of the innermost error, which tells most.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_the_kind_that_scripts_know() {
        let body = br#"{"kind":"Status","message":"vms \"a\" not found","reason":"NotFound"}"#;
        let error = of_answer(StatusCode::NOT_FOUND, body, None);
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "vms \"a\" not found"));
        let busy = of_answer(StatusCode::TOO_MANY_REQUESTS, b"", Some(Duration::from_secs(3)));
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
        assert_eq!(busy.kind().exit_status(), 8);
        let refused = of_answer(StatusCode::FORBIDDEN, b"no\nway", None);
        assert_eq!((refused.kind().exit_status(), refused.message()), (4, "no way"));
    }
}
