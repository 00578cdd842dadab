//! Stored output of one attempt: its index, and its chunks from a place on.

use futures::Stream;
use opslink::{
    chunk,
    event::{Event, EventBody, Level, Note},
    id::AttemptId,
    pb,
    problem::Problem,
    reason::Reason,
    time::UnixMicros,
};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Page, Piece},
    request::{ListChunks, LogStart, ReadLog},
    spawn_until,
    unread::{self, NoPlace, Unread},
};
use crate::{
    blocking::off_thread,
    identity::StreamWeight,
    status::store_problem as problem,
    store::{
        Store,
        record::{Chunk, ChunkStart},
    },
};

/// Payload that is read at once.
const READ_BYTES: usize = 256 << 10;
/// Chunks above this size are decoded on a thread that may take its time.
const DECODE_INLINE_MAX: u64 = 1 << 20;

/// Reads stored output. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogReader {
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
}

impl LogReader {
    /// Lists the chunks of an attempt without their payloads.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, or what the store says.
    pub(crate) async fn list_chunks(&self, request: ListChunks) -> Result<Page<pb::LogChunk, u64>, Problem> {
        let ListChunks {
            attempt,
            from,
            page_size,
        } = request;
        let attempt = self.attempt(&attempt).await?;
        let chunks = self
            .store
            .chunk_index(attempt, from, page_size)
            .await
            .map_err(problem)?;
        let is_full = chunks.len() >= page_size as usize;
        let last = chunks.last().filter(|last| is_full && last.outcome.is_none());
        Ok(Page {
            items: chunks.iter().map(chunk_pb).collect(),
            next: last.map(Chunk::next_seq),
        })
    }

    /// Sends the stored chunks of an attempt from a place on. Large ones make the stream heavier, and end it where there is
    /// no room for that.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, or what the store says.
    pub(crate) async fn read_log(
        &self,
        request: ReadLog,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<Piece, Problem>> + Send + use<>, Problem> {
        let attempt = self.attempt(&request.attempt).await?;
        let start = match request.start {
            LogStart::At(start) => start,
            LogStart::Tail(lines) => self.tail_start(attempt, lines).await?,
        };
        let ReadLog { max_chunks, decode, .. } = request;
        let (out, messages) = unread::queue(weight);
        let reader = self.clone();
        // Ends with the stored output, with its caller, or with the engine.
        spawn_until(&self.stop, async move {
            if let Err(problem) = reader.send_log(attempt, start, max_chunks, decode, &out).await {
                // An error means that the caller has gone.
                let _ = out.send(Err(problem), 0).await;
            }
        });
        Ok(messages)
    }

    async fn send_log(
        &self,
        attempt: AttemptId,
        mut start: ChunkStart,
        mut left: u64,
        decoded: bool,
        out: &Unread<Result<Piece, Problem>>,
    ) -> Result<(), Problem> {
        while left > 0 {
            let chunks = self
                .store
                .chunk_read(attempt, start, READ_BYTES)
                .await
                .map_err(problem)?;
            let Some(last) = chunks.last() else { break };
            start = ChunkStart::Seq(last.next_seq());
            for chunk in chunks.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                let mut chunk = chunk_pb(chunk);
                let mut events = Vec::new();
                let place = match decoded {
                    true => out.place_decoded(&chunk).await,
                    false => out.place(chunk.payload.len()).await,
                };
                let place = match place {
                    Ok(place) => place,
                    Err(NoPlace::Gone) => return Ok(()),
                    Err(NoPlace::TooHeavy(problem)) => return Err(problem),
                };
                if decoded {
                    events = decode_or_tell(&chunk).await;
                    out.weigh_decoded(&chunk, &events)?;
                    chunk.payload.clear();
                }
                place.put(Ok(Piece { chunk, events }));
                left -= 1;
            }
        }
        Ok(())
    }

    /// The place from which on there are so many lines.
    async fn tail_start(&self, attempt: AttemptId, lines: u64) -> Result<ChunkStart, Problem> {
        let next_seq = self.store.chunk_next_seq(&[attempt]).await.map_err(problem)?;
        let last = next_seq.first().copied().unwrap_or(0).saturating_sub(1);
        let index = self.store.chunk_index(attempt, last, 1).await.map_err(problem)?;
        let total = index
            .first()
            .map_or(0, |chunk| chunk.first_line.saturating_add(chunk.line_count));
        Ok(ChunkStart::Line(total.saturating_sub(lines)))
    }

    async fn attempt(&self, id: &str) -> Result<AttemptId, Problem> {
        let not_found = || Problem::new(Reason::AttemptNotFound).with("attempt", id);
        let attempt = id.parse().map_err(|_| not_found())?;
        let known = self.store.attempt_get(attempt).await.map_err(problem)?;
        known.map(|known| known.id).ok_or_else(not_found)
    }
}

/// The form of a stored chunk that travels; shares the payload.
pub(super) fn chunk_pb(chunk: &Chunk) -> pb::LogChunk {
    pb::LogChunk {
        attempt_id: chunk.attempt_id.to_string(),
        first_seq: chunk.first_seq,
        event_count: chunk.event_count,
        first_line: chunk.first_line,
        line_count: chunk.line_count,
        raw_size: chunk.raw_size,
        first_time_us: chunk.first_time.0,
        last_time_us: chunk.last_time.0,
        codec: chunk.codec,
        payload: chunk.payload.clone(),
        outcome: chunk.outcome.clone().map(Into::into),
    }
}

/// The events of a chunk; one that cannot be decoded becomes one note that says so: it costs itself only.
pub(super) async fn decode_or_tell(chunk: &pb::LogChunk) -> Vec<Event> {
    match decode(chunk.clone()).await {
        Ok(events) => events,
        Err(_) => {
            let last = chunk::next_seq(chunk).saturating_sub(1);
            let message = format!("events {} to {last} cannot be read", chunk.first_seq);
            vec![unreadable(chunk.first_time_us, message)]
        }
    }
}

/// What stands for all output from this event on, when what is stored of it cannot be read.
pub(super) fn left_out(first_seq: u64) -> Event {
    let message = format!("what is stored from event {first_seq} on cannot be read");
    unreadable(UnixMicros::now().0, message)
}

fn unreadable(time_us: i64, message: String) -> Event {
    let note = Note {
        level: Level::Error,
        reason: Reason::ChunkInvalid.code().to_owned(),
        message,
    };
    Event {
        time_us,
        body: EventBody::Note(note),
    }
}

/// Decodes a chunk; big ones on a thread that may take its time.
async fn decode(chunk: pb::LogChunk) -> Result<Vec<Event>, Problem> {
    let invalid = |attempt: &str, detail: &dyn std::fmt::Display| {
        Problem::new(Reason::ChunkInvalid)
            .with("attempt", attempt)
            .with("detail", detail)
    };
    let attempt = chunk.attempt_id.clone();
    let decoded = if chunk.raw_size <= DECODE_INLINE_MAX {
        chunk::decode(&chunk)
    } else {
        let work = off_thread(move || chunk::decode(&chunk)).await;
        work.ok_or_else(|| invalid(&attempt, &"the thread that decoded it was ended"))?
    };
    decoded.map_err(|error| invalid(&attempt, &error))
}
