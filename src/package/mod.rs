//! The plain vocabulary of the supply wing: what a package is called, what it is made of. No I/O.

mod kind;
mod manifest;
mod name;
mod path;
mod pieces;
mod profile;
mod reference;

pub use kind::Kind;
pub use manifest::{Embedding, FileEntry, InvalidManifest, Manifest, PackageHead, Pooling, Variant};
pub use name::{InvalidName, Name, VariantId};
pub use path::{InvalidPath, RelativePath};
pub use pieces::{InvalidPieceList, MAX_PIECE_BYTES, Piece, PieceList};
pub use profile::{Profile, ProfileRegistry, Roles};
pub use reference::{InvalidReference, PackageRef};
pub use semver::Version;
