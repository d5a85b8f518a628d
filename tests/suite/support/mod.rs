//! What tests share: a sandboxed home, the real program, a loopback registry, tiny models.

#[allow(dead_code, reason = "each subject needs some of its faults, none all of them")]
pub(crate) mod http_server;
