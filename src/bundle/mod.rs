//! The stick's format: layout, volumes, commit record, writer and reader.
