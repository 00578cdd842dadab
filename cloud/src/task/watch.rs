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
    convert,
    id::{AgentId, AttemptId},
    pb,
    pb::watch_task_response::Event as Sent,
    problem::Problem,
    reason::Reason,
    task::TaskState,
    time::UnixMicros,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;

mod output;

use super::{
    Engine,
    view::{Attempts, Counts, EXECUTIONS_MAX, execution_pb, task_pb},
};
use crate::{
    service::status::store_problem as problem,
    store::record::{Execution, Task},
    tail::{Item, Tail, Taken},
};

/// Messages that wait for the caller: about 8 MiB of full chunks.
const QUEUE: usize = 32;
/// Executions that are read at once when catching up.
const CHANGES_MAX: u32 = 1_000;
/// Shortest time between two messages about the task itself.
const TASK_EVERY: Duration = Duration::from_millis(50);

/// Why a watch ends early.
enum End {
    /// The caller has gone.
    Gone,
    /// The caller is to be told.
    Failed(Problem),
}

impl From<crate::store::Error> for End {
    fn from(error: crate::store::Error) -> Self {
        Self::Failed(problem(error))
    }
}

impl Engine {
    /// Watches a task. See the .proto file for the order of the messages.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, `INVALID_ARGUMENT` for a bad position, or what the store says.
    pub async fn watch(
        &self,
        request: pb::WatchTaskRequest,
    ) -> Result<impl Stream<Item = Result<pb::WatchTaskResponse, Problem>> + Send + use<>, Problem> {
        let id = self.resolve(&request.task_id).await?;
        let mut positions = HashMap::new();
        for position in &request.positions {
            let bad = |_| Problem::new(Reason::AttemptNotFound).with("attempt", &position.attempt_id);
            positions.insert(
                position.attempt_id.parse::<AttemptId>().map_err(bad)?,
                position.next_seq,
            );
        }
        // Before the store is read: see the module's doc.
        let tail = self.tails.subscribe(id);
        let task = self.task(id).await?;
        let executions = self
            .store
            .execution_list(id, None, EXECUTIONS_MAX)
            .await
            .map_err(problem)?;
        self.verify_forgotten(&executions);
        for name in &request.agents {
            if !executions.iter().any(|execution| is_named(execution, name)) {
                return Err(Problem::new(Reason::AgentNotFound).with("agent", name));
            }
        }
        let attempts = match request.all_attempts || executions.iter().any(|execution| execution.attempt_number > 1) {
            true => self.attempts(id).await?,
            false => Attempts::default(),
        };
        let (out, messages) = mpsc::channel(QUEUE);
        let watch = Watch {
            engine: self.clone(),
            output: request.output(),
            task,
            tail,
            out: out.clone(),
            positions,
            agents: request.agents.into_iter().collect(),
            all_attempts: request.all_attempts,
            attempts,
            seen: BTreeMap::new(),
            counts: Counts::new(),
            last_end: None,
            last_revision: 0,
            task_due: None,
            task_sent: Instant::now(),
        };
        let follow = !request.no_follow;
        let stop = self.stop.clone();
        // Ends with the watched task, with its caller, or with the engine.
        tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                // An end without a reason would say that there is no more.
                () = stop.cancelled() => Err(End::Failed(Problem::new(Reason::Draining))),
                end = watch.run(executions, follow) => end,
            };
            if let Err(End::Failed(problem)) = end {
                // An error means that the caller has gone.
                let _ = out.send(Err(problem)).await;
            }
        });
        Ok(ReceiverStream::new(messages))
    }
}

fn is_named(execution: &Execution, name: &str) -> bool {
    execution.agent_name == name || execution.agent_id.to_string() == name
}

/// What was sent of an execution.
struct Seen {
    name: String,
    state: opslink::task::ExecutionState,
    revision: u64,
    attempt: Option<AttemptId>,
    wanted: bool,
}

struct Watch {
    engine: Engine,
    output: pb::OutputMode,
    task: Task,
    tail: Tail,
    out: mpsc::Sender<Result<pb::WatchTaskResponse, Problem>>,
    /// Next event to send, per attempt.
    positions: HashMap<AttemptId, u64>,
    agents: HashSet<String>,
    all_attempts: bool,
    attempts: Attempts,
    seen: BTreeMap<AgentId, Seen>,
    counts: Counts,
    last_end: Option<UnixMicros>,
    /// Every change up to this revision was read from the store.
    last_revision: u64,
    /// When the task's counts are to be sent.
    task_due: Option<Instant>,
    task_sent: Instant,
}

impl Watch {
    async fn run(mut self, executions: Vec<Execution>, follow: bool) -> Result<(), End> {
        // One page holds everything, so its newest revision covers all of them.
        self.last_revision = executions.iter().map(|execution| execution.revision).max().unwrap_or(0);
        for execution in &executions {
            self.note(execution);
        }
        self.send_task().await?;
        for execution in &executions {
            self.send_execution(execution).await?;
        }
        if self.has_output() {
            self.catch_up_output(&executions).await?;
            for execution in executions
                .iter()
                .filter(|e| e.state.is_terminal() && e.attempt_id.is_some())
            {
                self.send_execution(execution).await?;
            }
        }
        drop(executions);

        let heartbeat = self.engine.config.watch_heartbeat;
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
                    if !follow || TaskState::derive(&self.counts).is_terminal() {
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
            if beat <= now {
                let time = Some(convert::timestamp(UnixMicros::now()));
                self.send(Sent::Heartbeat(pb::Heartbeat { time })).await?;
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
            self.send_execution(execution).await?;
        }
        Ok(())
    }

    /// Reads from the store what was missed. The tail stands at its newest already.
    async fn catch_up(&mut self) -> Result<(), End> {
        if let Some(task) = self.engine.store.task_get(self.task.id).await? {
            self.task = task;
        }
        loop {
            let store = self.engine.store.clone();
            let changes = store
                .execution_changes(self.task.id, self.last_revision, CHANGES_MAX)
                .await?;
            self.catch_up_output(&changes).await?;
            for execution in &changes {
                self.last_revision = self.last_revision.max(execution.revision);
                self.take_execution(execution).await?;
            }
            if (changes.len() as u64) < u64::from(CHANGES_MAX) {
                break;
            }
        }
        // Output of executions that did not change meanwhile.
        let running = self
            .seen
            .values()
            .filter(|seen| seen.wanted && !seen.state.is_terminal());
        let running: Vec<_> = running
            .filter_map(|seen| Some((seen.attempt?, seen.name.clone())))
            .collect();
        self.read_behind(running).await
    }

    async fn send_execution(&self, execution: &Execution) -> Result<(), End> {
        if !self.is_wanted(execution) {
            return Ok(());
        }
        self.send(Sent::Execution(execution_pb(execution, self.attempts.of(execution))))
            .await
    }

    async fn send_task(&mut self) -> Result<(), End> {
        let task = task_pb(&self.task, &self.counts, self.last_end).map_err(End::Failed)?;
        self.task_due = None;
        self.task_sent = Instant::now();
        self.send(Sent::Task(task)).await
    }

    async fn send(&self, event: Sent) -> Result<(), End> {
        self.out
            .send(Ok(pb::WatchTaskResponse { event: Some(event) }))
            .await
            .map_err(|_| End::Gone)
    }

    /// Keeps what is new about an execution; false when nothing is.
    fn note(&mut self, execution: &Execution) -> bool {
        let wanted = self.is_wanted(execution);
        let before = self.seen.get(&execution.agent_id);
        if before.is_some_and(|seen| seen.revision >= execution.revision) {
            return false;
        }
        if let Some(count) = before.and_then(|seen| self.counts.get_mut(&seen.state)) {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(execution.state).or_default() += 1;
        self.last_end = self.last_end.max(execution.finished_at);
        self.attempts.note(execution);
        let seen = Seen {
            name: execution.agent_name.clone(),
            state: execution.state,
            revision: execution.revision,
            attempt: execution.attempt_id,
            wanted,
        };
        self.seen.insert(execution.agent_id, seen);
        true
    }

    fn task_is_due(&mut self) {
        self.task_due.get_or_insert(self.task_sent + TASK_EVERY);
    }

    fn has_output(&self) -> bool {
        self.output != pb::OutputMode::Unspecified
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
