//! MySQL and MariaDB by the text protocol, with the flags of the mysql client: no `IGNORE_SPACE` (it forbids names, and is
//! saved into routines), no `FOUND_ROWS`. Nothing is sent at the start: a script finds the server's own session.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use mysql_async::{Conn, OptsBuilder, Row, Value, consts::StatusFlags, prelude::Queryable as _};
use opslink::event::Level;

use super::{
    error::Error,
    session::{CONNECT_TIMEOUT, Done, FLUSH_AFTER, Killer, OpenError, Quoting, Sent, Session, Transaction, timed},
    table::Tables,
};
use crate::connections::Connection;
use said::{error_of, is_binary};

mod kill;
mod options;
mod said;

/// The transaction was rolled back as a whole: a deadlock.
const DEADLOCK: &str = "1213";
/// A ROLLBACK could not take everything back.
const NOT_ROLLED_BACK: &str = "some tables that were changed are not transactional (MyISAM, MEMORY, …)";

struct Mysql {
    connection: Conn,
    options: OptsBuilder,
    transaction: Transaction,
    no_backslash: bool,
    kept: Option<String>,
    /// A statement asked for a file of this machine.
    file_asked: Arc<AtomicBool>,
}

/// Opens a connection.
pub(super) async fn open(connection: &Connection) -> Result<Box<dyn Session>, OpenError> {
    let parsed = options::parse(connection.url.expose())?;
    let password = connection.password().map_err(OpenError::Entry)?;
    let file_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&file_asked);
    // Files of this machine are not the script's to read. The driver always offers them, and a refusal would cost the
    // connection: an empty file is given, and the statement is told as failed.
    let handler = move |_: &[u8]| {
        asked.store(true, Ordering::SeqCst);
        let empty = futures::stream::empty::<std::io::Result<Bytes>>().boxed();
        std::future::ready(Ok(empty)).boxed()
    };
    let mut options = parsed.builder.local_infile_handler(Some(handler));
    if let Some(password) = password {
        options = options.pass(Some(password.expose()));
    }
    let opened = timed(CONNECT_TIMEOUT, connect(options.clone())).await;
    let connection = match opened {
        Err(Error::Tls(_)) if parsed.tls_is_optional => {
            // As the client's PREFERRED: without, when the server offers none.
            options = options.ssl_opts(None);
            timed(CONNECT_TIMEOUT, connect(options.clone())).await?
        }
        opened => opened?,
    };
    let mut session = Mysql {
        connection,
        options,
        transaction: Transaction::None,
        no_backslash: false,
        kept: None,
        file_asked,
    };
    session.take_status();
    Ok(Box::new(session))
}

async fn connect(options: OptsBuilder) -> Result<Conn, Error> {
    Conn::new(options).await.map_err(|error| error_of(error, ""))
}

#[async_trait]
impl Session for Mysql {
    async fn execute(&mut self, sent: Sent<'_>, tables: &mut Tables) -> Result<Done, Error> {
        self.kept = None;
        self.file_asked.store(false, Ordering::SeqCst);
        let result = self.run(sent.sql, tables).await;
        tables.end_set().await;
        self.take_status();
        match result {
            Ok(_) if self.file_asked.load(Ordering::SeqCst) => Err(Error::said(
                "",
                "LOAD DATA LOCAL reads a file of the client; here that is the agent's machine, whose files are not \
                 given away. Nothing was loaded",
            )),
            Ok(done) => {
                self.tell_warnings(sent.sql, tables).await;
                Ok(done)
            }
            Err(error) => {
                if matches!(&error, Error::Said(said) if said.code == DEADLOCK) {
                    self.transaction = Transaction::None;
                }
                Err(error)
            }
        }
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(kill::Kill {
            options: self.options.clone(),
            thread: self.connection.id(),
        })
    }

    fn transaction(&self) -> Transaction {
        self.transaction
    }

    fn quoting(&self) -> Quoting {
        Quoting {
            backslash_everywhere: false,
            no_backslash: self.no_backslash,
        }
    }

    async fn begin_read_only(&mut self) -> Result<(), Error> {
        let begin = Sent::sql("START TRANSACTION READ ONLY");
        self.execute(begin, &mut Tables::silent()).await.map(drop)
    }

    async fn make_read_only(&mut self, has_begun: bool) -> Result<(), Error> {
        // A chained transaction is as read-only as the one before; one that has just begun is begun again.
        if has_begun {
            self.begin_read_only().await
        } else {
            Ok(())
        }
    }

    fn kept_despite_rollback(&self) -> Option<String> {
        self.kept.clone()
    }

    async fn close(self: Box<Self>) {
        let _ = tokio::time::timeout(super::CLOSE_LIMIT, self.connection.disconnect()).await;
    }
}

impl Mysql {
    async fn run(&mut self, sql: &str, tables: &mut Tables) -> Result<Done, Error> {
        let wrong = |error| error_of(error, sql);
        let mut done = Done::default();
        let mut result = self.connection.query_iter(sql).await.map_err(wrong)?;
        loop {
            let columns = result.columns().unwrap_or_default();
            if columns.is_empty() {
                let affected = result.affected_rows();
                done.affected = Some(done.affected.unwrap_or(0) + affected);
            } else {
                tables.begin_set(columns.iter().map(said::column).collect());
                done.affected = None;
            }
            let hex: Vec<bool> = columns.iter().map(is_binary).collect();
            loop {
                let row = {
                    let mut next = std::pin::pin!(result.next());
                    match futures::poll!(&mut next) {
                        std::task::Poll::Ready(row) => row,
                        std::task::Poll::Pending if tables.has_pending() => {
                            match tokio::time::timeout(FLUSH_AFTER, &mut next).await {
                                Ok(row) => row,
                                Err(_) => {
                                    tables.flush().await;
                                    next.await
                                }
                            }
                        }
                        std::task::Poll::Pending => next.await,
                    }
                };
                match row.map_err(wrong)? {
                    Some(row) => write_row(&row, &hex, tables).await,
                    None => break,
                }
            }
            tables.end_set().await;
            if result.is_empty() {
                return Ok(done);
            }
        }
    }

    /// The server tells with each answer whether a transaction is open, and how it reads quotes.
    fn take_status(&mut self) {
        let Some(packet) = self.connection.last_ok_packet() else {
            return;
        };
        let status = packet.status_flags();
        self.transaction = if status.contains(StatusFlags::SERVER_STATUS_IN_TRANS) {
            Transaction::Open
        } else {
            Transaction::None
        };
        self.no_backslash = status.contains(StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES);
    }

    /// As the client: the number, not the texts. To ask for them would change what the script's next statement sees
    /// (`ROW_COUNT()`, `FOUND_ROWS()`).
    async fn tell_warnings(&mut self, sql: &str, tables: &mut Tables) {
        let count = self.connection.get_warnings();
        if count == 0 {
            return;
        }
        if sql.eq_ignore_ascii_case("ROLLBACK") {
            self.kept = Some(NOT_ROLLED_BACK.to_owned());
        }
        let text = format!(
            "{count} warning{}; SHOW WARNINGS after the statement shows {}",
            if count == 1 { "" } else { "s" },
            if count == 1 { "it" } else { "them" }
        );
        tables.note(Level::Warning, text).await;
    }
}

async fn write_row(row: &Row, hex: &[bool], tables: &mut Tables) {
    let cells = || (0..row.len()).map(|index| row.as_ref(index));
    let size = cells()
        .zip(hex)
        .map(|(value, hex)| match value {
            Some(Value::Bytes(bytes)) => bytes.len() * if *hex { 2 } else { 1 },
            _ => 0,
        })
        .sum();
    if !tables.begin_row(size).await {
        return;
    }
    for (index, (value, hex)) in cells().zip(hex).enumerate() {
        // The text protocol sends every value as text, whatever its type.
        match value {
            Some(Value::Bytes(bytes)) if *hex => tables.cell(index, Some(hex::encode(bytes).as_bytes())),
            Some(Value::Bytes(bytes)) => tables.cell(index, Some(bytes)),
            _ => tables.cell(index, None),
        }
    }
    tables.end_row().await;
}
