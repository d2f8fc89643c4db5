//! Doing what `hyper infra` is asked to.

use hyper_common::error::{Error, Result};
use hyper_common::output::Matching;
use hyper_common::provider::{
    Cluster, Datacenter, Datastore, Host, Infrastructure, Named, Network, Provider, Server, Task,
    find_named, registry,
};
use hyper_common::tool::Context;
use hyper_common::tool::contexts::Platforms;
use hyper_common::tool::machines::Reference;

use crate::record::{Row, Shown};
use crate::request::{Kind, Request, Which};

/// Carries out a request.
///
/// # Errors
/// The provider's; `Partial` where some contexts failed and others did not.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let which = &request.which;
    match request.kind {
        Kind::Host => show::<Host>(which, cx).await,
        Kind::Cluster => show::<Cluster>(which, cx).await,
        Kind::Datacenter => show::<Datacenter>(which, cx).await,
        Kind::Datastore => show::<Datastore>(which, cx).await,
        Kind::Network => show::<Network>(which, cx).await,
        Kind::Task => show::<Task>(which, cx).await,
        Kind::Server => match which {
            Which::All { platforms, matches } => list::<Server>(platforms, matches, cx).await,
            Which::Named(contexts) => server(contexts, cx).await,
        },
    }
}

/// The facet of a provider.
fn infrastructure(provider: &dyn Provider) -> Result<&dyn Infrastructure> {
    provider.infrastructure().ok_or_else(|| {
        Error::unsupported(format!("{} tells nothing of hosts and the like", provider.name()))
            .with_hint("vSphere does")
    })
}

async fn show<T: Shown + Named>(which: &Which, cx: &mut Context) -> Result<()> {
    match which {
        Which::All { platforms, matches } => list::<T>(platforms, matches, cx).await,
        Which::Named(names) => get::<T>(names, cx).await,
    }
}

async fn list<T: Shown>(platforms: &Platforms, matches: &[String], cx: &mut Context) -> Result<()> {
    let matching = Matching::<Row<T>>::parse(matches)?;
    let read = async |name: &str, provider: &dyn Provider| {
        let all = T::all(infrastructure(provider)?).await?.into_iter();
        let rows = all.map(|it| Row { it, context: name.to_owned() });
        Ok(rows.filter(|row| matching.accepts(row)).collect::<Vec<_>>())
    };
    let gathered = cx.gather(platforms, read).await?;
    if gathered.found.is_empty() {
        cx.remarks.say(&format!("no {} here pass", T::WORDS));
    }
    cx.printer.all(&gathered.found)?;
    gathered.end(cx)
}

async fn get<T: Shown + Named>(references: &[Reference], cx: &mut Context) -> Result<()> {
    let mut found: Vec<Row<T>> = Vec::new();
    for Reference { context, rest } in references {
        let provider = registry::open(&cx.config.context(context)?)?;
        let facet = infrastructure(&*provider).map_err(|error| error.with_subject(context))?;
        let mut all = cx.cancel.unless_cancelled(T::all(facet)).await?;
        let id = Named::id(find_named(&all, rest)?).to_owned();
        if let Some(at) = all.iter().position(|it| Named::id(it) == id) {
            found.push(Row { it: all.swap_remove(at), context: context.clone() });
        }
    }
    print(&found, cx)
}

async fn server(references: &[Reference], cx: &mut Context) -> Result<()> {
    let mut found: Vec<Row<Server>> = Vec::new();
    for Reference { context, .. } in references {
        let provider = registry::open(&cx.config.context(context)?)?;
        let facet = infrastructure(&*provider).map_err(|error| error.with_subject(context))?;
        let it = cx.cancel.unless_cancelled(facet.server()).await?;
        found.push(Row { it, context: context.clone() });
    }
    print(&found, cx)
}

fn print<T: Shown>(found: &[Row<T>], cx: &mut Context) -> Result<()> {
    match found {
        [one] => cx.printer.facts(one),
        several => cx.printer.all(several),
    }
}
