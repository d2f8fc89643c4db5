//! The simulated server: its settings, its state, and news that something changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::console::Consoles;
use super::disk::Store;
use super::session::Session;
use super::state::State;
use crate::rule::Rules;

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may log in, and with which password.
    pub user: String,
    /// The password.
    pub password: String,
    /// How long a login lives without being used.
    pub session_timeout: Duration,
    /// How long a lease lives without progress.
    pub lease_timeout: Duration,
    /// The most objects in a page.
    pub page_size: Option<usize>,
    /// Whether leases have manifests.
    pub manifest: bool,
    /// The host that leases send clients to; `*` is the one they know.
    pub nfc_host: String,
    /// The most disks that are sent at a time.
    pub nfc_streams: Option<usize>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// SHA-1 of the certificate, as `AA:BB:…`; empty without one.
    pub thumbprint: String,
}

/// The server.
#[derive(Debug)]
pub struct Sim {
    /// How it behaves.
    pub settings: Settings,
    /// The bytes of disks.
    pub store: Store,
    /// What goes wrong.
    pub rules: Rules,
    /// Screens and serial lines.
    pub consoles: Consoles,
    /// Disks that are being sent.
    pub streams: AtomicUsize,
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

impl Sim {
    /// A server with its state.
    pub fn new(settings: Settings, store: Store, rules: Rules, state: State) -> Self {
        let streams = AtomicUsize::new(0);
        let (state, news) = (Mutex::new(state), watch::Sender::new(0));
        let consoles = Consoles::default();
        Self { settings, store, rules, consoles, streams, state, news }
    }

    /// The state. Never held over a wait.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone who waits that something changed.
    pub fn changed(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Hears of changes.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The login that a cookie belongs to, if it is alive; it counts as used.
    pub fn session(&self, cookie: Option<&str>) -> Option<String> {
        let mut state = self.lock();
        self.expire(&mut state.sessions);
        let cookie = cookie?.trim_matches('"');
        let mut all = state.sessions.values_mut();
        let session = all.find(|session| session.cookie.trim_matches('"') == cookie)?;
        session.touch();
        Some(session.key.clone())
    }

    /// Ends a login, or all of them.
    pub fn end_sessions(&self, key: Option<&str>) {
        self.lock().sessions.retain(|it, _| key.is_some_and(|key| key != it));
        self.changed();
    }

    fn expire(&self, sessions: &mut BTreeMap<String, Session>) {
        sessions.retain(|_, session| session.active.elapsed() < self.settings.session_timeout);
    }
}
