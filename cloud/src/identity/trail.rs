//! Audit rows of what others can make us write as often as they like: refusals above all, and reads of output.
//!
//! The first of a kind is written at once. What repeats it within the window is counted and written as one row when the
//! window ends. Kinds are bounded too, for each actor that we know and for each address of strangers: above it only what it
//! was about is left out, and the rest is counted together. So nobody fills the database with refusals, nothing is left
//! out of the count, and nobody hides among others what was done.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::attempts::address_key;
use crate::store::{Store, record::Audit};

/// Within this time a repetition is a count.
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds of one action of one actor that are told apart within a window.
const OF_ACTOR_MAX: usize = 256;
/// Kinds of one action from one address of strangers.
const OF_ADDRESS_MAX: usize = 32;
/// Kinds of all strangers. Actors that we know are few enough: somebody made each of them.
const OF_STRANGERS_MAX: usize = 1_024;
/// First rows that may wait for the store; what finds no place is counted with its repetitions.
const QUEUE_MAX: usize = 1_024;
/// What stands for more than is told apart.
const OTHERS: &str = "others";
/// Between two looks at windows that have ended.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where such rows go. Cheap to clone; never waits for the store.
#[derive(Debug, Clone)]
pub struct Trail {
    rows: mpsc::Sender<Audit>,
    counted: Arc<Mutex<Counted>>,
}

impl Trail {
    /// Starts writing into this store, until `stop`; then what was counted is written.
    pub fn start(store: Store, stop: CancellationToken) -> Self {
        let (rows, queue) = mpsc::channel(QUEUE_MAX);
        let counted = Arc::<Mutex<Counted>>::default();
        let writer = Writer {
            store,
            counted: Arc::clone(&counted),
        };
        // Ends with `stop`, or with the last clone of this.
        tokio::spawn(writer.run(queue, stop));
        Self { rows, counted }
    }

    /// Notes something that a stranger did: its actor is whatever it says that it is.
    pub fn note(&self, audit: Audit) {
        self.note_of(audit, Of::Address);
    }

    /// Notes something that an actor did whom we know.
    pub fn note_known(&self, audit: Audit) {
        self.note_of(audit, Of::Actor);
    }

    fn note_of(&self, audit: Audit, of: Of) {
        let mut counted = lock(&self.counted);
        let Some((kind, row)) = counted.note(audit.cut(), of, Instant::now()) else {
            return;
        };
        if self.rows.try_send(row).is_err() {
            counted.was_not_written(&kind);
        }
    }
}

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    store: Store,
    counted: Arc<Mutex<Counted>>,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Audit>, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    while let Ok(row) = queue.try_recv() {
                        self.write(row).await;
                    }
                    return self.close(true).await;
                }
                _ = look.tick() => self.close(false).await,
                row = queue.recv() => match row {
                    Some(row) => self.write(row).await,
                    None => return self.close(true).await,
                },
            }
        }
    }

    async fn close(&self, all: bool) {
        let rows = lock(&self.counted).close(Instant::now(), all);
        for row in rows {
            self.write(row).await;
        }
    }

    async fn write(&self, row: Audit) {
        if let Err(error) = self.store.audit_insert(row).await {
            tracing::warn!(%error, "an audit row of a refusal was not stored");
        }
    }
}

/// Who answers for a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    /// The actor: it has shown who it is.
    Actor,
    /// The address: the actor is what a stranger says.
    Address,
}

/// What was noted within the window. Pure: the time is an argument.
#[derive(Debug, Default)]
struct Counted {
    kinds: HashMap<Kind, Count>,
    /// Kinds of each that answers, by action.
    owners: HashMap<Owner, usize>,
    of_strangers: usize,
}

/// What counts as the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    owner: Owner,
    actor: String,
    resource: String,
    from: String,
}

/// Whoever has a number of kinds of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    of: Of,
    /// An actor, or an address; empty for what is left of all strangers.
    name: String,
    action: &'static str,
}

#[derive(Debug)]
struct Count {
    newest: Audit,
    repeated: u64,
    ends_at: Instant,
}

impl Owner {
    /// Says whether this is a kind for whatever has no kind of its own.
    fn is_full(&self, counted: &Counted) -> bool {
        let own = counted.owners.get(self).copied().unwrap_or(0);
        match self.of {
            Of::Actor => own >= OF_ACTOR_MAX,
            Of::Address => own >= OF_ADDRESS_MAX,
        }
    }
}

impl Counted {
    /// Notes something; returns the row to write now, if it is the first of its kind.
    fn note(&mut self, mut audit: Audit, of: Of, now: Instant) -> Option<(Kind, Audit)> {
        let kind = self.kind(&mut audit, of);
        match self.kinds.entry(kind.clone()) {
            Entry::Occupied(mut entry) => {
                let count = entry.get_mut();
                count.repeated += 1;
                count.newest = audit;
                None
            }
            Entry::Vacant(entry) => {
                entry.insert(Count {
                    newest: audit.clone(),
                    repeated: 0,
                    ends_at: now + WINDOW,
                });
                *self.owners.entry(kind.owner.clone()).or_default() += 1;
                self.of_strangers += usize::from(of == Of::Address);
                Some((kind, audit))
            }
        }
    }

    /// The kind of a note. Where there are as many as may be told apart, one for the rest, with what all of it has in
    /// common: the actor, or the address, or nothing.
    fn kind(&self, audit: &mut Audit, of: Of) -> Kind {
        let from = address_key(&audit.peer);
        let name = match of {
            Of::Actor => audit.actor.clone(),
            Of::Address => from.clone(),
        };
        let owner = Owner {
            of,
            name,
            action: audit.action,
        };
        let kind = Kind {
            owner,
            actor: audit.actor.clone(),
            resource: audit.resource.clone(),
            from,
        };
        if self.kinds.contains_key(&kind) {
            return kind;
        }
        let is_crowd = of == Of::Address && self.of_strangers >= OF_STRANGERS_MAX;
        if !is_crowd && !kind.owner.is_full(self) {
            return kind;
        }
        audit.resource = OTHERS.to_owned();
        let mut rest = Kind {
            owner: kind.owner,
            actor: String::new(),
            resource: OTHERS.to_owned(),
            from: String::new(),
        };
        if of == Of::Address {
            audit.actor = OTHERS.to_owned();
            // Of an address that is new to a crowd nothing more is kept: actions are few.
            if is_crowd && !self.kinds.contains_key(&rest) {
                audit.peer = String::new();
                rest.owner.name = String::new();
            }
        }
        rest
    }

    /// The first row of a kind found no place: it is counted.
    fn was_not_written(&mut self, kind: &Kind) {
        if let Some(count) = self.kinds.get_mut(kind) {
            count.repeated += 1;
        }
    }

    /// Ends windows whose time has come, or all of them; returns the rows of what was repeated in them.
    fn close(&mut self, now: Instant, all: bool) -> Vec<Audit> {
        let mut rows = Vec::new();
        let (owners, of_strangers) = (&mut self.owners, &mut self.of_strangers);
        self.kinds.retain(|kind, count| {
            let ended = all || count.ends_at <= now;
            if ended {
                if count.repeated > 0 {
                    rows.push(repeated(&count.newest, count.repeated));
                }
                *of_strangers -= usize::from(kind.owner.of == Of::Address);
                if let Some(own) = owners.get_mut(&kind.owner) {
                    *own -= 1;
                    if *own == 0 {
                        owners.remove(&kind.owner);
                    }
                }
            }
            !ended
        });
        rows
    }
}

fn repeated(newest: &Audit, times: u64) -> Audit {
    let mut row = newest.clone();
    let seconds = WINDOW.as_secs();
    row.detail = match row.detail.as_str() {
        "" => format!("{times} more times within {seconds} s"),
        detail => format!("{detail}; {times} more times within {seconds} s"),
    };
    row
}

#[cfg(test)]
mod tests {
    use opslink::time::UnixMicros;

    use super::*;

    fn denied(actor: &str, resource: &str, peer: &str) -> Audit {
        Audit {
            time: UnixMicros(1),
            actor: actor.to_owned(),
            actor_role: None,
            action: "auth.denied",
            resource: resource.to_owned(),
            detail: "UNAUTHENTICATED".to_owned(),
            peer: peer.to_owned(),
        }
    }

    fn written(counted: &mut Counted, audit: Audit, of: Of, now: Instant) -> Option<Audit> {
        counted.note(audit, of, now).map(|(_, row)| row)
    }

    #[test]
    fn a_repetition_is_a_count_and_the_first_a_row() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let mut note = |resource: &str, port: u16, now: Instant| {
            let audit = denied("a", resource, &format!("10.0.0.1:{port}"));
            written(&mut counted, audit, Of::Address, now).is_some()
        };
        assert!(note("rpc/X", 1, now));
        for port in 2..613 {
            assert!(!note("rpc/X", port, now), "another port is no other kind");
        }
        assert!(note("rpc/Y", 1, now));
        assert!(counted.close(now, false).is_empty(), "the window is open");
        let rows = counted.close(now + WINDOW, false);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].detail, "UNAUTHENTICATED; 611 more times within 60 s");
        let again = denied("a", "rpc/X", "10.0.0.1:1");
        assert!(written(&mut counted, again, Of::Address, now + WINDOW).is_some());
    }

    #[test]
    fn kinds_of_strangers_are_bounded_and_none_is_left_out() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let mut firsts = 0;
        for n in 0..10_000 {
            let audit = denied(&n.to_string(), "rpc/X", &format!("10.0.{}.1:1", n % 100));
            firsts += u64::from(written(&mut counted, audit, Of::Address, now).is_some());
        }
        assert!(counted.kinds.len() <= OF_STRANGERS_MAX + 1, "{}", counted.kinds.len());
        let rows = counted.close(now, true);
        assert!(rows.iter().all(|row| row.actor == OTHERS));
        let words = rows.iter().flat_map(|row| row.detail.split(' '));
        let repeated: u64 = words
            .filter_map(|word| word.parse::<u64>().ok())
            .filter(|n| *n != 60)
            .sum();
        assert_eq!(firsts + repeated, 10_000);
        assert_eq!((counted.owners.len(), counted.of_strangers), (0, 0));
    }

    /// A5: whoever noted much first hid what came later, of anybody.
    #[test]
    fn nobody_hides_what_another_reads_and_of_ones_own_reads_the_actor_and_the_address_stay() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        for n in 0..300 {
            let audit = denied(
                &format!("name-{n}"),
                &format!("user/{n}"),
                &format!("10.1.0.{}:1", n % 10),
            );
            counted.note(audit, Of::Address, now);
        }
        let read = |actor: &str, n: usize| denied(actor, &format!("task/{n}"), "10.0.0.1:1");
        for n in 0..OF_ACTOR_MAX {
            let row = written(&mut counted, read("token:a", n), Of::Actor, now);
            assert_eq!(row.unwrap().resource, format!("task/{n}"));
        }
        let rest = written(&mut counted, read("token:a", 999), Of::Actor, now).unwrap();
        assert_eq!(
            (rest.actor.as_str(), rest.resource.as_str(), rest.peer.as_str()),
            ("token:a", OTHERS, "10.0.0.1:1")
        );
        assert!(written(&mut counted, read("token:a", 1_000), Of::Actor, now).is_none());
        let other = written(&mut counted, read("token:b", 7), Of::Actor, now).unwrap();
        assert_eq!((other.actor.as_str(), other.resource.as_str()), ("token:b", "task/7"));
        // A stranger that calls itself so is another one.
        assert!(written(&mut counted, read("token:b", 7), Of::Address, now).is_some());
    }

    #[test]
    fn a_first_row_that_finds_no_place_is_counted() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let (kind, _) = counted
            .note(denied("a", "rpc/X", "10.0.0.1:1"), Of::Address, now)
            .unwrap();
        counted.was_not_written(&kind);
        let rows = counted.close(now, true);
        assert_eq!(rows[0].detail, "UNAUTHENTICATED; 1 more times within 60 s");
    }
}
