//! Certificates of the Raft port. Pure: no file is opened here.

use std::path::PathBuf;

use elector_raft::TlsMode;

use super::check::{Check, present};
use super::error::ConfigError;
use super::raw::RawGroup;
use crate::raft_files::RaftTlsSettings;

const MODE: &str = "raft-tls-mode";

/// The files, all three or none, and the mode; `Some(None)`: there are none.
#[expect(clippy::option_option, reason = "none and wrong are different answers")]
pub(super) fn resolve(raw: &RawGroup, check: &mut Check) -> Option<Option<RaftTlsSettings>> {
    let given = raw.raft_tls_mode.as_deref();
    let mode = check.read_optional(MODE, given, |text| match text {
        "required" => Ok(TlsMode::Required),
        "optional" => Ok(TlsMode::Optional),
        _ => Err("is not a mode; write required or optional".into()),
    });
    let all = [
        ("raft-tls-ca-file", present(raw.raft_tls_ca_file.as_deref())),
        ("raft-tls-cert-file", present(raw.raft_tls_cert_file.as_deref())),
        ("raft-tls-key-file", present(raw.raft_tls_key_file.as_deref())),
    ];
    if let [(_, Some(ca)), (_, Some(cert)), (_, Some(key))] = all {
        let [ca_file, cert_file, key_file] = [ca, cert, key].map(PathBuf::from);
        let mode = mode?.unwrap_or(TlsMode::Required);
        return Some(Some(RaftTlsSettings { ca_file, cert_file, key_file, mode }));
    }
    let found: Vec<_> = all.iter().filter(|(_, file)| file.is_some()).map(|(flag, _)| *flag).collect();
    if found.is_empty() {
        let (Some(text), Some(_)) = (present(given), mode?) else { return Some(None) };
        let rule = "says how certificates are used, but there are none: give raft-tls-ca-file, raft-tls-cert-file and \
                    raft-tls-key-file, or take it away";
        check.value(MODE, text, rule);
        return None;
    }
    for (flag, _) in all.into_iter().filter(|(_, file)| file.is_none()) {
        let reason =
            format!("{} is given, and members prove themselves with CA, certificate and key", found.join(" and "));
        check.push(ConfigError::Missing { flag, reason });
    }
    None
}
