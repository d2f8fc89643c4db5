//! One of several viewers of a shared screen: the server's side of RFB (RFC 6143).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use hyper_common::error::{Error, Result, one_line};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::frame::Area;
use crate::share::{News, PLACES, POINTER, RAW, SIZE, Seat, Shared, View};
use crate::viewer::refuse;

/// Most bytes of a text that is copied.
const LONGEST: u32 = 1 << 20;

/// How a viewer wants its pixels (section 7.4).
#[derive(Debug, Clone, Copy)]
struct Format {
    bytes: usize,
    big: bool,
    most: [u16; 3],
    shift: [u8; 3],
}

/// As they are kept here: 32 bits, little-endian.
const OWN: Format = Format { bytes: 4, big: false, most: [255; 3], shift: [16, 8, 0] };

impl Format {
    /// Reads the sixteen bytes that say it; `None` for one that nobody can have.
    fn read(message: &[u8]) -> Option<Self> {
        let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let format = Self {
            bytes: usize::from(message[0] / 8),
            big: message[2] != 0,
            most: [number(4), number(6), number(8)],
            shift: [message[10], message[11], message[12]],
        };
        // Colours by number would need a table of them, which no viewer wants any more.
        let possible = matches!(format.bytes, 1 | 2 | 4) && message[3] != 0;
        (possible && format.shift.iter().all(|shift| *shift < 32)).then_some(format)
    }

    fn write(self, pixels: &[u32], to: &mut Vec<u8>) {
        for pixel in pixels {
            let [blue, green, red, _] = pixel.to_le_bytes();
            let parts = [red, green, blue].into_iter().zip(self.most).zip(self.shift);
            let value = parts.fold(0_u32, |value, ((colour, most), shift)| {
                value | (u32::from(colour) * u32::from(most) / 255) << shift
            });
            match self.big {
                true => to.extend(&value.to_be_bytes()[4 - self.bytes..]),
                false => to.extend(&value.to_le_bytes()[..self.bytes]),
            }
        }
    }
}

/// A viewer that is connected.
struct Onlooker<S> {
    view: Arc<View>,
    from: ReadHalf<S>,
    to: WriteHalf<S>,
    input: BytesMut,
    format: Format,
    /// What it understands beside pixels.
    ways: Vec<i32>,
    /// The rectangle that it waits for.
    wanted: Option<Area>,
    /// The version that it has seen, and that of the size and of the pointer.
    seen: u64,
    shape: u64,
    pointer: u64,
    /// Whether it knows that keys can be told by their places.
    places: bool,
}

/// Serves a viewer until it goes or the screen does.
pub async fn serve<S>(mut stream: S, shared: &Arc<Shared>, name: &str) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let seat = match shared.join().await {
        Ok(seat) => seat,
        Err(error) => {
            let _ = refuse(&mut stream, &one_line(&error)).await;
            return Err(error);
        }
    };
    let Seat(view) = &seat;
    let gone = |error| Error::io("talk to the viewer", error);
    let (from, to) = tokio::io::split(stream);
    let mut onlooker = Onlooker {
        view: view.clone(),
        from,
        to,
        input: BytesMut::new(),
        format: OWN,
        ways: Vec::new(),
        wanted: None,
        seen: 0,
        shape: view.frame().shape(),
        pointer: 0,
        places: false,
    };
    onlooker.begin(name).await.map_err(gone)?;
    match onlooker.go_on().await {
        // It left, which is how viewers end.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        other => other.map_err(gone),
    }
}

fn wrong(words: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, words.to_owned())
}

impl<S: AsyncRead + AsyncWrite> Onlooker<S> {
    async fn begin(&mut self, name: &str) -> std::io::Result<()> {
        self.to.write_all(b"RFB 003.008\n").await?;
        let mut version = [0; 12];
        self.from.read_exact(&mut version).await?;
        if !version.starts_with(b"RFB 003.") {
            return Err(wrong("it speaks something else than RFB"));
        }
        let mut byte = [0];
        match &version[8..11] {
            b"007" | b"008" => {
                self.to.write_all(&[1, 1]).await?;
                self.from.read_exact(&mut byte).await?;
                if byte != [1] {
                    return Err(wrong("it wants a password to be asked for"));
                }
                if &version[8..11] == b"008" {
                    self.to.write_all(&[0; 4]).await?;
                }
            }
            // The oldest are told what they get.
            _ => self.to.write_all(&1_u32.to_be_bytes()).await?,
        }
        self.from.read_exact(&mut byte).await?;
        let mut start = Vec::new();
        let (width, height) = self.view.frame().size();
        start.extend(width.to_be_bytes());
        start.extend(height.to_be_bytes());
        start.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
        start.extend(u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
        start.extend(name.as_bytes());
        self.to.write_all(&start).await
    }

    async fn go_on(&mut self) -> std::io::Result<()> {
        let view = self.view.clone();
        let (mut changes, mut over) = (view.changes.subscribe(), view.over.subscribe());
        let mut news = view.news.subscribe();
        let mut over = std::pin::pin!(async move { drop(over.wait_for(|over| *over).await) });
        loop {
            while let Some(message) = self.message()? {
                self.obey(message).await?;
            }
            tokio::select! {
                read = self.from.read_buf(&mut self.input) => if read? == 0 {
                    return Ok(());
                },
                () = &mut over => return self.to.shutdown().await,
                _ = changes.changed() => self.show().await?,
                told = news.recv() => match told {
                    Ok(News::Bell) => self.to.write_all(&[2]).await?,
                    Ok(News::Text(text)) => self.tell(&text).await?,
                    // It was too slow for some; the rest follows.
                    Err(_) => {}
                },
            }
        }
    }

    async fn tell(&mut self, text: &[u8]) -> std::io::Result<()> {
        let mut message = vec![3, 0, 0, 0];
        message.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        message.extend(text);
        self.to.write_all(&message).await
    }

    /// The next message that came whole.
    fn message(&mut self) -> std::io::Result<Option<Bytes>> {
        let have = &self.input[..];
        let Some(kind) = have.first() else { return Ok(None) };
        let len = match kind {
            0 => 20,
            2 if have.len() < 4 => return Ok(None),
            2 => 4 + 4 * usize::from(u16::from_be_bytes([have[2], have[3]])),
            3 => 10,
            4 => 8,
            5 => 6,
            6 if have.len() < 8 => return Ok(None),
            6 => {
                let len = u32::from_be_bytes([have[4], have[5], have[6], have[7]]);
                if len > LONGEST {
                    return Err(wrong("it copies more text than any"));
                }
                8 + len as usize
            }
            255 => 12,
            _ => return Err(wrong("it sends what RFB does not know")),
        };
        Ok((have.len() >= len).then(|| self.input.split_to(len).freeze()))
    }

    async fn obey(&mut self, mut message: Bytes) -> std::io::Result<()> {
        match message[0] {
            0 => {
                self.format = Format::read(&message[4..])
                    .ok_or_else(|| wrong("it wants colours that cannot be had"))?;
                // What it has seen was in other colours.
                self.pointer = 0;
            }
            2 => {
                let ways = message[4..].chunks_exact(4);
                let one = |it: &[u8]| i32::from_be_bytes([it[0], it[1], it[2], it[3]]);
                self.ways = ways.map(one).collect();
            }
            3 => {
                let changes = message[1] != 0;
                message.advance(2);
                self.wanted = Some([(); 4].map(|()| message.get_u16()));
                if !changes {
                    self.seen = 0;
                }
                self.show().await?;
            }
            255 if message[1] != 0 => return Err(wrong("it sends what RFB does not know")),
            _ => self.view.act(message).await,
        }
        Ok(())
    }

    /// Sends what the viewer waits for, as far as there is anything new.
    async fn show(&mut self) -> std::io::Result<()> {
        let Some(area) = self.wanted else { return Ok(()) };
        // Before there is a picture at all nobody gets a black one.
        if *self.view.changes.borrow() == 0 {
            return Ok(());
        }
        let knows = |way: i32| self.ways.contains(&way);
        let mut heads = Vec::new();
        let mut count: u16 = 0;
        let (parts, version) = {
            let frame = self.view.frame();
            if frame.shape() != self.shape {
                if !knows(SIZE) {
                    return Err(wrong("the screen has another size, which it does not understand"));
                }
                let (width, height) = frame.size();
                head(&mut heads, [0, 0, width, height], SIZE);
                count += 1;
                self.shape = frame.shape();
            }
            if let Some((since, shape)) = frame.pointer()
                && *since > self.pointer
                && knows(POINTER)
            {
                let (point, size) = (shape.point, shape.size);
                head(&mut heads, [point.0, point.1, size.0, size.1], POINTER);
                self.format.write(&shape.pixels, &mut heads);
                heads.extend(&shape.mask);
                count += 1;
                self.pointer = *since;
            }
            (frame.changed(self.seen, area), frame.version())
        };
        if !self.places && knows(PLACES) && self.view.places.load(Ordering::Acquire) {
            head(&mut heads, [0; 4], PLACES);
            count += 1;
            self.places = true;
        }
        count += u16::try_from(parts.len()).unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        let mut message = vec![0, 0];
        message.extend(count.to_be_bytes());
        message.extend(heads);
        for part in parts {
            head(&mut message, part, RAW);
            let pixels = self.view.frame().part(part);
            self.format.write(&pixels, &mut message);
            self.to.write_all(&message).await?;
            message.clear();
        }
        self.to.write_all(&message).await?;
        (self.wanted, self.seen) = (None, version);
        Ok(())
    }
}

/// The head of a rectangle.
fn head(to: &mut Vec<u8>, area: Area, way: i32) {
    to.extend(area.iter().flat_map(|number| number.to_be_bytes()));
    to.extend(way.to_be_bytes());
}
