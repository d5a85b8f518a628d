//! `sync`: what a plan leaves alone, whose turn it is, what is for a stick only, and what the last line says.

use std::fs;
use std::thread;
use std::time::Duration;

use localml::disk::Lock;
use serde_json::Value;

use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;
use crate::support::stick::files_in;

const MIB: u64 = 1 << 20;

/// A registry `ngo` with `book` (12 MiB in pieces) and `note`, known in `cafe`, and an empty stick.
fn scene(sandbox: &Sandbox) -> (Publisher<'_>, HttpServer) {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &noise(1, 12 * MIB as usize))]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("cafe", &server.url());
    fs::create_dir(sandbox.path("stick")).unwrap();
    (publisher, server)
}

fn sync(sandbox: &Sandbox, more: &[&str]) -> (Option<i32>, Value) {
    sandbox.json("cafe", &[&["sync", "stick"], more].concat())
}

#[test]
fn a_plan_writes_neither_to_the_stick_nor_to_the_list() {
    let sandbox = Sandbox::new();
    let _scene = scene(&sandbox);
    let written = fs::metadata(sandbox.path("stick")).unwrap().modified().unwrap();
    let (_, plan) = sync(&sandbox, &["book", "--keep", "note", "--plan"]);
    assert_eq!(plan["packages"].as_array().unwrap().len(), 2, "{plan}");
    assert!(files_in(&sandbox.path("stick")).is_empty());
    // Not for a moment either: a trial of its speed would have come and gone.
    assert_eq!(fs::metadata(sandbox.path("stick")).unwrap().modified().unwrap(), written);
    assert!(!sandbox.path("cafe/wishlist.toml").exists(), "the list is as it was");
    assert!(plan["pace"].is_null(), "nothing is known of this stick yet: {plan}");
}

#[test]
fn it_waits_its_turn_behind_another_command() {
    let sandbox = Sandbox::new();
    let _scene = scene(&sandbox);
    let held = Lock::acquire(&sandbox.path("cafe/lock")).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(1500));
            drop(held);
        });
        let (code, report) = sync(&sandbox, &["note"]);
        assert_eq!((code, &report["packages"][0]["state"]), (Some(0), &Value::from("written")), "{report}");
    });
}

#[test]
fn what_is_for_a_stick_spends_nothing_without_one() {
    let sandbox = Sandbox::new();
    let (_publisher, server) = scene(&sandbox);
    if sandbox.run("cafe", &["stick", "info"]).code != Some(2) {
        skip("a sync without a stick: one is plugged in here");
        return;
    }
    let before = server.requests();
    for more in [["--site", "clinic"], ["--keep", "book"], ["--only-whole", "--offline"]] {
        let said = sandbox.run("cafe", &[&["sync"][..], &more].concat()).failed_with(2);
        assert!(said.contains("no stick is plugged in"), "{said}");
    }
    assert_eq!(server.requests(), before);
    assert!(!sandbox.path("cafe/wishlist.toml").exists());
}

#[test]
fn without_a_stick_it_says_what_it_spent() {
    let sandbox = Sandbox::new();
    let (publisher, _server) = scene(&sandbox);
    if sandbox.run("cafe", &["stick", "info"]).code != Some(2) {
        skip("a sync without a stick: one is plugged in here");
        return;
    }
    sandbox.ok("cafe", &["install", "note"]);
    publisher.add("note", "1.1.0", &[("note.txt", &noise(4, 500_000))]);
    publisher.publish();
    let (code, report) = sandbox.json("cafe", &["sync"]);
    assert_eq!((code, &report["installed"][0]), (Some(0), &Value::from("note")), "{report}");
    assert!(report["line"]["spent_bytes"].as_u64().unwrap() > 500_000, "{report}");
    // What was paid for what did not come whole counts as well.
    publisher.add("note", "1.2.0", &[("note.txt", &noise(5, 6 << 20))]);
    publisher.publish();
    let (code, report) = sandbox.json("cafe", &["sync", "--budget", "3MB"]);
    assert_eq!((code, &report["left"][0]["name"]), (Some(6), &Value::from("note")), "{report}");
    assert!(report["line"]["spent_bytes"].as_u64().unwrap() > 2_000_000, "{report}");
}

#[test]
fn a_wish_that_nobody_can_meet_says_how_to_get_rid_of_it() {
    let sandbox = Sandbox::new();
    let _scene = scene(&sandbox);
    let run = sandbox.run("cafe", &["sync", "stick", "--keep", "nosuch"]);
    assert!(run.stdout.contains("`localml sync STICK --drop nosuch`"), "{run:?}");
    // As it says; the stick has to be named here because it is no real one.
    sandbox.run("cafe", &["sync", "stick", "note", "--drop", "nosuch"]);
    let run = sandbox.run("cafe", &["sync", "stick", "note"]);
    assert!(!run.stdout.contains("nosuch"), "{run:?}");
}

#[test]
fn money_that_is_gone_asks_for_another_budget_and_not_for_another_day() {
    let sandbox = Sandbox::new();
    let _scene = scene(&sandbox);
    let run = sandbox.run("cafe", &["sync", "stick", "book", "--budget", "2MB"]);
    assert!(run.stdout.contains("with `--new-budget` goes on with it"), "{run:?}");
    assert!(!run.stdout.contains("the same command goes on with the rest"), "{run:?}");
    let (code, report) = sync(&sandbox, &["book", "--budget", "20MB", "--new-budget"]);
    assert_eq!((code, &report["packages"][0]["state"]), (Some(0), &Value::from("written")), "{report}");
}

#[test]
fn a_plan_counts_what_an_older_version_spares() {
    let sandbox = Sandbox::new();
    let (publisher, _server) = scene(&sandbox);
    sandbox.ok("cafe", &["install", "book"]);
    let mut newer = noise(1, 12 * MIB as usize);
    newer[5 * MIB as usize] ^= 1;
    publisher.add("book", "1.1.0", &[("map.bin", &newer)]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    // It asks for the piece list, which is all that the plan of a sync lacks.
    sandbox.ok("cafe", &["upgrade", "--plan"]);
    let (code, plan) = sync(&sandbox, &["book", "--plan"]);
    assert_eq!((code, plan["packages"][0]["fetch_bytes"].as_u64()), (Some(0), Some(4 * MIB)), "{plan}");
    let (code, report) = sync(&sandbox, &["book", "--budget", "5MB", "--only-whole"]);
    assert_eq!((code, &report["packages"][0]["state"]), (Some(0), &Value::from("written")), "{report}");
}
