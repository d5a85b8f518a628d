//! `sync`: requests of two sites, money, minutes, kills and a full stick, by the real program and a real server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::skipped::skip;
use crate::support::stick::files_in;

const MIB: u64 = 1 << 20;

/// A registry `ngo` with `atlas` (2 MiB), `book` (9 MiB) and `note`, served on loopback. The cafe and two sites
/// know it; the sites by its folder, which is their only way to it.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    publisher: Publisher<'a>,
    server: HttpServer,
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let publisher = Publisher::new(sandbox, "ngo");
        publisher.add("atlas", "1.0.0", &[("atlas.bin", &noise(2, 2 * MIB as usize))]);
        publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n"), ("map.bin", &noise(1, 9 << 20))]);
        publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
        publisher.publish();
        let server = HttpServer::serve(&publisher.registry());
        publisher.introduce("cafe", &server.url());
        for site in ["clinic", "school"] {
            publisher.introduce(site, publisher.registry().to_str().unwrap());
        }
        fs::create_dir(sandbox.path("stick")).unwrap();
        Self { sandbox, publisher, server }
    }

    /// How many bytes of each large blob went out.
    fn blob_requests(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.server.log().into_iter().filter(|request| request.path.starts_with("/blobs/")) {
            *counts.entry(request.path).or_insert(0) += 1;
        }
        counts
    }

    /// The path of a package's largest blob on the server.
    fn blob(&self, size_bytes: u64) -> String {
        let blobs = fs::read_dir(self.publisher.registry().join("blobs")).unwrap();
        let found = blobs.map(|entry| entry.unwrap()).find(|it| it.metadata().unwrap().len() == size_bytes);
        format!("/blobs/{}", found.unwrap().file_name().into_string().unwrap())
    }

    fn sync(&self, more: &[&str]) -> (Option<i32>, Value) {
        self.sandbox.json("cafe", &[&["sync", "stick"], more].concat())
    }

    /// Starts a sync that is going to be killed.
    fn start(&self, more: &[&str]) -> Child {
        let mut command = self.sandbox.command("cafe");
        command.args([&["sync", "stick"], more].concat()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

fn states(report: &Value) -> BTreeMap<&str, &str> {
    let packages = report["packages"].as_array().unwrap().iter();
    packages.map(|it| (it["package"].as_str().unwrap(), it["state"].as_str().unwrap())).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

/// The stick's files but for its letters, with their bytes.
fn on_stick(sandbox: &Sandbox) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_in(&sandbox.path("stick")).into_iter();
    let is_letter =
        |path: &PathBuf| path.to_str().unwrap().contains("/REQ/") || path.to_str().unwrap().contains("/RCP/");
    files.filter(|path| !is_letter(path)).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn two_sites_get_what_they_asked_for_from_one_stick() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("school", &["install", "atlas"]);
    sandbox.ok("clinic", &["request", "stick", "book", "--name", "Clinic"]);
    sandbox.ok("school", &["request", "stick", "note", "--name", "School"]);
    // What the school has becomes outdated after it wrote.
    scene.publisher.add("atlas", "1.1.0", &[("atlas.bin", &noise(3, 3 << 20))]);
    scene.publisher.publish();

    let (code, plan) = scene.sync(&["--plan"]);
    assert_eq!((code, plan["packages"].as_array().unwrap().len()), (Some(0), 2), "{plan}");
    assert!(
        scene.blob_requests().is_empty() && on_stick(&sandbox).is_empty(),
        "a plan fetches and writes nothing"
    );

    let (code, report) = scene.sync(&[]);
    let written = ["ngo/atlas@1.1.0:plain", "ngo/book@1.0.0:plain", "ngo/note@1.0.0:plain"];
    assert_eq!((code, states(&report)), (Some(0), written.map(|name| (name, "written")).into()), "{report}");
    let order: Vec<&str> =
        report["packages"].as_array().unwrap().iter().map(|it| it["package"].as_str().unwrap()).collect();
    assert_eq!(order, [written[2], written[1], written[0]], "asked for before newer, small before large");
    assert!(scene.blob_requests().values().all(|count| *count == 1), "{:?}", scene.blob_requests());

    let before = (on_stick(&sandbox), scene.blob_requests());
    let (code, again) = scene.sync(&[]);
    assert_eq!((code, states(&again).len(), again["stick_bytes"].as_u64()), (Some(0), 0, Some(0)), "{again}");
    assert_eq!(again["brought"].as_array().unwrap().len(), 3, "{again}");
    assert_eq!((on_stick(&sandbox), scene.blob_requests()), before, "nothing is fetched or written twice");

    fs::remove_dir_all(scene.publisher.registry()).unwrap();
    let (code, clinic) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!((code, texts(&clinic["installed"])), (Some(0), vec![written[1]]), "{clinic}");
    let (code, school) = sandbox.json("school", &["--offline", "import", "stick"]);
    let mut installed = texts(&school["installed"]);
    installed.sort_unstable();
    assert_eq!((code, installed), (Some(0), vec![written[0], written[2]]), "{school}");

    // The receipts lie on the stick: nothing is left to do.
    let (code, last) = scene.sync(&["--plan"]);
    let counts = ["packages", "brought", "unmet"].map(|list| last[list].as_array().unwrap().len());
    assert_eq!((code, counts), (Some(0), [0, 0, 0]), "{last}");
}

#[test]
fn a_budget_that_fits_only_the_smaller_package_brings_that_and_another_one_the_rest() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "book", "atlas"]);
    let budget = ["--budget", "5MB", "--only-whole"];
    let (code, report) = scene.sync(&budget);
    assert_eq!(code, Some(8), "{report}");
    let expected = [("ngo/atlas@1.0.0:plain", "written"), ("ngo/book@1.0.0:plain", "left_out")];
    assert_eq!(states(&report), expected.into(), "{report}");
    assert_eq!(report["packages"][1]["shortage"], "budget", "{report}");
    assert!(scene.server.bytes_sent() < 5_000_000, "{} bytes went out", scene.server.bytes_sent());
    // What is on the stick is of use already.
    let (code, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!((code, texts(&imported["installed"])), (Some(0), vec!["ngo/atlas@1.0.0:plain"]), "{imported}");

    // The rest of the budget begins the larger one; the next budget completes it.
    let (code, report) = scene.sync(&budget[..2]);
    assert_eq!((code, states(&report)), (Some(6), [("ngo/book@1.0.0:plain", "begun")].into()), "{report}");
    assert!(scene.server.bytes_sent() < 5_500_000, "{} bytes went out", scene.server.bytes_sent());
    let (code, report) = scene.sync(&["--budget", "9MB", "--new-budget"]);
    assert_eq!((code, states(&report)), (Some(0), [("ngo/book@1.0.0:plain", "written")].into()), "{report}");
    let sent = scene.server.bytes_sent();
    assert!(sent < 11 * MIB + MIB, "{sent} bytes went out for 11 MiB");
    let (code, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!((code, texts(&imported["installed"])), (Some(0), vec!["ngo/book@1.0.0:plain"]), "{imported}");
}

#[test]
fn at_the_end_of_the_time_the_stick_has_what_fitted_and_the_rest_is_begun() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "book", "note"]);
    // 9 MiB at 1 MiB a second take longer than the 6 seconds that there are.
    let blob = scene.blob(9 * MIB);
    scene.server.set_fault(&blob, Fault::Throttle(MIB));
    let (code, report) = scene.sync(&["--within", "6s"]);
    let expected = [("ngo/book@1.0.0:plain", "begun"), ("ngo/note@1.0.0:plain", "written")];
    assert_eq!((code, states(&report)), (Some(8), expected.into()), "{report}");
    let (_, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!(texts(&imported["installed"]), ["ngo/note@1.0.0:plain"], "{imported}");

    scene.server.clear_faults();
    let (code, report) = scene.sync(&[]);
    assert_eq!(
        (code, states(&report)),
        (Some(0), [expected[0].0].map(|name| (name, "written")).into()),
        "{report}"
    );
    let sent = scene.server.bytes_sent();
    assert!(sent < 9 * MIB + MIB, "{sent} bytes went out for 9 MiB");
}

#[test]
fn time_is_kept_back_for_a_slow_stick_before_a_byte_is_paid() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    let (code, _) = scene.sync(&["note"]);
    let (_, stick) = sandbox.json("cafe", &["stick", "info", "stick"]);
    let slow = json!({"format": 1, "sticks": {stick["stick_id"].as_str().unwrap(): {
        "write_bytes_per_second": 100_000, "read_bytes_per_second": 10_000_000, "measured_at": 1}}});
    sandbox.write("cafe/paces.json", slow.to_string());
    // 2.23 MB at 100 kB/s, a fifth more and 2 s for the commit: 29 s. 9.57 MB: 118 s.
    let (again, report) = scene.sync(&["book", "atlas", "--within", "100s", "--only-whole"]);
    let expected = [("ngo/atlas@1.0.0:plain", "written"), ("ngo/book@1.0.0:plain", "left_out")];
    assert_eq!((code, again, states(&report)), (Some(0), Some(8), expected.into()), "{report}");
    let book = &report["packages"][1];
    // More only as far as the line is slow on a busy machine.
    let needed = book["needed_seconds"].as_u64().unwrap();
    assert!(book["shortage"] == "time" && (118..200).contains(&needed), "{report}");
    assert!(!scene.blob_requests().contains_key(&scene.blob(9 * MIB)), "it was never asked for");
}

#[test]
fn a_sync_killed_in_a_fetch_goes_on_and_pays_for_nothing_twice() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "book", "note"]);
    scene.server.set_fault(&scene.blob(9 * MIB), Fault::Throttle(4 * MIB));
    let before = scene.server.bytes_sent();
    let mut child = scene.start(&[]);
    while scene.server.bytes_sent() - before < 6 * MIB {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What came before the kill is on the stick, whole.
    let (code, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!((code, texts(&imported["installed"])), (Some(0), vec!["ngo/note@1.0.0:plain"]), "{imported}");

    scene.server.clear_faults();
    let (code, report) = scene.sync(&[]);
    assert_eq!((code, states(&report)), (Some(0), [("ngo/book@1.0.0:plain", "written")].into()), "{report}");
    let sent = scene.server.bytes_sent() - before;
    assert!(sent < 9 * MIB + 4 * MIB, "{sent} bytes went out for 9 MiB and one kill");
    let (code, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!((code, texts(&imported["installed"])), (Some(0), vec!["ngo/book@1.0.0:plain"]), "{imported}");
}

#[test]
fn ctrl_c_ends_a_sync_with_a_stick_that_is_whole() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "book", "note"]);
    scene.server.set_fault(&scene.blob(9 * MIB), Fault::Throttle(4 * MIB));
    let mut command = sandbox.command("cafe");
    let child =
        command.args(["sync", "stick"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while scene.server.bytes_sent() < 4 * MIB {
        thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`stick` is safe to remove") && said.contains("begun; "), "{said}");
    sandbox.ok("cafe", &["stick", "verify", "stick"]);
    let (_, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert_eq!(texts(&imported["installed"]), ["ngo/note@1.0.0:plain"], "{imported}");
}

#[test]
fn two_builds_of_one_package_and_a_kit_with_a_hole_all_go_along() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    let build = |id: &str| {
        format!(
            "[[variant]]\nid = \"{id}\"\n[[variant.file]]\npath = \"{id}.bin\"\nfrom = \"tool/{id}.bin\"\n"
        )
    };
    let head = |name: &str, kind: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\ntitle = \"T\"\nlicense = \"MIT\"\n"
        )
    };
    let (one, two) = (noise(5, 1000), noise(6, 2000));
    let tool = head("tool", "knowledge") + &build("one") + &build("two");
    scene.publisher.add_manifest("tool", "1.0.0", &tool, &[("one.bin", &one), ("two.bin", &two)]);
    let kit = head("village-kit", "kit") + "members = [\"note\", \"lost\"]\n";
    scene.publisher.add_manifest("village-kit", "1.0.0", &kit, &[]);
    scene.publisher.publish();
    let (code, report) = scene.sync(&["tool:one", "tool:two", "village-kit"]);
    let expected =
        ["ngo/note@1.0.0:plain", "ngo/tool@1.0.0:one", "ngo/tool@1.0.0:two", "ngo/village-kit@1.0.0:kit"];
    assert_eq!((code, states(&report)), (Some(8), expected.map(|name| (name, "written")).into()), "{report}");
    assert_eq!(report["unmet"][0]["package"], "lost", "{report}");
}

#[test]
fn a_sync_killed_while_it_writes_the_stick_goes_on_without_the_network() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "book", "atlas"]);
    // The stick's second bundle, that of the larger package, is being written.
    let is_writing = || {
        let volumes = files_in(&sandbox.path("stick"));
        let is_volume = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "TAR");
        volumes.iter().filter(is_volume).any(|path| path.metadata().is_ok_and(|it| it.len() > 3 * MIB))
    };
    let mut child = scene.start(&[]);
    while child.try_wait().unwrap().is_none() && !is_writing() {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let requests = scene.blob_requests();
    assert_eq!(requests.len(), 3, "all three blobs had come: {requests:?}");
    let (_, imported) = sandbox.json("clinic", &["--offline", "import", "stick"]);
    assert!(texts(&imported["installed"]).contains(&"ngo/atlas@1.0.0:plain"), "{imported}");

    let (code, report) = scene.sync(&[]);
    assert_eq!((code, scene.blob_requests()), (Some(0), requests), "{report}");
    sandbox.json("clinic", &["--offline", "import", "stick"]);
    let listed = sandbox.ok("clinic", &["list"]);
    assert!(listed.contains("book") && listed.contains("atlas"), "{listed}");
    sandbox.ok("cafe", &["stick", "verify", "stick"]);
}

#[test]
fn a_full_stick_takes_what_fits_and_says_what_does_not() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    let Some(small) = SmallStick::mount(sandbox.path("stick")) else {
        skip("a stick of 8 MiB: this user may not mount one");
        return;
    };
    sandbox.ok("clinic", &["request", "stick", "book", "atlas"]);
    let (code, report) = scene.sync(&[]);
    let expected = [("ngo/atlas@1.0.0:plain", "written"), ("ngo/book@1.0.0:plain", "left_out")];
    assert_eq!((code, states(&report)), (Some(8), expected.into()), "{report}");
    assert_eq!(report["packages"][1]["shortage"], "stick", "{report}");
    let requests = scene.blob_requests();
    assert_eq!(requests.len(), 1, "what has no room on the stick is not paid for: {requests:?}");
    let said = sandbox.run("cafe", &["sync", "stick"]);
    assert!(said.stdout.contains("on the stick already: ngo/atlas@1.0.0:plain"), "{said:?}");
    assert!(said.stdout.contains("does not fit: it needs 9.57 MB on the stick"), "{said:?}");
    assert!(
        said.stdout.contains("are left for it") && said.stdout.contains("take another stick"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("another day"), "this stick never takes it: {said:?}");
    drop(small);
}

/// A tmpfs of 8 MiB; unmounted when dropped.
struct SmallStick(PathBuf);

impl SmallStick {
    fn mount(folder: PathBuf) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallStick {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn the_couriers_list_and_a_kit_go_along_to_any_site() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    let kit = "[package]\nname = \"village-kit\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"A kit\"\nlicense = \"MIT\"\nmembers = [\"atlas\", \"note\"]\n[profile]\nlanguages = [\"en\"]\n";
    scene.publisher.add_manifest("village-kit", "1.0.0", kit, &[]);
    scene.publisher.publish();
    let said = sandbox.run("cafe", &["sync", "stick"]).failed_with(3);
    assert!(
        said.contains("carries no letter of a site") && said.contains("localml sync stick PACKAGE"),
        "{said}"
    );
    let (code, report) = scene.sync(&["--keep", "village-kit"]);
    assert_eq!((code, states(&report).len()), (Some(0), 3), "{report}");
    // The list is kept: another stick gets the same without a word, and without the network.
    fs::rename(sandbox.path("stick"), sandbox.path("first")).unwrap();
    fs::create_dir(sandbox.path("stick")).unwrap();
    let (code, report) = sandbox.json("cafe", &["--offline", "sync", "stick"]);
    assert_eq!((code, states(&report).len()), (Some(0), 3), "{report}");
    for (site, stick) in [("clinic", "first"), ("school", "stick")] {
        sandbox.ok(site, &["update"]);
        let (code, imported) = sandbox.json(site, &["--offline", "import", stick]);
        assert_eq!((code, imported["installed"].as_array().unwrap().len()), (Some(0), 3), "{imported}");
        assert!(sandbox.ok::<&str>(site, &[]).contains("set up as village"));
    }
    sandbox.ok("cafe", &["sync", "stick", "--drop", "village-kit", "note"]);
    let said = sandbox.run("cafe", &["sync", "stick", "--drop", "village-kit"]).failed_with(3);
    assert!(said.contains("is not on this courier's list"), "{said}");
}

#[test]
fn what_cannot_be_had_is_named_beside_what_can() {
    let sandbox = Sandbox::new();
    let scene = Scene::new(&sandbox);
    sandbox.ok("clinic", &["request", "stick", "note", "bok"]);
    scene.server.set_fault(&scene.blob(6), Fault::Status(404));
    let (code, report) = scene.sync(&["atlas"]);
    let expected = [("ngo/atlas@1.0.0:plain", "written"), ("ngo/note@1.0.0:plain", "failed")];
    assert_eq!((code, states(&report)), (Some(8), expected.into()), "{report}");
    assert_eq!(report["unmet"][0]["package"], "bok", "{report}");
    assert!(report["unmet"][0]["hint"].as_str().unwrap().contains("book"), "did you mean: {report}");
    sandbox.run("cafe", &["sync", "stick", "no-such-thing"]).failed_with(3);
}
