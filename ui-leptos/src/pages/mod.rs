//! The routes, one file each.

pub(crate) mod agent;
pub(crate) mod agent_new;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod home;
pub(crate) mod login;
pub(crate) mod not_found;
pub(crate) mod password;
pub(crate) mod run_shell;
pub(crate) mod run_sql;
pub(crate) mod task;
pub(crate) mod tasks;
pub(crate) mod tokens;
