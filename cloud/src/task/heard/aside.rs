//! Words that the store does not take, although it answers: in ever smaller parts, so that a bad one ends up alone, and
//! beside the others, which do not wait for it.
//!
//! Each try either applies a part or halves it, however slowly it fails. What is said of one attempt stays together and in
//! its order: it is never halved, and what comes later waits behind it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::id::AttemptId;
use tokio::{sync::Notify, time::sleep};

use super::{Heard, RETRY, apply, too_much};
use crate::{link::Links, task::commit::Commit};

/// Words that wait beside the others; beyond them everything waits, and the agents feel it.
const MOST: usize = 256;
/// Different words of one attempt that may wait. An agent has some five to say; what is more is for its next link, or
/// made up.
const MOST_OF_ONE: usize = 8;
/// Between two tries when nothing is left but to try the same again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is left of a batch, the part first that waited longest.
#[derive(Debug, Default)]
pub(super) struct Parts {
    queue: VecDeque<Vec<Heard>>,
    /// Tries since anything was applied or halved.
    in_vain: usize,
}

impl Parts {
    /// Of a batch that has just failed as a whole; and what of it is too much to say of one attempt. Repeats are dropped.
    pub(super) fn of_failed(mut batch: Vec<Heard>) -> (Self, Vec<Heard>) {
        // Stable, so each attempt's words keep their order.
        batch.sort_by_key(|word| (word.attempt, word.agent));
        let mut part: Vec<Heard> = Vec::with_capacity(batch.len());
        let mut too_much = Vec::new();
        for word in batch {
            let of_it = part.iter().rev().take_while(|before| before.is_beside(&word));
            match of_it.clone().count() {
                _ if of_it.clone().any(|before| before.says_the_same(&word)) => {}
                MOST_OF_ONE.. if word.is_of_its_agent() => too_much.push(word),
                _ => part.push(word),
            }
        }
        let mut parts = Self::default();
        parts.put_back(part);
        (parts, too_much)
    }

    pub(super) fn next(&self) -> Option<&[Heard]> {
        self.queue.front().map(Vec::as_slice)
    }

    /// The next one was applied.
    pub(super) fn applied(&mut self) -> Vec<Heard> {
        self.in_vain = 0;
        self.queue.pop_front().unwrap_or_default()
    }

    /// The next one failed.
    pub(super) fn failed(&mut self) {
        if let Some(part) = self.queue.pop_front() {
            self.put_back(part);
        }
    }

    fn put_back(&mut self, mut part: Vec<Heard>) {
        if let Some(at) = middle(&part) {
            let half = part.split_off(at);
            self.queue.extend([part, half]);
            self.in_vain = 0;
        } else {
            self.queue.push_back(part);
            self.in_vain += 1;
        }
    }

    /// Says whether each part is of one attempt and was tried in vain: it may be no fault of theirs.
    pub(super) fn is_stuck(&self) -> bool {
        self.in_vain >= self.queue.len()
    }

    /// Says whether each of them was tried in vain once more: what is well again by then is not to wait for each of the
    /// others.
    fn is_round_over(&self) -> bool {
        self.is_stuck() && self.in_vain.is_multiple_of(self.queue.len().max(1))
    }

    pub(super) fn into_words(self) -> Vec<Heard> {
        self.queue.into_iter().flatten().collect()
    }

    fn words(&self) -> impl Iterator<Item = &Heard> {
        self.queue.iter().flatten()
    }
}

/// Where a part is halved: between two attempts; nowhere, when it is of one.
fn middle(part: &[Heard]) -> Option<usize> {
    let pairs = part.windows(2).zip(1..);
    let between = pairs.filter(|(pair, _)| matches!(pair, [one, next] if one.attempt != next.attempt));
    between
        .map(|(_, at): (_, usize)| at)
        .min_by_key(|at| at.abs_diff(part.len() / 2))
}

/// What waits beside the others.
#[derive(Debug, Default)]
pub(super) struct Aside {
    waiting: Mutex<Waiting>,
    more: Notify,
}

/// What becomes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It goes with the others.
    No,
    /// It waits here, or did already.
    Here,
    /// Nothing more of its attempt waits.
    TooMuch,
}

#[derive(Debug, Default)]
struct Waiting {
    parts: Parts,
    /// What was said later of the attempts in `parts`.
    behind: Vec<Heard>,
}

impl Waiting {
    fn words(&self) -> impl Iterator<Item = &Heard> {
        self.parts.words().chain(&self.behind)
    }

    /// Says what becomes of a word that has come.
    fn takes(&mut self, word: &Heard) -> Taken {
        // One by another agent means nothing, and says so by itself.
        let (mut all, mut of_one) = (0, 0);
        for waiting in self.words() {
            all += 1;
            if waiting.is_beside(word) {
                if waiting.says_the_same(word) {
                    return Taken::Here;
                }
                of_one += 1;
            }
        }
        match of_one {
            0 => Taken::No,
            MOST_OF_ONE.. if word.is_of_its_agent() => Taken::TooMuch,
            _ if all >= MOST => Taken::No,
            _ => {
                self.behind.push(word.clone());
                Taken::Here
            }
        }
    }

    fn applied(&mut self) {
        let applied = self.parts.applied();
        let is_next = |word: &Heard| applied.iter().any(|before| before.attempt == word.attempt);
        let (next, behind) = std::mem::take(&mut self.behind).into_iter().partition(is_next);
        self.behind = behind;
        let mut next: Vec<Heard> = next;
        // Stable, and no cut goes between the words of one attempt.
        next.sort_by_key(|word| word.attempt);
        if !next.is_empty() {
            self.parts.queue.push_back(next);
        }
    }

    /// Returns whom to tell of, and how long to wait.
    fn failed(&mut self) -> (Option<AttemptId>, Duration) {
        let part = self.parts.next().unwrap_or_default();
        let alone = part.first().map(|word| word.attempt).filter(|_| middle(part).is_none());
        self.parts.failed();
        (alone, if self.parts.is_round_over() { AGAIN } else { RETRY })
    }
}

impl Aside {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is left of a batch when that is so little that others need not wait for it; otherwise gives it back.
    pub(super) fn take(&self, parts: Parts) -> Result<(), Parts> {
        let mut waiting = self.waiting();
        if waiting.words().count() + parts.words().count() > MOST {
            return Err(parts);
        }
        waiting.parts.queue.extend(parts.queue);
        waiting.parts.in_vain = 0;
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// Takes out of a batch what is said of attempts of which something waits here, as long as there is room. An agent
    /// that says too much of one is called to come again: then it says all of it that counts.
    pub(super) fn take_alike(&self, batch: &mut Vec<Heard>, links: &Links) {
        let mut waiting = self.waiting();
        if waiting.parts.next().is_some() {
            // What an earlier link said counts no more, and is nothing to end this one for.
            waiting.behind.retain(|word| word.counts(links));
            batch.retain(|word| word.counts(links));
            batch.retain(|word| match waiting.takes(word) {
                Taken::No => true,
                Taken::Here => false,
                Taken::TooMuch => {
                    links.disconnect(word.agent, too_much(word.attempt));
                    false
                }
            });
        }
    }

    /// Tries what waits here, until it is dropped.
    pub(super) async fn run(&self, commit: &Commit, links: &Links) {
        loop {
            let next = self.waiting().parts.next().map(<[Heard]>::to_vec);
            let Some(part) = next else {
                self.more.notified().await;
                continue;
            };
            if let Err(error) = apply(commit, links, &part).await {
                let (alone, pause) = self.waiting().failed();
                if let Some(attempt_id) = alone {
                    tracing::warn!(%error, %attempt_id, "what an agent said waits beside the others");
                }
                sleep(pause).await;
            } else {
                self.waiting().applied();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opslink::id::AgentId;

    use super::*;

    /// Of some attempts, in this order: that it was accepted, or that it runs.
    fn words(said: &[(AttemptId, bool)]) -> Vec<Heard> {
        let agent = AgentId::from_uuid(uuid::Uuid::nil());
        let word = |(attempt, started): &(AttemptId, bool)| Heard::accepted(agent, 1, *attempt, *started);
        said.iter().map(word).collect()
    }

    fn said<'a>(words: impl IntoIterator<Item = &'a Heard>, of: AttemptId) -> usize {
        words.into_iter().filter(|word| word.attempt == of).count()
    }

    /// The later word of an attempt was tried, and taken, before the earlier one.
    #[test]
    fn what_is_said_of_one_attempt_stays_together_and_in_its_order() {
        let attempts: Vec<_> = (0..8).map(|_| AttemptId::new()).collect();
        let first = attempts.iter().map(|attempt| (*attempt, false));
        let then = attempts.iter().map(|attempt| (*attempt, true));
        let (mut parts, _) = Parts::of_failed(words(&first.chain(then).collect::<Vec<_>>()));
        let mut tries = 0;
        while !parts.is_stuck() {
            let part = parts.next().unwrap();
            for attempt in &attempts {
                assert_ne!(said(part, *attempt), 1, "cut between two words of an attempt");
            }
            parts.failed();
            tries += 1;
        }
        assert_eq!(parts.queue.len(), 8);
        assert_eq!(tries, 7 - 1 + 8, "each is halved until it is alone, and tried once so");
        for part in &parts.queue {
            assert!(matches!(part.as_slice(), [one, next] if !one.says_the_same(next)));
            assert!(
                part[0].says_the_same(&words(&[(part[0].attempt, false)])[0]),
                "the first is first"
            );
        }
    }

    /// An agent that repeats itself filled the room, and then everybody waited.
    #[test]
    fn what_is_repeated_takes_no_room_and_what_is_new_waits_behind() {
        let (bad, other) = (AttemptId::new(), AttemptId::new());
        let (aside, (links, _inbox)) = (Aside::default(), Links::new(crate::link::Config::default()));
        aside.take(Parts::of_failed(words(&[(bad, false)])).0).unwrap();
        for _ in 0..2 * MOST {
            let mut batch = words(&[(bad, false), (other, false), (bad, true)]);
            aside.take_alike(&mut batch, &links);
            assert_eq!((batch.len(), said(&batch, other)), (1, 1));
        }
        assert_eq!(aside.waiting().words().count(), 2);
        assert_eq!(
            aside.waiting().parts.words().count(),
            1,
            "the later one is not tried yet"
        );
        assert_eq!(aside.waiting().failed(), (Some(bad), AGAIN));
        aside.waiting().applied();
        let waiting = aside.waiting();
        assert_eq!((waiting.parts.words().count(), waiting.behind.len()), (1, 0));
        assert!(
            waiting
                .parts
                .words()
                .all(|word| !word.says_the_same(&words(&[(bad, false)])[0]))
        );
    }

    /// 256 different words of one attempt filled the room, and then everybody waited for it.
    #[test]
    fn of_one_attempt_little_waits_and_nothing_of_another_agent() {
        let (agent, other) = (AgentId::new(), AgentId::new());
        let attempt = AttemptId::new();
        let refused = |agent, why: usize| Heard::refused(agent, 1, attempt, "NO".to_owned(), why.to_string());
        let mut waiting = Waiting::default();
        waiting.parts.put_back(vec![refused(agent, 0)]);
        let taken: Vec<_> = (0..2 * MOST).map(|why| waiting.takes(&refused(agent, why))).collect();
        assert!(taken.iter().take(MOST_OF_ONE).all(|taken| *taken == Taken::Here));
        assert!(taken.iter().skip(MOST_OF_ONE).all(|taken| *taken == Taken::TooMuch));
        assert_eq!(waiting.takes(&refused(other, 0)), Taken::No);
        assert_eq!(waiting.words().count(), MOST_OF_ONE);
    }

    /// In one batch, before anything of it waited: what was said of one attempt could not be cut, and had no room aside.
    #[test]
    fn of_one_attempt_in_one_batch_little_is_left() {
        let (agent, bad) = (AgentId::new(), AttemptId::new());
        let refused = |why: usize| Heard::refused(agent, 1, bad, "NO".to_owned(), why.to_string());
        let (parts, too_much) = Parts::of_failed((0..300).map(refused).collect());
        assert_eq!(
            (parts.words().count(), too_much.len()),
            (MOST_OF_ONE, 300 - MOST_OF_ONE)
        );
        let (parts, too_much) = Parts::of_failed((0..300).map(|_| refused(1)).collect());
        assert_eq!((parts.words().count(), too_much.len()), (1, 0));
    }

    /// One of 256 that was well again waited for 5 s a piece of the others.
    #[test]
    fn a_round_of_tries_pauses_once() {
        let attempts: Vec<_> = (0..4).map(|_| (AttemptId::new(), false)).collect();
        let mut waiting = Waiting::default();
        for word in words(&attempts) {
            waiting.parts.put_back(vec![word]);
        }
        let pauses: Vec<_> = (0..8).map(|_| waiting.failed().1).collect();
        assert_eq!(pauses.iter().filter(|pause| **pause == AGAIN).count(), 2, "{pauses:?}");
    }

    /// What came behind several attempts was cut between two words of one.
    #[test]
    fn what_waited_behind_is_cut_between_attempts_only() {
        let (one, next) = (AttemptId::new(), AttemptId::new());
        let agent = AgentId::from_uuid(uuid::Uuid::nil());
        let mut waiting = Waiting::default();
        waiting.parts.queue.push_back(words(&[(one, false), (next, false)]));
        for (attempt, why) in [(one, "1"), (next, "2"), (one, "3")] {
            let word = Heard::refused(agent, 1, attempt, "NO".to_owned(), why.to_owned());
            assert_eq!(waiting.takes(&word), Taken::Here);
        }
        waiting.applied();
        waiting.failed();
        for part in &waiting.parts.queue {
            assert!(part.windows(2).all(|pair| pair[0].attempt == pair[1].attempt));
        }
        assert_eq!(waiting.parts.queue.len(), 2);
    }

    #[test]
    fn what_is_too_much_is_given_back_whole() {
        let many = |count: usize| {
            words(
                &vec![(); count]
                    .iter()
                    .map(|()| (AttemptId::new(), false))
                    .collect::<Vec<_>>(),
            )
        };
        let aside = Aside::default();
        aside.take(Parts::of_failed(many(200)).0).unwrap();
        let back = aside.take(Parts::of_failed(many(57)).0).unwrap_err();
        assert_eq!(back.into_words().len(), 57);
        aside.take(Parts::of_failed(many(56)).0).unwrap();
    }
}
