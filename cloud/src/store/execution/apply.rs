//! Changing executions: the hottest write of the cloud. A few statements for any number of changes.
//!
//! Every change of an execution has a revision: the next number of its task. A transaction takes as many as it needs from
//! the row of the task in the table `revision`, before it touches executions, and holds that row until its commit: so
//! the revisions of one task become visible in order, and a watcher that has read up to one never misses a lower one.
//! Tasks do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Value};
use uuid::Uuid;

use super::sql::row;
use crate::store::{
    audit::sql::audit_insert,
    output::sql::insert_with_execution,
    record::{Audit, Execution, ExecutionWrite},
    sql::{Batch, Outcome, Sql, corrupt, not_found, outcome_bytes, parts},
};

type Key = (TaskId, AgentId);

/// The last revision of the task of the row `new`, in SQL.
pub(in crate::store) const LAST_REVISION: &str = "(SELECT last FROM revision WHERE revision.task_id = new.task)";

/// Takes revisions for these changes, and says of each how far its revision is below the last one of its task.
fn take_revisions<'a>(
    backend: DbBackend,
    batch: &mut Batch,
    writes: &'a [ExecutionWrite],
) -> Vec<(i64, &'a ExecutionWrite)> {
    let mut counts: BTreeMap<TaskId, i64> = BTreeMap::new();
    for write in writes {
        *counts.entry(write.after.task_id).or_default() += 1;
    }
    // In the order of ids, so that two transactions hardly ever wait for each other in a circle.
    let tasks: Vec<(TaskId, i64)> = counts.iter().map(|(task, count)| (*task, *count)).collect();
    for part in parts(&tasks) {
        let update = match part {
            [(task, count)] => Sql::new(backend, "UPDATE revision SET last = last + ")
                .bind(*count)
                .text(" WHERE task_id = ")
                .bind(task.uuid()),
            _ => Sql::new(backend, "WITH taken (task, count) AS (VALUES ")
                .rows(
                    part.iter()
                        .map(|(task, count)| [Value::from(task.uuid()), (*count).into()]),
                )
                .text(") UPDATE revision SET last = last + taken.count FROM taken WHERE revision.task_id = taken.task"),
        };
        batch.add(update);
    }
    let place = |write: &'a ExecutionWrite| {
        let left = counts.entry(write.after.task_id).or_default();
        *left -= 1;
        (*left, write)
    };
    writes.iter().map(place).collect()
}

pub(super) async fn execution_apply(
    tx: &impl ConnectionTrait,
    writes: &[ExecutionWrite],
    audit: &Option<Audit>,
) -> Outcome<Vec<(bool, Execution)>> {
    let mut answers = Vec::with_capacity(writes.len());
    for round in rounds(writes) {
        for part in parts(round) {
            apply_part(tx, part, &mut answers).await?;
        }
    }
    if let Some(audit) = audit
        && answers.iter().any(|(applied, _)| *applied)
    {
        audit_insert(tx, audit).await?;
    }
    Ok(answers)
}

/// Cuts the writes where an execution comes a second time: its second write builds on its first.
fn rounds(writes: &[ExecutionWrite]) -> Vec<&[ExecutionWrite]> {
    let mut rounds = Vec::new();
    let (mut begin, mut seen) = (0, BTreeSet::new());
    for (position, ExecutionWrite { after, .. }) in writes.iter().enumerate() {
        if !seen.insert((after.task_id, after.agent_id)) {
            rounds.extend(writes.get(begin..position));
            begin = position;
            seen = BTreeSet::from([(after.task_id, after.agent_id)]);
        }
    }
    rounds.extend(writes.get(begin..));
    rounds
}

const COLUMNS: &str = "WITH new (task, agent, before_state, before_attempt, state, attempt, number, deadline, cancel, \
    fresh, started, finished, outcome, verified, behind) AS (VALUES ";

// A wish to cancel that came between the caller's read and this write stays; only a retry (`fresh`) drops it.
const UPDATE: &str = ") UPDATE execution SET state = new.state, attempt_id = new.attempt, attempt_number = new.number, \
    queue_deadline = new.deadline, \
    cancel_requested = CASE WHEN new.fresh THEN new.cancel ELSE execution.cancel_requested OR new.cancel END, \
    started_at = new.started, finished_at = new.finished, outcome = new.outcome, output_verified = new.verified, \
    revision = ";

const WHERE_AS_BEFORE: &str = " - new.behind FROM new WHERE execution.task_id = new.task AND execution.agent_id = new.agent \
    AND execution.state = new.before_state AND execution.attempt_id IS NOT DISTINCT FROM new.before_attempt \
    RETURNING execution.task_id, execution.agent_id, execution.agent_name, execution.cancel_requested, execution.revision";

async fn apply_part(
    tx: &impl ConnectionTrait,
    part: &[ExecutionWrite],
    answers: &mut Vec<(bool, Execution)>,
) -> Outcome<()> {
    let backend = tx.get_database_backend();
    let mut batch = Batch::default();
    let placed = take_revisions(backend, &mut batch, part);
    let rows = placed.iter().map(|(behind, write)| row_of(write, *behind));
    batch.add(
        Sql::new(backend, COLUMNS)
            .rows(rows)
            .text(UPDATE)
            .text(LAST_REVISION)
            .text(WHERE_AS_BEFORE),
    );
    write_attempts(backend, &mut batch, placed.iter().copied());
    let whole = placed
        .iter()
        .filter_map(|(behind, write)| Some((*behind, &write.after, write.output.as_ref()?)));
    insert_with_execution(backend, &mut batch, whole);
    let mut changed: BTreeMap<Key, (String, bool, i64)> = BTreeMap::new();
    for row in batch.rows(tx).await? {
        let (task, agent): (Uuid, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let rest = (
            row.try_get_by_index(2)?,
            row.try_get_by_index(3)?,
            row.try_get_by_index(4)?,
        );
        changed.insert((TaskId::from_uuid(task), AgentId::from_uuid(agent)), rest);
    }
    let key = |write: &ExecutionWrite| (write.after.task_id, write.after.agent_id);
    let unchanged: Vec<Key> = part.iter().map(key).filter(|key| !changed.contains_key(key)).collect();
    let mut current = read(tx, &unchanged).await?;
    for write in part {
        let (task, agent) = key(write);
        let answer = match changed.remove(&(task, agent)) {
            Some((agent_name, cancel_requested, revision)) => {
                let revision = u64::try_from(revision).map_err(|_| corrupt("execution", revision))?;
                (
                    true,
                    Execution {
                        agent_name,
                        cancel_requested,
                        revision,
                        ..write.after.clone()
                    },
                )
            }
            None => {
                let missing = || not_found("execution", format!("{task}/{agent}"));
                (false, current.remove(&(task, agent)).ok_or_else(missing)?)
            }
        };
        answers.push(answer);
    }
    Ok(())
}

fn row_of(write: &ExecutionWrite, behind: i64) -> [Value; 15] {
    let ExecutionWrite {
        before: (before_state, before_attempt),
        after,
        output: _,
    } = write;
    [
        after.task_id.uuid().into(),
        after.agent_id.uuid().into(),
        before_state.word().into(),
        before_attempt.map(AttemptId::uuid).into(),
        after.state.word().into(),
        after.attempt_id.map(AttemptId::uuid).into(),
        i64::from(after.attempt_number).into(),
        after.queue_deadline.map(|time| time.0).into(),
        after.cancel_requested.into(),
        before_state.is_terminal().into(),
        after.started_at.map(|time| time.0).into(),
        after.finished_at.map(|time| time.0).into(),
        outcome_bytes(after.outcome.as_ref()).into(),
        after.output_verified.into(),
        behind.into(),
    ]
}

async fn read(tx: &impl ConnectionTrait, keys: &[Key]) -> Outcome<BTreeMap<Key, Execution>> {
    let mut found = BTreeMap::new();
    for part in parts(keys) {
        let rows = part
            .iter()
            .map(|(task, agent)| [Value::from(task.uuid()), agent.uuid().into()]);
        let select = Sql::new(tx.get_database_backend(), "WITH wanted (task, agent) AS (VALUES ")
            .rows(rows)
            .text(
                ") SELECT execution.* FROM wanted JOIN execution \
             ON execution.task_id = wanted.task AND execution.agent_id = wanted.agent",
            );
        for row in row::Entity::find().from_raw_sql(select.end()).all(tx).await? {
            let now = Execution::try_from(row)?;
            found.insert((now.task_id, now.agent_id), now);
        }
    }
    Ok(found)
}

/// What the table of attempts gets.
pub(in crate::store) struct AttemptRow {
    id: AttemptId,
    task: TaskId,
    agent: AgentId,
    number: u32,
    state: ExecutionState,
    created_at: UnixMicros,
    finished_at: Option<UnixMicros>,
    outcome: Option<Vec<u8>>,
}

impl AttemptRow {
    pub(in crate::store) fn new(id: AttemptId, execution: &Execution, created_at: UnixMicros) -> Self {
        Self {
            id,
            task: execution.task_id,
            agent: execution.agent_id,
            number: execution.attempt_number,
            state: execution.state,
            created_at,
            finished_at: execution.finished_at,
            outcome: outcome_bytes(execution.outcome.as_ref()),
        }
    }

    pub(in crate::store) fn values(&self) -> [Value; 8] {
        [
            self.id.uuid().into(),
            self.task.uuid().into(),
            self.agent.uuid().into(),
            i64::from(self.number).into(),
            self.state.word().into(),
            self.created_at.0.into(),
            self.finished_at.map(|time| time.0).into(),
            self.outcome.clone().into(),
        ]
    }
}

/// Writes the attempts of the executions that were changed, with how far each execution's revision is below the last
/// one: new attempts, and the news about known ones.
fn write_attempts<'a>(backend: DbBackend, batch: &mut Batch, writes: impl Iterator<Item = (i64, &'a ExecutionWrite)>) {
    const WITH: &str =
        "WITH new (id, task, agent, number, state, created_at, finished_at, outcome, behind) AS (VALUES ";
    // Whoever was overtaken has another revision, and its attempt is left as it is.
    const INSERT: &str = ") INSERT INTO attempt (id, task_id, agent_id, number, state, created_at, finished_at, outcome) \
        SELECT new.id, new.task, new.agent, new.number, new.state, new.created_at, new.finished_at, new.outcome \
        FROM new JOIN execution ON execution.task_id = new.task AND execution.agent_id = new.agent \
        WHERE execution.revision = ";
    const OR_UPDATE: &str = " - new.behind ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at, \
        outcome = excluded.outcome";
    let rows: Vec<[Value; 9]> = writes
        .filter_map(|(behind, write)| {
            let id = write.after.attempt_id?;
            let [id, task, agent, number, state, created, finished, outcome] =
                AttemptRow::new(id, &write.after, write.after.attempt_created_at(id)).values();
            Some([
                id,
                task,
                agent,
                number,
                state,
                created,
                finished,
                outcome,
                behind.into(),
            ])
        })
        .collect();
    for part in parts(&rows) {
        batch.add(
            Sql::new(backend, WITH)
                .rows(part.iter().cloned())
                .text(INSERT)
                .text(LAST_REVISION)
                .text(OR_UPDATE),
        );
    }
}
