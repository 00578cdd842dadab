//! PostgreSQL by its simple query protocol, as psql speaks it: values come as the text that psql would print, notices in
//! their place among the rows, COPY in both directions, and an error leaves the session in step.
//!
//! The loop is our own over `postgres-protocol`. Drivers for applications prepare statements, set the session up for
//! themselves, and keep what a script's reader wants to see (notices, empty result sets, COPY) to themselves.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fallible_iterator::FallibleIterator as _;
use opslink::event::{Level, TableColumn};
use postgres_protocol::message::{backend::Message, frontend};

use super::{
    error::Error,
    session::{Done, FLUSH_AFTER, Killer, OpenError, Quoting, Sent, Session, Transaction, timed},
    table::Tables,
};
use crate::connections::Connection;
use options::Options;
use wire::{Incoming, Wire};

mod kill;
mod login;
mod options;
mod said;
mod tls;
mod wire;

/// Pieces in which COPY data goes out: the size that the server reads.
const COPY_BYTES: usize = 64 * 1024;

struct Postgres {
    wire: Wire,
    options: Options,
    parameters: BTreeMap<String, String>,
    status: u8,
    key: Option<(i32, i32)>,
    local_port: Option<u16>,
    is_tls: bool,
}

/// Opens a connection.
pub(super) async fn open(connection: &Connection) -> Result<Box<dyn Session>, OpenError> {
    let mut options = Options::parse(connection.url.expose())?;
    if let Some(password) = connection.password().map_err(OpenError::Entry)? {
        options.password = Some(password);
    }
    let login = timed(options.connect_timeout, login::login(&options)).await?;
    Ok(Box::new(Postgres {
        wire: login.wire,
        options,
        parameters: login.parameters,
        status: login.status,
        key: login.key,
        local_port: login.local_port,
        is_tls: login.is_tls,
    }))
}

/// What one statement has brought so far.
struct Progress<'a> {
    sent: Sent<'a>,
    data_given: bool,
    done: Done,
    /// The first error: later ones are its consequences.
    error: Option<Error>,
}

#[async_trait]
impl Session for Postgres {
    async fn execute(&mut self, sent: Sent<'_>, tables: &mut Tables) -> Result<Done, Error> {
        frontend::query(sent.sql, self.wire.output()).map_err(|_| {
            Error::said(
                "22021",
                "the statement holds a NUL byte, which PostgreSQL does not take",
            )
        })?;
        let mut progress = Progress {
            sent,
            data_given: false,
            done: Done::default(),
            error: None,
        };
        let ended = self.until_ready(&mut progress, tables).await;
        tables.end_set().await;
        match (ended, progress.error) {
            (Ok(()), None) => Ok(progress.done),
            (Ok(()), Some(error)) => Err(error),
            // What the server said before it closed tells more than the close.
            (Err(_), Some(Error::Said(said))) => Err(Error::Lost(said)),
            (Err(error), _) => Err(error),
        }
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(kill::Kill {
            options: self.options.clone(),
            key: self.key,
            local_port: self.local_port,
            is_tls: self.is_tls,
        })
    }

    fn transaction(&self) -> Transaction {
        match self.status {
            b'T' => Transaction::Open,
            b'E' => Transaction::Failed,
            _ => Transaction::None,
        }
    }

    fn quoting(&self) -> Quoting {
        let conforming = self.parameters.get("standard_conforming_strings");
        Quoting {
            backslash_everywhere: conforming.is_some_and(|value| value == "off"),
            no_backslash: false,
        }
    }

    async fn begin_read_only(&mut self) -> Result<(), Error> {
        // After its first query a transaction cannot become writable any more.
        self.silently("BEGIN READ ONLY; SELECT 1").await
    }

    async fn make_read_only(&mut self, _: bool) -> Result<(), Error> {
        self.silently("SET TRANSACTION READ ONLY; SELECT 1").await
    }

    async fn close(mut self: Box<Self>) {
        // The server rolls back what is open; a server that is gone has done so already.
        frontend::terminate(self.wire.output());
        let _ = tokio::time::timeout(super::CLOSE_LIMIT, self.wire.send()).await;
    }
}

impl Postgres {
    async fn silently(&mut self, sql: &str) -> Result<(), Error> {
        self.execute(Sent::sql(sql), &mut Tables::silent()).await.map(drop)
    }

    async fn until_ready(&mut self, progress: &mut Progress<'_>, tables: &mut Tables) -> Result<(), Error> {
        self.wire.send().await?;
        loop {
            let incoming = match self.wire.ready()? {
                Some(incoming) => incoming,
                None => {
                    self.wait(tables).await?;
                    continue;
                }
            };
            let message = match incoming {
                Incoming::Message(Message::ReadyForQuery(body)) => {
                    self.status = body.status();
                    return Ok(());
                }
                Incoming::Message(message) => message,
                Incoming::CopyPiece(data) => {
                    tables.output(&data).await;
                    continue;
                }
                Incoming::RowTooLarge(size) => {
                    progress.error.get_or_insert_with(|| tables.row_too_large(size));
                    continue;
                }
            };
            self.take(message, progress, tables).await?;
        }
    }

    /// Waits for the server. What was collected shall not wait longer than a chunk would.
    async fn wait(&mut self, tables: &mut Tables) -> Result<(), Error> {
        if !tables.has_pending() {
            return self.wire.more().await;
        }
        match tokio::time::timeout(FLUSH_AFTER, self.wire.more()).await {
            Ok(more) => more,
            Err(_) => {
                tables.flush().await;
                self.wire.more().await
            }
        }
    }

    async fn take(&mut self, message: Message, progress: &mut Progress<'_>, tables: &mut Tables) -> Result<(), Error> {
        match message {
            Message::DataRow(row) => {
                if progress.error.is_none() {
                    self.row(&row, tables).await?;
                }
            }
            Message::RowDescription(description) => {
                let column = |field: postgres_protocol::message::backend::Field<'_>| {
                    let (type_name, kind) = said::type_of(field.type_oid());
                    Ok(TableColumn {
                        name: field.name().to_owned(),
                        type_name: type_name.to_owned(),
                        kind,
                    })
                };
                tables.begin_set(description.fields().map(column).collect()?);
            }
            Message::CommandComplete(body) => {
                let count = body.tag()?.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
                if !tables.end_set().await
                    && let Some(count) = count
                {
                    progress.done.affected = Some(progress.done.affected.unwrap_or(0) + count);
                }
            }
            Message::CopyData(body) => tables.output(body.data()).await,
            Message::CopyInResponse(_) => self.copy_in(progress).await?,
            Message::NoticeResponse(body) => {
                let (said, rest) = said::said(body.fields(), "")?;
                let (level, text) = said::notice(&said, &rest);
                tables.note(level, text).await;
            }
            Message::NotificationResponse(body) => {
                let (channel, payload) = (body.channel()?, body.message()?);
                let with = if payload.is_empty() {
                    String::new()
                } else {
                    format!(" with payload “{payload}”")
                };
                let from = body.process_id();
                let text = format!("notification “{channel}”{with} from the server process with PID {from}");
                tables.note(Level::Info, text).await;
            }
            Message::ParameterStatus(body) => {
                self.parameters
                    .insert(body.name()?.to_owned(), body.value()?.to_owned());
            }
            Message::ErrorResponse(body) => {
                let (mut said, rest) = said::said(body.fields(), progress.sent.sql)?;
                if !rest.context.is_empty() {
                    let separator = if said.detail.is_empty() { "" } else { "\n" };
                    said.detail.push_str(&format!("{separator}CONTEXT:  {}", rest.context));
                }
                progress.error.get_or_insert(Error::Said(Box::new(said)));
            }
            // The beginning and the end of COPY … TO stdout, and of nothing.
            Message::CopyOutResponse(_) | Message::CopyDone | Message::EmptyQueryResponse => {}
            _ => {
                let text = "the server said something that does not belong to a simple query";
                return Err(Error::Protocol(text.to_owned()));
            }
        }
        Ok(())
    }

    async fn copy_in(&mut self, progress: &mut Progress<'_>) -> Result<(), Error> {
        match progress.sent.copy_data.filter(|_| !progress.data_given) {
            Some(data) => {
                progress.data_given = true;
                for piece in data.chunks(COPY_BYTES) {
                    frontend::CopyData::new(piece)?.write(self.wire.output());
                    self.wire.send().await?;
                }
                frontend::copy_done(self.wire.output());
            }
            None => frontend::copy_fail("the script holds no data for it", self.wire.output())?,
        }
        self.wire.send().await
    }

    async fn row(
        &mut self,
        row: &postgres_protocol::message::backend::DataRowBody,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        let buffer = row.buffer();
        if tables.begin_row(buffer.len()).await {
            let mut ranges = row.ranges();
            let mut index = 0;
            while let Some(range) = ranges.next()? {
                tables.cell(index, range.and_then(|range| buffer.get(range)));
                index += 1;
            }
            tables.end_row().await;
        }
        Ok(())
    }
}
