//! llama.cpp in a child process: model memory, sampling, token streaming. Takes paths, knows no packages.
