//! What is asked of a database, the same for both engines. Every function that writes runs inside a transaction that
//! its caller began and ends; a unique key that another transaction took meanwhile makes the caller run it again.

pub(super) mod apply;
pub(super) mod audit;
pub(super) mod fleet;
pub(super) mod output;
pub(super) mod people;
pub(super) mod task;
pub(super) mod work;
