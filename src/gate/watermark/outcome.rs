//! What an answer of the remote means for a batch.

use std::time::Duration;

/// What became of one attempt to write a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last word: stored, or a verdict on the data that no retry changes.
    Final {
        /// Whether the remote has stored something: it works.
        accepted: bool,
    },
    /// The same batch comes again: the remote is overloaded, broken or out of reach, or the attempt was broken off.
    Again {
        /// The remote's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A verdict on the replica (credentials, address): Prometheus throws the batch away, and it is nowhere but in the
    /// spools of the standbys.
    Refused,
}

impl Outcome {
    /// Outcome of a status code. No answer at all is [`Outcome::Again`].
    pub fn of(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Final { accepted: true },
            400 | 409 | 413 | 422 => Self::Final { accepted: false },
            429 | 500..=599 => Self::Again { retry_after },
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_on_the_data_are_final_and_verdicts_on_the_replica_are_not() {
        let after = Some(Duration::from_secs(7));
        for status in [200, 204, 299] {
            assert_eq!(Outcome::of(status, None), Outcome::Final { accepted: true }, "{status}");
        }
        for status in [400, 409, 413, 422] {
            assert_eq!(Outcome::of(status, None), Outcome::Final { accepted: false }, "{status}");
        }
        for status in [429, 500, 502, 503, 504, 599] {
            assert_eq!(Outcome::of(status, after), Outcome::Again { retry_after: after }, "{status}");
        }
        for status in [100, 301, 302, 307, 308, 401, 403, 404, 405, 407, 408, 410, 415, 431, 600] {
            assert_eq!(Outcome::of(status, None), Outcome::Refused, "{status}");
        }
    }
}
