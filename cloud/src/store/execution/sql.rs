//! Rows and statements.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait, Select, Value, sea_query::Expr,
};
use uuid::Uuid;

pub(super) use super::{
    apply::execution_apply,
    attempt::{attempt_get, attempt_heads, attempt_list},
    late::{execution_expired, execution_silent, execution_stale},
};
use crate::store::{
    Error, Result,
    record::{Execution, TaskCounts},
    sql::{Failure, Named, Outcome, Sql, count, outcome, parts, readable, readable_page, state, stored},
};

/// Written as in the indexes of the same names, word for word: only then SQLite uses them.
pub(super) const HANDED_OVER: &str = "state IN ('dispatched', 'running')";
const WAITING: &str = "state IN ('held', 'queued')";
pub(super) const DEADLINE: &str = "state IN ('held', 'queued') AND queue_deadline IS NOT NULL";

pub(super) const EXECUTION: Named = Named::new("execution", &["task_id", "agent_id"]);

pub(super) async fn execution_list(
    db: &impl ConnectionTrait,
    task: TaskId,
    after: Option<&str>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let query = |behind: Option<&String>| {
        let query = row::Entity::find()
            .filter(row::Column::TaskId.eq(task.uuid()))
            .order_by_asc(row::Column::AgentName)
            .order_by_asc(row::Column::AgentId);
        match behind.map(String::as_str).or(after) {
            Some(after) => query.filter(row::Column::AgentName.gt(after)),
            None => query,
        }
    };
    page(db, limit, query, |row| row.try_get("", "agent_name")).await
}

pub(super) async fn execution_by_attempt(db: &impl ConnectionTrait, id: AttemptId) -> Outcome<Option<Execution>> {
    Ok(execution_by_attempts(db, &[id]).await?.into_values().next())
}

pub(super) async fn execution_by_attempts(
    db: &impl ConnectionTrait,
    ids: &[AttemptId],
) -> Outcome<BTreeMap<AttemptId, Execution>> {
    let mut found = BTreeMap::new();
    for part in parts(ids) {
        let select = Sql::new(db.get_database_backend(), "WITH wanted (attempt) AS (VALUES ")
            .rows(part.iter().map(|id| [Value::from(id.uuid())]))
            .text(
                ") SELECT attempt.id AS wanted, execution.* FROM wanted JOIN attempt ON attempt.id = wanted.attempt \
                 JOIN execution ON execution.task_id = attempt.task_id AND execution.agent_id = attempt.agent_id",
            );
        for row in db.query_all_raw(select.end()).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            let execution = row::Model::from_query_result(&row, "")?;
            found.insert(AttemptId::from_uuid(id), Execution::try_from(execution)?);
        }
    }
    Ok(found)
}

pub(super) async fn execution_changes(
    db: &impl ConnectionTrait,
    task: TaskId,
    after: u64,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let query = |behind: Option<&i64>| {
        row::Entity::find()
            .filter(row::Column::TaskId.eq(task.uuid()))
            .filter(row::Column::Revision.gt(behind.copied().unwrap_or(stored(after))))
            .order_by_asc(row::Column::Revision)
    };
    page(db, limit, query, |row| row.try_get("", "revision")).await
}

/// The first `limit` that can be read of what a question finds, behind a place of it. The loops that end, send and settle
/// executions ask for many at once: one that is damaged is told, and stops nobody else.
async fn page<P>(
    db: &impl ConnectionTrait,
    limit: u32,
    query: impl Fn(Option<&P>) -> Select<row::Entity>,
    place_of: impl Fn(&QueryResult) -> std::result::Result<P, DbErr>,
) -> Outcome<Vec<Execution>> {
    let backend = db.get_database_backend();
    let select = |behind: Option<&P>, limit: u64| query(behind).limit(limit).build(backend);
    readable_page::<row::Model, _, _>(db, EXECUTION, limit, select, place_of).await
}

/// All of what a question finds that can be read.
async fn all(db: &impl ConnectionTrait, query: Select<row::Entity>) -> Outcome<Vec<Execution>> {
    let rows = db.query_all_raw(query.build(db.get_database_backend())).await?;
    Ok(readable::<row::Model, _>(EXECUTION, &rows))
}

/// Executions of an agent in this waiting state, oldest task first.
async fn waiting_in(
    db: &impl ConnectionTrait,
    agent: AgentId,
    state: ExecutionState,
    after: Option<TaskId>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    let query = |behind: Option<&Uuid>| {
        let query = row::Entity::find()
            .filter(Expr::cust(WAITING))
            .filter(row::Column::AgentId.eq(agent.uuid()))
            .filter(row::Column::State.eq(state.word()));
        in_order_of_tasks(query, behind, after)
    };
    page(db, limit, query, |row| row.try_get("", "task_id")).await
}

/// What stands behind the later of two tasks: where a page went on, and where it began.
fn in_order_of_tasks(query: Select<row::Entity>, behind: Option<&Uuid>, after: Option<TaskId>) -> Select<row::Entity> {
    let query = query.order_by_asc(row::Column::TaskId);
    match behind.copied().or(after.map(TaskId::uuid)) {
        Some(task) => query.filter(row::Column::TaskId.gt(task)),
        None => query,
    }
}

pub(super) async fn execution_waiting(
    db: &impl ConnectionTrait,
    agent: AgentId,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    waiting_in(db, agent, ExecutionState::Queued, None, limit).await
}

async fn handed_over(
    db: &impl ConnectionTrait,
    agent: AgentId,
    after: Option<TaskId>,
    limit: Option<u32>,
) -> Outcome<Vec<Execution>> {
    let query = |behind: Option<&Uuid>| {
        let query = row::Entity::find()
            .filter(Expr::cust(HANDED_OVER))
            .filter(row::Column::AgentId.eq(agent.uuid()));
        in_order_of_tasks(query, behind, after)
    };
    match limit {
        Some(limit) => page(db, limit, query, |row| row.try_get("", "task_id")).await,
        None => all(db, query(None)).await,
    }
}

pub(super) async fn execution_handed_over(db: &impl ConnectionTrait, agent: AgentId) -> Outcome<Vec<Execution>> {
    handed_over(db, agent, None, None).await
}

pub(super) async fn execution_open_page(
    db: &impl ConnectionTrait,
    agent: AgentId,
    after: Option<TaskId>,
    limit: u32,
) -> Outcome<Vec<Execution>> {
    // Each is one range of an index that ends at the limit.
    let mut open = handed_over(db, agent, after, Some(limit)).await?;
    for state in [ExecutionState::Held, ExecutionState::Queued] {
        open.extend(waiting_in(db, agent, state, after, limit).await?);
    }
    open.sort_by_key(|execution| execution.task_id);
    open.truncate(limit as usize);
    Ok(open)
}

pub(super) async fn execution_open_of_task(db: &impl ConnectionTrait, task: TaskId) -> Outcome<Vec<Execution>> {
    let open = ExecutionState::ALL.iter().filter(|state| !state.is_terminal());
    let query = row::Entity::find()
        .filter(row::Column::TaskId.eq(task.uuid()))
        .filter(row::Column::State.is_in(open.map(|state| state.word())))
        .order_by_asc(row::Column::AgentId);
    all(db, query).await
}

pub(super) async fn execution_held(db: &impl ConnectionTrait, task: TaskId, limit: u32) -> Outcome<Vec<Execution>> {
    let backend = db.get_database_backend();
    let from = match backend {
        DbBackend::Postgres => "SELECT * FROM execution WHERE task_id = ",
        // Left alone it would rather read all executions of the task.
        _ => "SELECT * FROM execution INDEXED BY execution_state WHERE task_id = ",
    };
    let select = |behind: Option<&Uuid>, limit: u64| {
        let mut select = Sql::new(backend, from)
            .bind(task.uuid())
            .text(" AND state = ")
            .bind(ExecutionState::Held.word());
        if let Some(agent) = behind {
            select = select.text(" AND agent_id > ").bind(*agent);
        }
        select.text(" ORDER BY agent_id LIMIT ").bind(stored(limit)).end()
    };
    readable_page::<row::Model, _, _>(db, EXECUTION, limit, select, |row| row.try_get("", "agent_id")).await
}

pub(super) async fn execution_counts(
    db: &impl ConnectionTrait,
    tasks: &[TaskId],
) -> Outcome<BTreeMap<TaskId, TaskCounts>> {
    let mut counts: BTreeMap<_, TaskCounts> = tasks.iter().map(|id| (*id, TaskCounts::default())).collect();
    for part in parts(tasks) {
        let select = Sql::new(
            db.get_database_backend(),
            // On SQLite a damaged time may be a text, which is above every number; as a number it is 0.
            "SELECT task_id, state, COUNT(*), MAX(CAST(finished_at AS bigint)) FROM execution WHERE task_id IN ",
        )
        .rows([part.iter().map(|id| Value::from(id.uuid()))])
        .text(" GROUP BY task_id, state");
        for row in db.query_all_raw(select.end()).await? {
            let task: Uuid = row.try_get_by_index(0)?;
            let number: i64 = row.try_get_by_index(2)?;
            let last_end: Option<i64> = row.try_get_by_index(3)?;
            let word = row.try_get_by_index::<String>(1).map_err(Failure::from);
            let in_state = match word.map_err(Error::from).and_then(|word| state(&word)) {
                Ok(in_state) => in_state,
                Err(error) => {
                    tracing::error!(task_id = %task, %error, executions = number, "executions are not counted");
                    continue;
                }
            };
            let of_task = counts.entry(TaskId::from_uuid(task)).or_default();
            of_task.states.insert(in_state, count("execution count", number)?);
            of_task.last_end = of_task.last_end.max(last_end.filter(|end| *end > 0).map(UnixMicros));
        }
    }
    Ok(counts)
}

impl TryFrom<row::Model> for Execution {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            task_id: TaskId::from_uuid(row.task_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            agent_name: row.agent_name,
            state: state(&row.state)?,
            attempt_id: row.attempt_id.map(AttemptId::from_uuid),
            attempt_number: count("execution", row.attempt_number)?,
            queue_deadline: row.queue_deadline.map(UnixMicros),
            cancel_requested: row.cancel_requested,
            started_at: row.started_at.map(UnixMicros),
            finished_at: row.finished_at.map(UnixMicros),
            outcome: outcome(row.outcome)?,
            output_verified: row.output_verified,
            revision: count("execution", row.revision)?,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
pub(in crate::store) mod row {
    //! Table `execution`. `outcome` is an encoded `pb::Outcome`.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "execution")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub task_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        pub agent_name: String,
        pub state: String,
        pub attempt_id: Option<Uuid>,
        pub attempt_number: i64,
        pub queue_deadline: Option<i64>,
        pub cancel_requested: bool,
        pub started_at: Option<i64>,
        pub finished_at: Option<i64>,
        pub outcome: Option<Vec<u8>>,
        pub output_verified: bool,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
