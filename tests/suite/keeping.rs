//! What was paid for stays: builds beside each other, what a repair has brought, and what a wrong clock has dated.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use localml::digest::Sha256;
use serde_json::Value;

use crate::support::damage::corrupt;
use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MIB: usize = 1 << 20;
const PIECE: u64 = 4 << 20;

/// A registry `ngo` on loopback with `tool` 1.0.0 and 1.1.0 in two builds each, `four` and `eight`, and the homes
/// that know it.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    publisher: Publisher<'a>,
    server: HttpServer,
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox, homes: &[&str]) -> Self {
        let publisher = Publisher::new(sandbox, "ngo");
        for (version, seed) in [("1.0.0", 10), ("1.1.0", 20)] {
            let mut toml = format!(
                "[package]\nname = \"tool\"\nversion = \"{version}\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\n"
            );
            for (build, bytes) in builds(seed) {
                let from = format!("{version}-{build}.bin");
                toml += &format!(
                    "[[variant]]\nid = \"{build}\"\n[[variant.file]]\npath = \"{build}.bin\"\nfrom = \"tool/{from}\"\n"
                );
                publisher.add_manifest("tool", version, &toml, &[(from.as_str(), bytes.as_slice())]);
            }
        }
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        homes.iter().for_each(|home| publisher.introduce(home, &server.url()));
        Self { sandbox, publisher, server }
    }

    /// Runs the program well; returns the bytes of blobs that came for it.
    fn cost(&self, home: &str, args: &[&str]) -> u64 {
        let before = self.blob_requests();
        let bytes_before = self.server.bytes_sent();
        self.sandbox.ok(home, args);
        if self.blob_requests() == before { 0 } else { self.server.bytes_sent() - bytes_before }
    }

    fn blob_requests(&self) -> usize {
        self.server.log().iter().filter(|request| request.path.starts_with("/blobs/")).count()
    }
}

/// The two builds of a version: 1 MiB and 2 MiB.
fn builds(seed: u64) -> [(&'static str, Vec<u8>); 2] {
    [("four", noise(seed, MIB)), ("eight", noise(seed + 1, 2 * MIB))]
}

/// What is here, as `version:build` with `!` for what is installed, and the bytes that `list` adds up.
fn listed(sandbox: &Sandbox, home: &str) -> (Vec<String>, u64) {
    let (_, list) = sandbox.json(home, &["list"]);
    let name = |it: &Value| {
        let mark = if it["is_installed"] == true { "!" } else { "" };
        format!("{}:{}{mark}", it["version"].as_str().unwrap(), it["variant"].as_str().unwrap())
    };
    (list["packages"].as_array().unwrap().iter().map(name).collect(), list["size_bytes"].as_u64().unwrap())
}

#[test]
fn two_builds_of_a_package_are_fetched_side_by_side_and_paid_for_once() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &["cafe"]);
    assert!(scene.cost("cafe", &["fetch", "tool@1.0.0:four"]) >= MIB as u64);
    assert!(scene.cost("cafe", &["fetch", "tool@1.0.0:eight"]) >= 2 * MIB as u64);
    assert_eq!(scene.cost("cafe", &["fetch", "tool@1.0.0:four"]), 0);
    let both = ["1.0.0:eight", "1.0.0:four"].map(str::to_owned);
    let (mut names, size_bytes) = listed(&sandbox, "cafe");
    names.sort();
    assert_eq!((names, size_bytes), (both.to_vec(), 3 * MIB as u64));
    let (_, gc) = sandbox.json("cafe", &["gc", "--yes"]);
    assert_eq!(gc["items"].as_array().map(Vec::len), Some(0), "{gc}");
    let (_, verified) = sandbox.json("cafe", &["verify", "tool"]);
    assert_eq!(verified["packages"].as_array().map(Vec::len), Some(2), "{verified}");

    // Both go along when nothing is named.
    fs::create_dir(sandbox.path("stick")).unwrap();
    let (_, exported) = sandbox.json("cafe", &["export", "stick"]);
    assert_eq!(exported["packages"].as_array().map(Vec::len), Some(2), "{exported}");

    let said = sandbox.run("cafe", &["remove", "tool"]).failed_with(2);
    assert!(said.contains("`tool` is fetched in 2 builds: `tool@1.0.0:"), "{said}");
    let (_, removed) = sandbox.json("cafe", &["remove", "tool:four"]);
    assert_eq!(removed["freed_bytes"].as_u64(), Some(MIB as u64), "{removed}");
    assert_eq!(listed(&sandbox, "cafe").0, ["1.0.0:eight"]);
}

#[test]
fn a_stick_that_was_lost_is_filled_again_for_nothing_after_another_build_was_fetched() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &["cafe", "clinic", "school"]);
    for (site, stick, wish) in
        [("clinic", "stick-a", "tool@1.0.0:four"), ("school", "stick-b", "tool@1.0.0:eight")]
    {
        fs::create_dir(sandbox.path(stick)).unwrap();
        sandbox.ok(site, &["request", stick, wish]);
        assert!(scene.cost("cafe", &["sync", stick]) >= MIB as u64);
    }
    fs::remove_dir_all(sandbox.path("stick-a")).unwrap();
    fs::create_dir(sandbox.path("stick-a")).unwrap();
    sandbox.ok("clinic", &["request", "stick-a", "tool@1.0.0:four"]);
    assert_eq!(scene.cost("cafe", &["sync", "stick-a"]), 0);
    sandbox.ok("clinic", &["--offline", "import", "stick-a"]);
    assert_eq!(listed(&sandbox, "clinic").0, ["1.0.0:four!"]);
}

#[test]
fn a_rollback_and_an_install_leave_what_was_fetched_for_another_site() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &["home"]);
    sandbox.ok("home", &["install", "tool@1.0.0:four"]);
    sandbox.ok("home", &["install", "tool@1.1.0:four"]);
    sandbox.ok("home", &["fetch", "tool@1.0.0:eight"]);
    sandbox.ok("home", &["rollback", "tool"]);
    assert_eq!(listed(&sandbox, "home").0, ["1.0.0:four!", "1.0.0:eight"]);
    sandbox.ok("home", &["install", "tool@1.1.0:four"]);
    assert_eq!(scene.cost("home", &["fetch", "tool@1.0.0:eight"]), 0);
    // What is fetched and then installed is one package.
    sandbox.ok("home", &["install", "tool@1.0.0:eight"]);
    assert_eq!(listed(&sandbox, "home").0, ["1.0.0:eight!"]);
}

#[test]
fn an_older_version_that_was_fetched_stays_until_it_is_given_up() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &["cafe"]);
    for wish in ["tool@1.0.0:four", "tool@1.1.0:four", "tool@1.0.0:eight"] {
        sandbox.ok("cafe", &["fetch", wish]);
    }
    let (_, gc) = sandbox.json("cafe", &["gc", "--yes"]);
    let item = &gc["items"][0];
    assert_eq!((gc["items"].as_array().map(Vec::len), &item["goes"]), (Some(1), &false.into()), "{gc}");
    assert_eq!(item["package"], "tool@1.0.0:four", "the other build has no later version here");
    assert!(item["size_bytes"].as_u64().unwrap() >= MIB as u64, "{gc}");
    assert_eq!(scene.cost("cafe", &["fetch", "tool@1.0.0:four"]), 0);
    let (_, gone) = sandbox.json("cafe", &["gc", "--drop-previous", "--yes"]);
    assert!((1 << 20..(1 << 20) + 8192).contains(&gone["freed_bytes"].as_u64().unwrap()), "{gone}");
    assert_eq!(listed(&sandbox, "cafe"), (vec!["1.0.0:eight".into(), "1.1.0:four".into()], 3 << 20));
    sandbox.ok("cafe", &["verify"]);
}

#[test]
fn what_is_installed_and_synced_is_one_package_and_its_removal_frees_it() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox, &["home"]);
    sandbox.ok("home", &["install", "tool@1.0.0:four"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("home", &["sync", "stick", "tool@1.0.0:four"]);
    assert_eq!(listed(&sandbox, "home"), (vec!["1.0.0:four!".into()], 1 << 20));
    let (_, removed) = sandbox.json("home", &["remove", "tool"]);
    assert_eq!(removed["freed_bytes"].as_u64(), Some(1 << 20), "{removed}");
}

#[test]
fn bytes_that_two_packages_share_are_counted_once() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    let shared = noise(30, MIB);
    for package in ["one", "two"] {
        scene.publisher.add(package, "1.0.0", &[("map.bin", &shared), ("name.txt", package.as_bytes())]);
    }
    scene.publisher.publish();
    scene.publisher.introduce("home", &scene.server.url());
    sandbox.ok("home", &["install", "one"]);
    sandbox.ok("home", &["fetch", "two"]);
    assert_eq!(listed(&sandbox, "home").1, (1 << 20) + 6);
}

#[test]
fn gc_keeps_what_a_repair_that_was_stopped_has_paid_for() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    let map = noise(40, 6 * PIECE as usize);
    scene.publisher.add("book", "1.0.0", &[("map.bin", &map)]);
    scene.publisher.publish();
    scene.publisher.introduce("home", &scene.server.url());
    sandbox.ok("home", &["install", "book"]);
    let digest = Sha256::of(&map);
    let blob = sandbox.path(format!("home/blobs/{digest}"));
    // Five of six pieces are wrong, and the line breaks after three and a half of them.
    corrupt(&blob, &[0, PIECE, 2 * PIECE, 3 * PIECE, 4 * PIECE]);
    let path = format!("/blobs/{digest}");
    scene.server.set_fault(&path, Fault::Status(404));
    scene.server.queue_fault(&path, Fault::CutAfter(3 * PIECE + PIECE / 2));
    assert_ne!(sandbox.run("home", &["repair", "book"]).code, Some(0));
    scene.server.clear_faults();
    let part = sandbox.path(format!("home/staging/stick/{digest}.part"));
    let aside = blob.with_extension("damaged");
    assert!(part.is_file() && aside.metadata().unwrap().len() == map.len() as u64);

    let (_, gc) = sandbox.json("home", &["gc", "--yes"]);
    let item = &gc["items"][0];
    assert_eq!((&item["what"], &item["goes"]), (&"partial".into(), &false.into()), "{gc}");
    assert!(item["reason"].as_str().unwrap().contains("`localml repair`"), "{gc}");
    let before = scene.server.bytes_sent();
    sandbox.ok("home", &["repair", "book"]);
    let again_bytes = scene.server.bytes_sent() - before;
    assert!(again_bytes < 3 * PIECE, "{again_bytes} bytes came for what was still missing");
    sandbox.ok("home", &["verify"]);
    let (_, gc) = sandbox.json("home", &["gc"]);
    assert_eq!(gc["items"].as_array().map(Vec::len), Some(0), "{gc}");
}

#[test]
fn a_download_from_days_when_the_clock_stood_at_1970_has_no_age() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox, &["home"]);
    let [lost, old] = [b"lost", b"olds"].map(|text| Sha256::of(text).to_string());
    let month = SystemTime::now() - Duration::from_secs(31 * 86_400);
    for (name, written) in [(&lost, SystemTime::UNIX_EPOCH + Duration::from_secs(5000)), (&old, month)] {
        for ending in ["part", "journal"] {
            let path = sandbox.write(format!("home/staging/{name}.{ending}"), noise(7, 5000));
            File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        }
    }
    let said = sandbox.ok("home", &["gc", "--older-than", "30d", "--yes"]);
    assert!(said.contains('?'), "{said}");
    let staging = sandbox.path("home/staging");
    assert!(staging.join(format!("{lost}.part")).exists() && !staging.join(format!("{old}.part")).exists());
    let (_, gc) = sandbox.json("home", &["gc"]);
    assert_eq!(
        (gc["items"].as_array().map(Vec::len), &gc["items"][0]["age_seconds"]),
        (Some(1), &Value::Null)
    );
    sandbox.ok("home", &["gc", "--partial", "--yes"]);
    assert!(!staging.join(format!("{lost}.part")).exists());
}

#[test]
fn a_way_back_that_is_not_whole_changes_no_package_and_names_what_helps() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &["home"]);
    scene.publisher.add("small", "1.0.0", &[("small.txt", b"one")]);
    scene.publisher.add("small", "1.1.0", &[("small.txt", b"two")]);
    scene.publisher.publish();
    sandbox.ok("home", &["update"]);
    for wish in ["small@1.0.0", "tool@1.0.0:four", "small@1.1.0", "tool@1.1.0:four"] {
        sandbox.ok("home", &["install", wish]);
    }
    let [(_, four), _] = builds(10);
    corrupt(&sandbox.path(format!("home/blobs/{}", Sha256::of(&four))), &[100]);
    sandbox.run("home", &["verify"]).failed_with(4);
    let installed = vec!["1.1.0:plain!".to_owned(), "1.1.0:four!".to_owned()];
    let said = sandbox.run("home", &["rollback", "small", "tool"]).failed_with(3);
    assert!(said.contains("could not roll back `tool` to 1.0.0"), "{said}");
    assert!(said.contains("nothing was changed; `localml repair` brings"), "{said}");
    assert_eq!(listed(&sandbox, "home").0, installed);
    // The hint is true.
    sandbox.ok("home", &["repair"]);
    sandbox.ok("home", &["rollback", "small", "tool"]);
    assert_eq!(listed(&sandbox, "home").0, ["1.0.0:plain!", "1.0.0:four!"]);
}

/// `alpha`, `beta` and `gamma` installed in 1.0.0, with newer versions known.
fn three_to_upgrade<'a>(scene: &Scene<'a>) -> [Vec<u8>; 3] {
    let bytes = [51, 52, 53].map(|seed| noise(seed, MIB));
    for (name, bytes) in ["alpha", "beta", "gamma"].into_iter().zip(&bytes) {
        scene.publisher.add(name, "1.0.0", &[("map.bin", name.as_bytes())]);
        scene.publisher.add(name, "1.1.0", &[("map.bin", bytes)]);
    }
    scene.publisher.publish();
    scene.publisher.introduce("home", &scene.server.url());
    for name in ["alpha", "beta", "gamma"] {
        scene.sandbox.ok("home", &["install", &format!("{name}@1.0.0")]);
    }
    bytes
}

#[test]
fn a_package_without_a_source_stops_no_other_upgrade() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    let [_, beta, gamma] = three_to_upgrade(&scene);
    let blob = |bytes: &[u8]| format!("/blobs/{}", Sha256::of(bytes));
    scene.server.set_fault(&blob(&beta), Fault::Status(404));
    let (code, report) = sandbox.json("home", &["upgrade"]);
    assert_eq!((code, &report["installed"]), (Some(8), &serde_json::json!(["alpha", "gamma"])), "{report}");
    assert_eq!(report["left"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["left"][0]["name"], "beta");
    assert!(report["left"][0]["reason"].as_str().unwrap().contains("404"), "{report}");
    assert_eq!(listed(&sandbox, "home").0, ["1.1.0:plain!", "1.0.0:plain!", "1.1.0:plain!"]);

    // Nothing at all could be upgraded: the reason is the end of it.
    let said = sandbox.run("home", &["upgrade"]).failed_with(3);
    assert!(said.contains("could not fetch `beta`"), "{said}");
    scene.server.clear_faults();
    let text = sandbox.ok("home", &["upgrade"]);
    assert!(text.contains("installed beta"), "{text}");

    // `gamma` alone is named, and stays: two others are told on the screen.
    scene.publisher.add("alpha", "1.2.0", &[("map.bin", b"alpha, anew")]);
    scene.publisher.add("gamma", "1.2.0", &[("map.bin", &noise(60, MIB))]);
    scene.publisher.publish();
    sandbox.ok("home", &["update"]);
    scene.server.set_fault(&blob(&noise(60, MIB)), Fault::Status(404));
    let run = sandbox.run("home", &["upgrade"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    assert!(run.stdout.contains("installed alpha") && run.stdout.contains("STAYS gamma: "), "{run:?}");
    assert_ne!(gamma, noise(60, MIB));
}

/// A `village-kit` without a profile.
fn kit(version: &str, members: &str) -> String {
    format!(
        "[package]\nname = \"village-kit\"\nversion = \"{version}\"\nkind = \"kit\"\ntitle = \"A kit\"\n\
         license = \"MIT\"\nmembers = [{members}]\n"
    )
}

#[test]
fn a_kit_waits_for_a_new_member_that_did_not_come() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    scene.publisher.add("alpha", "1.0.0", &[("map.bin", b"one")]);
    scene.publisher.add_manifest("village-kit", "1.0.0", &kit("1.0.0", "\"alpha\""), &[]);
    scene.publisher.publish();
    scene.publisher.introduce("home", &scene.server.url());
    sandbox.ok("home", &["install", "village-kit"]);
    let delta = noise(61, MIB);
    scene.publisher.add("alpha", "1.1.0", &[("map.bin", b"two")]);
    scene.publisher.add("delta", "1.0.0", &[("map.bin", &delta)]);
    let members = "\"alpha@1.1.0\", \"delta@1.0.0\"";
    scene.publisher.add_manifest("village-kit", "1.1.0", &kit("1.1.0", members), &[]);
    scene.publisher.publish();
    sandbox.ok("home", &["update"]);
    scene.server.set_fault(&format!("/blobs/{}", Sha256::of(&delta)), Fault::Status(404));
    let (code, report) = sandbox.json("home", &["upgrade"]);
    assert_eq!((code, &report["installed"]), (Some(8), &serde_json::json!(["alpha"])), "{report}");
    let left: Vec<&str> =
        report["left"].as_array().unwrap().iter().map(|left| left["name"].as_str().unwrap()).collect();
    assert_eq!(left, ["delta", "village-kit"], "{report}");
    assert_eq!(report["left"][1]["reason"], "`delta`, which it needs, did not come");
    assert_eq!(listed(&sandbox, "home").0, ["1.1.0:plain!", "1.0.0:kit!"]);
    scene.server.clear_faults();
    sandbox.ok("home", &["upgrade"]);
    assert_eq!(listed(&sandbox, "home").0, ["1.1.0:plain!", "1.0.0:plain!", "1.1.0:kit!"]);
}

#[test]
fn without_a_network_an_upgrade_does_not_try_every_package() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    three_to_upgrade(&scene);
    let said = sandbox.run("home", &["--offline", "upgrade"]).failed_with(5);
    assert!(said.contains("could not fetch `alpha`") && said.contains("`beta` stays as it is: "), "{said}");
    assert!(said.contains("`gamma` stays as it is: the network failed before its turn"), "{said}");
}

#[test]
fn money_that_ends_an_upgrade_is_told_with_what_was_upgraded_before() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    three_to_upgrade(&scene);
    let run = sandbox.run("home", &["upgrade", "--budget", "1500kB"]);
    let installed = listed(&sandbox, "home").0;
    assert_eq!(installed, ["1.1.0:plain!", "1.0.0:plain!", "1.0.0:plain!"], "{run:?}");
    assert!(run.stderr.contains("upgraded before that: `alpha`"), "{run:?}");
    run.failed_with(6);
}

#[test]
fn a_newer_version_waits_for_what_it_requires() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox, &[]);
    scene.publisher.add("alpha", "1.0.0", &[("map.bin", b"one")]);
    scene.publisher.publish();
    scene.publisher.introduce("home", &scene.server.url());
    sandbox.ok("home", &["install", "alpha"]);
    let base = noise(62, MIB);
    scene.publisher.add("base", "1.0.0", &[("map.bin", &base)]);
    let toml = "[package]\nname = \"alpha\"\nversion = \"2.0.0\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\nrequires = [\"base\"]\n[[variant]]\nid = \"plain\"\n[[variant.file]]\npath = \"map.bin\"\nfrom = \"alpha/two.bin\"\n";
    scene.publisher.add_manifest("alpha", "2.0.0", toml, &[("two.bin", b"two")]);
    scene.publisher.publish();
    sandbox.ok("home", &["update"]);
    scene.server.set_fault(&format!("/blobs/{}", Sha256::of(&base)), Fault::Status(404));
    let run = sandbox.run("home", &["upgrade"]);
    assert!(run.code != Some(0), "{run:?}");
    assert_eq!(listed(&sandbox, "home").0, ["1.0.0:plain!"], "it works without what it requires?");
    scene.server.clear_faults();
    sandbox.ok("home", &["upgrade"]);
    assert_eq!(listed(&sandbox, "home").0, ["2.0.0:plain!", "1.0.0:plain!"]);
}

#[test]
fn two_versions_of_one_package_are_two_errands() {
    let sandbox = Sandbox::new();
    let _scene = Scene::new(&sandbox, &["home"]);
    let said = sandbox.run("home", &["fetch", "tool@1.0.0:four", "tool@1.1.0:four"]).failed_with(2);
    assert!(said.contains("cannot come by one command"), "{said}");
    for package in ["tool@1.0.0:four", "tool@1.1.0:four"] {
        sandbox.ok("home", &["fetch", package]);
    }
    fs::create_dir(sandbox.path("stick")).unwrap();
    let args = ["--offline", "export", "stick", "tool@1.0.0:four", "tool@1.1.0:four"];
    let (code, report) = sandbox.json("home", &args);
    let blobs = builds(10)[0].1.len() + builds(20)[0].1.len();
    assert!(code == Some(0) && report["size_bytes"].as_u64().unwrap() > blobs as u64, "{report}");
}
