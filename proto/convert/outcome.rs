//! How an attempt ended.

use super::InvalidMessage;
use crate::{
    event::Stream,
    pb,
    task::{EventsDigest, ExecutionState, Outcome, StreamDigest},
};

/// Length of a BLAKE3 hash.
const HASH_LEN: usize = 32;

impl From<Outcome> for pb::Outcome {
    /// A state that is no end becomes `OUTCOME_KIND_UNSPECIFIED`, which nobody accepts.
    fn from(outcome: Outcome) -> Self {
        let kind = match outcome.state {
            ExecutionState::Succeeded => pb::OutcomeKind::Succeeded,
            ExecutionState::Failed => pb::OutcomeKind::Failed,
            ExecutionState::TimedOut => pb::OutcomeKind::TimedOut,
            ExecutionState::Canceled => pb::OutcomeKind::Canceled,
            ExecutionState::Refused => pb::OutcomeKind::Refused,
            ExecutionState::Expired => pb::OutcomeKind::Expired,
            ExecutionState::Lost => pb::OutcomeKind::Lost,
            ExecutionState::Held | ExecutionState::Queued | ExecutionState::Dispatched | ExecutionState::Running => {
                pb::OutcomeKind::Unspecified
            }
        };
        Self {
            kind: kind.into(),
            exit_code: outcome.exit_code,
            signal: outcome.signal.unwrap_or(0),
            reason: outcome.reason,
            message: outcome.message,
            streams: outcome.streams.into_iter().map(Into::into).collect(),
            started_time_us: outcome.started_time_us,
            finished_time_us: outcome.finished_time_us,
            events: outcome.events.map(|digest| pb::EventsDigest {
                version: digest.version,
                count: digest.count,
                blake3: digest.blake3,
            }),
        }
    }
}

impl TryFrom<pb::Outcome> for Outcome {
    type Error = InvalidMessage;

    fn try_from(outcome: pb::Outcome) -> Result<Self, InvalidMessage> {
        let state = match outcome.kind() {
            pb::OutcomeKind::Unspecified => return Err(InvalidMessage::new("outcome.kind", "must be given")),
            pb::OutcomeKind::Succeeded => ExecutionState::Succeeded,
            pb::OutcomeKind::Failed => ExecutionState::Failed,
            pb::OutcomeKind::TimedOut => ExecutionState::TimedOut,
            pb::OutcomeKind::Canceled => ExecutionState::Canceled,
            pb::OutcomeKind::Refused => ExecutionState::Refused,
            pb::OutcomeKind::Expired => ExecutionState::Expired,
            pb::OutcomeKind::Lost => ExecutionState::Lost,
        };
        let streams = outcome
            .streams
            .into_iter()
            .map(StreamDigest::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            state,
            exit_code: outcome.exit_code,
            signal: if outcome.signal == 0 {
                None
            } else {
                Some(outcome.signal)
            },
            reason: outcome.reason,
            message: outcome.message,
            streams,
            started_time_us: outcome.started_time_us,
            finished_time_us: outcome.finished_time_us,
            events: outcome.events.map(|digest| EventsDigest {
                version: digest.version,
                count: digest.count,
                blake3: digest.blake3,
            }),
        })
    }
}

impl From<StreamDigest> for pb::StreamDigest {
    fn from(digest: StreamDigest) -> Self {
        Self {
            stream: pb::Stream::from(digest.stream).into(),
            bytes: digest.bytes,
            blake3: digest.blake3,
        }
    }
}

impl TryFrom<pb::StreamDigest> for StreamDigest {
    type Error = InvalidMessage;

    fn try_from(digest: pb::StreamDigest) -> Result<Self, InvalidMessage> {
        if digest.blake3.len() != HASH_LEN {
            return Err(InvalidMessage::new(
                "streams.blake3",
                format!("has {} bytes instead of {HASH_LEN}", digest.blake3.len()),
            ));
        }
        Ok(Self {
            stream: digest.stream().try_into()?,
            bytes: digest.bytes,
            blake3: digest.blake3,
        })
    }
}

impl From<Stream> for pb::Stream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

impl TryFrom<pb::Stream> for Stream {
    type Error = InvalidMessage;

    fn try_from(stream: pb::Stream) -> Result<Self, InvalidMessage> {
        match stream {
            pb::Stream::Unspecified => Err(InvalidMessage::new("stream", "must be given")),
            pb::Stream::Stdout => Ok(Self::Stdout),
            pb::Stream::Stderr => Ok(Self::Stderr),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn outcome(state: ExecutionState) -> Outcome {
        Outcome {
            state,
            exit_code: Some(3),
            signal: None,
            reason: "EXIT_NONZERO".into(),
            message: "exit code 3".into(),
            streams: vec![StreamDigest {
                stream: Stream::Stderr,
                bytes: 7,
                blake3: Bytes::from_static(&[9; 32]),
            }],
            started_time_us: 1,
            finished_time_us: 2,
            events: Some(EventsDigest {
                version: 1,
                count: 2,
                blake3: Bytes::from_static(&[8; 32]),
            }),
        }
    }

    #[test]
    fn an_outcome_round_trips_exactly_when_its_state_is_an_end() {
        for state in ExecutionState::ALL {
            let back = Outcome::try_from(pb::Outcome::from(outcome(state)));
            assert_eq!(back.is_ok(), state.is_terminal(), "{state:?}");
            if let Ok(back) = back {
                assert_eq!(back, outcome(state));
            }
        }
    }

    #[test]
    fn a_hash_of_another_length_is_refused() {
        let mut wire = pb::Outcome::from(outcome(ExecutionState::Failed));
        wire.streams[0].blake3 = Bytes::from_static(&[1; 31]);
        assert_eq!(Outcome::try_from(wire).unwrap_err().field, "streams.blake3");
    }
}
