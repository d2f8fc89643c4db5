//! Retrievals that may be long: objects are taken out of the reply while it comes in, so that
//! memory is bounded whatever pages the server makes.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use quick_xml::NsReader;
use quick_xml::events::Event;
use tokio::sync::mpsc;

use super::client::Client;
use super::fault::Fault;
use super::property::Object;
use super::soap::{Body, MoRef, Only, Tree, Value, not_soap};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// How many objects the server is asked for at a time. Servers give fewer where they like.
const PAGE: u32 = 250;

/// Pieces of a reply that wait for the parser, and objects that wait for their taker.
const QUEUE: usize = 16;

/// Longest text or tag in a reply, in bytes.
const LONGEST: usize = 16 << 20;

/// Adds the size of a page.
pub(super) fn page_options(body: Body) -> Body {
    body.open("options", None).text("maxObjects", PAGE).close("options")
}

/// Takes each object of a retrieval; false for no more.
pub(super) type Take = Box<dyn FnMut(Object) -> Result<bool> + Send>;

/// What reading pages ended with.
pub(super) struct Page {
    /// To go on with.
    pub take: Take,
    /// Why it ended before its end.
    pub failure: Option<Error>,
    /// What asks for the next one.
    token: Option<String>,
    /// Whether no more are wanted.
    enough: bool,
}

/// Which elements of an answer are handed over one by one, and what of them is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Their name.
    pub name: &'static str,
    /// How many elements they lie in.
    pub depth: usize,
    /// What of them is of interest.
    pub only: Only,
}

/// The objects of a page lie in `Envelope/Body/…Response/returnval`.
const OBJECTS: Wanted = Wanted { name: "objects", depth: 4, only: &[] };

/// Takes the wanted elements of an answer.
pub(super) trait TakePart: Send + 'static {
    /// Takes the next one; false for no more.
    fn take(&mut self, part: Value) -> Result<bool>;
}

impl TakePart for Take {
    fn take(&mut self, part: Value) -> Result<bool> {
        self(Object::read(part)?)
    }
}

/// What reading an answer ended with.
pub(super) struct Parts<T> {
    /// To go on with.
    pub take: T,
    /// What else the answer said.
    pub rest: Result<Rest>,
}

/// An answer without the elements that were taken out.
pub(super) struct Rest {
    /// The element `<MethodResponse>`, as far as it was read.
    pub answer: Value,
    /// Whether no more elements were wanted.
    enough: bool,
}

impl Client {
    /// Hands every object of a retrieval to `take`, on a thread that may block, with a login that
    /// may turn out to have ended. Objects lack what `only` leaves out.
    ///
    /// # Errors
    /// Those of a call; what is wrong with an answer, and what `take` says, is the failure.
    pub(super) async fn each(
        &self,
        collector: &MoRef,
        (body, only): (Body, Only),
        cookie: &Secret,
        take: Take,
    ) -> Result<Page> {
        let first = ("RetrievePropertiesEx", body);
        let mut page = self.page(collector, first, cookie, (take, only)).await?;
        while let Some(token) = page.token.take() {
            let body = Body::new().text("token", token);
            if page.enough {
                // The rest is not wanted; the server need not keep it.
                let _ = self.call("CancelRetrievePropertiesEx", collector, body).await;
                break;
            }
            let next = ("ContinueRetrievePropertiesEx", body);
            page = self.page(collector, next, cookie, (page.take, only)).await?;
        }
        Ok(page)
    }

    /// Asks for one page and hands over its objects.
    async fn page(
        &self,
        collector: &MoRef,
        call: (&'static str, Body),
        cookie: &Secret,
        (take, only): (Take, Only),
    ) -> Result<Page> {
        let wanted = Wanted { only, ..OBJECTS };
        let Parts { take, rest } = self.parts(collector, call, cookie, (wanted, take)).await?;
        Ok(match rest {
            Ok(Rest { answer, enough }) => {
                let token = answer.str("returnval.token").map(str::to_owned);
                Page { take, failure: None, token, enough }
            }
            Err(error) => Page { take, failure: Some(error), token: None, enough: false },
        })
    }

    /// Calls a method and hands each wanted element of its answer to `take` while it comes in, on
    /// a thread that may block.
    ///
    /// # Errors
    /// Those of sending the call; what is wrong with the answer is in `rest`.
    pub(super) async fn parts<T: TakePart>(
        &self,
        this: &MoRef,
        (method, body): (&'static str, Body),
        cookie: &Secret,
        (wanted, take): (Wanted, T),
    ) -> Result<Parts<T>> {
        let response = self.send(method, this, &body, Some(cookie)).await?;
        let place = response.place().to_owned();
        let mut response = response.expect(&[200, 500])?;
        let (send, receive) = mpsc::channel(QUEUE);
        let parser = tokio::task::spawn_blocking(move || {
            Parts::read(Chunks::new(receive), method, wanted, take)
        });
        loop {
            let chunk = response.chunk().await.transpose();
            let Some(chunk) = chunk else { break };
            let last = chunk.is_err();
            if send.send(chunk).await.is_err() || last {
                break;
            }
        }
        drop(send);
        let Parts { take, rest } = parser.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "read the server's answer").with_source(error)
        })?;
        Ok(Parts { take, rest: rest.map_err(|error| error.with_subject(place)) })
    }
}

impl<T: TakePart> Parts<T> {
    fn read(chunks: Chunks, method: &str, wanted: Wanted, mut take: T) -> Self {
        let mut reader = NsReader::from_reader(chunks);
        let rest = parse(&mut reader, method, wanted, &mut take);
        let rest = rest.map_err(|error| reader.get_mut().error.take().unwrap_or(error));
        Self { take, rest }
    }
}

fn parse(
    reader: &mut NsReader<Chunks>,
    method: &str,
    wanted: Wanted,
    take: &mut impl TakePart,
) -> Result<Rest> {
    let mut tree = Tree::of(wanted.only);
    let mut buffer = Vec::new();
    let mut enough = false;
    while !enough {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let event = event.map_err(|error| {
            not_soap("the answer is not proper XML").with_source(error.to_string())
        })?;
        let ends = match event {
            Event::Eof => break,
            Event::End(_) | Event::Empty(_) => true,
            _ => false,
        };
        tree.take(reader, event)?;
        reader.get_mut().since_event = 0;
        if !ends || tree.depth() != wanted.depth {
            continue;
        }
        match tree.take_last() {
            Some(value) if value.name == wanted.name => {
                tree.forget();
                enough = !take.take(value)?;
            }
            Some(other) => tree.put_back(other),
            None => {}
        }
    }
    if enough {
        tree.close();
    }
    Ok(Rest { answer: answer(tree.done, method)?, enough })
}

/// What is left of a message once its elements were taken out: an answer, or a fault.
fn answer(message: Option<Value>, method: &str) -> Result<Value> {
    let message = message.ok_or_else(|| not_soap("the answer is no XML document"))?;
    let body = message.children.into_iter().find(|child| child.name == "Body");
    match body.and_then(|body| body.children.into_iter().next()) {
        Some(fault) if fault.name == "Fault" => {
            Err(Fault::of_soap(&fault).into_error(format!("{method} was refused")))
        }
        Some(answer) => Ok(answer),
        None => Err(not_soap("the SOAP message has no body")),
    }
}

/// A reply as it comes in, for a parser that blocks.
struct Chunks {
    receive: mpsc::Receiver<Result<Bytes>>,
    now: Bytes,
    error: Option<Error>,
    /// Bytes since the parser last made something of them.
    since_event: usize,
}

impl Chunks {
    fn new(receive: mpsc::Receiver<Result<Bytes>>) -> Self {
        Self { receive, now: Bytes::new(), error: None, since_event: 0 }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.since_event > LONGEST {
            self.error = Some(not_soap("the answer holds a text or a tag that is too long"));
            return Err(io::ErrorKind::InvalidData.into());
        }
        while self.now.is_empty() {
            match self.receive.blocking_recv() {
                Some(Ok(bytes)) => self.now = bytes,
                Some(Err(error)) => {
                    self.error = Some(error);
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => break,
            }
        }
        Ok(&self.now)
    }

    fn consume(&mut self, count: usize) {
        self.now.advance(count);
        self.since_event += count;
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
