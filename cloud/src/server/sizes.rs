//! How large the request of a call may be, what kind of answer it has, and whether it reads.

use crate::authz::Rpc;

/// Largest request of calls that anybody may make: a join has some hundred bytes, a password 1,024 at most, and what
/// proves an expired certificate some thousand.
pub(super) const ANYBODY_MAX: usize = 16 << 10;
/// Largest request of calls with some short texts; a certificate's has 16 KiB at most.
const SHORT_MAX: usize = 64 << 10;
/// Largest request of calls with a selector, or with a list of names.
pub(super) const CONTROL_MAX: usize = 1 << 20;
/// A task carries a script or statements of up to 512 KiB, beside environment and standard input; a watch that goes on
/// 10,000 names and as many positions.
pub(super) const CREATE_TASK_MAX: usize = 2 << 20;
/// One frame of a link: the largest chunk that a runner can make, and its header. A smaller limit would have its agent
/// send it again for ever.
pub(super) const FRAME_MAX: usize = opslink::chunk::PAYLOAD_MAX + (64 << 10);
/// Largest answer: 1,000 agents or 10,000 chunk headers.
pub(super) const ANSWER_MAX: usize = 16 << 20;

/// The largest message of a request, in bytes. That of a service (`stack`) is the largest of its calls.
pub(super) const fn request_max(rpc: Rpc) -> usize {
    match rpc {
        Rpc::Login | Rpc::Logout | Rpc::GetCurrentUser | Rpc::ChangePassword => ANYBODY_MAX,
        Rpc::Join | Rpc::RenewExpired | Rpc::GetSystemInfo => ANYBODY_MAX,
        Rpc::GetAgent | Rpc::WatchAgents | Rpc::RemoveAgent => SHORT_MAX,
        Rpc::ListJoinTokens | Rpc::RevokeJoinToken => SHORT_MAX,
        Rpc::CreateToken | Rpc::ListTokens | Rpc::RevokeToken => SHORT_MAX,
        Rpc::ListAuditEvents | Rpc::RenewCertificate | Rpc::ListChunks => SHORT_MAX,
        Rpc::GetTask | Rpc::ListTasks | Rpc::ListExecutions => SHORT_MAX,
        Rpc::ListAgents | Rpc::MatchAgents | Rpc::SetAgentLabels | Rpc::CreateJoinToken => CONTROL_MAX,
        Rpc::ReadLog | Rpc::CancelTask | Rpc::RetryTask => CONTROL_MAX,
        Rpc::CreateTask | Rpc::WatchTask => CREATE_TASK_MAX,
        Rpc::Attach => FRAME_MAX,
    }
}

/// What a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One message that is as large as what it is about: a script at most, but for a task on very many agents.
    One,
    /// The same, of something that was done: whoever asked for it hears of it.
    Change,
    /// One message with many things in it.
    List,
    /// Messages for as long as there is something to tell.
    Stream,
}

pub(super) const fn kind(rpc: Rpc) -> Kind {
    match rpc {
        Rpc::Attach | Rpc::WatchAgents | Rpc::WatchTask | Rpc::ReadLog => Kind::Stream,
        Rpc::ListAgents | Rpc::MatchAgents | Rpc::ListJoinTokens | Rpc::ListTokens => Kind::List,
        Rpc::ListAuditEvents | Rpc::ListChunks | Rpc::ListTasks | Rpc::ListExecutions => Kind::List,
        Rpc::GetCurrentUser | Rpc::GetSystemInfo | Rpc::GetAgent | Rpc::GetTask => Kind::One,
        Rpc::Login | Rpc::Logout | Rpc::ChangePassword | Rpc::Join => Kind::Change,
        Rpc::RenewExpired | Rpc::RenewCertificate | Rpc::SetAgentLabels | Rpc::RemoveAgent => Kind::Change,
        Rpc::CreateJoinToken | Rpc::RevokeJoinToken | Rpc::CreateToken | Rpc::RevokeToken => Kind::Change,
        Rpc::CreateTask | Rpc::CancelTask | Rpc::RetryTask => Kind::Change,
    }
}

/// Says whether a call stands in line with the others of its actor that read (`reading`): every list, whatever it is of, and
/// what else asks the store as much for a caller that changes nothing.
pub(super) const fn reads(rpc: Rpc) -> bool {
    match rpc {
        Rpc::ListAgents | Rpc::MatchAgents | Rpc::ListJoinTokens | Rpc::ListTokens => true,
        Rpc::ListAuditEvents | Rpc::ListChunks | Rpc::ListTasks | Rpc::ListExecutions => true,
        Rpc::GetTask | Rpc::WatchTask | Rpc::ReadLog => true,
        // From memory.
        Rpc::GetAgent | Rpc::WatchAgents | Rpc::GetCurrentUser | Rpc::GetSystemInfo => false,
        Rpc::Attach | Rpc::Join | Rpc::RenewExpired | Rpc::RenewCertificate => false,
        Rpc::Login | Rpc::Logout | Rpc::ChangePassword => false,
        Rpc::SetAgentLabels | Rpc::RemoveAgent => false,
        Rpc::CreateJoinToken | Rpc::RevokeJoinToken | Rpc::CreateToken | Rpc::RevokeToken => false,
        Rpc::CreateTask | Rpc::CancelTask | Rpc::RetryTask => false,
    }
}

/// What an answer takes before anybody knows how large it is. A page of tasks has 4 MiB of them at most. What was done is
/// told whatever there is room for, so the room is taken before it is done: a task with the largest script, but of one that
/// is created, which its request has brought and keeps in its own room; and the executions that it has or begins again, one
/// of each agent at most (`agents`).
pub(super) fn before(rpc: Rpc, agents: impl FnOnce() -> usize) -> usize {
    match (kind(rpc), rpc) {
        (Kind::List, _) => 4 << 20,
        (Kind::Change, Rpc::CancelTask) => 1 << 20,
        (Kind::Change, Rpc::RetryTask) => (1 << 20) + executions(agents()),
        (Kind::Change, Rpc::CreateTask) => (16 << 10) + executions(agents()),
        // Its facts and connections have 32 KiB, beside all the labels that it may have.
        (Kind::Change, Rpc::SetAgentLabels) => 128 << 10,
        (Kind::Change, _) => 16 << 10,
        (Kind::One | Kind::Stream, _) => 0,
    }
}

/// What so many executions have in an answer; one with an outcome and a long name has 256 bytes, and 10,000 have 2 MiB at
/// most as a rule.
fn executions(agents: usize) -> usize {
    agents.saturating_mul(256).min(2 << 20)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;

    use super::*;

    #[test]
    fn what_answers_on_and_on_is_what_the_proto_files_say() {
        let set = prost_types::FileDescriptorSet::decode(opslink::pb::DESCRIPTOR_SET).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "opslink.v1");
        let methods = ours.flat_map(|file| &file.service).flat_map(|service| &service.method);
        let streams: BTreeMap<&str, bool> = methods
            .map(|method| (method.name(), method.server_streaming()))
            .collect();
        for rpc in Rpc::ALL {
            assert_eq!(kind(*rpc) == Kind::Stream, streams[rpc.method()], "{rpc:?}");
        }
    }

    #[test]
    fn every_list_reads_and_everything_that_reads_has_a_caller_with_a_role() {
        let lists = Rpc::ALL.iter().filter(|rpc| kind(**rpc) == Kind::List);
        let forgotten: Vec<_> = lists.filter(|rpc| !reads(**rpc)).collect();
        assert!(forgotten.is_empty(), "lists that stand in no line: {forgotten:?}");
        // Who has no name stands behind nobody, and a link has no end.
        let mut reading = Rpc::ALL.iter().filter(|rpc| reads(**rpc));
        assert!(reading.all(|rpc| rpc.requires().least_role().is_some()));
    }

    #[test]
    fn a_request_of_a_certificate_is_no_frame_of_a_link() {
        assert!(request_max(Rpc::RenewCertificate) < FRAME_MAX / 32);
        let largest = Rpc::ALL
            .iter()
            .filter(|rpc| **rpc != Rpc::Attach)
            .map(|rpc| request_max(*rpc))
            .max();
        assert_eq!(largest, Some(CREATE_TASK_MAX));
    }
}
