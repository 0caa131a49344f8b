//! `render` and `check-config`: what would Prometheus get? They touch nothing but the source file, which they read.

use std::fmt::Display;
use std::path::Path;

use bytes::Bytes;

use super::{CliError, Output};
use crate::role::Role;

/// Both configurations that come out of one source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// The `follower` section alone.
    pub follower: Bytes,
    /// With the overrides of the `leader` section.
    pub leader: Bytes,
    /// What works, but should be known.
    pub warnings: Vec<String>,
}

/// The configuration of `role`, for standard output; warnings beside it. `render` makes both variants of the file.
pub fn render<E: Display>(
    path: &Path,
    role: Role,
    render: impl FnOnce(&[u8]) -> Result<Variants, E>,
) -> Result<Output, CliError> {
    let variants = variants(path, render)?;
    let text = match role {
        Role::Follower => variants.follower,
        Role::Leader => variants.leader,
    };
    Ok(Output { text: text.into(), warnings: variants.warnings })
}

/// Whether the file is one that the sidecar takes, in either role; a summary if it is. Whether Prometheus takes the
/// result, `promtool check config` tells.
pub fn check_config<E: Display>(
    path: &Path,
    render: impl FnOnce(&[u8]) -> Result<Variants, E>,
) -> Result<Output, CliError> {
    let variants = variants(path, render)?;
    let (follower, leader) = (variants.follower.len(), variants.leader.len());
    let roles = if variants.follower == variants.leader {
        format!("{follower} bytes for Prometheus in either role: the leader section adds nothing")
    } else {
        format!("{follower} bytes for Prometheus as follower, {leader} as leader")
    };
    let mut output = Output::from(format!("ok: {}: {roles}\n", path.display()));
    output.warnings = variants.warnings;
    Ok(output)
}

fn variants<E: Display>(path: &Path, render: impl FnOnce(&[u8]) -> Result<Variants, E>) -> Result<Variants, CliError> {
    let source = std::fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    render(&source).map_err(|error| CliError::Config { path: path.to_owned(), error: error.to_string() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unnecessary_wraps)]
    use std::io::Write as _;

    use super::*;

    fn source() -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"source").unwrap();
        file
    }

    fn two(source: &[u8]) -> Result<Variants, String> {
        assert_eq!(source, b"source");
        let warnings = vec!["external labels differ".to_owned()];
        Ok(Variants { follower: "follow\n".into(), leader: "lead and write\n".into(), warnings })
    }

    #[test]
    fn render_prints_exactly_the_bytes_of_the_role() {
        let file = source();
        let text = |role| render(file.path(), role, two).unwrap();
        assert_eq!(text(Role::Follower).text, b"follow\n");
        assert_eq!(text(Role::Leader).text, b"lead and write\n");
        assert_eq!(text(Role::Leader).warnings, ["external labels differ"]);
    }

    #[test]
    fn check_config_sums_up_or_names_file_and_fault() {
        let file = source();
        let path = file.path().display().to_string();
        let output = check_config(file.path(), two).unwrap();
        let expected = format!("ok: {path}: 7 bytes for Prometheus as follower, 15 as leader\n");
        assert_eq!(String::from_utf8(output.text).unwrap(), expected);
        assert_eq!(output.warnings, ["external labels differ"]);

        let same =
            |_: &[u8]| Ok::<_, String>(Variants { follower: "x".into(), leader: "x".into(), warnings: Vec::new() });
        let output = check_config(file.path(), same).unwrap();
        let expected = format!("ok: {path}: 1 bytes for Prometheus in either role: the leader section adds nothing\n");
        assert_eq!(String::from_utf8(output.text).unwrap(), expected);

        let error = check_config(file.path(), |_| Err("line 3: no such key")).unwrap_err();
        assert_eq!(error.to_string(), format!("{path}: line 3: no such key"));
        let error = check_config(Path::new("/nowhere/x.yml"), two).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/x.yml: No such file or directory (os error 2)");
    }
}
