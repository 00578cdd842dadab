//! The authorization table: which principal every RPC of `opslink.v1` asks for. Pure: no IO, no clock.
//!
//! Decided by [`Rpc`], twice: at a call's headers, where its path says which row is meant, so that a stranger's body is
//! not read; and inside the typed handler, which names its row itself. A path can therefore refuse a call early and
//! never let one in; one of ours that means no row is refused. A test reads the descriptor and fails when an RPC has no row
//! here, or when a row has no RPC; a convention holds that every handler begins with its own row
//! (`tests/conventions/gates.rs`).

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
    /// Returns the path that gRPC calls it by.
    pub fn path(self) -> String {
        format!("/opslink.v1.{}/{}", self.service(), self.method())
    }

    /// Returns the row that this path means; only its exact spelling means one. Nothing is let in by this.
    pub fn of_path(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix("/opslink.v1.")?.split_once('/')?;
        let mut all = Self::ALL.iter().copied();
        all.find(|rpc| rpc.method() == method && rpc.service() == service)
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
    fn only_the_exact_path_means_a_row() {
        for rpc in Rpc::ALL {
            assert_eq!(Rpc::of_path(&rpc.path()), Some(*rpc));
        }
        for path in [
            "",
            "/",
            "/opslink.v1.TaskService/CreateTask/",
            "/opslink.v1.TaskService//CreateTask",
        ] {
            assert_eq!(Rpc::of_path(path), None, "{path}");
        }
        assert_eq!(Rpc::of_path("/opslink.v1.AgentService/CreateTask"), None);
    }

    #[test]
    fn reading_never_asks_for_more_than_writing() {
        assert_eq!(Rpc::GetTask.requires().least_role(), Some(Role::Viewer));
        assert!(Rpc::CreateTask.requires().least_role() > Rpc::GetTask.requires().least_role());
        assert_eq!(Rpc::Attach.requires(), Principal::Agent);
    }
}
