//! How long an export takes: speeds of earlier exports by stick, a short trial where there are none, and
//! what the stick must be like before the first byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bundle::{self, Speeds, Stick};
use crate::disk;
use crate::error::ErrorKind;
use crate::home::Home;
use crate::progress::{Monitor, Task, Unit};

use super::error::{Error, Result};
use super::site;

/// The format of `paces.json` that this program writes; another one is forgotten.
const FORMAT: u32 = 1;

/// Fewer bytes than this say nothing about a stick's speed.
const LEAST_BYTES: u64 = 4 * 1024 * 1024;

/// The most sticks that are remembered; the one measured longest ago is forgotten first.
const MAX_STICKS: usize = 200;

/// Where speeds come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaceSource {
    /// This export was timed.
    Measured,
    /// An earlier export to this stick was timed.
    Remembered,
    /// A small file was written and read back for it.
    Probed,
}

/// How fast a stick is, and how long so many bytes take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Where the speeds come from.
    pub source: PaceSource,
    /// Bytes a second that reach the medium.
    pub write_bytes_per_second: u64,
    /// Bytes a second that come back from it.
    pub read_bytes_per_second: u64,
    /// How long it takes to write the bytes and to read them back, in seconds.
    pub seconds: u64,
}

/// What the stick is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StickFacts {
    /// Its file system, where it is one that sticks have, for example `vfat`.
    pub file_system: Option<&'static str>,
    /// Its free room in bytes.
    pub free_bytes: u64,
}

/// Refuses what cannot be written to, before the first byte.
///
/// # Errors
/// When the stick is mounted read-only.
pub(super) fn look_at(stick: &Path) -> Result<StickFacts> {
    if disk::is_read_only(stick)? {
        let message = format!("`{}` is mounted read-only, so nothing can be written to it", stick.display());
        return Err(Error::new(ErrorKind::Failed, message).with_hint(
            "some sticks have a switch; a stick with errors is mounted so by the system: use another one",
        ));
    }
    Ok(StickFacts { file_system: disk::file_system(stick)?, free_bytes: disk::free_bytes(stick)? })
}

/// How long it will take by what is remembered of this stick; `None` where nothing is.
pub(super) fn remembered(home: &Home, stick: &Path, size_bytes: u64) -> Option<Pace> {
    let id = Stick::open(stick).ok().and_then(|stick| Some(stick.record()?.stick_id.clone()))?;
    let known = read(home).sticks.get(&id).copied()?;
    let speeds = Speeds {
        write_bytes_per_second: known.write_bytes_per_second,
        read_bytes_per_second: known.read_bytes_per_second,
    };
    Some(pace(PaceSource::Remembered, speeds, size_bytes))
}

/// How long it will take: by what is remembered of this stick, else by a short trial.
pub(super) fn expected(home: &Home, stick: &Path, size_bytes: u64, monitor: &dyn Monitor) -> Option<Pace> {
    if let Some(pace) = remembered(home, stick, size_bytes) {
        return Some(pace);
    }
    let mib = bundle::PROBE_BYTES >> 20;
    monitor.note(&format!(
        "trying how fast the stick is: up to {mib} MiB are written, read back and removed again"
    ));
    match bundle::probe(stick) {
        Ok(speeds) => speeds.map(|speeds| pace(PaceSource::Probed, speeds, size_bytes)),
        Err(error) => {
            monitor.warn(&format!("how fast the stick is could not be tried: {error}"));
            None
        }
    }
}

fn pace(source: PaceSource, speeds: Speeds, size_bytes: u64) -> Pace {
    let Speeds { write_bytes_per_second, read_bytes_per_second } = speeds;
    let seconds = |speed: u64| size_bytes.div_ceil(speed.max(1));
    Pace {
        source,
        write_bytes_per_second,
        read_bytes_per_second,
        seconds: seconds(write_bytes_per_second).saturating_add(seconds(read_bytes_per_second)),
    }
}

/// Times the parts of an export while another monitor hears them.
pub(super) struct Stopwatch<'a> {
    inner: &'a dyn Monitor,
    written: Mutex<(u64, Duration)>,
    read: Mutex<(u64, Duration)>,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn new(inner: &'a dyn Monitor) -> Self {
        Self { inner, written: Mutex::default(), read: Mutex::default() }
    }

    /// What was measured, when it was enough to say something; it is remembered for this stick.
    pub(super) fn remember(&self, home: &Home, stick: &Path) -> Option<Pace> {
        let of = |part: &Mutex<(u64, Duration)>| *part.lock().unwrap_or_else(PoisonError::into_inner);
        let ((written_bytes, writing), (read_bytes, reading)) = (of(&self.written), of(&self.read));
        if written_bytes.min(read_bytes) < LEAST_BYTES {
            return None;
        }
        let speeds = Speeds {
            write_bytes_per_second: bundle::per_second(written_bytes, writing),
            read_bytes_per_second: bundle::per_second(read_bytes, reading),
        };
        if let Some(record) = Stick::open(stick).ok().as_ref().and_then(Stick::record) {
            // Forgetting a speed costs a trial at the next plan, nothing else.
            let _ = keep(home, &record.stick_id, speeds);
        }
        let pace = pace(PaceSource::Measured, speeds, 0);
        Some(Pace { seconds: (writing + reading).as_secs(), ..pace })
    }
}

impl Monitor for Stopwatch<'_> {
    fn start(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task + '_> {
        let inner = self.inner.start(label, total, unit);
        let part = match label {
            "writing to the stick" => &self.written,
            "reading back" => &self.read,
            _ => return inner,
        };
        let own = Own { bytes: 0, time: Duration::ZERO, last: Instant::now(), is_counted: true };
        Box::new(Timed { inner, part, own: Mutex::new(own) })
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    fn warn(&self, text: &str) {
        self.inner.warn(text);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

struct Timed<'a> {
    inner: Box<dyn Task + 'a>,
    part: &'a Mutex<(u64, Duration)>,
    own: Mutex<Own>,
}

/// What one task took; the time of what was skipped is not counted.
struct Own {
    bytes: u64,
    time: Duration,
    /// When something was last heard, and whether what follows it counts.
    last: Instant,
    is_counted: bool,
}

impl Own {
    fn hear(&mut self, is_counted: bool) {
        if is_counted {
            self.time += self.last.elapsed();
        }
        (self.last, self.is_counted) = (Instant::now(), is_counted);
    }
}

impl Timed<'_> {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task for Timed<'_> {
    fn skip(&self, count: u64) {
        self.own().hear(false);
        self.inner.skip(count);
    }

    fn advance(&self, count: u64) {
        let mut own = self.own();
        own.hear(true);
        own.bytes += count;
        self.inner.advance(count);
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        // Bringing the last bytes to the medium belongs to writing them.
        let is_counted = self.own().is_counted;
        self.own().hear(is_counted);
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.own();
        *part = (part.0 + own.bytes, part.1 + own.time);
    }
}

/// `paces.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Paces {
    format: u32,
    sticks: BTreeMap<String, Remembered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    write_bytes_per_second: u64,
    read_bytes_per_second: u64,
    /// In seconds since 1970, by this machine's clock.
    measured_at: u64,
}

/// What cannot be read is forgotten: it only saves a trial.
fn read(home: &Home) -> Paces {
    let bytes = std::fs::read(home.paces()).unwrap_or_default();
    let paces: Paces = serde_json::from_slice(&bytes).unwrap_or_default();
    if paces.format == FORMAT { paces } else { Paces { format: FORMAT, ..Paces::default() } }
}

fn keep(home: &Home, stick_id: &str, speeds: Speeds) -> Result<()> {
    let mut paces = read(home);
    let Speeds { write_bytes_per_second, read_bytes_per_second } = speeds;
    let remembered = Remembered { write_bytes_per_second, read_bytes_per_second, measured_at: site::now() };
    paces.sticks.insert(stick_id.to_owned(), remembered);
    while paces.sticks.len() > MAX_STICKS {
        let oldest = paces.sticks.iter().min_by_key(|(_, it)| it.measured_at).map(|(id, _)| id.clone());
        let Some(oldest) = oldest else { break };
        paces.sticks.remove(&oldest);
    }
    let bytes = serde_json::to_vec_pretty(&paces)
        .map_err(|error| Error::new(ErrorKind::Failed, error.to_string()))?;
    Ok(disk::write_atomic(&home.paces(), &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn time_is_that_of_writing_and_of_reading_back() {
        let speeds = Speeds { write_bytes_per_second: 2_000_000, read_bytes_per_second: 10_000_000 };
        // 1 GB: 500 s to write, 100 s to read back.
        assert_eq!(pace(PaceSource::Probed, speeds, 1_000_000_000).seconds, 600);
    }

    #[test]
    fn only_the_longest_unused_stick_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().to_owned());
        let speeds = Speeds { write_bytes_per_second: 1, read_bytes_per_second: 2 };
        let sticks = (0..MAX_STICKS).map(|count| (format!("{count:08x}"), count as u64));
        let sticks = sticks.map(|(id, measured_at)| {
            (id, Remembered { write_bytes_per_second: 1, read_bytes_per_second: 2, measured_at })
        });
        let paces = Paces { format: FORMAT, sticks: sticks.collect() };
        disk::write_atomic(&home.paces(), &serde_json::to_vec(&paces).expect("plain")).expect("room");
        keep(&home, "ffffffff", speeds).expect("room");
        let kept = read(&home).sticks;
        assert_eq!(kept.len(), MAX_STICKS);
        assert!(kept.contains_key("ffffffff") && !kept.contains_key("00000000"));
        std::fs::write(home.paces(), "torn").expect("room");
        assert!(read(&home).sticks.is_empty());
    }

    #[test]
    fn a_stopwatch_counts_only_what_goes_to_the_stick() {
        let watch = Stopwatch::new(&Silent);
        watch.start("reading the stick", None, Unit::Bytes).advance(9);
        watch.start("writing to the stick", None, Unit::Bytes).advance(5);
        watch.start("writing to the stick", None, Unit::Bytes).advance(2);
        assert_eq!((watch.written.lock().unwrap().0, watch.read.lock().unwrap().0), (7, 0));
    }

    #[test]
    fn what_lay_there_already_was_not_written_and_took_no_time() {
        let watch = Stopwatch::new(&Silent);
        let task = watch.start("writing to the stick", None, Unit::Bytes);
        std::thread::sleep(Duration::from_millis(30));
        task.skip(1_000_000);
        let before = Instant::now();
        task.advance(10);
        drop(task);
        let (bytes, time) = *watch.written.lock().unwrap();
        assert_eq!(bytes, 10);
        assert!(time <= before.elapsed() + Duration::from_millis(5), "{time:?}");
    }
}
