//! One task, live: its states and its output, stored first and then as it comes.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use leptos::{prelude::*, task::spawn_local};
use opslink::pb::{
    AttemptPosition, LogChunk, OutputMode, WatchTaskRequest, WatchTaskResponse, read_log_request::Start,
    watch_task_response::Event,
};

use super::task_excerpt::Excerpt;
use crate::{
    api::{self, Answer, Failure, Next, Pace, Sync, spawn_scoped},
    logic::{results::Results, taskview::TaskView, window::Window},
};

/// With more agents than this, output is read for the chosen one only.
pub(crate) const MANY: usize = 48;
/// Lines read at first, of all agents together.
const FIRST_LINES: usize = 20_000;
/// Tails read at the same time: a browser has six connections.
const AT_ONCE: usize = 3;
/// Changes are shown this often at most.
const FLUSH_MS: u32 = 50;

/// A task and what it said.
#[derive(Clone, Copy)]
pub(crate) struct TaskLive {
    /// The task and its executions. Changes bump `states`.
    pub view: StoredValue<TaskView>,
    /// Grows when a state changes.
    pub states: RwSignal<u64>,
    /// Lines. Changes bump `output`.
    pub window: StoredValue<Window>,
    /// A part of a log that is shown instead of its end, see `task_excerpt`. Changes bump `output`.
    pub excerpt: StoredValue<Option<Excerpt>>,
    /// True while an excerpt is shown.
    pub apart: RwSignal<bool>,
    /// Result sets by agent name. Changes bump `output`.
    pub results: StoredValue<BTreeMap<String, Results>>,
    /// Grows when output came.
    pub output: RwSignal<u64>,
    /// How fresh it all is.
    pub sync: RwSignal<Sync>,
    /// Why there is nothing to see.
    pub problem: RwSignal<Option<Failure>>,
    /// True once the first states and tails are there.
    pub opened: RwSignal<bool>,
    /// Only this agent's output.
    pub chosen: Memo<Option<String>>,
    flushing: StoredValue<(bool, bool)>,
}

impl TaskLive {
    /// Opens a task by id, or by the start of its id.
    pub(crate) fn open(id: String, chosen: Memo<Option<String>>) -> Self {
        let live = Self {
            view: StoredValue::new(TaskView::default()),
            states: RwSignal::new(0),
            window: StoredValue::new(Window::default()),
            excerpt: StoredValue::new(None),
            apart: RwSignal::new(false),
            results: StoredValue::new(BTreeMap::new()),
            output: RwSignal::new(0),
            sync: RwSignal::new(Sync::Opening),
            problem: RwSignal::new(None),
            opened: RwSignal::new(false),
            chosen,
            flushing: StoredValue::new((false, false)),
        };
        live.start(id);
        live
    }

    /// Reads the view, and again when it changes.
    pub(crate) fn read<T>(self, read: impl FnOnce(&TaskView) -> T) -> T {
        self.states.track();
        self.view.with_value(read)
    }

    /// Follows the task again, as after a retry.
    pub(crate) fn restart(self) {
        let id = self
            .view
            .with_value(|view| view.task.as_ref().map(|task| task.id.clone()));
        if let Some(id) = id
            && self.sync.get_untracked() == Sync::Ended
        {
            self.start(id);
        }
    }

    fn start(self, id: String) {
        let (future, handle) = futures::future::abortable(self.run(id));
        spawn_local(async move {
            let _ = future.await;
        });
        // A restart happens outside of any component: the page aborts what it started itself.
        if Owner::current().is_some() {
            on_cleanup(move || handle.abort());
        }
    }

    async fn run(self, id: String) {
        let id = match self.load(id).await {
            Ok(id) => id,
            Err(failure) => return self.problem.set(Some(failure)),
        };
        let many = self.view.with_value(TaskView::len) > MANY;
        if !many {
            if !self.view.with_value(TaskView::is_sql) {
                self.load_tails(None).await;
            }
            self.opened.set(true);
            return self.follow(id, Vec::new(), OutputMode::Chunks, self.sync).await;
        }
        self.opened.set(true);
        self.follow(id, Vec::new(), OutputMode::Unspecified, self.sync).await;
    }

    /// With many agents: the output of one, on a stream of its own, until another is chosen.
    pub(crate) fn follow_chosen(self) {
        Effect::new(move |_| {
            let Some(agent) = self.chosen.get() else { return };
            let many = self.opened.get() && self.view.with_value(TaskView::len) > MANY;
            let Some(id) = self
                .view
                .with_value(|view| view.task.as_ref().map(|task| task.id.clone()))
            else {
                return;
            };
            if !many {
                return;
            }
            self.window.update_value(Window::clear);
            self.flush(true, true);
            spawn_scoped(async move {
                if !self.view.with_value(TaskView::is_sql) {
                    self.load_tails(Some(&agent)).await;
                }
                let sync = RwSignal::new(Sync::Opening);
                self.follow(id, vec![agent], OutputMode::Chunks, sync).await;
            });
        });
    }

    async fn load(self, id: String) -> Answer<String> {
        let task = api::get_task(id).await?;
        let id = task.as_ref().map(|task| task.id.clone()).unwrap_or_default();
        let executions = api::list_executions(id.clone()).await?;
        self.view.update_value(|view| {
            if let Some(task) = task {
                view.set_task(task);
            }
            for execution in executions {
                view.set_execution(execution);
            }
        });
        self.states.update(|states| *states += 1);
        Ok(id)
    }

    /// Reads the last lines of every attempt, so that a long log opens at its end.
    async fn load_tails(self, only: Option<&str>) {
        let attempts: Vec<(String, String)> = self.view.with_value(|view| {
            let wanted = |name: &str| only.is_none_or(|only| only == name);
            let executions = view.executions().into_iter();
            executions
                .filter(|execution| !execution.attempt_id.is_empty() && wanted(&execution.agent_name))
                .map(|execution| (execution.agent_name.clone(), execution.attempt_id.clone()))
                .collect()
        });
        let known = |attempt: &str| self.window.with_value(|window| window.source(attempt).is_some());
        let fresh: Vec<_> = attempts.into_iter().filter(|(_, attempt)| !known(attempt)).collect();
        let lines = (FIRST_LINES / fresh.len().max(1)).max(400) as u64;
        stream::iter(fresh)
            .for_each_concurrent(AT_ONCE, |(agent, attempt)| async move {
                // A tail that cannot be read now comes by the watch, from its start.
                let _ = self.load_tail(&agent, &attempt, lines).await;
            })
            .await;
    }

    async fn load_tail(self, agent: &str, attempt: &str, lines: u64) -> Answer<()> {
        let mut chunks = api::read_log(attempt.to_owned(), Start::TailLines(lines), 0).await?;
        let pace = Pace::new();
        while let Some(message) = chunks.message().await? {
            if let Some(chunk) = message.chunk {
                self.take_chunk(agent, &chunk);
            }
            pace.breathe().await;
        }
        Ok(())
    }

    async fn follow(self, id: String, agents: Vec<String>, output: OutputMode, sync: RwSignal<Sync>) {
        let open = move || {
            let request = WatchTaskRequest {
                task_id: id.clone(),
                output: output.into(),
                positions: self.positions(),
                agents: agents.clone(),
                no_follow: false,
                all_attempts: false,
            };
            api::watch_task(request)
        };
        api::keep_watching(
            sync,
            open,
            move |message| self.take(message),
            move || self.view.with_value(TaskView::is_finished),
        )
        .await;
    }

    fn positions(self) -> Vec<AttemptPosition> {
        let position = |attempt: &str, next_seq| AttemptPosition {
            attempt_id: attempt.to_owned(),
            next_seq,
        };
        let mut positions: Vec<_> = self.window.with_value(|window| {
            window
                .sources()
                .iter()
                .map(|source| position(&source.attempt_id, source.next_seq))
                .collect()
        });
        if self.view.with_value(TaskView::is_sql) {
            positions = self.results.with_value(|results| {
                results
                    .values()
                    .map(|results| position(&results.attempt_id, results.next_seq))
                    .collect()
            });
        }
        positions
    }

    fn take(self, message: WatchTaskResponse) -> Next {
        match message.event {
            Some(Event::Task(task)) => {
                let changed = self.view.try_update_value(|view| view.set_task(task));
                self.flush(changed == Some(true), false);
            }
            Some(Event::Execution(execution)) => {
                let changed = self.view.try_update_value(|view| view.set_execution(execution));
                self.flush(changed == Some(true), false);
            }
            Some(Event::Chunk(chunk)) => {
                let agent = self.view.with_value(|view| {
                    let newest = view.by_attempt(&chunk.attempt_id);
                    newest.map(|execution| execution.agent_name.clone())
                });
                match agent {
                    Some(agent) => self.take_chunk(&agent, &chunk),
                    // Output of an attempt that was replaced: not shown here.
                    None if self.is_old(&chunk.attempt_id) => {}
                    // Output before its execution: ask again from where we are; nothing is lost.
                    None => return Next::Reopen,
                }
            }
            Some(Event::Events(_) | Event::Heartbeat(_)) | None => {}
        }
        Next::Continue
    }

    fn is_old(self, attempt_id: &str) -> bool {
        self.view.with_value(|view| {
            view.executions()
                .iter()
                .any(|execution| execution.attempts.iter().any(|attempt| attempt.id == attempt_id))
        })
    }

    fn take_chunk(self, agent: &str, chunk: &LogChunk) {
        let events = match api::decode(chunk) {
            Ok(events) => events,
            Err(failure) => return self.problem.set(Some(failure)),
        };
        self.window.update_value(|window| {
            window.feed(agent, &chunk.attempt_id, chunk.first_seq, chunk.first_line, &events);
        });
        if self.view.with_value(TaskView::is_sql) {
            self.results.update_value(|results| {
                let entry = results
                    .entry(agent.to_owned())
                    .or_insert_with(|| Results::new(&chunk.attempt_id));
                if entry.attempt_id != chunk.attempt_id {
                    *entry = Results::new(&chunk.attempt_id);
                }
                entry.feed(chunk.first_seq, &events);
            });
        }
        self.flush(false, true);
    }

    /// Shows what changed, soon, and not for every message.
    pub(crate) fn flush(self, states: bool, output: bool) {
        if !states && !output {
            return;
        }
        // The page may have been left while something was read.
        let Some(pending) = self.flushing.try_get_value() else {
            return;
        };
        self.flushing.set_value((pending.0 || states, pending.1 || output));
        if pending.0 || pending.1 {
            return;
        }
        spawn_local(async move {
            gloo_timers::future::TimeoutFuture::new(FLUSH_MS).await;
            let Some((states, output)) = self.flushing.try_get_value() else {
                return;
            };
            self.flushing.set_value((false, false));
            if states {
                let _ = self.states.try_update(|states| *states += 1);
            }
            if output {
                let _ = self.output.try_update(|output| *output += 1);
            }
        });
    }
}
