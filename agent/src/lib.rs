//! The OpsLink agent: takes signed tasks over one link, runs each in its own runner process, and brings the events back.
//!
//! It never opens a port, never keeps a task's secrets, and never starts an attempt twice.
//! Start reading at [`link`] (the courier), then [`journal`] (what survives a crash), [`launch`] (how an attempt is
//! started) and [`runner`] (what an attempt does).

pub mod clock;
pub mod config;
pub mod connections;
pub mod connections_file;
pub mod crash;
pub mod dial;
pub mod executor;
pub mod facts;
pub mod identity;
pub mod join;
pub mod journal;
pub mod launch;
mod line;
pub mod link;
mod pause;
pub mod policy;
pub mod policy_file;
mod processes;
mod programs;
mod recover;
mod remains;
pub mod run;
pub mod runner;
pub mod simulate;
pub mod tls;
