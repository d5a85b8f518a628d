//! The publisher's side: a root and keys, files generated from manifests, signatures.

mod build;
mod draft;
mod root;
mod sign;

pub use build::{BuildOptions, Built, Inspect, build, check};
pub use root::{Initialised, init, rotate};
pub use sign::{SignOptions, Signed, sign};
