//! Who this site is in its letters: an id drawn once, a label for people, and the next letter's number.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::bundle::SiteId;
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;

use super::error::{Error, Result};

/// The format that this program writes. A later one is refused by name.
const FORMAT: u32 = 1;

/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 100;

/// What `site.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    format: u32,
    pub(super) id: SiteId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    next_number: u64,
    /// True once the site has asked for something: what is addressed to others is then not for it.
    #[serde(default)]
    pub(super) has_asked: bool,
}

impl Identity {
    /// Reads who this site is; `None` when it never wrote a letter.
    ///
    /// # Errors
    /// When the file is damaged, or a later localml wrote it.
    pub(super) fn open(home: &Home) -> Result<Option<Self>> {
        let path = home.site();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(home, &error.to_string())),
            Ok(text) => text,
        };
        let identity: Self = toml::from_str(&text).map_err(|error| unreadable(home, error.message()))?;
        match identity.format > FORMAT {
            true => Err(unreadable(home, &format!("it has format {}", identity.format))),
            false => Ok(Some(identity)),
        }
    }

    /// Reads who this site is, and decides it at the first time. The caller holds the home's lock.
    ///
    /// # Errors
    /// As `open`, and when the file cannot be written.
    pub(super) fn open_or_draw(home: &Home) -> Result<Self> {
        if let Some(identity) = Self::open(home)? {
            return Ok(identity);
        }
        let random = getrandom::u32().map_err(|error| {
            Error::new(ErrorKind::Failed, format!("the system has no randomness: {error}"))
        })?;
        let id = SiteId::from_bytes(random.to_be_bytes());
        let drawn = Self { format: FORMAT, id, label: None, next_number: 1, has_asked: false };
        drawn.write(home)?;
        Ok(drawn)
    }

    /// Gives the site a label.
    ///
    /// # Errors
    /// When it is empty, too long or has control characters; when the file cannot be written.
    pub(super) fn call(&mut self, home: &Home, label: &str) -> Result<()> {
        let label = label.trim();
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || label.chars().any(char::is_control) {
            let message = "a site's name has 1 to 100 bytes and no control characters";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.label = Some(label.to_owned());
        self.write(home)
    }

    /// Takes the next number for a request, and remembers that one was made.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn ask(&mut self, home: &Home, least: u64) -> Result<u64> {
        self.has_asked = true;
        self.take_number(home, least)
    }

    /// Takes the next letter's number, at least `least`. It is used up even when the letter is never written.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn take_number(&mut self, home: &Home, least: u64) -> Result<u64> {
        let number = self.next_number.max(least);
        self.next_number = number + 1;
        self.write(home)?;
        Ok(number)
    }

    fn write(&self, home: &Home) -> Result<()> {
        let text = toml::to_string(self).unwrap_or_default();
        Ok(disk::write_atomic(&home.site(), text.as_bytes())?)
    }
}

fn unreadable(home: &Home, reason: &str) -> Error {
    let message =
        format!("`{}`, which says who this site is, cannot be read: {reason}", home.site().display());
    Error::new(ErrorKind::Damaged, message)
        .with_hint("move it away by hand; this site then gets a new id, and `--name` gives it its name again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_drawn_once_and_numbers_only_rise() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let home = Home::at(folder.path());
        assert_eq!(Identity::open(&home).expect("nothing yet"), None);
        let mut first = Identity::open_or_draw(&home).expect("room");
        assert_eq!(first.take_number(&home, 0).expect("room"), 1);
        first.call(&home, " clinic ").expect("a label");
        assert!(first.call(&home, "a\u{1b}b").is_err());
        let mut again = Identity::open_or_draw(&home).expect("there");
        assert_eq!((&again.id, again.label.as_deref()), (&first.id, Some("clinic")));
        // A stick shows a letter 7 of this site: the home was restored from an older copy.
        assert_eq!(again.take_number(&home, 8).expect("room"), 8);
        assert_eq!(again.take_number(&home, 0).expect("room"), 9);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let home = Home::at(folder.path());
        fs::write(home.site(), "format = 1\nid = \"xyz\"").expect("room");
        let error = Identity::open_or_draw(&home).expect_err("damaged");
        assert!(error.to_string().contains("site.toml"), "{error}");
        fs::write(home.site(), "format = 2\nid = \"0A1B2C3D\"\nnext_number = 3\n").expect("room");
        assert!(Identity::open(&home).expect_err("newer").to_string().contains("format 2"));
    }
}
