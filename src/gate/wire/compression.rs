//! Snappy in block format, bounded before it is decompressed.

use super::WireError;

/// Largest request once decompressed. Prometheus sends about 100 bytes a sample and 2,000 samples at once by default, so
/// this is more than a hundredfold; Mimir and Prometheus itself refuse 32 MiB and more.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Snappy's densest element makes 64 bytes out of three.
const RATIO_MAX: usize = 22;

/// Decompresses a body. The declared length is checked first: a few bytes cannot ask for gigabytes.
pub(super) fn decompress(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let declared = snap::raw::decompress_len(body).map_err(|error| not_snappy(&error))?;
    if declared > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge { bytes: declared });
    }
    if declared > body.len().saturating_mul(RATIO_MAX) {
        return Err(WireError::Bomb { compressed: body.len(), declared });
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|error| not_snappy(&error))
}

/// Compresses a message.
pub(super) fn compress(message: &[u8]) -> Result<Vec<u8>, WireError> {
    // Fails from 4 GiB on only.
    snap::raw::Encoder::new().compress_vec(message).map_err(|error| not_snappy(&error))
}

fn not_snappy(error: &snap::Error) -> WireError {
    WireError::NotSnappy { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    /// A length in front of a body, as snappy writes it.
    fn declaring(length: u64, rest: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        super::super::proto::put_varint(&mut body, length);
        body.extend_from_slice(rest);
        body
    }

    #[test]
    fn what_declares_more_than_the_limit_is_refused_before_it_is_decompressed() {
        let limit = MESSAGE_BYTES_MAX as u64;
        let refused = decompress(&declaring(limit + 1, &[0; 100])).unwrap_err();
        assert_eq!(refused, WireError::TooLarge { bytes: MESSAGE_BYTES_MAX + 1 });
        let refused = decompress(&declaring(u64::from(u32::MAX), &[0; 100])).unwrap_err();
        assert_eq!(refused, WireError::TooLarge { bytes: u32::MAX as usize });
        let refused = decompress(&declaring(limit, &[0; 100])).unwrap_err();
        assert_eq!(refused, WireError::Bomb { compressed: 104, declared: MESSAGE_BYTES_MAX });
        assert!(matches!(decompress(&declaring(u64::MAX, &[])), Err(WireError::NotSnappy { .. })));
    }

    #[test]
    fn the_densest_body_that_is_allowed_passes() {
        let zeros = vec![0; MESSAGE_BYTES_MAX];
        assert_eq!(decompress(&compress(&zeros).unwrap()).unwrap().len(), MESSAGE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_read_back(message in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(decompress(&compress(&message).unwrap()).unwrap(), message);
        }

        #[test]
        fn any_body_gives_a_result_and_no_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decompress(&body);
        }
    }
}
