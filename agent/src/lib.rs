//! The OpsLink agent: takes signed tasks over one link, runs each in its own runner process, and brings the events back.
//!
//! It never opens a port, never keeps a task's secrets, and never starts an attempt twice.
//! Start reading at [`link`] (the courier), then [`journal`] (what survives a crash), [`launch`] (how an attempt is
//! started) and [`runner`] (what an attempt does).

pub mod connections;
pub mod executor;
pub mod journal;
