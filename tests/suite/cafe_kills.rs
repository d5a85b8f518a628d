//! `sync` killed (-9) at random moments, again and again, then run to its end: what is on the stick is whole at every
//! moment, and nothing but the pieces under way is paid for twice.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::drill::{Dice, rounds};
use crate::support::fault_fs::copy_tree;
use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MIB: u64 = 1 << 20;

/// What one kill may cost: a piece that is fetched again, and what lay unread in the sockets.
const KILL_BYTES: u64 = 6 * MIB;

#[test]
fn a_sync_that_is_killed_again_and_again_ends_with_a_whole_stick_and_little_waste() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    for (name, seed, size_bytes) in [("book", 1, 9 * MIB), ("atlas", 2, 2 * MIB), ("note", 3, 2000)] {
        publisher.add(name, "1.0.0", &[("data.bin", &noise(seed, size_bytes as usize))]);
    }
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("first/cafe", &server.url());
    publisher.introduce("first/clinic", publisher.registry().to_str().unwrap());
    fs::create_dir(sandbox.path("first/stick")).unwrap();
    sandbox.ok("first/clinic", &["request", "first/stick", "book", "atlas", "note"]);

    let fresh = |name: &str| {
        let _ = fs::remove_dir_all(sandbox.path(name));
        copy_tree(&sandbox.path("first"), &sandbox.path(name));
    };
    let start = Instant::now();
    fresh("whole");
    sandbox.ok("whole/cafe", &["sync", "whole/stick"]);
    let (mut whole, mut dice) = (start.elapsed(), Dice::new(7));
    let (mut num_kills, mut round) = (0, 0);
    while num_kills < rounds(12, 200) {
        fresh("killed");
        let (before, mut num_here) = (server.bytes_sent(), 0);
        for _ in 0..=dice.below(3) {
            let mut command = sandbox.command("killed/cafe");
            command.args(["sync", "killed/stick"]).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            thread::sleep(whole.mul_f64(dice.below(1000) as f64 / 1000.0));
            let _ = child.kill();
            // One that had ended by itself has an exit code. The machine may be less busy by now.
            match child.wait().unwrap().code() {
                None => num_here += 1,
                Some(_) => whole = whole.mul_f64(0.9).max(Duration::from_millis(20)),
            }
            // Nothing yet, or packages that are whole. The receipt goes to a copy: nothing has arrived.
            let _ = fs::remove_dir_all(sandbox.path("visit"));
            copy_tree(&sandbox.path("killed/clinic"), &sandbox.path("visit/clinic"));
            copy_tree(&sandbox.path("killed/stick"), &sandbox.path("visit/stick"));
            let (code, imported) = sandbox.json("visit/clinic", &["--offline", "import", "visit/stick"]);
            assert!(matches!(code, Some(0 | 3)), "in round {round}: {imported}");
        }
        let (code, report) = sandbox.json("killed/cafe", &["sync", "killed/stick"]);
        assert_eq!(
            (code, report["unmet"].as_array().unwrap().len()),
            (Some(0), 0),
            "in round {round}: {report}"
        );
        let sent = server.bytes_sent() - before;
        let most = 12 * MIB + num_here * KILL_BYTES;
        assert!(sent < most, "in round {round}: {sent} bytes for 11 MiB and {num_here} kills");
        let (code, imported) = sandbox.json("killed/clinic", &["--offline", "import", "killed/stick"]);
        let num_installed = imported["installed"].as_array().unwrap().len();
        assert_eq!((code, num_installed), (Some(0), 3), "in round {round}: {imported}");
        num_kills += num_here;
        round += 1;
    }
    println!("syncs: {num_kills} kills in {round} rounds, each then completed");
}
