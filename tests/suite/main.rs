//! The one test binary, so that llama.cpp and tantivy are linked once. One module a subject.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly, and say what they skip"
)]

mod support;

mod command_line;
mod house_plan;
mod transfer;
