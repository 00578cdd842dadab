//! The authorization table: which principal every RPC of `opslink.v1` asks for. Pure: no IO, no clock.
//!
//! Decided inside the typed handlers, by [`Rpc`], never by comparing path strings. A test reads the descriptor and
//! fails when an RPC has no row here, or when a row has no RPC.

use crate::store::record::Role;

/// Who may call an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Everybody, without a login.
    Anyone,
    /// Any login, also one that must change its password first, also an API token.
    Session,
    /// At least a viewer.
    Viewer,
    /// At least an operator.
    Operator,
    /// An admin.
    Admin,
    /// An agent, by its client certificate; no login replaces it.
    Agent,
}

impl Principal {
    /// Returns the least role that satisfies this; `None` where a role is not what is asked for.
    pub const fn least_role(self) -> Option<Role> {
        match self {
            Self::Anyone | Self::Session | Self::Agent => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Operator => Some(Role::Operator),
            Self::Admin => Some(Role::Admin),
        }
    }
}

macro_rules! rpcs {
    ($($rpc:ident: $service:literal, $principal:ident;)*) => {
        /// Every RPC of the API; named as in the proto files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the proto file of the same name documents each RPC")]
        pub enum Rpc {
            $($rpc,)*
        }

        impl Rpc {
            /// Every row of the table.
            pub const ALL: &'static [Self] = &[$(Self::$rpc,)*];

            /// Returns who may call it.
            pub const fn requires(self) -> Principal {
                match self {
                    $(Self::$rpc => Principal::$principal,)*
                }
            }

            /// Returns the service, without its package.
            pub const fn service(self) -> &'static str {
                match self {
                    $(Self::$rpc => $service,)*
                }
            }

            /// Returns the method's name.
            pub const fn method(self) -> &'static str {
                match self {
                    $(Self::$rpc => stringify!($rpc),)*
                }
            }
        }
    };
}

rpcs! {
    ListAgents: "AgentService", Viewer;
    GetAgent: "AgentService", Viewer;
    WatchAgents: "AgentService", Viewer;
    MatchAgents: "AgentService", Viewer;
    SetAgentLabels: "AgentService", Admin;
    RemoveAgent: "AgentService", Admin;
    CreateJoinToken: "AgentService", Admin;
    ListJoinTokens: "AgentService", Admin;
    RevokeJoinToken: "AgentService", Admin;
    Login: "AuthService", Anyone;
    Logout: "AuthService", Session;
    GetCurrentUser: "AuthService", Session;
    ChangePassword: "AuthService", Session;
    CreateToken: "TokenService", Admin;
    ListTokens: "TokenService", Admin;
    RevokeToken: "TokenService", Admin;
    Join: "EnrollmentService", Anyone;
    // Without a login and without a certificate, since it has expired: the request itself proves the key.
    RenewExpired: "EnrollmentService", Anyone;
    Attach: "LinkService", Agent;
    RenewCertificate: "LinkService", Agent;
    ListChunks: "LogService", Viewer;
    ReadLog: "LogService", Viewer;
    GetSystemInfo: "SystemService", Anyone;
    ListAuditEvents: "AuditService", Admin;
    CreateTask: "TaskService", Operator;
    GetTask: "TaskService", Viewer;
    ListTasks: "TaskService", Viewer;
    ListExecutions: "TaskService", Viewer;
    WatchTask: "TaskService", Viewer;
    CancelTask: "TaskService", Operator;
    RetryTask: "TaskService", Operator;
}

impl Rpc {
    /// Returns the path that gRPC calls it by; for messages and tests, never for a decision.
    pub fn path(self) -> String {
        format!("/opslink.v1.{}/{}", self.service(), self.method())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_rpc_and_no_other() {
        let set = prost_types::FileDescriptorSet::decode(opslink::pb::DESCRIPTOR_SET).unwrap();
        let described: BTreeSet<String> = set
            .file
            .iter()
            .filter(|file| file.package() == "opslink.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                service
                    .method
                    .iter()
                    .map(|method| format!("/opslink.v1.{}/{}", service.name(), method.name()))
            })
            .collect();
        let listed: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.path()).collect();
        assert!(described.len() > 20, "the descriptor was read");
        assert_eq!(listed.len(), Rpc::ALL.len(), "no row twice");
        assert_eq!(listed, described);
    }

    #[test]
    fn reading_never_asks_for_more_than_writing() {
        assert_eq!(Rpc::GetTask.requires().least_role(), Some(Role::Viewer));
        assert!(Rpc::CreateTask.requires().least_role() > Rpc::GetTask.requires().least_role());
        assert_eq!(Rpc::Attach.requires(), Principal::Agent);
    }
}
