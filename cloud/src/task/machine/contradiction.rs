//! Ends that contradict themselves. An agent is believed about what only it can know, and not about what cannot be.
//!
//! ```text
//! expired                              ► lost: what waits is the cloud's; this was handed over, and may have run
//! refused, and with output or an exit  ► lost: it says that nothing ran, and what ran
//! succeeded, and not with exit code 0  ► failed
//! ```
//!
//! No agent since 0.1.0 says one of these: it is broken, or not one of ours. Everything else that it said is kept.

use opslink::{
    reason::Reason,
    task::{ExecutionState as S, Outcome},
};

/// What is stored of the end that an agent tells: the same, or what is left of one that contradicts itself.
pub(super) fn believable(told: &Outcome) -> Outcome {
    let exit = told.exit_code.map(|code| format!("exit code {code}"));
    let end = told.signal.map(|signal| format!("signal {signal}")).or(exit);
    let with_output = told.streams.iter().any(|stream| stream.bytes > 0);
    let (state, message) = match told.state {
        S::Expired => (
            S::Lost,
            "the agent says that it expired in a queue, after it was handed over; it may have run".to_owned(),
        ),
        S::Refused => match end {
            Some(end) => (
                S::Lost,
                format!("the agent says that it was not started, and that it ended with {end}; it may have run"),
            ),
            None if with_output => (
                S::Lost,
                "the agent says that it was not started, and that there is output; it may have run".to_owned(),
            ),
            None => return told.clone(),
        },
        S::Succeeded if told.signal.is_some() || told.exit_code.is_some_and(|code| code != 0) => {
            let end = end.unwrap_or_default();
            (
                S::Failed,
                format!("the agent says that it succeeded, and that it ended with {end}"),
            )
        }
        S::Held
        | S::Queued
        | S::Dispatched
        | S::Running
        | S::Succeeded
        | S::Failed
        | S::TimedOut
        | S::Canceled
        | S::Lost => return told.clone(),
    };
    Outcome {
        state,
        reason: Reason::OutcomeContradictory.code().to_owned(),
        message,
        ..told.clone()
    }
}

#[cfg(test)]
mod tests {
    use opslink::{event::Stream, id::AttemptId, task::StreamDigest, time::UnixMicros};

    use super::*;
    use crate::task::machine::{Effect, Event, Life, nothing_ran, step};

    fn told(state: S, exit_code: Option<i32>, signal: Option<i32>, bytes: u64) -> Outcome {
        Outcome {
            exit_code,
            signal,
            streams: vec![StreamDigest {
                stream: Stream::Stdout,
                bytes,
                blake3: vec![9_u8; 32].into(),
            }],
            ..nothing_ran(state, "REASON", "message", UnixMicros(1))
        }
    }

    #[test]
    fn an_end_that_contradicts_itself_is_told_as_what_it_leaves_certain() {
        for (told, state) in [
            (told(S::Expired, None, None, 0), S::Lost),
            (told(S::Expired, Some(0), None, 3), S::Lost),
            (told(S::Refused, None, None, 1), S::Lost),
            (told(S::Refused, Some(1), None, 0), S::Lost),
            (told(S::Refused, None, Some(9), 0), S::Lost),
            (told(S::Succeeded, Some(7), None, 3), S::Failed),
            (told(S::Succeeded, None, Some(15), 0), S::Failed),
        ] {
            let kept = believable(&told);
            assert_eq!(
                (kept.state, kept.reason.as_str()),
                (state, "OUTCOME_CONTRADICTORY"),
                "{told:?}"
            );
            assert!(kept.message.starts_with("the agent says that it "), "{}", kept.message);
            let same = Outcome {
                state: told.state,
                reason: told.reason.clone(),
                message: told.message.clone(),
                ..kept
            };
            assert_eq!(same, told, "the rest is kept");
        }
    }

    #[test]
    fn what_agents_say_of_what_can_be_is_kept() {
        for told in [
            told(S::Succeeded, Some(0), None, 3),
            // SQL has none.
            told(S::Succeeded, None, None, 3),
            told(S::Refused, None, None, 0),
            // Its output could not be kept, although it went well.
            told(S::Failed, Some(0), None, 3),
            told(S::Canceled, Some(0), None, 3),
            told(S::TimedOut, None, Some(15), 3),
            told(S::Lost, None, None, 3),
        ] {
            assert_eq!(believable(&told), told);
        }
    }

    #[test]
    fn an_execution_ends_as_what_is_believed() {
        let attempt = AttemptId::from_uuid(uuid::Uuid::from_u128(1));
        let running = Life {
            state: S::Running,
            attempt: Some(attempt),
            number: 1,
            queue_deadline: None,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            outcome: None,
            verified: false,
        };
        let ended = |outcome| Event::Ended {
            attempt,
            outcome,
            verified: true,
        };
        for (outcome, state) in [
            (told(S::Succeeded, Some(7), None, 0), S::Failed),
            (told(S::Refused, None, None, 1), S::Lost),
            (told(S::Expired, None, None, 0), S::Lost),
        ] {
            let (life, effects) = step(&running, &ended(outcome), UnixMicros(5)).expect("an end");
            assert_eq!((life.state, life.outcome.map(|kept| kept.state)), (state, Some(state)));
            // The agent has said what it has to say, and lets go of it.
            assert_eq!(effects, [Effect::Archive(attempt), Effect::Finished]);
        }
    }
}
