//! `import` of loose files where the room is short, the user stops, or a folder holds much that is nobody's.

use std::fs;
use std::path::Path;
use std::process::Command;

use localml::error::ErrorKind;
use localml::home::Home;
use localml::ops::import_loose;
use localml::progress::Silent;
use serde_json::Value;

use crate::support::fault_drive::Rules;
use crate::support::fault_fs::FaultFs;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::stops::Stops;

const MIB: usize = 1 << 20;

/// A registry with `note` and `book` of 1 MiB, and `atlas` of 24 MiB, known to `site`; all three files in `downloads`.
fn downloaded(sandbox: &Sandbox) {
    let publisher = Publisher::new(sandbox, "ngo");
    let files = [("note", b"a note".to_vec()), ("book", noise(1, MIB)), ("atlas", noise(2, 24 * MIB))];
    for (package, bytes) in &files {
        publisher.add(package, "1.0.0", &[("file.bin", bytes)]);
        sandbox.write(format!("downloads/{package}"), bytes);
    }
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
}

/// The program with its home on a drive.
fn on(drive: &FaultFs, sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command("site");
    command.env("LOCALML_HOME", drive.path()).arg("--offline").args(args);
    command
}

fn parts_in(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home.join("staging")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".part")).collect()
}

#[test]
fn a_file_for_which_there_is_no_room_is_named_and_all_others_are_installed() {
    let Some(drive) = FaultFs::new(Rules::Journalled, 20 * MIB as u64) else { return };
    let sandbox = Sandbox::new();
    downloaded(&sandbox);
    drive.load(&sandbox.path("site"));
    let run = Run::from(on(&drive, &sandbox, &["--json", "import", "downloads"]).output().unwrap());
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    let reason = report["left"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("could not take `downloads/atlas`"), "{reason}");
    assert!(reason.contains("bytes free where") && reason.contains("`localml gc`"), "{reason}");
    let installed = report["installed"].as_array().unwrap().len();
    assert_eq!((run.code, installed, parts_in(&drive.path())), (Some(8), 2, Vec::new()), "{report}");
    let said = Run::from(on(&drive, &sandbox, &["import", "downloads"]).output().unwrap());
    assert!(said.code == Some(8) && said.stdout.contains("NOT TAKEN  could not take"), "{said:?}");
    // Alone it is an error of its kind.
    let said = Run::from(on(&drive, &sandbox, &["import", "downloads/atlas"]).output().unwrap());
    assert!(said.failed_with(6).contains("downloads/atlas"));
}

#[test]
fn comparing_digests_is_told_and_ends_when_the_user_stops() {
    let sandbox = Sandbox::new();
    downloaded(&sandbox);
    let home = Home::at(sandbox.path("site"));
    let monitor = Stops::in_task("comparing digests", 3 * MIB as u64);
    let error = import_loose(&home, &[sandbox.path("downloads/atlas")], false, &monitor).unwrap_err();
    assert!(error.kind() == ErrorKind::Failed && error.to_string().contains("stopped"), "{error}");
    let total_bytes = 24 * MIB as u64;
    assert_eq!(monitor.totals(), [Some(total_bytes)]);
    assert!(monitor.heard_bytes() < total_bytes, "{} bytes", monitor.heard_bytes());
}

#[test]
fn a_copy_that_is_stopped_leaves_no_half_and_what_was_whole_by_then_is_installed() {
    let sandbox = Sandbox::new();
    downloaded(&sandbox);
    let home = Home::at(sandbox.path("site"));
    // In the order of their names: the note is whole when the atlas is stopped.
    sandbox.write("downloads/a note", b"a note");
    let monitor = Stops::in_task("copying", 3 * MIB as u64);
    let error = import_loose(&home, &[sandbox.path("downloads")], false, &monitor).unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
    assert_eq!(parts_in(home.root()), Vec::<String>::new());
    assert!(sandbox.ok("site", &["list"]).contains("note") && monitor.notes().contains("installed ngo/note"));
    let report = import_loose(&home, &[sandbox.path("downloads")], false, &Silent).unwrap();
    assert_eq!(report.installed.len(), 2, "{report:?}");
}

#[test]
fn gc_removes_the_half_copy_of_an_import_that_was_killed() {
    let sandbox = Sandbox::new();
    downloaded(&sandbox);
    let digest = localml::digest::Sha256::of(&noise(2, 24 * MIB));
    let part = sandbox.write(format!("site/staging/loose-{digest}.part"), noise(2, MIB));
    let (code, report) = sandbox.json("site", &["gc", "--yes"]);
    assert_eq!((code, report["items"][0]["what"].as_str()), (Some(0), Some("temporary")), "{report}");
    assert!(!part.exists());
}

#[test]
fn strangers_beside_the_downloads_cost_no_look_at_the_home_each() {
    let Some(drive) = FaultFs::new(Rules::Journalled, 64 * MIB as u64) else { return };
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    for number in 0..30 {
        publisher.add(&format!("book-{number}"), "1.0.0", &[("book.bin", &noise(number, 9000))]);
    }
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    drive.load(&sandbox.path("site"));
    sandbox.write("downloads/note.txt", b"a note");
    let import = || {
        let (run, num_operations, _) =
            drive.count(|| Run::from(on(&drive, &sandbox, &["import", "downloads"]).output().unwrap()));
        assert_eq!(run.code, Some(0), "{run:?}");
        num_operations
    };
    import();
    sandbox.write("downloads/photo.jpg", noise(99, 5000));
    let with_one = import();
    for number in 0..40 {
        sandbox.write(format!("downloads/photo-{number}.jpg"), noise(100 + number, 5000));
    }
    let with_many = import();
    assert!(with_many < with_one + 100, "{with_one} operations with one stranger, {with_many} with 41");
}
