//! What `hyper context` prints.

use std::path::PathBuf;

use hyper_common::config::{Config, ContextConfig};
use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Record};
use hyper_common::provider::ServerInfo;
use hyper_common::provider::facets::capability::Capability;
use serde::Serialize;

/// A context.
#[derive(Debug, Serialize)]
pub struct ContextRow {
    name: String,
    provider: String,
    current: bool,
    configured: bool,
    path: Option<PathBuf>,
    url: Option<String>,
    user: Option<String>,
    datacenter: Option<String>,
    title: Option<String>,
    namespace: Option<String>,
    kubeconfig: Option<PathBuf>,
    kube_context: Option<String>,
}

impl ContextRow {
    /// The row of `context`; `config` tells whether it is the current one.
    pub fn new(context: ContextConfig, config: &Config) -> Self {
        let ContextConfig { name, provider, path, title, namespace, configured, .. } = context;
        let server = context.server;
        let (kubeconfig, kube_context) = match context.kube {
            // The first of several holds what was set last; all are in KUBECONFIG.
            Some(kube) => (kube.files.into_iter().next(), kube.context),
            None => (None, None),
        };
        let current = config.current_context() == name;
        let server = server.unwrap_or_default();
        let url = Some(server.url).filter(|url| !url.is_empty());
        // A user that may be the name of a file is not looked up for a list.
        let user = server.user.filter(|_| !server.user_may_be_file);
        let datacenter = server.datacenter;
        Self {
            name,
            provider,
            current,
            configured,
            path,
            url,
            user,
            datacenter,
            title,
            namespace,
            kubeconfig,
            kube_context,
        }
    }
}

impl Record for ContextRow {
    const SCHEMA: &'static str = "hyper.context/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME"),
        Column::text("provider", "PROVIDER"),
        Column::text("current", "CURRENT"),
        Column::text("path", "PATH"),
        Column::text("url", "URL"),
        Column::text("title", "TITLE"),
        Column::text("user", "USER").wide(),
        Column::text("datacenter", "DATACENTER").wide(),
        Column::text("namespace", "NAMESPACE").wide(),
        Column::text("configured", "CONFIGURED").wide(),
        Column::text("kubeconfig", "KUBECONFIG").wide(),
        Column::text("kube_context", "KUBE CONTEXT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.provider),
            self.current.into(),
            self.path.as_ref().map(|path| path.display().to_string()).into(),
            self.url.clone().into(),
            self.title.clone().into(),
            self.user.clone().into(),
            self.datacenter.clone().into(),
            self.namespace.clone().into(),
            self.configured.into(),
            self.kubeconfig.as_ref().map(|path| path.display().to_string()).into(),
            self.kube_context.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// A context, and what it says about itself.
#[derive(Debug, Serialize)]
pub struct ProbedRow {
    #[serde(flatten)]
    context: ContextRow,
    reachable: bool,
    product: Option<String>,
    version: Option<String>,
    error_kind: Option<ErrorKind>,
    error: Option<String>,
}

impl ProbedRow {
    /// The row of a context, whose provider told `answer` about itself.
    pub fn new(context: ContextRow, answer: Result<&ServerInfo, &Error>) -> Self {
        let info = answer.ok();
        let error = answer.err();
        Self {
            context,
            reachable: info.is_some(),
            product: info.map(|info| info.product.clone()),
            version: info.and_then(|info| info.version.clone()),
            error_kind: error.map(Error::kind),
            error: error.map(one_line),
        }
    }
}

impl Record for ProbedRow {
    const SCHEMA: &'static str = ContextRow::SCHEMA;
    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME").width(16),
        Column::text("provider", "PROVIDER"),
        Column::text("current", "CURRENT"),
        Column::text("reachable", "REACHABLE"),
        Column::text("product", "PRODUCT"),
        Column::text("version", "VERSION"),
        Column::text("error", "ERROR"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.context.name),
            Cell::text(&self.context.provider),
            self.context.current.into(),
            self.reachable.into(),
            self.product.clone().into(),
            self.version.clone().into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.context.name()
    }
}

/// What a context answered.
#[derive(Debug, Serialize)]
pub struct TestRow {
    context: String,
    provider: String,
    ok: bool,
    product: Option<String>,
    version: Option<String>,
    endpoint: Option<String>,
    error_kind: Option<ErrorKind>,
    error: Option<String>,
}

impl TestRow {
    /// The row of `context`, whose provider told `answer` about itself.
    pub fn new(context: ContextConfig, answer: Result<&ServerInfo, &Error>) -> Self {
        let info = answer.ok();
        let error = answer.err();
        Self {
            context: context.name,
            provider: context.provider,
            ok: info.is_some(),
            product: info.map(|info| info.product.clone()),
            version: info.and_then(|info| info.version.clone()),
            endpoint: info.map(|info| info.endpoint.clone()),
            error_kind: error.map(Error::kind),
            error: error.map(one_line),
        }
    }
}

impl Record for TestRow {
    const SCHEMA: &'static str = "hyper.context-test/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("context", "CONTEXT").width(16),
        Column::text("provider", "PROVIDER"),
        Column::text("ok", "OK").width(3),
        Column::text("product", "PRODUCT"),
        Column::text("version", "VERSION").width(8),
        Column::text("endpoint", "ENDPOINT").width(24),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.context),
            Cell::text(&self.provider),
            self.ok.into(),
            self.product.clone().into(),
            self.version.clone().into(),
            self.endpoint.clone().into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.context.clone()
    }
}

/// A facet of a context's provider.
#[derive(Debug, Serialize)]
pub struct CapabilityRow {
    context: String,
    provider: &'static str,
    facet: &'static str,
    available: bool,
    summary: &'static str,
}

impl CapabilityRow {
    /// The row of one facet.
    pub fn new(context: &str, provider: &'static str, capability: Capability) -> Self {
        let Capability { facet, summary, available } = capability;
        Self { context: context.to_owned(), provider, facet, available, summary }
    }
}

impl Record for CapabilityRow {
    const SCHEMA: &'static str = "hyper.capability/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("facet", "FACET"),
        Column::text("available", "AVAILABLE"),
        Column::text("summary", "SUMMARY"),
        Column::text("provider", "PROVIDER").wide(),
        Column::text("context", "CONTEXT").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        let Self { context, provider, facet, available, summary } = self;
        vec![
            (*facet).into(),
            (*available).into(),
            (*summary).into(),
            (*provider).into(),
            context.as_str().into(),
        ]
    }

    fn name(&self) -> String {
        self.facet.to_owned()
    }
}
