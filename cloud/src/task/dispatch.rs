//! Hands queued executions to agents that are there and have a free slot, first come, first served.

use std::sync::Arc;

use opslink::{
    id::{AgentId, AttemptId},
    pb,
    task::ExecutionState,
    time::UnixMicros,
};

use super::{
    Engine,
    book::TaskInfo,
    commit::{Intent, is_handed_over},
    machine::Event,
};
use crate::store::{
    self,
    record::{Audit, Execution},
};

/// How much later than its queue deadline an envelope ends: agents' clocks differ, and the TTL is the real bound.
const CLOCK_SLACK: std::time::Duration = std::time::Duration::from_secs(3_600);

impl Engine {
    /// Queues the task's frame for the agent. Encoded and signed when it leaves, not before.
    pub(super) fn send(&self, info: &Arc<TaskInfo>, agent: AgentId, attempt: AttemptId, deadline: Option<UnixMicros>) {
        let (info, signer) = (info.clone(), self.signer.clone());
        self.links.send_task(
            agent,
            Box::new(move || {
                let now = UnixMicros::now();
                let deadline = deadline.unwrap_or_else(|| now.plus(info.queue_ttl));
                let nonce = uuid::Uuid::new_v4().into_bytes();
                let envelope = pb::TaskEnvelope {
                    attempt_id: attempt.to_string(),
                    task_id: info.id.to_string(),
                    agent_id: agent.to_string(),
                    spec: Some(info.spec.clone()),
                    requester: info.created_by.clone(),
                    issued_time_us: now.0,
                    expires_time_us: deadline.plus(CLOCK_SLACK).0,
                    nonce: bytes::Bytes::copy_from_slice(&nonce),
                };
                let ttl = deadline.since(now).as_millis();
                pb::TaskRequest {
                    envelope: Some(signer.sign(&envelope)),
                    ttl_remaining_ms: u64::try_from(ttl).unwrap_or(u64::MAX),
                }
            }),
        );
    }

    /// Looks into the agent's queue, in the background. Several calls at once become one or two looks.
    pub(crate) fn wake_agent(&self, agent: AgentId) {
        if !self.book.begin_pump(agent) {
            return;
        }
        let engine = self.clone();
        // Ends when the queue is empty, the slots are taken or the agent is gone.
        self.spawn(async move {
            loop {
                let result = match engine.gate.clone().acquire_owned().await {
                    Ok(_permit) => engine.pump(agent).await,
                    Err(_) => return,
                };
                if let Err(error) = result {
                    // The backlog mark stays: the next end, attach or reconciliation looks again.
                    tracing::warn!(agent_id = %agent, %error, "a queue waits for the store");
                }
                if !engine.book.end_pump(agent) {
                    return;
                }
            }
        });
    }

    async fn pump(&self, agent: AgentId) -> store::Result<()> {
        if !self.links.is_live(agent) {
            return Ok(());
        }
        if !self.book.has_free_slot(agent) {
            self.book.set_backlog(agent, true);
            return Ok(());
        }
        // Cleared before the look, so that whoever queues meanwhile sets it again.
        self.book.set_backlog(agent, false);
        let open = self
            .store
            .execution_open(agent)
            .await
            .inspect_err(|_| self.book.set_backlog(agent, true))?;
        let infos = self.infos(open.iter().map(|execution| execution.task_id)).await?;
        let mut intents = Vec::new();
        for execution in open {
            if execution.state == ExecutionState::Queued
                && let Some(info) = infos.get(&execution.task_id)
                && let Some(event) = self.reserve(&execution)
            {
                intents.push(Intent::new(execution, info.clone(), vec![(event, UnixMicros::now())]));
            }
        }
        self.commit_dispatches(intents, None).await?;
        Ok(())
    }

    /// Takes a slot for an execution that waits, if its agent is there.
    pub(super) fn reserve(&self, execution: &Execution) -> Option<Event> {
        let fresh = execution.attempt_id.unwrap_or_default();
        let reserved = self.links.is_live(execution.agent_id) && self.book.take_slot(execution.agent_id, fresh);
        reserved.then_some(Event::Dispatch { fresh })
    }

    /// Commits, and gives back the slots of those that were not dispatched after all.
    pub(super) async fn commit_dispatches(
        &self,
        intents: Vec<Intent>,
        audit: Option<Audit>,
    ) -> store::Result<Vec<Execution>> {
        let reserved: Vec<(AgentId, AttemptId)> = intents
            .iter()
            .flat_map(|intent| {
                intent
                    .events
                    .iter()
                    .map(|(event, _)| (intent.execution.agent_id, event))
            })
            .filter_map(|(agent, event)| match event {
                Event::Dispatch { fresh } => Some((agent, *fresh)),
                _ => None,
            })
            .collect();
        let result = self.commit(intents, audit).await;
        let sent: std::collections::HashSet<_> = match &result {
            Ok(executions) => executions
                .iter()
                .filter(|execution| is_handed_over(execution))
                .filter_map(|execution| Some((execution.agent_id, execution.attempt_id?)))
                .collect(),
            Err(_) => std::collections::HashSet::new(),
        };
        for (agent, attempt) in reserved {
            if !sent.contains(&(agent, attempt)) && self.book.free_slot(agent, attempt) {
                self.wake_agent(agent);
            }
        }
        result
    }
}
