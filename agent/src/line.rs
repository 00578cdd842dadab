//! What a runner and its agent say to each other over `agent.sock`.
//!
//! ```text
//! either way   u32 LE length of what follows · u8 version · u8 kind · its fields, integers as LE
//! runner       "OLR1" first, then H attempt id, events so far · W events so far · K has heard the cancel · E events in all
//! agent        K cancel · A the cloud has everything below this event
//! ```
//! A runner may be older or newer than its agent, since it outlives upgrades: a kind or a version that is not known is
//! passed over, fields after the known ones likewise. A frame that is too long ends the connection. Runners of 0.1.0 speak
//! [another way](LEGACY), which the agent still understands.

use std::io;

use opslink::id::AttemptId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

/// What a runner says before its first frame. A runner of 0.1.0 says the 16 bytes of its attempt's id instead; those
/// begin with a time in this century.
pub(crate) const OPENING: [u8; 4] = *b"OLR1";

/// The words of 0.1.0, without any length: `C` new chunk · `E` ended, from the runner; `K` cancel · `A` and u64 LE, from the
/// agent.
pub(crate) const LEGACY: Legacy = Legacy {
    ended: b'E',
    cancel: b'K',
    acknowledged: b'A',
};

/// See [`LEGACY`].
pub(crate) struct Legacy {
    pub ended: u8,
    pub cancel: u8,
    pub acknowledged: u8,
}

const VERSION: u8 = 1;

/// Longest frame that is read. The longest known has 26 bytes.
const LONGEST: u32 = 64 * 1024;

/// What a runner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromRunner {
    /// Who it is, first of all, and how many events its journal has.
    Hello {
        /// Its attempt.
        id: AttemptId,
        /// Events in the journal.
        next_seq: u64,
    },
    /// The journal has grown to so many events.
    Written(u64),
    /// It has heard the cancel: whoever does not is stuck.
    Heard,
    /// The journal has its end, and so many events in all.
    Ended(u64),
}

/// What an agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromAgent {
    /// End the work.
    Cancel,
    /// The cloud has everything below this event.
    Acknowledged(u64),
}

/// One side's words.
pub(crate) trait Word: Sized {
    /// Kind and fields.
    fn encode(self) -> (u8, Vec<u8>);
    /// `None` for what this side does not know.
    fn decode(kind: u8, fields: &[u8]) -> Option<Self>;
}

impl Word for FromRunner {
    fn encode(self) -> (u8, Vec<u8>) {
        match self {
            Self::Hello { id, next_seq } => (b'H', [&id.uuid().as_bytes()[..], &next_seq.to_le_bytes()].concat()),
            Self::Written(next_seq) => (b'W', next_seq.to_le_bytes().to_vec()),
            Self::Heard => (b'K', Vec::new()),
            Self::Ended(next_seq) => (b'E', next_seq.to_le_bytes().to_vec()),
        }
    }

    fn decode(kind: u8, fields: &[u8]) -> Option<Self> {
        match kind {
            b'H' => {
                let (id, rest) = fields.split_first_chunk()?;
                Some(Self::Hello {
                    id: AttemptId::from_uuid(Uuid::from_bytes(*id)),
                    next_seq: number(rest)?,
                })
            }
            b'W' => number(fields).map(Self::Written),
            b'K' => Some(Self::Heard),
            b'E' => number(fields).map(Self::Ended),
            _ => None,
        }
    }
}

impl Word for FromAgent {
    fn encode(self) -> (u8, Vec<u8>) {
        match self {
            Self::Cancel => (b'K', Vec::new()),
            Self::Acknowledged(next_seq) => (b'A', next_seq.to_le_bytes().to_vec()),
        }
    }

    fn decode(kind: u8, fields: &[u8]) -> Option<Self> {
        match kind {
            b'K' => Some(Self::Cancel),
            b'A' => number(fields).map(Self::Acknowledged),
            _ => None,
        }
    }
}

fn number(fields: &[u8]) -> Option<u64> {
    fields.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Says one word, in one write.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn say(writer: &mut (impl AsyncWrite + Unpin), word: impl Word) -> io::Result<()> {
    writer.write_all(&frame(word)).await
}

fn frame(word: impl Word) -> Vec<u8> {
    let (kind, fields) = word.encode();
    let length = u32::try_from(fields.len() + 2).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &[VERSION, kind][..], &fields].concat()
}

/// Says who dials, in one write.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn open(writer: &mut (impl AsyncWrite + Unpin), hello: FromRunner) -> io::Result<()> {
    writer.write_all(&[&OPENING[..], &frame(hello)].concat()).await
}

/// Hears the next word that is known.
///
/// # Errors
/// Those of the socket; `InvalidData` for a frame of impossible length.
///
/// # Cancel
/// Not cancel safe: the connection is of no use any more.
pub(crate) async fn hear<W: Word>(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<W> {
    loop {
        let length = reader.read_u32_le().await?;
        if !(2..=LONGEST).contains(&length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame of impossible length",
            ));
        }
        let mut frame = vec![0; length as usize];
        reader.read_exact(&mut frame).await?;
        let known = match frame.split_first_chunk() {
            Some(([VERSION, kind], fields)) => W::decode(*kind, fields),
            _ => None,
        };
        if let Some(word) = known {
            return Ok(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(version: u8, kind: u8, fields: &[u8]) -> Vec<u8> {
        let length = u32::try_from(fields.len() + 2).unwrap();
        [&length.to_le_bytes(), &[version, kind][..], fields].concat()
    }

    #[tokio::test]
    async fn words_come_back_as_they_went() {
        let id = AttemptId::new();
        let mut bytes = Vec::new();
        let said = [
            FromRunner::Hello { id, next_seq: 7 },
            FromRunner::Written(8),
            FromRunner::Heard,
            FromRunner::Ended(u64::MAX),
        ];
        for word in said {
            say(&mut bytes, word).await.unwrap();
        }
        let mut reader = &*bytes;
        for word in said {
            assert_eq!(hear::<FromRunner>(&mut reader).await.unwrap(), word);
        }
        let mut bytes = Vec::new();
        for word in [FromAgent::Cancel, FromAgent::Acknowledged(5)] {
            say(&mut bytes, word).await.unwrap();
            assert_eq!(hear::<FromAgent>(&mut &*bytes).await.unwrap(), word);
            bytes.clear();
        }
    }

    #[tokio::test]
    async fn what_is_not_known_is_passed_over_and_what_is_too_long_ends_the_connection() {
        let longer = [&9u64.to_le_bytes()[..], b"more"].concat();
        let bytes = [
            framed(VERSION, b'?', b"new"),
            framed(VERSION + 1, b'W', &1u64.to_le_bytes()),
            framed(VERSION, b'W', b"short"),
            framed(VERSION, b'W', &longer),
        ]
        .concat();
        assert_eq!(hear::<FromRunner>(&mut &*bytes).await.unwrap(), FromRunner::Written(9));
        for length in [0, 1, LONGEST + 1] {
            let error = hear::<FromRunner>(&mut &length.to_le_bytes()[..]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
