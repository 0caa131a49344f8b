//! What the gate's tests share: settings, leadership, and a receiver that records.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::remote::{ClientSettings, QueueSettings, RemoteSettings, RemoteUrl};

/// Settings of a remote `r` with a URL.
pub(super) fn settings(url: &str) -> RemoteSettings {
    RemoteSettings {
        name: "r".into(),
        path: "/write/r".into(),
        url: RemoteUrl::parse(url).unwrap(),
        client: ClientSettings::default(),
        queue: QueueSettings::default(),
        line: 1,
    }
}
