//! The real program killed in export and import at random moments, on plain folders.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::drill::{Dice, rounds};
use crate::support::fault_fs::copy_tree;
use crate::support::fault_scene::{Scene, keep};

/// Runs the program and kills it (-9) after some time; true when that came before its end.
fn kill_after(mut command: Command, after: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(after);
    let _ = child.kill();
    // A child that had ended by itself has an exit code.
    child.wait().unwrap().code().is_none()
}

/// How long a deed takes here and now: the kills are spread over it.
fn duration_of(deed: impl FnOnce()) -> Duration {
    let start = Instant::now();
    deed();
    start.elapsed()
}

/// A moment before `whole`.
fn moment(dice: &mut Dice, whole: Duration) -> Duration {
    whole.mul_f64(dice.below(1000) as f64 / 1000.0)
}

/// How far a drill is; a long one is worth watching.
fn say(what: &str, num_kills: u64, num_rounds: u64) {
    if num_rounds.is_multiple_of(20) {
        println!("{what}: {num_kills} kills in {num_rounds} rounds, each then completed");
    }
}

#[test]
fn an_import_that_is_killed_leaves_each_package_as_it_was_or_as_it_should_be() {
    let scene = Scene::new(5 << 20);
    let stick = scene.sandbox.path("second");
    let command = |home: &std::path::Path| {
        let mut command = scene.sandbox.command(home.to_str().unwrap());
        command.arg("--offline").arg("import").arg(&stick);
        command
    };
    let home = scene.fresh_site("whole");
    let whole = duration_of(|| assert!(command(&home).stdout(Stdio::null()).status().unwrap().success()));
    let (mut num_kills, mut seed) = (0, 0);
    while num_kills < rounds(50, 500) {
        let home = scene.fresh_site("killed");
        let mut dice = Dice::new(seed);
        // Some are killed again and again before they may end.
        for _ in 0..=dice.below(3) {
            num_kills += u64::from(kill_after(command(&home), moment(&mut dice, whole)));
            keep(scene.check_site(&home), seed);
        }
        let again = scene.import(&home, &stick);
        assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
        keep(scene.check_complete(&home), seed);
        seed += 1;
        say("imports", num_kills, seed);
    }
}

#[test]
fn an_export_that_is_killed_leaves_the_old_bundle_or_the_new_one_whole() {
    let scene = Scene::new(5 << 20);
    let stick = scene.sandbox.path("killed-stick");
    let command = || {
        let mut command = scene.sandbox.command("cafe");
        command.args(["--offline", "export", stick.to_str().unwrap(), "--volume-size", "5MiB"]);
        command
    };
    copy_tree(&scene.sandbox.path("first"), &stick);
    let whole = duration_of(|| assert!(command().stdout(Stdio::null()).status().unwrap().success()));
    let (mut num_kills, mut seed) = (0, 0);
    while num_kills < rounds(50, 500) {
        std::fs::remove_dir_all(&stick).unwrap();
        copy_tree(&scene.sandbox.path("first"), &stick);
        let mut dice = Dice::new(1000 + seed);
        for _ in 0..=dice.below(3) {
            num_kills += u64::from(kill_after(command(), moment(&mut dice, whole)));
            keep(scene.check_stick(&stick, 1), seed);
        }
        let again = scene.export(&stick);
        assert_eq!(again.code, Some(0), "with seed {seed}: {again:?}");
        keep(scene.check_stick(&stick, 2), seed);
        keep(scene.check_brings_all(&stick, "after-kills"), seed);
        seed += 1;
        say("exports", num_kills, seed);
    }
}
