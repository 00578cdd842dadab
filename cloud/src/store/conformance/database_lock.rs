//! One cloud per PostgreSQL database, also when the session that holds the lock is cut.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::{
    postgres::Database,
    sql::{DatabaseLock, OpenError},
};

const LIMIT: Duration = Duration::from_secs(30);

async fn take(database: &Database) -> Result<DatabaseLock, OpenError> {
    Ok(DatabaseLock::take(&database.url).await?.expect("PostgreSQL has a lock"))
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
    let before = holder(&admin).await.expect("a holder");
    ask(&admin, &format!("SELECT pg_terminate_backend({before})::int")).await;
    let again = async { while holder(&admin).await.is_none_or(|pid| pid == before) {} };
    tokio::time::timeout(LIMIT, again)
        .await
        .expect("the lock is taken again");
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
        while ask(&admin, waiting).await != Some(2) {}
        let pid = holder(&admin).await.expect("a holder");
        // The second asks five times as often as the first looks after its session.
        ask(&admin, &format!("SELECT pg_terminate_backend({pid})::int")).await;
    });
    let _second = second.expect("the second has it");
    let lost = tokio::time::timeout(LIMIT, first.lost()).await;
    lost.expect("the first notices");
    admin.close().await.expect("an end");
    database.remove().await;
}

async fn holder(admin: &DatabaseConnection) -> Option<i32> {
    let sql = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    ask(admin, sql).await
}

/// The number that the query answers first, if any.
async fn ask(admin: &DatabaseConnection, sql: &str) -> Option<i32> {
    let statement = Statement::from_string(DbBackend::Postgres, sql.to_owned());
    let row = admin.query_one_raw(statement).await.expect("an answer")?;
    Some(row.try_get_by_index(0).expect("a number"))
}
