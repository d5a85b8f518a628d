//! `file:` sources: a folder, a mounted stick, another disk.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::{Result, TransferError, shown};
use super::judge::Failure;
use super::reply::{Ask, Body, Chunk, Head, Next, Reply};
use crate::disk::DiskError;

/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// The rest of a local file.
pub(super) struct LocalBody {
    file: File,
    path: PathBuf,
    left_bytes: u64,
}

/// Opens a `file:` address and answers as a server would.
pub(super) fn open(ask: &Ask) -> Result<Reply> {
    let path = ask.url.to_file_path().map_err(|()| TransferError::Scheme { address: shown(&ask.url) })?;
    let mut file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(ask),
        _ => on(&path, error),
    })?;
    let metadata = file.metadata().map_err(|error| on(&path, error))?;
    if !metadata.is_file() {
        return Err(missing(ask));
    }
    let size_bytes = metadata.len();
    let end = ask.end.unwrap_or(size_bytes).min(size_bytes);
    let start = ask.start.min(end);
    file.seek(SeekFrom::Start(start)).map_err(|error| on(&path, error))?;
    let head = Head {
        status: if ask.is_whole() { 200 } else { 206 },
        length: Some(end - start),
        range: (!ask.is_whole()).then_some((start, end, Some(size_bytes))),
        ..Head::default()
    };
    Ok(Reply { head, body: Body::Local(LocalBody { file, path, left_bytes: end - start }) })
}

impl LocalBody {
    pub(super) fn next(&mut self) -> Next {
        let want = self.left_bytes.min(BUFFER_BYTES as u64) as usize;
        if want == 0 {
            return Next::End;
        }
        let mut buffer = vec![0; want];
        match self.file.read(&mut buffer) {
            Ok(0) => Next::End,
            Ok(count) => {
                buffer.truncate(count);
                self.left_bytes -= count as u64;
                Next::Chunk(Chunk::new(Bytes::from(buffer), None))
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Next::Waiting,
            Err(error) => Next::Failed(Failure::leave(on(&self.path, error))),
        }
    }
}

fn missing(ask: &Ask) -> TransferError {
    TransferError::Missing { address: shown(&ask.url), status: None }
}

fn on(path: &Path, source: std::io::Error) -> TransferError {
    TransferError::Disk(DiskError::Io { path: path.to_owned(), source })
}
