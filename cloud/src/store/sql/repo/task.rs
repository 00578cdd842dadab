//! Tasks.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Value,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{
    super::{
        super::record::{Audit, Execution, Task, TaskCreated, TaskFilter},
        convert::{outcome_bytes, records, state, stored},
        entity::{execution, task},
        failure::{Outcome, corrupt, exists, not_found},
        statement::{Batch, Sql, parts},
    },
    apply::{AttemptRow, LAST_REVISION, behind_last, count_revisions, take_revisions},
    audit,
};

pub(in super::super) async fn create(
    tx: &impl ConnectionTrait,
    new: &Task,
    executions: &[Execution],
    note: &Audit,
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
    batch.add(audit::insert_with_task(backend, note, new.id));
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
    let same_request = task::Entity::find()
        .filter(task::Column::CreatedBy.eq(new.created_by.as_str()))
        .filter(task::Column::RequestId.eq(request_id.as_str()));
    match same_request.one(tx).await? {
        Some(earlier) if earlier.request_hash == new.request_hash => {
            Ok(TaskCreated::Replayed(TaskId::from_uuid(earlier.id)))
        }
        Some(_) => Ok(TaskCreated::RequestIdConflict),
        None => Err(exists("task", new.id)),
    }
}

/// Executions of a task that is there.
fn insert_executions(backend: DbBackend, batch: &mut Batch, task: TaskId, executions: &[Execution]) {
    const COLUMNS: &str = "task_id, agent_id, agent_name, state, attempt_id, attempt_number, queue_deadline, \
                           cancel_requested, started_at, finished_at, outcome, output_verified";
    for part in parts(executions) {
        batch.add(count_revisions(backend, part.len()));
        let rows = (1..).zip(part).map(|(place, execution)| {
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
                behind_last(part.len(), place).into(),
            ]
        });
        batch.add(
            Sql::new(backend, &format!("WITH new ({COLUMNS}, behind) AS (VALUES "))
                .rows(rows)
                .text(&format!(
                    ") INSERT INTO execution ({COLUMNS}, revision) SELECT {COLUMNS}, {LAST_REVISION} - behind FROM new \
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

pub(in super::super) async fn get(db: &impl ConnectionTrait, id: TaskId) -> Outcome<Option<Task>> {
    let row = task::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(Task::try_from).transpose()?)
}

pub(in super::super) async fn by_prefix(db: &impl ConnectionTrait, prefix: &str) -> Outcome<Vec<TaskId>> {
    let Some((first, last)) = prefix_range(prefix) else {
        return Ok(Vec::new());
    };
    let ids: Vec<Uuid> = task::Entity::find()
        .select_only()
        .column(task::Column::Id)
        .filter(task::Column::Id.between(first, last))
        .order_by_asc(task::Column::Id)
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

pub(in super::super) async fn list(db: &impl ConnectionTrait, filter: &TaskFilter) -> Outcome<Vec<Task>> {
    let mut query = task::Entity::find()
        .order_by_desc(task::Column::Id)
        .limit(u64::from(filter.limit));
    if let Some(before) = filter.before {
        query = query.filter(task::Column::Id.lt(before.uuid()));
    }
    if let Some(agent) = filter.agent_id {
        let of_agent = execution::Entity::find()
            .select_only()
            .column(execution::Column::TaskId)
            .filter(execution::Column::AgentId.eq(agent.uuid()));
        query = query.filter(task::Column::Id.in_subquery(of_agent.into_query()));
    }
    Ok(records(query.all(db).await?)?)
}

pub(in super::super) async fn counts(
    db: &impl ConnectionTrait,
    ids: &[TaskId],
) -> Outcome<BTreeMap<TaskId, BTreeMap<ExecutionState, u32>>> {
    let mut counts: BTreeMap<_, BTreeMap<_, _>> = ids.iter().map(|id| (*id, BTreeMap::new())).collect();
    for part in parts(ids) {
        let rows: Vec<(Uuid, String, i64)> = execution::Entity::find()
            .select_only()
            .column(execution::Column::TaskId)
            .column(execution::Column::State)
            .column_as(Expr::cust("COUNT(*)"), "count")
            .filter(execution::Column::TaskId.is_in(part.iter().map(|id| id.uuid())))
            .group_by(execution::Column::TaskId)
            .group_by(execution::Column::State)
            .into_tuple()
            .all(db)
            .await?;
        for (task, word, count) in rows {
            let count = u32::try_from(count).map_err(|_| corrupt("execution count", count))?;
            counts
                .entry(TaskId::from_uuid(task))
                .or_default()
                .insert(state(&word)?, count);
        }
    }
    Ok(counts)
}

pub(in super::super) async fn request_cancel(
    tx: &impl ConnectionTrait,
    id: TaskId,
    agents: &[AgentId],
    note: &Audit,
) -> Outcome<()> {
    // The revisions come first, as in every write of executions: one order of locks, so no deadlock.
    let open = execution::Column::State.is_in(
        ExecutionState::ALL
            .iter()
            .filter(|s| !s.is_terminal())
            .map(|s| s.word()),
    );
    let mut asked = execution::Entity::find()
        .select_only()
        .column(execution::Column::AgentId)
        .filter(execution::Column::TaskId.eq(id.uuid()))
        .filter(execution::Column::CancelRequested.eq(false))
        .filter(open.clone());
    if !agents.is_empty() {
        asked = asked.filter(execution::Column::AgentId.is_in(agents.iter().map(|agent| agent.uuid())));
    }
    take_revisions(tx, 0).await?;
    let asked: Vec<Uuid> = asked.into_tuple().all(tx).await?;
    let mut revision = take_revisions(tx, asked.len()).await?;
    let changed = task::Entity::update_many()
        .col_expr(task::Column::CancelRequested, Expr::value(true))
        .filter(task::Column::Id.eq(id.uuid()))
        .exec(tx)
        .await?;
    if changed.rows_affected == 0 {
        return Err(not_found("task", id));
    }
    for part in parts(&asked) {
        let rows = part.iter().map(|agent| {
            revision += 1;
            [Value::from(*agent), stored(revision).into()]
        });
        let update = Sql::new(tx.get_database_backend(), "WITH asked (agent, number) AS (VALUES ")
            .rows(rows)
            .text(
                ") UPDATE execution SET cancel_requested = TRUE, revision = asked.number FROM asked \
                 WHERE execution.agent_id = asked.agent AND execution.task_id = ",
            )
            .bind(id.uuid());
        tx.execute_raw(update.end()).await?;
    }
    audit::insert(tx, note).await
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
