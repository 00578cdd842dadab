//! Messages over a socket: framing, bounded memory, and writing that never waits for a server that waits for us.

use std::{future::poll_fn, io, pin::Pin, task::Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::super::{error::Error, table::ROW_MAX};

/// What is read at once: the size that the server sends.
const READ_BYTES: usize = 64 * 1024;
/// Largest message but rows and COPY data: far above every error and header.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
const DATA_ROW: u8 = b'D';
const COPY_DATA: u8 = b'd';
/// Bytes of a message's tag and length.
const HEADER_BYTES: usize = 5;

/// A socket, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What the server says next.
pub(super) enum Incoming {
    /// A whole message.
    Message(Message),
    /// A piece of COPY data too large for one.
    CopyPiece(Bytes),
    /// A row of so many bytes, above what is kept. It was passed over.
    RowTooLarge(usize),
}

/// What remains of a message that is not kept whole.
enum Passing {
    Copy(usize),
    Row { left: usize, size: usize },
}

/// One connection's messages.
pub(super) struct Wire {
    io: Box<dyn Io>,
    input: BytesMut,
    output: BytesMut,
    passing: Option<Passing>,
}

impl Wire {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self {
            io,
            input: BytesMut::with_capacity(READ_BYTES),
            output: BytesMut::new(),
            passing: None,
        }
    }

    /// Where messages are written before [`Wire::send`].
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Sends what was written. Reads meanwhile: a server that has much to say does not read before it has said it.
    pub(super) async fn send(&mut self) -> Result<(), Error> {
        let Self { io, input, output, .. } = self;
        poll_fn(|cx| {
            loop {
                while output.has_remaining() {
                    match Pin::new(&mut *io).poll_write(cx, output) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Poll::Ready(Ok(written)) => output.advance(written),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => break,
                    }
                }
                if output.is_empty() {
                    return Pin::new(&mut *io).poll_flush(cx);
                }
                match tokio_util::io::poll_read_buf(Pin::new(&mut *io), cx, input) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
        .map_err(Error::Io)
    }

    /// Returns the next message, if it is here already.
    pub(super) fn ready(&mut self) -> Result<Option<Incoming>, Error> {
        if let Some(passing) = self.passing.take() {
            return Ok(self.pass(passing));
        }
        let Some(header) = Header::parse(&self.input).map_err(not_postgres)? else {
            return Ok(None);
        };
        let body = usize::try_from(header.len()).unwrap_or(0).saturating_sub(4);
        if body > MESSAGE_MAX && header.tag() == COPY_DATA {
            self.input.advance(HEADER_BYTES);
            return Ok(self.pass(Passing::Copy(body)));
        }
        if body > ROW_MAX && header.tag() == DATA_ROW {
            self.input.advance(HEADER_BYTES);
            return Ok(self.pass(Passing::Row { left: body, size: body }));
        }
        if body > MESSAGE_MAX && header.tag() != DATA_ROW {
            return Err(not_postgres(io::Error::other(format!("a message of {body} bytes"))));
        }
        let message = Message::parse(&mut self.input).map_err(not_postgres)?;
        Ok(message.map(Incoming::Message))
    }

    fn pass(&mut self, passing: Passing) -> Option<Incoming> {
        match passing {
            Passing::Copy(left) => {
                let piece = self.input.split_to(left.min(self.input.len()));
                let left = left - piece.len();
                if left > 0 {
                    self.passing = Some(Passing::Copy(left));
                }
                (!piece.is_empty()).then(|| Incoming::CopyPiece(piece.freeze()))
            }
            Passing::Row { left, size } => {
                let here = left.min(self.input.len());
                self.input.advance(here);
                if left == here {
                    return Some(Incoming::RowTooLarge(size));
                }
                self.passing = Some(Passing::Row {
                    left: left - here,
                    size,
                });
                None
            }
        }
    }

    /// Waits until more has come. Nothing is lost when this is dropped.
    pub(super) async fn more(&mut self) -> Result<(), Error> {
        // A row that is larger than the buffer takes the space that it needs; `Message::parse` has reserved it.
        if self.input.capacity() == self.input.len() {
            self.input.reserve(READ_BYTES);
        }
        match self.io.read_buf(&mut self.input).await {
            Ok(0) => Err(Error::Io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            ))),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Waits for the next message.
    pub(super) async fn next(&mut self) -> Result<Incoming, Error> {
        loop {
            if let Some(incoming) = self.ready()? {
                return Ok(incoming);
            }
            self.more().await?;
        }
    }

    /// Waits for the server's close.
    pub(super) async fn closed(&mut self) {
        let mut rest = [0; 64];
        while matches!(self.io.read(&mut rest).await, Ok(read) if read > 0) {}
    }
}

fn not_postgres(error: io::Error) -> Error {
    Error::Protocol(format!("the server does not speak as PostgreSQL does: {error}"))
}
