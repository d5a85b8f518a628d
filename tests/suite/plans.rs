//! Plans count what an earlier try has brought: what they say is what the next run costs.

use std::fs;

use localml::digest::Sha256;
use serde_json::Value;

use crate::support::damage::corrupt;
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

const MIB: usize = 1 << 20;

/// What a run may cost beside what its plan says, in bytes: 1 KiB is compared at each gap, and a kill may come between
/// some bytes and their line in the journal.
const BESIDE: u64 = 300 << 10;

struct Scene {
    sandbox: Sandbox,
    server: HttpServer,
    weights: String,
}

/// `big`, of 20 MiB, in a registry that `home` knows.
fn scene() -> Scene {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("big", "1.0.0", &[("weights.bin", &noise(3, 20 * MIB))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    let weights = publisher.path_of(20 * MIB as u64);
    Scene { sandbox, server, weights }
}

fn bytes(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field}: {report}"))
}

#[test]
fn what_is_left_of_a_file_fits_a_budget_that_is_smaller_than_the_file() {
    let Scene { sandbox, server: _server, .. } = scene();
    sandbox.run("home", &["fetch", "big", "--budget", "12MB"]).failed_with(6);
    let rest = ["fetch", "big", "--budget", "10MB", "--new-budget"];
    let (code, plan) = sandbox.json("home", &[&rest[..], &["--plan"]].concat());
    assert_eq!((code, &plan["packages"][0]["fits"]), (Some(0), &true.into()), "{plan}");
    let (missing_bytes, kept_bytes) = (bytes(&plan, "missing_bytes"), bytes(&plan, "kept_bytes"));
    assert!(missing_bytes + kept_bytes == 20 * MIB as u64 && kept_bytes > 11_000_000, "{plan}");
    assert_eq!(bytes(&plan["packages"][0], "missing_bytes"), missing_bytes);
    let said = sandbox.ok("home", &[&rest[..], &["--plan"]].concat());
    assert!(said.contains("of it from an earlier try") && !said.contains("will not fit"), "{said}");
    let (code, done) = sandbox.json("home", &rest);
    assert_eq!((code, bytes(&done, "kept_bytes").abs_diff(kept_bytes) <= BESIDE), (Some(0), true), "{done}");
    assert!(bytes(&done, "wire_bytes").abs_diff(missing_bytes) <= BESIDE, "{plan} {done}");
}

#[test]
fn what_came_faster_than_it_could_be_hashed_counts_too() {
    let Scene { sandbox, server, weights } = scene();
    server.set_fault(&weights, Fault::Status(404));
    server.queue_fault(&weights, Fault::CutAfter(17 << 20));
    sandbox.run("home", &["fetch", "big"]).failed_with(3);
    server.clear_faults();
    let (_, plan) = sandbox.json("home", &["--offline", "fetch", "big", "--plan"]);
    assert!(bytes(&plan, "missing_bytes") <= (3 << 20) + BESIDE, "{plan}");
    let (_, done) = sandbox.json("home", &["fetch", "big"]);
    assert!(bytes(&done, "wire_bytes").abs_diff(bytes(&plan, "missing_bytes")) <= BESIDE, "{plan} {done}");
}

#[test]
fn a_part_file_of_which_nothing_is_known_counts_for_nothing() {
    let Scene { sandbox, server, weights } = scene();
    server.set_fault(&weights, Fault::Status(404));
    server.queue_fault(&weights, Fault::CutAfter(5 << 20));
    sandbox.run("home", &["fetch", "big"]).failed_with(3);
    let entries = fs::read_dir(sandbox.path("home/staging")).unwrap().map(|entry| entry.unwrap().path());
    let journal =
        entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "journal")).unwrap();
    fs::write(journal, b"not a journal").unwrap();
    let (code, plan) = sandbox.json("home", &["--offline", "fetch", "big", "--plan"]);
    assert_eq!((code, bytes(&plan, "missing_bytes")), (Some(0), 20 * MIB as u64), "{plan}");
}

#[test]
fn newer_versions_cost_what_is_left_of_them() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("big", "1.0.0", &[("weights.bin", b"small once")]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    sandbox.ok("home", &["install", "big"]);
    publisher.add("big", "1.1.0", &[("weights.bin", &noise(4, 20 * MIB))]);
    publisher.publish();
    sandbox.ok("home", &["update"]);
    sandbox.run("home", &["upgrade", "--budget", "12MB"]).failed_with(6);
    let (_, outdated) = sandbox.json("home", &["list", "--outdated"]);
    assert!(bytes(&outdated, "missing_bytes") < 10_000_000, "{outdated}");
    let (_, plan) = sandbox.json("home", &["upgrade", "--plan"]);
    assert_eq!(bytes(&plan, "missing_bytes"), bytes(&outdated, "missing_bytes"), "{plan}");
    assert_eq!(bytes(&plan["upgrades"][0], "missing_bytes"), bytes(&plan, "missing_bytes"), "{plan}");
    let said = sandbox.ok("home", &["upgrade", "--plan"]);
    assert!(said.contains("of it are here already, from an earlier try"), "{said}");
}

#[test]
fn what_a_damaged_stick_brought_counts_too_and_goes_when_the_rest_has_come() {
    let Scene { sandbox, server, .. } = scene();
    let root = fs::read(sandbox.path("publisher/ngo/registry/1.root.json")).unwrap();
    let fingerprint = Sha256::of(&root).to_string();
    sandbox.ok("cafe", &["registry", "add", "ngo", &server.url(), "--fingerprint", &fingerprint]);
    sandbox.ok("cafe", &["fetch", "big"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    let volume =
        files_in(&sandbox.path("stick")).into_iter().find(|path| path.ends_with("V0001.TAR")).unwrap();
    corrupt(&volume, &[6 * MIB as u64]);
    sandbox.run("home", &["--offline", "import", "stick"]).failed_with(4);
    // One of five pieces is missing, and home has no other copy of their list.
    assert!(!sandbox.path("home/pieces").exists());
    let fetch = ["fetch", "big", "--budget", "10MB"];
    let (code, plan) = sandbox.json("home", &[&fetch[..], &["--plan"]].concat());
    assert_eq!((code, &plan["packages"][0]["fits"]), (Some(0), &true.into()), "{plan}");
    assert_eq!(bytes(&plan, "missing_bytes"), 4 * MIB as u64, "{plan}");
    fs::create_dir(sandbox.path("other")).unwrap();
    let (code, sync) = sandbox.json("home", &["sync", "other", "big", "--budget", "10MB", "--plan"]);
    assert_eq!(code, Some(0), "{sync}");
    let (code, done) = sandbox.json("home", &fetch);
    assert_eq!(code, Some(0), "{done}");
    assert!(bytes(&done, "wire_bytes").abs_diff(4 * MIB as u64) <= BESIDE, "{done}");
    let left = files_in(&sandbox.path("home/staging"));
    assert!(left.is_empty(), "the half is of no use any more: {left:?}");
}
