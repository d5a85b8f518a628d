//! Export to a stick, and import from one, that is pulled out at any moment.

use crate::support::drill::{Dice, rounds};
use crate::support::fault_drive::{Faults, Rules, Survival};
use crate::support::fault_fs::FaultFs;
use crate::support::fault_scene::{Checked, Scene, keep};

/// Small enough to go round often, and more than one piece.
const LARGE_BYTES: usize = 5 << 20;

fn pulled_out_after(num_operations: u64) -> Faults {
    Faults { operations_left: Some(num_operations), ..Faults::default() }
}

#[test]
fn an_export_cut_off_anywhere_leaves_the_old_bundle_or_the_new_one_whole() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(stick) = scene.stick("first") else { return };
    let (run, num_operations, _) = stick.count(|| scene.export(&stick.path()));
    assert_eq!(run.code, Some(0), "{run:?}");
    for seed in 0..rounds(40, 400) {
        let Some(mut stick) = scene.stick("first") else { return };
        let generation = keep(scene.check_stick(&stick.path(), 1), seed);
        stick.arm(pulled_out_after(Dice::new(seed).below(num_operations)));
        let is_promised = scene.export(&stick.path()).code == Some(0);
        stick.replug(Survival::Seed(seed));
        let now = keep(scene.check_stick(&stick.path(), generation), seed);
        assert!(!is_promised || now > generation, "with seed {seed}: it was said to be safe to remove");
        let again = scene.export(&stick.path());
        assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
        stick.replug(Survival::Nothing);
        keep(scene.check_stick(&stick.path(), generation + 1), seed);
        keep(scene.check_brings_all(&stick.path(), "after-export"), seed);
    }
}

#[test]
fn a_first_export_cut_off_anywhere_is_nothing_yet_and_is_then_completed() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(stick) = scene.stick("asked") else { return };
    let (run, num_operations, _) = stick.count(|| scene.export(&stick.path()));
    assert_eq!(run.code, Some(0), "{run:?}");
    for seed in 0..rounds(40, 400) {
        let Some(mut stick) = scene.stick("asked") else { return };
        // Every other time in the last steps, where the small files are written.
        let left = Dice::new(seed).below(num_operations);
        let left = if seed % 2 == 0 { left } else { num_operations - left.min(60) };
        stick.arm(pulled_out_after(left));
        let is_promised = scene.export(&stick.path()).code == Some(0);
        stick.replug(Survival::Seed(seed));
        let held = keep(scene.check_first(&stick.path()), seed);
        assert!(!is_promised || held.len() == 3, "with seed {seed}: it was said to be safe to remove");
        let again = scene.export(&stick.path());
        assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
        stick.replug(Survival::Nothing);
        keep(scene.check_stick(&stick.path(), 1), seed);
        keep(scene.check_brings_all(&stick.path(), "after-first"), seed);
    }
}

/// Exports, pulls the stick out in the very moment of "safe to remove", and looks whether it was.
fn pull_out_when_told(scene: &Scene, seed: u64, ignores_sync: bool) -> Option<Checked> {
    let mut stick = scene.stick("first")?;
    stick.arm(Faults { ignores_sync, ..Faults::default() });
    let run = scene.export(&stick.path());
    assert!(run.code == Some(0) && run.stdout.contains("safe to remove"), "{run:?}");
    stick.replug(Survival::Seed(seed));
    let is_there = scene.check_stick(&stick.path(), 2);
    Some(is_there.and_then(|_| scene.check_brings_all(&stick.path(), "when-told")))
}

#[test]
fn safe_to_remove_means_this_very_moment() {
    let scene = Scene::new(LARGE_BYTES);
    for seed in 0..rounds(8, 80) {
        let Some(promise) = pull_out_when_told(&scene, seed, false) else { return };
        keep(promise, seed);
    }
}

#[test]
fn an_import_cut_off_anywhere_leaves_each_package_as_it_was_or_as_it_should_be() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(stick) = scene.stick("second") else { return };
    let home = scene.fresh_site("whole");
    let (run, num_operations, _) = stick.count(|| scene.import(&home, &stick.path()));
    assert_eq!(run.code, Some(0), "{run:?}");
    for seed in 0..rounds(40, 400) {
        let Some(mut stick) = scene.stick("second") else { return };
        let home = scene.fresh_site("cut-off");
        stick.arm(pulled_out_after(Dice::new(seed).below(num_operations)));
        scene.import(&home, &stick.path());
        keep(scene.check_site(&home), seed);
        stick.replug(Survival::Seed(seed));
        let again = scene.import(&home, &stick.path());
        assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
        keep(scene.check_complete(&home), seed);
    }
}

/// A site on a disk that loses power after some operations; `None` where nothing can be mounted.
fn lose_power_in_import(
    scene: &Scene,
    seed: u64,
    ignores_sync: bool,
    num_operations: u64,
) -> Option<Checked> {
    let mut disk = FaultFs::new(Rules::Journalled, 4 << 30)?;
    disk.load(&scene.sandbox.path("site"));
    let left = Dice::new(seed).below(num_operations);
    disk.arm(Faults { operations_left: Some(left), ignores_sync, ..Faults::default() });
    scene.import(&disk.path(), &scene.sandbox.path("second"));
    disk.replug(Survival::Seed(seed));
    if let Err(broken) = scene.check_site(&disk.path()) {
        return Some(Err(broken));
    }
    let again = scene.import(&disk.path(), &scene.sandbox.path("second"));
    if again.code != Some(0) {
        return Some(Err(format!("{again:?}")));
    }
    Some(scene.check_complete(&disk.path()))
}

/// How many operations a whole import takes on the site's disk.
fn operations_of_import(scene: &Scene) -> Option<u64> {
    let disk = FaultFs::new(Rules::Journalled, 4 << 30)?;
    disk.load(&scene.sandbox.path("site"));
    let (run, num_operations, _) = disk.count(|| scene.import(&disk.path(), &scene.sandbox.path("second")));
    assert_eq!(run.code, Some(0), "{run:?}");
    Some(num_operations)
}

#[test]
fn a_power_cut_at_the_site_leaves_each_package_as_it_was_or_as_it_should_be() {
    let scene = Scene::new(LARGE_BYTES);
    let Some(num_operations) = operations_of_import(&scene) else { return };
    for seed in 0..rounds(40, 400) {
        let Some(promise) = lose_power_in_import(&scene, seed, false, num_operations) else { return };
        keep(promise, seed);
    }
}

#[test]
fn these_tests_would_notice_if_nothing_were_synced() {
    let scene = Scene::new(LARGE_BYTES);
    let mut num_broken_sticks = 0;
    for seed in 0..8 {
        let Some(promise) = pull_out_when_told(&scene, seed, true) else { return };
        num_broken_sticks += usize::from(promise.is_err());
    }
    assert!(num_broken_sticks > 0, "a stick that ignores fsync kept every promise");
    let Some(num_operations) = operations_of_import(&scene) else { return };
    let is_broken = |seed: &u64| {
        lose_power_in_import(&scene, *seed, true, num_operations).is_some_and(|promise| promise.is_err())
    };
    let broken = (0..60).find(is_broken);
    assert!(broken.is_some(), "a disk that ignores fsync kept every promise");
}
