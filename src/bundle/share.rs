//! A set of volumes that is spread over several sticks: which of them lies where.

use serde::{Deserialize, Serialize};

use super::layout;

/// The most sticks that one set may be spread over.
pub(super) const MAX_SHARES: usize = 1000;

/// The longest name of a stick, in bytes.
const MAX_STICK_BYTES: usize = 40;

/// The volumes of a bundle that went to one stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickShare {
    /// The stick's own name, as its commit record has it.
    pub stick: String,
    /// The files' names, for example `V0003.TAR`, in order.
    pub volumes: Vec<String>,
}

impl StickShare {
    /// Says what is wrong with a share that a stranger wrote.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.stick.len() > MAX_STICK_BYTES || !self.stick.bytes().all(is_plain) {
            return Err("the name of a stick in it is not one that localml draws".into());
        }
        match self.volumes.iter().all(|name| layout::is_volume_name(name)) {
            true => Ok(()),
            false => Err("a stick is said to hold what is no volume".into()),
        }
    }
}
