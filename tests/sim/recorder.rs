//! The fake executor, watched: when each attempt started and ended, and everything that it said, written down a second
//! time beside the road.

use std::sync::Arc;

use async_trait::async_trait;
use opslink::{
    event::{ColumnData, ColumnKind, Event, EventBody, TableColumn, TableHeader, TableRows},
    id::AttemptId,
    task::{Action, ExecutionState, FakeSpec, FakeStep},
    time::UnixMicros,
};
use opslink_agent::executor::{self, Context, Executor, Failure, Finish, Health, Sink};

use crate::{script::Rows, shared::Shared};

/// What was seen of one start of an attempt.
#[derive(Debug)]
pub(crate) struct Run {
    /// First output of the task.
    pub(crate) marker: String,
    /// Where.
    pub(crate) agent: &'static str,
    /// When it started.
    pub(crate) started: UnixMicros,
    /// When the work ended; none when it never did, or its machine died.
    pub(crate) ended: Option<UnixMicros>,
    /// It was told to end before it had done everything.
    pub(crate) was_cut: bool,
    /// What it said.
    pub(crate) events: Vec<EventBody>,
}

/// See the module.
pub(crate) struct Recorder {
    inner: Box<dyn Executor>,
    agent: &'static str,
    shared: Shared,
}

impl Recorder {
    /// Makes the executor of an agent.
    pub(crate) fn new(agent: &'static str, shared: &Shared) -> Self {
        let fake = executor::all().into_iter().find(|executor| executor.kind() == "fake");
        Self {
            inner: fake.expect("there is a fake executor"),
            agent,
            shared: shared.clone(),
        }
    }

    async fn steps(&self, steps: &[FakeStep], rows: Option<Rows>, ctx: &Context) -> Result<Finish, Failure> {
        let mut finish = Finish::succeeded(Some(0));
        for (number, step) in steps.iter().enumerate() {
            let alone = Action::Fake(FakeSpec {
                steps: vec![step.clone()],
            });
            finish = self.inner.run(&alone, ctx).await?;
            if finish.state != ExecutionState::Succeeded {
                return Ok(finish);
            }
            if let (0, Some(rows)) = (number, rows) {
                say_rows(rows, ctx).await;
            }
        }
        Ok(finish)
    }
}

#[async_trait]
impl Executor for Recorder {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn validate(&self, action: &Action) -> Result<(), Failure> {
        self.inner.validate(action)
    }

    async fn run(&self, action: &Action, ctx: &Context) -> Result<Finish, Failure> {
        let Action::Fake(fake) = action else {
            panic!("only fakes are sent")
        };
        let Some(FakeStep::Stdout(marker)) = fake.steps.first() else {
            panic!("every task begins with its marker")
        };
        let marker = String::from_utf8_lossy(marker).into_owned();
        let attempt: AttemptId = ctx.setting.attempt_id.parse().expect("an attempt has an id");
        let place = self.shared.record.started(attempt, marker.clone(), self.agent);
        self.shared
            .trace(format_args!("{} starts {}", self.agent, marker.trim_end()));
        let rows = self.shared.job(&marker).and_then(|job| job.rows);
        if rows.is_some_and(|rows| rows.last_cell > 2 << 20) {
            self.shared.tally.count("big row");
        }
        let ctx = Context {
            sink: Arc::new(Listener {
                inner: Arc::clone(&ctx.sink),
                shared: self.shared.clone(),
                attempt,
                place,
            }),
            ..ctx.clone()
        };
        let result = self.steps(&fake.steps, rows, &ctx).await;
        self.shared.record.ended(attempt, place, ctx.cancel.is_cancelled());
        self.shared
            .trace(format_args!("{} has done {}", self.agent, marker.trim_end()));
        result
    }
}

async fn say_rows(rows: Rows, ctx: &Context) {
    let say = async |body| {
        let time_us = UnixMicros::now().0;
        ctx.sink.emit(Event { time_us, body }).await;
    };
    let column = TableColumn {
        name: "text".into(),
        type_name: "TEXT".into(),
        kind: ColumnKind::Text,
    };
    say(EventBody::TableHeader(TableHeader {
        table: 0,
        statement: 0,
        columns: vec![column],
    }))
    .await;
    for row in 0..rows.count {
        let length = if row + 1 == rows.count { rows.last_cell } else { 8 };
        let text = format!("{row:08}").repeat(length.div_ceil(8));
        let text = &text.as_bytes()[..length];
        say(EventBody::TableRows(TableRows {
            table: 0,
            row_count: 1,
            columns: vec![ColumnData {
                text: bytes::Bytes::copy_from_slice(text),
                lengths: vec![u32::try_from(length).expect("a short cell") + 1],
            }],
        }))
        .await;
    }
}

/// Writes down what is said, and hands it on.
struct Listener {
    inner: Arc<dyn Sink>,
    shared: Shared,
    attempt: AttemptId,
    place: usize,
}

impl Listener {
    fn heard(&self, event: &Event) {
        self.shared.record.heard(self.attempt, self.place, event.body.clone());
    }
}

#[async_trait]
impl Sink for Listener {
    async fn emit(&self, event: Event) {
        self.heard(&event);
        self.inner.emit(event).await;
    }

    fn emit_blocking(&self, event: Event) {
        self.heard(&event);
        self.inner.emit_blocking(event);
    }

    fn flush(&self) {
        self.inner.flush();
    }
}
