//! The one writer of a SQLite file: whatever is queued goes into one transaction and one sync to disk.
//!
//! ```text
//! callers ──► bounded queue ──► writer task: BEGIN
//!                                 SAVEPOINT, job 1, RELEASE
//!                                 SAVEPOINT, job 2 fails, ROLLBACK TO      (the others are not hurt)
//!                               COMMIT ──► only now every caller gets its answer
//! ```
//! Nobody waits for company: a batch is what came in while the last one was synced. A caller that goes away does not
//! take its job with it. When `BEGIN`, a savepoint or `COMMIT` fails, nothing of the batch is kept, every caller is
//! told so, and the connection is opened anew.

use std::sync::Arc;

use futures::future::BoxFuture;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::sync::{mpsc, oneshot};

use super::{
    failure::{Failure, Outcome, describe},
    sqlite::{File, LockFile},
};
use crate::store::{Error, Operation, Result, Tx, tx::TxEngine};

/// Callers beyond this many wait for a place.
const QUEUE: usize = 1_024;
/// Jobs of one transaction; bounds how long the first waits for the last.
const MOST_JOBS: usize = 256;

/// A handle to the writer task. The task ends, after it has emptied the queue, when the last handle is gone.
#[derive(Debug, Clone)]
pub(in crate::store) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the writer task of a file. It holds the folder's lock as long as it lives.
    pub(super) async fn start(file: File, lock: Arc<LockFile>) -> std::result::Result<Self, DbErr> {
        let connection = file.open_writer().await?;
        Ok(Self::start_with(file, connection, lock))
    }

    fn start_with(file: File, connection: DatabaseConnection, lock: Arc<LockFile>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(run(file, connection, jobs, lock));
        Self { queue }
    }

    /// Runs an operation in the next transaction; returns after its commit.
    pub(super) async fn write<I, T>(&self, input: I, operation: Operation<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Write {
            input,
            operation,
            result: None,
            answer,
        });
        const GONE: &str = "the writer of the database has ended";
        self.queue.send(job).await.map_err(|_| Error::unavailable(GONE))?;
        answered.await.map_err(|_| Error::maybe_done(GONE))?
    }
}

trait Job: Send {
    /// Runs the operation; says whether its changes are to be kept.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// Answers the caller. In a batch of one, a failure is its own.
    fn settle(self: Box<Self>, commit: &std::result::Result<(), DbErr>, alone: bool);
}

struct Write<I, T> {
    input: I,
    operation: Operation<I, T>,
    result: Option<Outcome<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<I: Send + Sync, T: Send> Job for Write<I, T> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let result = (self.operation)(tx, &self.input).await;
            self.result.insert(tx.verdict(result)).is_ok()
        })
    }

    fn settle(self: Box<Self>, commit: &std::result::Result<(), DbErr>, alone: bool) {
        let answer = match (self.result, commit) {
            // The job's own failure says more than that of the batch.
            (Some(Err(failure)), _) => Err(Error::from(failure)),
            // Whichever job it was: the others are to be tried again.
            (_, Err(error)) => Err(match describe(error) {
                Error::Corrupt { message, .. } if !alone => Error::unavailable(message),
                error => error,
            }),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::from(Failure::Db(DbErr::Custom(
                "the operation was not run".to_owned(),
            )))),
        };
        // A caller that is gone needs no answer.
        let _ = self.answer.send(answer);
    }
}

async fn run(
    file: File,
    mut connection: DatabaseConnection,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    lock: Arc<LockFile>,
) {
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < MOST_JOBS
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let result = commit(&connection, &mut batch).await;
        if let Err(error) = &result {
            tracing::warn!(file = %file.path().display(), jobs = batch.len(), %error, "batch of writes was undone");
        }
        let alone = batch.len() == 1;
        for job in batch {
            job.settle(&result, alone);
        }
        // After a failure SQLite may have ended the transaction by itself, which the pool does not know.
        if result.is_err()
            && let Ok(anew) = file.open_writer().await
        {
            let old = std::mem::replace(&mut connection, anew);
            if let Err(error) = old.close().await {
                tracing::debug!(%error, "old connection did not close");
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "connection did not close");
    }
    drop(lock);
}

async fn commit(connection: &DatabaseConnection, batch: &mut [Box<dyn Job>]) -> std::result::Result<(), DbErr> {
    let tx = connection.begin().await?;
    if let [job] = batch {
        // Alone, it needs no savepoint.
        return run_in(tx, job.as_mut()).await;
    }
    for job in batch {
        run_in(tx.begin().await?, job.as_mut()).await?;
    }
    tx.commit().await
}

async fn run_in(tx: DatabaseTransaction, job: &mut dyn Job) -> std::result::Result<(), DbErr> {
    let mut tx = Tx::sql(tx);
    let keep = job.run(&mut tx).await;
    match tx.into_engine() {
        TxEngine::Sql(tx) if keep => tx.commit().await,
        TxEngine::Sql(tx) => tx.rollback().await,
        // Only the memory engine makes these.
        TxEngine::Memory(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;

    use super::{super::sqlite, *};

    async fn raw(tx: &Tx, sql: &str) -> Result<u64> {
        let TxEngine::Sql(inner) = tx.engine() else {
            panic!("a transaction of SQLite")
        };
        let result = inner.execute_unprepared(sql).await.map_err(Failure::from);
        Ok(tx.noted(result)?.rows_affected())
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_undone_and_the_writer_works_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, lock) = sqlite::plain_file(folder.path());
        let connection = file.open_writer().await.expect("opens");
        connection
            .execute_unprepared("CREATE TABLE t (v blob)")
            .await
            .expect("a table");
        // SQLite itself says "full" beyond this many pages: the same code and the same undoing as on a full disk.
        connection
            .execute_unprepared("PRAGMA max_page_count = 50")
            .await
            .expect("a limit");
        let writer = Writer::start_with(file, connection, lock);
        let insert = |size: u32| {
            writer.write(format!("INSERT INTO t VALUES (zeroblob({size}))"), |tx, sql| {
                Box::pin(async move { raw(tx, sql).await })
            })
        };
        assert_eq!(insert(100).await.expect("a small row"), 1);
        // Together in one batch: the one that fails and its neighbour.
        let (large, small) = tokio::join!(insert(10_000_000), insert(100));
        assert!(
            matches!(
                large,
                Err(Error::Unavailable {
                    reason: "DISK_FULL",
                    ..
                })
            ),
            "{large:?}"
        );
        let kept = 1 + u64::from(small.is_ok());
        let again = async { while insert(100).await.is_err() {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), again)
            .await
            .expect("the writer recovers");
        let delete = writer.write((), |tx, ()| {
            Box::pin(async move { raw(tx, "DELETE FROM t WHERE length(v) = 100").await })
        });
        assert_eq!(
            delete.await.expect("a delete"),
            kept + 1,
            "what was answered with an error is not there"
        );
    }
}
