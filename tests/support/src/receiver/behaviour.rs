//! How the receiver answers.

use std::net::SocketAddr;
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Behaviour {
    /// Stores everything and says so.
    #[default]
    Accept,
    /// As Prometheus without `out_of_order_time_window`: of 1.0 it refuses all for one sample, of 2.0 it stores the rest and
    /// says how much; 400 in both cases.
    Prometheus,
    /// As Prometheus before 2.0: it takes everything for 1.0.
    OldPrometheus,
    /// As Mimir: stores what is in order and answers 400 for the rest, in its own words.
    Mimir,
    /// Sends everything on to a real receiver at this address, and answers as that one does.
    Forward(SocketAddr),
    /// Accepts everything, and neither reads nor keeps it: the cheapest remote.
    Sink,
    /// Answers with this status and stores nothing.
    Status(u16),
    /// 429 with `Retry-After`.
    TooMany(Duration),
    /// Reads the request and never answers.
    Hang,
    /// Waits before it does the other.
    Slow(Duration, Box<Behaviour>),
    /// Closes the connection without an answer.
    Reset,
    /// Never answers requests that hold a series whose name contains the text; the others get the other.
    Stuck(String, Box<Behaviour>),
}
