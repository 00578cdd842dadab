//! Answers that go on (`WatchTask`, `ReadLog`, `WatchAgents`): how many of them one caller may have open, and all callers
//! together.
//!
//! Who does not read what it asked for has the cloud keep some 1 MiB a stream (`task/unread.rs`), and its part of the rings
//! of what is watched (`tail.rs`). A stream is open until all but 2 KiB of its answer has left
//! (`server/going.rs`). So it weighs 1 when it opens, and more once it turns out to take more:
//!
//! ```text
//! of each 5,000 executions of a watched task, rounded   + 1   (`task/watch/opening.rs`: 3 of 10,000)
//! with a message above 384 KiB                          + 3   (`task/unread.rs`: 4 in all)
//! with one that is decoded and has more                 + 1   of each MiB
//! ```
//!
//! What is bounded is the weight, so this is what a caller can take of the cloud's memory, beside its calls
//! (`server/room.rs`):
//!
//! ```text
//! one       40 × 1 MiB + 8 MiB    = 48 MiB, and 16 MiB of calls
//! all       512 × 1 MiB + 64 MiB  = 576 MiB, if nobody reads anything
//! ```
//!
//! What is rounded is beside that: 0.5 MiB a stream, if each watches a task on just below 2,500 agents.
//!
//! A stream that may not grow ends, with what a further one would be refused with: whoever waits for a place then goes on
//! from where it was.
//!
//! Streams that are read cost some kilobytes: the number is for those that are not, with room for the jobs that one token
//! runs beside each other. It stays below the calls that one connection carries (`tls/settings.rs`) and the connections
//! that one actor has (`tls/limits.rs`): whoever asks for one too many is told so, and neither left waiting nor cut off.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use opslink::{problem::Problem, reason::Reason};

/// Streams of one actor, by weight. A person, with all its sessions, or a token; agents have none.
pub(crate) const STREAMS_OF_ONE: usize = 40;
/// Streams of all actors, by weight.
const IN_ALL: usize = 512;
/// The last quarter is kept for actors with no more than this, so that those that take all they get shut nobody out.
const FEW: usize = 8;

/// The open streams of one cloud, by actor.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    of: HashMap<String, Own>,
    /// Of all.
    weight: usize,
}

/// What one actor has open.
#[derive(Debug, Default, Clone, Copy)]
struct Own {
    streams: usize,
    weight: usize,
}

/// One open stream; dropping it makes room for the next one.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Arc<Streams>,
    actor: String,
    /// Changes under the lock of all streams.
    weight: AtomicUsize,
}

/// Where the place of one stream is kept: by the stream, and by its answer (`server/going.rs`) until all but the last of it
/// has left, since a stream is over long before that for whoever takes nothing. In the extensions of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Arc<OpenStream>>>>);

/// Makes a stream heavier, wherever it turns out to be. It keeps no place: that goes with the stream, and what has ended
/// (or is not counted at all) always grows.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamWeight(Weak<OpenStream>);

impl Streams {
    /// Counts one more stream of this actor.
    ///
    /// # Errors
    /// `TOO_MANY_STREAMS` when the actor has as many as it may, `OVERLOADED` when all together have.
    pub(crate) fn open(self: &Arc<Self>, actor: &str) -> Result<Arc<OpenStream>, Problem> {
        let mut open = self.lock();
        open.add(actor, 1)?.streams += 1;
        drop(open);
        Ok(Arc::new(OpenStream {
            streams: Arc::clone(self),
            actor: actor.to_owned(),
            weight: AtomicUsize::new(1),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Adds weight to what this actor has open.
    fn add(&mut self, actor: &str, more: usize) -> Result<&mut Own, Problem> {
        let own = self.of.get(actor).copied().unwrap_or_default();
        let weight = own.weight.saturating_add(more);
        if weight > STREAMS_OF_ONE {
            return Err(Problem::new(Reason::TooManyStreams)
                .with("actor", actor)
                .with("streams", own.streams));
        }
        let kept = if weight <= FEW { 0 } else { IN_ALL / 4 };
        let in_all = self.weight.saturating_add(more);
        if in_all > IN_ALL - kept {
            return Err(Reason::Overloaded.into());
        }
        self.weight = in_all;
        let own = self.of.entry(actor.to_owned()).or_default();
        own.weight = weight;
        Ok(own)
    }
}

impl OpenStream {
    /// What makes this stream heavier.
    pub(crate) fn weight(self: &Arc<Self>) -> StreamWeight {
        StreamWeight(Arc::downgrade(self))
    }
}

impl Kept {
    /// Keeps a place.
    pub(super) fn keep(&self, open: Arc<OpenStream>) {
        *self.lock() = Some(open);
    }

    /// Gives it up, whoever else keeps it.
    pub(crate) fn give_up(&self) -> Option<Arc<OpenStream>> {
        self.lock().take()
    }

    /// What makes the stream heavier whose place this is.
    pub(super) fn weight(&self) -> StreamWeight {
        self.lock().as_ref().map(OpenStream::weight).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OpenStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamWeight {
    /// Adds weight to the stream, which goes with it.
    ///
    /// # Errors
    /// As [`Streams::open`]; the stream has to end.
    pub(crate) fn grow(&self, more: usize) -> Result<(), Problem> {
        // Outlives the lock below, which its end takes too.
        let Some(stream) = self.0.upgrade() else { return Ok(()) };
        let mut open = stream.streams.lock();
        open.add(&stream.actor, more)?;
        stream.weight.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let weight = self.weight.load(Ordering::Relaxed);
        let mut open = self.streams.lock();
        open.weight = open.weight.saturating_sub(weight);
        if let Some(own) = open.of.get_mut(&self.actor) {
            own.streams = own.streams.saturating_sub(1);
            own.weight = own.weight.saturating_sub(weight);
            if own.streams == 0 {
                open.of.remove(&self.actor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(streams: &Arc<Streams>, actor: &str) -> Vec<Arc<OpenStream>> {
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
        assert_eq!((open.weight, open.of.len()), (0, 0), "nothing is left of them");
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

    #[test]
    fn a_stream_that_grows_counts_as_several_until_it_ends() {
        let streams = Arc::new(Streams::default());
        let heavy = streams.open("token:a").unwrap();
        heavy.weight().grow(3).unwrap();
        let light = take(&streams, "token:a");
        assert_eq!(light.len(), STREAMS_OF_ONE - 4);
        // As one that is open, and as a further one.
        for refused in [
            light[0].weight().grow(1).unwrap_err(),
            streams.open("token:a").unwrap_err(),
        ] {
            assert_eq!(refused.reason, Reason::TooManyStreams);
            assert_eq!(refused.args["streams"], (STREAMS_OF_ONE - 3).to_string());
        }
        let weight = heavy.weight();
        drop(heavy);
        weight.grow(STREAMS_OF_ONE).expect("what has ended takes nothing");
        let rest = take(&streams, "token:a");
        assert_eq!(rest.len(), 4, "its whole weight went with it");
        drop((light, rest));
        let open = streams.lock();
        assert_eq!((open.weight, open.of.len()), (0, 0), "nothing is left of them");
    }

    #[test]
    fn heavy_streams_fill_what_all_have_together() {
        let streams = Arc::new(Streams::default());
        let few = streams.open("token:few").unwrap();
        let actors = (0..).map(|number| format!("token:{number}"));
        let heavy = actors.map_while(|actor| {
            let heavy = streams.open(&actor).ok()?;
            heavy.weight().grow(STREAMS_OF_ONE - 1).ok()?;
            Some(heavy)
        });
        let heavy: Vec<_> = heavy.collect();
        assert_eq!(heavy.len(), (IN_ALL - IN_ALL / 4 - 1) / STREAMS_OF_ONE);
        few.weight().grow(FEW - 1).expect("some is kept for those with few");
        let refused = few.weight().grow(STREAMS_OF_ONE - FEW).unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
    }
}
