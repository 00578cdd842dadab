//! The greeting of a client, which is kept as a whole: bounded, since nobody has shown anything yet.
//!
//! rustls joins a greeting of up to 64 KiB from its records, for each of the thousands that may wait for theirs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

/// Bytes that may come before the greeting is there. With a post-quantum key it has some 2 KiB; what comes behind it in the
/// same read counts too.
const MAX: usize = 4 << 10;

/// Waits for the greeting.
///
/// # Errors
/// It is none, or has more than [`MAX`] bytes, or the connection ended.
pub(super) async fn greeted<I>(io: I) -> io::Result<StartHandshake<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let counted = Counted { io, left: MAX };
    let start = LazyConfigAcceptor::new(Acceptor::default(), counted).await?;
    Ok(StartHandshake::from_parts(start.accepted, start.io.io))
}

/// Ends with an error behind so many bytes.
struct Counted<I> {
    io: I,
    left: usize,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the greeting is too long",
            )));
        }
        let mut room = [0; MAX];
        let most = this.left.min(buffer.remaining());
        let mut part = ReadBuf::new(room.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut this.io).poll_read(ctx, &mut part))?;
        buffer.put_slice(part.filled());
        this.left -= part.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(ctx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// The beginning of a greeting that says it has 60,000 bytes, and so many of them, in records.
    fn long(bytes: usize) -> Vec<u8> {
        let mut greeting = vec![1, 0, (60_000_u32 >> 8) as u8, (60_000_u32 & 0xff) as u8, 3, 3];
        greeting.resize(bytes, 0);
        let records = greeting.chunks(1_000).flat_map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], length.as_slice(), part].concat()
        });
        records.collect()
    }

    #[tokio::test]
    async fn a_greeting_without_an_end_is_not_kept() {
        let (mut client, server) = duplex(64 << 10);
        client.write_all(&long(2 * MAX)).await.unwrap();
        // The client is still here, so without a bound this would wait for the rest.
        let error = greeted(server).await.err().unwrap();
        assert!(error.to_string().contains("too long"), "{error}");
        drop(client);
    }
}
