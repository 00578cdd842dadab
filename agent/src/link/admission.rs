//! Which tasks this agent obeys. Pure: keys, time and the policy of the moment come in. Only a policy that lists programs
//! looks at the machine by itself, for the program of a task.

use std::time::Duration;

use bytes::Bytes;
use opslink::{
    convert,
    envelope::{key_id, signing_input},
    id::{AgentId, AttemptId},
    pb,
    reason::Reason,
    task::TaskSpec,
    time::UnixMicros,
};
use prost::Message;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::{
    launch::{Order, Refusal},
    policy::Policy,
};

/// How far this machine's clock may be behind or ahead without a signed task being refused. The TTL, which needs no
/// clock, is the real bound; this one only keeps the replay fence finite.
pub const EXPIRY_TOLERANCE: Duration = Duration::from_secs(25 * 3600);

/// Decides which tasks this agent obeys.
#[derive(Debug, Clone)]
pub struct Admission {
    agent_id: AgentId,
    keys: Vec<(String, [u8; 32])>,
    policy: Policy,
}

/// A task that is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotObeyed {
    /// The attempt that the envelope claims to be; absent when it cannot be read at all.
    pub attempt: Option<AttemptId>,
    /// Why.
    pub refusal: Refusal,
}

impl Admission {
    /// Makes one for the agent with this id, which obeys these Ed25519 keys within this policy.
    pub fn new(agent_id: AgentId, keys: &[[u8; 32]], policy: Policy) -> Self {
        let keys = keys.iter().map(|key| (key_id(key), *key)).collect();
        Self { agent_id, keys, policy }
    }

    /// What tasks may do from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// What tasks may do now.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Checks a task: signature, address, expiry, form, policy, in this order. Nothing of an envelope counts before
    /// its signature does.
    ///
    /// # Errors
    /// Why it is not obeyed, and the attempt that it claims to be.
    pub fn admit(&self, signed: pb::SignedEnvelope, now: UnixMicros) -> Result<Order, NotObeyed> {
        let envelope = pb::TaskEnvelope::decode(signed.body.clone());
        let attempt = envelope
            .as_ref()
            .ok()
            .and_then(|envelope| envelope.attempt_id.parse().ok());
        let no = |reason: Reason, message: &str| NotObeyed {
            attempt,
            refusal: Refusal {
                reason: reason.code(),
                message: message.to_owned(),
            },
        };

        if !self.is_signed(&signed) {
            return Err(no(
                Reason::EnvelopeInvalid,
                "the signature of the task is not one that this agent obeys",
            ));
        }
        let (Ok(envelope), Some(id)) = (envelope, attempt) else {
            return Err(no(Reason::EnvelopeInvalid, "the task cannot be read"));
        };
        if envelope.agent_id != self.agent_id.to_string() {
            return Err(no(Reason::EnvelopeInvalid, "the task is addressed to another agent"));
        }
        if now > UnixMicros(envelope.expires_time_us).plus(EXPIRY_TOLERANCE) {
            return Err(no(Reason::EnvelopeExpired, "the task came after its expiry"));
        }
        let spec = envelope.spec.clone().unwrap_or_default();
        let spec = TaskSpec::try_from(spec).map_err(|error: convert::InvalidMessage| {
            no(error.code, &format!("the task makes no sense to this agent: {error}"))
        })?;
        let permit = self
            .policy
            .permit(&spec)
            .map_err(|denied| no(denied.reason, &denied.to_string()))?;
        Ok(Order {
            id,
            signed,
            envelope,
            permit,
            start_by: None,
        })
    }

    fn is_signed(&self, signed: &pb::SignedEnvelope) -> bool {
        let Some((_, key)) = self.keys.iter().find(|(id, _)| *id == signed.key_id) else {
            return false;
        };
        let input = Bytes::from(signing_input(&signed.body));
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&input, &signed.signature)
            .is_ok()
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
