//! One cloud per PostgreSQL database, also when the session that holds the lock is cut.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TryGetable};

use super::{
    postgres::Database,
    sql::{self, DatabaseLock, OpenError, Tenure},
    *,
};
use crate::store::{Error, Result};

const LIMIT: Duration = Duration::from_secs(30);
/// Modes of the advisory locks of a database: that of its one cloud, and those of the sessions at work.
const LOCK: &str = "ExclusiveLock";
const AT_WORK: &str = "ShareLock";

async fn take(database: &Database) -> std::result::Result<DatabaseLock, OpenError> {
    Ok(DatabaseLock::take(&database.url).await?.expect("PostgreSQL has a lock"))
}

async fn open(database: &Database, tenure: Tenure) -> std::result::Result<Shared, OpenError> {
    let options = sql::Options {
        tenure: Some(tenure),
        ..sql::Options::default()
    };
    sql::SqlStore::open(&database.url, options).await
}

#[tokio::test]
async fn a_database_is_for_one_cloud_and_free_again_when_that_one_is_gone() {
    let database = Database::create().await;
    let first = take(&database).await.expect("the database is free");
    let error = take(&database).await.expect_err("the database is in use");
    assert_eq!(error.reason(), "DATABASE_IN_USE");
    let (second, ()) = tokio::join!(take(&database), async move { drop(first) });
    second.expect("the database is free again");
    database.remove().await;
}

#[tokio::test]
async fn a_lock_whose_session_was_cut_is_taken_again() {
    let database = Database::create().await;
    let lock = take(&database).await.expect("the database is free");
    let admin = database.connect().await;
    cut_and_wait(&admin).await;
    let mut lost = Box::pin(lock.lost());
    assert!(futures::poll!(&mut lost).is_pending(), "nobody else has it");
    drop(lost);
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test]
async fn a_lock_that_another_cloud_took_meanwhile_is_lost() {
    let database = Database::create().await;
    let first = take(&database).await.expect("the database is free");
    let admin = database.connect().await;
    let (second, ()) = tokio::join!(take(&database), async {
        let waiting = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name LIKE 'opslink-cloud lock %'";
        while ask::<i32>(&admin, waiting).await != Some(2) {}
        // The second asks five times as often as the first looks after its session.
        cut(&admin).await;
    });
    let _second = second.expect("the second has it");
    let lost = tokio::time::timeout(LIMIT, first.lost()).await;
    lost.expect("the first notices");
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_whose_lock_another_one_has_neither_writes_nor_reads_any_more() {
    let database = Database::create().await;
    let lock = take(&database).await.expect("the database is free");
    let first = open(&database, lock.tenure()).await.expect("opens");
    // So many at once, so that every session that it may have is there and at hand.
    let names: Vec<_> = (0..16).map(|number| format!("early {number}")).collect();
    let early = names.iter().map(|name| first.setting_init(name, b"value"));
    let early = futures::future::join_all(early).await;
    assert!(early.iter().all(Result::is_ok), "{early:?}");
    // Its lock is gone, and with it what would take it again; everything else goes on.
    drop(lock);

    let next = take(&database).await.expect("the database is free again");
    let admin = database.connect().await;
    assert!(pids(&admin, AT_WORK).await.is_empty(), "nothing of the first is left");
    let second = open(&database, next.tenure()).await.expect("opens");
    let mut said = String::new();
    for number in 0..32 {
        said = refused(first.setting_init(&format!("late {number}"), b"value").await);
    }
    assert!(said.contains("another cloud"), "it gets no new session: {said}");
    refused(first.setting_get("early 0").await);
    second.setting_init("on", b"value").await.expect("the second writes");
    let late = "SELECT count(*)::int FROM setting WHERE name LIKE 'late %'";
    assert_eq!(ask::<i32>(&admin, late).await, Some(0));
    let kept = "SELECT count(*)::int FROM setting WHERE name LIKE 'early %'";
    assert_eq!(ask::<i32>(&admin, kept).await, Some(16), "what was answered is there");
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_hears_from_its_next_session_that_another_one_has_the_database() {
    let database = Database::create().await;
    let lock = take(&database).await.expect("the database is free");
    let first = open(&database, lock.tenure()).await.expect("opens");
    first.setting_init("early", b"value").await.expect("a write");
    let admin = database.connect().await;
    let next = while_cut(&admin, take(&database)).await.expect("the next has it");
    let late = async {
        loop {
            let said = refused(first.setting_init("late", b"value").await);
            if said.contains("another cloud") {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, late).await.expect("it hears why");
    // Whoever keeps the lock cannot know yet: it asks for it for five seconds before it gives up.
    let mut lost = Box::pin(lock.lost());
    assert!(futures::poll!(&mut lost).is_ready(), "the cloud ends");
    drop(next);
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_taken_again_leaves_every_session_of_its_cloud_at_work() {
    let database = Database::create().await;
    let lock = take(&database).await.expect("the database is free");
    let store = open(&database, lock.tenure()).await.expect("opens");
    store.setting_init("before", b"value").await.expect("a write");
    let admin = database.connect().await;
    // One of each pool; those that migrated go.
    let only_pools = async { while pids(&admin, AT_WORK).await.len() != 3 {} };
    tokio::time::timeout(LIMIT, only_pools).await.expect("three sessions");
    let at_work = pids(&admin, AT_WORK).await;
    cut_and_wait(&admin).await;
    store.setting_init("after", b"value").await.expect("a write");
    assert_eq!(pids(&admin, AT_WORK).await, at_work, "none was ended, none is new");
    let mut lost = Box::pin(lock.lost());
    assert!(futures::poll!(&mut lost).is_pending(), "nobody else has it");
    drop(lost);
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test]
async fn a_lock_that_another_cloud_had_meanwhile_is_lost_also_when_that_one_is_gone_again() {
    let database = Database::create().await;
    let first = take(&database).await.expect("the database is free");
    let admin = database.connect().await;
    let next = while_cut(&admin, take(&database)).await.expect("the next has it");
    drop(next);
    let lost = tokio::time::timeout(LIMIT, first.lost()).await;
    lost.expect("the first notices");
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test]
async fn a_store_of_an_earlier_cloud_does_not_open() {
    let database = Database::create().await;
    let earlier = take(&database).await.expect("the database is free");
    let tenure = earlier.tenure();
    drop(earlier);
    let _next = take(&database).await.expect("the database is free again");
    let error = open(&database, tenure).await.expect_err("it is the next one's");
    assert_eq!(error.reason(), "DATABASE_IN_USE");
    let admin = database.connect().await;
    let made = "SELECT count(*)::int FROM pg_class WHERE relname LIKE 'seaql_migrations%'";
    assert_eq!(ask::<i32>(&admin, made).await, Some(0), "nothing was migrated");
    admin.close().await.expect("an end");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_may_not_end_the_sessions_of_another_one_is_told_so_and_changes_nothing() {
    let database = Database::create().await;
    let lock = take(&database).await.expect("the database is free");
    let first = open(&database, lock.tenure()).await.expect("opens");
    first.setting_init("early", b"value").await.expect("a write");
    drop(lock);
    // A role that every server has, and that may not end sessions of others.
    let separator = if database.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options=-c%20role%3Dpg_monitor", database.url);
    let error = DatabaseLock::take(&url).await.expect_err("they are not its own");
    assert_eq!(error.reason(), "DATABASE_PERMISSION_DENIED");
    assert!(error.to_string().contains("sessions of another cloud"), "{error}");
    first.setting_init("late", b"value").await.expect("the first goes on");
    database.remove().await;
}

/// What is said of a call that has come to nothing.
fn refused<T: std::fmt::Debug>(answer: Result<T>) -> String {
    match answer {
        Err(Error::Unavailable { message, .. }) => message,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Runs `work` while the session of the lock that is held now is cut as often as it comes back.
async fn while_cut<T>(admin: &DatabaseConnection, work: impl Future<Output = T>) -> T {
    let name = "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'opslink-cloud lock %'";
    let name: String = ask(admin, name).await.expect("a session");
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = '{name}'"
    );
    tokio::select! {
        done = work => done,
        () = run_for_ever(admin, &cut) => panic!("it never ends"),
    }
}

async fn run_for_ever(admin: &DatabaseConnection, sql: &str) {
    loop {
        admin.execute_unprepared(sql).await.expect("an answer");
    }
}

/// Cuts the session that holds the lock; returns its number.
async fn cut(admin: &DatabaseConnection) -> i32 {
    let pid = holder(admin).await.expect("a holder");
    let sql = format!("SELECT pg_terminate_backend({pid})");
    admin.execute_unprepared(&sql).await.expect("an answer");
    pid
}

async fn cut_and_wait(admin: &DatabaseConnection) {
    let before = cut(admin).await;
    let again = async { while holder(admin).await.is_none_or(|pid| pid == before) {} };
    tokio::time::timeout(LIMIT, again)
        .await
        .expect("the lock is taken again");
}

async fn holder(admin: &DatabaseConnection) -> Option<i32> {
    pids(admin, LOCK).await.first().copied()
}

/// Sessions that hold an advisory lock in this mode.
async fn pids(admin: &DatabaseConnection, mode: &str) -> Vec<i32> {
    let sql = format!(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = '{mode}' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid"
    );
    let rows = admin.query_all_raw(statement(&sql)).await.expect("an answer");
    rows.iter()
        .map(|row| row.try_get_by_index(0).expect("a number"))
        .collect()
}

/// What the query answers first, if anything.
async fn ask<T: TryGetable>(admin: &DatabaseConnection, sql: &str) -> Option<T> {
    let row = admin.query_one_raw(statement(sql)).await.expect("an answer")?;
    Some(row.try_get_by_index(0).expect("a value"))
}

fn statement(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql.to_owned())
}
