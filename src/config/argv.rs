//! Go style -> the one form that clap reads, without touching clap or the process: arguments and environment in,
//! arguments out.
//!
//! - `-flag`, `--flag`, `-flag=value`, `-flag value` all become `--flag=value`; a boolean alone becomes `--flag=true`.
//!   The argument after a flag that takes a value is its value, whatever it looks like (`-x -5`), as in Go.
//! - Flags of the sidecar move in front of the subcommand, so that they may stand on either side of it.
//! - A flag that was not typed takes the value of its environment variable. An empty variable counts as unset:
//!   manifests write `value: ""` for that.
//! - What is not known (`-h`, misspelled flags, words) stays for clap to answer, with two dashes where it is a long
//!   name.
//! - Nothing after `--` is touched.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::error::{self, ConfigError, Origin};

/// Whether a flag must have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// True when it stands alone.
    Bool,
    /// Always followed by a value.
    Value,
}

/// The flags by name, without dashes.
#[derive(Debug, Default)]
pub(super) struct FlagTable {
    /// Flags of the sidecar; each has an environment variable.
    pub root: BTreeMap<String, Kind>,
    /// Flags of subcommands.
    pub local: BTreeMap<String, Kind>,
}

/// Arguments for clap, and where the values of the sidecar's flags come from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Normalized {
    /// Without the program's name.
    pub arguments: Vec<String>,
    /// Only flags that were given.
    pub origins: BTreeMap<String, Origin>,
}

/// Normalizes the arguments (without the program's name) and adds the environment's values.
pub(super) fn normalize(
    arguments: Vec<OsString>,
    variables: &[(OsString, OsString)],
    table: &FlagTable,
) -> Result<Normalized, Vec<ConfigError>> {
    let (arguments, mut errors) = to_text(arguments);
    let (typed, rest) = split(arguments, table);
    let mut result = Normalized::default();
    for flag in table.root.keys().filter(|flag| !typed.iter().any(|(name, _)| name == *flag)) {
        match from_environment(flag, variables) {
            Ok(None) => {}
            Ok(Some(value)) => {
                result.arguments.push(format!("--{flag}={value}"));
                result.origins.insert(flag.clone(), Origin::Environment);
            }
            Err(error) => errors.push(error),
        }
    }
    for (flag, argument) in typed {
        result.arguments.push(argument);
        result.origins.insert(flag, Origin::CommandLine);
    }
    result.arguments.extend(rest);
    if errors.is_empty() { Ok(result) } else { Err(errors) }
}

fn to_text(arguments: Vec<OsString>) -> (Vec<String>, Vec<ConfigError>) {
    let mut errors = Vec::new();
    let text = |(index, argument): (usize, OsString)| {
        argument.into_string().unwrap_or_else(|bad| {
            let lossy = bad.to_string_lossy().into_owned();
            errors.push(ConfigError::ArgumentNotText { position: index + 1, lossy });
            String::new()
        })
    };
    let texts = arguments.into_iter().enumerate().map(text).collect();
    (texts, errors)
}

fn from_environment(flag: &str, variables: &[(OsString, OsString)]) -> Result<Option<String>, ConfigError> {
    let variable = error::env_name(flag);
    let Some((_, value)) = variables.iter().find(|(name, _)| *name == *variable) else { return Ok(None) };
    let value = value.to_str().ok_or(ConfigError::NotText { variable })?;
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Splits off the sidecar's flags, as (name, argument), from everything else; both keep their order.
fn split(arguments: Vec<String>, table: &FlagTable) -> (Vec<(String, String)>, Vec<String>) {
    let (mut typed, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(body) = long_name(&argument) else {
            let end_of_flags = argument == "--";
            rest.push(argument);
            if end_of_flags {
                rest.extend(arguments.by_ref());
            }
            continue;
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        match (table.root.get(name), table.local.get(name)) {
            (Some(kind), _) => {
                let value = match kind {
                    Kind::Bool => value.or_else(|| Some("true".to_owned())),
                    Kind::Value => value.or_else(|| arguments.next()),
                };
                let value = value.map(|value| format!("={value}")).unwrap_or_default();
                typed.push((name.to_owned(), format!("--{name}{value}")));
            }
            (None, Some(Kind::Value)) if value.is_none() => {
                let value = arguments.next().map(|value| format!("={value}")).unwrap_or_default();
                rest.push(format!("--{name}{value}"));
            }
            _ => rest.push(format!("--{body}")),
        }
    }
    (typed, rest)
}

/// The text after the dashes of a long flag. `-h` and `-V` are short flags; `-`, `--` and `---x` are none.
fn long_name(argument: &str) -> Option<&str> {
    let body = match argument.strip_prefix("--") {
        Some(body) => body,
        None => argument.strip_prefix('-').filter(|body| body.len() > 1)?,
    };
    (!body.is_empty() && !body.starts_with(['-', '='])).then_some(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn table() -> FlagTable {
        let flags = |list: &[(&str, Kind)]| list.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        FlagTable {
            root: flags(&[("init", Kind::Bool), ("config", Kind::Value), ("lease-name", Kind::Value)]),
            local: flags(&[("json", Kind::Bool), ("role", Kind::Value)]),
        }
    }

    fn with_env(line: &str, variables: &[(&str, &str)]) -> Normalized {
        let arguments = line.split_whitespace().map(OsString::from).collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        normalize(arguments, &variables, &table()).expect("is text")
    }

    fn plain(line: &str) -> String {
        with_env(line, &[]).arguments.join(" ")
    }

    #[test]
    fn go_style_and_two_dashes_mean_the_same() {
        for line in ["-config x", "-config=x", "--config x", "--config=x"] {
            assert_eq!(plain(line), "--config=x", "{line}");
        }
        for (line, normalized) in [
            ("-init", "--init=true"),
            ("--init", "--init=true"),
            ("-init=false", "--init=false"),
            ("--init=F", "--init=F"),
            ("-config=", "--config="),
            ("-config=a=b", "--config=a=b"),
        ] {
            assert_eq!(plain(line), normalized, "{line}");
        }
    }

    #[test]
    fn the_argument_after_a_flag_is_its_value_whatever_it_looks_like() {
        assert_eq!(plain("-config -5"), "--config=-5");
        assert_eq!(plain("--config --init"), "--config=--init");
        assert_eq!(plain("-config -- -init"), "--config=-- --init=true");
        assert_eq!(plain("-config"), "--config");
        assert_eq!(plain("-init false"), "--init=true false");
    }

    #[test]
    fn flags_may_stand_on_either_side_of_a_subcommand() {
        let expected = "--config=x render --role=leader";
        for line in
            ["-config x render -role leader", "render -role leader -config x", "render --config=x --role=leader"]
        {
            assert_eq!(plain(line), expected, "{line}");
        }
        assert_eq!(plain("status -json -init"), "--init=true status --json");
        assert_eq!(plain("render -role"), "render --role");
    }

    #[test]
    fn what_is_not_known_stays_for_clap_and_nothing_after_two_dashes_is_touched() {
        for (line, normalized) in [
            ("-h", "-h"),
            ("-help", "--help"),
            ("status --help", "status --help"),
            ("-version", "--version"),
            ("-V", "-V"),
            ("-confg=x", "--confg=x"),
            ("- -= ---config", "- -= ---config"),
            ("-init member remove -- -config x", "--init=true member remove -- -config x"),
        ] {
            assert_eq!(plain(line), normalized, "{line}");
        }
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let env = [("PROMETHEUS_ELECTOR_LEASE_NAME", "env"), ("PROMETHEUS_ELECTOR_INIT", "T"), ("LEASE_NAME", "no")];
        let normalized = with_env("-lease-name typed -config c status", &env);
        assert_eq!(normalized.arguments, ["--init=T", "--lease-name=typed", "--config=c", "status"]);
        let origins: Vec<_> = normalized.origins.iter().map(|(flag, origin)| (flag.as_str(), *origin)).collect();
        let expected =
            [("config", Origin::CommandLine), ("init", Origin::Environment), ("lease-name", Origin::CommandLine)];
        assert_eq!(origins, expected);
    }

    #[test]
    fn an_empty_variable_counts_as_unset_and_an_empty_argument_does_not() {
        let normalized = with_env("-lease-name=", &[("PROMETHEUS_ELECTOR_CONFIG", "")]);
        assert_eq!(normalized.arguments, ["--lease-name="]);
        assert_eq!(normalized.origins.len(), 1);
    }

    #[test]
    fn what_is_not_text_is_reported_by_place_and_by_variable() {
        let bad = OsString::from_vec(b"x\xff".to_vec());
        let variables = [("PROMETHEUS_ELECTOR_CONFIG".into(), bad.clone())];
        let errors = normalize(vec!["status".into(), bad], &variables, &table()).unwrap_err();
        let expected = [
            ConfigError::ArgumentNotText { position: 2, lossy: "x\u{fffd}".into() },
            ConfigError::NotText { variable: "PROMETHEUS_ELECTOR_CONFIG".into() },
        ];
        assert_eq!(errors, expected);
    }
}
