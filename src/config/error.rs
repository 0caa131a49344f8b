//! Mistakes of the user, in words that name the flag, the value, the rule and the way out.

use std::fmt;

use super::value;

/// Prefix of the environment variable of each flag.
const ENV_PREFIX: &str = "PROMETHEUS_ELECTOR_";

/// The environment variable of a flag: `lease-name` -> `PROMETHEUS_ELECTOR_LEASE_NAME`.
pub fn env_name(flag: &str) -> String {
    format!("{ENV_PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// Whether a variable is named like a flag's.
pub(super) fn is_env_name(variable: &str) -> bool {
    variable.starts_with(ENV_PREFIX)
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Typed on the command line.
    CommandLine,
    /// The flag's environment variable.
    Environment,
    /// Neither: the flag's default.
    Default,
}

/// A flag with its value and where it comes from, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name of the flag without dashes.
    pub flag: &'static str,
    /// Its value as it was given.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flag, value) = (self.flag, value::redacted(&self.value));
        match self.origin {
            Origin::CommandLine => write!(f, "--{flag}={value}"),
            Origin::Environment => write!(f, "{}={value} (flag --{flag})", env_name(flag)),
            Origin::Default => write!(f, "--{flag}={value} (the default)"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value breaks a rule of its own.
    #[error("{setting} {rule}")]
    Value {
        /// The value.
        setting: Setting,
        /// Completes the sentence.
        rule: String,
    },
    /// A value that is needed is not there.
    #[error("--{flag} (or {}) is missing: {reason}", env_name(.flag))]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What it is needed for, and the way out.
        reason: String,
    },
    /// Two values cannot be given together.
    #[error("{first} and {second} exclude each other: {rule}")]
    Conflict {
        /// One of them.
        first: Setting,
        /// The other.
        second: Setting,
        /// Why, and the way out.
        rule: String,
    },
    /// The numbers of two values break a relation.
    #[error("{first} does not go with {second}: {rule}")]
    Relation {
        /// One of them.
        first: Setting,
        /// The other.
        second: Setting,
        /// The relation with its numbers, and the way out.
        rule: String,
    },
    /// The member's name comes from the system and cannot be used.
    #[error("the member's name {name:?} (from {source_name}) {rule}; give --member-id (or {})", env_name("member-id"))]
    MemberName {
        /// `$POD_NAME` or the host name.
        source_name: &'static str,
        /// The name.
        name: String,
        /// Completes the sentence.
        rule: String,
    },
    /// What the system says about the own pod cannot be true.
    #[error("the pod's {what} {value:?} (from {source_name}) {rule}")]
    Pod {
        /// `name` or `namespace`.
        what: &'static str,
        /// `$POD_NAME`, `$POD_NAMESPACE` or the host name.
        source_name: &'static str,
        /// The value.
        value: String,
        /// Completes the sentence, and names the way out.
        rule: String,
    },
    /// Nothing says where the other members are.
    #[error(
        "nothing says where the other members of {member} are, and this host's own names show no headless service: \
         give --peer-service-name=SERVICE, or --peers=NAME=HOST:PORT,… with all members, or \
         --raft-bootstrap-expect=1 for a member on its own"
    )]
    NoPeers {
        /// Own name.
        member: String,
    },
    /// An environment variable cannot be read.
    #[error("the environment variable {variable} is not UTF-8 text")]
    NotText {
        /// Its name.
        variable: String,
    },
    /// An argument cannot be read.
    #[error("argument {position} ({lossy:?}) is not UTF-8 text")]
    ArgumentNotText {
        /// Counted from 1.
        position: usize,
        /// The argument, with replacement characters.
        lossy: String,
    },
    /// A subcommand that destroys something was not confirmed.
    #[error("{0}")]
    NotConfirmed(&'static str),
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum UsageError {
    /// Help or version was asked for, or clap could not make sense of the arguments.
    Arguments(clap::Error),
    /// Values are wrong; all of them are reported.
    Settings(Vec<ConfigError>),
}

impl UsageError {
    /// Exit code of the process: 0 for help and version, 2 for a mistake.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments(error) if !error.use_stderr() => 0,
            Self::Arguments(_) | Self::Settings(_) => 2,
        }
    }

    /// Prints help or version to standard output, a mistake to standard error. A closed stream is ignored: there is
    /// nobody left to tell.
    pub fn print(&self) {
        match self {
            Self::Arguments(error) => drop(error.print()),
            Self::Settings(_) => {
                let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{self}\n"));
            }
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Settings(errors) => {
                let (count, noun) = (errors.len(), if errors.len() == 1 { "mistake" } else { "mistakes" });
                write!(f, "prometheus-elector: {count} {noun} in flags or environment:")?;
                errors.iter().try_for_each(|error| write!(f, "\n  - {error}"))?;
                f.write_str("\nSee `prometheus-elector --help` for every flag.")
            }
        }
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(origin: Origin) -> Setting {
        Setting { flag: "notify-http-url", value: "ftp://me:secret@x/".into(), origin }
    }

    #[test]
    fn a_setting_names_where_it_comes_from_and_hides_credentials() {
        assert_eq!(setting(Origin::CommandLine).to_string(), "--notify-http-url=ftp://***@x/");
        assert_eq!(
            setting(Origin::Environment).to_string(),
            "PROMETHEUS_ELECTOR_NOTIFY_HTTP_URL=ftp://***@x/ (flag --notify-http-url)"
        );
        assert_eq!(setting(Origin::Default).to_string(), "--notify-http-url=ftp://***@x/ (the default)");
    }

    #[test]
    fn several_mistakes_make_one_message() {
        let missing = |flag| ConfigError::Missing { flag, reason: "it is the path of the file".into() };
        let error = UsageError::Settings(vec![missing("config"), missing("output")]);
        assert_eq!(
            error.to_string(),
            "prometheus-elector: 2 mistakes in flags or environment:\n  \
             - --config (or PROMETHEUS_ELECTOR_CONFIG) is missing: it is the path of the file\n  \
             - --output (or PROMETHEUS_ELECTOR_OUTPUT) is missing: it is the path of the file\n\
             See `prometheus-elector --help` for every flag."
        );
        assert_eq!(error.exit_code(), 2);
    }
}
