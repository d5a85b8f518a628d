//! From a question to ranked passages: the query plan and the fusion of two ranked lists.
