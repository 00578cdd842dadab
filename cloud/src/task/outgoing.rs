//! What leaves for agents: tasks, signed at the moment they leave; wishes to cancel; acknowledgements.

use std::{sync::Arc, time::Duration};

use opslink::{
    id::{AgentId, AttemptId},
    pb,
    problem::Problem,
    time::UnixMicros,
};

use super::{Signer, info::TaskInfo};
use crate::link::Links;

/// How much later than its queue deadline an envelope ends: agents' clocks differ, and the TTL is the real bound.
const CLOCK_SLACK: Duration = Duration::from_secs(3_600);

/// When an attempt may start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Within the time that its task may wait.
    InTime,
    /// Before this time.
    Before(UnixMicros),
    /// Not any more: the agent is only asked what it knows of it.
    Never,
}

/// The way to the agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outgoing {
    links: Links,
    signer: Arc<Signer>,
}

impl Outgoing {
    pub(crate) fn new(links: Links, signer: Signer) -> Self {
        Self {
            links,
            signer: Arc::new(signer),
        }
    }

    /// Queues the frame of a task's attempt, which has this number on its agent. Encoded and signed when it leaves, not
    /// before: the time that is left counts from there.
    pub(crate) fn task(&self, info: &Arc<TaskInfo>, attempt: (AgentId, AttemptId, u32), start: Start) {
        let (info, signer) = (info.clone(), self.signer.clone());
        let (agent, attempt, number) = attempt;
        self.links.send_task(
            agent,
            Box::new(move || {
                let now = UnixMicros::now();
                let deadline = match start {
                    Start::InTime => now.plus(info.queue_ttl),
                    Start::Before(deadline) => deadline,
                    Start::Never => now,
                };
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
                    attempt_number: number,
                };
                let ttl = deadline.since(now).as_millis();
                pb::TaskRequest {
                    envelope: Some(signer.sign(&envelope)),
                    ttl_remaining_ms: u64::try_from(ttl).unwrap_or(u64::MAX),
                }
            }),
        );
    }

    /// Tells the agent to end an attempt.
    pub(crate) fn cancel(&self, agent: AgentId, attempt: AttemptId) {
        self.links.send_cancel(agent, attempt);
    }

    /// Tells the agent that the cloud has an attempt for good.
    pub(crate) fn archived(&self, agent: AgentId, attempt: AttemptId, next_seq: u64) {
        self.links.send_ack(agent, attempt, next_seq, true);
    }

    /// Ends the agent's link, so that its next Hello says what is true.
    pub(crate) fn ask_anew(&self, agent: AgentId, why: Problem) {
        self.links.disconnect(agent, why);
    }
}
