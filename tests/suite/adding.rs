//! Several commands that add one registry at the same moment: nothing that one of them added is lost.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

use localml::registry::{Fetch, FetchError, FolderFetch, RegistryError, Updated, add, known, load};

use crate::support::publisher::Publisher;
use crate::support::registry_desk::{RegistryDesk, version};
use crate::support::sandbox::Sandbox;

const ROUNDS: usize = 25;

/// Lets each of these add the registry to one folder at once.
fn add_at_once(
    desk: &RegistryDesk,
    folder: &Path,
    fetchers: &[&dyn Fetch],
) -> Vec<Result<Updated, RegistryError>> {
    let (addition, barrier) = (desk.addition(), Barrier::new(fetchers.len()));
    let add_one = |fetch: &dyn Fetch| {
        barrier.wait();
        add(folder, &addition, fetch)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = fetchers.iter().map(|&fetch| scope.spawn(move || add_one(fetch))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A line that breaks after the first root.
struct Broken(FolderFetch);

impl Fetch for Broken {
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        if path == "timestamp.json" { Err("the line broke".into()) } else { self.0.get(path, max_bytes) }
    }
}

#[test]
fn of_many_that_add_a_registry_at_once_each_finds_it_there() {
    let desk = RegistryDesk::new();
    let fetch = desk.fetch();
    for round in 0..ROUNDS {
        let folder = desk.sandbox.path(format!("home-{round}/registries/ngo"));
        for added in add_at_once(&desk, &folder, &[&fetch, &fetch, &fetch, &fetch]) {
            added.unwrap();
        }
        assert_eq!(version(&load(&folder).unwrap()), 1);
        assert!(!folder.join("scratch").exists());
    }
}

#[test]
fn who_fails_to_add_a_registry_takes_away_nothing_that_another_added() {
    let desk = RegistryDesk::new();
    let (fetch, broken) = (desk.fetch(), Broken(desk.fetch()));
    for round in 0..ROUNDS {
        let folder = desk.sandbox.path(format!("home-{round}/registries/ngo"));
        let added = add_at_once(&desk, &folder, &[&broken, &fetch, &broken, &fetch]);
        assert!(matches!(added[0], Err(RegistryError::Fetch { .. })), "{added:?}");
        assert!(added[1].is_ok() && added[3].is_ok(), "{added:?}");
        assert_eq!(version(&load(&folder).unwrap()), 1);
    }
    let folder = desk.sandbox.path("home/registries/ngo");
    for added in add_at_once(&desk, &folder, &[&broken, &broken, &broken]) {
        assert!(matches!(added, Err(RegistryError::Fetch { .. })), "{added:?}");
    }
    assert!(!folder.exists(), "what nobody added leaves nothing behind");
}

#[test]
fn a_registry_that_is_just_being_added_is_not_known_yet_and_is_not_damaged() {
    let desk = RegistryDesk::new();
    desk.introduce();
    let record = desk.copy().join("registry.toml");
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    let lock = localml::disk::Lock::acquire(&desk.copy().join(".lock")).unwrap();
    let registries = desk.copy().parent().unwrap().to_owned();
    assert!(known(&registries).unwrap().is_empty());
    drop(lock);
    assert!(matches!(known(&registries), Err(RegistryError::DamagedRecord { .. })), "nobody adds it");
    fs::write(&record, text).unwrap();
    assert_eq!(known(&registries).unwrap().len(), 1);
}

#[test]
fn a_command_that_adds_a_registry_and_a_stick_that_brings_it_may_run_at_once() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    let (registry, fingerprint) = (publisher.registry(), publisher.fingerprint());
    publisher.introduce("cafe", registry.to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    for round in 0..8 {
        let home = format!("site-{round}");
        let add = ["registry", "add", "ngo", registry.to_str().unwrap(), "--fingerprint", &fingerprint];
        let import = ["--offline", "import", "stick", "--fingerprint", &fingerprint];
        let start = |args: &[&str]| {
            let mut command = sandbox.command(&home);
            command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for child in [start(&add), start(&import)] {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{round}: {said}");
        }
        assert!(sandbox.ok(&home, &["list"]).contains("note"), "{round}");
        sandbox.ok(&home, &["update", "ngo"]);
    }
}
