//! What people were promised: what is canceled or too late does not start, slots come back, a rollout spreads as it was
//! told to, and every change is in the audit log, once.

use std::{collections::BTreeMap, time::Duration};

use opslink::{id::AttemptId, task::ExecutionState, time::UnixMicros};
use opslink_cloud::store::record::AuditRow;

use super::{Stored, holds, is_excused};
use crate::{
    plan::{Deed, Fate},
    record::Answer,
    recorder::Run,
    script::Job,
    shared::Shared,
};

/// What was under way when the word was given: a message, and a step of each program.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// The longest time for which a link is held, and a message with it.
const HELD: Duration = Duration::from_secs(10);
/// From an end on the agent to the decision about the next one, at a slow store.
const DECIDED: Duration = Duration::from_secs(2);

fn time_under_way(agent: &str, shared: &Shared) -> Duration {
    if shared.plan.held.contains(&agent) {
        UNDER_WAY + HELD
    } else {
        UNDER_WAY
    }
}

/// At the end every slot of every agent was taken at the same time.
pub(super) fn every_slot_was_free(shared: &Shared) {
    let runs = shared.record.runs();
    let mut probes: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs.values().flatten().filter(|run| run.marker.starts_with("probe")) {
        probes.entry(run.agent).or_default().push(run);
    }
    assert!(!probes.is_empty(), "no slot was tried");
    for (agent, runs) in probes {
        let slots = shared.plan.slots;
        assert_eq!(runs.len(), slots, "{agent}: slots that were tried");
        let most = most_at_once(&runs);
        assert_eq!(most, slots, "{agent}: of {slots} slots only {most} are free");
    }
}

/// How many were at work at the same time.
fn most_at_once(runs: &[&Run]) -> usize {
    let at_work = |at: UnixMicros| {
        let holds = |run: &&&Run| run.started <= at && run.ended.is_none_or(|ended| ended > at);
        runs.iter().filter(holds).count()
    };
    runs.iter().map(|run| at_work(run.started)).max().unwrap_or(0)
}

/// The newest attempt that is the first one of its execution, with its run.
fn first_runs<'a>(
    stored: &'a Stored,
    runs: &'a BTreeMap<AttemptId, Vec<Run>>,
) -> impl Iterator<Item = (&'a super::Attempt, &'a Run)> {
    let firsts = stored.attempts.iter().filter(|attempt| attempt.number == 1);
    firsts.filter_map(|attempt| Some((attempt, &runs.get(&attempt.id)?[0])))
}

/// Nothing starts after its cancel was written down, answered or not, or after its time in the queue was over.
pub(super) fn nothing_starts_late(job: &Job, stored: &Stored, audit: &[AuditRow], shared: &Shared) {
    let runs = shared.record.runs();
    let resource = format!("task/{}", stored.task.id);
    let canceled = rows(audit, "task.cancel", &resource).map(|row| row.time).min();
    for (attempt, run) in first_runs(stored, &runs) {
        if shared.is_damaged(job.name(), run.agent) {
            continue;
        }
        let slack = time_under_way(run.agent, shared);
        let what = format!("{} on {}", job.name(), run.agent);
        if let Some(canceled) = canceled {
            let late = run.started.since(canceled);
            assert!(late <= slack, "{what} started {late:?} after its cancel");
        }
        let execution = stored.executions.iter().find(|e| e.attempt_id == Some(attempt.id));
        if let Some(deadline) = execution.and_then(|execution| execution.queue_deadline) {
            let late = run.started.since(deadline);
            assert!(
                late <= slack,
                "{what} started {late:?} after its time in the queue was over"
            );
        }
    }
}

/// No more than `max_parallel` at once, and after `max_failures` nothing new.
pub(super) fn rollout_is_obeyed(job: &Job, stored: &Stored, shared: &Shared) {
    if job.max_parallel == 0 || shared.plan.failover.is_some() {
        return;
    }
    let runs = shared.record.runs();
    let known: Vec<&Run> = stored
        .attempts
        .iter()
        .filter(|attempt| attempt.state != ExecutionState::Lost)
        .filter_map(|attempt| runs.get(&attempt.id).map(|runs| &runs[0]))
        .filter(|run| !is_excused(run.agent, shared))
        .collect();
    let most = most_at_once(&known);
    let max = job.max_parallel as usize;
    assert!(most <= max, "{}: {most} ran at once, {max} may", job.name());

    if job.max_failures == 0 || shared.plan.wants(Deed::Retry(job.number())) {
        return;
    }
    let mut failures: Vec<UnixMicros> = stored
        .executions
        .iter()
        .filter(|execution| is_failure(execution.state))
        .filter_map(|execution| execution.finished_at)
        .collect();
    failures.sort();
    let Some(stops) = failures.get(job.max_failures as usize - 1) else {
        return;
    };
    let decided = stops.plus(DECIDED + shared.plan.store_is_away_for);
    let late = known.iter().filter(|run| run.started > decided).count();
    assert!(
        late < max,
        "{}: {late} started after failure number {}",
        job.name(),
        job.max_failures
    );
}

const fn is_failure(state: ExecutionState) -> bool {
    matches!(
        state,
        ExecutionState::Failed
            | ExecutionState::TimedOut
            | ExecutionState::Refused
            | ExecutionState::Expired
            | ExecutionState::Lost
    )
}

fn rows<'a>(audit: &'a [AuditRow], action: &'a str, resource: &'a str) -> impl Iterator<Item = &'a AuditRow> {
    audit
        .iter()
        .filter(move |row| row.action == action && row.resource == resource)
}

/// Changes of one task and their rows are equally many.
pub(super) fn changes_are_audited(job: &Job, stored: &Stored, audit: &[AuditRow], shared: &Shared) {
    let resource = format!("task/{}", stored.task.id);
    let count = |action: &str| rows(audit, action, &resource).count();
    assert_eq!(count("task.create"), 1, "{}: audit rows of its creation", job.name());

    let cancels = shared.record.answers(Deed::Cancel(job.number()));
    let tries: u32 = cancels.iter().map(|answer: &Answer| answer.tries).sum();
    if stored.task.cancel_requested {
        assert!(
            count("task.cancel") > 0,
            "{}: a cancel without an audit row",
            job.name()
        );
    }
    if shared.plan.failover.is_none() {
        let rows = count("task.cancel");
        assert!(
            rows <= tries as usize,
            "{}: {rows} audit rows of {tries} tries to cancel it",
            job.name()
        );
    }

    let retries = shared.record.answers(Deed::Retry(job.number()));
    let most = stored.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0);
    let was_retried = stored.executions.iter().any(|execution| {
        let attempts = stored.attempts.iter().filter(|a| a.agent_id == execution.agent_id);
        // One that never left the queue had no attempt, so its retry makes the first.
        attempts.clone().count() > 1
    });
    assert!(
        most <= 2,
        "{}: one request to retry made {} attempts",
        job.name(),
        most - 1
    );
    let promised = retries.iter().any(|answer| holds(answer, shared));
    let rows = count("task.retry");
    assert!(
        !was_retried || rows == 1,
        "{}: {rows} audit rows of one retry",
        job.name()
    );
    assert!(
        !promised || rows == 1,
        "{}: {rows} audit rows of a retry that was answered",
        job.name()
    );
    assert!(rows <= 1, "{}: {rows} audit rows of one request to retry", job.name());
}

/// No row without its change, and the removal of an agent has one.
pub(super) fn audit_is_complete(all: &[Stored], audit: &[AuditRow], shared: &Shared) {
    let creations = audit.iter().filter(|row| row.action == "task.create").count();
    assert_eq!(creations, all.len(), "creations in the audit log, and tasks");
    let removals = audit.iter().filter(|row| row.action == "agent.remove").count();
    assert!(removals <= 1, "an agent was removed {removals} times");
    if shared.plan.fate == Fate::Removed {
        let promised = shared
            .record
            .answers(Deed::Remove)
            .iter()
            .any(|answer| holds(answer, shared));
        assert!(
            !promised || removals == 1,
            "an agent was removed, and there is no audit row"
        );
        if removals == 1 {
            shared.tally.count("agent was removed");
        }
    }
}
