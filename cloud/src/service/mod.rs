//! One thin file per gRPC service: decode, authorize, call, encode.

pub mod status;
