//! Answers that go on (`WatchTask`, `ReadLog`, `WatchAgents`): how many of them one caller may have open, and all callers
//! together.
//!
//! Who does not read what it asked for has the cloud keep 1 MiB a stream (`task/unread.rs`), and its part of the rings of
//! what is watched (`tail.rs`), so this is what a caller can take of its memory, beside its calls (`server/room.rs`):
//!
//! ```text
//! a stream  1 MiB                 and 2 MiB more when it watches a task on 10,000 agents
//! one       40 × 1 MiB + 8 MiB    = 48 MiB, and 16 MiB of calls
//! all       512 × 1 MiB + 64 MiB  = 576 MiB, if nobody reads anything
//! ```
//!
//! Streams that are read cost some kilobytes: the number is for those that are not, with room for the jobs that one token
//! runs beside each other. It stays below the calls that one connection carries (`tls/connection.rs`) and the connections
//! that one actor has (`tls/limits.rs`): whoever asks for one too many is told so, and neither left waiting nor cut off.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opslink::{problem::Problem, reason::Reason};

/// Streams of one actor. A person, with all its sessions, or a token; agents have none.
pub(crate) const STREAMS_OF_ONE: usize = 40;
/// Streams of all actors.
const IN_ALL: usize = 512;
/// The last quarter is kept for actors with fewer than this, so that those that take all they get shut nobody out.
const FEW: usize = 8;

/// The open streams of one cloud, by actor.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    of: HashMap<String, usize>,
    in_all: usize,
}

/// One open stream; dropping it makes room for the next one.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: Arc<Streams>,
    actor: String,
}

impl Streams {
    /// Counts one more stream of this actor.
    ///
    /// # Errors
    /// `TOO_MANY_STREAMS` when the actor has as many as it may, `OVERLOADED` when all together have.
    pub(super) fn open(self: &Arc<Self>, actor: &str) -> Result<OpenStream, Problem> {
        let mut open = self.lock();
        let own = open.of.get(actor).copied().unwrap_or(0);
        if own >= STREAMS_OF_ONE {
            return Err(Problem::new(Reason::TooManyStreams)
                .with("actor", actor)
                .with("streams", own));
        }
        let kept = if own < FEW { 0 } else { IN_ALL / 4 };
        if open.in_all >= IN_ALL - kept {
            return Err(Reason::Overloaded.into());
        }
        open.in_all += 1;
        *open.of.entry(actor.to_owned()).or_default() += 1;
        drop(open);
        Ok(OpenStream {
            streams: Arc::clone(self),
            actor: actor.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.in_all = open.in_all.saturating_sub(1);
        if let Some(own) = open.of.get_mut(&self.actor) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.of.remove(&self.actor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(streams: &Arc<Streams>, actor: &str) -> Vec<OpenStream> {
        (0..2 * STREAMS_OF_ONE)
            .map_while(|_| streams.open(actor).ok())
            .collect()
    }

    #[test]
    fn one_actor_has_its_number_and_gets_it_back() {
        let streams = Arc::new(Streams::default());
        let all = take(&streams, "token:a");
        assert_eq!(all.len(), STREAMS_OF_ONE);
        let refused = streams.open("token:a").unwrap_err();
        assert_eq!(refused.reason, Reason::TooManyStreams);
        assert_eq!(
            (&refused.args["actor"], &refused.args["streams"]),
            (&"token:a".to_owned(), &STREAMS_OF_ONE.to_string())
        );
        assert!(streams.open("token:b").is_ok());
        drop(all);
        assert_eq!(take(&streams, "token:a").len(), STREAMS_OF_ONE);
        let open = streams.lock();
        assert_eq!((open.in_all, open.of.len()), (0, 0), "nothing is left of them");
    }

    #[test]
    fn those_that_take_all_they_get_leave_some_to_others() {
        let streams = Arc::new(Streams::default());
        let greedy: Vec<_> = (0..10).flat_map(|n| take(&streams, &format!("token:{n}"))).collect();
        assert!(greedy.len() < IN_ALL, "{}", greedy.len());
        let refused = streams.open("token:9").unwrap_err();
        assert_eq!(
            refused.reason,
            Reason::Overloaded,
            "it is not its own streams that are too many"
        );
        let honest = take(&streams, "token:honest");
        assert!((1..=FEW).contains(&honest.len()), "{}", honest.len());
        drop((greedy, honest));
        assert_eq!(take(&streams, "token:0").len(), STREAMS_OF_ONE);
    }
}
