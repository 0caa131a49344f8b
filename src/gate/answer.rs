//! Answers to the own Prometheus. Pure.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use super::client::Answer;
use super::headers::WRITTEN;
use super::wire::{Summary, Version};

/// What is in the spool counts as written: without these headers a sender of 2.0 counts a total failure.
pub(super) fn accepted(summary: Option<&Summary>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(summary) = summary.filter(|summary| summary.version == Version::V2) {
        for (name, number) in WRITTEN.into_iter().zip([summary.samples, summary.histograms, summary.exemplars]) {
            response.headers_mut().insert(name, HeaderValue::from(number));
        }
    }
    response
}

/// The gate's own no.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("prometheus-elector's gate: {message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The remote's answer.
pub(super) fn passed(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
