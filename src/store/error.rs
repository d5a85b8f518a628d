//! What can go wrong in the store.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::disk::DiskError;
use crate::error::{ErrorKind, Explain};
use crate::package::{InvalidPieceList, Name};

/// The result of using the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk did not do its part.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were to enter are not those that were promised.
    #[error("`{}` has sha256 {found}, promised was {promised}", path.display())]
    WrongDigest {
        /// The staged file; it stays where it is.
        path: PathBuf,
        /// What its bytes hash to.
        found: Sha256,
        /// What the manifest says.
        promised: Sha256,
    },
    /// A record cannot be read.
    #[error("the record of {kind}, `{}`, is damaged: {source}", path.display())]
    DamagedRecord {
        /// The record's file.
        path: PathBuf,
        /// What it is the record of.
        kind: RecordKind,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record was written by a later localml.
    #[error("`{}` was written by a later localml (record format {format})", path.display())]
    LaterRecord {
        /// The record's file.
        path: PathBuf,
        /// Its format number.
        format: u32,
    },
    /// A piece list differs from its name.
    #[error("the piece list {digest} is damaged")]
    DamagedPieceList {
        /// The list's name.
        digest: Sha256,
        /// What is wrong with its text, when the digest was right.
        #[source]
        source: Option<InvalidPieceList>,
    },
    /// No package of this name is installed.
    #[error("`{name}` is not installed")]
    NotInstalled {
        /// The name asked for.
        name: Name,
    },
    /// A package cannot be recorded before all its bytes are here.
    #[error("`{name}` is not complete: blob {digest} is not in the store")]
    MissingBlob {
        /// The package.
        name: Name,
        /// The blob that is not here.
        digest: Sha256,
    },
}

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A package that is installed.
    Installed,
    /// A package whose bytes are kept to be carried on.
    Fetched,
    /// The version that an installed package had before.
    Previous,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Installed => "an installed package",
            Self::Fetched => "a fetched package",
            Self::Previous => "a version before",
        })
    }
}

impl RecordKind {
    /// What makes good that a record of this kind is lost.
    fn way_out(self, path: &Path) -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let (name, path) = (stem.split('@').next().unwrap_or_default(), path.display());
        match self {
            Self::Installed => format!(
                "its blobs are untouched; `localml install {name}`, `localml import DIR {name}` or, where it was \
                 adopted, `localml adopt FILE --name {name} --replace` writes it anew; `localml remove {name}` \
                 forgets it"
            ),
            Self::Fetched => {
                format!("its blobs are untouched; delete `{path}`, and `localml fetch {name}` writes it anew")
            }
            Self::Previous => format!(
                "only the way back to that version is lost; delete `{path}`, and `localml gc` frees what it alone \
                 needed"
            ),
        }
    }
}

impl Explain for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk(error) => error.kind(),
            Self::WrongDigest { .. } | Self::DamagedRecord { .. } | Self::DamagedPieceList { .. } => {
                ErrorKind::Damaged
            }
            Self::LaterRecord { .. } => ErrorKind::Failed,
            Self::NotInstalled { .. } => ErrorKind::NotFound,
            Self::MissingBlob { .. } => ErrorKind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::WrongDigest { .. } => Some("nothing was installed; fetch or import it again".into()),
            Self::DamagedRecord { path, kind, .. } => Some(kind.way_out(path)),
            Self::LaterRecord { .. } => Some("use the newer localml".into()),
            Self::DamagedPieceList { .. } => Some("`localml verify` still checks the whole file".into()),
            Self::NotInstalled { .. } => Some("`localml list` shows what is installed".into()),
            Self::MissingBlob { name, .. } => Some(format!("`localml install {name}` fetches it")),
        }
    }
}
