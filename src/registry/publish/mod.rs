//! The publisher's side: a root and keys, files generated from manifests, signatures.

mod build;
mod draft;
mod root;
mod rotate;
mod sign;
mod unchanged;

pub use build::{BuildOptions, Built, Inspect, build, check};
pub use root::{Initialised, Quorum, init};
pub use rotate::{Replaced, RotateOptions, Rotated, rotate};
pub use sign::{SignOptions, Signed, sign};
