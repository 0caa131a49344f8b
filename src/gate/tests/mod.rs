//! The data path with real sockets: gates with a leadership that the test holds, and receivers that decode.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catch_up;
mod fenced;
mod handover;
mod remote;
mod takeover;
