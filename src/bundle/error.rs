//! What can go wrong with a stick.

use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk::DiskError;
use crate::error::{ErrorKind, Explain};

/// A stick or a bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file or folder could not be touched.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no `LOCALML` folder.
    #[error("`{}` carries no bundles: there is no `LOCALML` folder in it", folder.display())]
    NotAStick {
        /// The folder that was named.
        folder: PathBuf,
    },
    /// A link, a device or a folder stands where a plain file or folder belongs.
    #[error("`{}` is not a plain {expected}; it is left alone", path.display())]
    NotPlain {
        /// What was looked at.
        path: PathBuf,
        /// `file` or `folder`.
        expected: &'static str,
    },
    /// A file has a format that only a later localml reads.
    #[error("`{file}` has format {found}, and this localml reads formats up to {known}")]
    NewerFormat {
        /// The file, relative to `LOCALML`.
        file: String,
        /// The format it has.
        found: String,
        /// The newest format known here.
        known: &'static str,
    },
    /// A request or receipt has a format that only a later localml reads.
    #[error("`{file}` has format {found}, and this localml reads formats up to {known}")]
    NewerLetter {
        /// The file.
        file: String,
        /// The format it has.
        found: String,
        /// The newest format known here.
        known: &'static str,
    },
    /// A request or receipt is not what it should be.
    #[error("the letter `{file}` is damaged or was not written by localml: {reason}")]
    DamagedLetter {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A request or receipt would be one that no reader accepts.
    #[error("no letter can be written to `{folder}`: {reason}")]
    LetterTooLong {
        /// The folder, relative to `LOCALML`.
        folder: &'static str,
        /// What there is too much of.
        reason: &'static str,
    },
    /// A file of the stick is not what it should be.
    #[error("`{file}` is damaged or was not written by localml: {reason}")]
    Damaged {
        /// The file, relative to `LOCALML`.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The files that let a site verify a stick are not what they should be.
    #[error("`{file}`, which says whom to trust, is damaged: {reason}")]
    DamagedTrust {
        /// The file, relative to `LOCALML`.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was written does not read back.
    #[error("`{file}` does not read back as it was written")]
    ReadBack {
        /// The file, relative to `LOCALML`.
        file: String,
    },
    /// A blob on this machine is not what its name says.
    #[error("blob {digest} is damaged on this machine (`{}`): {reason}", path.display())]
    BlobDamaged {
        /// The blob.
        digest: Sha256,
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of localml itself cannot lie on a stick.
    #[error("`{file}` cannot lie on a stick: {reason}")]
    NoPlace {
        /// The file, relative to `LOCALML`.
        file: String,
        /// Why not.
        reason: &'static str,
    },
    /// No reader would accept what would be written.
    #[error("this cannot be exported in one bundle: {reason}")]
    Unreadable {
        /// What is too much of it.
        reason: String,
    },
    /// The room that was given is too little for even one volume.
    #[error("`{}` may take {room_bytes} bytes, and the next volume needs {needed_bytes}", folder.display())]
    LittleRoom {
        /// The stick.
        folder: PathBuf,
        /// How much it may take.
        room_bytes: u64,
        /// What the next volume needs, with the small files beside it.
        needed_bytes: u64,
    },
    /// Parity volumes cannot be made, or cannot be used.
    #[error("there can be no parity: {reason}")]
    Parity {
        /// Why.
        reason: String,
    },
    /// There is not enough free space.
    #[error("`{}` has {free_bytes} bytes free, and {needed_bytes} bytes are needed", folder.display())]
    NoRoom {
        /// The folder that should hold the bytes.
        folder: PathBuf,
        /// How many bytes it should hold, with some slack for its clusters.
        needed_bytes: u64,
        /// How many it can take.
        free_bytes: u64,
    },
    /// The volume size cannot work.
    #[error(
        "a volume of {asked_bytes} bytes cannot work; the limits are {least_bytes} and {most_bytes} bytes"
    )]
    VolumeSize {
        /// What was asked for.
        asked_bytes: u64,
        /// The least that holds the largest piece.
        least_bytes: u64,
        /// The most that FAT32 can hold.
        most_bytes: u64,
    },
    /// Something would be larger than its limit.
    #[error("{what} would be more than {limit}; export fewer packages at once")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// The user asked to stop.
    #[error("stopped; what was verified so far is kept")]
    Cancelled,
}

/// The result of touching a stick.
pub type Result<T> = std::result::Result<T, BundleError>;

impl Explain for BundleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk(error) => error.kind(),
            Self::NotAStick { .. } => ErrorKind::NotFound,
            Self::NotPlain { .. }
            | Self::Damaged { .. }
            | Self::DamagedLetter { .. }
            | Self::ReadBack { .. }
            | Self::BlobDamaged { .. } => ErrorKind::Damaged,
            Self::NewerFormat { .. }
            | Self::NewerLetter { .. }
            | Self::LetterTooLong { .. }
            | Self::TooMany { .. }
            | Self::NoPlace { .. }
            | Self::Parity { .. }
            | Self::Unreadable { .. }
            | Self::Cancelled => ErrorKind::Failed,
            Self::DamagedTrust { .. } => ErrorKind::Untrusted,
            Self::NoRoom { .. } | Self::LittleRoom { .. } => ErrorKind::NoRoom,
            Self::VolumeSize { .. } => ErrorKind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::NotAStick { .. } => {
                Some("name the folder where the stick is mounted; `localml export DIR` makes one".into())
            }
            Self::NotPlain { .. } => Some("remove it from the stick by hand and try again".into()),
            Self::NewerFormat { .. } => Some("use the localml that wrote the stick, or a newer one".into()),
            Self::NewerLetter { .. } => Some("use the localml that wrote the letter, or a newer one".into()),
            Self::DamagedLetter { .. } => Some("ask the site for `localml request DIR` again".into()),
            Self::LetterTooLong { .. } => {
                Some("`localml gc` removes what no package needs; `localml remove PACKAGE` more".into())
            }
            Self::Damaged { .. } | Self::DamagedTrust { .. } => {
                Some("export to the stick again, or use another copy of it".into())
            }
            Self::ReadBack { .. } => {
                Some("the stick is failing or smaller than it claims; use another one".into())
            }
            Self::BlobDamaged { .. } => Some("run `localml verify` to see which packages need it".into()),
            Self::NoRoom { .. } => Some("free some space, or export fewer packages".into()),
            Self::VolumeSize { .. } => Some("leave `--volume-size` out for 1 GiB".into()),
            Self::Cancelled => Some("run the same command again; it continues where it stopped".into()),
            Self::NoPlace { .. } => {
                Some("leave `--runtime` out, or package localml with plainer names".into())
            }
            Self::LittleRoom { .. } => {
                Some("give it more with `--room`, or make smaller volumes with `--volume-size`".into())
            }
            Self::Unreadable { .. } => Some("export fewer packages at a time".into()),
            Self::TooMany { .. } | Self::Parity { .. } => {
                Some("export fewer packages at a time, or make larger volumes with `--volume-size`".into())
            }
        }
    }
}

/// Wraps what the system said about a path.
pub(super) fn io_error(path: &Path, source: std::io::Error) -> BundleError {
    DiskError::Io { path: path.to_owned(), source }.into()
}
