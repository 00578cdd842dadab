//! What an agent says, but for chunks: checked and read by the session, so that nobody behind it knows frames.

use bytes::Bytes;
use opslink::{
    id::{AgentId, AttemptId},
    pb,
};

use super::Arrival;

/// What an agent says, but for chunks.
#[derive(Debug)]
pub enum Report {
    /// A link wants to come up. The answer lets it live (see [`Links::admit`](super::Links::admit)) or ends the call.
    Arrived(Box<Arrival>),
    /// The agent has the attempt in its journal.
    Accepted {
        /// Which agent.
        agent: AgentId,
        /// Of the link on which it said so.
        epoch: u64,
        /// Which attempt.
        attempt: AttemptId,
        /// It runs, or has run.
        started: bool,
    },
    /// The agent did not start the attempt and never will.
    Refused {
        /// Which agent.
        agent: AgentId,
        /// Of the link on which it said so.
        epoch: u64,
        /// Which attempt.
        attempt: AttemptId,
        /// Reason of the catalogue.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// The agent says something new about itself: `pb::Facts`, encoded.
    Facts(AgentId, Bytes),
    /// The only link of the agent, which had this epoch, ended. It may be back already: ask
    /// [`Links::is_live`](super::Links::is_live).
    Gone(AgentId, u64),
}

/// Says whether an attempt in this phase has started. An older agent does not say its phase; then it has.
pub(crate) const fn is_started(phase: pb::AttemptPhase) -> bool {
    !matches!(phase, pb::AttemptPhase::Accepted)
}
