//! Remote-write requests on the wire level: what one holds, several as one and one in pieces, and 1.0 as 2.0.
//!
//! ```text
//! body -> decompress (bounded) -> walk the protobuf fields -> Summary | Pieces | Transcoded -> compress -> body
//! ```
//!
//! Nothing is decoded into objects: fields are walked in place, samples and histograms are copied as the bytes they are.
//! So a standby reads every batch of its Prometheus at a small cost, and a field that this program does not know survives.
//!
//! Invariants: no I/O and no panic on any input; memory bounded by [`MESSAGE_BYTES_MAX`], which is checked against the
//! length that the body declares before anything is decompressed. What is not understood is a [`WireError`]: the gate then
//! treats the body as opaque.
//!
//! Source: `prompb/remote.proto`, `prompb/types.proto` and `prompb/io/prometheus/write/v2/types.proto` of Prometheus, and
//! the remote write specifications 1.0 and 2.0.

mod compression;
mod content;
mod error;
mod join;
mod numbers;
mod pieces;
mod proto;
mod summary;
mod symbols;
#[cfg(test)]
pub(super) mod testing;
mod transcode;

pub use self::compression::MESSAGE_BYTES_MAX;
pub use self::content::{CONTENT_ENCODING, CONTENT_TYPE_V2, VERSION_HEADER, VERSION_HEADER_V2, Version};
pub use self::error::WireError;
pub use self::join::join;
pub use self::pieces::{Pieces, Sample};
pub use self::summary::Summary;
pub use self::transcode::{Transcoded, transcode};
