//! The harness: real processes for the tests, the demo and the benchmarks.
//!
//! It starts what a user would start (`opslink-cloud`, `opslink-agent`, `cloudctl`, PostgreSQL, MariaDB, sshd) on free
//! ports with data in folders of its own, and ends it all again. It holds no opinion about results and knows no
//! protocol: everything goes through the binaries. Start reading at [`Fleet`].

pub mod agent;
pub mod cloud;
pub mod ctl;
pub mod database;
pub mod fleet;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod wait;

pub use agent::Agent;
pub use cloud::Cloud;
pub use ctl::{Ctl, Ran};
pub use fleet::Fleet;
pub use wait::wait_for;
