//! What the receiver notes about a request.

use std::net::IpAddr;
use std::time::Instant;

use super::decode::{Point, Version};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered with this status.
    Answered(u16),
    /// The sender broke it off, or the receiver was told to.
    Broken,
}

/// One request. Head and time are noted at its start, before any of its body is read.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its head was there.
    pub at: Instant,
    /// `X-Prometheus-Elector-Term`.
    pub term: Option<u64>,
    /// Who sent it: each replica's `remote_write` entry has its name as the user of `basic_auth`.
    pub sender: Option<String>,
    /// Address that it came from.
    pub from: Option<IpAddr>,
    /// By its `Content-Type`.
    pub version: Option<Version>,
    /// When the last byte of its body was there.
    pub whole: Option<Instant>,
    /// Its samples, once the body is whole.
    pub points: Vec<Point>,
    /// So many of them were stored (or had been before).
    pub stored: usize,
    /// How and when it ended; `None`: it has not.
    pub end: Option<(Instant, End)>,
}

impl Request {
    /// A request whose head has just been read.
    pub fn begun(at: Instant, term: Option<u64>, sender: Option<String>) -> Self {
        let points = Vec::new();
        Self { at, term, sender, from: None, version: None, whole: None, points, stored: 0, end: None }
    }

    /// The status of the answer.
    pub fn status(&self) -> Option<u16> {
        match self.end {
            Some((_, End::Answered(status))) => Some(status),
            _ => None,
        }
    }

    /// Its sender and term, for messages.
    pub fn who(&self) -> String {
        let sender = self.sender.as_deref().unwrap_or("somebody");
        self.term.map_or_else(|| format!("{sender} without a term"), |term| format!("{sender} in term {term}"))
    }
}
