//! Talking to servers: whom to believe ([`Trust`]), requests and their answers ([`Http`]), and
//! trying again where that is harmless ([`retry`]).
//!
//! In: TLS, one HTTP client for all providers, errors that name the server and never a secret.
//! Not in: the protocols spoken over it, which are the providers' own.

mod contact;
mod flow;
mod http;
mod line;
mod retry;
mod telnet;
mod thumbprint;
mod tls;
mod tunnel;
mod websocket;

pub use reqwest::Url;

pub use self::contact::{Contact, Contacted, REMARK};
pub use self::http::{Http, Request, Response};
pub use self::line::{Line, LineReader, LineWriter, accepts, nonce};
pub use self::retry::{retry, varied};
pub use self::thumbprint::Thumbprint;
pub use self::tls::{Trust, secret_word};
pub use self::tunnel::{Duplex, Tunnel, Tunnelled, Way};
