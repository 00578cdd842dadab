//! Attempts of executions, as callers are shown them: read for some executions at a time, and kept of few.
//!
//! A task may have ten thousand executions, and each of them a thousand attempts. Numbers of attempts follow each other,
//! so the number of the newest says how many there are before any is read.

use std::collections::HashMap;

use opslink::{id::AgentId, time::UnixMicros};

use super::answer::ExecutionView;
use crate::store::record::{AttemptHead, Execution};

/// Most attempts of one execution: what is shown of it holds all of them.
pub(super) const OF_ONE_MAX: u32 = 1_000;
/// Most attempts of a page of a list: 64 bytes each here, some 150 each in the answer, so 3.5 MiB. As many as the largest
/// page of executions that began once, and more.
pub(super) const OF_PAGE_MAX: u32 = 16_384;
/// Most attempts that a watch keeps: 256 KiB.
pub(super) const KEPT_MAX: u32 = 4_096;

/// How many of these executions, from the first one on, have no more attempts than that together; one at least.
pub(super) fn fitting(executions: &[Execution], most: u32) -> usize {
    let mut attempts = 0_u32;
    let fits = |execution: &&Execution| {
        attempts = attempts.saturating_add(execution.attempt_number);
        attempts <= most
    };
    executions.iter().take_while(fits).count().max(1)
}

/// Cuts executions into parts that have no more attempts than that, or are one execution.
pub(super) fn parts(mut executions: &[Execution], most: u32) -> impl Iterator<Item = &[Execution]> {
    std::iter::from_fn(move || {
        let (part, rest) = match executions.is_empty() {
            true => return None,
            false => executions.split_at_checked(fitting(executions, most))?,
        };
        executions = rest;
        Some(part)
    })
}

/// Attempts by agent, each agent's oldest first.
pub(super) fn by_agent(heads: Vec<AttemptHead>) -> HashMap<AgentId, Vec<AttemptHead>> {
    let mut by_agent: HashMap<AgentId, Vec<AttemptHead>> = HashMap::new();
    for head in heads {
        by_agent.entry(head.agent_id).or_default().push(head);
    }
    by_agent
}

/// The attempts of executions that have more than one, of as many executions as there is room for. Those of the others are
/// read again when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_agent: HashMap<AgentId, Vec<AttemptHead>>,
    count: usize,
}

impl Attempts {
    /// Agents of these executions whose attempts are to be read, and then given to [`Self::keep`], before they are asked
    /// for. The executions have [`KEPT_MAX`] attempts at most, or are one.
    pub(super) fn missing(&mut self, executions: &[Execution]) -> Vec<AgentId> {
        let unknown = |attempts: &Self| -> (Vec<AgentId>, usize) {
            let is_unknown = |execution: &&Execution| {
                execution.attempt_number > 1 && !attempts.by_agent.contains_key(&execution.agent_id)
            };
            let them = executions.iter().filter(is_unknown);
            let count = them.clone().map(|execution| execution.attempt_number as usize).sum();
            (them.map(|execution| execution.agent_id).collect(), count)
        };
        let (missing, count) = unknown(self);
        if missing.is_empty() || self.count + count <= KEPT_MAX as usize {
            return missing;
        }
        self.clear();
        unknown(self).0
    }

    /// Keeps what was read of them.
    pub(super) fn keep(&mut self, heads: Vec<AttemptHead>) {
        self.count += heads.len();
        self.by_agent.extend(by_agent(heads));
    }

    /// Forgets all of them: they may be no more.
    pub(super) fn clear(&mut self) {
        self.by_agent.clear();
        self.count = 0;
    }

    /// The attempts of an execution up to its newest.
    pub(super) fn of(&self, execution: &Execution) -> impl Iterator<Item = &AttemptHead> {
        let known = self.by_agent.get(&execution.agent_id).map_or(&[][..], Vec::as_slice);
        let newest = execution.attempt_number;
        known.iter().filter(move |attempt| attempt.number <= newest)
    }

    /// An execution with its attempts.
    pub(super) fn view(&self, execution: Execution) -> ExecutionView {
        ExecutionView {
            attempts: self.of(&execution).cloned().collect(),
            execution,
        }
    }

    /// Keeps what is known in step with changes that happen after it was read.
    pub(super) fn note(&mut self, execution: &Execution) {
        let Some(known) = self.by_agent.get_mut(&execution.agent_id) else {
            return;
        };
        let Some(id) = execution.attempt_id else { return };
        match known.iter_mut().find(|attempt| attempt.id == id) {
            Some(attempt) => {
                attempt.state = execution.state;
                attempt.finished_at = execution.finished_at;
            }
            None => {
                known.push(AttemptHead {
                    id,
                    agent_id: execution.agent_id,
                    number: execution.attempt_number,
                    state: execution.state,
                    created_at: UnixMicros::now(),
                    finished_at: execution.finished_at,
                });
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opslink::{
        id::{AttemptId, TaskId},
        task::ExecutionState,
    };

    use super::*;

    fn execution(attempts: u32) -> Execution {
        Execution {
            task_id: TaskId::new(),
            agent_id: AgentId::new(),
            agent_name: "web".to_owned(),
            state: ExecutionState::Failed,
            attempt_id: Some(AttemptId::new()),
            attempt_number: attempts,
            queue_deadline: None,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            outcome: None,
            output_verified: false,
            revision: 1,
        }
    }

    /// What the store has of an execution.
    fn heads(execution: &Execution) -> Vec<AttemptHead> {
        let head = |number| AttemptHead {
            id: execution
                .attempt_id
                .filter(|_| number == execution.attempt_number)
                .unwrap_or_default(),
            agent_id: execution.agent_id,
            number,
            state: ExecutionState::Failed,
            created_at: UnixMicros(1),
            finished_at: None,
        };
        (1..=execution.attempt_number).map(head).collect()
    }

    #[test]
    fn parts_hold_every_execution_once_and_few_attempts() {
        let executions: Vec<_> = [3, 4, 4, 20, 0, 10, 1].map(execution).into();
        let sizes: Vec<_> = parts(&executions, 10).map(<[Execution]>::len).collect();
        assert_eq!(sizes, [2, 1, 1, 2, 1]);
        assert!(parts(&executions, 10).flatten().eq(&executions));
        assert_eq!(parts(&[], 10).count(), 0);
    }

    #[test]
    fn of_very_many_attempts_few_are_kept_and_those_that_are_asked_for_are_there() {
        let mut attempts = Attempts::default();
        for _ in 0..100 {
            let part = [execution(300), execution(1), execution(700)];
            // The first of them is known already.
            for part in [&part[..1], &part[..]] {
                let missing = attempts.missing(part);
                let read = part.iter().filter(|one| missing.contains(&one.agent_id));
                attempts.keep(read.flat_map(heads).collect());
            }
            assert_eq!(attempts.of(&part[0]).count(), 300);
            assert_eq!(attempts.of(&part[1]).count(), 0, "the newest stands in the execution");
            assert_eq!(attempts.of(&part[2]).count(), 700);
            assert!(attempts.count <= KEPT_MAX as usize);
            let kept: usize = attempts.by_agent.values().map(Vec::len).sum();
            assert_eq!(kept, attempts.count);
        }
    }

    #[test]
    fn a_retry_adds_an_attempt_and_the_one_before_it_shows_how_it_ended() {
        let mut attempts = Attempts::default();
        let mut now = execution(2);
        assert_eq!(attempts.missing(std::slice::from_ref(&now)), [now.agent_id]);
        attempts.keep(heads(&now));
        now.state = ExecutionState::Lost;
        attempts.note(&now);
        let ended = now.clone();
        now.state = ExecutionState::Queued;
        (now.attempt_id, now.attempt_number) = (Some(AttemptId::new()), 3);
        attempts.note(&now);
        let states: Vec<_> = attempts.of(&now).map(|attempt| attempt.state).collect();
        assert_eq!(
            states,
            [ExecutionState::Failed, ExecutionState::Lost, ExecutionState::Queued]
        );
        assert_eq!(attempts.of(&ended).count(), 2, "as it was then");
    }
}
