//! Trust in a registry: every way in which what comes, or what is stored, may not hold.

use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use localml::digest::Sha256;
use localml::error::{ErrorKind, Explain as _};
use localml::registry::{
    Addition, Age, Fetch, FetchError, FolderFetch, Outcome, RegistryError, Replaced, RotateOptions,
    SignOptions, Trust, add, fingerprint_of, load, repair, resolve, rotate, sign, trust_files, update,
    update_from_stick,
};

use crate::support::registry_desk::{
    DAY_SECONDS, RegistryDesk, SIGNED_SECONDS, at, copy_files, untrusted, version,
};

#[test]
fn a_registry_is_added_verified_again_offline_and_refreshed() {
    let desk = RegistryDesk::new();
    assert_eq!(desk.introduce().manifests().len(), 1);
    assert_eq!(version(&load(&desk.copy()).unwrap()), 1);
    assert_eq!(update(&desk.copy(), &desk.fetch()).unwrap().outcome, Outcome::Same);
    desk.describe("book", "1.1.0", "second");
    desk.publish();
    let updated = update(&desk.copy(), &desk.fetch()).unwrap();
    assert_eq!((updated.outcome, version(&updated.index)), (Outcome::Newer, 2));
    let index = load(&desk.copy()).unwrap();
    assert_eq!(index.manifests().len(), 2);
    let indexes = [index];
    let newest = resolve(&indexes, &"book".parse().unwrap()).unwrap();
    assert_eq!(newest.manifest.package.version.to_string(), "1.1.0");
    let source = newest.index.sources_of(&newest.manifest.variants[0].files[0]);
    assert_eq!(source[0].as_str(), format!("http://localhost/ngo/blobs/{}", Sha256::of(b"second")));
}

#[test]
fn an_unknown_root_is_never_added_and_shows_its_fingerprint() {
    let desk = RegistryDesk::new();
    let fingerprint = fingerprint_of("here", &desk.fetch()).unwrap();
    let unknown = add(&desk.copy(), &Addition { fingerprint: None, ..desk.addition() }, &desk.fetch());
    let error = unknown.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert!(error.to_string().contains(&fingerprint.to_string()[..4]), "{error}");
    let other = Addition { fingerprint: Some(Sha256::of(b"another").into()), ..desk.addition() };
    let error = add(&desk.copy(), &other, &desk.fetch()).expect_err("another fingerprint");
    assert!(matches!(error, RegistryError::WrongFingerprint { .. }), "{error}");
    assert!(!desk.copy().exists(), "nothing is left behind");
}

#[test]
fn a_registry_signed_by_another_key_is_refused() {
    let (desk, other) = (RegistryDesk::new(), RegistryDesk::new());
    desk.introduce();
    let error = untrusted(update(&desk.copy(), &other.fetch()), "timestamp.json");
    assert!(matches!(error, RegistryError::Untrusted { .. }), "{error}");
    assert_eq!(version(&load(&desk.copy()).unwrap()), 1);
    // Also when the stranger brings the known root along.
    let forged = other.keep("forged");
    fs::copy(desk.registry().join("1.root.json"), forged.join("1.root.json")).unwrap();
    untrusted(
        add(&desk.sandbox.path("home/registries/two"), &desk.addition(), &FolderFetch::new(forged)),
        "timestamp.json",
    );
}

#[test]
fn one_name_cannot_become_another_registry() {
    let (desk, other) = (RegistryDesk::new(), RegistryDesk::new());
    desk.introduce();
    let error = add(&desk.copy(), &other.addition(), &other.fetch()).expect_err("another");
    assert!(matches!(error, RegistryError::AlreadyKnown { .. }), "{error}");
    let moved = Addition { url: url::Url::parse("http://elsewhere/").unwrap(), ..desk.addition() };
    add(&desk.copy(), &moved, &desk.fetch()).unwrap();
    assert_eq!(load(&desk.copy()).unwrap().base().unwrap().as_str(), "http://elsewhere/");
}

#[test]
fn an_older_state_is_refused_online_and_ignored_from_a_stick() {
    let desk = RegistryDesk::new();
    let old = FolderFetch::new(desk.keep("old"));
    desk.publish();
    desk.introduce();
    let error = untrusted(update(&desk.copy(), &old), "timestamp.json");
    assert!(matches!(error, RegistryError::Rollback { .. }), "{error}");
    let ignored = update_from_stick(&desk.copy(), &old).unwrap();
    assert_eq!((ignored.outcome, version(&ignored.index)), (Outcome::OlderIgnored, 2));
    assert_eq!(version(&load(&desk.copy()).unwrap()), 2);
}

#[test]
fn parts_of_two_states_do_not_make_one() {
    let desk = RegistryDesk::new();
    let old = desk.keep("old");
    desk.describe("book", "1.1.0", "second");
    desk.publish();
    for file in ["snapshot.json", "targets.json", "index-000.jsonl"] {
        let mixed = desk.keep(&format!("mixed-{file}"));
        fs::copy(old.join(file), mixed.join(file)).unwrap();
        let error = untrusted(add(&desk.copy(), &desk.addition(), &FolderFetch::new(mixed)), file);
        assert!(matches!(error, RegistryError::Untrusted { .. }), "{error}");
    }
}

#[test]
fn a_damaged_file_that_arrives_is_named_and_changes_nothing() {
    let desk = RegistryDesk::new();
    desk.introduce();
    desk.describe("book", "1.1.0", "second");
    desk.publish();
    for file in ["timestamp.json", "snapshot.json", "targets.json", "index-000.jsonl"] {
        let whole = fs::read(desk.registry().join(file)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for (how, bytes) in
            [("flipped", flipped), ("cut", whole[..whole.len() / 2].to_vec()), ("empty", vec![])]
        {
            let damaged = desk.keep(&format!("{how}-{file}"));
            fs::write(damaged.join(file), bytes).unwrap();
            untrusted(update(&desk.copy(), &FolderFetch::new(&damaged)), file);
            untrusted(update_from_stick(&desk.copy(), &FolderFetch::new(&damaged)), file);
        }
        let without = desk.keep(&format!("without-{file}"));
        fs::remove_file(without.join(file)).unwrap();
        untrusted(update(&desk.copy(), &FolderFetch::new(without)), file);
        assert_eq!(version(&load(&desk.copy()).unwrap()), 1);
    }
}

#[test]
fn a_next_root_that_is_no_root_stops_the_update() {
    let desk = RegistryDesk::new();
    desk.introduce();
    for bytes in [&b"{}"[..], b"", &fs::read(desk.registry().join("1.root.json")).unwrap()] {
        fs::write(desk.registry().join("2.root.json"), bytes).unwrap();
        untrusted(update(&desk.copy(), &desk.fetch()), "2.root.json");
    }
    fs::remove_file(desk.registry().join("2.root.json")).unwrap();
    update(&desk.copy(), &desk.fetch()).unwrap();
}

/// Fails to read one file, as a bad sector does, and counts what it is asked for.
struct Failing {
    inner: FolderFetch,
    file: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Fetch for Failing {
    fn get(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        self.asked.lock().unwrap().push(path.to_owned());
        if path == self.file {
            return Err("input/output error".into());
        }
        self.inner.get(path, max_bytes)
    }
}

#[test]
fn a_root_that_cannot_be_read_is_not_taken_for_absent() {
    let desk = RegistryDesk::new();
    desk.introduce();
    desk.publish();
    let failing = Failing { inner: desk.fetch(), file: "2.root.json", asked: Mutex::default() };
    let error = update(&desk.copy(), &failing).expect_err("unreadable");
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(error.to_string().contains("`2.root.json`"), "{error}");
}

#[test]
fn index_files_that_did_not_change_are_not_fetched_again() {
    let desk = RegistryDesk::new();
    desk.introduce();
    desk.publish();
    let counting = Failing { inner: desk.fetch(), file: "none", asked: Mutex::default() };
    update(&desk.copy(), &counting).unwrap();
    let asked = counting.asked.into_inner().unwrap();
    assert_eq!(asked, ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]);
}

#[test]
fn a_torn_or_missing_floor_is_an_error_with_a_way_out_never_absent() {
    let desk = RegistryDesk::new();
    let old = desk.keep("old");
    desk.publish();
    desk.introduce();
    for file in
        ["timestamp.json", "snapshot.json", "targets.json", "1.root.json", "index-000.jsonl", "config.json"]
    {
        for how in ["torn", "empty", "missing"] {
            let path = desk.stored(file);
            let whole = fs::read(&path).unwrap();
            match how {
                "torn" => fs::write(&path, &whole[..whole.len() / 2]).unwrap(),
                "empty" => fs::write(&path, b"").unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            for found in [load(&desk.copy()).map(drop), update(&desk.copy(), &desk.fetch()).map(drop)] {
                let error = untrusted(found, file);
                assert!(matches!(error, RegistryError::DamagedCopy { .. }), "{how} {file}: {error}");
                assert!(error.hint().unwrap().starts_with("fetch it anew: `localml update ngo --repair`"));
            }
            // The way out does not lead back in time.
            let rollback = repair(&desk.copy(), &FolderFetch::new(&old)).expect_err("older");
            assert!(matches!(rollback, RegistryError::Rollback { .. }), "{how} {file}: {rollback}");
            repair(&desk.copy(), &desk.fetch()).unwrap();
            assert_eq!(version(&load(&desk.copy()).unwrap()), 2);
        }
    }
}

#[test]
fn an_older_file_slipped_into_the_copy_is_noticed() {
    let desk = RegistryDesk::new();
    let old = desk.keep("old");
    desk.publish();
    desk.introduce();
    for file in ["timestamp.json", "snapshot.json", "targets.json"] {
        fs::copy(old.join(file), desk.stored(file)).unwrap();
    }
    untrusted(load(&desk.copy()), "timestamp.json");
}

#[test]
fn a_torn_record_is_an_error_and_adding_anew_heals_it() {
    let desk = RegistryDesk::new();
    desk.introduce();
    for bytes in [&b"format = 1\nname = \"ng"[..], b""] {
        fs::write(desk.copy().join("registry.toml"), bytes).unwrap();
        let error = untrusted(load(&desk.copy()), "registry.toml");
        assert!(error.hint().unwrap().contains("localml registry add ngo URL --fingerprint"), "{error}");
    }
    fs::remove_file(desk.copy().join("registry.toml")).unwrap();
    untrusted(load(&desk.copy()), "registry.toml");
    add(&desk.copy(), &desk.addition(), &desk.fetch()).unwrap();
    assert_eq!(version(&load(&desk.copy()).unwrap()), 1);
}

#[test]
fn adding_anew_after_a_torn_record_lets_no_older_state_in() {
    let desk = RegistryDesk::new();
    let old = FolderFetch::new(desk.keep("old"));
    desk.publish();
    desk.introduce();
    fs::write(desk.copy().join("registry.toml"), "format = ").unwrap();
    let error = untrusted(add(&desk.copy(), &desk.addition(), &old), "timestamp.json");
    assert!(matches!(error, RegistryError::Rollback { .. }), "{error}");
    let again = add(&desk.copy(), &desk.addition(), &desk.fetch()).unwrap();
    assert_eq!(version(&again.index), 2);
}

#[test]
fn what_an_interrupted_update_leaves_does_not_matter() {
    let desk = RegistryDesk::new();
    desk.introduce();
    let generation = desk.stored("");
    // As a kill leaves it: a half-written next generation, a scratch folder with a time from the future.
    let next = desk.copy().join("g2");
    fs::create_dir_all(&next).unwrap();
    fs::write(next.join("timestamp.json"), b"{").unwrap();
    fs::create_dir_all(desk.copy().join("scratch")).unwrap();
    fs::write(desk.copy().join("scratch/latest_known_time.json"), b"\"2099-01-01T00:00:00Z\"").unwrap();
    fs::write(desk.copy().join("scratch/timestamp.json"), b"{").unwrap();
    assert_eq!(version(&load(&desk.copy()).unwrap()), 1);
    desk.publish();
    assert_eq!(version(&update(&desk.copy(), &desk.fetch()).unwrap().index), 2);
    assert!(!generation.exists() && !desk.copy().join("scratch").exists());
    load(&desk.copy()).unwrap();
}

#[test]
fn a_time_from_the_future_never_locks_a_site_out() {
    let desk = RegistryDesk::new();
    desk.introduce();
    let time = desk.stored("latest_known_time.json");
    assert!(!time.exists(), "no clock is ever kept");
    fs::write(time, b"\"2099-01-01T00:00:00Z\"").unwrap();
    load(&desk.copy()).unwrap();
    desk.publish();
    update(&desk.copy(), &desk.fetch()).unwrap();
}

#[test]
fn expiry_is_a_tier_and_not_a_wall() {
    let desk = RegistryDesk::new();
    desk.publish_at(SIGNED_SECONDS, 10);
    let Trust::Signed { dates, .. } = desk.introduce().trust() else { panic!("signed") };
    let expires = SIGNED_SECONDS + 10 * DAY_SECONDS;
    assert_eq!(dates.expires_seconds.unsigned_abs(), expires);
    assert_eq!(dates.signed_seconds.map(i64::unsigned_abs), Some(SIGNED_SECONDS));
    let ages = [
        (expires, Age::Fresh),
        (expires + DAY_SECONDS, Age::Stale),
        (expires + 366 * DAY_SECONDS, Age::VeryStale),
        // 1970 and 2099: not believed, so judged as on the day of signing.
        (0, Age::Fresh),
        (4_070_908_800, Age::Fresh),
    ];
    for (seconds, age) in ages {
        assert_eq!(dates.judge(at(seconds)).age, age, "{seconds}");
    }
    // Signed in 2020 for one day: very old now, and still verified, loaded and refreshed.
    desk.publish_at(1_577_836_800, 1);
    let updated = update(&desk.copy(), &desk.fetch()).unwrap();
    let Trust::Signed { dates, .. } = updated.index.trust() else { panic!("signed") };
    assert_eq!(dates.judge(SystemTime::now()).age, Age::VeryStale);
    load(&desk.copy()).unwrap();
}

#[test]
fn a_revoked_version_is_not_resolved_for_new_installs() {
    let desk = RegistryDesk::new();
    desk.describe("book", "1.1.0", "second");
    desk.sandbox.write(
        "manifests/revoked.toml",
        "[[revoked]]\nname = \"book\"\nversion = \"1.1.0\"\nreason = \"page 3 is wrong\"\n",
    );
    desk.publish();
    let indexes = [desk.introduce()];
    let newest = resolve(&indexes, &"book".parse().unwrap()).unwrap();
    assert_eq!(newest.manifest.package.version.to_string(), "1.0.0");
    let named = resolve(&indexes, &"book@1.1.0".parse().unwrap()).expect_err("revoked");
    assert_eq!(named.kind(), ErrorKind::Untrusted);
    assert!(named.to_string().contains("page 3 is wrong"), "{named}");
}

#[test]
fn new_keys_are_followed_from_root_to_root_and_old_sticks_are_ignored() {
    let desk = RegistryDesk::new();
    desk.introduce();
    let old = FolderFetch::new(desk.keep("old"));
    let new_keys = desk.sandbox.path("new-keys");
    let options = RotateOptions {
        keys: vec![desk.keys()],
        new_keys: Some(new_keys.clone()),
        replaced: vec![Replaced::All],
        ..RotateOptions::default()
    };
    let rotated = rotate(&desk.registry(), &options, at(SIGNED_SECONDS)).unwrap();
    assert_eq!((rotated.root_version, rotated.made.len(), rotated.retired.len()), (2, 3, 3));
    let options = SignOptions { expires_days: 90, now: at(SIGNED_SECONDS) };
    sign(&desk.registry(), &[desk.keys()], &options).expect_err("the old keys sign no more");
    sign(&desk.registry(), &[new_keys], &options).unwrap();
    let updated = update(&desk.copy(), &desk.fetch()).unwrap();
    assert!(matches!(updated.index.trust(), Trust::Signed { root_version: 2, version: 2, .. }));
    load(&desk.copy()).unwrap();
    assert_eq!(update_from_stick(&desk.copy(), &old).unwrap().outcome, Outcome::OlderIgnored);
    untrusted(update(&desk.copy(), &old), "timestamp.json");
    // A reader who knows only the first root gets there too, from a stick alone.
    let names: Vec<String> = trust_files(&desk.copy()).unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"1.root.json".to_owned()) && names.contains(&"2.root.json".to_owned()));
}

#[test]
fn a_stick_with_upper_case_names_verifies_the_same_way() {
    let desk = RegistryDesk::new();
    desk.introduce();
    let stick = desk.sandbox.path("stick/NGO");
    fs::create_dir_all(&stick).unwrap();
    for (name, bytes) in trust_files(&desk.copy()).unwrap() {
        fs::write(stick.join(name.to_uppercase()), bytes).unwrap();
    }
    let site = desk.sandbox.path("site/registries/ngo");
    let added = add(&site, &desk.addition(), &FolderFetch::new(&stick)).unwrap();
    assert_eq!(added.index.manifests().len(), 1);
    assert_eq!(update_from_stick(&site, &FolderFetch::new(&stick)).unwrap().outcome, Outcome::Same);
    load(&site).unwrap();
}

#[test]
fn the_program_ends_with_7_and_says_why_also_as_json() {
    let (desk, other) = (RegistryDesk::new(), RegistryDesk::new());
    let (sandbox, registry) = (&desk.sandbox, desk.registry());
    let address = registry.to_str().unwrap();
    let said = sandbox.run("home", &["registry", "add", "ngo", address]).failed_with(7);
    let fingerprint = fingerprint_of("here", &desk.fetch()).unwrap().to_string();
    assert!(said.contains(&fingerprint[..4]) && said.contains("hint: "), "{said}");
    sandbox.run("home", &["registry", "add", "ngo", address, "--fingerprint", "abc"]).failed_with(2);
    let spaced: String = fingerprint.chars().flat_map(|digit| [digit, ' ']).collect();
    sandbox.ok("home", &["--offline", "registry", "add", "ngo", address, "--fingerprint", &spaced]);
    assert!(sandbox.ok("home", &["update"]).contains("already the newest"));
    copy_files(&other.registry(), &registry);
    let said = sandbox.run("home", &["update"]).failed_with(7);
    assert!(said.contains("timestamp.json"), "{said}");
    let (code, value) = sandbox.json("home", &["update"]);
    assert_eq!((code, value["error"]["exit_code"].as_u64()), (Some(7), Some(7)));
    sandbox.ok("home", &["search", "book"]);
    fs::write(desk.stored("timestamp.json"), b"{").unwrap();
    let said = sandbox.run("home", &["search", "book"]).failed_with(7);
    assert!(said.contains("localml update ngo --repair"), "{said}");
}
