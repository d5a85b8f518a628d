//! Reads files into text with source spans, and cuts the text into passages.
