//! Listing machines, in several places at the same time.

use futures::StreamExt;
use hyper_common::config::ContextConfig;
use hyper_common::error::{Error, ErrorKind, Result, one_line};
use hyper_common::provider::registry;
use hyper_common::tool::machines::Reference;
use hyper_common::tool::{Context, Remarks, SaveFlags};
use hyper_common::vm::{Vm, VmFilter};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::record::CountRow;
use crate::request::Shape;

/// How the file of a list is called before its date.
const STEM: &str = "vms";

/// Machines that are read ahead of a place whose turn to be shown has not come.
const AHEAD: usize = 256;

/// Shows the machines of some places, one place after the other, or counts them.
///
/// # Errors
/// The provider's; `Partial` where some machines could be read and others could not.
pub async fn run(
    places: Vec<Reference>,
    filter: VmFilter,
    shape: Shape,
    cx: &mut Context,
) -> Result<()> {
    let failures = Failures::new(cx.remarks.clone(), places.len());
    let mut coming = Vec::new();
    for place in places {
        let context = cx.config.context(&place.context)?;
        coming.push((read(context, &place.rest, &filter), place));
    }
    match shape {
        Shape::Count => counted(coming, failures, cx).await,
        Shape::Machines(save) => listed(coming, failures, save, cx).await,
    }
}

/// The machines of a place as they come.
type Coming = Vec<(Receiver<Result<Vm>>, Reference)>;

/// Starts to read a place.
fn read(context: ContextConfig, rest: &str, filter: &VmFilter) -> Receiver<Result<Vm>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let within = (!rest.is_empty()).then(|| rest.to_owned());
    let filter = VmFilter { within, ..filter.clone() };
    tokio::spawn(async move {
        if let Err(error) = forward(&context, filter, &sender).await {
            // Nobody is there any more to hear it.
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

async fn forward(
    context: &ContextConfig,
    filter: VmFilter,
    sender: &Sender<Result<Vm>>,
) -> Result<()> {
    let provider = registry::open(context)?;
    let mut vms = provider.list(filter);
    while let Some(vm) = vms.next().await {
        if sender.send(vm).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn listed(
    coming: Coming,
    mut failures: Failures,
    save: SaveFlags,
    cx: &mut Context,
) -> Result<()> {
    let saving = cx.save(save, STEM)?;
    let mut list = cx.printer.list();
    for (mut vms, place) in coming {
        failures.begin(&place);
        while let Some(vm) = cx.cancel.unless_cancelled(async { Ok(vms.recv().await) }).await? {
            match vm {
                Ok(vm) => list.push(&vm)?,
                Err(error) => failures.add(error),
            }
        }
    }
    let shown = list.len();
    // A list that could not be had must not look like an empty one.
    if shown > 0 || failures.count == 0 {
        list.finish()?;
        saving.map_or(Ok(()), |saving| saving.commit(cx))?;
    }
    if shown == 0 && failures.count == 0 {
        cx.remarks.say("no machine here passes");
    }
    failures.end(shown > 0)
}

async fn counted(coming: Coming, mut failures: Failures, cx: &mut Context) -> Result<()> {
    let mut list = cx.printer.list();
    for (mut vms, place) in coming {
        failures.begin(&place);
        let (mut count, before) = (0, failures.count);
        while let Some(vm) = cx.cancel.unless_cancelled(async { Ok(vms.recv().await) }).await? {
            match vm {
                Ok(_) => count += 1,
                Err(error) => failures.add(error),
            }
        }
        // A number that leaves some out would be taken for all.
        if failures.count == before {
            list.push(&CountRow::new(place, count))?;
        }
    }
    let shown = list.len();
    if shown > 0 {
        list.finish()?;
    }
    failures.end(shown > 0)
}

/// What could not be read while others could. The last failure waits: where it stays the only
/// thing that happened it is the run's own failure and not a warning.
struct Failures {
    remarks: Remarks,
    places: usize,
    /// The place that is being read, where there are several.
    place: Option<String>,
    /// Places of which everything could be read, as far as they have been.
    whole: usize,
    so_far: usize,
    count: usize,
    last: Option<Error>,
}

impl Failures {
    fn new(remarks: Remarks, places: usize) -> Self {
        Self { remarks, places, place: None, whole: 0, so_far: 0, count: 0, last: None }
    }

    /// Another place's turn.
    fn begin(&mut self, place: &Reference) {
        self.close();
        self.so_far = self.count;
        self.place = Some(place.context.clone());
    }

    fn close(&mut self) {
        if self.place.take().is_some() && self.count == self.so_far {
            self.whole += 1;
        }
    }

    fn add(&mut self, error: Error) {
        self.count += 1;
        let error = match &self.place {
            Some(place) if self.places > 1 => error.context(format!("context {place:?}")),
            _ => error,
        };
        if let Some(earlier) = self.last.replace(error) {
            self.remarks.warn(&one_line(&earlier));
        }
    }

    /// How the run ends; `shown` says whether there was anything to show.
    fn end(mut self, shown: bool) -> Result<()> {
        self.close();
        let Some(last) = self.last else { return Ok(()) };
        let some = shown || self.whole > 0;
        if !some && self.count == 1 {
            return Err(last);
        }
        self.remarks.warn(&one_line(&last));
        let kind = if some { ErrorKind::Partial } else { last.kind() };
        let count = self.count;
        let message = if self.places > 1 {
            format!("{} of {} contexts could not be read", self.places - self.whole, self.places)
        } else {
            format!("{count} of the machines could not be read")
        };
        Err(Error::new(kind, message))
    }
}
