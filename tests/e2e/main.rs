//! End to end: real processes, real databases, foreign clients. `cargo xtask test e2e` builds the binaries first.
//!
//! Every test starts a fleet of its own on free ports and ends it. One file per family of behaviour.

mod bad_input;
mod cancel;
mod certificates;
mod cli;
mod clones;
mod crash_agent;
mod crash_cloud;
mod databases;
mod disk_full;
mod enroll;
mod faults;
mod flood;
mod foreign;
mod interrupt;
mod many_watches;
mod meant;
mod output;
mod queue;
mod restart;
mod road;
mod screen;
mod strangers;
mod support;
mod versions;
