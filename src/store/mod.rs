//! The blobs on this machine, the list of installed packages, and what may be removed.
