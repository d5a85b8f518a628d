//! The real program killed (-9) while it fetches through a server that fails, and what that costs on the wire.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use localml::digest::Sha256;
use localml::package::MAX_PIECE_BYTES;
use serde_json::Value;

use localml::progress::size;

use crate::support::drill::{Dice, rounds};
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};

const MIB: u64 = 1024 * 1024;

/// How fast the server sends in these drills, in bytes a second: what is under way at a kill stays small.
const RATE: u64 = 20 * MIB;

/// A package of one large file, served by a registry on loopback.
struct Scene {
    sandbox: Sandbox,
    server: HttpServer,
    size_bytes: u64,
    digest: Sha256,
    path: String,
}

impl Scene {
    fn new(size_bytes: u64) -> Self {
        let sandbox = Sandbox::new();
        let publisher = Publisher::new(&sandbox, "ngo");
        let bytes = noise(7, size_bytes as usize);
        let digest = Sha256::of(&bytes);
        publisher.add("model", "1.0.0", &[("weights.bin", &bytes)]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        publisher.introduce("home", &server.url());
        let path = publisher.path_of(size_bytes);
        server.set_fault(&path, Fault::Throttle(RATE));
        Self { sandbox, server, size_bytes, digest, path }
    }

    fn fetch(&self, more: &[&str]) -> Command {
        let mut command = self.sandbox.command("home");
        command.args(["fetch", "model", "--json"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, more: &[&str]) -> Child {
        self.fetch(more).spawn().unwrap()
    }

    /// Runs to the end; the report.
    fn finish(&self, more: &[&str]) -> Value {
        let run = Run::from(self.fetch(more).output().unwrap());
        assert_eq!(run.code, Some(0), "{run:?}");
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// What the part file holds, in bytes of the disk; 0 when there is none.
    fn part_bytes(&self) -> u64 {
        let part = self.sandbox.path(format!("home/staging/{}.part", self.digest));
        std::fs::metadata(part).map_or(0, |part| part.len())
    }

    /// Waits until the part file has grown to so many bytes; false when the program ended before.
    fn has_grown(&self, child: &mut Child, to_bytes: u64) -> bool {
        while self.part_bytes() < to_bytes {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn assert_whole(&self) {
        let blob = self.sandbox.path(format!("home/blobs/{}", self.digest));
        assert_eq!(Sha256::of(&std::fs::read(blob).unwrap()), self.digest);
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn whenever_it_is_killed_at_most_one_piece_is_fetched_again() {
    let scene = Scene::new(rounds(64, 1024) * MIB);
    let (num_kills, mut dice) = (rounds(10, 100), Dice::new(4));
    for round in 1..=num_kills {
        match dice.below(4) {
            0 => scene.server.queue_fault(&scene.path, Fault::ThrottleAndCut(RATE, dice.below(3 * MIB))),
            1 => scene.server.queue_fault(&scene.path, Fault::Status(503)),
            2 => scene.server.queue_fault(&scene.path, Fault::ThrottleAndCut(RATE, 0)),
            _ => {}
        }
        let before = scene.part_bytes();
        let sent_before = scene.server.bytes_sent();
        let target = (scene.size_bytes * round / (num_kills + 1)).max(before) + dice.below(MIB / 2);
        let mut child = scene.start(&[]);
        assert!(scene.has_grown(&mut child, target), "it ended before its time");
        kill(child);
        let sent_bytes = scene.server.bytes_sent() - sent_before;
        let gained_bytes = scene.part_bytes() - before;
        // What was sent beyond what was gained: fetched again, or lost on the way to the disk.
        let lost_bytes = sent_bytes.saturating_sub(gained_bytes);
        assert!(lost_bytes <= MAX_PIECE_BYTES + MIB, "kill {round}: {lost_bytes} bytes were paid in vain");
    }
    let report = scene.finish(&[]);
    scene.assert_whole();
    let sent_bytes = scene.server.bytes_sent();
    println!(
        "{num_kills} kills: {sent_bytes} bytes sent for {} ({:.4} times), {} in the last run",
        scene.size_bytes,
        sent_bytes as f64 / scene.size_bytes as f64,
        report["wire_bytes"]
    );
    assert!(sent_bytes <= scene.size_bytes + num_kills * (MAX_PIECE_BYTES + MIB));
}

#[test]
fn killed_at_any_moment_and_whatever_the_server_does_it_ends_whole() {
    let scene = Scene::new(rounds(48, 512) * MIB);
    let (num_kills, mut dice) = (rounds(8, 80), Dice::new(9));
    let mut num_early = 0;
    for _ in 0..num_kills {
        let at = dice.below(scene.size_bytes);
        let fault = match dice.below(7) {
            0 => Fault::CorruptByte(at),
            1 => Fault::StallAfter(at / 4),
            2 => Fault::LieAboutRanges,
            3 => Fault::WrongRange,
            4 => Fault::Html,
            5 => Fault::ThrottleAndCut(RATE, dice.below(3 * MIB)),
            _ => Fault::Throttle(RATE),
        };
        scene.server.queue_fault(&scene.path, fault);
        let child = scene.start(&[]);
        // Before the first byte, while it reads back what is here, in the middle, at the end.
        thread::sleep(Duration::from_millis(dice.below(400)));
        num_early += u64::from(scene.part_bytes() == 0);
        kill(child);
    }
    scene.server.clear_faults();
    scene.finish(&[]);
    scene.assert_whole();
    let sent_bytes = scene.server.bytes_sent();
    println!(
        "{num_kills} kills, {num_early} before the first byte: {sent_bytes} bytes for {}",
        scene.size_bytes
    );
    // Nothing of it is a kill's alone: a wrong piece, a lie and what lay in the sockets cost as well.
    assert!(
        sent_bytes <= scene.size_bytes + (num_kills + 1) * (2 * MAX_PIECE_BYTES + 2 * MIB),
        "{sent_bytes}"
    );
}

#[test]
fn a_few_kills_cost_less_than_a_twentieth() {
    // Ten in a whole GiB; in the suite one in the tenth of it.
    let scene = Scene::new(rounds(100, 1024) * MIB);
    let (num_kills, mut dice) = (rounds(1, 10), Dice::new(5));
    let before = scene.server.wire_bytes();
    for round in 1..=num_kills {
        // A line that breaks, too: one connection in two.
        if round % 2 == 1 {
            scene.server.queue_fault(&scene.path, Fault::ThrottleAndCut(RATE, dice.below(3 * MIB)));
        }
        let target = scene.size_bytes * round / (num_kills + 1) + dice.below(20 * MIB);
        let mut child = scene.start(&[]);
        assert!(scene.has_grown(&mut child, target), "it ended before its time");
        kill(child);
    }
    scene.finish(&[]);
    scene.assert_whole();
    let wire_bytes = scene.server.wire_bytes() - before;
    println!("{num_kills} kills: {:.4} times the size", wire_bytes as f64 / scene.size_bytes as f64);
    assert!(wire_bytes * 20 <= scene.size_bytes * 21, "{wire_bytes} bytes for {}", scene.size_bytes);
}

#[test]
fn several_connections_that_are_killed_lose_no_more() {
    let scene = Scene::new(rounds(96, 1024) * MIB);
    let (num_kills, mut dice) = (rounds(3, 20), Dice::new(6));
    scene.server.set_fault(&scene.path, Fault::Throttle(RATE / 4));
    for round in 1..=num_kills {
        let target = scene.server.bytes_sent() + 2 * MIB + dice.below(scene.size_bytes / (num_kills + 2));
        let mut child = scene.start(&["--connections", "4"]);
        while scene.server.bytes_sent() < target {
            assert!(child.try_wait().unwrap().is_none(), "it ended before its time");
            thread::sleep(Duration::from_millis(1));
        }
        kill(child);
        println!("kill {round}: {} bytes sent so far", scene.server.bytes_sent());
    }
    scene.finish(&["--connections", "4"]);
    scene.assert_whole();
    let in_vain = scene.server.bytes_sent() - scene.size_bytes;
    assert!(in_vain <= (num_kills + 1) * (MAX_PIECE_BYTES + 2 * MIB), "{in_vain} bytes in vain");
}

#[test]
fn a_budget_is_never_passed_however_often_it_is_killed() {
    let scene = Scene::new(rounds(64, 512) * MIB);
    let (num_kills, mut dice) = (rounds(5, 50), Dice::new(8));
    let budget_bytes = scene.size_bytes / 2;
    let budget = budget_bytes.to_string();
    let slower = RATE / 8;
    scene.server.set_fault(&scene.path, Fault::Throttle(slower));
    let before = scene.server.wire_bytes();
    for _ in 0..num_kills {
        let child = scene.start(&["--budget", &budget]);
        thread::sleep(Duration::from_millis(50 + dice.below(600)));
        kill(child);
        assert!(scene.server.wire_bytes() - before <= budget_bytes);
    }
    scene.server.set_fault(&scene.path, Fault::Throttle(RATE));
    let run = Run::from(scene.fetch(&["--budget", &budget]).output().unwrap());
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(run.stdout.contains(&format!("the budget of {} is spent", size(budget_bytes))), "{run:?}");
    let wire_bytes = scene.server.wire_bytes() - before;
    println!("{num_kills} kills: {wire_bytes} bytes on the wire of {budget_bytes}");
    assert!(wire_bytes <= budget_bytes, "{wire_bytes} bytes of {budget_bytes}");
    // Nothing is left of it, and nothing is asked for any more.
    let requests = scene.server.requests();
    assert_eq!(Run::from(scene.fetch(&["--budget", &budget]).output().unwrap()).code, Some(6));
    assert_eq!(scene.server.requests(), requests);
    scene.finish(&["--budget", "1GB", "--new-budget"]);
    scene.assert_whole();
}

#[test]
fn two_that_fetch_the_same_do_not_both_pay() {
    let scene = Scene::new(24 * MIB);
    scene.server.set_fault(&scene.path, Fault::Throttle(20 * MIB));
    let first = scene.start(&[]);
    let mut second = scene.sandbox.command("home");
    second.args(["install", "model"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = first;
    assert!(scene.has_grown(&mut first, MIB), "it ended before its time");
    let second = Run::from(second.output().unwrap());
    let first = Run::from(first.wait_with_output().unwrap());
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{first:?} {second:?}");
    assert!(second.stderr.contains("another localml is changing this home; waiting"), "{second:?}");
    assert!(second.stdout.contains("installed model"), "{second:?}");
    let sent_bytes = scene.server.bytes_sent();
    assert!(sent_bytes < scene.size_bytes + MIB, "{sent_bytes} bytes sent");
}
