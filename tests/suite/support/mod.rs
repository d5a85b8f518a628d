//! What tests share: a sandboxed home, the real program, a loopback registry, tiny models.
#![allow(dead_code, reason = "each subject needs some of it, none all of it")]

pub(crate) mod cafe;
pub(crate) mod damage;
pub(crate) mod documents;
pub(crate) mod drill;
pub(crate) mod fault_drive;
pub(crate) mod fault_fs;
pub(crate) mod fault_medium;
mod fault_power;
pub(crate) mod fault_scene;
pub(crate) mod http_server;
pub(crate) mod mutation;
pub(crate) mod noise;
pub(crate) mod publisher;
pub(crate) mod registry_desk;
pub(crate) mod sandbox;
pub(crate) mod skipped;
pub(crate) mod starter;
pub(crate) mod stick;
pub(crate) mod stick_set;
pub(crate) mod stops;
pub(crate) mod tarball;
pub(crate) mod tiny_gguf;
pub(crate) mod tls_front;
