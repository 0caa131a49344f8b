//! The own pod, for the label of `--pod-leader-label`. Pure: no file is opened here, no API asked.

use super::check::{Check, present};
use super::error::ConfigError;
use super::raw::RawMember;
use super::{Facts, PodSettings};

const FLAG: &str = "pod-leader-label";

/// Longest name of a pod, and of any part of it between two dots. Bytes.
const POD_BYTES_MAX: usize = 253;
/// Longest name of a namespace. Bytes.
const NAMESPACE_BYTES_MAX: usize = 63;

/// The pod; `Some(None)`: its label is left alone.
#[expect(clippy::option_option, reason = "off and wrong are different answers")]
pub(super) fn resolve(raw: &RawMember, facts: &Facts, witness: bool, check: &mut Check) -> Option<Option<PodSettings>> {
    if !check.boolean(FLAG, &raw.pod_leader_label)? {
        return Some(None);
    }
    if !facts.kubernetes {
        let rule = "needs the cargo feature `kubernetes`, and this binary was built without it; take the flag away, or \
                    use a binary that was built with it";
        check.value(FLAG, &raw.pod_leader_label, rule);
        return None;
    }
    let (source_name, name) = match present(facts.pod_name.as_deref()) {
        Some(name) => ("$POD_NAME", name),
        None => ("the host name", facts.host.host.as_str()),
    };
    let is_name = name.len() <= POD_BYTES_MAX && name.split('.').all(is_label);
    let name = is_name.then(|| name.to_owned());
    if name.is_none() {
        let rule = "is none that Kubernetes gives; set POD_NAME from the field metadata.name".to_owned();
        let value = present(facts.pod_name.as_deref()).unwrap_or(&facts.host.host).to_owned();
        check.push(ConfigError::Pod { what: "name", source_name, value, rule });
    }
    let namespace = present(facts.pod_namespace.as_deref());
    let is_namespace = namespace.is_none_or(|name| name.len() <= NAMESPACE_BYTES_MAX && is_label(name));
    if let Some(value) = namespace.filter(|_| !is_namespace) {
        let rule = "is none that Kubernetes gives; set POD_NAMESPACE from the field metadata.namespace".to_owned();
        check.push(ConfigError::Pod {
            what: "namespace",
            source_name: "$POD_NAMESPACE",
            value: value.to_owned(),
            rule,
        });
    }
    let namespace = is_namespace.then(|| namespace.map(str::to_owned));
    Some(Some(PodSettings { name: name?, namespace: namespace?, witness }))
}

/// RFC 1123, as Kubernetes reads it.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
