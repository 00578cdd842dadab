//! Changing executions: the hottest write of the cloud. A few statements for any number of changes.

use std::collections::{BTreeMap, BTreeSet};

use opslink::{
    id::{AgentId, AttemptId, TaskId},
    task::ExecutionState,
    time::UnixMicros,
};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Value};
use uuid::Uuid;

use super::{
    super::{
        super::{
            attempt_created_at,
            record::{Audit, Execution, ExecutionWrite},
        },
        convert::{outcome_bytes, stored},
        entity::execution,
        failure::{Outcome, corrupt, not_found},
        statement::{Batch, Sql, parts},
    },
    audit, output,
};

type Key = (TaskId, AgentId);

/// Takes `count` revisions; see [`take_revisions`]. [`LAST_REVISION`] is then the last of them.
pub(super) fn count_revisions(backend: DbBackend, count: usize) -> Sql {
    Sql::new(backend, "UPDATE counter SET value = value + ")
        .bind(stored(count as u64))
        .text(" WHERE name = 'revision'")
}

/// The last revision that this transaction took, in SQL.
pub(super) const LAST_REVISION: &str = "(SELECT value FROM counter WHERE name = 'revision')";

/// How far the revision of the `place`th of `count` rows (from 1) is below the last one.
pub(super) fn behind_last(count: usize, place: usize) -> i64 {
    stored(count.saturating_sub(place) as u64)
}

/// Takes `count` revisions and returns the number before the first.
///
/// The row lock of the counter is held until commit, so revisions become visible in order: a watcher that has read up
/// to one never misses a lower one. Every transaction that changes executions takes it before their rows.
pub(super) async fn take_revisions(tx: &impl ConnectionTrait, count: usize) -> Outcome<u64> {
    let update = Sql::new(tx.get_database_backend(), "UPDATE counter SET value = value + ")
        .bind(stored(count as u64))
        .text(" WHERE name = 'revision' RETURNING value");
    let row = tx
        .query_one_raw(update.end())
        .await?
        .ok_or_else(|| corrupt("counter", "the row `revision` is gone"))?;
    let last: i64 = row.try_get_by_index(0)?;
    let last = u64::try_from(last).map_err(|_| corrupt("counter", last))?;
    Ok(last.saturating_sub(count as u64))
}

pub(in super::super) async fn apply(
    tx: &impl ConnectionTrait,
    writes: &[ExecutionWrite],
    note: Option<&Audit>,
) -> Outcome<Vec<(bool, Execution)>> {
    let mut answers = Vec::with_capacity(writes.len());
    for round in rounds(writes) {
        for part in parts(round) {
            apply_part(tx, part, &mut answers).await?;
        }
    }
    if let Some(note) = note
        && answers.iter().any(|(applied, _)| *applied)
    {
        audit::insert(tx, note).await?;
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
    let placed = || {
        (1..)
            .zip(part)
            .map(|(place, write)| (behind_last(part.len(), place), write))
    };
    let mut batch = Batch::default();
    batch.add(count_revisions(backend, part.len()));
    let rows = placed().map(|(behind, write)| row_of(write, behind));
    batch.add(
        Sql::new(backend, COLUMNS)
            .rows(rows)
            .text(UPDATE)
            .text(LAST_REVISION)
            .text(WHERE_AS_BEFORE),
    );
    write_attempts(backend, &mut batch, placed());
    let whole = placed().filter_map(|(behind, write)| Some((behind, &write.after, write.output.as_ref()?)));
    output::insert_with_execution(backend, &mut batch, whole);
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
        for row in execution::Entity::find().from_raw_sql(select.end()).all(tx).await? {
            let now = Execution::try_from(row)?;
            found.insert((now.task_id, now.agent_id), now);
        }
    }
    Ok(found)
}

/// What the table of attempts gets.
pub(super) struct AttemptRow {
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
    pub(super) fn new(id: AttemptId, execution: &Execution, created_at: UnixMicros) -> Self {
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

    pub(super) fn values(&self) -> [Value; 8] {
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
        "WITH new (id, task_id, agent_id, number, state, created_at, finished_at, outcome, behind) AS (VALUES ";
    // Whoever was overtaken has another revision, and its attempt is left as it is.
    const INSERT: &str = ") INSERT INTO attempt (id, task_id, agent_id, number, state, created_at, finished_at, outcome) \
        SELECT new.id, new.task_id, new.agent_id, new.number, new.state, new.created_at, new.finished_at, new.outcome \
        FROM new JOIN execution ON execution.task_id = new.task_id AND execution.agent_id = new.agent_id \
        WHERE execution.revision = ";
    const OR_UPDATE: &str = " - new.behind ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at, \
        outcome = excluded.outcome";
    let rows: Vec<[Value; 9]> = writes
        .filter_map(|(behind, write)| {
            let id = write.after.attempt_id?;
            let [id, task, agent, number, state, created, finished, outcome] =
                AttemptRow::new(id, &write.after, attempt_created_at(id, &write.after)).values();
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
