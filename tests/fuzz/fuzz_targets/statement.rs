//! The target `statement` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "each of the targets uses its part of the shared file")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::statement(bytes));
