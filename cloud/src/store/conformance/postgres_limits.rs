//! A lock that somebody else holds: every call ends, and says that the database is the reason.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{postgres::Database, *};
use crate::store::Error;

/// Well above the limit of a lock, well below that of a transaction.
const SOON: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_lock_that_somebody_holds_ends_reads_and_writes_with_a_clear_error() {
    let database = Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default())
        .await
        .expect("opens");
    store.setting_init("key", b"value").await.expect("a write");
    let other = database.connect().await;
    let tx = other.begin().await.expect("a transaction");
    tx.execute_unprepared("LOCK TABLE setting IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the lock");

    let began = Instant::now();
    let (read, write) = tokio::join!(store.setting_get("key"), store.setting_init("other", b"value"));
    let took = began.elapsed();
    for answer in [read.map(drop), write.map(drop)] {
        match answer {
            Err(Error::Unavailable {
                reason,
                message,
                maybe_done,
            }) => {
                assert!(!maybe_done, "nothing was changed");
                assert_eq!(reason, "DATABASE_UNAVAILABLE");
                assert!(message.contains("lock timeout"), "it says why: {message}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(took < SOON, "{took:?}");
    store.user_count().await.expect("other tables are as usual");

    tx.rollback().await.expect("the lock is let go");
    assert_eq!(
        store.setting_get("key").await.expect("works again").as_deref(),
        Some(&b"value"[..])
    );
    store.setting_init("other", b"value").await.expect("works again");
    other.close().await.expect("an end");
    database.remove().await;
}
