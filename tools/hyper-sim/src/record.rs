//! How to reach the simulated server.

use std::io::Write;

use hyper_common::error::Result;
use hyper_common::output::{Cell, Column, OutputFormat, Record};
use hyper_common::tool::Context;
use serde::Serialize;

/// How to reach a server.
#[derive(Debug, Serialize)]
pub struct Access {
    /// Its address.
    pub url: String,
    /// Who may log in.
    pub username: String,
    /// With which password.
    pub password: String,
    /// SHA-1 of its certificate.
    pub thumbprint: Option<String>,
    /// A file with its certificate.
    pub ca_file: Option<String>,
    /// A file with its thumbprint, in the form of `GOVC_TLS_KNOWN_HOSTS`.
    pub known_hosts_file: Option<String>,
}

impl Record for Access {
    const SCHEMA: &'static str = "hyper.sim_access/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("url", "URL"),
        Column::text("username", "USERNAME"),
        Column::text("password", "PASSWORD"),
        Column::text("thumbprint", "THUMBPRINT"),
        Column::text("ca_file", "CA-FILE"),
        Column::text("known_hosts_file", "KNOWN-HOSTS-FILE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.url),
            Cell::text(&self.username),
            Cell::text(&self.password),
            self.thumbprint.clone().into(),
            self.ca_file.clone().into(),
            self.known_hosts_file.clone().into(),
        ]
    }

    fn name(&self) -> String {
        self.url.clone()
    }
}

/// A word for a shell, whatever is in it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

impl Access {
    /// Prints it: for a person as lines for a shell.
    ///
    /// # Errors
    /// `Io`.
    pub fn print(&self, cx: &mut Context) -> Result<()> {
        if !matches!(cx.printer.format(), OutputFormat::Table) {
            return cx.printer.one(self);
        }
        let mut text = String::new();
        for (name, value) in
            [("URL", &self.url), ("USERNAME", &self.username), ("PASSWORD", &self.password)]
        {
            text.push_str(&format!("export GOVC_{name}={}\n", quoted(value)));
        }
        if let (Some(sum), Some(ca), Some(hosts)) =
            (&self.thumbprint, &self.ca_file, &self.known_hosts_file)
        {
            text.push_str(&format!(
                "export GOVC_INSECURE=1\n# or, to check the certificate (SHA-1 {sum}):\n\
                 # export GOVC_TLS_CA_CERTS={}\n# export GOVC_TLS_KNOWN_HOSTS={}\n",
                quoted(ca),
                quoted(hosts)
            ));
        }
        let mut out = std::io::stdout().lock();
        // Nobody listening is no failure: the server runs on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("https://127.0.0.1:1/sdk"), "https://127.0.0.1:1/sdk");
        assert_eq!(quoted("a'b c"), "'a'\\''b c'");
        assert_eq!(quoted(""), "''");
    }
}
