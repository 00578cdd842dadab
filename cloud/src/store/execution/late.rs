//! What does not end by itself: the statements of those who end it. A page goes on behind the last one of the page before.

use opslink::{
    id::{AgentId, TaskId},
    time::UnixMicros,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::sql::{EXECUTION, HANDED_OVER, row};
use crate::store::{
    record::Execution,
    sql::{Outcome, Sql, readable_page, stored},
};

/// What stands behind this agent and task in the order of both; everything does behind none.
fn behind(after: Option<(AgentId, TaskId)>) -> (Uuid, Uuid) {
    after.map_or((Uuid::nil(), Uuid::nil()), |(agent, task)| (agent.uuid(), task.uuid()))
}

pub(in crate::store) async fn execution_stale(
    db: &impl ConnectionTrait,
    now: UnixMicros,
    after: Option<(AgentId, TaskId)>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let (agent, task) = behind(after);
    let backend = db.get_database_backend();
    // In the index of what is handed over, which holds what is at work in the whole fleet and nothing else.
    let late = move |limit: u64| {
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
    readable_page::<row::Model, _>(db, EXECUTION, limit, late).await
}

pub(in crate::store) async fn execution_silent(
    db: &impl ConnectionTrait,
    seen_before: UnixMicros,
    after: Option<(AgentId, TaskId)>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let (agent, task) = behind(after);
    let backend = db.get_database_backend();
    let from = format!(
        "SELECT execution.* FROM execution LEFT JOIN presence ON presence.agent_id = execution.agent_id \
         WHERE execution.{HANDED_OVER} AND (presence.last_seen IS NULL OR presence.last_seen < "
    );
    let select = move |limit: u64| {
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
    readable_page::<row::Model, _>(db, EXECUTION, limit, select).await
}
