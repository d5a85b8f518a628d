//! GGUF read in safe Rust: header, metadata, tensors and their extents, before any C code sees the file.

mod shape;

pub use shape::Shape;
