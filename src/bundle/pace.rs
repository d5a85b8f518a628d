//! How fast a stick is: a small file is written, brought to the medium, read back past the page cache and
//! removed again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{self, StagingFile};

use super::error::Result;
use super::layout::ROOT;
use super::stick::{Stick, is_folder};

/// The file's name; an export removes it where a probe that was killed left it.
pub(super) const PROBE: &str = "PROBE.TMP";

/// The most bytes that a probe writes.
pub const PROBE_BYTES: u64 = 16 * 1024 * 1024;

/// The first step, in bytes; each later one is as long as all before it, while there is time for it.
const FIRST_BYTES: usize = 256 * 1024;

/// How long writing, and then reading, may take: both together less than 5 s.
const LONGEST: Duration = Duration::from_millis(2200);

/// Room that must remain beside the probe's file, in bytes.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// How fast a stick was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speeds {
    /// Bytes a second that reached the medium.
    pub write_bytes_per_second: u64,
    /// Bytes a second that came back from it.
    pub read_bytes_per_second: u64,
}

/// Tries how fast the stick at `folder` is; `None` when it has no room for that. It leaves nothing behind.
///
/// # Errors
/// When the stick cannot be written or read.
pub fn probe(folder: &Path) -> Result<Option<Speeds>> {
    if disk::free_bytes(folder)? < PROBE_BYTES + SPARE_BYTES {
        return Ok(None);
    }
    let is_new = !folder.ends_with(ROOT) && !is_folder(&folder.join(ROOT))?;
    let root = Stick::create(folder)?.root().to_owned();
    let speeds = try_out(&root.join(PROBE));
    disk::remove_file(&root.join(PROBE))?;
    if is_new {
        disk::remove_empty_dir(&root)?;
    }
    speeds.map(Some)
}

/// Removes what a probe that was killed left behind.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_probe(stick: &Stick) -> Result<()> {
    Ok(disk::remove_file(&stick.root().join(PROBE))?)
}

fn try_out(path: &Path) -> Result<Speeds> {
    disk::remove_file(path)?;
    let file = StagingFile::open(path)?;
    let bytes = noise(PROBE_BYTES as usize);
    let write_bytes_per_second = pace(&bytes, |step, at| {
        file.write_at(step, at)?;
        Ok(file.sync()?)
    })?;
    disk::drop_cached_pages(file.file());
    let written_bytes = usize::try_from(file.size_bytes()?).unwrap_or(0);
    let mut buffer = Vec::new();
    let read_bytes_per_second = pace(&bytes[..written_bytes], |step, at| {
        buffer.resize(step.len(), 0);
        file.read_at(&mut buffer, at)?;
        Ok(())
    })?;
    Ok(Speeds { write_bytes_per_second, read_bytes_per_second })
}

/// Works through `bytes` in steps that double, as long as the next one is likely to end in time.
fn pace(bytes: &[u8], mut work: impl FnMut(&[u8], u64) -> Result<()>) -> Result<u64> {
    let started = Instant::now();
    let mut done = 0;
    while done < bytes.len() {
        let step = done.max(FIRST_BYTES).min(bytes.len() - done);
        // The next step is as long as all before it.
        if done > 0 && started.elapsed() * 2 > LONGEST {
            break;
        }
        work(&bytes[done..done + step], done as u64)?;
        done += step;
    }
    Ok(per_second(done as u64, started.elapsed()))
}

/// Bytes a second; at least 1.
pub fn per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX).max(1)
}

/// Bytes that no stick compresses (xorshift, Marsaglia 2003).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("letter.txt"), "mine").unwrap();
        let speeds = probe(folder.path()).unwrap().expect("room");
        assert!(speeds.write_bytes_per_second > 0 && speeds.read_bytes_per_second > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let root = folder.path().join(ROOT);
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join(PROBE), "left by a kill").unwrap();
        probe(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 0, "a stick's own folder stays");
    }

    #[test]
    fn a_slow_stick_ends_the_probe_early() {
        let bytes = vec![0; 8 * FIRST_BYTES];
        let mut num_steps = 0;
        let speed = pace(&bytes, |_, _| {
            num_steps += 1;
            std::thread::sleep(LONGEST / 2 + Duration::from_millis(1));
            Ok(())
        });
        assert_eq!(num_steps, 1, "a second step would not end in time");
        assert!(speed.unwrap() < 8 * FIRST_BYTES as u64);
    }

    #[test]
    fn bytes_a_second_are_whole_and_never_none() {
        // 3 MB in 1.5 s.
        assert_eq!(per_second(3_000_000, Duration::from_millis(1500)), 2_000_000);
        assert_eq!(per_second(0, Duration::from_secs(1)), 1);
    }
}
