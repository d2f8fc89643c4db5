//! A client of the protocol of VNC (RFC 6143), as far as pictures and keys need it.

use bytes::{Buf, Bytes, BytesMut};
use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::net::{Line, LineReader, LineWriter};

/// Most pixels of a screen: four times those of an 8K one.
const MOST: usize = 1 << 27;

/// Most bytes of a text that is copied.
const LONGEST: u32 = 1 << 20;

/// What a server says.
#[derive(Debug)]
pub enum Message {
    /// So many rectangles follow.
    Update(u16),
    /// It rings.
    Bell,
    /// Somebody copied this text there (Latin-1).
    Text(Bytes),
}

/// A client that is connected.
pub struct Rfb {
    reader: LineReader,
    writer: LineWriter,
    have: BytesMut,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The error of a server that does not keep to the protocol.
pub fn wrong(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, words)
}

impl Rfb {
    /// Says hello over a line.
    ///
    /// # Errors
    /// `Protocol` for a server that speaks something else; `Auth` for one that wants a password;
    /// `Unavailable` when the connection breaks.
    pub async fn open(line: Line) -> Result<Self> {
        let (reader, writer) = line.split();
        let mut rfb = Self { reader, writer, have: BytesMut::new(), width: 0, height: 0 };
        let version = rfb.take(12).await?;
        if !version.starts_with(b"RFB 003.") {
            return Err(wrong("this is no VNC server"));
        }
        // Servers with other numbers of their own count as 3.3.
        let modern = matches!(&version[8..11], b"007" | b"008");
        rfb.send(if modern { b"RFB 003.008\n" } else { b"RFB 003.003\n" }).await?;
        rfb.agree(modern, &version[8..11] == b"008").await?;
        // Whoever is connected may stay.
        rfb.send(&[1]).await?;
        let mut start = rfb.take(24).await?;
        (rfb.width, rfb.height) = (start.get_u16(), start.get_u16());
        start.advance(16);
        let name = start.get_u32();
        rfb.skip(name).await?;
        if usize::from(rfb.width) * usize::from(rfb.height) > MOST {
            return Err(wrong("the screen is larger than any"));
        }
        Ok(rfb)
    }

    /// Agrees on doing without a password.
    async fn agree(&mut self, modern: bool, tells: bool) -> Result<()> {
        if !modern {
            return match self.take(4).await?.get_u32() {
                0 => Err(self.refusal().await),
                1 => Ok(()),
                _ => Err(locked()),
            };
        }
        let count = usize::from(self.take(1).await?[0]);
        if count == 0 {
            return Err(self.refusal().await);
        }
        if !self.take(count).await?.contains(&1) {
            return Err(locked());
        }
        self.send(&[1]).await?;
        if tells && self.take(4).await?.get_u32() != 0 {
            return Err(self.refusal().await);
        }
        Ok(())
    }

    async fn refusal(&mut self) -> Error {
        let words = async {
            let len = self.take(4).await?.get_u32().min(1000);
            self.take(len as usize).await
        };
        match words.await {
            Ok(words) => Error::new(ErrorKind::Unavailable, String::from_utf8_lossy(&words)),
            Err(error) => error,
        }
    }

    /// All pixels of the screen, red, green and blue, row by row.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn picture(&mut self) -> Result<Vec<u8>> {
        // Only pixels as they are, and word of a new size, as which nothing else is told.
        self.prepare(&[0]).await?;
        let (width, height) = (usize::from(self.width), usize::from(self.height));
        self.ask_all(false).await?;
        let mut pixels = vec![0; width * height * 3];
        let mut missing = width * height;
        while missing > 0 {
            for _ in 0..self.update().await? {
                let [x, y, wide, high] = self.rectangle().await?;
                if x + wide > width || y + high > height {
                    return Err(wrong("the server paints outside of the screen"));
                }
                for row in y..y + high {
                    let line = self.take(wide * 4).await?;
                    let at = (row * width + x) * 3;
                    let to = pixels[at..at + wide * 3].chunks_exact_mut(3);
                    for (to, from) in to.zip(line.chunks_exact(4)) {
                        to.copy_from_slice(&[from[2], from[1], from[0]]);
                    }
                }
                missing = missing.saturating_sub(wide * high);
            }
        }
        Ok(pixels)
    }

    /// Asks for the whole screen, or for what changes of it.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn ask_all(&mut self, changes: bool) -> Result<()> {
        self.request(changes, self.width, self.height).await
    }

    async fn request(&mut self, changes: bool, width: u16, height: u16) -> Result<()> {
        let mut message = vec![3, u8::from(changes), 0, 0, 0, 0];
        message.extend(width.to_be_bytes());
        message.extend(height.to_be_bytes());
        self.send(&message).await
    }

    /// Says how pixels are wanted (32 bits, little-endian: blue, green, red and nothing), and in
    /// which ways rectangles may come.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn prepare(&mut self, ways: &[i32]) -> Result<()> {
        let format = [0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        self.send(&format).await?;
        let mut message = vec![2, 0];
        message.extend(u16::try_from(ways.len()).unwrap_or(0).to_be_bytes());
        message.extend(ways.iter().flat_map(|way| way.to_be_bytes()));
        self.send(&message).await
    }

    /// Where messages of others can go as they are.
    pub fn writer(&self) -> LineWriter {
        self.writer.clone()
    }

    /// The next message.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn message(&mut self) -> Result<Message> {
        loop {
            match self.take(1).await?[0] {
                0 => {
                    let mut head = self.take(3).await?;
                    head.advance(1);
                    return Ok(Message::Update(head.get_u16()));
                }
                1 => {
                    let mut head = self.take(5).await?;
                    head.advance(3);
                    let colours = head.get_u16();
                    self.skip(u32::from(colours) * 6).await?;
                }
                2 => return Ok(Message::Bell),
                3 => {
                    let mut head = self.take(7).await?;
                    head.advance(3);
                    let len = head.get_u32();
                    // A negative number is an extension that nobody asked for.
                    if len > LONGEST {
                        return Err(wrong("the server copies more text than any"));
                    }
                    return self.take(len as usize).await.map(Message::Text);
                }
                other => return Err(wrong(format!("the server sends a message {other}"))),
            }
        }
    }

    /// Waits for an update; how many rectangles it has.
    async fn update(&mut self) -> Result<u16> {
        loop {
            if let Message::Update(count) = self.message().await? {
                return Ok(count);
            }
        }
    }

    /// The place of the next rectangle, and the way in which it comes.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn head(&mut self) -> Result<([u16; 4], i32)> {
        let mut head = self.take(12).await?;
        let place = [(); 4].map(|()| head.get_u16());
        Ok((place, head.get_i32()))
    }

    async fn rectangle(&mut self) -> Result<[usize; 4]> {
        match self.head().await? {
            (place, 0) => Ok(place.map(usize::from)),
            (_, other) => {
                Err(wrong(format!("the server paints in a way {other} that nobody asked for")))
            }
        }
    }

    /// Presses keys together, and lets them go in the opposite order.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn press(&mut self, symbols: &[u32]) -> Result<()> {
        let down = symbols.iter().map(|symbol| (1, *symbol));
        let up = symbols.iter().rev().map(|symbol| (0, *symbol));
        for (state, symbol) in down.chain(up) {
            let mut message = vec![4, state, 0, 0];
            message.extend(symbol.to_be_bytes());
            self.send(&message).await?;
        }
        Ok(())
    }

    /// Waits until the server has read all that was sent.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn settle(&mut self) -> Result<()> {
        self.prepare(&[0]).await?;
        self.request(false, 1, 1).await?;
        self.update().await.map(drop)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.send(Bytes::copy_from_slice(bytes)).await
    }

    async fn more(&mut self) -> Result<()> {
        match self.reader.next().await {
            Some(Ok(bytes)) => {
                self.have.extend_from_slice(&bytes);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::Unavailable, "the connection to the screen ended")
                .with_hint("somebody else may have connected")),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// As [`Rfb::open`].
    pub async fn take(&mut self, len: usize) -> Result<Bytes> {
        while self.have.len() < len {
            self.more().await?;
        }
        Ok(self.have.split_to(len).freeze())
    }

    /// Passes over bytes without keeping them.
    async fn skip(&mut self, len: u32) -> Result<()> {
        let mut left = len as usize;
        while left > 0 {
            if self.have.is_empty() {
                self.more().await?;
            }
            let now = left.min(self.have.len());
            self.have.advance(now);
            left -= now;
        }
        Ok(())
    }
}

fn locked() -> Error {
    Error::new(ErrorKind::Auth, "the screen wants a password, which hyper does not give")
}
