//! The journal: the durable record of this agent's attempts and their chunks, until the cloud has them.
//!
//! # Layout
//! ```text
//! <state>/fence                 every attempt that was taken; synced before anything of it runs
//! <state>/attempts/<attempt id>/
//!     state     append-only records: received(the signed envelope as it came, boot id), permitted(program, variables),
//!               started(pid, start time, boot id), ended(outcome)
//!     chunks    append-only encoded pb::LogChunk; more in chunks.<first event>, a new one every 8 MiB
//!     cancel    empty; present once somebody asked for the end of the attempt
//!     scratch/  the executor's own files
//! ```
//! `state` and `chunks` are runs of frames: `u32 LE length, u32 LE CRC32C, payload`. Each folder has one writer at a
//! time (the runner; before it starts and after it is gone, the agent; a lock on `state` decides) and one reader (the agent).

mod attempt;
mod chunks;
mod fence;
mod frame;
mod record;
mod recover;
mod segments;

pub use attempt::{AttemptDir, AttemptWriter};
pub use chunks::ChunkReader;
pub use fence::{Fence, Past, Place, Unstarted};
pub use frame::{MAX_FRAME_BYTES, Scan};
pub use record::{AttemptRecord, Process, boot_id};
pub use recover::{Closing, Recovered, Recovery, Remnants, close_if_orphaned, recover};
pub(crate) use recover::{Extent, close_at_damage, end_chunk, gap_chunk};
