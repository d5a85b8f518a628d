//! Package descriptions that are trusted: the signed index, its verification, choosing a version.
