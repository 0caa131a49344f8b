//! Whether a request may be sent again: pure.
//!
//! Two facts decide. *Not sent*: nothing of the request has left this process, so sending it is not a repetition.
//! *Read*: repeating it changes nothing. Everything else is sent at most once (DESIGN.md, P5; issue 6 item 3: writes
//! and admin calls are never sent twice).

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

/// Largest body of a read that is kept for sending again; a larger one is streamed, once. Grafana's longest queries
/// are a few KiB.
pub(super) const READ_BODY_BYTES_MAX: usize = 64 * 1024;

/// How often one read goes out at most. Each further leader costs one; a group that changes leaders faster than that
/// serves nobody, and a request that itself kills Prometheus must not kill all replicas in turn for ever.
pub(super) const SENDS_MAX: u32 = 4;

/// First and longest pause between two attempts to reach a leader that does not answer. Up to
/// [`super::hold::HELD_MAX`] requests dial in this rhythm.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
/// See [`PAUSE_MIN`].
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(400);

/// How an attempt ended without a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection could not be made.
    Unreachable,
    /// An idle connection turned out to be closed before anything was sent on it.
    Unsent,
    /// Prometheus says that it is starting or stopping, and has not looked at the request.
    NotReady,
    /// The connection broke after the request may have been sent.
    Broken,
    /// Another member leads now; the request may have been sent.
    Moved,
    /// Another member has led for the whole wait, and still no answer to a request that cannot be repeated.
    Overdue,
    /// The client's own body failed.
    ClientBody,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send again now, to whoever leads.
    Again,
    /// Send again after a pause, or as soon as the route changes.
    AfterPause,
    /// Answer with an error.
    GiveUp,
}

/// How often a request has been tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Attempts that may have reached Prometheus.
    pub(super) sends: u32,
    /// Attempts on a closed idle connection.
    pub(super) unsent: u32,
}

impl Tries {
    /// Counts an attempt that failed so. A vain dial costs waiting time instead.
    pub(super) fn count(&mut self, failure: Failure) {
        match failure {
            Failure::Unreachable | Failure::NotReady => {}
            Failure::Unsent => self.unsent += 1,
            Failure::Broken | Failure::Moved | Failure::Overdue | Failure::ClientBody => self.sends += 1,
        }
    }

    /// The count after one more attempt that fails so.
    pub(super) fn after(mut self, failure: Failure) -> Self {
        self.count(failure);
        self
    }
}

/// Decides what follows `failure`, which `tries` counts already.
pub(super) fn verdict(failure: Failure, read: bool, tries: Tries) -> Verdict {
    let may_repeat = read && tries.sends < SENDS_MAX;
    match failure {
        // One idle connection that the server has just closed is no sign of trouble; more of them are.
        Failure::Unsent if tries.unsent == 1 => Verdict::Again,
        Failure::Broken if may_repeat && tries.sends == 1 => Verdict::Again,
        Failure::Moved if may_repeat => Verdict::Again,
        Failure::Unreachable | Failure::Unsent => Verdict::AfterPause,
        Failure::NotReady | Failure::Broken if may_repeat => Verdict::AfterPause,
        Failure::NotReady | Failure::Broken | Failure::Moved | Failure::Overdue | Failure::ClientBody => {
            Verdict::GiveUp
        }
    }
}

/// Whether the request is a read. Remote read (`/api/v1/read`) is none here: it is no form, and its answer streams.
/// `path` may have a prefix before `/api/v1/` (`--web.route-prefix`).
pub(super) fn is_read(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        Method::POST => is_form(headers) && is_query_endpoint(path),
        _ => false,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split_once(';').map_or(value, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn is_query_endpoint(path: &str) -> bool {
    match path.rsplit_once("/api/v1/").map(|(_, endpoint)| endpoint) {
        Some("query" | "query_range" | "query_exemplars" | "series" | "labels") => true,
        Some(endpoint) => endpoint
            .strip_prefix("label/")
            .and_then(|rest| rest.strip_suffix("/values"))
            .is_some_and(|label| !label.is_empty() && !label.contains('/')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn reads_are_told_from_writes() {
        const FORM: &str = "application/x-www-form-urlencoded";
        let table = [
            (Method::GET, "/graph", "", true),
            (Method::HEAD, "/api/v1/query", "", true),
            (Method::POST, "/api/v1/query", FORM, true),
            (Method::POST, "/api/v1/query_range", "Application/X-WWW-Form-Urlencoded; charset=utf-8", true),
            (Method::POST, "/api/v1/query_exemplars", FORM, true),
            (Method::POST, "/prefix/api/v1/series", FORM, true),
            (Method::POST, "/api/v1/labels", FORM, true),
            (Method::POST, "/api/v1/label/job/values", FORM, true),
            (Method::POST, "/api/v1/label//values", FORM, false),
            (Method::POST, "/api/v1/label/a/b/values", FORM, false),
            (Method::POST, "/api/v1/query", "", false),
            (Method::POST, "/api/v1/query", "application/json", false),
            (Method::POST, "/api/v1/query/", FORM, false),
            (Method::POST, "/api/v1/read", FORM, false),
            (Method::POST, "/api/v1/write", FORM, false),
            (Method::POST, "/api/v1/admin/tsdb/delete_series", FORM, false),
            (Method::POST, "/-/reload", FORM, false),
            (Method::PUT, "/api/v1/query", FORM, false),
            (Method::DELETE, "/api/v1/series", FORM, false),
            (Method::OPTIONS, "/api/v1/query", "", false),
        ];
        for (method, path, content_type, expected) in table {
            let mut headers = HeaderMap::new();
            if !content_type.is_empty() {
                headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            }
            assert_eq!(is_read(&method, path, &headers), expected, "{method} {path} {content_type}");
        }
    }

    #[test]
    fn only_reads_and_what_was_not_sent_go_out_again() {
        use Failure::{Broken, ClientBody, Moved, NotReady, Overdue, Unreachable, Unsent};
        use Verdict::{AfterPause, Again, GiveUp};
        // (failure, a read's first, its second, its last, a write's first)
        let table = [
            (Unreachable, AfterPause, AfterPause, AfterPause, AfterPause),
            (Unsent, Again, AfterPause, AfterPause, Again),
            (NotReady, AfterPause, AfterPause, AfterPause, GiveUp),
            (Broken, Again, AfterPause, GiveUp, GiveUp),
            (Moved, Again, Again, GiveUp, GiveUp),
            (Overdue, GiveUp, GiveUp, GiveUp, GiveUp),
            (ClientBody, GiveUp, GiveUp, GiveUp, GiveUp),
        ];
        for (failure, first, second, last, write) in table {
            let tries = |n| (0..n).fold(Tries::default(), |tries, _| tries.after(failure));
            assert_eq!(verdict(failure, true, tries(1)), first, "{failure:?}, read, first");
            assert_eq!(verdict(failure, true, tries(2)), second, "{failure:?}, read, second");
            assert_eq!(verdict(failure, true, tries(SENDS_MAX)), last, "{failure:?}, read, last");
            assert_eq!(verdict(failure, false, tries(1)), write, "{failure:?}, write");
        }
    }
}
