//! Tells one caller everything about a task: its state, its executions, and their output, stored first and then live.
//!
//! A watch subscribes to the live tail, then reads the store, then follows the tail; falling behind means reading the
//! store again from where it is. Positions (seq per attempt, revision per execution) make repetitions harmless, so
//! there is neither a gap nor a duplicate. The end of an execution is sent after its output: one that was already at
//! its end when the watch began is sent at once, so that its output has a name, and once more after its output.
//!
//! The watch is a task of its own that ends with the watched task, with its caller, or with the engine. Its queue
//! is short: HTTP/2 flow control is felt here and nowhere before.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures::Stream;
use opslink::{
    id::{AgentId, AttemptId},
    problem::Problem,
    reason::Reason,
    task::TaskState,
    time::UnixMicros,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

mod catch_up;
mod opening;
mod output;

pub(super) use catch_up::seats;

use super::{
    answer::{Sent, TaskView},
    attempts::Attempts,
    request::{Output, WatchTask},
    unread::{self, NoPlace, Unread},
    view::{Counts, View},
};
use crate::{
    identity::StreamWeight,
    seats::Seats,
    status::store_problem as problem,
    store::{
        self, Store,
        record::{Execution, Task},
    },
    tail::{Item, Tail, Tails, Taken},
};

/// Shortest time between two messages about the task itself.
const TASK_EVERY: Duration = Duration::from_millis(50);
/// Bytes a second that they take at most, since each carries the whole spec: with the largest script one a second.
const TASK_BYTES_PER_SEC: u64 = 512 << 10;

/// Why a watch ends early.
enum End {
    /// The caller has gone.
    Gone,
    /// The caller is to be told.
    Failed(Problem),
}

impl From<store::Error> for End {
    fn from(error: store::Error) -> Self {
        Self::Failed(problem(error))
    }
}

impl From<NoPlace> for End {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Gone => Self::Gone,
            NoPlace::TooHeavy(problem) => Self::Failed(problem),
        }
    }
}

/// Lets callers watch tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watches {
    pub(super) view: View,
    /// Who reads from the store right now, once its watch has begun.
    pub(super) seats: Seats,
    pub(super) tails: Tails,
    pub(super) heartbeat: Duration,
    pub(super) stop: CancellationToken,
}

impl Watches {
    /// Watches a task for this actor. See the .proto file for the order of the messages. A wide task makes the stream
    /// heavier, and so do large messages.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, that there is no room for a stream as heavy, or what the store says.
    pub(crate) async fn watch(
        &self,
        actor: &str,
        request: WatchTask,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<Sent, Problem>> + Send + use<>, Problem> {
        let id = self.view.resolve(&request.task).await?;
        // Before the store is read: see the module's doc.
        let tail = self.tails.subscribe(id);
        let task = self.view.task(id).await?;
        let (out, messages) = unread::queue(weight.clone());
        let mut watch = Watch {
            store: self.view.store.clone(),
            seats: self.seats.clone(),
            actor: actor.to_owned(),
            heartbeat: self.heartbeat,
            output: request.output,
            task,
            tail,
            out: out.clone(),
            positions: request.positions,
            complete: HashSet::new(),
            unreadable: HashSet::new(),
            agents: request.agents.iter().cloned().collect(),
            all_attempts: request.all_attempts,
            attempts: Attempts::default(),
            seen: BTreeMap::new(),
            has_unreadable: false,
            counts: Counts::new(),
            last_end: None,
            last_revision: 0,
            was_set_back: false,
            task_due: None,
            task_sent: Instant::now(),
        };
        let narrow = watch.begin(&request.agents, &weight).await?;
        let follow = request.follow;
        let stop = self.stop.clone();
        // Ends with the watched task, with its caller, or with the engine.
        tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                // An end without a reason would say that there is no more.
                () = stop.cancelled() => Err(End::Failed(Problem::new(Reason::Draining))),
                end = watch.run(narrow, follow) => end,
            };
            if let Err(End::Failed(problem)) = end {
                // An error means that the caller has gone.
                let _ = out.send(Err(problem), 0).await;
            }
        });
        Ok(messages)
    }
}

/// What was sent of an execution: kept of all of them, so it is small.
struct Seen {
    /// Of its agent; empty when its output is not sent.
    name: Box<str>,
    state: opslink::task::ExecutionState,
    revision: u64,
    attempt: Option<AttemptId>,
    wanted: bool,
}

struct Watch {
    store: Store,
    seats: Seats,
    actor: String,
    heartbeat: Duration,
    output: Output,
    task: Task,
    tail: Tail,
    out: Unread<Result<Sent, Problem>>,
    /// Next event to send, per attempt.
    positions: HashMap<AttemptId, u64>,
    /// Attempts whose last chunk was sent.
    complete: HashSet<AttemptId>,
    /// Attempts whose stored output cannot be read.
    unreadable: HashSet<AttemptId>,
    agents: HashSet<String>,
    all_attempts: bool,
    attempts: Attempts,
    seen: BTreeMap<AgentId, Seen>,
    /// Some executions cannot be read: only the store can count them.
    has_unreadable: bool,
    counts: Counts,
    last_end: Option<UnixMicros>,
    /// Every change up to this revision was read from the store.
    last_revision: u64,
    /// What was heard says that the database went back to an older state.
    was_set_back: bool,
    /// When the task's counts are to be sent.
    task_due: Option<Instant>,
    task_sent: Instant,
}

impl Watch {
    async fn run(mut self, narrow: Option<Vec<Execution>>, follow: bool) -> Result<(), End> {
        self.send_task().await?;
        self.show_all(narrow).await?;

        let heartbeat = self.heartbeat;
        let mut beat = Instant::now() + heartbeat;
        loop {
            match self.tail.take() {
                Taken::Behind => self.catch_up().await?,
                Taken::Items(items) if !items.is_empty() => {
                    for item in items {
                        self.take(item).await?;
                    }
                }
                Taken::Items(_) => {
                    if !follow || self.is_at_its_end().await? {
                        if self.task_due.is_some() {
                            self.send_task().await?;
                        }
                        return Ok(());
                    }
                    let due = self.task_due.unwrap_or(beat);
                    tokio::select! {
                        biased;
                        () = self.out.closed() => return Err(End::Gone),
                        () = self.tail.changed() => {}
                        () = sleep_until(due.min(beat)) => {}
                    }
                }
            }
            let now = Instant::now();
            if self.task_due.is_some_and(|due| due <= now) {
                self.send_task().await?;
            }
            if beat <= now || self.was_set_back {
                // Whatever nobody told: a signal may be lost, and so may the task, in a database that was set back.
                self.catch_up().await?;
                self.send(Sent::Heartbeat(UnixMicros::now())).await?;
                beat = Instant::now() + heartbeat;
            }
        }
    }

    async fn take(&mut self, item: Item) -> Result<(), End> {
        match item {
            Item::Chunk(live) => self.take_chunk(&live).await,
            Item::Execution(execution) => self.take_execution(&execution).await,
            Item::CancelRequested => {
                self.task.cancel_requested = true;
                self.task_is_due();
                Ok(())
            }
        }
    }

    async fn take_execution(&mut self, execution: &Execution) -> Result<(), End> {
        if self.note(execution) {
            self.task_is_due();
            self.send_rest(execution).await?;
            self.send_execution(execution).await?;
        }
        Ok(())
    }

    async fn send_execution(&mut self, execution: &Execution) -> Result<(), End> {
        if !self.is_wanted(execution) {
            return Ok(());
        }
        self.know_attempts(std::slice::from_ref(execution)).await?;
        self.send(Sent::Execution(self.attempts.view(execution.clone()))).await
    }

    async fn send_task(&mut self) -> Result<(), End> {
        self.task_due = None;
        self.task_sent = Instant::now();
        self.send(Sent::Task(TaskView {
            task: self.task.clone(),
            counts: self.all_counts().await?,
            finished_at: self.last_end,
        }))
        .await
    }

    async fn is_at_its_end(&self) -> Result<bool, End> {
        // As long as those that can be read are not at their ends, it is not.
        let may_be = TaskState::derive(&self.counts).is_terminal();
        Ok(may_be && TaskState::derive(&self.all_counts().await?).is_terminal())
    }

    async fn send(&self, message: Sent) -> Result<(), End> {
        let bytes = unread::bytes(&message);
        self.out.send(Ok(message), bytes).await.map_err(End::from)
    }

    /// Keeps what is new about an execution; false when nothing is.
    fn note(&mut self, execution: &Execution) -> bool {
        let wanted = self.is_wanted(execution);
        let before = self.seen.get(&execution.agent_id);
        if let Some(seen) = before.filter(|seen| seen.revision >= execution.revision) {
            // An end that came before what is open is one of an earlier attempt, or the truth of an older state.
            self.was_set_back |= execution.state.is_terminal() && !seen.state.is_terminal();
            return false;
        }
        if let Some(count) = before.and_then(|seen| self.counts.get_mut(&seen.state)) {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(execution.state).or_default() += 1;
        self.last_end = self.last_end.max(execution.finished_at);
        self.attempts.note(execution);
        let name = match wanted && self.has_output() {
            true => execution.agent_name.as_str(),
            false => "",
        };
        let seen = Seen {
            name: name.into(),
            state: execution.state,
            revision: execution.revision,
            attempt: execution.attempt_id,
            wanted,
        };
        self.seen.insert(execution.agent_id, seen);
        true
    }

    fn task_is_due(&mut self) {
        let bytes = self.task.spec.len() as u64 + self.task.selector.len() as u64;
        let every = Duration::from_micros(bytes.saturating_mul(1_000_000) / TASK_BYTES_PER_SEC);
        self.task_due.get_or_insert(self.task_sent + every.max(TASK_EVERY));
    }

    fn has_output(&self) -> bool {
        self.output != Output::Nothing
    }

    fn is_wanted(&self, execution: &Execution) -> bool {
        self.agents.is_empty()
            || self.agents.contains(&execution.agent_name)
            || self.agents.contains(&execution.agent_id.to_string())
    }

    fn position(&self, attempt: AttemptId) -> u64 {
        self.positions.get(&attempt).copied().unwrap_or(0)
    }
}
