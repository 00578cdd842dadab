//! Only what the pinned key signed, for this agent, in time and within policy, is obeyed (T12, T14).

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;

const NOW: UnixMicros = UnixMicros(1_000_000_000_000);

struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, envelope: &pb::TaskEnvelope) -> pb::SignedEnvelope {
        let body = envelope.encode_to_vec();
        let signature = self.0.sign(&signing_input(&body)).as_ref().to_vec();
        pb::SignedEnvelope {
            body: body.into(),
            signature: signature.into(),
            key_id: key_id(&self.public()),
        }
    }
}

fn envelope(agent: AgentId) -> pb::TaskEnvelope {
    let shell = pb::ShellSpec {
        argv: vec!["true".into()],
        ..Default::default()
    };
    pb::TaskEnvelope {
        attempt_id: AttemptId::new().to_string(),
        task_id: opslink::id::TaskId::new().to_string(),
        agent_id: agent.to_string(),
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        }),
        requester: "admin".into(),
        issued_time_us: NOW.0,
        expires_time_us: NOW.0 + 1,
        nonce: vec![9; 16].into(),
        attempt_number: 0,
    }
}

fn admission(agent: AgentId, signer: &Signer) -> Admission {
    Admission::new(agent, &[signer.public()], Policy::permissive())
}

fn reason(result: Result<Order, NotObeyed>) -> &'static str {
    result.unwrap_err().refusal.reason
}

#[test]
fn a_signed_task_for_this_agent_is_obeyed() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let envelope = envelope(agent);
    let order = admission(agent, &signer).admit(signer.sign(&envelope), NOW).unwrap();
    assert_eq!(order.id.to_string(), envelope.attempt_id);
    assert_eq!(order.envelope, envelope);
}

#[test]
fn every_single_flipped_bit_is_rejected() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let admission = admission(agent, &signer);
    let mut envelope = envelope(agent);
    // About 2 kB, as T12 asks.
    let script = pb::ShellSpec {
        script: vec![b'x'; 1800].into(),
        ..Default::default()
    };
    envelope.spec.as_mut().unwrap().action = Some(pb::task_spec::Action::Shell(script));
    let whole = signer.sign(&envelope).encode_to_vec();
    assert!(
        admission
            .admit(pb::SignedEnvelope::decode(whole.as_slice()).unwrap(), NOW)
            .is_ok()
    );
    let mut rejected = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            // What does not even decode never reaches the agent.
            let Ok(signed) = pb::SignedEnvelope::decode(bytes.as_slice()) else {
                continue;
            };
            assert_eq!(
                reason(admission.admit(signed, NOW)),
                "ENVELOPE_INVALID",
                "byte {at} bit {bit}"
            );
            rejected += 1;
        }
    }
    assert!(rejected > 14_000, "the test lost its input: {rejected}");
}

#[test]
fn a_task_of_another_signer_or_for_another_agent_is_rejected() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let admission = admission(agent, &signer);
    assert_eq!(
        reason(admission.admit(Signer::new(2).sign(&envelope(agent)), NOW)),
        "ENVELOPE_INVALID"
    );
    let mut posing = Signer::new(2).sign(&envelope(agent));
    posing.key_id = key_id(&signer.public());
    assert_eq!(reason(admission.admit(posing, NOW)), "ENVELOPE_INVALID");
    assert_eq!(
        reason(admission.admit(signer.sign(&envelope(AgentId::new())), NOW)),
        "ENVELOPE_INVALID"
    );
}

#[test]
fn a_signature_for_another_purpose_is_rejected() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let body = envelope(agent).encode_to_vec();
    let signature = signer.0.sign(&body).as_ref().to_vec();
    let signed = pb::SignedEnvelope {
        body: body.into(),
        signature: signature.into(),
        key_id: key_id(&signer.public()),
    };
    assert_eq!(reason(admission(agent, &signer).admit(signed, NOW)), "ENVELOPE_INVALID");
}

#[test]
fn an_expired_task_is_rejected_but_a_wrong_clock_of_a_day_is_tolerated() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let admission = admission(agent, &signer);
    let signed = signer.sign(&envelope(agent));
    let day = Duration::from_secs(24 * 3600);
    assert!(admission.admit(signed.clone(), NOW.plus(day)).is_ok());
    assert!(admission.admit(signed.clone(), UnixMicros(0)).is_ok());
    assert_eq!(reason(admission.admit(signed, NOW.plus(2 * day))), "ENVELOPE_EXPIRED");
}

#[test]
fn policy_has_the_last_word_and_the_refusal_names_the_attempt() {
    let (agent, signer) = (AgentId::new(), Signer::new(1));
    let policy = Policy::parse("allow = ['sql']", std::path::Path::new("policy.toml")).unwrap();
    let admission = Admission::new(agent, &[signer.public()], policy);
    let envelope = envelope(agent);
    let no = admission.admit(signer.sign(&envelope), NOW).unwrap_err();
    assert_eq!(no.refusal.reason, "POLICY_DENIED");
    assert_eq!(no.attempt.unwrap().to_string(), envelope.attempt_id);
}

#[test]
fn another_policy_counts_from_the_next_task_on() {
    let (signer, agent) = (Signer::new(1), AgentId::new());
    let policy = |text| Policy::parse(text, std::path::Path::new("policy.toml")).unwrap();
    let mut admission = Admission::new(agent, &[signer.public()], policy("allow = []"));
    let task = signer.sign(&envelope(agent));
    assert_eq!(reason(admission.admit(task.clone(), NOW)), "POLICY_DENIED");
    admission.set_policy(policy("allow = ['shell']"));
    assert!(admission.admit(task.clone(), NOW).is_ok());
    admission.set_policy(policy("allow = []"));
    assert_eq!(reason(admission.admit(task, NOW)), "POLICY_DENIED");
}
