//! Looking at all that is wanted before anything is made.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use hyper_common::error::{Error, Result};
use hyper_common::output::Outcome;
use hyper_common::provider::{CloneJob, Cloning, Customize, NewClone, Planned, Provider, registry};
use hyper_common::tool::Context;
use hyper_common::tool::machines::{AT_ONCE, Reference};
use hyper_common::vm::VmId;

use crate::record::CloneRow;
use crate::request::Wanted;

/// A clone that is wanted, and what the look at it showed.
pub struct Item {
    /// What is printed of it.
    pub row: CloneRow,
    /// Its context's provider.
    pub provider: Arc<dyn Provider>,
    /// What it is made of, where that was found.
    pub new: Option<NewClone>,
    /// Whether it is switched on.
    pub power_on: bool,
    /// What is to be done.
    pub next: Next,
}

/// What is to be done.
pub enum Next {
    /// Nothing: it is there.
    There,
    /// To make it.
    Make(Box<dyn CloneJob>),
    /// Nothing: it cannot be made.
    Fail(Error),
}

/// The cloning facet of a provider.
///
/// # Errors
/// `Unsupported` where it has none.
pub fn cloning(provider: &dyn Provider) -> Result<&dyn Cloning> {
    provider.cloning().ok_or_else(|| {
        Error::unsupported(format!("{} machines cannot be cloned here", provider.name()))
            .with_hint("they are files; `hyper image convert` copies a disk")
    })
}

/// Looks at all that is wanted.
///
/// # Errors
/// What concerns all of it: a context that cannot be opened, names that are given twice.
pub async fn look(wanted: Vec<Wanted>, snapshot_comes: bool, cx: &Context) -> Result<Vec<Item>> {
    let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    for Wanted { source, .. } in &wanted {
        if !providers.contains_key(&source.context) {
            let provider = registry::open(&cx.config.context(&source.context)?)?;
            cloning(&*provider).map_err(|error| error.with_subject(source.context.clone()))?;
            providers.insert(source.context.clone(), provider.into());
        }
    }
    let sources = sources(&wanted, &providers, cx).await?;
    let mut items = Vec::new();
    for wanted in wanted {
        let Some(provider) = providers.get(&wanted.source.context).cloned() else { continue };
        let Some(source) = sources.get(&wanted.source.to_string()) else { continue };
        items.push(item(wanted, provider, source, snapshot_comes));
    }
    let mut seen = HashSet::new();
    for item in &items {
        let folder = item.new.as_ref().map(|new| new.place.folder.clone());
        if !seen.insert((&item.row.context, &item.row.target_name, folder)) {
            return Err(Error::usage("two clones would have this name")
                .with_subject(item.row.target_name.clone()));
        }
    }
    plan(&mut items, cx).await?;
    Ok(items)
}

/// The sources, each looked up once, with their names.
type Sources = BTreeMap<String, std::result::Result<(VmId, String), Arc<Error>>>;

async fn sources(
    wanted: &[Wanted],
    providers: &BTreeMap<String, Arc<dyn Provider>>,
    cx: &Context,
) -> Result<Sources> {
    let mut all: Vec<&Reference> = Vec::new();
    let mut seen = HashSet::new();
    all.extend(wanted.iter().map(|it| &it.source).filter(|it| seen.insert(it.to_string())));
    let one = |reference: &Reference| {
        let (reference, provider) = (reference.clone(), providers.get(&reference.context).cloned());
        async move {
            let look = async {
                let provider = provider.ok_or_else(|| Error::not_found("no such context"))?;
                let id = provider.resolve(&reference.rest).await?;
                let name = provider.get(&id).await?.name;
                Ok((id, name))
            };
            let found = cx.cancel.unless_cancelled(look).await;
            (reference.to_string(), found.map_err(Arc::new))
        }
    };
    let found = futures::stream::iter(all.into_iter().map(one)).buffered(AT_ONCE);
    let found = found.collect().await;
    cx.cancel.check()?;
    Ok(found)
}

fn item(
    wanted: Wanted,
    provider: Arc<dyn Provider>,
    source: &std::result::Result<(VmId, String), Arc<Error>>,
    snapshot_comes: bool,
) -> Item {
    let Wanted { source: reference, name, snapshot, linked, instant, customize, place, power_on } =
        wanted;
    let mut row = CloneRow {
        source_vm: reference.rest,
        target_name: name,
        context: reference.context,
        id: None,
        outcome: Outcome::Planned,
        note: None,
        duration: None,
        error_kind: None,
        error: None,
    };
    match source {
        Err(error) => {
            let again = Error::new(error.kind(), error.message().to_owned());
            let again = error.hints().iter().fold(again, |again, hint| again.with_hint(hint));
            let whole = format!("{}:{}", row.context, row.source_vm);
            let again = again.with_subject(error.subject().unwrap_or(&whole));
            Item { row, provider, new: None, power_on, next: Next::Fail(again) }
        }
        Ok((id, name)) => {
            row.source_vm.clone_from(name);
            row.target_name = row.target_name.replace("{source}", name);
            let comes = snapshot_comes && linked && snapshot.is_none();
            let new = NewClone {
                source: id.clone(),
                name: row.target_name.clone(),
                snapshot,
                linked,
                snapshot_comes: comes,
                instant,
                customize: customize.map(|own| named(own, name)),
                place,
            };
            let next = Next::Fail(Error::not_found("it was not looked at"));
            Item { row, provider, new: Some(new), power_on, next }
        }
    }
}

/// With the name of the source in the host name.
fn named(own: Customize, source: &str) -> Customize {
    let hostname = own.hostname.map(|it| it.replace("{source}", source));
    Customize { hostname, ..own }
}

/// Asks the providers about all that has a source, a context at a time.
///
/// # Errors
/// Those that concern all of a context.
pub async fn plan(items: &mut [Item], cx: &Context) -> Result<()> {
    let contexts: HashSet<String> = items.iter().map(|it| it.row.context.clone()).collect();
    for context in contexts {
        let mut own: Vec<&mut Item> =
            items.iter_mut().filter(|it| it.row.context == context && it.new.is_some()).collect();
        let Some(provider) = own.first().map(|it| it.provider.clone()) else { continue };
        let wanted: Vec<NewClone> = own.iter().filter_map(|it| it.new.clone()).collect();
        let planned = cx.cancel.unless_cancelled(cloning(&*provider)?.plan(&wanted)).await?;
        for (item, planned) in own.iter_mut().zip(planned) {
            item.next = match planned {
                Ok(Planned::There(id)) => {
                    item.row.id = Some(id);
                    Next::There
                }
                Ok(Planned::Ready(job)) => Next::Make(job),
                Err(error) => Next::Fail(error),
            };
        }
    }
    Ok(())
}
