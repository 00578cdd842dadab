//! Runs the statements of a script in order, with their transaction, errors, limits and cancellation.

use std::time::{Duration, Instant};

use bytes::Bytes;
use opslink::{
    event::{EventBody, Level, Note, StatementEnd, StatementError, StatementStart},
    reason::Reason,
    task::{ExecutionState, SqlOnError, SqlSpec, SqlTransaction},
};
use sqlx::Error;
use tracing::instrument::WithSubscriber as _;

use super::{
    canceled, error,
    notice::Notices,
    session::{Done, Session},
    split::Statement,
    table::{Tables, now},
};
use crate::executor::{Context, Failure, Finish};

/// Length of a statement's summary, in characters.
const SUMMARY_CHARS: usize = 200;

/// One script on one session.
pub(super) struct Run<'a> {
    spec: &'a SqlSpec,
    ctx: &'a Context,
    session: Box<dyn Session>,
    tables: Tables,
    notices: Notices,
}

/// How a statement ended.
enum Ended {
    Well,
    Badly(Finish),
    /// The runner wants the end.
    Canceled,
    /// The connection is gone: nothing more can be sent.
    Gone(Finish),
}

impl<'a> Run<'a> {
    pub(super) fn new(spec: &'a SqlSpec, ctx: &'a Context, session: Box<dyn Session>) -> Self {
        let tables = Tables::new(ctx.sink.clone(), spec.max_rows);
        Self {
            spec,
            ctx,
            session,
            tables,
            notices: Notices::default(),
        }
    }

    /// Runs them all, and ends the transaction.
    pub(super) async fn all(mut self, statements: &[Statement]) -> Result<Finish, Failure> {
        let single = self.spec.transaction == SqlTransaction::Single;
        if single {
            let connection = self.spec.connection.as_deref().unwrap_or("default");
            self.control("BEGIN")
                .await
                .map_err(|error| error::connect(connection, &error))?;
            if self.session.commits_ddl() {
                self.note(
                    Level::Info,
                    "DDL on this database commits by itself, also inside one transaction",
                )
                .await;
            }
        }
        let mut finish = succeeded();
        for (index, statement) in statements.iter().enumerate() {
            if self.ctx.cancel.is_cancelled() {
                self.note_unsent(statements.len() - index).await;
                finish = canceled();
                break;
            }
            match self.one(u32::try_from(index).unwrap_or(u32::MAX), statement).await {
                Ended::Well => {}
                Ended::Badly(bad) => {
                    // The first error is the one that is told.
                    if finish.state == ExecutionState::Succeeded {
                        finish = bad;
                    }
                    if single || self.spec.on_error == SqlOnError::Stop {
                        self.note_unsent(statements.len() - index - 1).await;
                        break;
                    }
                }
                Ended::Gone(gone) => {
                    self.note_unsent(statements.len() - index - 1).await;
                    self.session.close().await;
                    return Ok(gone);
                }
                Ended::Canceled => {
                    self.note_unsent(statements.len() - index - 1).await;
                    finish = canceled();
                    break;
                }
            }
        }
        if single {
            finish = self.end_transaction(finish).await;
        }
        self.session.close().await;
        Ok(finish)
    }

    async fn end_transaction(&mut self, finish: Finish) -> Finish {
        if finish.state != ExecutionState::Succeeded {
            let rolled_back = self.control("ROLLBACK").await.is_ok();
            let message = if rolled_back {
                "everything was rolled back"
            } else {
                "the connection was lost: the database rolls back"
            };
            self.note(Level::Warning, message).await;
            return finish;
        }
        match self.control("COMMIT").await {
            Ok(()) => finish,
            Err(error) => failed(Reason::SqlFailed, 0, &format!("COMMIT failed: {error}")),
        }
    }

    async fn control(&mut self, sql: &str) -> Result<(), Error> {
        let mut silent = Tables::new(self.ctx.sink.clone(), Some(0));
        self.session.execute(sql, &mut silent).await.map(drop)
    }

    async fn one(&mut self, number: u32, statement: &Statement) -> Ended {
        let sql = self.spec.script.get(statement.range.clone()).unwrap_or_default();
        let summary = summary(sql);
        self.emit(EventBody::StatementStart(StatementStart {
            statement: number,
            line: statement.line,
            summary,
        }))
        .await;
        self.ctx.sink.flush();
        self.tables.begin_statement(number);

        let started = Instant::now();
        let outcome = self.guarded(sql, statement).await;
        for note in self.notices.take() {
            self.emit(EventBody::Note(note)).await;
        }
        let (result, ended_by) = outcome;
        let (rows_returned, rows_cut) = self.tables.counts();
        let mut end = StatementEnd {
            statement: number,
            rows_returned,
            rows_cut,
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            tag: statement.tag.clone(),
            ..StatementEnd::default()
        };
        let ended = match &result {
            Ok(done) => {
                end.rows_affected = done.affected;
                Ended::Well
            }
            Err(error) => {
                let told = self.error_of(error, sql, statement, ended_by);
                let ended = self.ended(error, &told, ended_by);
                end.error = Some(told);
                ended
            }
        };
        self.emit(EventBody::StatementEnd(end)).await;
        self.ctx.sink.flush();
        ended
    }

    fn error_of(&self, error: &Error, sql: &str, statement: &Statement, ended_by: EndedBy) -> StatementError {
        let offset = self.session.offset(error, sql);
        let mut told = error::statement(error, offset, &self.spec.script, statement.range.start, statement.line);
        match ended_by {
            EndedBy::Itself => {}
            EndedBy::Cancel => told.message = format!("ended on request ({})", told.message),
            EndedBy::Timeout => {
                let limit = self.spec.statement_timeout.unwrap_or_default().as_secs();
                told.message = format!("ended after {limit} s, the limit of a statement ({})", told.message);
            }
        }
        told
    }

    fn ended(&self, error: &Error, told: &StatementError, ended_by: EndedBy) -> Ended {
        let detail = told.message.clone();
        match ended_by {
            EndedBy::Cancel => Ended::Canceled,
            EndedBy::Timeout => Ended::Badly(failed(Reason::StatementTimeout, told.line, &detail)),
            EndedBy::Itself => match error {
                Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed | Error::PoolClosed => Ended::Gone(failed(
                    Reason::SqlFailed,
                    told.line,
                    &format!("the connection was lost: {detail}"),
                )),
                _ => Ended::Badly(failed(Reason::SqlFailed, told.line, &detail)),
            },
        }
    }

    /// Runs one statement until it ends, is canceled, or is too slow; then the database is asked to end it.
    async fn guarded(&mut self, sql: &str, statement: &Statement) -> (Result<Done, Error>, EndedBy) {
        let killer = self.session.killer();
        let data = statement
            .copy_data
            .clone()
            .map(|range| Bytes::copy_from_slice(self.spec.script.as_bytes().get(range).unwrap_or_default()));
        let dispatch = self.notices.dispatch();
        let session = &mut self.session;
        let tables = &mut self.tables;
        let running = async move {
            match data {
                Some(data) => session.copy_in(sql, data).await,
                None => session.execute(sql, tables).await,
            }
        };
        let mut running = std::pin::pin!(running.with_subscriber(dispatch));
        let too_slow = async {
            match self.spec.statement_timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let ended_by = tokio::select! {
            biased;
            result = &mut running => return (result, EndedBy::Itself),
            () = self.ctx.cancel.cancelled() => EndedBy::Cancel,
            () = too_slow => EndedBy::Timeout,
        };
        // Asking again covers a statement that began in the moment of the first question.
        let deadline = Instant::now() + self.ctx.grace;
        while Instant::now() < deadline {
            let asked = killer.kill().await;
            let wait = Duration::from_millis(if asked.is_ok() { 500 } else { 1000 });
            if let Ok(result) = tokio::time::timeout(wait, &mut running).await {
                // A statement that came to its own good end in the meantime has done so.
                return (result, ended_by);
            }
        }
        // Closing the connection is the last means: databases end a statement whose client is gone.
        (
            Err(Error::Protocol(
                "the database did not end the statement; the connection was closed".into(),
            )),
            ended_by,
        )
    }

    async fn note_unsent(&mut self, count: usize) {
        if count > 0 {
            let message = format!(
                "{count} statement{} after this one {} not sent",
                if count == 1 { "" } else { "s" },
                if count == 1 { "was" } else { "were" }
            );
            self.note(Level::Warning, &message).await;
        }
    }

    async fn note(&mut self, level: Level, message: &str) {
        self.emit(EventBody::Note(Note {
            level,
            reason: String::new(),
            message: message.to_owned(),
        }))
        .await;
    }

    async fn emit(&mut self, body: EventBody) {
        self.ctx.sink.emit(now(body)).await;
    }
}

/// Who ended a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    Itself,
    Cancel,
    Timeout,
}

fn succeeded() -> Finish {
    Finish {
        state: ExecutionState::Succeeded,
        exit_code: None,
        signal: None,
        reason: String::new(),
        message: String::new(),
    }
}

fn failed(reason: Reason, line: u32, detail: &str) -> Finish {
    Finish {
        state: ExecutionState::Failed,
        exit_code: None,
        signal: None,
        reason: reason.code().to_owned(),
        message: format!("line {line}: {detail}"),
    }
}

fn summary(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    let mut summary = words.next().unwrap_or_default().to_owned();
    for word in words {
        if summary.chars().count() > SUMMARY_CHARS {
            break;
        }
        summary.push(' ');
        summary.push_str(word);
    }
    if summary.chars().count() > SUMMARY_CHARS {
        summary = summary.chars().take(SUMMARY_CHARS - 1).chain(['…']).collect();
    }
    summary
}
