//! Refreshing a registry over a bad line: nothing is paid for twice, no source is trusted more than another, and who
//! stops is obeyed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use localml::digest::Sha256;
use localml::disk::Lock;

use crate::support::http_server::{Fault, HttpServer};
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::registry_desk::copy_files;
use crate::support::sandbox::{Run, Sandbox};

const NUM_SHARDS: &str = "8";

/// A published registry of eight index files, with about 40 kB of each that do not pack well.
struct Desk<'a> {
    sandbox: &'a Sandbox,
    publisher: Publisher<'a>,
    name: &'static str,
    server: HttpServer,
}

impl<'a> Desk<'a> {
    fn new(sandbox: &'a Sandbox, name: &'static str) -> Self {
        let publisher = Publisher::new(sandbox, name);
        fs::create_dir_all(sandbox.path(format!("publisher/{name}/files"))).unwrap();
        let server = HttpServer::serve(&publisher.registry());
        let desk = Self { sandbox, publisher, name, server };
        desk.describe("1.0.0");
        let place = format!("publisher/{name}");
        let folders = [format!("{place}/registry"), format!("{place}/manifests"), format!("{place}/files")];
        let [registry, manifests, files] = &folders;
        sandbox.ok(
            "desk",
            &[
                "registry",
                "build",
                registry,
                "--manifests",
                manifests,
                "--files",
                files,
                "--shards",
                NUM_SHARDS,
            ],
        );
        desk.publisher.publish();
        desk
    }

    /// A version of forty packages, whose titles no other version has.
    fn describe(&self, version: &str) {
        for number in 0..40u64 {
            let seed = number * 1000 + version.len() as u64 + u64::from(version.as_bytes()[0]);
            let title: String = noise(seed, 4000).iter().map(|byte| format!("{byte:02x}")).collect();
            let (package, digest) = (format!("model-{number}"), Sha256::of(title.as_bytes()));
            let toml = format!(
                "[package]\nname = \"{package}\"\nversion = \"{version}\"\nkind = \"knowledge\"\ntitle = \"{title}\"\nlicense = \"MIT\"\n[[variant]]\nid = \"md\"\n[[variant.file]]\npath = \"a.md\"\nsize_bytes = 4000\nsha256 = \"{digest}\"\nsources = [\"https://hub.example/{digest}\"]\n"
            );
            self.publisher.add_manifest(&package, version, &toml, &[]);
        }
    }

    fn publish(&self, version: &str) {
        self.describe(version);
        self.publisher.publish();
    }

    fn introduce(&self, home: &str) {
        self.publisher.introduce(home, &self.server.url());
    }

    fn folder(&self, home: &str) -> PathBuf {
        self.sandbox.path(format!("{home}/registries/{}", self.name))
    }

    /// How many times the server was asked for this file.
    fn num_asked(&self, file: &str) -> usize {
        let path = format!("/{file}");
        self.server.log().iter().filter(|request| request.path == path).count()
    }

    /// Runs a command with a fresh budget again and again until it ends well; returns how often it did not.
    fn run_on_budgets(&self, home: &str, args: &[&str], budget: &str) -> u64 {
        for num_ended in 0..40 {
            let run = self.sandbox.run(home, &[args, &["--budget", budget, "--new-budget"]].concat());
            if run.code == Some(0) {
                return num_ended;
            }
            run.failed_with(6);
        }
        panic!("{args:?} never comes to its end");
    }

    fn update_with_mirror(&self, home: &str, mirror: &HttpServer) -> Run {
        let mut command = self.sandbox.command(home);
        command.arg("update").env("LOCALML_MIRROR", format!("{}/={}/", self.server.url(), mirror.url()));
        Run::from(command.output().unwrap())
    }
}

fn run(mut command: Command) -> Run {
    Run::from(command.output().unwrap())
}

#[test]
fn a_refresh_on_small_budgets_goes_on_where_it_stopped() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("rich");
    let whole_bytes = desk.server.bytes_sent();
    let fingerprint = desk.publisher.fingerprint();
    let url = desk.server.url();
    // Of eight index files a budget pays for two or three.
    let budget = format!("{}B", whole_bytes / 3);
    let add = ["registry", "add", "ngo", &url, "--fingerprint", &fingerprint];
    let num_ended = desk.run_on_budgets("poor", &add, &budget);
    let paid_bytes = desk.server.bytes_sent() - whole_bytes;
    // Each end may cost the file that was under way, and the metadata that nothing pins.
    let waste_bytes = num_ended * (whole_bytes / 8 + 8 * 1024);
    assert!((2..10).contains(&num_ended), "{num_ended}");
    assert!(paid_bytes < whole_bytes + waste_bytes, "{paid_bytes} of {whole_bytes}, {num_ended} ends");
    assert!(!desk.folder("poor").join("arriving").exists(), "nothing waits any more");

    desk.publish("2.0.0");
    let before = desk.server.bytes_sent();
    sandbox.ok("rich", &["update"]);
    let whole_bytes = desk.server.bytes_sent() - before;
    let budget = format!("{}B", whole_bytes / 3);
    let num_ended = desk.run_on_budgets("poor", &["update"], &budget);
    let paid_bytes = desk.server.bytes_sent() - before - whole_bytes;
    let waste_bytes = num_ended * (whole_bytes / 8 + 8 * 1024);
    assert!(num_ended >= 2 && paid_bytes < whole_bytes + waste_bytes, "{paid_bytes} of {whole_bytes}");
    assert!(sandbox.ok("poor", &["update"]).contains("already the newest"));
}

#[test]
fn a_registry_that_was_not_added_to_the_end_is_not_known_and_keeps_what_was_paid_for() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    let (url, fingerprint) = (desk.server.url(), desk.publisher.fingerprint());
    let add = ["registry", "add", "ngo", &url, "--fingerprint", &fingerprint];
    desk.server.set_fault("index-007.jsonl.zst", Fault::Status(404));
    desk.server.set_fault("index-007.jsonl", Fault::Status(500));
    sandbox.run("home", &[&add[..], &["--within", "1s"]].concat()).failed_with(6);
    assert!(sandbox.run("home", &["update", "ngo"]).failed_with(3).contains("no registry `ngo`"));
    assert!(sandbox.ok("home", &["update"]).contains("no registry was added"));
    let (_, kept) = sandbox.json("home", &["gc"]);
    assert_eq!(kept["items"][0]["path"], "registries/ngo/arriving", "{kept}");
    desk.server.clear_faults();
    sandbox.ok("home", &add);
    let num_index = |name: &str| desk.num_asked(&format!("index-00{name}.jsonl.zst"));
    assert_eq!(["0", "1", "2", "3", "4", "5", "6"].map(num_index), [1; 7]);
}

#[test]
fn a_line_that_breaks_in_a_small_file_is_gone_on_with_by_range() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    desk.publish("2.0.0");
    let file = "index-003.jsonl.zst";
    let size_bytes = desk.publisher.registry().join(file).metadata().unwrap().len();
    desk.server.set_fault(file, Fault::CutAfter(size_bytes / 5 + 1));
    sandbox.ok("home", &["update"]);
    assert_eq!(desk.num_asked("index-003.jsonl"), 0, "the larger form is not paid for");
    let log = desk.server.log();
    let asked: Vec<_> = log.iter().filter(|request| request.path == format!("/{file}")).collect();
    assert_eq!(asked.len(), 1 + 5, "{asked:?}");
    let goes_on = asked[2..].iter().all(|request| request.status == 206 && request.if_range.is_some());
    assert!(goes_on, "{asked:?}");
}

#[test]
fn a_server_that_wants_a_pause_is_not_asked_for_the_larger_form() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    desk.publish("2.0.0");
    desk.server.queue_fault("index-003.jsonl.zst", Fault::Busy(1));
    let run = sandbox.run("home", &["update"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("wants to be left alone for 1 s"), "{run:?}");
    assert_eq!(desk.num_asked("index-003.jsonl"), 0);
}

#[test]
fn a_store_that_forbids_what_is_not_there_has_no_newer_root() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    desk.publish("2.0.0");
    for file in ["2.root.json", "index-001.jsonl.zst"] {
        desk.server.set_fault(file, Fault::Status(403));
    }
    assert!(sandbox.ok("home", &["update"]).contains("refreshed"));
    desk.server.set_fault("timestamp.json", Fault::Status(403));
    let said = sandbox.run("home", &["update"]).failed_with(5);
    assert!(said.contains("`timestamp.json`") && said.contains("403"), "{said}");
}

#[test]
fn where_one_source_lags_or_is_damaged_the_next_one_is_asked() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    let old = sandbox.path("old");
    copy_files(&desk.publisher.registry(), &old);
    desk.publish("2.0.0");
    // New metadata and one old index file; then nothing but old files.
    let torn = sandbox.path("torn");
    copy_files(&desk.publisher.registry(), &torn);
    for file in ["index-002.jsonl", "index-002.jsonl.zst"] {
        fs::copy(old.join(file), torn.join(file)).unwrap();
    }
    let run = desk.update_with_mirror("home", &HttpServer::serve(&torn));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("refreshed, version 2"), "{run:?}");
    assert!(run.stderr.contains("has another `index-002.jsonl.zst` than is wanted"), "{run:?}");

    desk.introduce("other");
    desk.publish("3.0.0");
    let run = desk.update_with_mirror("other", &HttpServer::serve(&old));
    assert!(run.code == Some(0) && run.stdout.contains("version 3"), "{run:?}");

    // With nobody else to ask, it is as it was.
    desk.publish("4.0.0");
    for file in ["index-002.jsonl.zst", "index-002.jsonl"] {
        desk.server.set_fault(file, Fault::CorruptByte(50));
    }
    let said = sandbox.run("home", &["update"]).failed_with(7);
    assert!(said.contains("`index-002.jsonl` is not what was signed"), "{said}");
}

#[test]
fn a_damaged_piece_list_at_a_mirror_is_had_from_the_publisher() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("model", "1.0.0", &[("weights.bin", &noise(3, 6 * 1024 * 1024))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    let lists = publisher.registry().join("pieces");
    for list in files_below(&lists) {
        let name = list.file_name().unwrap().to_str().unwrap().to_owned();
        sandbox.write(format!("mirror/pieces/{name}"), "not a piece list");
    }
    let mirror = HttpServer::serve(&sandbox.path("mirror"));
    let mut command = sandbox.command("home");
    let rule = format!("{}/pieces/={}/pieces/", server.url(), mirror.url());
    command.args(["fetch", "model"]).env("LOCALML_MIRROR", rule);
    let run = run(command);
    assert!(run.code == Some(0) && mirror.requests() == 1, "{run:?}");
    assert!(!run.stderr.contains("the whole file is checked instead"), "{run:?}");
}

#[test]
fn a_mirror_that_is_down_does_not_stand_in_the_way_of_a_root_that_is_not_there() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    desk.publish("2.0.0");
    let gone = HttpServer::serve(&sandbox.path("nowhere"));
    let url = gone.url();
    drop(gone);
    let mut command = sandbox.command("home");
    command.args(["update", "--within", "20s"]);
    command.env("LOCALML_MIRROR", format!("{}/={url}/", desk.server.url()));
    assert_eq!(run(command).code, Some(0));
}

#[test]
fn who_stops_stops_all_registries_and_the_exit_code_says_why() {
    let sandbox = Sandbox::new();
    let (one, two) = (Desk::new(&sandbox, "one"), Desk::new(&sandbox, "two"));
    one.introduce("home");
    two.introduce("home");
    one.publish("2.0.0");
    let before = two.server.requests();
    let said = sandbox.run("home", &["update", "--budget", "60KB"]).failed_with(6);
    assert!(said.contains("the budget of 60.0 kB is spent"), "{said}");
    assert_eq!(two.server.requests(), before, "nobody asks for another one");

    // What came by then is told.
    two.publish("2.0.0");
    let run = sandbox.run("home", &["update", "--budget", "60KB", "--new-budget", "two", "one"]);
    assert_eq!(run.code, Some(6), "{run:?}");
    sandbox.ok("home", &["update"]);
    one.publish("3.0.0");
    let args = ["update", "--budget", "60KB", "--new-budget", "two", "one", "two"];
    let run = sandbox.run("home", &args);
    assert_eq!(run.code, Some(6), "{run:?}");
    let is_told = |line: &str| run.stdout.contains(line);
    assert!(is_told("`two`: already the newest") && is_told("`one`: not refreshed"), "{run:?}");
    assert!(is_told("`two`: not asked"), "{run:?}");

    // None could be reached: that is no success with problems.
    drop((one.server, two.server));
    sandbox.run("home", &["update", "--within", "1s"]).failed_with(6);
}

#[test]
fn an_interrupt_keeps_what_came_and_asks_no_other_registry() {
    let sandbox = Sandbox::new();
    let (one, two) = (Desk::new(&sandbox, "one"), Desk::new(&sandbox, "two"));
    one.introduce("home");
    two.introduce("home");
    one.publish("2.0.0");
    one.server.queue_fault("index-005.jsonl.zst", Fault::StallAfter(100));
    let before = two.server.requests();
    let mut command = sandbox.command("home");
    let child = command.arg("update").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while one.num_asked("index-005.jsonl.zst") < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let said = Run::from(child.wait_with_output().unwrap()).failed_with(1);
    assert!(said.contains("stopped before") && said.contains("it continues where it stopped"), "{said}");
    assert_eq!(two.server.requests(), before);
    sandbox.ok("home", &["update", "one"]);
    // Once when it was added, once now: what had come before the interrupt is not asked for again.
    let num_asked = ["0", "1", "2", "3", "4"].map(|name| one.num_asked(&format!("index-00{name}.jsonl.zst")));
    assert_eq!(num_asked, [2; 5]);
}

#[test]
fn a_second_refresh_waits_for_the_first_and_says_so() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    let path = desk.folder("home").join(".lock");
    let held = Lock::acquire(&path).unwrap();
    let said = sandbox.run("home", &["update", "--within", "1s"]).failed_with(6);
    assert!(said.contains("the time is up; another localml was refreshing `ngo`"), "{said}");
    let release = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        drop(held);
    });
    let run = sandbox.run("home", &["update"]);
    release.join().unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("another localml is refreshing `ngo`; waiting for it to end"), "{run:?}");
}

#[test]
fn a_repair_fetches_only_what_is_damaged() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.introduce("home");
    let whole_bytes = desk.server.bytes_sent();
    let stored = desk.folder("home").join("g1/index-004.jsonl");
    let mut bytes = fs::read(&stored).unwrap();
    bytes[100] ^= 1;
    fs::write(&stored, bytes).unwrap();
    sandbox.run("home", &["info", "model-1"]).failed_with(7);
    let before = desk.server.bytes_sent();
    sandbox.ok("home", &["update", "--repair"]);
    let paid_bytes = desk.server.bytes_sent() - before;
    assert!(paid_bytes < whole_bytes / 4, "{paid_bytes} of {whole_bytes}");
    sandbox.ok("home", &["info", "model-1"]);
}

#[test]
fn the_password_of_a_registry_is_never_shown_and_does_not_travel() {
    let sandbox = Sandbox::new();
    let desk = Desk::new(&sandbox, "ngo");
    desk.publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    desk.publisher.publish();
    let url = format!("http://bob:geheim77@{}/", desk.server.address());
    let fingerprint = desk.publisher.fingerprint();
    let add =
        |home: &str, more: &[&str]| sandbox.run(home, &[&["registry", "add", "ngo", &url], more].concat());
    let is_silent = |run: &Run| !format!("{run:?}").contains("geheim77");
    let added = add("cafe", &["--fingerprint", &fingerprint]);
    assert!(added.code == Some(0) && is_silent(&added), "{added:?}");
    assert!(is_silent(&sandbox.run("cafe", &["--json", "update"])));
    let record = sandbox.path("cafe/registries/ngo/registry.toml");
    assert!(fs::read_to_string(&record).unwrap().contains("geheim77"), "it is needed here");
    assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    sandbox.ok("cafe", &["--offline", "sync", "--list", "missing.txt", "note"]);
    let list = fs::read_to_string(sandbox.path("missing.txt")).unwrap();
    assert!(list.contains(&desk.server.url()) && !list.contains("geheim77"), "{list}");
    sandbox.ok("cafe", &["fetch", "note"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    sandbox.ok("cafe", &["export", "stick"]);
    for path in files_below(&sandbox.path("stick")) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"geheim77"), "{}", path.display());
    }
    sandbox.ok("site", &["import", "stick", "--fingerprint", &fingerprint]);
    let taken = fs::read_to_string(sandbox.path("site/registries/ngo/registry.toml")).unwrap();
    assert!(taken.contains(&format!("url = \"{}/\"", desk.server.url())), "{taken}");

    for (file, fault) in [("1.root.json", Fault::Status(404)), ("timestamp.json", Fault::Status(403))] {
        desk.server.set_fault(file, fault);
        let refused = add("other", &["--fingerprint", &fingerprint]);
        assert!(refused.code != Some(0) && is_silent(&refused), "{refused:?}");
    }
    let ftp = sandbox.run("other", &["registry", "add", "ngo", "ftp://bob:geheim77@host/"]);
    assert!(ftp.code == Some(2) && is_silent(&ftp), "{ftp:?}");
}

fn files_below(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
