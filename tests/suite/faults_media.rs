//! Media that are full, decayed, damaged, or smaller than their label says.

use std::fs;

use crate::support::drill::{Dice, rounds};
use crate::support::fault_drive::{Faults, Rules, Survival};
use crate::support::fault_fs::FaultFs;
use crate::support::fault_medium::Beyond;
use crate::support::fault_scene::{Scene, keep};

const MIB: u64 = 1 << 20;
const LARGE_BYTES: usize = 5 << 20;

/// The largest volume of the second export: the beginning of the large file is in it.
fn large_volume(stick: &FaultFs) -> (String, u64) {
    let files = stick.drive().files();
    files.into_iter().filter(|(path, _)| path.ends_with(".TAR")).max_by_key(|(_, size)| *size).unwrap()
}

fn name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_stick_that_is_full_at_any_mebibyte_keeps_what_it_held_and_goes_on_with_more_room() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(stick) = scene.stick("first") else { return };
    let (_, _, bytes_written) = stick.count(|| scene.export(&stick.path()));
    for room_bytes in (0..=bytes_written / MIB).map(|mib| mib * MIB) {
        let Some(mut stick) = scene.stick("first") else { return };
        stick.arm(Faults { room_left_bytes: Some(room_bytes), ..Faults::default() });
        let run = scene.export(&stick.path());
        assert_eq!(run.code, Some(6), "{room_bytes}: {run:?}");
        keep(scene.check_stick(&stick.path(), 1), room_bytes);
        stick.replug(Survival::Seed(room_bytes));
        keep(scene.check_stick(&stick.path(), 1), room_bytes);
        let (again, _, _) = stick.count(|| scene.export(&stick.path()));
        assert_eq!(again.code, Some(0), "{again:?}");
        keep(scene.check_brings_all(&stick.path(), "after-full"), room_bytes);
    }
}

#[test]
fn a_stick_that_says_it_is_too_small_is_left_as_it_is() {
    let scene = Scene::new(LARGE_BYTES);
    for room_bytes in (0..5).map(|mib| mib * MIB) {
        let Some(stick) = scene.stick("first") else { return };
        let free_bytes = stick.drive().free_bytes();
        stick.drive().capacity_bytes -= free_bytes - room_bytes;
        let before = stick.drive().files();
        let run = scene.export(&stick.path());
        assert_eq!(run.code, Some(6), "{run:?}");
        assert_eq!(stick.drive().files(), before);
    }
}

#[test]
fn a_site_that_is_full_at_any_mebibyte_loses_nothing_and_goes_on_with_more_room() {
    let scene = Scene::new(LARGE_BYTES);
    let stick = scene.sandbox.path("second");
    let site = || {
        let disk = FaultFs::new(Rules::Journalled, 4 << 30)?;
        disk.load(&scene.sandbox.path("site"));
        Some(disk)
    };
    let Some(disk) = site() else { return };
    let (_, _, bytes_written) = disk.count(|| scene.import(&disk.path(), &stick));
    for room_bytes in (0..=bytes_written / MIB).map(|mib| mib * MIB) {
        let Some(disk) = site() else { return };
        disk.arm(Faults { room_left_bytes: Some(room_bytes), ..Faults::default() });
        let run = scene.import(&disk.path(), &stick);
        assert_eq!(run.code, Some(6), "{room_bytes}: {run:?}");
        keep(scene.check_site(&disk.path()), room_bytes);
        disk.arm(Faults::default());
        let again = scene.import(&disk.path(), &stick);
        assert_eq!(again.code, Some(0), "{room_bytes}: {again:?}");
        keep(scene.check_complete(&disk.path()), room_bytes);
    }
}

#[test]
fn ranges_that_cannot_be_read_are_named_and_cost_only_what_is_in_them() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(stick) = scene.stick("second") else { return };
    let (path, size_bytes) = large_volume(&stick);
    for seed in 0..rounds(6, 60) {
        let at = Dice::new(seed).below(size_bytes);
        stick.arm(Faults { unreadable: vec![(name_of(&path), at..at + 1)], ..Faults::default() });
        // What an earlier round brought into the page cache must not hide it.
        drop_pages(&stick);
        let home = scene.fresh_site("bad-sector");
        let run = scene.import(&home, &stick.path());
        let held = keep(scene.check_site(&home), seed);
        assert_eq!(run.code == Some(0), held.len() == 3, "with seed {seed}: {run:?}");
        assert!(run.code == Some(0) || run.stdout.contains(&name_of(&path)), "with seed {seed}: {run:?}");
        stick.arm(Faults::default());
        assert_eq!(scene.import(&home, &stick.path()).code, Some(0));
        keep(scene.check_complete(&home), seed);
    }
}

fn drop_pages(stick: &FaultFs) {
    let files = stick.drive().files();
    for (path, _) in files {
        let file = fs::File::open(stick.path().join(path.trim_start_matches('/'))).unwrap();
        localml::disk::drop_cached_pages(&file);
    }
}

#[test]
fn a_range_that_cannot_be_written_is_never_called_safe() {
    let scene = Scene::new(LARGE_BYTES);
    let files: Vec<String> = {
        let Some(stick) = scene.stick("second") else { return };
        stick.drive().files().iter().map(|(path, _)| name_of(path)).collect()
    };
    for (seed, name) in (0u64..).zip(["V0001.TAR", "V0002.TAR", "BUNDLE.JSON", "STICK.A", "STICK.B"]) {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
        let Some(mut stick) = scene.stick("first") else { return };
        stick.arm(Faults { unwritable: vec![(name.to_owned(), 0..1)], ..Faults::default() });
        let run = scene.export(&stick.path());
        let is_spared = name == "STICK.A";
        assert_eq!(run.code == Some(0), is_spared, "{name}: {run:?}");
        assert_eq!(run.stdout.contains("safe to remove"), is_spared, "{name}: {run:?}");
        stick.replug(Survival::Seed(seed));
        keep(scene.check_stick(&stick.path(), 1), seed);
        assert_eq!(scene.export(&stick.path()).code, Some(0), "{name}");
        keep(scene.check_brings_all(&stick.path(), "after-unwritable"), seed);
    }
}

#[test]
fn bits_that_flip_anywhere_on_a_stick_install_nothing_wrong_and_the_next_export_heals_it() {
    check_decay(|stick, dice, path, size_bytes| {
        stick.drive().flip(path, dice.below(size_bytes)).unwrap();
    });
}

#[test]
fn files_that_are_cut_or_empty_install_nothing_wrong_and_the_next_export_heals_them() {
    check_decay(|stick, dice, path, size_bytes| {
        let length = if dice.chance(50) { 0 } else { dice.below(size_bytes) };
        stick.drive().cut(path, length).unwrap();
    });
}

/// Does `harm` to one to three files of a stick, round after round, and checks what comes of it.
fn check_decay(harm: impl Fn(&FaultFs, &mut Dice, &str, u64)) {
    let scene = Scene::new(LARGE_BYTES);
    for seed in 0..rounds(24, 240) {
        let Some(mut stick) = scene.stick("second") else { return };
        let mut dice = Dice::new(seed);
        let files = stick.drive().files();
        for _ in 0..=dice.below(3) {
            let (path, size_bytes) = &files[dice.below(files.len() as u64) as usize];
            harm(&stick, &mut dice, path, *size_bytes);
        }
        stick.replug(Survival::Nothing);
        check_decayed(&scene, &stick, seed);
    }
}

/// Imports from a stick that has decayed: nothing wrong comes in, "all is well" is said only when it is, and the next
/// export makes the stick whole.
fn check_decayed(scene: &Scene, stick: &FaultFs, seed: u64) {
    let home = scene.fresh_site("decayed");
    let run = scene.import(&home, &stick.path());
    let held = keep(scene.check_site(&home), seed);
    let has_one_slot = run.stdout.contains("this slot of the commit record is damaged");
    if run.code == Some(0) {
        // With the newest slot and the new description both lost, nothing tells that there was a new bundle.
        assert!(has_one_slot || scene.check_complete(&home).is_ok(), "with seed {seed}: {run:?}");
    } else {
        let names_a_file = ["V000", "BUNDLE.JSON", "TRUST", "STICK."]
            .iter()
            .any(|name| run.stdout.contains(name) || run.stderr.contains(name));
        assert!(names_a_file, "with seed {seed}, {} packages are here: {run:?}", held.len());
    }
    let again = scene.export(&stick.path());
    assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
    let run = scene.import(&home, &stick.path());
    // The description of the older bundle, which this export does not write, may still be damaged.
    assert!(matches!(run.code, Some(0 | 8)), "with seed {seed}: {run:?}");
    keep(scene.check_complete(&home), seed);
}

#[test]
fn a_stick_with_a_false_label_is_never_called_safe() {
    let scene = Scene::new(LARGE_BYTES);
    for beyond in [Beyond::Vanishes, Beyond::Wraps] {
        for real_mib in 0..5 {
            let Some(mut stick) = scene.stick("first") else { return };
            stick.fake_capacity(real_mib * MIB, beyond);
            let run = scene.export(&stick.path());
            assert!(run.code != Some(0) && !run.stdout.contains("safe to remove"), "{real_mib}: {run:?}");
            assert_eq!(run.code, Some(4), "{run:?}");
            stick.replug(Survival::Seed(real_mib));
            let verified = scene.verify_stick(&stick.path());
            // What wraps may have eaten the old bundle; then it must be said.
            let is_whole = scene.check_stick(&stick.path(), 1).is_ok();
            assert!(is_whole || verified.code == Some(4), "{verified:?}");
            assert!(is_whole || beyond == Beyond::Wraps);
        }
    }
}

#[test]
fn a_controller_that_deceives_until_it_is_unplugged_is_found_by_stick_verify() {
    let scene = Scene::new(LARGE_BYTES);
    // With little real room the new commit record is lost too, and only the old one can be read.
    for real_mib in 0..6 {
        let Some(mut stick) = scene.stick("first") else { return };
        stick.fake_capacity(real_mib * MIB, Beyond::IsRememberedUntilUnplugged);
        assert_eq!(scene.export(&stick.path()).code, Some(0), "nobody can tell while it is plugged in");
        assert_eq!(scene.verify_stick(&stick.path()).code, Some(0));
        stick.replug(Survival::Nothing);
        let run = scene.verify_stick(&stick.path());
        assert!(run.code == Some(4) && run.stdout.contains("STICK."), "{real_mib}: {run:?}");
        keep(scene.check_stick(&stick.path(), 1), real_mib);
    }
}

#[test]
fn a_stick_of_which_only_a_volume_is_lost_is_found_by_stick_verify() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(mut stick) = scene.stick("first") else { return };
    assert_eq!(scene.export(&stick.path()).code, Some(0));
    let (path, size_bytes) = large_volume(&stick);
    stick.drive().flip(&path, size_bytes / 2).unwrap();
    stick.replug(Survival::Nothing);
    let run = scene.verify_stick(&stick.path());
    assert!(run.code == Some(4) && run.stdout.contains(path.trim_start_matches("/LOCALML/")), "{run:?}");
}
