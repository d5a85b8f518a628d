//! The one test binary, so that llama.cpp and tantivy are linked once. One module a subject.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly, and say what they skip"
)]

mod support;

mod adding;
mod adopting;
#[cfg(all(feature = "engine", feature = "index"))]
mod ask;
mod cafe;
mod cafe_kills;
mod catalog;
mod clocks;
mod command_line;
mod copied_homes;
mod costs;
mod couriers;
mod cut_sticks;
mod damaged;
mod damaged_records;
#[cfg(feature = "onnx")]
mod embedding;
#[cfg(feature = "engine")]
mod engine;
mod fault_rules;
mod faults;
mod faults_media;
mod faults_rework;
mod fetch_kills;
mod fetch_power;
mod fuzzing;
mod garbage;
mod hostile;
mod house_plan;
#[cfg(feature = "index")]
mod index_access;
mod keeping;
mod kills;
mod kits;
#[cfg(feature = "index")]
mod knowledge;
mod large_catalog;
mod lines;
mod loose;
mod loose_troubles;
mod lost_stick;
#[cfg(all(feature = "index", any(feature = "onnx", feature = "engine")))]
mod meaning;
mod newcomer;
mod pace;
mod plans;
mod progress;
mod publish;
#[cfg(feature = "index")]
mod questions;
mod readme;
mod refreshing;
mod repair_drill;
mod repairs;
mod requests;
mod revocation;
mod rotation;
mod runtime;
mod samples;
mod secure_lines;
mod set_samples;
mod sets;
mod sites;
mod small_files;
mod stick;
mod supply;
mod sync_rules;
mod transfer;
mod transfer_lanes;
mod transfer_limits;
mod transfer_resume;
mod transfer_sources;
mod trust;
mod two_sticks;
mod upgrades;
mod verifying;
mod volumes;
