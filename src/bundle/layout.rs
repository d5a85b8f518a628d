//! What lies where on a stick, and which names may stand there.
//!
//! ```text
//! LOCALML/  README.TXT              plain words for whoever finds the stick
//!           STICK.A  STICK.B        the commit record, twice
//!           TRUST/<id>.TAR          root chains and signed metadata, as plain tar
//!           B/<id>/BUNDLE.JSON      what the bundle holds
//!           B/<id>/V0001.TAR …      volumes; P0001.TAR … are parity volumes
//!           BIN/<TARGET>/           localml itself for a platform, as plain files
//!           REQ/<site>-<n>.JSON     what a site asks for
//!           RCP/<site>-<n>.JSON     what a site holds
//! ```

use super::id::BundleId;

/// The one folder that localml touches on a stick.
pub(super) const ROOT: &str = "LOCALML";
pub(super) const README: &str = "README.TXT";
pub(super) const SLOTS: [&str; 2] = ["STICK.A", "STICK.B"];
pub(super) const TRUST: &str = "TRUST";
pub(super) const BUNDLES: &str = "B";
pub(super) const BIN: &str = "BIN";
pub(super) const REQUESTS: &str = "REQ";
pub(super) const RECEIPTS: &str = "RCP";
pub(super) const DESCRIPTION: &str = "BUNDLE.JSON";

/// The most bytes a file can have on FAT32, and so the most that a volume may have.
pub const MAX_VOLUME_BYTES: u64 = 4 * 1024 * 1024 * 1024 - 1;

/// How large a volume gets when nobody says otherwise: 1 GiB.
pub const DEFAULT_VOLUME_BYTES: u64 = 1024 * 1024 * 1024;

/// What a file may waste of a stick's last cluster, in bytes (FAT's largest is 64 KiB).
pub const CLUSTER_BYTES: u64 = 64 * 1024;

/// The most volumes that `V0001.TAR` can number.
pub(super) const MAX_VOLUMES: usize = 9999;

/// The longest name of a file or folder on a stick, in characters.
const MAX_NAME_CHARS: usize = 40;

impl BundleId {
    /// The path of one of the bundle's files, relative to `LOCALML`.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{BUNDLES}/{self}/{name}")
    }
}

/// The name of a volume, counted from 1.
pub(super) fn volume_name(number: usize) -> String {
    format!("V{number:04}.TAR")
}

/// The name of a parity volume, counted from 1.
pub(super) fn parity_name(number: usize) -> String {
    format!("P{number:04}.TAR")
}

/// True for `V0001.TAR` to `V9999.TAR`, and for `P0001.TAR` …, which hold parity.
pub(super) fn is_volume_name(name: &str) -> bool {
    let digits = name.strip_prefix(['V', 'P']).and_then(|rest| rest.strip_suffix(".TAR"));
    digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// True when every part of a path relative to `LOCALML` is a name that any stick can hold.
pub(super) fn is_safe_path(path: &str) -> bool {
    path.split('/').count() <= 4 && path.split('/').all(is_safe_name)
}

fn is_safe_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    !name.is_empty()
        && name.len() <= MAX_NAME_CHARS
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_upper_case_paths_are_safe() {
        assert!(is_safe_path("B/0A1B2C3D/V0001.TAR"));
        for path in ["", "/X", "B/../X", "b/x", "B//X", "B\\X", "A/B/C/D/E", "X.", ".X", "ä"] {
            assert!(!is_safe_path(path), "{path}");
        }
    }

    #[test]
    fn volumes_have_four_digits() {
        assert!(is_volume_name(&volume_name(1)) && is_volume_name("P0001.TAR"));
        for name in ["V1.TAR", "V00001.TAR", "V000A.TAR", "X0001.TAR", "V0001.TAR.ZST"] {
            assert!(!is_volume_name(name), "{name}");
        }
    }
}
