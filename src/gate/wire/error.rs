//! Why a body is not read. None of these is a fault of this program: the body is spooled or passed on as it is.

use super::MESSAGE_BYTES_MAX;

/// Why a remote-write body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The body declares more than [`MESSAGE_BYTES_MAX`] once decompressed.
    #[error(
        "the request has {bytes} bytes once decompressed, the limit is {MESSAGE_BYTES_MAX}: lower queue_config.max_samples_per_send"
    )]
    TooLarge {
        /// The declared length.
        bytes: usize,
    },
    /// The declared length cannot come from so few bytes: damaged, or made to exhaust memory.
    #[error("a body of {compressed} bytes cannot hold the {declared} bytes that it declares: it is damaged or forged")]
    Bomb {
        /// Length of the body.
        compressed: usize,
        /// The declared length.
        declared: usize,
    },
    /// Not the block format of snappy.
    #[error("the body is not snappy in block format ({detail}): is it damaged, or compressed in another way?")]
    NotSnappy {
        /// In the library's words.
        detail: String,
    },
    /// A field goes beyond the end of its message.
    #[error("the protobuf message ends in the middle of a field: it is cut off or damaged")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a number in the protobuf message has more than 64 bits: it is damaged")]
    Varint,
    /// Field number 0 or beyond 2^29.
    #[error("the protobuf message has a field with the impossible number {number}: it is damaged")]
    FieldNumber {
        /// The number.
        number: u64,
    },
    /// A wire type that remote write does not use: a group, or none at all.
    #[error("field {field} of the protobuf message has the wire type {wire_type}, which remote write does not use")]
    WireType {
        /// Number of the field.
        field: u32,
        /// Its wire type.
        wire_type: u8,
    },
    /// A known field of the wrong kind.
    #[error("field {field} of {message} is not {expected}: the body is damaged or of another version of remote write")]
    Kind {
        /// Name of the message.
        message: &'static str,
        /// Number of the field.
        field: u32,
        /// What it should be.
        expected: &'static str,
    },
    /// A 2.0 request whose table of symbols does not begin with the empty one.
    #[error("the table of symbols does not begin with the empty symbol: the sender does not keep to remote write 2.0")]
    FirstSymbol,
    /// A reference of a 2.0 request that leads beyond its table of symbols.
    #[error(
        "a reference leads to symbol {reference} of a table of {symbols}: the body is damaged, or the sender does not keep to remote write 2.0"
    )]
    Reference {
        /// The reference.
        reference: u64,
        /// Symbols in the table.
        symbols: usize,
    },
}
