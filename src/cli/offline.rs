//! `render` and `check-config`: what would Prometheus get? They touch nothing but the source file, which they read.

use std::net::SocketAddr;
use std::path::Path;

use elector_raft::StoreError;

use super::{CliError, Output, client};
use crate::render::Rendered;
use crate::role::Role;

/// The configuration of `role`, for standard output; warnings beside it.
pub fn render(path: &Path, role: Role, gate: Option<SocketAddr>) -> Result<Output, CliError> {
    let rendered = rendered(path, gate)?;
    Ok(Output { text: rendered.variant(role).to_vec(), warnings: rendered.warnings })
}

/// Whether the file is one that the sidecar takes, in either role; a summary if it is. Whether Prometheus takes the
/// result, `promtool check config` tells.
pub fn check_config(path: &Path, gate: Option<SocketAddr>) -> Result<Output, CliError> {
    let rendered = rendered(path, gate)?;
    let (follower, leader) = (rendered.follower.len(), rendered.leader.len());
    let roles = if rendered.is_role_independent() {
        format!("{follower} bytes for Prometheus in either role: the roles differ in nothing that Prometheus sees")
    } else {
        format!("{follower} bytes for Prometheus as follower, {leader} as leader")
    };
    let mut output = Output::from(format!("ok: {}: {roles}\n", path.display()));
    output.warnings = rendered.warnings;
    Ok(output)
}

fn rendered(path: &Path, gate: Option<SocketAddr>) -> Result<Rendered, CliError> {
    let source = std::fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    let rendered = crate::render::render_for(&source, gate);
    rendered.map_err(|error| CliError::Config { path: path.to_owned(), error: error.to_string() })
}

/// Makes this member blank: on the disk, or through the sidecar on this host while that has the directory in use.
pub async fn recover(admin: SocketAddr, data_dir: &Path) -> Result<Output, CliError> {
    match elector_raft::recover(data_dir) {
        Ok(id) => Ok(Output::from(format!(
            "{}: this member is blank now, with the new node id {id}; it forms or joins a group when it starts\n",
            data_dir.display()
        ))),
        Err(StoreError::Locked { .. }) => client::recover(admin).await,
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    fn source(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn render_prints_exactly_the_bytes_of_the_role_and_warns() {
        let file = source("follower: {a: [1]}\nleader: {a: 2}\n");
        let text = |role| String::from_utf8(render(file.path(), role, None).unwrap().text).unwrap();
        assert_eq!(text(Role::Follower), "a:\n- 1\n");
        assert_eq!(text(Role::Leader), "a: 2\n");
        assert_eq!(render(file.path(), Role::Leader, None).unwrap().warnings.len(), 1);
    }

    #[test]
    fn check_config_sums_up_or_names_file_and_fault() {
        let file = source("follower: {a: 1}\nleader: {a: 22}\n");
        let path = file.path().display().to_string();
        let output = check_config(file.path(), None).unwrap();
        let expected = format!("ok: {path}: 5 bytes for Prometheus as follower, 6 as leader\n");
        assert_eq!(String::from_utf8(output.text).unwrap(), expected);

        let same = check_config(source("follower: {a: 1}\n").path(), None).unwrap();
        assert!(
            String::from_utf8(same.text)
                .unwrap()
                .ends_with("in either role: the roles differ in nothing that Prometheus sees\n")
        );

        let error = check_config(source("leader: {}\n").path(), None).unwrap_err().to_string();
        assert!(error.contains("follower"), "{error}");
        let error = check_config(Path::new("/nowhere/x.yml"), None).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/x.yml: No such file or directory (os error 2)");
    }

    #[tokio::test]
    async fn recover_works_on_the_disk_of_a_stopped_member() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = recover(nobody, dir.path()).await.unwrap();
        let second = recover(nobody, dir.path()).await.unwrap();
        assert_ne!(first.text, second.text, "each time a new node id");
    }
}
