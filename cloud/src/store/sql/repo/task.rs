//! Tasks.

use std::collections::BTreeMap;

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    TryInsertResult, Value,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    super::{
        super::record::{Audit, Execution, Task, TaskCreated, TaskFilter},
        convert::{outcome_bytes, records, state, stored},
        entity::{execution, task},
        failure::{Outcome, corrupt, exists, not_found},
        statement::{Sql, parts},
    },
    apply::{AttemptRow, take_revisions, write_attempts},
    audit,
};

pub(in super::super) async fn create(
    tx: &impl ConnectionTrait,
    new: &Task,
    executions: &[Execution],
    note: &Audit,
) -> Outcome<TaskCreated> {
    let row = task::Model {
        id: new.id.uuid(),
        spec: new.spec.to_vec(),
        selector: new.selector.to_vec(),
        max_parallel: new.max_parallel.into(),
        max_failures: new.max_failures.into(),
        queue_ttl_secs: new.queue_ttl_secs.map(i64::from),
        created_by: new.created_by.clone(),
        created_at: new.created_at.0,
        request_id: new.request_id.clone(),
        request_hash: new.request_hash.clone(),
        reason: new.reason.clone(),
        cancel_requested: new.cancel_requested,
    };
    // The rule is the insert itself: nobody comes between a look and a write, and the usual case is one statement.
    let inserted = task::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .try_insert()
        .exec_without_returning(tx)
        .await?;
    if !matches!(inserted, TryInsertResult::Inserted(1)) {
        return earlier(tx, new).await;
    }
    insert_executions(tx, executions).await?;
    let attempt_of = |execution: &Execution| {
        let id: AttemptId = execution.attempt_id?;
        Some(AttemptRow::new(id, execution, new.created_at))
    };
    let attempts: Vec<_> = executions.iter().filter_map(attempt_of).collect();
    write_attempts(tx, &attempts).await?;
    audit::insert(tx, note).await?;
    Ok(TaskCreated::New)
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

async fn insert_executions(tx: &impl ConnectionTrait, executions: &[Execution]) -> Outcome<()> {
    let mut revision = take_revisions(tx, executions.len()).await?;
    for part in parts(executions) {
        let rows = part.iter().map(|execution| {
            revision += 1;
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
                stored(revision).into(),
            ]
        });
        let insert = "INSERT INTO execution (task_id, agent_id, agent_name, state, attempt_id, attempt_number, \
                      queue_deadline, cancel_requested, started_at, finished_at, outcome, output_verified, revision) VALUES ";
        tx.execute_raw(Sql::new(tx.get_database_backend(), insert).rows(rows).end())
            .await?;
    }
    Ok(())
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
