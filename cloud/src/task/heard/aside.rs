//! Words that the store does not take, although it answers: in ever smaller parts, so that a bad one ends up alone, and
//! beside the others, which do not wait for it.
//!
//! Parts are kept from one round to the next: each try either applies a part or halves it, however slowly it fails.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::id::AttemptId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{Heard, RETRY, apply};
use crate::{link::Links, task::commit::Commit};

/// Words that wait beside the others; beyond them everything waits, and the agents feel it.
const MOST: usize = 256;
/// How long a round goes on: whoever waits for it looks then what is left.
const ROUND: Duration = Duration::from_secs(5);
/// Parts that may fail in a round.
const FAILURES: usize = 64;
/// Between two rounds in which no more could be done than to try the same words again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is left of a batch.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<Vec<Heard>>);

impl Parts {
    /// Of a batch that has just failed as a whole.
    pub(super) fn of_failed(batch: Vec<Heard>) -> Self {
        let mut parts = Self::default();
        parts.halve(batch);
        parts
    }

    pub(super) fn words(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn halve(&mut self, mut part: Vec<Heard>) {
        let half = part.split_off(part.len() / 2);
        self.0.extend([part, half].into_iter().filter(|part| !part.is_empty()));
    }

    /// Tries each part once, those first that waited longest. Says whether less or smaller parts are left.
    pub(super) async fn round(&mut self, commit: &Commit, links: &Links) -> bool {
        let (mut failures, mut has_moved, began) = (0, false, Instant::now());
        for _ in 0..self.0.len() {
            let Some(part) = self.0.pop_front() else { break };
            match apply(commit, links, &part).await {
                Ok(()) => has_moved = true,
                Err(error) => {
                    failures += 1;
                    has_moved |= part.len() > 1;
                    if part.len() == 1 {
                        tracing::warn!(%error, words = ?part, "what an agent said waits beside the others");
                    }
                    self.halve(part);
                }
            }
            if failures >= FAILURES || began.elapsed() >= ROUND {
                break;
            }
        }
        has_moved
    }
}

/// What waits beside the others.
#[derive(Debug, Default)]
pub(super) struct Aside {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Not yet taken up by [`Aside::run`].
    new: Parts,
    /// Words of each attempt, also of those that are tried now.
    words: HashMap<AttemptId, usize>,
}

impl Aside {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch of which so little is left that others need not wait for it; otherwise gives it back.
    pub(super) fn take(&self, parts: Parts) -> Result<(), Parts> {
        let mut waiting = self.waiting();
        if waiting.words.values().sum::<usize>() + parts.words() > MOST {
            return Err(parts);
        }
        for word in parts.0.iter().flatten() {
            *waiting.words.entry(word.attempt).or_default() += 1;
        }
        waiting.new.0.extend(parts.0);
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// Takes out of a batch what is said of attempts of which something waits here already, as long as there is room: it
    /// would fail like that.
    pub(super) fn take_alike(&self, batch: &mut Vec<Heard>) {
        if self.waiting().words.is_empty() {
            return;
        }
        let known = |word: &Heard| self.waiting().words.contains_key(&word.attempt);
        let (alike, others): (Vec<_>, Vec<_>) = std::mem::take(batch).into_iter().partition(known);
        *batch = others;
        if let Err(Parts(full)) = self.take(Parts(alike.into_iter().map(|word| vec![word]).collect())) {
            batch.extend(full.into_iter().flatten());
        }
    }

    /// Tries what waits here, until it is dropped.
    pub(super) async fn run(&self, commit: &Commit, links: &Links) {
        let mut parts = Parts::default();
        loop {
            if parts.0.is_empty() && self.waiting().new.0.is_empty() {
                self.more.notified().await;
            }
            parts.0.append(&mut self.waiting().new.0);
            let has_moved = parts.round(commit, links).await;
            self.keep(&parts);
            sleep(if has_moved { RETRY } else { AGAIN }).await;
        }
    }

    /// Counts what waits anew, after some of it was applied.
    fn keep(&self, parts: &Parts) {
        let mut waiting = self.waiting();
        let mut words = HashMap::new();
        for word in parts.0.iter().chain(&waiting.new.0).flatten() {
            *words.entry(word.attempt).or_default() += 1;
        }
        waiting.words = words;
    }
}
