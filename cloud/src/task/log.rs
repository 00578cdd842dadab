//! Stored output of one attempt: its index, and its chunks from a place on.

use futures::Stream;
use opslink::{chunk, id::AttemptId, pb, pb::read_log_request::Start, problem::Problem, reason::Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Engine,
    view::{bad_token, chunk_pb, page_size},
};
use crate::{service::status::store_problem as problem, store::record::ChunkStart};

/// Chunks of an index page, as in the .proto file.
const INDEX_MAX: u32 = 10_000;
/// Payload that is read at once.
const READ_BYTES: usize = 2 << 20;
/// Chunks above this size are decoded on a thread that may take its time.
const DECODE_INLINE_MAX: u64 = 1 << 20;
/// Messages that wait for the caller.
const QUEUE: usize = 16;

impl Engine {
    /// Lists the chunks of an attempt without their payloads.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, `INVALID_ARGUMENT` for a bad page, or what the store says.
    pub async fn list_chunks(&self, request: pb::ListChunksRequest) -> Result<pb::ListChunksResponse, Problem> {
        let attempt = self.attempt(&request.attempt_id).await?;
        let page_size = page_size(request.page_size, INDEX_MAX, INDEX_MAX)?;
        let from = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| bad_token())?,
        };
        let chunks = self
            .store
            .chunk_index(attempt, from, page_size)
            .await
            .map_err(problem)?;
        let full = chunks.len() >= page_size as usize;
        let next_page_token = match chunks.last() {
            Some(last) if full && last.outcome.is_none() => last.next_seq().to_string(),
            Some(_) | None => String::new(),
        };
        Ok(pb::ListChunksResponse {
            chunks: chunks.iter().map(chunk_pb).collect(),
            next_page_token,
        })
    }

    /// Sends the stored chunks of an attempt from a place on.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, or what the store says.
    pub async fn read_log(
        &self,
        request: pb::ReadLogRequest,
    ) -> Result<impl Stream<Item = Result<pb::ReadLogResponse, Problem>> + Send + use<>, Problem> {
        let attempt = self.attempt(&request.attempt_id).await?;
        let start = match request.start {
            None => ChunkStart::Seq(0),
            Some(Start::FromSeq(seq)) => ChunkStart::Seq(seq),
            Some(Start::FromLine(line)) => ChunkStart::Line(line),
            Some(Start::TailLines(lines)) => self.tail_start(attempt, lines).await?,
        };
        let left = if request.max_chunks == 0 {
            u64::MAX
        } else {
            request.max_chunks.into()
        };
        let (out, messages) = mpsc::channel(QUEUE);
        let engine = self.clone();
        // Ends with the stored output, with its caller, or with the engine.
        self.spawn(async move {
            if let Err(problem) = engine.send_log(attempt, start, left, request.decode, &out).await {
                // An error means that the caller has gone.
                let _ = out.send(Err(problem)).await;
            }
        });
        Ok(ReceiverStream::new(messages))
    }

    async fn send_log(
        &self,
        attempt: AttemptId,
        mut start: ChunkStart,
        mut left: u64,
        decoded: bool,
        out: &mpsc::Sender<Result<pb::ReadLogResponse, Problem>>,
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
                if decoded {
                    events = decode(chunk.clone()).await?;
                    chunk.payload.clear();
                }
                if out
                    .send(Ok(pb::ReadLogResponse {
                        chunk: Some(chunk),
                        events,
                    }))
                    .await
                    .is_err()
                {
                    return Ok(());
                }
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

/// Decodes a chunk into wire events; big ones on a thread that may take its time.
pub(super) async fn decode(chunk: pb::LogChunk) -> Result<Vec<pb::Event>, Problem> {
    let invalid = |attempt: &str, detail: &dyn std::fmt::Display| {
        Problem::new(Reason::ChunkInvalid)
            .with("attempt", attempt)
            .with("detail", detail)
    };
    let events = |chunk: &pb::LogChunk| chunk::decode(chunk).map(|events| events.into_iter().map(Into::into).collect());
    let attempt = chunk.attempt_id.clone();
    let decoded = if chunk.raw_size <= DECODE_INLINE_MAX {
        events(&chunk)
    } else {
        let work = tokio::task::spawn_blocking(move || events(&chunk)).await;
        work.map_err(|error| invalid(&attempt, &error))?
    };
    decoded.map_err(|error| invalid(&attempt, &error))
}
