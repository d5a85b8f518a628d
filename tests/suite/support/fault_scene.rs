//! A cafe, a site and a stick for the faults: what each holds before, and what it must hold after.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use localml::bundle::{self, Stick};
use localml::digest::Sha256;
use localml::home::Home;
use localml::ops;
use localml::progress::Silent;
use localml::store::{Folders, Store};

use super::fault_fs::{FaultFs, copy_tree};
use super::noise::noise;
use super::publisher::Publisher;
use super::sandbox::{Run, Sandbox};
use super::stick::files_in;

/// A broken promise, in words.
pub(crate) type Checked = Result<(), String>;

/// Name → version of what is installed.
pub(crate) type Held = BTreeMap<String, String>;

/// The site has `note` 1.0.0. The first export to the stick held just that; the second adds `note` 2.0.0, `atlas`
/// (three small files) and `book` (a chapter and a large file).
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
}

impl Scene {
    pub(crate) fn new(large_bytes: usize) -> Self {
        let sandbox = Sandbox::new();
        let publisher = Publisher::new(&sandbox, "ngo");
        publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
        publisher.publish();
        for home in ["cafe", "site"] {
            publisher.introduce(home, publisher.registry().to_str().unwrap());
        }
        sandbox.ok("site", &["install", "note"]);
        sandbox.ok("cafe", &["fetch", "note"]);
        for stick in ["first", "second"] {
            fs::create_dir(sandbox.path(stick)).unwrap();
            sandbox.ok("cafe", &["--offline", "export", stick, "--volume-size", "5MiB"]);
        }
        fs::create_dir(sandbox.path("asked")).unwrap();
        sandbox.ok("site", &["request", "asked", "note"]);
        let page = |seed| noise(seed, 150_000);
        publisher.add("note", "2.0.0", &[("note.txt", b"a newer note")]);
        publisher.add("atlas", "1.0.0", &[("a.bin", &page(2)), ("b.bin", &page(3)), ("c.bin", &page(4))]);
        let chapter = "# A chapter\n\nwith words.\n".repeat(2000);
        let large = noise(1, large_bytes);
        publisher.add("book", "1.0.0", &[("chapter.md", chapter.as_bytes()), ("map.bin", &large)]);
        publisher.publish();
        sandbox.ok("cafe", &["update"]);
        sandbox.ok("cafe", &["fetch", "note", "atlas", "book"]);
        drop(publisher);
        let scene = Self { sandbox };
        assert_eq!(scene.export(&scene.sandbox.path("second")).code, Some(0));
        scene
    }

    /// The second export, to whatever stick.
    pub(crate) fn export(&self, stick: &Path) -> Run {
        let args = ["--offline", "export", stick.to_str().unwrap(), "--volume-size", "5MiB"];
        self.sandbox.run("cafe", &args)
    }

    pub(crate) fn import(&self, home: &Path, stick: &Path) -> Run {
        self.sandbox.run(home.to_str().unwrap(), &["--offline", "import", stick.to_str().unwrap()])
    }

    pub(crate) fn verify_stick(&self, stick: &Path) -> Run {
        self.sandbox.run("cafe", &["stick", "verify", stick.to_str().unwrap()])
    }

    /// A site of its own, as the site was before the stick came.
    pub(crate) fn fresh_site(&self, name: &str) -> PathBuf {
        let home = self.sandbox.path("sites").join(name);
        if home.exists() {
            fs::remove_dir_all(&home).unwrap();
        }
        copy_tree(&self.sandbox.path("site"), &home);
        home
    }

    /// A stick with the first export on it, with both, or only `asked` for; `None` where nothing can be mounted.
    pub(crate) fn stick(&self, with: &str) -> Option<FaultFs> {
        let stick = FaultFs::stick()?;
        stick.load(&self.sandbox.path(with));
        Some(stick)
    }

    /// The site after an import: each package as it was or as it should be, whole, and nothing else.
    pub(crate) fn check_site(&self, home: &Path) -> Result<Held, String> {
        let held = held(home)?;
        let may_be = [("note", &["1.0.0", "2.0.0"][..]), ("atlas", &["1.0.0"]), ("book", &["1.0.0"])];
        for (name, version) in &held {
            if !may_be.iter().any(|(known, versions)| known == name && versions.contains(&version.as_str())) {
                return Err(format!("{name} {version} is installed, which nobody brought"));
            }
        }
        match held.contains_key("note") {
            true => Ok(held),
            false => Err("`note` was installed and is gone".into()),
        }
    }

    /// The site has all that the second export carries.
    pub(crate) fn check_complete(&self, home: &Path) -> Checked {
        let held = self.check_site(home)?;
        let whole = [("atlas", "1.0.0"), ("book", "1.0.0"), ("note", "2.0.0")];
        let expected: Held = whole.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
        if held == expected { Ok(()) } else { Err(format!("installed is only {held:?}")) }
    }

    /// Imports from a stick whose first export may have been cut off: it ends well, or brings nothing yet.
    pub(crate) fn check_first(&self, stick: &Path) -> Result<Held, String> {
        let home = self.fresh_site("first-export");
        let run = self.import(&home, stick);
        match run.code {
            Some(0 | 3) => self.check_site(&home),
            _ => Err(format!("the import from a stick that was begun: {run:?}")),
        }
    }

    /// Imports from the stick into a fresh site, which must then have everything.
    pub(crate) fn check_brings_all(&self, stick: &Path, name: &str) -> Checked {
        let home = self.fresh_site(name);
        let run = self.import(&home, stick);
        if run.code != Some(0) {
            return Err(format!("the import from the whole stick: {run:?}"));
        }
        self.check_complete(&home)
    }

    /// The stick has a record no older than `generation`, and every file of it is whole.
    pub(crate) fn check_stick(&self, folder: &Path, generation: u64) -> Result<u64, String> {
        let stick = Stick::open(folder).map_err(|error| error.to_string())?;
        let record = stick.record().ok_or("the stick has no commit record any more")?;
        if record.generation < generation {
            return Err(format!("generation {} came after {generation}", record.generation));
        }
        let health = bundle::verify(&stick, &Silent).map_err(|error| error.to_string())?;
        match health.iter().find(|file| !file.is_whole) {
            Some(file) => Err(format!("generation {}: {} is not whole", record.generation, file.file)),
            None => Ok(record.generation),
        }
    }
}

/// Asserts a promise; a broken one is told with the seed that breaks it.
pub(crate) fn keep<T>(promise: Result<T, String>, seed: u64) -> T {
    promise.unwrap_or_else(|broken| panic!("with seed {seed}: {broken}"))
}

/// What is installed; an error when any of it is not whole, or a blob is not what it is called.
fn held(home: &Path) -> Result<Held, String> {
    let at = Home::at(home);
    let store = Store::open(Folders {
        blobs: at.blobs(),
        pieces: at.pieces(),
        packages: at.packages(),
        installed: at.installed(),
        fetched: at.fetched(),
        previous: at.previous(),
    });
    for blob in files_in(&at.blobs()) {
        let digest = Sha256::of_file(&blob).map_err(|error| error.to_string())?;
        if !blob.ends_with(digest.to_string()) {
            return Err(format!("{} has sha256 {digest}", blob.display()));
        }
    }
    let mut held = Held::new();
    for installed in store.installed().map_err(|error| error.to_string())? {
        if !store.is_in_place(&installed) {
            return Err(format!("a file of {} is not in its place", installed.name()));
        }
        held.insert(installed.name().to_string(), installed.manifest.package.version.to_string());
    }
    let report = ops::verify(&at, &[], &Silent).map_err(|error| error.to_string())?;
    match report.packages.iter().find(|package| !package.is_whole) {
        Some(package) => Err(format!("{} is damaged: {:?}", package.name, package.damaged_files)),
        None => Ok(held),
    }
}
