//! One thin file per gRPC service: gate, decode, call, encode.

pub mod agent;
pub mod audit;
pub mod auth;
pub mod enroll;
pub mod join_token;
pub mod link;
pub mod log;
mod page;
pub mod renew_expired;
pub mod system;
pub mod task;
pub mod token;

use opslink::pb;

use crate::store::record::Role;

/// Returns the wire form of a role.
pub(crate) const fn role_to_pb(role: Role) -> pb::Role {
    match role {
        Role::Viewer => pb::Role::Viewer,
        Role::Operator => pb::Role::Operator,
        Role::Admin => pb::Role::Admin,
    }
}

/// Reads a role; the unspecified one is none.
pub(crate) fn role_from_pb(role: i32) -> Option<Role> {
    match pb::Role::try_from(role).ok()? {
        pb::Role::Unspecified => None,
        pb::Role::Viewer => Some(Role::Viewer),
        pb::Role::Operator => Some(Role::Operator),
        pb::Role::Admin => Some(Role::Admin),
    }
}
