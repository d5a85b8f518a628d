//! GGUF read in safe Rust: header, metadata, tensors and their extents, before any C code sees the file.
//!
//! ```text
//! "GGUF" | version u32 | num_tensors u64 | num_metadata u64
//! num_metadata × (key: string | kind u32 | value)            string = length u64 | bytes
//! num_tensors  × (name: string | num_dimensions u32 | dimensions u64… | type u32 | offset u64)
//! padding to the alignment | tensor data, each tensor at data start + offset, aligned
//! ```
//!
//! All numbers are little-endian. Source: `docs/gguf.md` in the ggml repository.
//! Also here: telling what a file is that claims to be a model, and whether an ONNX file is whole.

mod cursor;
mod error;
mod header;
mod onnx;
mod shape;
mod sniff;
mod tensor;
mod tensor_type;
mod value;

pub use error::{GgufError, Result};
pub use header::Header;
pub use onnx::check_onnx;
pub use shape::Shape;
pub use sniff::{FileKind, check_model_file, sniff};
pub use tensor::TensorInfo;
pub use value::{Value, ValueKind};
