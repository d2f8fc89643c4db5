//! One connection to a screen that any number of viewers see. It is made for the first of them,
//! made again where it breaks, and ended with the last one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress};
use futures::future::BoxFuture;
use hyper_common::cancel::Cancel;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::net::{Line, LineWriter};
use hyper_common::tool::Remarks;
use tokio::sync::{Mutex as AsyncMutex, broadcast, watch};

use crate::frame::{Frame, Pointer};
use crate::reach::{self, Fights};
use crate::record::SessionState;
use crate::rfb::{Message, Rfb, wrong};
use crate::run::Machine;
use crate::sessions::Session;

/// The ways in which rectangles come: packed by zlib, copied, as they are; and news of the size,
/// of the pointer, and of keyboards that are told by their keys' places (RFC 6143 section 7.7 and
/// the RFB protocol's registry; the last is QEMU's).
pub const ZLIB: i32 = 6;
pub const COPY: i32 = 1;
pub const RAW: i32 = 0;
pub const SIZE: i32 = -223;
pub const POINTER: i32 = -239;
pub const PLACES: i32 = -258;

/// News that are kept for a viewer who is slow.
const NEWS: usize = 64;

/// Something that is told to all viewers.
#[derive(Debug, Clone)]
pub enum News {
    /// The machine rings.
    Bell,
    /// Somebody copied this text there.
    Text(Bytes),
}

/// What viewers have before them.
#[derive(Debug)]
pub struct View {
    frame: Mutex<Frame>,
    /// The version of the frame.
    pub changes: watch::Sender<u64>,
    /// What else happens.
    pub news: broadcast::Sender<News>,
    /// Whether the machine knows keys by their places.
    pub places: AtomicBool,
    /// Whether all is over.
    pub over: watch::Sender<bool>,
    input: Mutex<Option<LineWriter>>,
    viewers: watch::Sender<usize>,
}

impl View {
    /// The picture.
    pub fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what a viewer does. While there is no connection it comes to nothing.
    pub async fn act(&self, message: Bytes) {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(input) = input {
            let _ = input.send(message).await;
        }
    }

    fn set_input(&self, input: Option<LineWriter>) {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = input;
    }

    fn tell_changes(&self) {
        let version = self.frame().version();
        self.changes.send_replace(version);
    }
}

/// A viewer's part in it, until dropped.
#[derive(Debug)]
pub struct Seat(pub Arc<View>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.viewers.send_modify(|count| *count -= 1);
    }
}

/// A shared screen.
pub struct Shared {
    machine: Machine,
    polite: bool,
    cancel: Cancel,
    remarks: Remarks,
    open: Arc<Session>,
    /// What viewers see now, where there are any.
    view: AsyncMutex<Option<Arc<View>>>,
}

fn politely(machine: &Machine) -> BoxFuture<'_, Result<Line>> {
    Box::pin(async move { machine.console()?.screen(&machine.id, true).await })
}

fn anyway(machine: &Machine) -> BoxFuture<'_, Result<Line>> {
    Box::pin(async move { machine.console()?.screen(&machine.id, false).await })
}

impl Shared {
    /// A screen of `machine` that nobody sees yet. With `polite` somebody else who sees it stays.
    pub fn new(
        machine: Machine,
        polite: bool,
        open: Arc<Session>,
        cancel: Cancel,
        remarks: Remarks,
    ) -> Arc<Self> {
        Arc::new(Self { machine, polite, cancel, remarks, open, view: AsyncMutex::new(None) })
    }

    fn way(&self) -> reach::Way {
        if self.polite { politely } else { anyway }
    }

    /// A seat before the screen.
    ///
    /// # Errors
    /// Those of connecting.
    pub async fn join(self: &Arc<Self>) -> Result<Seat> {
        let mut view = self.view.lock().await;
        if let Some(view) = view.as_ref().filter(|view| !*view.over.borrow()) {
            view.viewers.send_modify(|count| *count += 1);
            return Ok(Seat(view.clone()));
        }
        let rfb = Rfb::open((self.way())(&self.machine).await?).await?;
        let mut frame = Frame::default();
        frame.resize(rfb.width, rfb.height);
        let made = Arc::new(View {
            frame: Mutex::new(frame),
            changes: watch::Sender::new(0),
            news: broadcast::Sender::new(NEWS),
            places: AtomicBool::new(false),
            over: watch::Sender::new(false),
            input: Mutex::new(None),
            viewers: watch::Sender::new(1),
        });
        *view = Some(made.clone());
        tokio::spawn(self.clone().hold(made.clone(), rfb));
        Ok(Seat(made))
    }

    /// Connection after connection, for as long as there are viewers.
    async fn hold(self: Arc<Self>, view: Arc<View>, rfb: Rfb) {
        let end = tokio::select! {
            end = self.follow(&view, rfb) => Some(end),
            () = self.deserted(&view) => None,
        };
        match end {
            Some(Ok(())) => self.remarks.say("the machine has ended"),
            Some(Err(error)) => self.remarks.warn(&one_line(&error)),
            None => {}
        }
        view.set_input(None);
        view.over.send_replace(true);
    }

    /// Until nobody looks. Whoever comes later finds that it is over and begins anew.
    async fn deserted(&self, view: &View) {
        let mut viewers = view.viewers.subscribe();
        loop {
            if viewers.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            let mut current = self.view.lock().await;
            if *view.viewers.borrow() == 0 {
                *current = None;
                return;
            }
        }
    }

    async fn follow(&self, view: &View, mut rfb: Rfb) -> Result<()> {
        let mut fights = Fights::new();
        loop {
            fights.begin();
            let why = match look(view, &mut rfb).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            view.set_input(None);
            fights.lost()?;
            self.open.note(|row| row.state = SessionState::Reconnecting);
            tracing::info!("{}", one_line(&why));
            let say = |words: &str| self.remarks.say(words);
            let again = reach::again(&self.machine, self.way(), &self.cancel, say);
            let Some(line) = again.await? else {
                return Ok(());
            };
            rfb = Rfb::open(line).await?;
            self.remarks.say(&format!("{}; connected again", one_line(&why)));
            self.open.note(|row| row.state = SessionState::Connected);
            view.frame().resize(rfb.width, rfb.height);
            view.tell_changes();
        }
    }
}

/// Nothing is of this type.
enum Never {}

/// Keeps the picture as the machine's screen is, until the connection breaks.
async fn look(view: &View, rfb: &mut Rfb) -> Result<Never> {
    rfb.prepare(&[ZLIB, COPY, RAW, SIZE, POINTER, PLACES]).await?;
    view.set_input(Some(rfb.writer()));
    rfb.ask_all(false).await?;
    let mut packed = Decompress::new(true);
    loop {
        match rfb.message().await? {
            Message::Update(count) => {
                let mut whole = false;
                for _ in 0..count {
                    whole |= rectangle(view, rfb, &mut packed).await?;
                }
                view.tell_changes();
                rfb.ask_all(!whole).await?;
            }
            Message::Bell => drop(view.news.send(News::Bell)),
            Message::Text(text) => drop(view.news.send(News::Text(text))),
        }
    }
}

/// Takes a rectangle; whether all of the screen has to be asked for.
async fn rectangle(view: &View, rfb: &mut Rfb, packed: &mut Decompress) -> Result<bool> {
    let (area, way) = rfb.head().await?;
    let [x, y, width, height] = area;
    let len = usize::from(width) * usize::from(height) * 4;
    match way {
        SIZE => {
            (rfb.width, rfb.height) = (width, height);
            view.frame().resize(width, height);
            return Ok(true);
        }
        PLACES => {
            view.places.store(true, Ordering::Release);
            return Ok(false);
        }
        POINTER => {
            let pixels = colours(&rfb.take(len).await?).collect();
            let mask = rfb.take(usize::from(width).div_ceil(8) * usize::from(height)).await?;
            let (point, size) = ((x, y), (width, height));
            view.frame().point(Pointer { point, size, pixels, mask: mask.to_vec() });
            return Ok(false);
        }
        _ if !view.frame().holds(area) => {
            return Err(wrong("the server paints outside of the screen"));
        }
        RAW => {
            let pixels = rfb.take(len).await?;
            view.frame().paint(area, colours(&pixels));
        }
        COPY => {
            let from = rfb.take(4).await?;
            let from = [0, 2].map(|at| u16::from_be_bytes([from[at], from[at + 1]]));
            let mut frame = view.frame();
            if !frame.holds([from[0], from[1], width, height]) {
                return Err(wrong("the server copies what is outside of the screen"));
            }
            frame.copy((from[0], from[1]), area);
        }
        ZLIB => {
            let size = rfb.take(4).await?;
            let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize;
            // What does not pack at all grows by a little.
            if size > len + len / 100 + 4096 {
                return Err(wrong("the server sends more than was packed"));
            }
            let pixels = unpack(packed, &rfb.take(size).await?, len)?;
            view.frame().paint(area, colours(&pixels));
        }
        other => {
            let words = format!("the server paints in a way {other} that nobody asked for");
            return Err(wrong(words));
        }
    }
    Ok(false)
}

fn colours(pixels: &[u8]) -> impl Iterator<Item = u32> {
    let one = |it: &[u8]| u32::from_le_bytes([it[0], it[1], it[2], 0]);
    pixels.chunks_exact(4).map(one)
}

/// Unpacks exactly `len` bytes of a stream that goes on.
fn unpack(packed: &mut Decompress, bytes: &[u8], len: usize) -> Result<Vec<u8>> {
    let damaged = |error: Option<flate2::DecompressError>| -> Error {
        let words = "the server sends a rectangle that is packed wrongly";
        error.map_or_else(|| wrong(words), |error| wrong(words).with_source(error))
    };
    let mut plain = vec![0; len];
    let (begun, mut made) = (packed.total_in(), 0);
    while made < len {
        let taken = usize::try_from(packed.total_in() - begun).unwrap_or(usize::MAX);
        let rest = bytes.get(taken..).ok_or_else(|| damaged(None))?;
        let before = packed.total_out();
        packed
            .decompress(rest, &mut plain[made..], FlushDecompress::Sync)
            .map_err(|error| damaged(Some(error)))?;
        let now = usize::try_from(packed.total_out() - before).unwrap_or(0);
        if now == 0 {
            return Err(damaged(None));
        }
        made += now;
    }
    // The end of the piece has nothing in it but marks.
    let taken = usize::try_from(packed.total_in() - begun).unwrap_or(usize::MAX);
    if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        packed
            .decompress(rest, &mut [], FlushDecompress::Sync)
            .map_err(|error| damaged(Some(error)))?;
    }
    Ok(plain)
}
