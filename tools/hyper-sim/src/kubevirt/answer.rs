//! Answers of the simulator's own, in the forms of the API server.

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::upstream::Fail;
use crate::body::{Reply, text};
use crate::rule::Action;

/// An answer.
pub type Answer = Response<Reply>;

/// Sets a header.
pub fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Bytes of a kind.
pub fn bytes(status: u16, kind: &str, body: impl Into<Bytes>, action: &Action) -> Answer {
    let body: Bytes = body.into();
    let mut answer = Response::new(text(body, action));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    set(&mut answer, header::CONTENT_TYPE, kind);
    answer
}

/// An object.
pub fn json(status: u16, value: &Value, action: &Action) -> Answer {
    bytes(status, "application/json", value.to_string(), action)
}

/// What an API server says to a change of what is not the latest version any more.
const OVERTAKEN: &str = "Operation cannot be fulfilled on it: the object has been modified; \
                         please apply your changes to the latest version and try again";

/// The words that an API server has for a status.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

/// A refusal.
pub fn refusal(status: u16, message: &str) -> Answer {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason(status),
        "code": status,
    });
    json(status, &body, &Action::default())
}

/// What the API server said to a call that was made for a client.
pub fn failed(fail: &Fail) -> Answer {
    match fail.status {
        0 => refusal(503, &fail.message),
        status => refusal(status, &fail.message),
    }
}

/// Waits and refuses as an action says, before anything else is done.
pub async fn before(action: &Action) -> Option<Answer> {
    if let Some(delay) = action.delay {
        tokio::time::sleep(delay).await;
    }
    if action.expire {
        return Some(refusal(401, "Unauthorized"));
    }
    let status = action.status?;
    let mut answer = match status {
        409 => refusal(status, OVERTAKEN),
        _ => refusal(status, "refused as asked"),
    };
    if let Some(seconds) = action.retry_after {
        set(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    Some(answer)
}
