//! What all controllers share: a cache of objects that follows the API server, a queue of what has
//! to be looked at, and the writing back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use super::json::{list, text};
use super::kind::{Groups, Key, Kind};
use super::sim::Sim;
use super::upstream::{Fail, Upstream};

/// Objects that are worked on at a time.
const WORKERS: usize = 8;

/// What a look at an object ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left to do until something changes.
    Done,
    /// It has to be looked at again after a while.
    Again(Duration),
}

/// The objects, and how they are written.
pub struct Control {
    /// The API server.
    pub api: Arc<Upstream>,
    /// The versions that are spoken.
    pub groups: Groups,
    cache: Mutex<HashMap<Key, Arc<Value>>>,
    queue: mpsc::UnboundedSender<Key>,
    due: Mutex<HashMap<Key, Instant>>,
    since: Mutex<HashMap<(Key, &'static str), Instant>>,
}

fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

impl Control {
    /// An empty cache, and what has to be worked on.
    pub fn new(api: Arc<Upstream>, groups: Groups) -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (queue, work) = mpsc::unbounded_channel();
        let control = Self {
            api,
            groups,
            cache: Mutex::default(),
            queue,
            due: Mutex::default(),
            since: Mutex::default(),
        };
        (control, work)
    }

    fn cached<T>(&self, change: impl FnOnce(&mut HashMap<Key, Arc<Value>>) -> T) -> T {
        change(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An object, as far as it is known.
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.cached(|cache| cache.get(key).cloned())
    }

    /// All objects of a kind in a namespace that are as wanted.
    pub fn all(
        &self,
        kind: Kind,
        namespace: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Arc<Value>> {
        self.cached(|cache| {
            let mine = cache.iter().filter(|(key, object)| {
                key.kind == kind && key.namespace == namespace && wanted(object)
            });
            mine.map(|(_, object)| object.clone()).collect()
        })
    }

    /// Has an object looked at.
    pub fn enqueue(&self, key: Key) {
        let _ = self.queue.send(key);
    }

    /// Notes an object as it was read or written; an older one is not news.
    fn remember(&self, kind: Kind, object: Value) {
        let key = Key::of(kind, &object);
        self.cached(|cache| {
            let old = cache.get(&key).map_or(0, |old| version(old));
            if version(&object) > old {
                cache.insert(key, Arc::new(object));
            }
        });
    }

    fn forget(&self, key: &Key) {
        self.cached(|cache| cache.remove(key));
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|(other, _), _| other != key);
    }

    /// Whether `wait` has passed since this was first asked about a step of an object. A step is
    /// asked about anew after [`Control::restart`].
    pub fn passed(&self, key: &Key, step: &'static str, wait: Duration) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry((key.clone(), step)).or_insert_with(Instant::now).elapsed() >= wait
    }

    /// Forgets that a step was ever begun.
    pub fn restart(&self, key: &Key, step: &'static str) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.remove(&(key.clone(), step));
    }

    /// Makes an object; one that is there already is taken as it is.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn create(&self, kind: Kind, mut object: Value) -> Result<Value, Fail> {
        object["apiVersion"] = self.groups.version(kind).into();
        object["kind"] = kind.names().2.into();
        let path = self.groups.path(kind, super::json::namespace(&object));
        let made = match self.api.call(Method::POST, &path, Some(&object)).await {
            Err(Fail { status: 409, message }) => {
                let there = self.api.find(&self.groups.object(&Key::of(kind, &object))).await?;
                there.ok_or(Fail { status: 409, message })?
            }
            made => made?,
        };
        self.remember(kind, made.clone());
        Ok(made)
    }

    /// Writes an object, all but its status.
    ///
    /// # Errors
    /// Those of the call; 409 when it has changed in the meantime.
    pub async fn put(&self, kind: Kind, object: &Value) -> Result<Value, Fail> {
        let path = self.groups.object(&Key::of(kind, object));
        let put = self.api.call(Method::PUT, &path, Some(object)).await?;
        let gone = super::json::deleting(&put) && list(&put, "/metadata/finalizers").is_empty();
        // What is gone with this may have been forgotten already.
        if !gone {
            self.remember(kind, put.clone());
        }
        Ok(put)
    }

    /// Writes the status of an object, if it is another one than the API server has.
    ///
    /// # Errors
    /// As [`Control::put`].
    pub async fn put_status(&self, kind: Kind, object: &Value) -> Result<(), Fail> {
        let key = Key::of(kind, object);
        let there = self.get(&key);
        if there.is_some_and(|there| there.get("status") == object.get("status")) {
            return Ok(());
        }
        if !kind.has_status() {
            return self.put(kind, object).await.map(|_| ());
        }
        let path = format!("{}/status", self.groups.object(&key));
        let put = self.api.call(Method::PUT, &path, Some(object)).await?;
        self.remember(kind, put);
        Ok(())
    }

    /// Deletes an object; one that is gone is no failure.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn delete(&self, key: &Key) -> Result<(), Fail> {
        match self.api.call(Method::DELETE, &self.groups.object(key), None).await {
            Ok(_) | Err(Fail { status: 404, .. }) => Ok(()),
            Err(fail) => Err(fail),
        }
    }

    /// Adds a finalizer, or takes all away.
    ///
    /// # Errors
    /// As [`Control::put`].
    pub async fn finalize(
        &self,
        kind: Kind,
        object: &Value,
        hold: Option<&str>,
    ) -> Result<Value, Fail> {
        let mut object = object.clone();
        match hold {
            Some(name) => {
                let mut all = list(&object, "/metadata/finalizers").to_vec();
                all.push(name.into());
                object["metadata"]["finalizers"] = Value::Array(all);
            }
            None => object["metadata"]["finalizers"] = json!([]),
        }
        self.put(kind, &object).await
    }
}

/// Follows all kinds and works on what changes, for as long as this is waited for.
pub async fn run(sim: Arc<Sim>, work: mpsc::UnboundedReceiver<Key>) {
    let mut tasks = tokio::task::JoinSet::new();
    for kind in Kind::ALL {
        tasks.spawn(follow(sim.clone(), kind));
    }
    tasks.spawn(dispatch(sim, work));
    while tasks.join_next().await.is_some() {}
}

/// Keeps the cache of a kind up to date.
async fn follow(sim: Arc<Sim>, kind: Kind) {
    let control = &sim.control;
    loop {
        let Ok(mut at) = relist(&sim, kind).await else {
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        loop {
            let path = control.groups.path(kind, "");
            let path = format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={at}");
            let Ok(mut lines) = control.api.watch(&path).await else { break };
            let mut heard = false;
            let mut lost = false;
            while let Some(event) = lines.next().await {
                if text(&event, "/type") == "ERROR" {
                    lost = true;
                    break;
                }
                heard = true;
                text(&event, "/object/metadata/resourceVersion").clone_into(&mut at);
                happened(&sim, kind, event);
            }
            if lost || !heard {
                break;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn happened(sim: &Sim, kind: Kind, mut event: Value) {
    let object = event["object"].take();
    let key = Key::of(kind, &object);
    match text(&event, "/type") {
        "ADDED" | "MODIFIED" => {
            sim.control.remember(kind, object.clone());
        }
        "DELETED" => sim.control.forget(&key),
        _ => return,
    }
    look(sim, key, &object);
}

/// Has an object looked at, and those that depend on it.
fn look(sim: &Sim, key: Key, object: &Value) {
    match key.kind {
        Kind::Instance => sim.control.enqueue(key.other(Kind::Machine)),
        Kind::Claim => {
            sim.control.enqueue(key.other(Kind::Volume));
            sim.control.enqueue(key.other(Kind::Source));
        }
        Kind::Volume => {
            sim.control.enqueue(key.other(Kind::Source));
            for owner in list(object, "/metadata/ownerReferences") {
                if text(owner, "/kind") == "VirtualMachine" {
                    let name = text(owner, "/name");
                    sim.control.enqueue(Key::new(Kind::Machine, &key.namespace, name));
                }
            }
        }
        _ => {}
    }
    sim.control.enqueue(key);
}

async fn relist(sim: &Sim, kind: Kind) -> Result<String, Fail> {
    let control = &sim.control;
    let mut there = HashSet::new();
    let mut from = String::new();
    loop {
        let path = format!("{}?limit=500&continue={from}", control.groups.path(kind, ""));
        let mut page = control.api.get(&path).await?;
        for mut object in page["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
            // The items of a list do not say what they are.
            object["apiVersion"] = control.groups.version(kind).into();
            object["kind"] = kind.names().2.into();
            let key = Key::of(kind, &object);
            there.insert(key.clone());
            control.remember(kind, object.clone());
            look(sim, key, &object);
        }
        text(&page, "/metadata/continue").clone_into(&mut from);
        if from.is_empty() {
            let gone: Vec<Key> = control.cached(|cache| {
                let mine = cache.keys().filter(|key| key.kind == kind && !there.contains(key));
                mine.cloned().collect()
            });
            for key in gone {
                control.forget(&key);
                look(sim, key, &Value::Null);
            }
            return Ok(text(&page, "/metadata/resourceVersion").to_owned());
        }
    }
}

/// Works on the queue: an object is in one pair of hands at a time.
async fn dispatch(sim: Arc<Sim>, mut work: mpsc::UnboundedReceiver<Key>) {
    let busy: Arc<Mutex<HashMap<Key, bool>>> = Arc::default();
    let places = Arc::new(Semaphore::new(WORKERS));
    while let Some(key) = work.recv().await {
        {
            let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(again) = busy.get_mut(&key) {
                *again = true;
                continue;
            }
            busy.insert(key.clone(), false);
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (sim, busy) = (sim.clone(), busy.clone());
        tokio::spawn(async move {
            let next = look_at(&sim, &key).await;
            drop(place);
            let again = busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if again == Some(true) {
                sim.control.enqueue(key.clone());
            }
            if let Next::Again(wait) = next {
                later(&sim, key, wait);
            }
        });
    }
}

async fn look_at(sim: &Arc<Sim>, key: &Key) -> Next {
    let slow = sim.rules.meet("controller", &key.to_string());
    if let Some(delay) = slow.delay {
        sleep(delay).await;
    }
    match sim.reconcile(key).await {
        Ok(next) => next,
        // Someone else was faster: what they wrote is on its way.
        Err(Fail { status: 409 | 404, .. }) => Next::Again(Duration::from_millis(30)),
        Err(fail) => {
            tracing::info!("{key}: {fail}");
            Next::Again(Duration::from_millis(300))
        }
    }
}

/// Has an object looked at after a while; of several whiles the shortest counts.
fn later(sim: &Arc<Sim>, key: Key, wait: Duration) {
    let due = Instant::now() + wait;
    {
        let mut all = sim.control.due.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&key).is_some_and(|other| *other <= due) {
            return;
        }
        all.insert(key.clone(), due);
    }
    let sim = sim.clone();
    tokio::spawn(async move {
        tokio::time::sleep_until(due).await;
        let mine = {
            let mut all = sim.control.due.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = all.get(&key) == Some(&due);
            if mine {
                all.remove(&key);
            }
            mine
        };
        if mine {
            sim.control.enqueue(key);
        }
    });
}
