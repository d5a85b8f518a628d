//! Bytes from the network: one verified file at a time, resumed where it stopped.
