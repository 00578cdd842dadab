//! The road that output comes back on: watch a task, show its chunks in order, survive a cut connection without gap or
//! duplicate, let go at Ctrl-C.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use opslink::{
    chunk::next_seq,
    pb::{
        AttemptPosition, LogChunk, OutputMode, Task, WatchTaskRequest, WatchTaskResponse, task_spec::Action,
        watch_task_response::Event,
    },
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

mod cut;

use cut::Cut;

use crate::{
    connect::Client,
    exit::Exit,
    failure::Failure,
    patience::{Patience, Setback},
    progress::{self, Progress},
    render::{self, Screen, Script},
    terminal,
    text::text,
};

/// The cloud says something every 15 s; after three silences the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// How often unfinished lines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What to watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    /// Full id of the task.
    pub(crate) task_id: String,
    /// Only these agents; all when empty.
    pub(crate) agents: Vec<String>,
    /// Stop after what is stored.
    pub(crate) no_follow: bool,
    /// Also older attempts.
    pub(crate) all_attempts: bool,
    /// States only.
    pub(crate) no_output: bool,
    /// Where to go on, by attempt.
    pub(crate) positions: HashMap<String, u64>,
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything was shown.
    Complete,
    /// Ctrl-C, or nobody reads our output any more.
    Detached,
}

/// What a watcher sees beside output.
pub(crate) trait Observer {
    /// The task or one of its executions changed.
    fn changed(&mut self, progress: &Progress, agent_id: Option<&str>);
}

/// Watches nothing: output is enough.
impl Observer for () {
    fn changed(&mut self, _: &Progress, _: Option<&str>) {}
}

/// Follows a task to its end, or until the user has enough.
pub(crate) async fn follow(
    client: &Client,
    watch: Watch,
    progress: &mut Progress,
    screen: Screen,
    observer: &mut dyn Observer,
) -> Result<End, Failure> {
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut follower = Follower {
        watch,
        progress,
        screen: Some(screen),
        observer,
        used: false,
    };
    if follower.progress.task.spec.is_some() {
        follower.set_script();
    }
    let result = tokio::select! {
        biased;
        _ = &mut interrupt => Ok(End::Detached),
        result = follower.run(client) => result,
    };
    if result == Ok(End::Detached) {
        say_detached(&follower.progress.task);
    }
    result
}

/// Tells how to come back and how to cancel.
pub(crate) fn say_detached(task: &Task) {
    if task.id.is_empty() {
        return;
    }
    let id = progress::short(&task.id);
    terminal::say_always(&text(
        "run-detached",
        &[
            ("back", &format!("cloudctl logs {id} -f")),
            ("cancel", &format!("cloudctl task cancel {id}")),
        ],
    ));
}

struct Follower<'a> {
    watch: Watch,
    progress: &'a mut Progress,
    /// Absent while a helper thread works with it.
    screen: Option<Screen>,
    observer: &'a mut dyn Observer,
    /// Whether the screen has shown anything.
    used: bool,
}

impl Follower<'_> {
    async fn run(&mut self, client: &Client) -> Result<End, Failure> {
        let mut patience = Patience::default();
        loop {
            let mut heard = false;
            let cut = match self.open(client).await {
                Ok(stream) => self.stream(stream, &mut heard).await,
                Err(status) => Cut::of(&status),
            };
            if heard {
                patience.heard(cut.setback());
            }
            match cut {
                Cut::Complete => {
                    self.finish().await?;
                    return Ok(End::Complete);
                }
                Cut::Unread => return Ok(End::Detached),
                Cut::Fatal(failure) => return Err(failure),
                Cut::Again(setback) => {
                    if let Err(failure) = patience.pause(setback).await {
                        say_detached(&self.progress.task);
                        return Err(failure);
                    }
                }
            }
        }
    }

    async fn open(&self, client: &Client) -> Result<Streaming<WatchTaskResponse>, Status> {
        let positions = self.watch.positions.iter();
        let output = if self.watch.no_output {
            OutputMode::Unspecified
        } else {
            OutputMode::Chunks
        };
        let request = WatchTaskRequest {
            task_id: self.watch.task_id.clone(),
            output: output.into(),
            positions: positions
                .map(|(attempt_id, next_seq)| AttemptPosition {
                    attempt_id: attempt_id.clone(),
                    next_seq: *next_seq,
                })
                .collect(),
            agents: self.watch.agents.clone(),
            no_follow: self.watch.no_follow,
            all_attempts: self.watch.all_attempts,
        };
        Ok(client.tasks().watch_task(request).await?.into_inner())
    }

    /// Shows what comes. `heard` becomes true with the first of it that is new: each stream begins with what was told before.
    async fn stream(
        &mut self,
        mut stream: impl Stream<Item = Result<WatchTaskResponse, Status>> + Unpin,
        heard: &mut bool,
    ) -> Cut {
        let mut silent_since = Instant::now();
        loop {
            let message = if self.screen.as_ref().is_some_and(Screen::is_waiting) {
                tokio::time::timeout(TICK, stream.next()).await
            } else {
                tokio::time::timeout(SILENCE, stream.next()).await
            };
            let message = match message {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(status))) => return Cut::of(&status),
                Ok(None) if self.watch.no_follow || self.progress.is_finished() => return Cut::Complete,
                // The cloud let go of us before the end: it is about to stop.
                Ok(None) => return Cut::lost(Failure::local(Exit::Unreachable, "CONNECTION_LOST", &[("detail", "")])),
                Err(_) if silent_since.elapsed() < SILENCE => match self.tick().await {
                    Ok(()) => continue,
                    Err(cut) => return cut,
                },
                Err(_) => {
                    let detail = text("run-silent", &[("n", &SILENCE.as_secs().to_string())]);
                    return Cut::lost(Failure::local(
                        Exit::Unreachable,
                        "CONNECTION_LOST",
                        &[("detail", &detail)],
                    ));
                }
            };
            silent_since = Instant::now();
            match self.message(message).await {
                Ok(is_new) => *heard |= is_new,
                Err(cut) => return cut,
            }
        }
    }

    /// Takes a message in; false when it says nothing new.
    async fn message(&mut self, message: WatchTaskResponse) -> Result<bool, Cut> {
        match message.event {
            Some(Event::Task(task)) => {
                let had_spec = self.progress.task.spec.is_some();
                self.progress.task = task;
                if !had_spec {
                    self.set_script();
                }
                self.observer.changed(self.progress, None);
                Ok(false)
            }
            Some(Event::Execution(execution)) => {
                let agent_id = execution.agent_id.clone();
                let is_new = self.progress.update(execution);
                self.observer.changed(self.progress, Some(&agent_id));
                Ok(is_new)
            }
            Some(Event::Chunk(chunk)) => self.chunk(chunk).await,
            // All is well, and nothing happens.
            Some(Event::Heartbeat(_)) => Ok(true),
            // Asked for chunks, not for events.
            Some(Event::Events(_)) | None => Ok(false),
        }
    }

    /// Shows a chunk; false when it was shown before.
    async fn chunk(&mut self, chunk: LogChunk) -> Result<bool, Cut> {
        let wanted = self.watch.positions.get(&chunk.attempt_id).copied().unwrap_or_default();
        let end = next_seq(&chunk);
        if end <= wanted {
            return Ok(false);
        }
        if chunk.first_seq > wanted {
            // A gap is never shown as if it were none: ask again from where we are.
            let detail = format!("{wanted} < {}", chunk.first_seq);
            return Err(Cut::lost(Failure::local(
                Exit::Unexpected,
                "OUTPUT_GAP",
                &[("detail", &detail)],
            )));
        }
        let attempt_id = chunk.attempt_id.clone();
        if chunk.event_count == 1 && chunk.outcome.is_some() {
            // The end alone: nothing to show, and no helper thread to wake for it.
            self.watch.positions.insert(attempt_id, end);
            return Ok(true);
        }
        self.used = true;
        let agent = self
            .progress
            .agent_of(&attempt_id)
            .unwrap_or_else(|| progress::short(&attempt_id))
            .to_owned();
        self.with_screen(move |screen| screen.chunk(&agent, &chunk, wanted))
            .await?;
        self.watch.positions.insert(attempt_id, end);
        Ok(true)
    }

    async fn tick(&mut self) -> Result<(), Cut> {
        self.with_screen(Screen::tick).await
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        if !self.used && self.screen.as_ref().is_some_and(Screen::is_untouched) {
            return Ok(());
        }
        match self.with_screen(Screen::finish).await {
            Ok(()) | Err(Cut::Complete | Cut::Unread) => Ok(()),
            Err(Cut::Again(Setback::Lost(failure) | Setback::Refused(failure)) | Cut::Fatal(failure)) => Err(failure),
        }
    }

    fn set_script(&mut self) {
        let Some(Action::Sql(sql)) = self.progress.task.spec.as_ref().and_then(|spec| spec.action.as_ref()) else {
            return;
        };
        let script = Script {
            name: sql.script_name.clone(),
            text: String::from_utf8_lossy(&sql.script).into_owned(),
        };
        if let Some(screen) = &mut self.screen {
            screen.set_script(script);
        }
    }

    /// Lets a helper thread work with the screen, so that a full pipe or a stopped terminal blocks neither Ctrl-C nor
    /// the connection.
    async fn with_screen(
        &mut self,
        work: impl FnOnce(&mut Screen) -> Result<(), render::Error> + Send + 'static,
    ) -> Result<(), Cut> {
        let Some(mut screen) = self.screen.take() else {
            return Ok(());
        };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut screen);
            (screen, result)
        });
        let (screen, result) = done
            .await
            .map_err(|error| Cut::Fatal(Failure::unexpected(&error.to_string())))?;
        self.screen = Some(screen);
        match result {
            Ok(()) => Ok(()),
            Err(render::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Cut::Unread),
            Err(render::Error::Io(error)) => {
                let detail = error.to_string();
                Err(Cut::Fatal(Failure::local(
                    Exit::Unexpected,
                    "OUTPUT_NOT_WRITTEN",
                    &[("detail", &detail)],
                )))
            }
            Err(render::Error::Chunk(error)) => Err(Cut::Fatal(Failure::local(
                Exit::Unexpected,
                "OUTPUT_DAMAGED",
                &[("detail", &error.to_string())],
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use opslink::pb::Execution;

    use super::*;

    /// The opening of a watch, and no more.
    fn opening() -> Vec<Result<WatchTaskResponse, Status>> {
        let execution = Execution {
            agent_id: "a".to_owned(),
            ..Execution::default()
        };
        [Event::Task(Task::default()), Event::Execution(execution)]
            .map(|event| Ok(WatchTaskResponse { event: Some(event) }))
            .into_iter()
            .chain([Err(Status::unavailable("gone"))])
            .collect()
    }

    /// Every try began with the task, so each was the first, at once, and said so.
    #[tokio::test]
    async fn a_stream_that_ends_behind_what_was_told_before_has_brought_nothing() {
        let mut progress = Progress::default();
        let mut follower = Follower {
            watch: Watch::default(),
            progress: &mut progress,
            screen: None,
            observer: &mut (),
            used: false,
        };
        for is_new in [true, false] {
            let mut heard = false;
            let cut = follower.stream(tokio_stream::iter(opening()), &mut heard).await;
            assert!(matches!(cut, Cut::Again(_)));
            assert_eq!(heard, is_new);
        }
    }
}
