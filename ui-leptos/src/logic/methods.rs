//! The methods of the cloud that the console calls: path, request and answer.
//!
//! Generated clients would say the same, each compiled for itself: a fifth of the console's code was that.

use std::marker::PhantomData;

use opslink::pb::*;

/// A method: where it is, what goes in (`Q`) and what comes out (`A`), once or as a stream.
pub struct Method<Q, A> {
    /// `/package.Service/Method`.
    pub path: &'static str,
    types: PhantomData<fn(Q) -> A>,
}

impl<Q, A> Clone for Method<Q, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, A> Copy for Method<Q, A> {}

impl<Q, A> Method<Q, A> {
    const fn at(path: &'static str) -> Self {
        Self {
            path,
            types: PhantomData,
        }
    }
}

/// Names each method once, and lists all of them for the test.
macro_rules! methods {
    ($($name:ident = $service:literal $method:literal: $request:ident => $answer:ident;)*) => {
        $(
            #[doc = concat!("`", $service, ".", $method, "`.")]
            pub const $name: Method<$request, $answer> = Method::at(concat!("/opslink.v1.", $service, "/", $method));
        )*

        /// Path, request and answer of every method.
        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$(($name.path, stringify!($request), stringify!($answer)),)*];
    };
}

methods! {
    LOGIN = "AuthService" "Login": LoginRequest => LoginResponse;
    LOGOUT = "AuthService" "Logout": LogoutRequest => LogoutResponse;
    GET_CURRENT_USER = "AuthService" "GetCurrentUser": GetCurrentUserRequest => GetCurrentUserResponse;
    CHANGE_PASSWORD = "AuthService" "ChangePassword": ChangePasswordRequest => ChangePasswordResponse;
    LIST_TOKENS = "TokenService" "ListTokens": ListTokensRequest => ListTokensResponse;
    CREATE_TOKEN = "TokenService" "CreateToken": CreateTokenRequest => CreateTokenResponse;
    REVOKE_TOKEN = "TokenService" "RevokeToken": RevokeTokenRequest => RevokeTokenResponse;
    WATCH_AGENTS = "AgentService" "WatchAgents": WatchAgentsRequest => WatchAgentsResponse;
    MATCH_AGENTS = "AgentService" "MatchAgents": MatchAgentsRequest => MatchAgentsResponse;
    SET_AGENT_LABELS = "AgentService" "SetAgentLabels": SetAgentLabelsRequest => SetAgentLabelsResponse;
    REMOVE_AGENT = "AgentService" "RemoveAgent": RemoveAgentRequest => RemoveAgentResponse;
    CREATE_JOIN_TOKEN = "AgentService" "CreateJoinToken": CreateJoinTokenRequest => CreateJoinTokenResponse;
    LIST_JOIN_TOKENS = "AgentService" "ListJoinTokens": ListJoinTokensRequest => ListJoinTokensResponse;
    REVOKE_JOIN_TOKEN = "AgentService" "RevokeJoinToken": RevokeJoinTokenRequest => RevokeJoinTokenResponse;
    CREATE_TASK = "TaskService" "CreateTask": CreateTaskRequest => CreateTaskResponse;
    GET_TASK = "TaskService" "GetTask": GetTaskRequest => GetTaskResponse;
    LIST_TASKS = "TaskService" "ListTasks": ListTasksRequest => ListTasksResponse;
    LIST_EXECUTIONS = "TaskService" "ListExecutions": ListExecutionsRequest => ListExecutionsResponse;
    WATCH_TASK = "TaskService" "WatchTask": WatchTaskRequest => WatchTaskResponse;
    CANCEL_TASK = "TaskService" "CancelTask": CancelTaskRequest => CancelTaskResponse;
    RETRY_TASK = "TaskService" "RetryTask": RetryTaskRequest => RetryTaskResponse;
    READ_LOG = "LogService" "ReadLog": ReadLogRequest => ReadLogResponse;
    LIST_AUDIT_EVENTS = "AuditService" "ListAuditEvents": ListAuditEventsRequest => ListAuditEventsResponse;
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_is_one_of_the_api_with_these_messages() {
        let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("the descriptor of the API");
        let mut known = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    known.push((
                        format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                        method.input_type().rsplit('.').next().unwrap_or_default().to_owned(),
                        method.output_type().rsplit('.').next().unwrap_or_default().to_owned(),
                    ));
                }
            }
        }
        for (path, request, answer) in ALL {
            let wanted = ((*path).to_owned(), (*request).to_owned(), (*answer).to_owned());
            assert!(known.contains(&wanted), "the API has no {wanted:?}");
        }
    }
}
