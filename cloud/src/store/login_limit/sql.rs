//! Rows and statements.

use opslink::time::UnixMicros;
use sea_orm::{ConnectionTrait, Value};

use crate::store::{
    record::LoginLimit,
    sql::{Outcome, Sql, corrupt, count},
};

pub(super) async fn login_limit_get(db: &impl ConnectionTrait, key: &str) -> Outcome<Option<LoginLimit>> {
    let sql = "SELECT started_at, tries, lease_until FROM login_limit WHERE name = ";
    let select = Sql::new(db.get_database_backend(), sql).bind(key);
    let Some(row) = db.query_one_raw(select.end()).await? else {
        return Ok(None);
    };
    Ok(Some(LoginLimit {
        key: key.to_owned(),
        window: UnixMicros(row.try_get_by_index(0)?),
        count: count("login limit", row.try_get_by_index(1)?)?,
        lease_until: UnixMicros(row.try_get_by_index(2)?),
    }))
}

pub(super) async fn login_limit_add(
    tx: &impl ConnectionTrait,
    key: &str,
    now: &UnixMicros,
    lease_until: &UnixMicros,
) -> Outcome<u32> {
    let insert = "INSERT INTO login_limit (name, started_at, tries, lease_until) VALUES ";
    let insert = Sql::new(tx.get_database_backend(), insert)
        .rows([[Value::from(key), now.0.into(), 1_i64.into(), lease_until.0.into()]])
        .text(
            " ON CONFLICT (name) DO UPDATE SET \
             tries = CASE WHEN login_limit.lease_until <= excluded.started_at THEN 1 ELSE login_limit.tries + 1 END, \
             started_at = CASE WHEN login_limit.lease_until <= excluded.started_at \
             THEN excluded.started_at ELSE login_limit.started_at END, \
             lease_until = CASE WHEN login_limit.lease_until <= excluded.started_at \
             THEN excluded.lease_until ELSE login_limit.lease_until END RETURNING tries",
        );
    let row = tx
        .query_one_raw(insert.end())
        .await?
        .ok_or_else(|| corrupt("login limit", "a row that was written is not there"))?;
    Ok(count("login limit", row.try_get_by_index(0)?)?)
}

pub(super) async fn login_limit_remove(tx: &impl ConnectionTrait, key: &str) -> Outcome<()> {
    let delete = Sql::new(tx.get_database_backend(), "DELETE FROM login_limit WHERE name = ").bind(key);
    tx.execute_raw(delete.end()).await?;
    Ok(())
}

pub(super) async fn login_limit_remove_expired(
    tx: &impl ConnectionTrait,
    now: &UnixMicros,
    limit: &u32,
) -> Outcome<u64> {
    let sql = "DELETE FROM login_limit WHERE name IN (SELECT name FROM login_limit WHERE lease_until <= ";
    let delete = Sql::new(tx.get_database_backend(), sql)
        .bind(now.0)
        .text(" ORDER BY lease_until LIMIT ")
        .bind(i64::from(*limit))
        .text(")");
    Ok(tx.execute_raw(delete.end()).await?.rows_affected())
}
