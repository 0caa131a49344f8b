//! Settings of the remote-write gate.

use std::path::{Path, PathBuf};

use super::check::{Check, present};
use super::defaults;
use super::raw::RawFlags;
use crate::gate::GateSettings;

/// Units of sizes, as Prometheus reads them: powers of 1024, the longest names first.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("B", 1),
];

/// Reads them. `data_dir`: directory of the group's state, where it is known.
#[expect(clippy::option_option, reason = "off and wrong are different answers")]
pub(super) fn resolve(
    raw: &RawFlags,
    data_dir: Option<&Path>,
    witness: bool,
    check: &mut Check,
) -> Option<Option<GateSettings>> {
    let is_on = is_on(raw, check);
    let spool_bytes_max = check.read("gate-spool-size", &raw.gate.gate_spool_size, size);
    let watermark_period = check.period("watermark-period", &raw.gate.watermark_period);
    let given = present(raw.gate.gate_spool_dir.as_deref()).map(PathBuf::from);
    let (is_on, spool_bytes_max, watermark_period) = (is_on?, spool_bytes_max?, watermark_period?);
    if !is_on || witness {
        return Some(None);
    }
    // A missing output, and with it the default of the directory, is reported where it is read.
    let output = Path::new(present(raw.files.output.as_deref())?);
    let spool_dir = match given {
        Some(given) => given,
        None => data_dir?.join(defaults::GATE_SPOOL_DIR_NAME),
    };
    let tls_base = output.parent().map(Path::to_owned).unwrap_or_default();
    Some(Some(GateSettings { spool_dir, spool_bytes_max, watermark_period, extra_interval: None, tls_base }))
}

/// Whether the gate is on.
pub(super) fn is_on(raw: &RawFlags, check: &mut Check) -> Option<bool> {
    check.read("remote-write-gate", &raw.gate.remote_write_gate, |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither on nor off".into()),
    })
}

fn size(text: &str) -> Result<u64, String> {
    let wrong = || "is not a size; write for example 256MiB".to_owned();
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    let bytes = number.checked_mul(factor).ok_or_else(wrong)?;
    if bytes < defaults::GATE_SPOOL_SIZE_MIN {
        return Err("is less than 1MiB, which holds hardly a batch".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in [("1MiB", 1 << 20), ("256MB", 256 << 20), ("3GiB", 3 << 30), ("1048576B", 1 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "MiB", "1.5MiB", "-1MiB", "1 MiB", "1MiBB", "99999999999TiB"] {
            assert_eq!(size(text), Err("is not a size; write for example 256MiB".into()), "{text}");
        }
        assert_eq!(size("1023KiB"), Err("is less than 1MiB, which holds hardly a batch".into()));
    }
}
