//! Tasks: from a request to executions, and from their ends to the task's.
//!
//! [`machine`] decides, everything else carries out: [`submit`] creates, [`dispatch`] hands over, [`attach`] reconciles
//! with an agent that comes back, [`rollout`] spreads, [`cancel`] and [`retry`] do what they say, [`watch`] tells. All
//! changes of an execution go through [`commit`]: one step of the machine, one conditional write, and only then the
//! actions that follow.

use std::sync::Arc;

use futures::Stream;
use opslink::{
    id::{AgentId, TaskId},
    pb,
    problem::Problem,
    reason::Reason,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::Directory,
    identity::{Caller, StreamWeight},
    link::Links,
    signals::{Due, LocalSignals, Told},
    store::{Store, record::Audit},
    tail::Tails,
    work::{self, Worker},
};

pub(crate) mod answer;
mod attach;
mod attempts;
mod book;
mod cancel;
pub(crate) mod commit;
mod config;
mod dispatch;
mod expiry;
mod heard;
mod info;
mod ingest;
mod intent;
mod left_alone;
mod life;
mod log;
pub mod machine;
mod newest;
mod outgoing;
mod presence;
mod preview;
mod reachable;
mod refusals;
mod removal;
pub(crate) mod request;
mod retry;
mod rollout;
mod signer;
mod submit;
mod sweep;
pub(crate) mod targets;
#[cfg(test)]
mod tests;
mod unread;
mod verify;
pub(crate) mod view;
mod watch;
mod words;

use answer::{Created, ExecutionView, Page, Piece, Sent, TaskView};
use attach::Attach;
use book::Book;
use cancel::Cancel;
use commit::Commit;
pub use config::Config;
use dispatch::Dispatch;
use expiry::{Expiry, Patience, ToldOnce};
use heard::Hearing;
pub(crate) use info::QUEUE_TTL_DEFAULT_SECS;
use ingest::Ingest;
use log::LogReader;
use outgoing::Outgoing;
use presence::Presence;
use reachable::Reachable;
use removal::Removal;
pub use removal::RemovalError;
use request::{CancelTask, CreateTask, ListChunks, ListExecutions, ListTasks, ReadLog, RetryTask, WatchTask};
use retry::Retry;
use rollout::Rollouts;
pub use signer::{Error as SignerError, Signer};
use submit::Submit;
use sweep::Sweep;
use verify::Comparisons;
use view::View;
use watch::Watches;

/// Everything about tasks: each call is passed to the part that does it. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    submit: Submit,
    retry: Retry,
    cancel: Cancel,
    removal: Removal,
    view: View,
    watches: Watches,
    logs: LogReader,
    links: Links,
}

impl Engine {
    /// Starts the engine with its links and its background work; all of it stops with `stop`.
    ///
    /// Nothing is read from the store here: what is open is picked up agent by agent, as they attach, and by the sweep.
    pub fn start(store: Store, directory: Directory, signer: Signer, config: Config, stop: CancellationToken) -> Self {
        let (links, inbox) = Links::new(config.link);
        let tails = Tails::default();
        let agents_due = Arc::new(Due::default());
        let work_due = Arc::new(Told::default());
        let reachable = Reachable::new(config.return_within);
        let presence = Presence::new(links.clone(), reachable.clone());
        let signals = config.signals.put(Arc::new(LocalSignals::new(
            links.clone(),
            tails.clone(),
            Arc::clone(&agents_due),
            Arc::clone(&work_due),
        )));
        let gate = Arc::new(Semaphore::new(config.concurrency));
        let (hearing, words) = Hearing::new();
        let commit = Commit {
            book: Book::new(config.slots_per_agent, Arc::clone(&signals)),
            store: store.clone(),
            outgoing: Outgoing::new(links.clone(), signer),
            signals,
        };
        let dispatch = Dispatch::new(commit.clone(), presence.clone(), Arc::clone(&gate), stop.clone());
        let removal = Removal {
            commit: commit.clone(),
            directory: directory.clone(),
        };
        let attach = Attach {
            commit: commit.clone(),
            hearing: hearing.clone(),
            directory: directory.clone(),
            links: links.clone(),
            gate,
            turns: Arc::default(),
            presence: presence.clone(),
            reachable: reachable.clone(),
            stop: stop.clone(),
        };
        let ingest = Ingest {
            store: store.clone(),
            book: commit.book.clone(),
            links: links.clone(),
            hearing,
            signals: Arc::clone(&commit.signals),
        };
        let sweep = Sweep {
            commit: commit.clone(),
            dispatch: dispatch.clone(),
            presence: presence.clone(),
            attach: attach.clone(),
            every: config.reconcile_every,
        };
        // The road back: links → ingest → words → commit. Each ends with `stop`; what is queued then is not
        // acknowledged, so the agents send it again.
        spawn_until(&stop, ingest.run(inbox.chunks));
        spawn_until(&stop, attach.run(inbox.reports));
        spawn_until(&stop, heard::run(commit.clone(), links.clone(), words));
        // Beside the road.
        spawn_until(&stop, dispatch.clone().run(agents_due));
        let workers: [Arc<dyn Worker>; 4] = [
            Arc::new(Rollouts {
                commit: commit.clone(),
                dispatch: dispatch.clone(),
            }),
            Arc::new(Comparisons { commit: commit.clone() }),
            Arc::new(removal.clone()),
            Arc::new(Expiry {
                commit: commit.clone(),
                directory: directory.clone(),
                presence: presence.clone(),
                every: config.reconcile_every,
                reachable,
                answer_within: Patience::of(config.answer_within),
                lost_after: Patience::of(config.lost_after),
                told: ToldOnce::default(),
            }),
        ];
        for worker in workers {
            let told = work_due.of(worker.kind());
            spawn_until(&stop, work::run(store.clone(), worker, told, config.reconcile_every));
        }
        spawn_until(&stop, sweep.run());
        spawn_until(&stop, presence.clone().run(store.clone(), directory.clone()));

        let view = View {
            store: store.clone(),
            directory: directory.clone(),
        };
        // What only looks stands in a line of its own.
        let for_callers = View {
            store: store.for_callers(),
            directory: directory.clone(),
        };
        Self {
            submit: Submit {
                commit: commit.clone(),
                dispatch: dispatch.clone(),
                view: view.clone(),
                directory: directory.clone(),
                presence: presence.clone(),
            },
            retry: Retry {
                commit: commit.clone(),
                dispatch,
                view: view.clone(),
                directory: directory.clone(),
                presence,
            },
            cancel: Cancel { commit, view },
            removal,
            watches: Watches {
                view: for_callers.clone(),
                seats: watch::seats(),
                tails,
                heartbeat: config.watch_heartbeat,
                stop: stop.clone(),
            },
            logs: LogReader {
                store: for_callers.store.clone(),
                stop,
            },
            view: for_callers,
            links,
        }
    }

    /// The links of all agents.
    pub const fn links(&self) -> &Links {
        &self.links
    }

    /// Creates a task and starts it. What was begun goes on when the caller goes away.
    ///
    /// # Errors
    /// What is wrong with the request or its targets, see the catalogue; or what the store says.
    pub(crate) async fn create(&self, caller: &Caller, request: CreateTask) -> Result<Created, Problem> {
        self.submit.create(caller, request).await
    }

    /// Retries executions that have ended. What was begun goes on when the caller goes away.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_NOT_FINISHED`, `NOTHING_TO_RETRY`, `ATTEMPTS_EXHAUSTED`, `AGENT_NOT_FOUND`,
    /// `AGENT_OFFLINE`, or what the store says.
    pub(crate) async fn retry(&self, caller: &Caller, request: RetryTask) -> Result<Created, Problem> {
        self.retry.retry(caller, request).await
    }

    /// Asks for the end of a task, or of some of its executions. What was begun goes on when the caller goes away.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, or what the store says.
    pub(crate) async fn cancel(&self, caller: &Caller, request: CancelTask) -> Result<TaskView, Problem> {
        self.cancel.cancel(caller, request).await
    }

    /// Removes an agent for good, and ends what it had to do. What was begun goes on when the caller goes away.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn remove_agent(&self, agent: AgentId, audit: Audit) -> Result<(), RemovalError> {
        self.removal.remove(agent, audit).await
    }

    /// Returns one task. `id` may be an unambiguous prefix.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_ID_AMBIGUOUS`, or what the store says.
    pub(crate) async fn get(&self, id: &str) -> Result<TaskView, Problem> {
        self.view.get(id).await
    }

    /// Lists tasks, newest first.
    ///
    /// # Errors
    /// `AGENT_NOT_FOUND`, or what the store says.
    pub(crate) async fn list(&self, request: ListTasks) -> Result<Page<TaskView, TaskId>, Problem> {
        self.view.list(request).await
    }

    /// Lists the executions of a task in agent name order.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, or what the store says.
    pub(crate) async fn list_executions(
        &self,
        request: ListExecutions,
    ) -> Result<Page<ExecutionView, String>, Problem> {
        self.view.list_executions(request).await
    }

    /// Watches a task. See the .proto file for the order of the messages.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `AGENT_NOT_FOUND`, that there is no room for a stream as heavy, or what the store says.
    pub(crate) async fn watch(
        &self,
        caller: &Caller,
        request: WatchTask,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<Sent, Problem>> + Send + use<>, Problem> {
        self.watches.watch(&caller.actor, request, weight).await
    }

    /// Lists the chunks of an attempt without their payloads.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, or what the store says.
    pub(crate) async fn list_chunks(&self, request: ListChunks) -> Result<Page<pb::LogChunk, u64>, Problem> {
        self.logs.list_chunks(request).await
    }

    /// Sends the stored chunks of an attempt from a place on.
    ///
    /// # Errors
    /// `ATTEMPT_NOT_FOUND`, or what the store says; in the stream also that there is no room for one as heavy.
    pub(crate) async fn read_log(
        &self,
        request: ReadLog,
        weight: StreamWeight,
    ) -> Result<impl Stream<Item = Result<Piece, Problem>> + Send + use<>, Problem> {
        self.logs.read_log(request, weight).await
    }
}

#[cfg(test)]
impl Engine {
    /// What greetings and looks into queues need to go on.
    fn attach_gate(&self) -> Arc<Semaphore> {
        self.submit.dispatch.gate()
    }

    /// Forgets an attempt, as a process does that dies after a commit.
    fn forget(&self, agent: AgentId, attempt: opslink::id::AttemptId) {
        self.submit.commit.book.forget(agent, attempt);
    }

    /// Lets the time to start an attempt be over, as the book knows it.
    fn backdate(&self, attempt: opslink::id::AttemptId) {
        self.submit.commit.book.backdate(attempt);
    }

    /// Makes the book know an execution under a task that the store does not have, as after a failover.
    fn misremember(&self, attempt: opslink::id::AttemptId) {
        self.submit.commit.book.misremember(attempt);
    }
}

/// Runs `work` until it is done or `stop` is called.
fn spawn_until(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    });
}

/// Carries out `work` to its end, whatever becomes of the caller: a commit without its effects is half a thing.
///
/// Ends with its own limits, which are those of the store.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let broken = |error| Problem::new(Reason::Internal).with("detail", error);
    tokio::spawn(work).await.map_err(broken)?
}
