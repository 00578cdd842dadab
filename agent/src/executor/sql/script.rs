//! Runs the statements of a script in order, with their transaction, errors, limits and cancellation.

use std::time::{Duration, Instant};

use opslink::{
    event::{EventBody, Level, Note, StatementEnd, StatementStart},
    task::{ExecutionState, SqlOnError, SqlSpec, SqlTransaction},
};

use super::{
    error::{self, Error},
    finish::{self, canceled, succeeded},
    guard::{EndedBy, Guarded, guarded},
    read_only::is_transaction_control,
    session::{Quoting, Sent, Session, Transaction, timed},
    split::{Statement, summary},
    table::{Tables, now},
};
use crate::executor::{Context, Failure, Finish};

/// Limit of a statement of our own that has nothing to wait for: BEGIN, ROLLBACK.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// What the script is run under.
pub(super) struct Rules<'a> {
    pub(super) spec: &'a SqlSpec,
    /// The connection's name, for messages.
    pub(super) connection: &'a str,
    /// Asked for by the task, or by the machine's owner.
    pub(super) read_only: bool,
    /// How the splitter read quotes.
    pub(super) quoting: Quoting,
}

/// One script on one session.
pub(super) struct Run<'a> {
    rules: Rules<'a>,
    ctx: &'a Context,
    session: Box<dyn Session>,
    tables: Tables,
    /// `--tx single`: the transaction that was begun here.
    single: Single,
}

/// What has become of the one transaction.
#[derive(Default)]
struct Single {
    is_asked: bool,
    /// The last statement that ended it: its word and its line.
    ended_by: Option<(String, u32)>,
}

/// How a statement ended.
enum Ended {
    Well,
    Badly(Finish),
    /// The runner wants the end.
    Canceled,
    /// Nothing more can be sent.
    Gone(Result<Finish, Failure>),
}

impl<'a> Run<'a> {
    pub(super) fn new(rules: Rules<'a>, ctx: &'a Context, session: Box<dyn Session>) -> Self {
        let tables = Tables::new(ctx.sink.clone(), rules.spec.max_rows);
        let single = Single {
            is_asked: rules.spec.transaction == SqlTransaction::Single,
            ended_by: None,
        };
        Self {
            rules,
            ctx,
            session,
            tables,
            single,
        }
    }

    /// Runs them all, and ends the transaction.
    pub(super) async fn all(mut self, statements: &[Statement]) -> Result<Finish, Failure> {
        if self.single.is_asked
            && let Err(error) = self.begin().await
        {
            return Err(error::connect(self.rules.connection, &error));
        }
        let mut finish = succeeded();
        for (index, statement) in statements.iter().enumerate() {
            let after = statements.len() - index - 1;
            if self.ctx.cancel.is_cancelled() {
                self.note_unsent(after + 1).await;
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
                    if self.single.is_asked || self.rules.spec.on_error == SqlOnError::Stop {
                        self.note_unsent(after).await;
                        break;
                    }
                }
                Ended::Gone(gone) => {
                    self.note_unsent(after).await;
                    self.session.close().await;
                    return gone;
                }
                Ended::Canceled => {
                    self.note_unsent(after).await;
                    finish = canceled();
                    break;
                }
            }
        }
        let finish = if self.single.is_asked {
            self.end_single(finish).await
        } else {
            self.tell_open_transaction().await;
            Ok(finish)
        };
        self.session.close().await;
        finish
    }

    async fn begin(&mut self) -> Result<(), Error> {
        if self.rules.read_only {
            return timed(CONTROL_LIMIT, self.session.begin_read_only()).await;
        }
        let begin = Sent::sql("BEGIN");
        timed(CONTROL_LIMIT, self.session.execute(begin, &mut Tables::silent()))
            .await
            .map(drop)
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        let rollback = Sent::sql("ROLLBACK");
        timed(CONTROL_LIMIT, self.session.execute(rollback, &mut Tables::silent()))
            .await
            .map(drop)
    }

    async fn end_single(&mut self, finish: Finish) -> Result<Finish, Failure> {
        // A cancel that came before the COMMIT leaves nothing; one that comes later finds it done.
        if finish.state == ExecutionState::Succeeded && !self.ctx.cancel.is_cancelled() {
            self.ctx.settled.set();
            return self.commit().await;
        }
        self.roll_back_and_tell().await;
        Ok(if finish.state == ExecutionState::Succeeded {
            canceled()
        } else {
            finish
        })
    }

    async fn commit(&mut self) -> Result<Finish, Failure> {
        let sent = Sent::sql("COMMIT");
        let Guarded {
            result,
            ended_by,
            is_left,
        } = guarded(self.session.as_mut(), &mut self.tables, sent, self.ctx, None).await;
        let error = match result {
            Ok(_) => return Ok(succeeded()),
            Err(error) => error,
        };
        if is_left {
            return Err(finish::left("COMMIT", &error));
        }
        if error.ends_connection() {
            return Ok(finish::doubt("COMMIT", &error));
        }
        // A COMMIT that the database refuses is a rollback.
        let text = self.rolled_back_text();
        self.note(Level::Warning, &text).await;
        Ok(match ended_by {
            EndedBy::Itself => finish::failed_at_end(&error),
            EndedBy::Cancel | EndedBy::Timeout => canceled(),
        })
    }

    async fn roll_back_and_tell(&mut self) {
        let message = match self.rollback().await {
            Ok(()) => self.rolled_back_text(),
            Err(_) => "the connection was lost: the database rolls back what was not committed".to_owned(),
        };
        self.note(Level::Warning, &message).await;
    }

    fn rolled_back_text(&self) -> String {
        let mut text = match &self.single.ended_by {
            None => "everything was rolled back".to_owned(),
            Some((word, line)) => format!(
                "what came after the {word} at line {line} was rolled back; what came before had been ended by it"
            ),
        };
        if let Some(kept) = self.session.kept_despite_rollback() {
            text = format!("not everything could be rolled back: {kept}");
        }
        text
    }

    async fn tell_open_transaction(&mut self) {
        match self.session.transaction() {
            Transaction::None => {}
            Transaction::Open | Transaction::Failed => {
                let message = "the script ended inside of a transaction; without a COMMIT the database rolls it back";
                self.note(Level::Warning, message).await;
            }
        }
    }

    async fn one(&mut self, number: u32, statement: &Statement) -> Ended {
        let script = &self.rules.spec.script;
        let sql = script.get(statement.range.clone()).unwrap_or_default();
        self.emit(EventBody::StatementStart(StatementStart {
            statement: number,
            line: statement.line,
            summary: summary(sql),
        }))
        .await;
        self.tables.begin_statement(number);

        let started = Instant::now();
        let data = statement.copy_data.clone();
        let sent = Sent {
            sql,
            copy_data: data.map(|range| script.as_bytes().get(range).unwrap_or_default()),
        };
        let was = self.session.transaction();
        let guarded = self.protected(sent, statement).await;
        let (rows_returned, rows_cut) = self.tables.counts();
        let mut end = StatementEnd {
            statement: number,
            rows_returned,
            rows_cut,
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            tag: statement.tag.clone(),
            ..StatementEnd::default()
        };
        let ended = match &guarded.result {
            Ok(done) => {
                end.rows_affected = done.affected;
                Ended::Well
            }
            Err(error) => {
                let script = &self.rules.spec.script;
                let mut told = error::statement(error, script, statement.range.start, statement.line);
                told.message = match guarded.ended_by {
                    EndedBy::Itself => told.message,
                    EndedBy::Cancel => format!("ended on request ({})", told.message),
                    EndedBy::Timeout => {
                        let limit = self.rules.spec.statement_timeout.unwrap_or_default().as_secs();
                        format!("ended after {limit} s, the limit of a statement ({})", told.message)
                    }
                };
                let ended = self.judge(error, &guarded, told.line, &told.message, statement, was);
                end.error = Some(told);
                ended
            }
        };
        let is_unclosed_copy = end.error.is_some()
            && statement
                .copy_data
                .as_ref()
                .is_some_and(|data| !data.is_empty() && data.end == script.len());
        self.emit(EventBody::StatementEnd(end)).await;
        if is_unclosed_copy {
            let message =
                r"what follows this COPY up to the end of the script was taken for its data; a line \. ends data";
            self.note(Level::Warning, message).await;
        }
        if matches!(ended, Ended::Well | Ended::Badly(_)) {
            self.keep_single(statement, &ended).await;
        }
        ended
    }

    /// What an error means for the attempt.
    fn judge(
        &self,
        error: &Error,
        guarded: &Guarded,
        line: u32,
        detail: &str,
        statement: &Statement,
        was: Transaction,
    ) -> Ended {
        let what = format!("the {} at line {}", statement.tag, statement.line);
        if guarded.is_left {
            return Ended::Gone(Err(finish::left(&what, error)));
        }
        if error.ends_connection() {
            let is_commit = matches!(statement.tag.as_str(), "COMMIT" | "END");
            // Outside of a transaction every statement is a commit of its own, unless the database said that it failed.
            let is_own_commit = was == Transaction::None && !matches!(error, Error::Lost(_));
            if (is_commit || is_own_commit) && !self.rules.read_only {
                return Ended::Gone(Ok(finish::doubt(&what, error)));
            }
            return match guarded.ended_by {
                EndedBy::Cancel => Ended::Gone(Ok(canceled())),
                EndedBy::Timeout => Ended::Gone(Ok(finish::too_slow(line, detail))),
                EndedBy::Itself => {
                    let text =
                        format!("the connection was lost; the database rolls back what was not committed ({detail})");
                    Ended::Gone(Ok(finish::failed(line, &text)))
                }
            };
        }
        match guarded.ended_by {
            EndedBy::Cancel => Ended::Canceled,
            EndedBy::Timeout => Ended::Badly(finish::too_slow(line, detail)),
            EndedBy::Itself => Ended::Badly(finish::failed(line, detail)),
        }
    }

    /// Runs a statement so that it cannot write, if that is asked for.
    async fn protected(&mut self, sent: Sent<'_>, statement: &Statement) -> Guarded {
        let limit = self.rules.spec.statement_timeout;
        if !self.rules.read_only || self.session.is_read_only_by_itself() {
            return guarded(self.session.as_mut(), &mut self.tables, sent, self.ctx, limit).await;
        }
        if self.session.quoting() != self.rules.quoting {
            // What was found to be one statement may be several in the server's eyes.
            return Guarded::refused("the script changed how the server reads quotes; read-only cannot be kept up");
        }
        let is_control = is_transaction_control(&statement.tag);
        let has_begun = matches!(statement.tag.as_str(), "BEGIN" | "START");
        let wraps = !is_control && self.session.transaction() == Transaction::None;
        if wraps && let Err(error) = timed(CONTROL_LIMIT, self.session.begin_read_only()).await {
            return Guarded::itself(Err(error));
        }
        let mut ran = guarded(self.session.as_mut(), &mut self.tables, sent, self.ctx, limit).await;
        let is_gone = ran.result.as_ref().is_err_and(Error::ends_connection);
        if is_gone {
            return ran;
        }
        let after = self.session.transaction();
        if wraps {
            if after == Transaction::None && ran.result.is_ok() {
                return Guarded::refused(
                    "the statement ended the read-only transaction around it; nothing more is sent",
                );
            }
            let end = Sent::sql(if ran.result.is_ok() { "COMMIT" } else { "ROLLBACK" });
            let ended = timed(CONTROL_LIMIT, self.session.execute(end, &mut Tables::silent())).await;
            if let (Ok(_), Err(error)) = (&ran.result, ended) {
                ran.result = Err(error);
            }
        } else if is_control
            && after == Transaction::Open
            && let Err(error) = timed(CONTROL_LIMIT, self.session.make_read_only(has_begun)).await
        {
            ran.result = Err(Error::Protocol(format!("read-only cannot be kept up: {error}")));
        }
        ran
    }

    /// A statement that ends the one transaction (COMMIT, DDL on MySQL) is told, and a new one is begun.
    async fn keep_single(&mut self, statement: &Statement, ended: &Ended) {
        if !self.single.is_asked || self.session.transaction() != Transaction::None {
            return;
        }
        let (word, line) = (statement.tag.clone(), statement.line);
        if matches!(ended, Ended::Well) {
            let message = format!("the {word} at line {line} ended the one transaction; a new one was begun after it");
            self.note(Level::Warning, &message).await;
            // One that cannot be begun shows at the next statement.
            let _ = self.begin().await;
        }
        self.single.ended_by = Some((word, line));
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
