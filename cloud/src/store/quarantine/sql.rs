//! Rows and statements.

use opslink::{id::AgentId, time::UnixMicros};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use uuid::Uuid;

use crate::store::{
    audit::sql::audit_insert,
    record::{Audit, Quarantine},
    sql::{Outcome, Sql},
};

const SELECT: &str = "SELECT agent_id, since, reason, until FROM quarantine WHERE until > ";

fn read(row: &QueryResult) -> Outcome<Quarantine> {
    let agent: Uuid = row.try_get_by_index(0)?;
    Ok(Quarantine {
        agent_id: AgentId::from_uuid(agent),
        since: UnixMicros(row.try_get_by_index(1)?),
        reason: row.try_get_by_index(2)?,
        until: UnixMicros(row.try_get_by_index(3)?),
    })
}

pub(super) async fn quarantine_get(
    db: &impl ConnectionTrait,
    agent: AgentId,
    now: UnixMicros,
) -> Outcome<Option<Quarantine>> {
    let select = Sql::new(db.get_database_backend(), SELECT)
        .bind(now.0)
        .text(" AND agent_id = ")
        .bind(agent.uuid());
    db.query_one_raw(select.end()).await?.as_ref().map(read).transpose()
}

pub(super) async fn quarantine_put(tx: &impl ConnectionTrait, quarantine: &Quarantine, audit: &Audit) -> Outcome<()> {
    let insert = Sql::new(
        tx.get_database_backend(),
        "INSERT INTO quarantine (agent_id, since, reason, until) VALUES ",
    )
    .rows([[
        Value::from(quarantine.agent_id.uuid()),
        quarantine.since.0.into(),
        quarantine.reason.as_str().into(),
        quarantine.until.0.into(),
    ]])
    .text(
        " ON CONFLICT (agent_id) DO UPDATE SET since = excluded.since, reason = excluded.reason, until = excluded.until",
    );
    tx.execute_raw(insert.end()).await?;
    audit_insert(tx, audit).await
}

pub(super) async fn quarantine_remove(tx: &impl ConnectionTrait, agent: &AgentId, audit: &Audit) -> Outcome<()> {
    let delete = Sql::new(tx.get_database_backend(), "DELETE FROM quarantine WHERE agent_id = ").bind(agent.uuid());
    if tx.execute_raw(delete.end()).await?.rows_affected() == 0 {
        return Ok(());
    }
    audit_insert(tx, audit).await
}

pub(super) async fn quarantine_remove_expired(
    tx: &impl ConnectionTrait,
    now: &UnixMicros,
    limit: &u32,
) -> Outcome<u64> {
    let sql = "DELETE FROM quarantine WHERE agent_id IN (SELECT agent_id FROM quarantine WHERE until <= ";
    let delete = Sql::new(tx.get_database_backend(), sql)
        .bind(now.0)
        .text(" ORDER BY until LIMIT ")
        .bind(i64::from(*limit))
        .text(")");
    Ok(tx.execute_raw(delete.end()).await?.rows_affected())
}
