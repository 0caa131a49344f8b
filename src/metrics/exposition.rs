//! The two text formats of an exposition, and the choice between them.
//!
//! `prometheus-client` writes `OpenMetrics` only. The Prometheus format 0.0.4 is derived from it line by line: a counter
//! carries `_total` in `HELP` and `TYPE` too, an `unknown` is the counter that it was before `OpenMetrics` forbade its
//! name, and there is neither `UNIT` nor `EOF`. Sources: `OpenMetrics` 1.0.0, "Text format"; Prometheus documentation,
//! "Exposition formats".
//!
//! Out of scope, because no family here has them: exemplars, `info` and `_created` samples.

use std::collections::HashMap;
use std::fmt::Write as _;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Format of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// `OpenMetrics` text format 1.0.0; written only when asked for.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for: `OpenMetrics` where it is named and liked at least as well as plain
    /// text, otherwise the Prometheus format. Wildcards do not ask for `OpenMetrics`.
    pub fn negotiate(accept: &str) -> Self {
        let (mut open_metrics, mut plain) = (0.0, 0.0);
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, "");
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = value.trim().trim_matches('"'),
                    _ => {}
                }
            }
            match (kind.as_str(), version) {
                // Version 0.0.1 is the draft of 1.0.0; what is written here is valid in both.
                ("application/openmetrics-text", "" | "0.0.1" | "1.0.0") => open_metrics = quality.max(open_metrics),
                ("text/plain", _) => plain = quality.max(plain),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn encode(registry: &Registry, format: Format) -> Result<String, std::fmt::Error> {
    let mut open_metrics = String::new();
    text::encode(&mut open_metrics, registry)?;
    match format {
        Format::OpenMetrics => Ok(open_metrics),
        Format::Prometheus => to_prometheus(&open_metrics),
    }
}

fn to_prometheus(open_metrics: &str) -> Result<String, std::fmt::Error> {
    let types: HashMap<&str, &str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut output = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            writeln!(output, "{line}")?;
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue; // UNIT, EOF
        };
        let kind = types.get(name).copied();
        let suffix = if kind == Some("counter") { "_total" } else { "" };
        let rest = if keyword == "TYPE" && rest == "unknown" { "counter" } else { rest };
        writeln!(output, "# {keyword} {name}{suffix} {rest}")?;
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn open_metrics_is_written_only_when_it_is_asked_for() {
        let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                               q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/\
                            openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
            ("text/plain", Format::Prometheus),
            (prometheus_2_42, Format::OpenMetrics),
            (prometheus_3, Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=bad", Format::Prometheus),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Format::Prometheus),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.5", Format::OpenMetrics),
            (";;,=,;q,", Format::Prometheus),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::negotiate(accept), expected, "Accept: {accept}");
        }
    }

    #[test]
    fn the_prometheus_format_names_counters_by_their_samples() {
        let open_metrics = "# HELP a_calls Calls of # HELP x.\n# TYPE a_calls counter\na_calls_total 1\n\
                            # HELP b_errors Errors.\n# TYPE b_errors unknown\nb_errors 2\n\
                            # HELP c_seconds Time.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\n\
                            c_seconds{l=\"# TYPE x unknown\"} 3.5\n# EOF\n";
        let expected = "# HELP a_calls_total Calls of # HELP x.\n# TYPE a_calls_total counter\na_calls_total 1\n\
                        # HELP b_errors Errors.\n# TYPE b_errors counter\nb_errors 2\n\
                        # HELP c_seconds Time.\n# TYPE c_seconds gauge\nc_seconds{l=\"# TYPE x unknown\"} 3.5\n";
        assert_eq!(to_prometheus(open_metrics).unwrap(), expected);
    }
}
