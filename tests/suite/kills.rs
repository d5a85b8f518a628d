//! The real program killed in export and import at random moments, on plain folders.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::drill::{Dice, rounds};
use crate::support::fault_fs::copy_tree;
use crate::support::fault_scene::{Scene, keep};

/// Kills that are spread over the time that a deed takes here and now.
struct Killer {
    dice: Dice,
    whole: Duration,
    num_kills: u64,
}

impl Killer {
    /// Lets the deed run to its end once, to know how long it takes.
    fn new(seed: u64, mut command: Command) -> Self {
        let start = Instant::now();
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        Self { dice: Dice::new(seed), whole: start.elapsed(), num_kills: 0 }
    }

    /// Runs the program and kills it (-9) at some moment, unless it ends before.
    fn kill(&mut self, mut command: Command) {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(self.whole.mul_f64(self.dice.below(1000) as f64 / 1000.0));
        let _ = child.kill();
        // A child that had ended by itself has an exit code. The machine may be less busy by now.
        match child.wait().unwrap().code() {
            None => {
                self.num_kills += 1;
                self.whole = self.whole.mul_f64(1.02);
            }
            Some(_) => self.whole = self.whole.mul_f64(0.9),
        }
    }
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
    let mut killer = Killer::new(1, command(&scene.fresh_site("whole")));
    let mut round = 0;
    while killer.num_kills < rounds(50, 500) {
        let home = scene.fresh_site("killed");
        // Some are killed again and again before they may end.
        for _ in 0..=killer.dice.below(3) {
            killer.kill(command(&home));
            keep(scene.check_site(&home), round);
        }
        let again = scene.import(&home, &stick);
        assert_eq!(again.code, Some(0), "in round {round}: {again:?}");
        keep(scene.check_complete(&home), round);
        round += 1;
        say("imports", killer.num_kills, round);
    }
}

/// Kills exports to a stick again and again, each time as `before` leaves it, until there are enough; each is then
/// completed. `check` looks at the stick after each kill; the record of a completed one is of this generation.
fn kill_exports(
    (what, scene, before): (&str, &Scene, &str),
    (seed, least_kills, generation): (u64, u64, u64),
    check: impl Fn(&Path, u64),
) {
    let stick = scene.sandbox.path("killed-stick");
    let command = || {
        let mut command = scene.sandbox.command("cafe");
        command.args(["--offline", "export", stick.to_str().unwrap(), "--volume-size", "5MiB"]);
        command
    };
    let fresh = || {
        if stick.exists() {
            std::fs::remove_dir_all(&stick).unwrap();
        }
        copy_tree(&scene.sandbox.path(before), &stick);
    };
    fresh();
    let mut killer = Killer::new(seed, command());
    let mut round = 0;
    while killer.num_kills < least_kills {
        fresh();
        for _ in 0..=killer.dice.below(3) {
            killer.kill(command());
            check(&stick, round);
        }
        let again = scene.export(&stick);
        assert_eq!(again.code, Some(0), "in round {round}: {again:?}");
        keep(scene.check_stick(&stick, generation), round);
        keep(scene.check_brings_all(&stick, "after-kills"), round);
        round += 1;
        say(what, killer.num_kills, round);
    }
}

#[test]
fn a_first_export_that_is_killed_is_nothing_yet_and_is_then_completed() {
    let scene = Scene::new(5 << 20);
    kill_exports(("first exports", &scene, "asked"), (3, rounds(30, 300), 1), |stick, round| {
        // The receipt goes to a copy: nothing has arrived.
        let visit = scene.sandbox.path("visit");
        let _ = std::fs::remove_dir_all(&visit);
        copy_tree(stick, &visit);
        keep(scene.check_first(&visit), round);
    });
}

#[test]
fn an_export_that_is_killed_leaves_the_old_bundle_or_the_new_one_whole() {
    let scene = Scene::new(5 << 20);
    kill_exports(("exports", &scene, "first"), (2, rounds(50, 500), 2), |stick, round| {
        keep(scene.check_stick(stick, 1), round);
    });
}
