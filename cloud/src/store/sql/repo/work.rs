//! Reading executions and attempts.

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    time::UnixMicros,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};

use super::super::{
    super::record::{Attempt, Execution},
    convert::{records, stored},
    entity::{
        attempt,
        execution::{Column, Entity},
    },
    failure::Outcome,
    statement::Sql,
};

/// Written as in the indexes `execution_open` and `execution_deadline`, word for word: only then they are used.
const OPEN: &str = "state IN ('held', 'queued', 'dispatched', 'running')";
const WAITING: &str = "state IN ('held', 'queued') AND queue_deadline IS NOT NULL";

pub(in super::super) async fn list(
    db: &impl ConnectionTrait,
    task: TaskId,
    after: Option<&str>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let mut query = Entity::find()
        .filter(Column::TaskId.eq(task.uuid()))
        .order_by_asc(Column::AgentName)
        .order_by_asc(Column::AgentId)
        .limit(u64::from(limit));
    if let Some(after) = after {
        query = query.filter(Column::AgentName.gt(after));
    }
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn get(
    db: &impl ConnectionTrait,
    task: TaskId,
    agent: AgentId,
) -> Outcome<Option<Execution>> {
    let row = Entity::find_by_id((task.uuid(), agent.uuid())).one(db).await?;
    Ok(row.map(Execution::try_from).transpose()?)
}

pub(in super::super) async fn by_attempt(db: &impl ConnectionTrait, id: AttemptId) -> Outcome<Option<Execution>> {
    let sql = "SELECT execution.* FROM attempt JOIN execution ON execution.task_id = attempt.task_id \
               AND execution.agent_id = attempt.agent_id WHERE attempt.id = ";
    let statement = Sql::new(db.get_database_backend(), sql).bind(id.uuid()).end();
    let row = Entity::find().from_raw_sql(statement).one(db).await?;
    Ok(row.map(Execution::try_from).transpose()?)
}

pub(in super::super) async fn changes(
    db: &impl ConnectionTrait,
    task: TaskId,
    after: u64,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let query = Entity::find()
        .filter(Column::TaskId.eq(task.uuid()))
        .filter(Column::Revision.gt(stored(after)))
        .order_by_asc(Column::Revision)
        .limit(u64::from(limit));
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn open_of_agent(db: &impl ConnectionTrait, agent: AgentId) -> Outcome<Vec<Execution>> {
    let query = Entity::find()
        .filter(Column::AgentId.eq(agent.uuid()))
        .filter(Expr::cust(OPEN))
        .order_by_asc(Column::TaskId);
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn open_of_task(db: &impl ConnectionTrait, task: TaskId) -> Outcome<Vec<Execution>> {
    let query = Entity::find()
        .filter(Column::TaskId.eq(task.uuid()))
        .filter(Expr::cust(OPEN))
        .order_by_asc(Column::AgentId);
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn expired(
    db: &impl ConnectionTrait,
    now: UnixMicros,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let query = Entity::find()
        .filter(Expr::cust(WAITING))
        .filter(Column::QueueDeadline.lte(now.0))
        .order_by_asc(Column::QueueDeadline)
        .order_by_asc(Column::TaskId)
        .order_by_asc(Column::AgentId)
        .limit(u64::from(limit));
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn attempt_list(db: &impl ConnectionTrait, task: TaskId) -> Outcome<Vec<Attempt>> {
    let query = attempt::Entity::find()
        .filter(attempt::Column::TaskId.eq(task.uuid()))
        .order_by_asc(attempt::Column::CreatedAt)
        .order_by_asc(attempt::Column::Id);
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn attempt_get(db: &impl ConnectionTrait, id: AttemptId) -> Outcome<Option<Attempt>> {
    let row = attempt::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(Attempt::try_from).transpose()?)
}
