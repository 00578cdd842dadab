//! What must be true after every run, whatever went wrong.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use opslink::{
    id::AttemptId,
    task::{ExecutionState, Outcome},
};
use opslink_cloud::store::{
    Store,
    record::{Attempt, AuditRow, Chunk, ChunkStart, Execution, Task, TaskFilter},
};

use crate::{
    plan::{DOOMED, Deed, Fate},
    record::{Answer, Word},
    script::Job,
    shared::Shared,
};

mod output;
mod promises;

/// What the store holds of one task.
pub(crate) struct Stored {
    task: Task,
    executions: Vec<Execution>,
    attempts: Vec<Attempt>,
    chunks: BTreeMap<AttemptId, Vec<Chunk>>,
}

/// Checks the store against the script and the record, and writes what it holds into the trace.
pub(crate) async fn everything(store: &Store, shared: &Shared) {
    let filter = TaskFilter {
        limit: 1_000,
        ..Default::default()
    };
    let mut tasks = store.task_list(filter).await.expect("readable");
    tasks.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    let mut all = Vec::new();
    for task in tasks {
        all.push(read(store, task).await);
    }
    let audit = store.audit_list(None, 100_000).await.expect("readable");
    started_once(&all, shared);
    promises::every_slot_was_free(shared);
    for job in &shared.plan.jobs {
        let mut found = all.iter().filter(|stored| stored.task.reason == job.name());
        let first = found.next();
        assert!(found.next().is_none(), "{}: a request was done twice", job.name());
        match first {
            Some(stored) => task_is_right(job, stored, &audit, shared),
            None => was_not_promised(job, shared),
        }
    }
    promises::audit_is_complete(&all, &audit, shared);
}

async fn read(store: &Store, task: Task) -> Stored {
    let executions = store.execution_list(task.id, None, 100).await.expect("readable");
    let attempts = store.attempt_list(task.id).await.expect("readable");
    let mut chunks: BTreeMap<AttemptId, Vec<Chunk>> = BTreeMap::new();
    for attempt in &attempts {
        let of_attempt = chunks.entry(attempt.id).or_default();
        loop {
            let start = ChunkStart::Seq(of_attempt.last().map_or(0, Chunk::next_seq));
            let more = store.chunk_read(attempt.id, start, 8 << 20).await.expect("readable");
            if more.is_empty() {
                break;
            }
            of_attempt.extend(more);
        }
    }
    Stored {
        task,
        executions,
        attempts,
        chunks,
    }
}

/// An attempt starts once, and only what the store knows starts.
fn started_once(all: &[Stored], shared: &Shared) {
    let known: Vec<AttemptId> = all
        .iter()
        .flat_map(|stored| stored.attempts.iter().map(|attempt| attempt.id))
        .collect();
    for (attempt, runs) in &*shared.record.runs() {
        let run = &runs[0];
        let what = format!("{} on {}", run.marker.trim_end(), run.agent);
        assert!(runs.len() == 1, "{what}: one attempt was started {} times", runs.len());
        assert!(
            known.contains(attempt) || shared.plan.failover.is_some(),
            "{what}: an attempt was started that nobody knows"
        );
    }
}

/// What was answered with 'created' is there, unless the database forgot it.
fn was_not_promised(job: &Job, shared: &Shared) {
    let answers = shared.record.answers(Deed::Create(job.number()));
    let promised = answers.iter().any(|answer| holds(answer, shared));
    assert!(!promised, "{}: it was created, and is not there", job.name());
    shared.trace(format_args!("{}: is not there", job.name()));
}

/// Says whether a deed was done and not forgotten by a database that went back in time.
fn holds(answer: &Answer, shared: &Shared) -> bool {
    let began = shared.work_began.lock().unwrap().expect("the work began");
    let forgotten = shared.plan.failover.is_some_and(|failover| {
        // A tick and more on either side.
        let slack = std::time::Duration::from_millis(50);
        answer.told >= began.plus(failover.copied_at.saturating_sub(slack))
            && answer.asked <= began.plus(failover.at + slack)
    });
    answer.word == Word::Done && !forgotten
}

/// Says whether nobody can be asked what became of an agent's attempts.
fn is_excused(agent: &str, shared: &Shared) -> bool {
    let plan = &shared.plan;
    let doomed = agent == DOOMED && plan.fate != Fate::Stays;
    doomed || plan.failover.is_some()
}

fn task_is_right(job: &Job, stored: &Stored, audit: &[AuditRow], shared: &Shared) {
    assert_eq!(stored.executions.len(), job.agents.len(), "{}: executions", job.name());
    for execution in &stored.executions {
        let what = format!("{} on {}", job.name(), execution.agent_name);
        if shared.is_damaged(job.name(), &execution.agent_name) {
            // It was started once at most, see above; nothing else is promised.
            output::trace(&what, execution, stored.chunks.values().flatten(), shared);
            continue;
        }
        let attempts: Vec<_> = stored
            .attempts
            .iter()
            .filter(|attempt| attempt.agent_id == execution.agent_id)
            .collect();
        for attempt in &attempts {
            let what = format!("{what}, attempt {}", attempt.number);
            assert!(attempt.state.is_terminal(), "{what} is {}", attempt.state.word());
            let is_newest = execution.attempt_id == Some(attempt.id);
            if is_newest {
                assert_eq!(attempt.state, execution.state, "{what}: two states");
            }
            let outcome = attempt.outcome.as_ref().expect("an end has an outcome");
            ended_as_it_should(&what, job, &execution.agent_name, outcome, attempt, shared);
            let chunks = &stored.chunks[&attempt.id];
            let is_verified = is_newest && execution.output_verified;
            output::is_right(&what, job, &execution.agent_name, attempt, chunks, is_verified, shared);
            if is_newest && job.number() == 0 && !is_excused(&execution.agent_name, shared) {
                output::watcher_saw_all(&what, attempt.id, chunks, shared);
            }
        }
        never_begun(&what, job, execution, &attempts, shared);
        not_for_an_agent_that_stayed(&what, execution, shared);
        assert_eq!(
            attempts.len(),
            execution.attempt_number as usize,
            "{what}: attempts are counted wrong"
        );
        output::trace(&what, execution, stored.chunks.values().flatten(), shared);
    }
    promises::nothing_starts_late(job, stored, audit, shared);
    promises::rollout_is_obeyed(job, stored, shared);
    promises::changes_are_audited(job, stored, audit, shared);
    if job.number() == 0 && shared.plan.failover.is_none() {
        assert!(
            shared.watched_to_the_end.load(Ordering::Relaxed),
            "the watcher did not see the end"
        );
    }
}

/// An end without an attempt: it never left the queue.
fn never_begun(what: &str, job: &Job, execution: &Execution, attempts: &[&Attempt], shared: &Shared) {
    assert!(execution.state.is_terminal(), "{what} is {}", execution.state.word());
    if execution.attempt_id.is_some() || !attempts.is_empty() {
        return;
    }
    match execution.state {
        ExecutionState::Canceled => may_be_canceled(what, job, &execution.agent_name, shared),
        ExecutionState::Expired => assert!(may_expire(job, &execution.agent_name, shared), "{what} expired"),
        other => panic!("{what} is {} without an attempt", other.word()),
    }
}

/// Nothing ends because its agent went away when none did: however long the cloud or its store was away.
fn not_for_an_agent_that_stayed(what: &str, execution: &Execution, shared: &Shared) {
    if !shared.plan.only_the_cloud_is_away || is_excused(&execution.agent_name, shared) {
        return;
    }
    let message = execution
        .outcome
        .as_ref()
        .map_or("", |outcome| outcome.message.as_str());
    assert!(
        !message.contains("the agent went away"),
        "{what} is {}, and only the cloud was away: {message}",
        execution.state.word()
    );
}

fn may_be_canceled(what: &str, job: &Job, agent: &str, shared: &Shared) {
    let asked = shared.plan.wants(Deed::Cancel(job.number()));
    let removed = agent == DOOMED && shared.plan.fate == Fate::Removed;
    assert!(
        asked || removed || job.max_failures > 0,
        "{what} is canceled, and nobody asked"
    );
}

/// A short time in the queue; one without queueing has a short one too.
fn may_expire(job: &Job, agent: &str, shared: &Shared) -> bool {
    job.may_expire() || is_excused(agent, shared)
}

/// Whether this end can be true of this attempt.
fn ended_as_it_should(what: &str, job: &Job, agent: &str, outcome: &Outcome, attempt: &Attempt, shared: &Shared) {
    let runs = shared.record.runs();
    let run = runs.get(&attempt.id).map(|runs| &runs[0]);
    let excused = is_excused(agent, shared);
    let reason = &outcome.reason;
    match attempt.state {
        ExecutionState::Succeeded | ExecutionState::Failed => {
            let by_itself = run.is_some_and(|run| run.ended.is_some());
            assert!(by_itself, "{what} is {} and did not run", attempt.state.word());
            let well = attempt.state == ExecutionState::Succeeded;
            assert!(well == job.succeeds(), "{what} is {}: {reason}", attempt.state.word());
            assert!(!job.is_endless(), "{what} ended by itself, and has no end");
        }
        ExecutionState::Canceled => may_be_canceled(what, job, agent, shared),
        ExecutionState::TimedOut => {
            assert!(job.may_time_out() && run.is_some(), "{what} timed out: {reason}");
        }
        ExecutionState::Expired => {
            assert!(may_expire(job, agent, shared), "{what} expired");
            assert!(run.is_none(), "{what} expired, and ran");
        }
        ExecutionState::Refused => {
            let late = job.may_expire() && ["ENVELOPE_EXPIRED", "QUEUE_EXPIRED"].contains(&reason.as_str());
            // What runs waits for space; what does not run yet is refused.
            let full = shared.plan.full.contains(&agent) && reason == "DISK_FULL";
            assert!(late || full, "{what} was refused: {reason}");
            assert!(run.is_none(), "{what} was refused, and ran");
        }
        ExecutionState::Lost => assert!(excused, "{what} is lost: {reason}, {}", outcome.message),
        ExecutionState::Held | ExecutionState::Queued | ExecutionState::Dispatched | ExecutionState::Running => {
            panic!("{what} is {}", attempt.state.word())
        }
    }
}
