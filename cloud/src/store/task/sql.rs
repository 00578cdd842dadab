//! Rows and statements.

use std::collections::BTreeMap;

use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId, TaskId},
    time::UnixMicros,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
    Value, sea_query::Expr,
};
use uuid::Uuid;

use super::record::fitting;
use crate::store::{
    Error, Result,
    audit::sql::{audit_insert, audit_with_task},
    execution::{apply::AttemptRow, sql::row as execution},
    record::{Audit, Execution, Task, TaskCreated, TaskFilter},
    sql::{
        Batch, Named, Outcome, Sql, count, exists, not_found, outcome_bytes, parts, readable, readable_page, stored,
    },
};

const TASK: Named = Named::new("task", &["id"]);

pub(in crate::store) async fn task_create(
    tx: &impl ConnectionTrait,
    new: &Task,
    executions: &[Execution],
    audit: &Audit,
) -> Outcome<TaskCreated> {
    let backend = tx.get_database_backend();
    // The rule is the insert itself: nobody comes between a look and a write. Everything after it happens only if it
    // did, so that the usual case is one trip to the database.
    let mut batch = Batch::default();
    batch.add(insert(backend, new));
    insert_executions(backend, &mut batch, new.id, executions);
    let attempt_of = |execution: &Execution| {
        let id: AttemptId = execution.attempt_id?;
        Some(AttemptRow::new(id, execution, new.created_at))
    };
    let attempts: Vec<_> = executions.iter().filter_map(attempt_of).collect();
    insert_attempts(backend, &mut batch, &attempts);
    batch.add(audit_with_task(backend, audit, new.id));
    if batch.rows(tx).await?.is_empty() {
        return earlier(tx, new).await;
    }
    Ok(TaskCreated::New)
}

/// Returns a row if it was inserted.
fn insert(backend: DbBackend, new: &Task) -> Sql {
    let row: [Value; 12] = [
        new.id.uuid().into(),
        new.spec.to_vec().into(),
        new.selector.to_vec().into(),
        i64::from(new.max_parallel).into(),
        i64::from(new.max_failures).into(),
        new.queue_ttl_secs.map(i64::from).into(),
        new.created_by.as_str().into(),
        new.created_at.0.into(),
        new.request_id.clone().into(),
        new.request_hash.clone().into(),
        new.reason.as_str().into(),
        new.cancel_requested.into(),
    ];
    Sql::new(
        backend,
        "INSERT INTO task (id, spec, selector, max_parallel, max_failures, queue_ttl_secs, created_by, created_at, \
         request_id, request_hash, reason, cancel_requested) VALUES ",
    )
    .rows([row])
    .text(" ON CONFLICT DO NOTHING RETURNING id")
}

/// What stands in the way of a new task.
async fn earlier(tx: &impl ConnectionTrait, new: &Task) -> Outcome<TaskCreated> {
    let Some(request_id) = &new.request_id else {
        return Err(exists("task", new.id));
    };
    match task_by_request(tx, &new.created_by, request_id).await? {
        Some((earlier, hash)) if hash == new.request_hash => Ok(TaskCreated::Replayed(earlier)),
        Some(_) => Ok(TaskCreated::RequestIdConflict),
        None => Err(exists("task", new.id)),
    }
}

pub(super) async fn task_revision(db: &impl ConnectionTrait, id: TaskId) -> Outcome<u64> {
    let select = Sql::new(db.get_database_backend(), "SELECT last FROM revision WHERE task_id = ").bind(id.uuid());
    let row = db.query_one_raw(select.end()).await?;
    let last: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(count("revision", last)?)
}

pub(super) async fn task_by_request(
    db: &impl ConnectionTrait,
    created_by: &str,
    request_id: &str,
) -> Outcome<Option<(TaskId, Vec<u8>)>> {
    let found: Option<(Uuid, Vec<u8>)> = row::Entity::find()
        .select_only()
        .columns([row::Column::Id, row::Column::RequestHash])
        .filter(row::Column::CreatedBy.eq(created_by))
        .filter(row::Column::RequestId.eq(request_id))
        .into_tuple()
        .one(db)
        .await?;
    Ok(found.map(|(id, hash)| (TaskId::from_uuid(id), hash)))
}

/// Executions of a task that is there.
fn insert_executions(backend: DbBackend, batch: &mut Batch, task: TaskId, executions: &[Execution]) {
    const COLUMNS: &str = "task_id, agent_id, agent_name, state, attempt_id, attempt_number, queue_deadline, \
                           cancel_requested, started_at, finished_at, outcome, output_verified, revision";
    // The task is new, so its revisions begin here: nobody else can know it.
    batch.add(
        Sql::new(backend, "INSERT INTO revision (task_id, last) SELECT id, ")
            .bind(stored(executions.len() as u64))
            .text(" FROM task WHERE id = ")
            .bind(task.uuid())
            .text(" ON CONFLICT DO NOTHING"),
    );
    let numbered: Vec<(u64, &Execution)> = (1..).zip(executions).collect();
    for part in parts(&numbered) {
        let rows = part.iter().map(|(revision, execution)| {
            [
                Value::from(execution.task_id.uuid()),
                execution.agent_id.uuid().into(),
                execution.agent_name.as_str().into(),
                execution.state.word().into(),
                execution.attempt_id.map(AttemptId::uuid).into(),
                i64::from(execution.attempt_number).into(),
                execution.queue_deadline.map(|time| time.0).into(),
                execution.cancel_requested.into(),
                execution.started_at.map(|time| time.0).into(),
                execution.finished_at.map(|time| time.0).into(),
                outcome_bytes(execution.outcome.as_ref()).into(),
                execution.output_verified.into(),
                stored(*revision).into(),
            ]
        });
        batch.add(
            Sql::new(backend, &format!("WITH new ({COLUMNS}) AS (VALUES "))
                .rows(rows)
                .text(&format!(
                    ") INSERT INTO execution ({COLUMNS}) SELECT {COLUMNS} FROM new \
                     WHERE EXISTS (SELECT 1 FROM task WHERE id = "
                ))
                .bind(task.uuid())
                .text(")"),
        );
    }
}

/// Attempts whose executions are there.
fn insert_attempts(backend: DbBackend, batch: &mut Batch, attempts: &[AttemptRow]) {
    const COLUMNS: &str = "id, task_id, agent_id, number, state, created_at, finished_at, outcome";
    for part in parts(attempts) {
        batch.add(
            Sql::new(backend, &format!("WITH new ({COLUMNS}) AS (VALUES "))
                .rows(part.iter().map(AttemptRow::values))
                .text(&format!(
                    ") INSERT INTO attempt ({COLUMNS}) SELECT {COLUMNS} FROM new WHERE EXISTS \
                     (SELECT 1 FROM task WHERE task.id = new.task_id)"
                )),
        );
    }
}

pub(super) async fn task_get(db: &impl ConnectionTrait, id: TaskId) -> Outcome<Option<Task>> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(Task::try_from).transpose()?)
}

pub(super) async fn task_by_prefix(db: &impl ConnectionTrait, prefix: &str) -> Outcome<Vec<TaskId>> {
    let Some((first, last)) = prefix_range(prefix) else {
        return Ok(Vec::new());
    };
    let ids: Vec<Uuid> = row::Entity::find()
        .select_only()
        .column(row::Column::Id)
        .filter(row::Column::Id.between(first, last))
        .order_by_asc(row::Column::Id)
        .limit(2)
        .into_tuple()
        .all(db)
        .await?;
    Ok(ids.into_iter().map(TaskId::from_uuid).collect())
}

/// The first and the last id whose text begins with `prefix`; none when no id's text can.
fn prefix_range(prefix: &str) -> Option<(Uuid, Uuid)> {
    const LOWEST: &str = "00000000-0000-0000-0000-000000000000";
    const HIGHEST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let fits = |(letter, pattern): (char, char)| match pattern {
        '-' => letter == '-',
        _ => letter.is_ascii_digit() || ('a'..='f').contains(&letter),
    };
    if prefix.len() > LOWEST.len() || !prefix.chars().zip(LOWEST.chars()).all(fits) {
        return None;
    }
    let fill = |pattern: &str| Uuid::try_parse(&format!("{prefix}{}", pattern.get(prefix.len()..)?)).ok();
    Some((fill(LOWEST)?, fill(HIGHEST)?))
}

pub(super) async fn task_ids(db: &impl ConnectionTrait, filter: TaskFilter) -> Outcome<Vec<TaskId>> {
    let query = listed(filter).select_only().column(row::Column::Id);
    let ids: Vec<Uuid> = query.into_tuple().all(db).await?;
    Ok(ids.into_iter().map(TaskId::from_uuid).collect())
}

pub(super) async fn task_list(db: &impl ConnectionTrait, filter: TaskFilter) -> Outcome<Vec<Task>> {
    let backend = db.get_database_backend();
    let select = |behind: Option<&Uuid>, limit: u64| {
        let before = behind.copied().map(TaskId::from_uuid).or(filter.before);
        listed(TaskFilter { before, ..filter }).limit(limit).build(backend)
    };
    readable_page::<row::Model, Task, _>(db, TASK, filter.limit, select, |row| row.try_get("", "id")).await
}

fn listed(filter: TaskFilter) -> Select<row::Entity> {
    let mut query = row::Entity::find()
        .order_by_desc(row::Column::Id)
        .limit(u64::from(filter.limit));
    if let Some(before) = filter.before {
        query = query.filter(row::Column::Id.lt(before.uuid()));
    }
    if let Some(agent) = filter.agent_id {
        let of_agent = execution::Entity::find()
            .select_only()
            .column(execution::Column::TaskId)
            .filter(execution::Column::AgentId.eq(agent.uuid()));
        query = query.filter(row::Column::Id.in_subquery(of_agent.into_query()));
    }
    query
}

pub(super) async fn task_bodies(
    db: &impl ConnectionTrait,
    ids: &[TaskId],
    max_bytes: usize,
) -> Outcome<BTreeMap<TaskId, Task>> {
    // First their sizes, which SQLite reads without the bodies; then those that fit.
    let sql = "SELECT id, CAST(length(spec) + length(selector) AS bigint) FROM task WHERE id IN ";
    let mut sizes: BTreeMap<TaskId, usize> = BTreeMap::new();
    for part in parts(ids) {
        let select = Sql::new(db.get_database_backend(), sql).rows([part.iter().map(|id| Value::from(id.uuid()))]);
        for row in db.query_all_raw(select.end()).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            sizes.insert(TaskId::from_uuid(id), count("task", row.try_get_by_index(1)?)?);
        }
    }
    let fitting = fitting(ids, |id| sizes.get(id).copied(), max_bytes);
    let mut bodies = BTreeMap::new();
    for part in parts(&fitting) {
        let these = row::Entity::find().filter(row::Column::Id.is_in(part.iter().map(|id| id.uuid())));
        let rows = db.query_all_raw(these.build(db.get_database_backend())).await?;
        let tasks = readable::<row::Model, Task>(TASK, &rows);
        bodies.extend(tasks.into_iter().map(|task| (task.id, task)));
    }
    Ok(bodies)
}

pub(super) async fn task_request_cancel(
    tx: &impl ConnectionTrait,
    id: &TaskId,
    agents: &[AgentId],
    audit: &Audit,
) -> Outcome<()> {
    let backend = tx.get_database_backend();
    // The revisions come first, as in every write of executions: one order of locks, so no deadlock.
    let lock = Sql::new(backend, "UPDATE revision SET last = last WHERE task_id = ").bind(id.uuid());
    if tx.execute_raw(lock.end()).await?.rows_affected() == 0 {
        return Err(not_found("task", id));
    }
    let everybody = [[].as_slice()];
    let some: Vec<&[AgentId]> = parts(agents).collect();
    for part in if agents.is_empty() {
        everybody.as_slice()
    } else {
        some.as_slice()
    } {
        // Each gets the next number.
        let asked = Sql::new(
            backend,
            "WITH asked AS (SELECT agent_id, ROW_NUMBER() OVER (ORDER BY agent_id) AS place FROM execution \
             WHERE NOT cancel_requested AND state IN ('held', 'queued', 'dispatched', 'running') AND task_id = ",
        )
        .bind(id.uuid());
        let asked = match part {
            [] => asked,
            some => asked
                .text(" AND agent_id IN ")
                .rows([some.iter().map(|agent| Value::from(agent.uuid()))]),
        };
        let update = asked
            .text(
                ") UPDATE execution SET cancel_requested = TRUE, revision = asked.place + \
                 (SELECT last FROM revision WHERE revision.task_id = execution.task_id) \
                 FROM asked WHERE execution.agent_id = asked.agent_id AND execution.task_id = ",
            )
            .bind(id.uuid());
        let changed = tx.execute_raw(update.end()).await?.rows_affected();
        let take = Sql::new(backend, "UPDATE revision SET last = last + ")
            .bind(stored(changed))
            .text(" WHERE task_id = ")
            .bind(id.uuid());
        tx.execute_raw(take.end()).await?;
    }
    row::Entity::update_many()
        .col_expr(row::Column::CancelRequested, Expr::value(true))
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::CancelRequested.eq(false))
        .exec(tx)
        .await?;
    audit_insert(tx, audit).await
}

impl TryFrom<row::Model> for Task {
    type Error = Error;

    fn try_from(row: row::Model) -> Result<Self> {
        Ok(Self {
            id: TaskId::from_uuid(row.id),
            spec: Bytes::from(row.spec),
            selector: Bytes::from(row.selector),
            max_parallel: count("task", row.max_parallel)?,
            max_failures: count("task", row.max_failures)?,
            queue_ttl_secs: row.queue_ttl_secs.map(|ttl| count("task", ttl)).transpose()?,
            created_by: row.created_by,
            created_at: UnixMicros(row.created_at),
            request_id: row.request_id,
            request_hash: row.request_hash,
            reason: row.reason,
            cancel_requested: row.cancel_requested,
        })
    }
}

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]
mod row {
    //! Table `task`.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "task")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub spec: Vec<u8>,
        pub selector: Vec<u8>,
        pub max_parallel: i64,
        pub max_failures: i64,
        pub queue_ttl_secs: Option<i64>,
        pub created_by: String,
        pub created_at: i64,
        pub request_id: Option<String>,
        pub request_hash: Vec<u8>,
        pub reason: String,
        pub cancel_requested: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_exactly_the_ids_that_begin_with_it() {
        let (first, last) = prefix_range("0192f0c1-7b").expect("a prefix of an id");
        assert_eq!(first.to_string(), "0192f0c1-7b00-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0192f0c1-7bff-ffff-ffff-ffffffffffff");
        assert!(prefix_range("").is_some());
        for wrong in [
            "0192F0C1",
            "0192f0c17",
            "0192f0c1x",
            "-",
            "é",
            "0192f0c1-7b1a-7c3e-9f00-0123456789ab0",
        ] {
            assert!(prefix_range(wrong).is_none(), "{wrong}");
        }
    }
}
