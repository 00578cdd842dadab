//! The OpsLink protocol crate.
//!
//! What both ends of every wire agree on: messages ([`pb`]), the domain types behind them, the conversions between
//! the two ([`convert`]), the chunk codec ([`chunk`]) and the session layer ([`session`]).
//! It does no IO, knows no TLS and no database, and decides nothing about tasks.

/// Generated messages, clients and (feature `server`) service traits of package `opslink.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod pb {
    tonic::include_proto!("opslink.v1");
    include!(concat!(env!("OUT_DIR"), "/opslink.v1.serde.rs"));

    /// The encoded `FileDescriptorSet` of every file of this package and its imports, with comments.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}

pub mod event;
pub mod id;
pub mod task;
pub mod time;
