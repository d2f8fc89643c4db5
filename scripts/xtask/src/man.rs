//! Man pages, section 1: one for each program and one for each verb.

use clap::Command;
use clap_mangen::Man;
use hyper_common::error::{Error, ErrorKind, Result};

use crate::generate::{Files, MARK};

/// The end of every page.
const SEE_ALSO: [&str; 3] = ["hyper(1)", "hyper-config(5)", "hyper-exit-status(7)"];

/// Adds the pages of a program and of its verbs.
///
/// # Errors
/// `Internal` when a page cannot be rendered.
pub fn add(name: &str, command: &Command, files: &mut Files) -> Result<()> {
    let mut command = command.clone();
    // Fills in how each verb is called.
    command.build();
    if name == "hyper" {
        // What stands behind `hyper` are programs with pages of their own.
        return add_page(name, &command, files);
    }
    add_all(name, &command, files)
}

/// The page of a command and, below its name, those of its verbs.
fn add_all(name: &str, command: &Command, files: &mut Files) -> Result<()> {
    add_page(name, command, files)?;
    command
        .get_subcommands()
        .try_for_each(|verb| add_all(&format!("{name}-{}", verb.get_name()), verb, files))
}

fn add_page(name: &str, command: &Command, files: &mut Files) -> Result<()> {
    let text = page(name, command).map_err(|error| {
        Error::new(ErrorKind::Internal, "render the man page").with_subject(name).with_source(error)
    })?;
    files.insert(format!("man/{name}.1").into(), text.into_bytes());
    Ok(())
}

/// How clap_mangen defines the apostrophe for old and new roffs.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn page(name: &str, command: &Command) -> std::io::Result<String> {
    let examples = command.get_after_help().map(ToString::to_string);
    let called = command.get_bin_name().unwrap_or(name).to_owned();
    let plain = command
        .clone()
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("")
        .display_name(name.to_owned())
        .bin_name(called);
    let man = Man::new(plain)
        .title(name.to_uppercase())
        .source(concat!("hyper ", env!("CARGO_PKG_VERSION")))
        .manual("Hyper Manual");
    let mut body = Vec::new();
    man.render_title(&mut body)?;
    man.render_name_section(&mut body)?;
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    man.render_options_section(&mut body)?;
    // Each section brings its own definition of the apostrophe; one is enough.
    let body = String::from_utf8_lossy(&body);
    let mut text = format!("{APOSTROPHE}{}", body.replace(APOSTROPHE, ""));
    text.push_str(&verbs(name, command));
    text.push_str(&examples.as_deref().map(example_section).unwrap_or_default());
    text.push_str(
        ".SH \"EXIT STATUS\"\n0 when all was done; see\n.BR hyper\\-exit\\-status (7).\n",
    );
    text.push_str(&see_also(name));
    Ok(format!(".\\\" {MARK}\n{text}"))
}

/// The verbs of a tool, or the tools behind `hyper`, by the names of their pages.
fn verbs(name: &str, command: &Command) -> String {
    let mut text = String::new();
    for verb in command.get_subcommands() {
        if text.is_empty() {
            text.push_str(if name == "hyper" { ".SH TOOLS\n" } else { ".SH VERBS\n" });
        }
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let page = format!("{name}-{}", verb.get_name());
        let shown = match verb.get_name() {
            // These two have no page of their own.
            word @ ("help" | "completion") if name == "hyper" => format!(".B {word}"),
            _ => format!(".BR {} (1)", escape(&page)),
        };
        text.push_str(&format!(".TP\n{shown}\n{}\n", escape(&about)));
    }
    text
}

/// The examples of the help: a sentence, then the line as it is typed.
fn example_section(examples: &str) -> String {
    let mut text = ".SH EXAMPLES\n".to_owned();
    for line in examples.lines().skip(1) {
        match line.strip_prefix("    ") {
            Some(typed) => text.push_str(&format!(".RS 4\n.nf\n{}\n.fi\n.RE\n", escape(typed))),
            None => text.push_str(&format!(".PP\n{}\n", escape(line.trim()))),
        }
    }
    text
}

fn see_also(name: &str) -> String {
    let own = format!("{name}(1)");
    let others = SEE_ALSO.iter().filter(|page| **page != own);
    let names: Vec<_> = others.map(|page| escape(page)).collect();
    format!(".SH \"SEE ALSO\"\n{}\n", names.join(", "))
}

/// Text as roff shows it unchanged.
pub fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
