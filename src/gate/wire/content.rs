//! The headers that say how to read a body.

/// The only compression of remote write 1.0 and 2.0.
pub const CONTENT_ENCODING: &str = "snappy";

/// `Content-Type` of a 2.0 request.
pub const CONTENT_TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Name of the header with the version.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";

/// Its value in a 2.0 request.
pub const VERSION_HEADER_V2: &str = "2.0.0";

/// Version of remote write, which decides the protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

impl Version {
    /// Version of a request by its `Content-Type`; `None` where it is another protocol. Without the header, or without its
    /// parameter `proto`, it is 1.0, as receivers take it.
    pub fn of(content_type: Option<&str>) -> Option<Self> {
        let Some(content_type) = content_type.map(str::trim).filter(|text| !text.is_empty()) else {
            return Some(Self::V1);
        };
        let mut parts = content_type.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut messages = parts.filter_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
        });
        match messages.next_back() {
            None | Some("prometheus.WriteRequest") => Some(Self::V1),
            Some("io.prometheus.write.v2.Request") => Some(Self::V2),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides_the_version() {
        for (content_type, version) in [
            (None, Some(Version::V1)),
            (Some(""), Some(Version::V1)),
            (Some("application/x-protobuf"), Some(Version::V1)),
            (Some("Application/X-Protobuf; charset=utf-8"), Some(Version::V1)),
            (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some(Version::V1)),
            (Some(CONTENT_TYPE_V2), Some(Version::V2)),
            (Some("application/x-protobuf ; Proto = \"io.prometheus.write.v2.Request\""), Some(Version::V2)),
            (Some("application/x-protobuf;proto=io.prometheus.write.v3.Request"), None),
            (Some("application/json"), None),
            (Some("application/x-protobuf-other"), None),
        ] {
            assert_eq!(Version::of(content_type), version, "{content_type:?}");
        }
    }
}
