//! What tests share: a sandboxed home, the real program, a loopback registry, tiny models.
