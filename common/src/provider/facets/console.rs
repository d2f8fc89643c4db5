//! Reaching VMs as their own keyboard, screen and serial line.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;

use crate::error::Result;
use crate::net::Line;
use crate::vm::VmId;

/// The console facet.
#[async_trait]
pub trait Console: Send + Sync {
    /// Connects to the serial line. Nothing that was written before comes again; whoever was
    /// connected is not any more.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a VM that does not run; `Unsupported` for one without a serial
    /// line; `Unavailable` where it cannot be reached now.
    async fn serial(&self, vm: &VmId) -> Result<Line>;

    /// Connects to the screen: what comes is RFB (RFC 6143). With `polite` it is refused where
    /// somebody is connected already, who loses the connection otherwise.
    ///
    /// # Errors
    /// As [`Console::serial`].
    async fn screen(&self, vm: &VmId, polite: bool) -> Result<Line>;

    /// A picture of the screen as a PNG file; `None` where the platform makes none.
    ///
    /// # Errors
    /// As [`Console::serial`].
    async fn picture(&self, vm: &VmId) -> Result<Option<Bytes>>;

    /// Presses keys by the platform's own way: those of a chord together, one chord after another,
    /// by the numbers that RFB has for them (RFC 6143 section 7.5.4). False where there is none, so
    /// that they are to be pressed as a viewer does.
    ///
    /// # Errors
    /// As [`Console::serial`]; `Unsupported` for a key that keyboards there do not have.
    async fn press(&self, vm: &VmId, chords: &[&[u32]]) -> Result<bool>;

    /// What the VM wrote on its serial line since it was started, line by line, without taking the
    /// line from anybody.
    ///
    /// # Errors
    /// As [`Console::serial`]; `Unsupported` where nobody keeps that.
    async fn log(&self, vm: &VmId, from: LogFrom) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Whether the VM still runs, so that a connection that broke can be made again.
    ///
    /// # Errors
    /// Those of asking.
    async fn runs(&self, vm: &VmId) -> Result<bool>;
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogFrom {
    /// Only what was written since.
    pub since: Option<jiff::Timestamp>,
    /// Whether also what is written from now on, until the VM ends.
    pub follow: bool,
}
