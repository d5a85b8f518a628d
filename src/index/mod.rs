//! The files of one collection's index: passages, words, vectors, and the head that names the embedder.
