//! The drill of `repair`: 2 GiB with three damaged pieces, and kills at random moments.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use localml::digest::Sha256;

use crate::support::damage::corrupt;
use crate::support::drill::{Dice, rounds};
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MIB: u64 = 1 << 20;
const PIECE: u64 = 4 * MIB;

/// A package of one file of `size_bytes`, installed from a server.
fn site(sandbox: &Sandbox, size_bytes: u64) -> (HttpServer, Sha256) {
    let publisher = Publisher::new(sandbox, "ngo");
    // Blocks of 1 MiB that all differ: noise for so many bytes takes longer than everything else.
    let mut bytes = noise(9, MIB as usize).repeat((size_bytes / MIB) as usize);
    for (number, block) in bytes.chunks_mut(MIB as usize).enumerate() {
        block[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    let digest = Sha256::of(&bytes);
    publisher.add("model", "1.0.0", &[("model.bin", &bytes)]);
    drop(bytes);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &server.url());
    sandbox.ok("site", &["install", "model"]);
    (server, digest)
}

#[test]
fn a_large_file_with_three_damaged_pieces_costs_three_pieces() {
    let size_bytes = rounds(96 * MIB, 2048 * MIB);
    let sandbox = Sandbox::new();
    let (server, digest) = site(&sandbox, size_bytes);
    let blob = sandbox.path(format!("site/blobs/{digest}"));
    corrupt(&blob, &[PIECE / 2, size_bytes / 2, size_bytes - 1]);
    let bytes_before = server.bytes_sent();
    let (code, report) = sandbox.json("site", &["repair"]);
    let sent_bytes = server.bytes_sent() - bytes_before;
    assert_eq!((code, report["damaged_bytes"].as_u64()), (Some(0), Some(3 * PIECE)), "{report}");
    // At each gap 1 KiB before it comes again and is compared.
    assert!((3 * PIECE..=3 * PIECE + 3 * 1024).contains(&sent_bytes), "{sent_bytes}");
    println!("{size_bytes} bytes repaired with {sent_bytes} bytes sent");
    sandbox.ok("site", &["verify"]);
}

#[test]
fn a_repair_that_is_killed_again_and_again_ends_whole_and_pays_once() {
    let size_bytes = 32 * MIB;
    let sandbox = Sandbox::new();
    let (server, digest) = site(&sandbox, size_bytes);
    let blob = sandbox.path(format!("site/blobs/{digest}"));
    let path = format!("/blobs/{digest}");
    let mut dice = Dice::new(11);
    let (mut num_kills, mut round) = (0, 0);
    while num_kills < rounds(12, 120) {
        corrupt(&blob, &[PIECE, 3 * PIECE + 1, 5 * PIECE + 2, 7 * PIECE + 3]);
        let damaged = fs::read(&blob).unwrap();
        let bytes_before = server.bytes_sent();
        let mut kills_here = 0;
        server.set_fault(&path, Fault::Throttle(32 * MIB));
        for _ in 0..3 {
            let mut child = sandbox
                .command("site")
                .arg("repair")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_millis(dice.below(700)));
            let _ = child.kill();
            kills_here += u64::from(child.wait().unwrap().code().is_none());
            // The switch is one step: the damaged bytes lie somewhere until the right ones are in use.
            let aside = blob.with_extension("damaged");
            let is_right = fs::read(&blob).is_ok_and(|bytes| Sha256::of(&bytes) == digest);
            let is_kept =
                [&blob, &aside].iter().any(|path| fs::read(path).is_ok_and(|bytes| bytes == damaged));
            assert!(is_right || is_kept, "in round {round}: neither the damaged file nor the repaired one");
        }
        server.clear_faults();
        sandbox.ok("site", &["repair"]);
        assert_eq!(Sha256::of_file(&blob).unwrap(), digest, "in round {round}");
        let sent_bytes = server.bytes_sent() - bytes_before;
        // What the server gave to a socket that nobody read any more counts too: some megabytes a kill.
        assert!(
            sent_bytes <= 4 * PIECE + kills_here * 2 * PIECE + 64 * 1024,
            "in round {round}: {sent_bytes}"
        );
        num_kills += kills_here;
        round += 1;
    }
    sandbox.ok("site", &["verify"]);
    println!("{num_kills} kills in {round} repairs");
}
