//! Logs on standard error: logfmt in the layout of Prometheus's own (`ts=… level=info msg="…" key=value`), or JSON.
//!
//! Own crates log at the chosen level, libraries more quietly: what goes on inside Raft is said in our own words, and
//! what HTTP libraries trace may hold credentials. Every value is quoted, so that no text from outside can begin a line
//! of its own.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// What is logged, and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is shown.
    pub level: LevelFilter,
    /// Layout of a line.
    pub format: LogFormat,
}

/// Layout of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Sets the process's log up. Call once; a second call is an error.
pub fn init(settings: &LogSettings) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(settings, std::io::stderr))
}

fn subscriber<W>(settings: &LogSettings, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = match settings.format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_span_name(false)
            .with_span_path(false)
            .layer()
            .map_event_format(PrometheusLayout)
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter(settings.level)))
}

fn filter(level: LevelFilter) -> Targets {
    let libraries = match level {
        LevelFilter::TRACE => LevelFilter::DEBUG,
        LevelFilter::DEBUG => LevelFilter::INFO,
        quieter => quieter.min(LevelFilter::WARN),
    };
    Targets::new().with_default(libraries).with_target("prometheus_elector", level).with_target("elector_raft", level)
}

/// tracing-logfmt's line with Prometheus's name for the message.
struct PrometheusLayout<F>(F);

impl<S, N, F> FormatEvent<S, N> for PrometheusLayout<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        // The message follows three values that hold no space: time, level and target.
        match line.match_indices(' ').nth(2) {
            Some((at, _)) if line[at..].starts_with(" message=") => {
                writer.write_str(&line[..at])?;
                writer.write_str(" msg=")?;
                writer.write_str(&line[at + " message=".len()..])
            }
            _ => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LevelFilter, format: LogFormat, act: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let for_writer = buffer.clone();
        let subscriber = subscriber(&LogSettings { level, format }, move || for_writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_the_layout_of_prometheus() {
        let line = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
            tracing::info!(target: "prometheus_elector::x", term = 7, peer = "prom 1", "took over message=x");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("ts=20") && time.ends_with('Z'), "{time}");
        let expected = "level=info target=prometheus_elector::x msg=\"took over message=x\" term=7 peer=\"prom 1\"\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn text_from_outside_cannot_begin_a_line() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let line = logged(LevelFilter::INFO, format, || {
                tracing::info!(target: "elector_raft", text = "a\nts=1 level=error msg=b", "c\r\nd");
            });
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.ends_with('\n') && !line.contains('\r'), "{line}");
        }
    }

    #[test]
    fn an_event_without_a_message_is_left_alone() {
        let line = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
            tracing::info!(target: "elector_raft", x = "a message=b");
        });
        assert!(line.ends_with("target=elector_raft x=\"a message=b\"\n"), "{line}");
    }

    #[test]
    fn json_has_one_object_a_line_with_the_fields_beside_the_message() {
        let line = logged(LevelFilter::INFO, LogFormat::Json, || {
            tracing::warn!(target: "elector_raft", term = 7, "took over");
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["level"], &value["message"], &value["term"]),
            (&"WARN".into(), &"took over".into(), &7.into())
        );
    }

    #[test]
    fn libraries_are_quieter_than_our_own_crates() {
        let both = || {
            tracing::trace!(target: "hyper::x", "secret");
            tracing::info!(target: "openraft::x", "library");
            tracing::info!(target: "elector_raft::x", "own");
            tracing::warn!(target: "openraft::x", "careful");
        };
        let shown = |level| {
            let text = logged(level, LogFormat::Logfmt, both);
            ["own", "library", "careful", "secret"].map(|word| text.contains(word))
        };
        assert_eq!(shown(LevelFilter::ERROR), [false, false, false, false]);
        assert_eq!(shown(LevelFilter::WARN), [false, false, true, false]);
        assert_eq!(shown(LevelFilter::INFO), [true, false, true, false]);
        assert_eq!(shown(LevelFilter::DEBUG), [true, true, true, false]);
        assert_eq!(shown(LevelFilter::TRACE), [true, true, true, false]);
    }
}
