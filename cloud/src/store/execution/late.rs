//! What does not end by itself: the statements of those who end it. A page goes on behind the last one of the page before.

use opslink::{
    id::{AgentId, TaskId},
    time::UnixMicros,
};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use uuid::Uuid;

use super::sql::{DEADLINE, EXECUTION, HANDED_OVER, row};
use crate::store::{
    record::Execution,
    sql::{Outcome, Sql, readable_page, stored},
};

/// The agent and the task behind which a page begins, in the order of both; everything stands behind none.
fn place(after: Option<(AgentId, TaskId)>) -> (Uuid, Uuid) {
    after.map_or((Uuid::nil(), Uuid::nil()), |(agent, task)| (agent.uuid(), task.uuid()))
}

/// Agent and task of a row.
fn place_of(row: &QueryResult) -> Result<(Uuid, Uuid), DbErr> {
    Ok((row.try_get("", "agent_id")?, row.try_get("", "task_id")?))
}

pub(super) async fn execution_expired(
    db: &impl ConnectionTrait,
    now: UnixMicros,
    after: Option<(UnixMicros, TaskId, AgentId)>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let backend = db.get_database_backend();
    let after = after.map(|(deadline, task, agent)| (deadline.0, task.uuid(), agent.uuid()));
    let from = format!("SELECT * FROM execution WHERE {DEADLINE} AND queue_deadline <= ");
    let select = |behind: Option<&(i64, Uuid, Uuid)>, limit: u64| {
        let mut select = Sql::new(backend, &from).bind(now.0);
        if let Some((deadline, task, agent)) = behind.copied().or(after) {
            select = select.text(" AND (queue_deadline, task_id, agent_id) > ").rows([[
                Value::from(deadline),
                task.into(),
                agent.into(),
            ]]);
        }
        let select = select.text(" ORDER BY queue_deadline, task_id, agent_id LIMIT ");
        select.bind(stored(limit)).end()
    };
    let place_of = |row: &QueryResult| -> Result<_, DbErr> {
        let (agent, task) = place_of(row)?;
        Ok((row.try_get("", "queue_deadline")?, task, agent))
    };
    readable_page::<row::Model, _, _>(db, EXECUTION, limit, select, place_of).await
}

pub(in crate::store) async fn execution_stale(
    db: &impl ConnectionTrait,
    now: UnixMicros,
    after: Option<(AgentId, TaskId)>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let first = place(after);
    let backend = db.get_database_backend();
    // In the index of what is handed over, which holds what is at work in the whole fleet and nothing else.
    let late = |behind: Option<&(Uuid, Uuid)>, limit: u64| {
        let (agent, task) = behind.copied().unwrap_or(first);
        Sql::new(
            backend,
            "SELECT * FROM execution WHERE state IN ('dispatched', 'running') AND state = 'dispatched' AND queue_deadline <= ",
        )
        .bind(now.0)
        .text(" AND (agent_id, task_id) > (")
        .bind(agent)
        .text(", ")
        .bind(task)
        .text(") ORDER BY agent_id, task_id LIMIT ")
        .bind(stored(limit))
        .end()
    };
    readable_page::<row::Model, _, _>(db, EXECUTION, limit, late, place_of).await
}

pub(in crate::store) async fn execution_silent(
    db: &impl ConnectionTrait,
    seen_before: UnixMicros,
    after: Option<(AgentId, TaskId)>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let first = place(after);
    let backend = db.get_database_backend();
    let from = format!(
        "SELECT execution.* FROM execution LEFT JOIN presence ON presence.agent_id = execution.agent_id \
         WHERE execution.{HANDED_OVER} AND (presence.last_seen IS NULL OR presence.last_seen < "
    );
    let select = |behind: Option<&(Uuid, Uuid)>, limit: u64| {
        let (agent, task) = behind.copied().unwrap_or(first);
        Sql::new(backend, &from)
            .bind(seen_before.0)
            .text(") AND (execution.agent_id, execution.task_id) > (")
            .bind(agent)
            .text(", ")
            .bind(task)
            .text(") ORDER BY execution.agent_id, execution.task_id LIMIT ")
            .bind(stored(limit))
            .end()
    };
    readable_page::<row::Model, _, _>(db, EXECUTION, limit, select, place_of).await
}
