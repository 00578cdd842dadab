//! One file per table that is read row by row. Private to the store: callers see `store::record` only.
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "sea-orm's derives make public items; the module itself is private"
)]

pub(super) mod agent;
pub(super) mod api_token;
pub(super) mod attempt;
pub(super) mod audit;
pub(super) mod chunk;
pub(super) mod execution;
pub(super) mod join_token;
pub(super) mod session;
pub(super) mod setting;
pub(super) mod task;
pub(super) mod users;
