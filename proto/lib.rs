//! The OpsLink protocol crate.
//!
//! What both ends of every wire agree on: messages ([`pb`]), the domain types behind them ([`task`], [`kind`], [`event`],
//! [`id`], [`time`]), the conversions between the two ([`convert`]), who is meant ([`selector`]), why something did not work
//! ([`reason`], [`problem`], [`locale`]), what is signed ([`envelope`], [`renewal`]), the chunk codec ([`chunk`]) and the session
//! layer (`session`). It does no IO, knows no TLS and no database, and decides nothing about tasks.
//!
//! Start reading at [`task`] and [`event`]: a task goes out, one ordered event stream comes back.
//!
//! Features: `locale` (default: sentences for people), `server` (service traits of tonic), `session` (the cores of a
//! link), `encode` (the compressing side of the chunk codec, native only).

/// Generated messages, clients and (feature `server`) service traits of package `opslink.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod pb {
    tonic::include_proto!("opslink.v1");
    include!(concat!(env!("OUT_DIR"), "/opslink.v1.serde.rs"));

    /// The encoded `FileDescriptorSet` of every file of this package and its imports, with comments.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}

pub mod chunk;
pub mod convert;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod id;
pub mod kind;
#[cfg(feature = "locale")]
pub mod locale;
pub mod problem;
pub mod reason;
pub mod renewal;
pub mod rows;
pub mod selector;
#[cfg(feature = "session")]
pub mod session;
pub mod task;
pub mod time;
