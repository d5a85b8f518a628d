//! What an export says before its first byte: how long it will take on this stick, and why it cannot be.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;

fn cafe(sandbox: &Sandbox, size_bytes: usize) {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("map", "1.0.0", &[("map.bin", &noise(1, size_bytes))]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "map"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
}

#[test]
fn an_unknown_stick_is_tried_and_a_known_one_is_remembered() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, 5 << 20);
    sandbox.write("stick/letter.txt", "mine");
    let run = sandbox.run("cafe", &["--offline", "export", "stick", "--plan"]);
    assert!(
        run.code == Some(0) && run.stderr.contains("trying how fast the stick is: up to 16 MiB"),
        "{run:?}"
    );
    assert!(run.stdout.contains("by a short trial") && run.stdout.contains("/s read"), "{run:?}");
    assert_eq!(fs::read_dir(sandbox.path("stick")).unwrap().count(), 1, "a plan leaves nothing behind");

    let (code, report) = sandbox.json("cafe", &["--offline", "export", "stick"]);
    assert_eq!((code, &report["pace"]["source"]), (Some(0), &json!("measured")), "{report}");
    let (write, read) = (&report["pace"]["write_bytes_per_second"], &report["pace"]["read_bytes_per_second"]);
    assert!(write.as_u64() > Some(0) && read.as_u64() > Some(0));

    let (_, stick) = sandbox.json("cafe", &["stick", "info", "stick"]);
    let paces: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("cafe/paces.json")).unwrap()).unwrap();
    let remembered = &paces["sticks"][stick["stick_id"].as_str().unwrap()];
    assert_eq!(&remembered["write_bytes_per_second"], write, "{paces}");

    // With 1 MB/s written and 2 MB/s read, so many bytes take exactly so long; no trial is needed.
    let slow = json!({"format": 1, "sticks": {stick["stick_id"].as_str().unwrap(): {
        "write_bytes_per_second": 1_000_000, "read_bytes_per_second": 2_000_000, "measured_at": 1}}});
    sandbox.write("cafe/paces.json", slow.to_string());
    sandbox.ok(
        "cafe",
        &[
            "adopt",
            sandbox.write("more.bin", noise(2, 3_000_000)).to_str().unwrap(),
            "--name",
            "more",
            "--kind",
            "knowledge",
        ],
    );
    let (_, plan) = sandbox.json("cafe", &["--offline", "export", "stick", "more", "--plan"]);
    let size_bytes = plan["size_bytes"].as_u64().unwrap();
    let seconds = size_bytes.div_ceil(1_000_000) + size_bytes.div_ceil(2_000_000);
    assert_eq!(
        (&plan["pace"]["source"], plan["pace"]["seconds"].as_u64()),
        (&json!("remembered"), Some(seconds))
    );
    assert!(plan["facts"]["free_bytes"].as_u64() > Some(0), "{plan}");
}

#[test]
fn a_stick_that_takes_no_writes_is_named_before_the_first_byte() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, 1000);
    let Some(mounted) = read_only_folder() else {
        skip("a stick that takes no writes: nothing here is mounted read-only");
        return;
    };
    let said = sandbox.run("cafe", &["--offline", "export", mounted.to_str().unwrap()]).failed_with(1);
    assert!(said.contains("is mounted read-only, so nothing can be written to it"), "{said}");
    assert!(said.contains("hint: some sticks have a switch"), "{said}");
}

/// A folder on a file system that this machine has mounted read-only.
fn read_only_folder() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let folders = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (folder, options) = (words.nth(1)?, words.nth(1)?);
        options.split(',').any(|option| option == "ro").then(|| PathBuf::from(folder))
    });
    folders.into_iter().find(|folder| localml::disk::is_read_only(folder).unwrap_or(false) && folder.is_dir())
}

#[test]
fn too_many_volumes_and_too_little_room_each_have_their_own_error() {
    let sandbox = Sandbox::new();
    cafe(&sandbox, 9 << 20);
    let said = sandbox.run("cafe", &["--offline", "export", "stick", "--volume-size", "1kB"]).failed_with(2);
    assert!(said.contains("a volume of 1000 bytes cannot work"), "{said}");
    let said = sandbox.run("cafe", &["--offline", "export", "stick", "--volume-size", "4GiB"]).failed_with(2);
    assert!(said.contains("a volume of 4294967296 bytes cannot work"), "{said}");
    assert_eq!(fs::read_dir(sandbox.path("stick")).unwrap().count(), 0);
    // A file system of 8 MiB, where this machine has or may make one.
    let Some(small) = small_disk() else {
        skip("a stick of 8 MiB: no small file system can be mounted here");
        return;
    };
    let stick = small.path().to_str().unwrap().to_owned();
    let said = sandbox.run("cafe", &["--offline", "export", &stick]).failed_with(6);
    assert!(said.contains("bytes free") && said.contains("bytes are needed"), "{said}");
    let plan = sandbox.ok("cafe", &["--offline", "export", &stick, "--plan"]);
    assert!(plan.contains("NOT ENOUGH ROOM: the stick has"), "{plan}");
}

/// A tmpfs of 8 MiB; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).output();
    }
}

fn small_disk() -> Option<SmallDisk> {
    let folder = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
    let run = std::process::Command::new("mount").args(mount).arg(folder.path()).output().ok()?;
    run.status.success().then_some(SmallDisk(folder))
}
