//! Stored output, decoded here by the same codec that made it.

use opslink::{
    chunk,
    event::Event,
    pb::{self, LogChunk, read_log_request::Start},
};

use super::{
    Answer, Failure,
    call::{Messages, open},
};
use crate::{i18n::t, logic::methods};

/// Sends the chunks of an attempt from a place on; `max_chunks` 0 means all.
pub(crate) async fn read_log(
    attempt_id: String,
    start: Start,
    max_chunks: u32,
) -> Answer<Messages<pb::ReadLogResponse>> {
    let message = pb::ReadLogRequest {
        attempt_id,
        max_chunks,
        decode: false,
        start: Some(start),
    };
    open(methods::READ_LOG, message).await
}

/// The events of a chunk.
pub(crate) fn decode(chunk: &LogChunk) -> Answer<Vec<Event>> {
    chunk::decode(chunk).map_err(|error| Failure {
        reason: "CHUNK_BROKEN".into(),
        what: t("error-chunk"),
        why: error.to_string(),
        fix: t("error-chunk-fix"),
    })
}
