//! Logins, and what lives as long as a login does: views, collectors, pages.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::collector::Page;
use super::history;
use super::state::State;
use super::update::{Collector, Filter};
use super::value::{Data, Ref, Value};

/// A login.
#[derive(Debug)]
pub struct Session {
    /// Its key, which `session.ls` shows; the cookie is another word.
    pub key: String,
    /// What the client shows: the value of the cookie.
    pub cookie: String,
    /// Who.
    pub user: String,
    /// Since when.
    pub login: Timestamp,
    /// When it was last used.
    pub active: std::time::Instant,
    last: Timestamp,
    /// From where.
    pub address: String,
    /// With what.
    pub agent: String,
    /// Calls so far.
    pub calls: u64,
    /// Views by id.
    pub views: BTreeMap<String, View>,
    /// Collectors by id, the one that everybody has among them.
    pub collectors: BTreeMap<String, Collector>,
    /// Collectors of events by id.
    pub events: BTreeMap<String, history::Collector>,
    /// Pages that were not fetched yet, by token.
    pub pages: BTreeMap<String, Page>,
}

/// A container view.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it looks.
    pub container: Ref,
    /// What it shows; empty for everything.
    pub kinds: Vec<String>,
    /// Whether it looks below what is directly there.
    pub recursive: bool,
}

impl Session {
    /// A new login.
    pub fn new(number: u64, user: &str, address: &str, agent: &str) -> Self {
        let now = Timestamp::now();
        let mix = |salt: u64| {
            let text = format!("{number} {salt} {}", now.as_nanosecond());
            blake3_hex(&text)
        };
        let (key, cookie) = (mix(1), mix(2));
        Self {
            key: format!("52{}", key.get(..30).unwrap_or_default()),
            cookie: format!("\"{}\"", cookie.get(..40).unwrap_or_default()),
            user: user.to_owned(),
            login: now,
            active: std::time::Instant::now(),
            last: now,
            address: address.to_owned(),
            agent: agent.to_owned(),
            calls: 0,
            views: BTreeMap::new(),
            collectors: BTreeMap::new(),
            events: BTreeMap::new(),
            pages: BTreeMap::new(),
        }
    }

    /// Notes that it is used.
    pub fn touch(&mut self) {
        self.active = std::time::Instant::now();
        self.last = Timestamp::now();
        self.calls += 1;
    }

    /// The filter of that id, in whichever collector.
    pub fn filter(&self, id: &str) -> Option<&Filter> {
        self.collectors.values().flat_map(|it| &it.filters).find(|filter| filter.id == id)
    }

    /// The login as the interface shows it.
    pub fn data(&self) -> Data {
        Data::new("UserSession")
            .set("key", &self.key)
            .set("userName", &self.user)
            .set("fullName", &self.user)
            .set("loginTime", self.login)
            .set("lastActiveTime", self.last)
            .set("locale", "en")
            .set("messageLocale", "en")
            .set("extensionSession", false)
            .set("ipAddress", &self.address)
            .set("userAgent", &self.agent)
            .set("callCount", self.calls)
    }
}

/// Hex that nobody guesses from its neighbours.
pub fn blake3_hex(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A property of the session manager, as the holder of a session sees it.
pub fn property(state: &State, session: Option<&str>, name: &str) -> Option<Value> {
    Some(match name {
        "sessionList" => state.sessions.values().map(Session::data).collect::<Vec<_>>().into(),
        "currentSession" => state.sessions.get(session?)?.data().into(),
        "message" => "simulated".into(),
        "messageLocaleList" | "supportedLocaleList" => vec!["en"].into(),
        "defaultLocale" => "en".into(),
        _ => return None,
    })
}
