//! End to end: real processes, real databases, foreign clients. `cargo xtask test e2e` builds the binaries first.
//!
//! Every test starts a fleet of its own on free ports and ends it. One file per family of behaviour.

mod bad_input;
mod cancel;
mod certificates;
mod databases;
mod enroll;
mod faults;
mod foreign;
mod output;
mod queue;
mod interrupt;
mod restart;
mod road;
mod support;
mod versions;
