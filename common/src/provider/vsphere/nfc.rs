//! Disks as an export lease sends them: streamOptimized VMDK, in order, of unknown length
//! (`application/x-vnd.vmware-streamVmdk`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::client::{Client, Download};
use super::fault::fault_of;
use super::lease::{Lease, Offer, Sending};
use super::machine::VmDisk;
use super::soap::Value;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::provider::{ByteStream, Wire};
use crate::transfer::{FileSum, SumKind};

/// How often a refused disk is asked for again when no other is being sent.
const ATTEMPTS: u32 = 5;

/// Shortest wait before a refused disk is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// The lease of a machine, once there is one, and what its disks left to be said.
#[derive(Debug, Default)]
pub(super) struct Leased {
    lease: Mutex<Option<Arc<Lease>>>,
    /// Disks that the server offered no checksum of.
    unsummed: Mutex<BTreeSet<String>>,
}

impl Leased {
    /// The lease.
    ///
    /// # Errors
    /// `Internal` before there is one.
    pub(super) fn lease(&self) -> Result<Arc<Lease>> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.clone().ok_or_else(|| Error::new(ErrorKind::Internal, "no lease was opened"))
    }

    pub(super) fn set(&self, lease: Arc<Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
    }

    pub(super) fn take(&self) -> Option<Arc<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A clause for people about checksums that the server does not offer.
    pub(super) fn note(&self) -> Option<String> {
        let unsummed = self.unsummed.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = unsummed.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!("the server offers no checksum to compare with for {}", names.join(", "))
        })
    }
}

/// One disk of a lease.
#[derive(Debug, Clone)]
pub(super) struct NfcDisk {
    pub client: Client,
    pub leased: Arc<Leased>,
    /// Its number among those that are read.
    pub number: usize,
    /// Its place among the disks of the machine, as the platform lists them.
    pub place: (usize, usize),
    pub disk: VmDisk,
}

impl NfcDisk {
    /// What the lease offers for it: by the device's name; else, where the lease offers as many
    /// disks as the machine has, by the order.
    fn offer(&self, lease: &Lease) -> Result<Offer> {
        let disks: Vec<_> = lease.offers().iter().filter(|offer| offer.disk).collect();
        let own = |offer: &&&Offer| {
            let name = offer.key.rsplit('/').next().unwrap_or_default();
            !name.is_empty() && name == self.disk.lease_key
        };
        if let Some(found) = disks.iter().find(own) {
            return Ok((*found).clone());
        }
        let named = |offer: &&Offer| offer.key.rsplit('/').next().is_some_and(|n| n.contains(':'));
        let (at, of) = self.place;
        match disks.get(at) {
            Some(offer) if disks.len() == of && !disks.iter().any(named) => Ok((*offer).clone()),
            _ => Err(Error::unsupported("the server's export does not hold this disk")
                .with_subject(self.disk.label.clone())
                .with_hint("leave it out with --exclude-disk, or try --transport datastore")),
        }
    }

    /// Asks for the disk until it comes. A host that sends too many already is asked again when
    /// one of them has ended.
    async fn ask(&self, lease: &Arc<Lease>, offer: &Offer) -> Result<(ByteStream, Sending)> {
        let mut attempt = 1;
        loop {
            lease.check()?;
            let options =
                Download { range: None, cookie: true, thumbprint: offer.thumbprint.clone() };
            let sending = lease.enter();
            let error = match self.client.download(&offer.url, options).await {
                Ok(response) if response.status() == 200 => {
                    return Ok((response.into_stream(), sending));
                }
                Ok(_) => {
                    let text = "the host sends a part of the disk though all of it was asked for";
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
                Err(error) => error,
            };
            drop(sending);
            let Some(wait) = error.retry_after() else { return Err(lease.explain(error).await) };
            tracing::info!("{}: {error}; it is asked again", self.disk.label);
            if lease.wait_for_room().await {
                continue;
            }
            if attempt >= ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            tokio::select! {
                () = tokio::time::sleep(wait.max(PAUSE)) => {}
                lost = lease.lost() => return Err(lost),
            }
        }
    }
}

#[async_trait]
impl Wire for NfcDisk {
    async fn open(&self) -> Result<ByteStream> {
        let lease = self.leased.lease()?;
        let offer = self.offer(&lease)?;
        let asked = self.ask(&lease, &offer).await;
        let (body, sending) = asked.context(|| format!("fetch {}", self.disk.label))?;
        let label = self.disk.label.clone();
        Ok(guarded(body, lease, sending, label))
    }

    fn alive(&self) -> bool {
        self.leased.lease().is_ok_and(|lease| lease.check().is_ok())
    }

    fn sum_kind(&self) -> Option<SumKind> {
        self.leased.lease().ok().map(|lease| lease.sum_kind)
    }

    fn reached(&self, position: u64) {
        if let Ok(lease) = self.leased.lease() {
            lease.reached(self.number, position.min(self.disk.capacity));
        }
    }

    async fn check(&self, size: u64, sum: Option<&FileSum>) -> Result<()> {
        let lease = self.leased.lease()?;
        lease.check()?;
        let key = self.offer(&lease)?.key;
        let entries = match lease.manifest().await {
            Ok(entries) => entries,
            Err(error) if fault_of(&error).is_some() => {
                lease.still_ready().await?;
                Vec::new()
            }
            Err(error) => return Err(error).context(|| "ask for the server's checksums"),
        };
        let entry = entries.iter().find(|entry| entry.str("key") == Some(key.as_str()));
        let told = entry.and_then(|entry| checksum(entry, lease.sum_kind));
        let (Some(entry), Some(told), Some(sum)) = (entry, told, sum) else {
            let mut unsummed = self.leased.unsummed.lock().unwrap_or_else(PoisonError::into_inner);
            unsummed.insert(self.disk.label.clone());
            return Ok(());
        };
        let sent = entry.number::<u64>("size").filter(|size| *size > 0);
        let wrong = |text: String| {
            Err(Error::integrity(text).with_hint(
                "run the same command again; if it happens again, \
                 something between the host and here alters bytes",
            ))
        };
        if let Some(sent) = sent.filter(|sent| *sent != size) {
            return wrong(format!("the host sent {sent} bytes of it, {size} came"));
        }
        if !told.eq_ignore_ascii_case(&sum.hex) {
            return wrong(format!("what came has another {} than what was sent", sum.kind.name()));
        }
        tracing::info!(
            "{}: {} of the wire is what the server says",
            self.disk.label,
            sum.kind.name()
        );
        Ok(())
    }
}

/// The checksum of a kind in an entry of the manifest.
fn checksum(entry: &Value, kind: SumKind) -> Option<&str> {
    let given = entry.str("checksumType").map(|name| name.to_ascii_lowercase().replace('-', ""));
    if given.as_deref() == Some(kind.name()) {
        return entry.str("checksum");
    }
    entry.str("sha1").filter(|_| kind == SumKind::Sha1)
}

/// The bytes of a disk for as long as the lease lives.
fn guarded(
    body: BoxStream<'static, Result<Bytes>>,
    lease: Arc<Lease>,
    sending: Sending,
    label: String,
) -> ByteStream {
    let state = Some((body, lease, sending, label));
    stream::unfold(state, |state| async {
        let (mut body, lease, sending, label) = state?;
        let next = tokio::select! {
            next = body.next() => next,
            lost = lease.lost() => Some(Err(lost)),
        };
        match next? {
            Ok(bytes) => Some((Ok(bytes), Some((body, lease, sending, label)))),
            Err(error) => {
                let error = lease.explain(error).await.context(format!("fetch {label}"));
                Some((Err(error), None))
            }
        }
    })
    .boxed()
}
