//! Machines as they change: `WaitForUpdatesEx` of a property collector of our own (vSphere Web
//! Services API, "PropertyCollector"). The server keeps a version of what it has told; a wait that
//! breaks is made again from there, and where the server has forgotten it (another login, a restart)
//! a new collector tells everything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::client::{Client, Turns};
use super::fault::fault_of;
use super::inventory::{MACHINE, place};
use super::known::Known;
use super::names::{Names, View};
use super::property::property_spec;
use super::record::{OF_DEVICES, PATHS};
use super::soap::{Body, MoRef, Value};
use super::stream::{Rest, TakePart, Wanted};
use super::{NAME, Vsphere};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Contact, Contacted};
use crate::provider::facets::feed::{Change, Feed};
use crate::vm::{ObjectKind, VmFilter, VmId, VmObject};

/// How long the server may keep a wait open, in seconds: a connection that is dead is noticed
/// soon after.
const OPEN: u32 = 30;

/// How many objects a set may tell of; the rest comes in the next.
const MOST: u32 = 100;

/// Changes that wait for the reader.
const QUEUE: usize = 64;

/// First and longest wait before a broken watch is taken up again.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// How long to wait at the end for a server that is to free what a watch has made there.
const FAREWELL: Duration = Duration::from_secs(5);

/// Updates of objects lie in `Envelope/Body/…Response/returnval/filterSet`.
const UPDATES: Wanted = Wanted { name: "objectSet", depth: 5, only: OF_DEVICES };

/// What watches have made on the server and not freed yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Watches(Arc<Mutex<Vec<Made>>>);

/// What one watch has made, with the login that it belongs to.
#[derive(Debug, Clone)]
struct Made {
    cookie: Secret,
    collector: MoRef,
    views: Vec<MoRef>,
}

#[async_trait]
impl Feed for Vsphere {
    fn changes(&self, filter: VmFilter) -> BoxStream<'_, Result<Change>> {
        let (send, receive) = mpsc::channel(QUEUE);
        let watch = Watch { client: self.client.clone(), watches: self.watches.clone(), send };
        tokio::spawn(watch.run(filter));
        stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) })
            .boxed()
    }

    fn objects(
        &self,
        _: ObjectKind,
        _: VmFilter,
    ) -> Option<BoxStream<'_, Result<Change<VmObject>>>> {
        None
    }

    async fn end(&self) {
        let made = std::mem::take(&mut *self.watches.lock());
        let free = async {
            for made in made {
                made.free(&self.client).await;
            }
        };
        if tokio::time::timeout(FAREWELL, free).await.is_err() {
            tracing::info!("{}: what the watch made there ends with its login", NAME);
        }
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Vec<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, made: Made) {
        self.lock().push(made);
    }

    /// Adds a view to the newest.
    fn add_view(&self, collector: &MoRef, view: MoRef) {
        if let Some(made) = self.lock().iter_mut().find(|made| made.collector == *collector) {
            made.views.push(view);
        }
    }

    fn remove(&self, collector: &MoRef) -> Option<Made> {
        let mut all = self.lock();
        let at = all.iter().position(|made| made.collector == *collector)?;
        Some(all.remove(at))
    }
}

impl Made {
    /// Frees it all. What cannot be freed ends with the login.
    async fn free(self, client: &Client) {
        let collector = [("DestroyPropertyCollector", &self.collector)];
        let views = self.views.iter().map(|view| ("DestroyView", view));
        for (method, object) in collector.into_iter().chain(views) {
            if let Err(error) = client.call_as(&self.cookie, method, object, &Body::new()).await {
                tracing::debug!("{method} {object}: {error}");
                return;
            }
        }
    }
}

/// What is followed.
enum Place {
    /// All machines below it.
    Below(MoRef),
    /// These.
    Machines(Vec<MoRef>),
}

/// One watch.
struct Watch {
    client: Client,
    watches: Watches,
    send: mpsc::Sender<Result<Change>>,
}

/// What a failure lets the watch do.
enum Next {
    /// Ask again, from where it was.
    Again,
    /// Begin anew.
    Anew,
    /// End.
    End,
}

impl Watch {
    async fn run(self, filter: VmFilter) {
        let closed = self.send.clone();
        tokio::select! {
            ended = self.follow(filter) => {
                if let Err(error) = ended {
                    let _ = closed.send(Err(error)).await;
                }
            }
            () = closed.closed() => {}
        }
    }

    async fn follow(&self, filter: VmFilter) -> Result<()> {
        filter.without_labels(NAME)?;
        let place = self.place(&filter).await?;
        let mut patience = Patience::new(self.client.contact());
        let mut turns = self.client.turns();
        let mut begun = false;
        loop {
            let cookie = match turns.cookie().await {
                Ok(cookie) => cookie,
                Err(error) => {
                    patience.bear(error, begun).await?;
                    continue;
                }
            };
            let mut now = None;
            let ended = match self.begin(&cookie, &place, &mut now).await {
                Ok(mut waiting) => {
                    let ended = waiting.wait(&mut patience).await;
                    if waiting.told {
                        begun = true;
                        turns = self.client.turns();
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return Ok(()) };
            match next(&error) {
                Next::End => return Err(error),
                Next::Again => patience.bear(error, begun).await?,
                Next::Anew => {
                    tracing::info!("{error}; telling everything again");
                    self.forget(now, &error).await;
                    patience.bear_anew(cookie, error, &mut turns).await?;
                }
            }
        }
    }

    /// Frees what an end has left, where its login is still good.
    async fn forget(&self, collector: Option<MoRef>, error: &Error) {
        let Some(made) = collector.and_then(|collector| self.watches.remove(&collector)) else {
            return;
        };
        if !super::fault::is_logged_out(error) {
            made.free(&self.client).await;
        }
    }

    /// What a filter is about.
    async fn place(&self, filter: &VmFilter) -> Result<Place> {
        if !filter.ids.is_empty() {
            let machines = filter.ids.iter().map(|VmId(id)| MoRef::new(MACHINE, id));
            return Ok(Place::Machines(machines.collect()));
        }
        let names = match filter.within {
            Some(_) => Names::read(&self.client).await?,
            None => Names::default(),
        };
        let place = place(&self.client, &names, filter.within.as_deref()).await?;
        Ok(match place.kind == MACHINE {
            true => Place::Machines(vec![place]),
            false => Place::Below(place),
        })
    }

    /// Makes a collector with its filters; `now` is its name as soon as it has one.
    async fn begin<'w>(
        &'w self,
        cookie: &'w Secret,
        place: &Place,
        now: &mut Option<MoRef>,
    ) -> Result<Waiting<'w>> {
        let content = self.client.content().await?;
        // A login is shared by runs, and a collector tells about all of its filters: one of our own.
        let (shared, none) = (&content.property_collector, Body::new());
        let reply = self.client.call_as(cookie, "CreatePropertyCollector", shared, &none).await?;
        let collector = reply.reference()?;
        *now = Some(collector.clone());
        let made = Made { cookie: cookie.clone(), collector: collector.clone(), views: Vec::new() };
        self.watches.add(made);
        // The names come first, as servers tell of filters in their order.
        let names = self.view(cookie, &collector, &content.root_folder, &Names::kinds()).await?;
        self.filter(cookie, &collector, View::select_in(&names, Names::wanted(spec()))).await?;
        if let Some(spec) = self.machines(cookie, &collector, place).await? {
            self.filter(cookie, &collector, spec).await?;
        }
        let known = Known::new(self.client.endpoint().context.clone(), &content.root_folder);
        let known = Arc::new(Mutex::new(known));
        let version = String::new();
        Ok(Waiting { watch: self, cookie, collector, version, told: false, known })
    }

    /// What is wanted of the machines of a place; `None` where none of them is left.
    async fn machines(
        &self,
        cookie: &Secret,
        collector: &MoRef,
        place: &Place,
    ) -> Result<Option<Body>> {
        let wanted = property_spec(spec(), MACHINE, &PATHS);
        let machines = match place {
            Place::Below(container) => {
                let view = self.view(cookie, collector, container, &[MACHINE]).await?;
                return Ok(Some(View::select_in(&view, wanted)));
            }
            Place::Machines(machines) => self.left(machines).await?,
        };
        let select = |body: Body, machine| {
            body.open("objectSet", None).reference("obj", machine).close("objectSet")
        };
        Ok((!machines.is_empty()).then(|| machines.iter().fold(wanted, select)))
    }

    /// Those of some machines that are still there.
    async fn left(&self, machines: &[MoRef]) -> Result<Vec<MoRef>> {
        let mut left = Vec::with_capacity(machines.len());
        for machine in machines {
            match self.client.properties(machine, &["name"]).await {
                Ok(_) => left.push(machine.clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    async fn view(
        &self,
        cookie: &Secret,
        collector: &MoRef,
        container: &MoRef,
        kinds: &[&str],
    ) -> Result<MoRef> {
        let manager = self.client.content().await?.manager("viewManager")?;
        let body = View::of(container, kinds);
        let reply = self.client.call_as(cookie, "CreateContainerView", &manager, &body).await?;
        let view = reply.reference()?;
        self.watches.add_view(collector, view.clone());
        Ok(view)
    }

    async fn filter(&self, cookie: &Secret, collector: &MoRef, spec: Body) -> Result<()> {
        // Whole values: a device that changed is told with all others.
        let body = spec.close("spec").text("partialUpdates", false);
        self.client.call_as(cookie, "CreateFilter", collector, &body).await.map(drop)
    }
}

fn spec() -> Body {
    Body::new().open("spec", None)
}

/// A collector that is waited for.
struct Waiting<'w> {
    watch: &'w Watch,
    cookie: &'w Secret,
    collector: MoRef,
    /// What the server says that it has told.
    version: String,
    /// Whether a set was complete.
    told: bool,
    known: Arc<Mutex<Known>>,
}

impl Waiting<'_> {
    /// Waits for one set after another, until nobody listens any more.
    async fn wait(&mut self, patience: &mut Patience) -> Result<()> {
        let send = &self.watch.send;
        while !send.is_closed() {
            let answer = match self.ask().await {
                Ok(answer) => answer,
                Err(error) if matches!(next(&error), Next::Again) => {
                    patience.bear(error, self.told).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            patience.rest();
            // Nothing has happened for as long as the server was to wait.
            let Some(set) = answer.child("returnval") else { continue };
            if let Some(version) = set.str("version") {
                version.clone_into(&mut self.version);
            }
            if set.flag("truncated") == Some(true) {
                continue;
            }
            self.told = true;
            let mut told = self.read_again().await?;
            told.extend(lock(&self.known).complete());
            for change in told {
                if send.send(Ok(change)).await.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads machines again that were reconfigured: vcsim tells that, and not what came of it.
    async fn read_again(&self) -> Result<Vec<Change>> {
        let configured = lock(&self.known).take_configured();
        let mut told = Vec::new();
        for id in configured {
            match self.watch.client.properties(&id, &PATHS).await {
                Ok(properties) => told.extend(lock(&self.known).reread(id, properties)),
                // That it is gone is told by itself.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// Asks for the next set, passes on what its objects come to, and gives the rest of it.
    async fn ask(&self) -> Result<Value> {
        let options = Body::new().text("version", &self.version).open("options", None);
        let options = options.text("maxWaitSeconds", OPEN).text("maxObjectUpdates", MOST);
        let call = ("WaitForUpdatesEx", options.close("options"));
        let set = Set { known: self.known.clone(), send: self.watch.send.clone() };
        let client = &self.watch.client;
        let read = client.parts(&self.collector, call, self.cookie, (UPDATES, set)).await?;
        read.rest.map(|Rest { answer, .. }| answer)
    }
}

/// Takes the objects of update sets in and passes on what they come to.
struct Set {
    known: Arc<Mutex<Known>>,
    send: mpsc::Sender<Result<Change>>,
}

impl TakePart for Set {
    fn take(&mut self, update: Value) -> Result<bool> {
        let told = lock(&self.known).take(update)?;
        Ok(match told {
            Some(change) => self.send.blocking_send(Ok(change)).is_ok(),
            None => true,
        })
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a failure lets a watch do.
fn next(error: &Error) -> Next {
    let forgotten = ["NotAuthenticated", "ManagedObjectNotFound", "InvalidCollectorVersion"];
    match fault_of(error) {
        Some(fault) if forgotten.contains(&fault.kind.as_str()) => Next::Anew,
        _ if error.kind() == ErrorKind::Unavailable => Next::Again,
        _ => Next::End,
    }
}

/// How failures are borne: those that may pass are waited out.
struct Patience {
    failures: u32,
    contact: Contacted,
}

impl Patience {
    fn new(contact: &Contact) -> Self {
        Self { failures: 0, contact: contact.line() }
    }

    /// The server has answered as it should.
    fn rest(&mut self) {
        self.failures = 0;
        self.contact.works();
    }

    /// Waits before another try; `begun` is whether there was anything to lose.
    async fn bear(&mut self, error: Error, begun: bool) -> Result<()> {
        if !begun || !matches!(next(&error), Next::Again) {
            return Err(error);
        }
        tracing::info!("{error}; taking the watch up again");
        self.contact.failed(&error);
        self.pause(error.retry_after()).await;
        Ok(())
    }

    /// Waits before beginning anew, if not for the first time, and lets a login be renewed.
    async fn bear_anew(
        &mut self,
        cookie: Secret,
        error: Error,
        turns: &mut Turns<'_>,
    ) -> Result<()> {
        turns.begin_anew(cookie, error)?;
        if self.failures > 0 {
            self.pause(None).await;
        }
        self.failures += 1;
        Ok(())
    }

    async fn pause(&mut self, asked: Option<Duration>) {
        let wait = WAITS.0.saturating_mul(1 << self.failures.min(10)).min(WAITS.1);
        self.failures += 1;
        tokio::time::sleep(asked.unwrap_or(wait).max(wait)).await;
    }
}
