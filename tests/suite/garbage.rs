//! `gc`: shows first, removes what no package needs, and nothing else, however it is interrupted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use localml::digest::Sha256;
use localml::disk::Lock;
use localml::home::Home;
use localml::ops::{GcKind, GcOptions, gc};
use localml::progress::Silent;
use serde_json::Value;

use crate::support::damage::corrupt;
use crate::support::drill::{Dice, rounds};
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;
use crate::support::stick::{DiesAt, files_in};

const MIB: usize = 1 << 20;

/// `book` 1.0.0 (one file of 9 MiB, one small) installed in `home` from a server.
fn served(sandbox: &Sandbox) -> (Publisher<'_>, HttpServer) {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "0.5.0", &[("map.bin", &noise(2, MIB))]);
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 9 * MIB)), ("chapter.md", b"# A chapter\n")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    sandbox.ok("home", &["install", "book"]);
    (publisher, server)
}

/// One thing of each kind that nobody needs, in a home. Returns how many bytes they have at least.
fn litter(sandbox: &Sandbox, home: &str) -> u64 {
    // Of a version before the one that is installed.
    let digest = Sha256::of(&noise(2, MIB)).to_string();
    sandbox.write(format!("{home}/blobs/{digest}"), noise(2, MIB));
    sandbox.write(format!("{home}/blobs/{digest}.damaged"), noise(3, MIB));
    sandbox.write(format!("{home}/blobs/.{digest}.4294967295.new"), b"cut off");
    sandbox.write(format!("{home}/pieces/{digest}"), b"localml pieces 1\n");
    sandbox.write(format!("{home}/pieces/{digest}.cut"), b"localml pieces 1\n");
    sandbox.write(format!("{home}/packages/book/0.9.0+plain-abc/map.bin"), noise(4, MIB));
    sandbox.write(format!("{home}/packages/gone/1.0.0+plain-abc/map.bin"), b"gone");
    sandbox.write(format!("{home}/installed/.book.json.4294967295.new"), b"cut off");
    sandbox.write(format!("{home}/staging/adopt-song.part"), noise(5, MIB));
    sandbox.write(format!("{home}/staging/{digest}.journal"), b"of no part");
    sandbox.write(format!("{home}/staging/{digest}.lock"), b"");
    4 * MIB as u64
}

fn kinds(report: &Value, goes: bool) -> Vec<String> {
    let items = report["items"].as_array().unwrap().iter().filter(|item| item["goes"] == goes);
    items.map(|item| item["what"].as_str().unwrap().to_owned()).collect()
}

/// Every file of a home but its lock, with its length.
fn contents(home: &Path) -> BTreeMap<String, u64> {
    let files = files_in(home).into_iter().filter(|path| !path.ends_with("lock"));
    files.map(|path| (path.display().to_string(), path.metadata().unwrap().len())).collect()
}

#[test]
fn the_plan_says_what_goes_and_yes_removes_just_that() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let before = contents(&sandbox.path("home"));
    let (code, report) = sandbox.json("home", &["gc"]);
    assert_eq!((code, kinds(&report, true).len()), (Some(0), 0), "a home in order: {report}");
    let litter_bytes = litter(&sandbox, "home");
    let littered = contents(&sandbox.path("home"));
    let said = sandbox.ok("home", &["gc"]);
    assert!(said.contains("WOULD GO") && said.contains("`localml gc --yes` would free 4.2"), "{said}");
    assert_eq!(contents(&sandbox.path("home")), littered, "a plan changes nothing");
    let (_, plan) = sandbox.json("home", &["gc"]);
    let expected = [
        "blob",
        "damaged",
        "piece-list",
        "piece-list",
        "package-files",
        "package-files",
        "temporary",
        "temporary",
        "temporary",
        "temporary",
        "temporary",
    ];
    assert_eq!((kinds(&plan, true), kinds(&plan, false).len()), (expected.map(str::to_owned).to_vec(), 0));
    let (code, done) = sandbox.json("home", &["gc", "--yes"]);
    assert_eq!((code, &done["freed_bytes"]), (Some(0), &plan["freed_bytes"]));
    let freed_bytes = done["freed_bytes"].as_u64().unwrap();
    assert!((litter_bytes..litter_bytes + 128 * 1024).contains(&freed_bytes), "{freed_bytes}");
    assert_eq!(contents(&sandbox.path("home")), before);
    sandbox.ok("home", &["verify"]);
}

#[test]
fn a_download_that_was_cut_is_listed_by_name_and_kept_until_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let (publisher, server) = served(&sandbox);
    let atlas = noise(6, 9 * MIB);
    publisher.add("atlas", "2.0.0", &[("a-first.md", b"# First\n"), ("atlas.bin", &atlas)]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    let path = format!("/blobs/{}", Sha256::of(&atlas));
    server.set_fault(&path, Fault::Status(404));
    server.queue_fault(&path, Fault::CutAfter(6 << 20));
    sandbox.run("home", &["install", "atlas"]).failed_with(3);
    server.clear_faults();
    // The first file came whole and waits for the second.
    let (_, plan) = sandbox.json("home", &["gc", "--yes"]);
    assert_eq!((kinds(&plan, true).len(), kinds(&plan, false)), (0, vec!["partial".to_owned(); 2]), "{plan}");
    for item in plan["items"].as_array().unwrap() {
        assert_eq!(item["package"].as_str(), Some("atlas@2.0.0:plain"), "{plan}");
    }
    assert!(plan["kept_bytes"].as_u64().unwrap() >= 5 << 20);
    let said = sandbox.ok("home", &["gc", "--older-than", "30d", "--yes"]);
    assert!(said.contains("KEPT") && said.contains("atlas@2.0.0:plain"), "{said}");
    let bytes_before = server.bytes_sent();
    sandbox.ok("home", &["install", "atlas"]);
    assert!(server.bytes_sent() - bytes_before < 5 << 20, "what was kept was not paid for twice");
}

#[test]
fn a_whole_file_that_no_list_names_may_wait_for_the_rest_of_its_package() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let bytes = noise(8, MIB);
    // As a courier's package leaves it whose second half is on another stick.
    let blob = sandbox.write(format!("home/blobs/{}", Sha256::of(&bytes)), &bytes);
    let (_, report) = sandbox.json("home", &["gc", "--yes"]);
    assert_eq!((kinds(&report, true).len(), kinds(&report, false)), (0, vec!["blob".to_owned()]), "{report}");
    assert!(report["items"][0]["reason"].as_str().unwrap().contains("comes by stick"), "{report}");
    sandbox.ok("home", &["gc", "--yes", "--older-than", "30d"]);
    assert!(blob.exists());
    sandbox.ok("home", &["gc", "--yes", "--partial"]);
    assert!(!blob.exists());
}

#[test]
fn partial_downloads_go_by_age_or_all_at_once() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let [old, new] = [b"old", b"new"].map(|text| Sha256::of(text).to_string());
    let month = SystemTime::now() - Duration::from_secs(31 * 86_400);
    for (name, written) in [(&old, month), (&new, SystemTime::now())] {
        for ending in ["part", "journal"] {
            let path = sandbox.write(format!("home/staging/{name}.{ending}"), noise(7, 5000));
            File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        }
    }
    let parity = sandbox.write("home/staging/stick/PARITY-X-P0001.TAR.part", b"parity");
    let suspect = sandbox.write(format!("home/staging/{old}.suspect"), b"wrong");
    let (_, plan) = sandbox.json("home", &["gc"]);
    assert_eq!(kinds(&plan, false), ["partial", "partial", "partial", "suspect"], "{plan}");
    let ages: Vec<u64> =
        plan["items"].as_array().unwrap().iter().map(|it| it["age_seconds"].as_u64().unwrap()).collect();
    assert_eq!(ages.iter().filter(|age| **age > 30 * 86_400).count(), 1, "{ages:?}");
    sandbox.ok("home", &["gc", "--older-than", "30d", "--yes"]);
    let staging = sandbox.path("home/staging");
    assert!(
        !staging.join(format!("{old}.part")).exists() && !staging.join(format!("{old}.journal")).exists()
    );
    assert!(staging.join(format!("{new}.part")).exists() && parity.exists() && suspect.exists());
    sandbox.ok("home", &["gc", "--partial", "--yes"]);
    assert_eq!(files_in(&staging), Vec::<std::path::PathBuf>::new());
    sandbox.run("home", &["gc", "--older-than", "soon"]).failed_with(2);
}

#[test]
fn the_version_before_stays_for_the_way_back_until_it_is_given_up() {
    let sandbox = Sandbox::new();
    let (publisher, _server) = served(&sandbox);
    publisher.add("book", "2.0.0", &[("map.bin", &noise(8, 6 * MIB)), ("chapter.md", b"# A chapter\n")]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    sandbox.ok("home", &["install", "book"]);
    let (_, report) = sandbox.json("home", &["gc", "--yes"]);
    let previous = &report["items"][0];
    assert_eq!(
        (previous["what"].as_str(), previous["goes"].as_bool()),
        (Some("previous"), Some(false)),
        "{report}"
    );
    assert_eq!(previous["package"].as_str(), Some("book@1.0.0:plain"));
    // 9 MiB; the chapter is the same in both versions and stays.
    assert!((9 << 20..(9 << 20) + 64 * 1024).contains(&previous["size_bytes"].as_u64().unwrap()), "{report}");
    // It is verified and repaired as what is installed is.
    let old_map = sandbox.path(format!("home/blobs/{}", Sha256::of(&noise(1, 9 * MIB))));
    corrupt(&old_map, &[6 << 20]);
    let run = sandbox.run("home", &["verify"]);
    assert!(
        run.code == Some(4) && run.stdout.contains("DAMAGED  book (1.0.0, kept for `rollback`)"),
        "{run:?}"
    );
    sandbox.ok("home", &["repair"]);
    sandbox.ok("home", &["--offline", "rollback", "book"]);
    let map = sandbox.ok("home", &["path", "book", "map.bin"]);
    assert!(fs::read(map.trim()).unwrap() == noise(1, 9 * MIB));
    sandbox.ok("home", &["--offline", "rollback", "book"]);
    let (_, report) = sandbox.json("home", &["gc", "--drop-previous", "--yes"]);
    assert!(report["freed_bytes"].as_u64().unwrap() >= 9 << 20, "{report}");
    assert_eq!(fs::read_dir(sandbox.path("home/blobs")).unwrap().count(), 2);
    sandbox.ok("home", &["verify"]);
}

#[test]
fn what_repair_needs_is_kept() {
    let sandbox = Sandbox::new();
    let (_publisher, server) = served(&sandbox);
    let digest = Sha256::of(&noise(1, 9 * MIB));
    corrupt(&sandbox.path(format!("home/blobs/{digest}")), &[5]);
    sandbox.run("home", &["verify"]).failed_with(4);
    let (_, report) = sandbox.json("home", &["gc", "--yes"]);
    assert_eq!(
        (kinds(&report, true).len(), kinds(&report, false)),
        (0, vec!["damaged".to_owned()]),
        "{report}"
    );
    assert!(sandbox.ok("home", &["gc"]).contains("book@1.0.0:plain"));
    let bytes_before = server.bytes_sent();
    sandbox.ok("home", &["repair"]);
    assert!(server.bytes_sent() - bytes_before < 5 << 20);
}

#[test]
fn stopped_before_any_removal_it_loses_nothing_and_the_next_run_completes() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let before = contents(&sandbox.path("home"));
    let home = Home::at(sandbox.path("home"));
    let options = GcOptions::default();
    let mut num_stops = 0;
    loop {
        litter(&sandbox, "home");
        // The program dies before its n-th removal; every other time it is stopped by the user.
        let monitor = DiesAt::new(num_stops, num_stops % 2 == 1);
        let ended = catch_unwind(AssertUnwindSafe(|| gc(&home, &options, &monitor)));
        for (path, length) in &before {
            assert_eq!(fs::metadata(path).unwrap().len(), *length, "{path} after stop {num_stops}");
        }
        if ended.is_ok_and(|outcome| outcome.is_ok()) {
            break;
        }
        let rest = gc(&home, &options, &Silent).unwrap();
        assert!(rest.items.iter().all(|item| item.goes && item.what != GcKind::Partial));
        assert_eq!(contents(&sandbox.path("home")), before, "after stop {num_stops}");
        num_stops += 1;
    }
    assert_eq!(num_stops, 11, "as many stops as things to remove");
    sandbox.ok("home", &["verify"]);
}

#[test]
fn killed_at_random_moments_it_loses_nothing_and_the_next_run_completes() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let before = contents(&sandbox.path("home"));
    let mut dice = Dice::new(5);
    let mut num_kills = 0;
    for round in 0..rounds(15, 150) {
        for number in 0..300_u32 {
            let digest = Sha256::of(&number.to_le_bytes());
            sandbox.write(format!("home/blobs/{digest}"), number.to_le_bytes());
        }
        litter(&sandbox, "home");
        let mut child = sandbox
            .command("home")
            .args(["gc", "--yes", "--partial"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(dice.below(60)));
        let _ = child.kill();
        num_kills += u32::from(child.wait().unwrap().code().is_none());
        for (path, length) in &before {
            assert_eq!(fs::metadata(path).unwrap().len(), *length, "{path} in round {round}");
        }
        sandbox.ok("home", &["gc", "--yes", "--partial"]);
        assert_eq!(contents(&sandbox.path("home")), before, "in round {round}");
    }
    println!("{num_kills} kills");
    sandbox.ok("home", &["verify"]);
}

#[test]
fn one_command_at_a_time_changes_a_home() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    litter(&sandbox, "home");
    let held = Lock::acquire(&sandbox.path("home/lock")).unwrap();
    let said = sandbox.run("home", &["gc", "--yes"]).failed_with(1);
    assert!(said.contains("another localml is at work"), "{said}");
    assert!(sandbox.ok("home", &["gc"]).contains("WOULD GO"), "a look is always possible");
    drop(held);
    sandbox.ok("home", &["gc", "--yes"]);
}

#[test]
fn a_home_that_cannot_be_written_is_told_and_its_plan_still_shown() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    litter(&sandbox, "home");
    let home = sandbox.path("home");
    let shell = |arguments: &str| {
        let script = format!(
            "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}' || exit 99; exec '{1}' --home '{0}' {arguments}",
            home.display(),
            env!("CARGO_BIN_EXE_localml")
        );
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).output()
    };
    let Some(plan) = shell("gc").ok().filter(|output| ![Some(99), Some(1)].contains(&output.status.code()))
    else {
        return skip("a read-only home: this user may not mount");
    };
    assert!(plan.status.success() && String::from_utf8_lossy(&plan.stdout).contains("WOULD GO"), "{plan:?}");
    for deed in ["gc --yes", "repair", "adopt --scan /tmp/no-such-folder"] {
        let refused = shell(deed).unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{deed}: {said}");
        assert!(
            said.contains("Read-only file system") && said.contains("mount it writable"),
            "{deed}: {said}"
        );
    }
    let verified = shell("verify").unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_record_that_cannot_be_read_stops_it_before_the_first_removal() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    litter(&sandbox, "home");
    sandbox.write("home/installed/book.json", "{");
    let before = contents(&sandbox.path("home"));
    let said = sandbox.run("home", &["gc", "--yes"]).failed_with(4);
    assert!(said.contains("is damaged"), "{said}");
    assert_eq!(contents(&sandbox.path("home")), before);
}
