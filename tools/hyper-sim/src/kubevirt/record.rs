//! How to reach the simulated cluster.

use std::io::Write;

use hyper_common::error::Result;
use hyper_common::output::{Cell, Column, OutputFormat, Record};
use hyper_common::tool::Context;
use serde::Serialize;

use crate::record::quoted;

/// How to reach a cluster.
#[derive(Debug, Serialize)]
pub struct Access {
    /// A file that clients take.
    pub kubeconfig: String,
    /// Address of the API, with KubeVirt's part of it.
    pub url: String,
    /// A token that may do everything.
    pub token: String,
    /// A file with the certificate of the authority that signs all servers.
    pub ca_file: String,
    /// Address of exports and of the upload proxy.
    pub ingress: String,
    /// Address of etcd, where the simulator has started it.
    pub etcd: Option<String>,
    /// The folder with the logs and numbers of the processes that were started.
    pub folder: String,
}

impl Record for Access {
    const SCHEMA: &'static str = "hyper.sim_cluster/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("kubeconfig", "KUBECONFIG"),
        Column::text("url", "URL"),
        Column::text("token", "TOKEN"),
        Column::text("ca_file", "CA-FILE"),
        Column::text("ingress", "INGRESS"),
        Column::text("etcd", "ETCD"),
        Column::text("folder", "FOLDER"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.kubeconfig),
            Cell::text(&self.url),
            Cell::text(&self.token),
            Cell::text(&self.ca_file),
            Cell::text(&self.ingress),
            self.etcd.clone().into(),
            Cell::text(&self.folder),
        ]
    }

    fn name(&self) -> String {
        self.url.clone()
    }
}

impl Access {
    /// Prints it: for a person as a line for a shell.
    ///
    /// # Errors
    /// `Io`.
    pub fn print(&self, cx: &mut Context) -> Result<()> {
        if !matches!(cx.printer.format(), OutputFormat::Table) {
            return cx.printer.one(self);
        }
        let text = format!("export KUBECONFIG={}\n", quoted(&self.kubeconfig));
        let mut out = std::io::stdout().lock();
        // Nobody listening is no failure: the cluster runs on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }
}
