//! What agents say about attempts, applied in groups: everything that is queued becomes one write.
//!
//! A mere 'accepted' is in no hurry and lingers for a moment: a short task's end then comes in the same write.
//!
//! Ends are true whenever they come: they go with their output. 'Accepted' and 'refused' count only as long as the
//! agent has no newer link, since the Hello of the newer one has said what is true by then, and what it did not have
//! was sent again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use opslink::{
    id::{AgentId, AttemptId},
    problem::Problem,
    reason::Reason,
    task::Outcome,
    time::UnixMicros,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

mod aside;
mod look;

pub(super) use look::{next_seqs, stored};

use aside::{Aside, Parts};

use super::{
    commit::Commit,
    intent::{Intent, WholeOutput},
    machine::Event,
};
use crate::{
    link::{ChunkRoom, Links},
    store::{self, record::Execution},
};

/// Words that may wait; a full queue is felt by ingest and so by the agents.
pub(super) const QUEUE_MAX: usize = 8_192;
/// Words that go into one write.
const BATCH_MAX: usize = 2_048;
/// How long a write of nothing but 'accepted' waits for company: a few times what `true` takes from start to end.
const LINGER: Duration = Duration::from_millis(4);
/// Between two tries of a write.
const RETRY: Duration = Duration::from_millis(200);
/// How long a batch is tried as a whole before its words are tried apart, if the store answers.
const WHOLE_FOR: Duration = Duration::from_secs(5);
/// Parts of a batch that may fail without a pause.
const FAILURES_AT_ONCE: usize = 64;

/// Something that an agent said about an attempt, or that follows from what it said.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    agent: AgentId,
    attempt: AttemptId,
    event: Event,
    at: UnixMicros,
    next_seq: u64,
    output: Option<WholeOutput>,
    /// Room in memory, given back when nothing of it waits any more.
    _room: Option<Arc<ChunkRoom>>,
    /// The link that it came over, when it counts only as long as there is no newer one.
    epoch: Option<u64>,
}

impl Heard {
    fn new(agent: AgentId, attempt: AttemptId, event: Event) -> Self {
        Self {
            agent,
            attempt,
            event,
            at: UnixMicros::now(),
            next_seq: 0,
            output: None,
            _room: None,
            epoch: None,
        }
    }

    pub(crate) fn accepted(agent: AgentId, epoch: u64, attempt: AttemptId, started: bool) -> Self {
        Self {
            epoch: Some(epoch),
            ..Self::new(agent, attempt, Event::Accepted { attempt, started })
        }
    }

    pub(crate) fn refused(agent: AgentId, epoch: u64, attempt: AttemptId, reason: String, message: String) -> Self {
        let event = Event::Refused {
            attempt,
            reason,
            message,
        };
        Self {
            epoch: Some(epoch),
            ..Self::new(agent, attempt, event)
        }
    }

    pub(crate) fn ended(agent: AgentId, attempt: AttemptId, outcome: Outcome, verified: bool, next_seq: u64) -> Self {
        let event = Event::Ended {
            attempt,
            outcome,
            verified,
        };
        Self {
            next_seq,
            ..Self::new(agent, attempt, event)
        }
    }

    /// Output that is refused however often it comes.
    pub(super) fn output_refused(agent: AgentId, attempt: AttemptId, detail: &str) -> Self {
        let detail = detail.to_owned();
        Self::new(agent, attempt, Event::OutputRefused { attempt, detail })
    }

    /// The same with all output of the attempt, which is stored with its end.
    pub(crate) fn with_output(self, output: WholeOutput) -> Self {
        Self {
            output: Some(output),
            ..self
        }
    }

    /// The same, for as long as it waits in room that its agent has for chunks.
    pub(super) fn within(self, room: ChunkRoom) -> Self {
        Self {
            _room: Some(Arc::new(room)),
            ..self
        }
    }

    /// Says whether an agent repeats itself.
    fn says_the_same(&self, other: &Self) -> bool {
        let key = |word: &Self| {
            (
                word.agent,
                word.attempt,
                word.epoch,
                word.next_seq,
                word.output.is_some(),
            )
        };
        key(self) == key(other) && self.event == other.event
    }

    /// Says whether both are of one attempt, by one agent.
    fn is_beside(&self, other: &Self) -> bool {
        (self.attempt, self.agent) == (other.attempt, other.agent)
    }

    /// Says whether its agent said it; otherwise it is the cloud's own, and nobody says it again.
    const fn is_of_its_agent(&self) -> bool {
        !matches!(self.event, Event::OutputRefused { .. })
    }

    /// Says whether it counts: a newer link's Hello has said what is true by then.
    fn counts(&self, links: &Links) -> bool {
        self.epoch.is_none_or(|epoch| !links.has_newer(self.agent, epoch))
    }

    const fn may_linger(&self) -> bool {
        matches!(self.event, Event::Accepted { .. })
    }
}

/// Where words are queued. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hearing(mpsc::Sender<Heard>);

impl Hearing {
    /// The queue, and its end for [`run`].
    pub(super) fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self(sender), receiver)
    }

    /// Queues a word; waits while the queue is full.
    pub(crate) async fn take(&self, heard: Heard) {
        // An error means that the engine stops: the agents will say it again to the next one.
        let _ = self.0.send(heard).await;
    }
}

/// Applies words until the engine stops.
pub(super) async fn run(commit: Commit, links: Links, words: mpsc::Receiver<Heard>) {
    let aside = Aside::default();
    tokio::select! {
        biased;
        () = hear(&commit, &links, words, &aside) => {}
        () = aside.run(&commit, &links) => {}
    }
}

async fn hear(commit: &Commit, links: &Links, mut words: mpsc::Receiver<Heard>, aside: &Aside) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while words.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if batch.iter().all(Heard::may_linger) {
            // Whatever comes first, company or the end of the wait. `recv_many` loses nothing when dropped.
            let room = BATCH_MAX.saturating_sub(batch.len()).max(1);
            let _ = timeout(LINGER, words.recv_many(&mut batch, room)).await;
        }
        let mut batch = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_MAX));
        aside.take_alike(&mut batch, links);
        settle(commit, links, batch, aside).await;
    }
}

/// Applies a batch, however long the store is away. What it does not take although it answers is set aside, as soon as
/// that is little.
async fn settle(commit: &Commit, links: &Links, mut batch: Vec<Heard>, aside: &Aside) {
    let mut began = Instant::now();
    while let Err(error) = apply(commit, links, &batch).await {
        tracing::warn!(%error, words = batch.len(), "what agents said waits for the store");
        if began.elapsed() >= WHOLE_FOR && commit.store.ping().await.is_ok() {
            match take_apart(commit, links, batch, aside).await {
                None => return,
                Some(left) => batch = left,
            }
            began = Instant::now();
        }
        sleep(RETRY).await;
    }
}

/// Returns what is to be tried as a whole again: it is much, and none of it is taken.
async fn take_apart(commit: &Commit, links: &Links, batch: Vec<Heard>, aside: &Aside) -> Option<Vec<Heard>> {
    let (mut parts, too_many) = Parts::of_failed(batch.into_iter().filter(|word| word.counts(links)).collect());
    for word in too_many {
        links.disconnect(word.agent, too_much(word.attempt));
    }
    let mut failures = 0_usize;
    loop {
        match aside.take(parts) {
            Ok(()) => return None,
            Err(too_many) => parts = too_many,
        }
        if parts.is_stuck() {
            return Some(parts.into_words());
        }
        if apply(commit, links, parts.next().unwrap_or_default()).await.is_ok() {
            parts.applied();
            continue;
        }
        parts.failed();
        failures += 1;
        if failures.is_multiple_of(FAILURES_AT_ONCE) {
            sleep(RETRY).await;
        }
    }
}

/// Applies a batch. Errors are only those that may pass; the whole batch may be applied again.
pub(super) async fn apply(commit: &Commit, links: &Links, words: &[Heard]) -> store::Result<()> {
    let words: Vec<&Heard> = words.iter().filter(|heard| heard.counts(links)).collect();
    let unknown: BTreeSet<AttemptId> = words
        .iter()
        .map(|heard| heard.attempt)
        .filter(|attempt| !commit.book.knows(*attempt))
        .collect();
    let stored = stored(&commit.store, unknown.into_iter().collect()).await?.executions;
    let mut order: Vec<AttemptId> = Vec::with_capacity(words.len());
    let mut intents: HashMap<AttemptId, Intent> = HashMap::with_capacity(words.len());
    let mut nobody = 0_usize;
    for heard in words {
        let intent = match intents.entry(heard.attempt) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => match intent(commit, links, heard, &stored).await? {
                Some(intent) => {
                    order.push(heard.attempt);
                    place.insert(intent)
                }
                None => {
                    nobody += 1;
                    continue;
                }
            },
        };
        if intent.execution.agent_id != heard.agent {
            foreign(links, heard);
            continue;
        }
        intent.next_seq = intent.next_seq.max(heard.next_seq);
        if let Some(output) = &heard.output {
            intent.output = Some(output.clone());
        }
        intent.events.push((heard.event.clone(), heard.at));
    }
    if nobody > 0 {
        tracing::warn!(words = nobody, "agents speak of attempts that are not to be changed");
    }
    let intents = order.iter().filter_map(|attempt| intents.remove(attempt)).collect();
    commit.apply_each(intents).await.map_err(|(error, _)| error)
}

/// The execution that a word is about; none when the word means nothing any more.
async fn intent(
    commit: &Commit,
    links: &Links,
    heard: &Heard,
    stored: &BTreeMap<AttemptId, Execution>,
) -> store::Result<Option<Intent>> {
    if let Some(live) = commit.book.live(heard.attempt) {
        if live.execution.agent_id != heard.agent {
            foreign(links, heard);
            return Ok(None);
        }
        return Ok(Some(Intent::new(live.execution, live.info, Vec::new())));
    }
    let execution = match stored.get(&heard.attempt) {
        Some(execution) => execution.clone(),
        // It ended between the two looks: its end is stored, so the book need not know it.
        None => return Ok(None),
    };
    if execution.agent_id != heard.agent {
        foreign(links, heard);
        return Ok(None);
    }
    if execution.attempt_id != Some(heard.attempt) {
        superseded(commit, &execution, heard).await?;
        return Ok(None);
    }
    let info = commit.info(execution.task_id).await?;
    Ok(Some(Intent::new(execution, info, Vec::new())))
}

/// An older attempt: nothing changes but its output, and its journal may go when its end is stored.
async fn superseded(commit: &Commit, execution: &Execution, heard: &Heard) -> store::Result<()> {
    if let Some(output) = &heard.output {
        match commit.store.chunk_append(vec![output.row.clone()]).await {
            Ok(_) => {}
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => {
                let attempt_id = heard.attempt;
                tracing::error!(%attempt_id, %error, "output of an older attempt is left out: the store does not take it");
            }
        }
    }
    if matches!(heard.event, Event::Ended { .. }) {
        commit
            .outgoing
            .archived(execution.agent_id, heard.attempt, heard.next_seq);
    } else if matches!(heard.event, Event::Accepted { .. }) {
        // It was given up, and another attempt was made: two at once is what nobody asked for.
        commit.outgoing.cancel(execution.agent_id, heard.attempt);
    }
    Ok(())
}

fn foreign(links: &Links, heard: &Heard) {
    links.disconnect(heard.agent, not_yours(heard.attempt));
}

/// The answer to an agent that says more of one attempt than there is to say while the store does not take it.
fn too_much(attempt: AttemptId) -> Problem {
    let frame = format!("one more about attempt {attempt}, of which enough waits");
    Problem::new(Reason::FrameUnexpected).with("frame", frame)
}

/// The answer to an agent that speaks of another agent's attempt.
pub(crate) fn not_yours(attempt: AttemptId) -> Problem {
    Problem::plain(
        Reason::PermissionDenied,
        format!("attempt {attempt} is not one of this agent"),
    )
    .with("role", "agent")
    .with("needed", "the agent of that attempt")
}
