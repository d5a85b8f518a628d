//! A publisher's desk and a reader's copy of its registry, through the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use localml::error::{ErrorKind, Explain as _};
use localml::registry::{
    Addition, BuildOptions, FolderFetch, Outcome, Quorum, RegistryError, SignOptions, Trust, VerifiedIndex,
    add, build, fingerprint_of, init, sign,
};

use super::sandbox::Sandbox;

/// 2027-01-01, the day on which the publisher of these tests signs.
pub(crate) const SIGNED_SECONDS: u64 = 1_798_761_600;
pub(crate) const DAY_SECONDS: u64 = 24 * 60 * 60;

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A publisher's desk and a reader's copy in one sandbox.
pub(crate) struct RegistryDesk {
    pub(crate) sandbox: Sandbox,
}

impl RegistryDesk {
    /// Publishes `book` 1.0.0 for 90 days.
    pub(crate) fn new() -> Self {
        let desk = Self { sandbox: Sandbox::new() };
        init(&desk.registry(), &desk.keys(), Quorum::default(), at(SIGNED_SECONDS)).unwrap();
        desk.describe("book", "1.0.0", "first");
        desk.publish();
        desk
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.sandbox.path("registry")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.sandbox.path("keys")
    }

    /// The reader's copy.
    pub(crate) fn copy(&self) -> PathBuf {
        self.sandbox.path("home/registries/ngo")
    }

    /// A file of the reader's copy, in its only generation.
    pub(crate) fn stored(&self, file: &str) -> PathBuf {
        let generations = fs::read_dir(self.copy()).unwrap().map(|entry| entry.unwrap().path());
        let folders: Vec<PathBuf> = generations.filter(|path| path.is_dir()).collect();
        assert_eq!(folders.len(), 1, "one generation, no scratch: {folders:?}");
        folders[0].join(file)
    }

    pub(crate) fn describe(&self, name: &str, version: &str, content: &str) {
        let toml = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\n[[variant]]\nid = \"md\"\n[[variant.file]]\npath = \"{version}.md\"\n"
        );
        self.sandbox.write(format!("manifests/{name}/{version}.toml"), toml);
        self.sandbox.write(format!("manifests/{name}/{version}.md"), content);
    }

    pub(crate) fn publish(&self) {
        self.publish_at(SIGNED_SECONDS, 90);
    }

    pub(crate) fn publish_at(&self, seconds: u64, expires_days: u32) {
        self.build();
        sign(&self.registry(), &[self.keys()], &SignOptions { expires_days, now: at(seconds) }).unwrap();
    }

    pub(crate) fn build(&self) {
        let manifests = self.sandbox.path("manifests");
        let options = BuildOptions { manifests, files: None, num_shards: Some(1) };
        build(&self.registry(), &options, &|_, _| Ok(Vec::new())).unwrap();
    }

    pub(crate) fn fetch(&self) -> FolderFetch {
        FolderFetch::new(self.registry())
    }

    pub(crate) fn addition(&self) -> Addition {
        Addition {
            name: "ngo".parse().unwrap(),
            url: url::Url::parse("http://localhost/ngo/").unwrap(),
            fingerprint: Some(fingerprint_of("here", &self.fetch()).unwrap().into()),
            vouched_by: None,
        }
    }

    pub(crate) fn introduce(&self) -> VerifiedIndex {
        let added = add(&self.copy(), &self.addition(), &self.fetch()).unwrap();
        assert_eq!(added.outcome, Outcome::Added);
        added.index
    }

    /// A copy of the published tree as it is now.
    pub(crate) fn keep(&self, name: &str) -> PathBuf {
        let kept = self.sandbox.path(name);
        copy_files(&self.registry(), &kept);
        kept
    }
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

pub(crate) fn version(index: &VerifiedIndex) -> u64 {
    match index.trust() {
        Trust::Signed { version, .. } => version,
        Trust::BuiltIn => panic!("a registry is signed"),
    }
}

/// Asserts that an error is one of trust and names the file.
pub(crate) fn untrusted<T: std::fmt::Debug>(result: Result<T, RegistryError>, file: &str) -> RegistryError {
    let error = result.expect_err("must not be trusted");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(error.to_string().contains(&format!("`{file}`")), "`{file}` is not named: {error}");
    error
}
