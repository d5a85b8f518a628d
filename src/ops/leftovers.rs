//! Judging what lies in a home and no record needs: what goes, what waits for its other half, and why.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::Sha256;
use crate::home::Home;
use crate::package::{FileEntry, Variant};
use crate::registry::{self, Calendar};
use crate::store::{Installed, Store, Unneeded, UnneededKind, is_left_over};

use super::bytes_here::bytes_here;
use super::error::Result;
use super::gc::{GcItem, GcKind, GcOptions};
use super::indexes;

/// Something that no package needs, and how it is removed.
pub(super) struct Leftover {
    pub(super) item: GcItem,
    /// The files and folders that go, in this order.
    pub(super) paths: Vec<PathBuf>,
    /// The older version that is forgotten.
    pub(super) record: Option<Installed>,
}

const IS_PARTIAL: &str = "not complete yet; kept until `--partial` or `--older-than` is given";
const IS_WAITING: &str =
    "whole; `localml install` takes it into use; kept until `--partial` or `--older-than` is given";
const IS_UNKNOWN: &str = "no list here names it: it may wait for the rest of a package that comes by stick; kept until `--partial` or \
     `--older-than` is given";
const WAS_PARTIAL: &str = "not complete; the next try begins anew";
const MAY_BE_NEEDED: &str =
    "a version before, whose record is damaged, may need it; kept until that record is gone";
const IS_HERE: &str = "the whole file is here";
pub(super) const MAY_REPAIR: &str = "`localml repair` or `localml import` may go on with it; kept until `--partial` or `--older-than` is given";

/// Looks through the store and the staging folders. Versions that are kept for a way back are not among it.
///
/// # Errors
/// When a record or an index is damaged.
pub(super) fn look_for(
    home: &Home,
    store: &Store,
    options: &GcOptions,
    calendar: Calendar,
) -> Result<Vec<Leftover>> {
    let unneeded = store.unneeded()?;
    let staged = Staged::in_folders(&[home.staging(), home.stick_staging()]);
    let known = Known::of(home, store, &unneeded, &staged)?;
    let may_be_needed = !options.drops_previous && !store.damaged_previous().is_empty();
    let judge = Judge { home, store, options, known, calendar, may_be_needed };
    let lists_in_use = judge.lists_in_use();
    let mut found: Vec<Leftover> =
        unneeded.iter().filter_map(|unneeded| judge.in_store(unneeded, &lists_in_use)).collect();
    found.iter_mut().for_each(|left| judge.keep_what_may_be_needed(left));
    found.extend(staged.blobs.iter().map(|(digest, paths)| judge.partial(digest, paths)));
    found.extend(staged.suspects.iter().map(|(digest, path)| judge.suspect(digest, path)));
    found.extend(staged.parity.iter().map(|path| judge.parity(path)));
    let arriving = registry::arriving(&home.registries());
    found.extend(arriving.into_iter().map(|it| judge.waiting_paths(GcKind::Partial, vec![it], IS_PARTIAL)));
    let cut_off = "left by a command that was cut off";
    found.extend(
        staged
            .rest
            .iter()
            .map(|path| judge.leftover(GcKind::Temporary, vec![path.clone()], None, (cut_off, true))),
    );
    Ok(found)
}

/// What lies in the staging folders.
#[derive(Default)]
struct Staged {
    /// The part of a blob, and what lies beside it.
    blobs: BTreeMap<(Sha256, PathBuf), Vec<PathBuf>>,
    suspects: Vec<(Sha256, PathBuf)>,
    parity: Vec<PathBuf>,
    /// What belongs to nothing.
    rest: Vec<PathBuf>,
}

impl Staged {
    fn in_folders(folders: &[PathBuf]) -> Self {
        let mut staged = Self::default();
        for folder in folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    staged.take(folder, entry.path());
                }
            }
        }
        // A journal, a lock or a list without its part.
        let is_alone = |paths: &Vec<PathBuf>| !paths.iter().any(|path| has_ending(path, "part"));
        let alone: Vec<_> = staged.blobs.extract_if(.., |_, paths| is_alone(paths)).collect();
        staged.rest.extend(alone.into_iter().flat_map(|(_, paths)| paths));
        for paths in staged.blobs.values_mut() {
            // The part first: what lies beside it means nothing without it.
            paths.sort_by_key(|path| (!has_ending(path, "part"), path.clone()));
        }
        staged
    }

    fn take(&mut self, folder: &Path, path: PathBuf) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        match (stem.parse::<Sha256>(), ending) {
            (Ok(digest), "part" | "journal" | "lock" | "pieces") => {
                self.blobs.entry((digest, folder.to_owned())).or_default().push(path);
            }
            (Ok(digest), "suspect") => self.suspects.push((digest, path)),
            (Err(_), "part") if stem.starts_with("PARITY-") => self.parity.push(path),
            (Err(_), "part") if stem.starts_with("adopt-") || stem.starts_with("loose-") => {
                self.rest.push(path)
            }
            _ if is_left_over(&path) => self.rest.push(path),
            // Whatever else lies here is not ours to judge.
            _ => {}
        }
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// What is known of the blobs in question.
struct Known {
    /// Which package has it, from the records and the indexes.
    packages: HashMap<Sha256, Named>,
}

/// A package that has a blob.
struct Named {
    package: String,
    file: FileEntry,
    /// False when only a version has it that is older than what is here.
    is_wanted: bool,
    /// True when a record here needs it.
    is_in_use: bool,
    /// True when every other file of that build is here too.
    is_whole: bool,
}

impl Known {
    fn of(home: &Home, store: &Store, unneeded: &[Unneeded], staged: &Staged) -> Result<Self> {
        let in_store = unneeded.iter().filter_map(|unneeded| match unneeded.what {
            UnneededKind::Blob(digest) | UnneededKind::Damaged { digest, .. } => Some(digest),
            _ => None,
        });
        let suspects = staged.suspects.iter().map(|(digest, _)| *digest);
        let asked: HashSet<Sha256> =
            in_store.chain(staged.blobs.keys().map(|(digest, _)| *digest)).chain(suspects).collect();
        let records = [store.installed()?, store.fetched()?, store.previous()?].concat();
        let mut packages = HashMap::new();
        for record in &records {
            let head = &record.manifest.package;
            for file in record.files().iter().filter(|file| asked.contains(&file.sha256)) {
                let package = format!("{}@{}:{}", head.name, head.version, record.variant);
                let (sha256, file) = (file.sha256, file.clone());
                let named = Named { package, file, is_wanted: true, is_in_use: true, is_whole: false };
                packages.insert(sha256, named);
            }
        }
        if asked.is_empty() {
            return Ok(Self { packages });
        }
        for index in indexes::load(home)? {
            for manifest in index.manifests() {
                let head = &manifest.package;
                let is_older = |record: &&Installed| {
                    record.name() == &head.name && record.manifest.package.version > head.version
                };
                for variant in &manifest.variants {
                    for file in variant.files.iter().filter(|file| asked.contains(&file.sha256)) {
                        let is_wanted = !records.iter().any(|record| is_older(&record));
                        let package = format!("{}@{}:{}", head.name, head.version, variant.id);
                        let is_whole = is_wanted && is_here(store, variant);
                        let is_in_use = packages.get(&file.sha256).is_some_and(|known| known.is_in_use);
                        let named = Named { package, file: file.clone(), is_wanted, is_in_use, is_whole };
                        match packages.get_mut(&file.sha256) {
                            // What waits to be installed is news; what else has the file is not.
                            Some(known) if known.is_whole || !is_whole => known.is_wanted |= is_wanted,
                            _ => drop(packages.insert(file.sha256, named)),
                        }
                    }
                }
            }
        }
        Ok(Self { packages })
    }
}

/// True when every file of a build lies here.
fn is_here(store: &Store, variant: &Variant) -> bool {
    variant.files.iter().all(|file| store.blob_path(&file.sha256, file.size_bytes).is_some())
}

struct Judge<'a> {
    home: &'a Home,
    store: &'a Store,
    options: &'a GcOptions,
    known: Known,
    calendar: Calendar,
    /// True when a version before may need what no record names: its own record is damaged.
    may_be_needed: bool,
}

impl Judge<'_> {
    /// The piece lists of what waits for its other half.
    fn lists_in_use(&self) -> HashSet<Sha256> {
        self.known
            .packages
            .values()
            .filter(|named| named.is_wanted)
            .filter_map(|named| named.file.pieces)
            .collect()
    }

    /// Of what a damaged record spoke nobody knows: nothing of a package goes before that record does.
    fn keep_what_may_be_needed(&self, left: &mut Leftover) {
        if self.may_be_needed && left.item.what != GcKind::Temporary && left.item.goes {
            (left.item.goes, left.item.reason) = (false, MAY_BE_NEEDED);
        }
    }

    fn in_store(&self, unneeded: &Unneeded, lists_in_use: &HashSet<Sha256>) -> Option<Leftover> {
        let paths = vec![unneeded.path.clone()];
        Some(match unneeded.what {
            UnneededKind::Blob(digest) => self.blob(&digest, paths),
            UnneededKind::Damaged { digest, is_needed: true } => {
                let reason = "`localml repair` needs its right pieces; kept until `--partial` is given";
                let reason = if self.options.takes_partial {
                    "damaged; without it all must come again"
                } else {
                    reason
                };
                self.leftover(GcKind::Damaged, paths, Some(&digest), (reason, self.options.takes_partial))
            }
            UnneededKind::Damaged { digest, is_needed: false } => self.leftover(
                GcKind::Damaged,
                paths,
                Some(&digest),
                ("damaged, and no package needs it", true),
            ),
            UnneededKind::PieceList(digest) if lists_in_use.contains(&digest) => return None,
            UnneededKind::PieceList(_) => {
                self.leftover(GcKind::PieceList, paths, None, ("no package has a file of these pieces", true))
            }
            // What waits for its other files is where a newer version takes its pieces from.
            UnneededKind::Cut(digest) if self.waits(&digest) => return None,
            UnneededKind::Cut(digest) => {
                self.leftover(GcKind::PieceList, paths, Some(&digest), ("no package needs the file", true))
            }
            UnneededKind::PackageFiles => {
                self.leftover(GcKind::PackageFiles, paths, None, ("no package here is installed so", true))
            }
            UnneededKind::Temporary => {
                self.leftover(GcKind::Temporary, paths, None, ("left by a command that was cut off", true))
            }
        })
    }

    /// A whole file without a record: of a package whose other files have not come yet, or of none. What a courier carries
    /// without a publisher is in no index.
    fn blob(&self, digest: &Sha256, paths: Vec<PathBuf>) -> Leftover {
        match self.known.packages.get(digest) {
            None => self.waiting_paths(GcKind::Blob, paths, IS_UNKNOWN),
            Some(named) if named.is_whole => {
                let mut left = self.waiting_paths(GcKind::Blob, paths, IS_WAITING);
                if left.item.goes {
                    left.item.reason = "whole, and never installed; it would have to come again";
                }
                left.item.package = self.package(digest);
                left
            }
            Some(named) if named.is_wanted => self.waiting(GcKind::Partial, paths, digest),
            Some(_) => self.leftover(GcKind::Blob, paths, Some(digest), ("no package here needs it", true)),
        }
    }

    fn partial(&self, (digest, _): &(Sha256, PathBuf), paths: &[PathBuf]) -> Leftover {
        self.unless_here(GcKind::Partial, paths.to_vec(), digest)
    }

    fn suspect(&self, digest: &Sha256, path: &Path) -> Leftover {
        self.unless_here(GcKind::Suspect, vec![path.to_owned()], digest)
    }

    /// Bytes of a file that waits for the rest, unless the whole of it is here.
    fn unless_here(&self, what: GcKind, paths: Vec<PathBuf>, digest: &Sha256) -> Leftover {
        let is_in_sticks = paths.iter().any(|path| path.starts_with(self.home.stick_staging()));
        match self.is_here(digest) {
            // The half of a damaged file that `repair` is at work on; the damaged one lies aside, or, where nobody knows of
            // the damage, in its place and as long as a right one.
            _ if is_in_sticks && self.is_in_use(digest) => {
                let mut left = self.waiting_paths(what, paths, MAY_REPAIR);
                left.item.package = self.package(digest);
                left
            }
            false => self.waiting(what, paths, digest),
            true => self.leftover(what, paths, Some(digest), (IS_HERE, true)),
        }
    }

    fn parity(&self, path: &Path) -> Leftover {
        let mut left = self.waiting_paths(GcKind::Partial, vec![path.to_owned()], IS_PARTIAL);
        left.item.package = None;
        left
    }

    fn waiting(&self, what: GcKind, paths: Vec<PathBuf>, digest: &Sha256) -> Leftover {
        let mut left = self.waiting_paths(what, paths, IS_PARTIAL);
        left.item.package = self.package(digest);
        left
    }

    /// Something that is kept until it is asked for.
    fn waiting_paths(&self, what: GcKind, paths: Vec<PathBuf>, reason: &'static str) -> Leftover {
        let mut left = self.leftover(what, paths, None, (reason, false));
        let is_old = || {
            let age_seconds = left.item.age_seconds?;
            Some(age_seconds >= self.options.older_than?.as_secs())
        };
        if self.options.takes_partial || is_old() == Some(true) {
            (left.item.reason, left.item.goes) = (WAS_PARTIAL, true);
        }
        left
    }

    fn leftover(
        &self,
        what: GcKind,
        paths: Vec<PathBuf>,
        digest: Option<&Sha256>,
        (reason, goes): (&'static str, bool),
    ) -> Leftover {
        let first = paths.first().cloned().unwrap_or_default();
        let size_of = |digest: &Sha256| self.known.packages.get(digest).map(|named| named.file.size_bytes);
        let item = GcItem {
            what,
            path: first.strip_prefix(self.home.root()).map_or_else(|_| first.clone(), Path::to_owned),
            size_bytes: 0,
            here_bytes: paths.iter().map(|path| bytes_here(path, size_of)).sum(),
            age_seconds: self.age_seconds(&paths),
            package: digest.and_then(|digest| self.package(digest)),
            reason,
            goes,
        };
        Leftover { item, paths, record: None }
    }

    /// How long ago the last of these was written to; `None` where a clock was wrong, then or now.
    fn age_seconds(&self, paths: &[PathBuf]) -> Option<u64> {
        let ages =
            paths.iter().filter_map(|path| written(path)).map(|written| self.calendar.age_seconds(written));
        ages.collect::<Option<Vec<u64>>>()?.into_iter().min()
    }

    fn package(&self, digest: &Sha256) -> Option<String> {
        self.known.packages.get(digest).map(|named| named.package.clone())
    }

    /// True when a record here needs it.
    fn is_in_use(&self, digest: &Sha256) -> bool {
        self.known.packages.get(digest).is_some_and(|named| named.is_in_use)
    }

    /// True for a whole file of a package whose other files have not come yet, as long as it stays.
    fn waits(&self, digest: &Sha256) -> bool {
        let is_wanted = self.known.packages.get(digest).is_some_and(|named| named.is_wanted);
        is_wanted && self.is_here(digest) && !self.options.takes_partial
    }

    fn is_here(&self, digest: &Sha256) -> bool {
        let named = self.known.packages.get(digest);
        named.is_some_and(|named| self.store.blob_path(digest, named.file.size_bytes).is_some())
    }
}

/// When a file was last written to, by the clock of that moment; a blob, when it got its name, if that is later: what was
/// taken over from another program may be older than its place here.
fn written(path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let written = metadata.modified().ok()?;
    let is_blob =
        path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.parse::<Sha256>().is_ok()));
    let named = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(metadata.ctime()).ok()?))?;
    Some(if is_blob { written.max(named) } else { written })
}
