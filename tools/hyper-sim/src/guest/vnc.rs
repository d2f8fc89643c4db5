//! The screen by RFB 3.8, as QEMU offers it: no password, pixels as they are.

use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};

use super::Guest;
use super::line::{Line, until};
use super::screen::{HEIGHT, WIDTH};

/// How a client wants its pixels.
#[derive(Debug, Clone, Copy)]
struct Format {
    bytes: usize,
    big: bool,
    most: [u16; 3],
    shift: [u8; 3],
}

const PLAIN: Format = Format { bytes: 4, big: false, most: [255; 3], shift: [16, 8, 0] };

/// A session that has to go on reading.
struct Session<'a> {
    line: Line,
    guest: &'a Guest,
    input: BytesMut,
    number: u64,
    format: Format,
    /// What the client waits for: a rectangle, and whether only a change counts.
    wanted: Option<([u16; 4], bool)>,
    /// The change that the client has seen.
    seen: Option<u64>,
}

/// Counts a viewer for as long as it is connected.
struct Counted<'a>(&'a Guest);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves a viewer until it goes; where viewers are to be `alone`, until another one comes.
pub async fn serve(line: Line, guest: &Guest, alone: bool) {
    guest.viewers.fetch_add(1, Ordering::AcqRel);
    let _counted = Counted(guest);
    let mut number = 0;
    guest.viewer.send_modify(|newest| {
        *newest += u64::from(alone);
        number = *newest;
    });
    let session = Session {
        line,
        guest,
        input: BytesMut::new(),
        number,
        format: PLAIN,
        wanted: None,
        seen: None,
    };
    session.run().await;
}

impl Session<'_> {
    async fn run(mut self) {
        if self.begin().await.is_some() {
            while self.step().await.is_some() {}
        }
        self.line.close().await;
    }

    /// Waits for more bytes, and sends what has changed meanwhile. `None` at the end.
    async fn more(&mut self) -> Option<()> {
        let mut newest = self.guest.viewer.subscribe();
        let mut changes = self.guest.screen.changes.subscribe();
        let number = self.number;
        let waits = self.wanted.is_some_and(|(_, changed)| changed);
        let seen = self.seen;
        tokio::select! {
            () = until(&mut newest, |newest| newest != number) => None,
            () = until(&mut changes, |count| Some(count) != seen), if waits => self.update().await,
            bytes = self.line.next() => {
                self.input.extend_from_slice(&bytes?);
                Some(())
            }
        }
    }

    async fn need(&mut self, len: usize) -> Option<()> {
        while self.input.len() < len {
            self.more().await?;
        }
        Some(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.line.send(bytes).await.ok()
    }

    async fn begin(&mut self) -> Option<()> {
        self.send(b"RFB 003.008\n").await?;
        self.need(12).await?;
        let version = self.input.split_to(12);
        if !version.starts_with(b"RFB 003.") {
            return None;
        }
        if version.starts_with(b"RFB 003.003") {
            // The oldest clients are told what they get.
            self.send(&1_u32.to_be_bytes()).await?;
        } else {
            self.send(&[1, 1]).await?;
            self.need(1).await?;
            if self.input.get_u8() != 1 {
                return None;
            }
            if version.starts_with(b"RFB 003.008") {
                self.send(&0_u32.to_be_bytes()).await?;
            }
        }
        self.need(1).await?;
        self.input.advance(1);
        let name = b"hyper-sim";
        let mut start = Vec::new();
        start.extend(WIDTH.to_be_bytes());
        start.extend(HEIGHT.to_be_bytes());
        start.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
        start.extend((name.len() as u32).to_be_bytes());
        start.extend(name);
        self.send(&start).await
    }

    /// Reads a message and does what it says.
    async fn step(&mut self) -> Option<()> {
        self.need(1).await?;
        match self.input[0] {
            0 => {
                self.need(20).await?;
                let message = self.input.split_to(20);
                self.format = pixel_format(&message[4..])?;
            }
            2 => {
                self.need(4).await?;
                let count = usize::from(u16::from_be_bytes([self.input[2], self.input[3]]));
                self.need(4 + 4 * count).await?;
                // Every client understands the one encoding that is used.
                self.input.advance(4 + 4 * count);
            }
            3 => {
                self.need(10).await?;
                let mut message = self.input.split_to(10);
                message.advance(1);
                let changed = message.get_u8() != 0;
                let place = [(); 4].map(|()| message.get_u16());
                self.wanted = Some((clip(place), changed && self.seen.is_some()));
                if !changed || self.seen.is_none() {
                    self.update().await?;
                }
            }
            4 => {
                self.need(8).await?;
                let mut message = self.input.split_to(8);
                message.advance(1);
                let down = message.get_u8() != 0;
                message.advance(2);
                if down {
                    self.guest.screen.key(message.get_u32());
                }
            }
            5 => {
                self.need(6).await?;
                let mut message = self.input.split_to(6);
                message.advance(1);
                if message.get_u8() != 0 {
                    self.guest.screen.point(message.get_u16(), message.get_u16());
                }
            }
            6 => {
                self.need(8).await?;
                let len = u32::from_be_bytes([
                    self.input[4],
                    self.input[5],
                    self.input[6],
                    self.input[7],
                ]) as usize;
                if len > 1 << 20 {
                    return None;
                }
                self.need(8 + len).await?;
                // What is copied there comes back to whoever is connected, as from a guest's own
                // clipboard.
                let text = self.input.split_to(8 + len);
                let mut back = vec![3, 0, 0, 0];
                back.extend((len as u32).to_be_bytes());
                back.extend(&text[8..]);
                self.send(&back).await?;
            }
            _ => return None,
        }
        Some(())
    }

    /// Sends the rectangle that the client waits for.
    async fn update(&mut self) -> Option<()> {
        let Some(([x, y, width, height], _)) = self.wanted.take() else { return Some(()) };
        self.seen = Some(*self.guest.screen.changes.borrow());
        let mut message = vec![0, 0, 0, 1];
        for number in [x, y, width, height] {
            message.extend(number.to_be_bytes());
        }
        message.extend(0_i32.to_be_bytes());
        for pixel in self.guest.screen.part(x, y, width, height) {
            self.format.write(pixel, &mut message);
        }
        self.send(&message).await
    }
}

fn clip([x, y, width, height]: [u16; 4]) -> [u16; 4] {
    let (x, y) = (x.min(WIDTH), y.min(HEIGHT));
    [x, y, width.min(WIDTH - x), height.min(HEIGHT - y)]
}

fn pixel_format(message: &[u8]) -> Option<Format> {
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let bytes = usize::from(message[0] / 8);
    // Colours by number would need a table of them.
    if !matches!(bytes, 1 | 2 | 4) || message[3] == 0 {
        return None;
    }
    let most = [number(4), number(6), number(8)];
    let shift = [message[10], message[11], message[12]];
    if shift.iter().any(|it| *it > 31) {
        return None;
    }
    Some(Format { bytes, big: message[2] != 0, most, shift })
}

impl Format {
    fn write(self, pixel: [u8; 3], to: &mut Vec<u8>) {
        let mut value = 0_u32;
        for ((colour, most), shift) in pixel.into_iter().zip(self.most).zip(self.shift) {
            value |= (u32::from(colour) * u32::from(most) / 255) << shift;
        }
        match self.big {
            true => to.extend(&value.to_be_bytes()[4 - self.bytes..]),
            false => to.extend(&value.to_le_bytes()[..self.bytes]),
        }
    }
}
