//! `adopt --scan`: files of other programs' folders are found by length and digest, and used where they lie.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use localml::digest::Sha256;
use localml::home::Home;
use localml::ops::{ScanOptions, ScanPlace, adopt_scan};
use localml::progress::Silent;
use serde_json::Value;

use crate::support::fault_drive::Rules;
use crate::support::fault_fs::FaultFs;
use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::stops::Stops;

/// Five packages of one or two files each, known to `home` from a server.
fn served(sandbox: &Sandbox) -> (Publisher<'_>, HttpServer) {
    let publisher = Publisher::new(sandbox, "ngo");
    for (seed, package) in ["llama", "mistral", "gemma", "phi", "qwen"].iter().enumerate() {
        publisher.add(package, "1.0.0", &[("model.gguf", &model(seed))]);
    }
    publisher.add("embedder", "1.0.0", &[("model.onnx", &model(7)), ("tokenizer.json", &noise(8, 3000))]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("home", &server.url());
    (publisher, server)
}

/// All of one length, so that only the digest tells them apart, and of several pieces.
fn model(seed: usize) -> Vec<u8> {
    noise(seed as u64 + 20, 5 << 20)
}

/// The folders that the five programs keep, as they lay them out, in the user's home.
fn other_programs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let user = "nobody";
    let digest = |seed| Sha256::of(&model(seed));
    // Ollama: blobs by digest, and a manifest that names them.
    let ollama = sandbox.write(format!("{user}/.ollama/models/blobs/sha256-{}", digest(0)), model(0));
    sandbox.write(
        format!("{user}/.ollama/models/manifests/registry.ollama.ai/library/llama/latest"),
        format!("{{\"layers\":[{{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:{}\"}}]}}", digest(0)),
    );
    // A download of Ollama that was cut: it has the name of the whole file.
    sandbox.write(format!("{user}/.ollama/models/blobs/sha256-{}-partial", digest(1)), &model(1)[..1 << 20]);
    let lm_studio = sandbox
        .write(format!("{user}/.lmstudio/models/publisher/mistral-GGUF/mistral.Q4_K_M.gguf"), model(1));
    let gpt4all = sandbox.write(format!("{user}/.local/share/nomic.ai/GPT4All/gemma.Q4_0.gguf"), model(2));
    // Hugging Face: large files by sha256, small ones by git's digest, and links to them in snapshots.
    let hub = format!("{user}/.cache/huggingface/hub/models--org--embedder");
    let onnx = sandbox.write(format!("{hub}/blobs/{}", digest(7)), model(7));
    let tokenizer =
        sandbox.write(format!("{hub}/blobs/a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"), noise(8, 3000));
    let snapshot = sandbox.path(format!("{hub}/snapshots/0123456789"));
    fs::create_dir_all(&snapshot).unwrap();
    symlink(&onnx, snapshot.join("model.onnx")).unwrap();
    symlink(&tokenizer, snapshot.join("tokenizer.json")).unwrap();
    let llama_cpp = sandbox.write(format!("{user}/.cache/llama.cpp/org_phi-GGUF_phi-q4_k_m.gguf"), model(3));
    sandbox.write(format!("{user}/.cache/llama.cpp/org_phi-GGUF_phi-q4_k_m.gguf.json"), b"{}");
    // The length of a model and other bytes: nobody's.
    sandbox.write(format!("{user}/.lmstudio/models/publisher/own/own.gguf"), noise(99, 5 << 20));
    vec![ollama, lm_studio, gpt4all, onnx, tokenizer, llama_cpp]
}

/// What must not change of somebody else's file.
fn state(path: &Path) -> (Vec<u8>, u32, i64, u64) {
    let metadata = fs::metadata(path).unwrap();
    (fs::read(path).unwrap(), metadata.mode(), metadata.mtime_nsec(), metadata.ino())
}

fn files_by_program(report: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = report["files"].as_array().unwrap().iter();
    let mut files: Vec<_> =
        files.map(|file| (text(&file["program"]), text(&file["package"]), text(&file["deed"]))).collect();
    files.sort();
    files
}

#[test]
fn what_five_programs_keep_is_found_and_linked_and_nothing_of_theirs_changes() {
    let sandbox = Sandbox::new();
    let (_publisher, server) = served(&sandbox);
    let theirs = other_programs(&sandbox);
    for path in &theirs {
        fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap();
    }
    let before: Vec<_> = theirs.iter().map(|path| state(path)).collect();
    let requests_before = server.requests();

    let (code, plan) = sandbox.json("home", &["adopt", "--scan", "--plan"]);
    let expected = [
        ("GPT4All", "gemma"),
        ("Hugging Face", "embedder"),
        ("Hugging Face", "embedder"),
        ("LM Studio", "mistral"),
        ("Ollama", "llama"),
        ("llama.cpp", "phi"),
    ];
    let expected =
        expected.map(|(program, package)| (program.to_owned(), package.to_owned(), "linked".to_owned()));
    assert_eq!((code, files_by_program(&plan)), (Some(0), expected.to_vec()), "{plan}");
    assert_eq!(plan["saved_bytes"].as_u64(), Some(5 * (5 << 20) + 3000));
    assert!(!sandbox.path("home/blobs").exists(), "a plan changes nothing");

    let (code, report) = sandbox.json("home", &["adopt", "--scan"]);
    assert_eq!((code, files_by_program(&report)), (Some(0), expected.to_vec()));
    assert_eq!(server.requests(), requests_before, "no byte of data is spent");
    let linked = sandbox.path(format!("home/blobs/{}", Sha256::of(&model(0))));
    assert!(fs::read(&linked).unwrap() == model(0));

    // The packages are here as if they had been fetched: signed, and installed without the network.
    let (_, list) = sandbox.json("home", &["list"]);
    let packages = list["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 5);
    assert!(packages.iter().all(|package| package["is_signed"] == true && package["is_installed"] == false));
    sandbox.ok("home", &["--offline", "install", "llama", "embedder"]);
    sandbox.ok("home", &["--offline", "verify"]);
    for (path, before) in theirs.iter().zip(&before) {
        assert!(state(path) == *before, "{} changed", path.display());
    }
    let said = sandbox.ok("home", &["adopt", "--scan"]);
    assert!(said.contains("no file in it belongs to a package"), "twice finds nothing new: {said}");

    // Removing the packages, and mending one, leaves the other programs' files alone too.
    sandbox.ok("home", &["remove", "llama", "embedder", "gemma", "phi", "mistral"]);
    for (path, before) in theirs.iter().zip(&before) {
        assert!(state(path) == *before, "{} changed", path.display());
    }
}

#[test]
fn the_settings_of_the_programs_are_heard() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    sandbox.write(format!("disk/ollama/blobs/sha256-{}", Sha256::of(&model(0))), model(0));
    sandbox.write(format!("disk/hf/hub/models--a--b/blobs/{}", Sha256::of(&model(1))), model(1));
    sandbox.write("disk/llama/phi.gguf", model(3));
    let output = sandbox
        .command("home")
        .env("OLLAMA_MODELS", sandbox.path("disk/ollama"))
        .env("HF_HOME", sandbox.path("disk/hf"))
        .env("LLAMA_CACHE", sandbox.path("disk/llama"))
        .args(["--json", "adopt", "--scan", "--plan"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let programs: Vec<String> = files_by_program(&report).into_iter().map(|(program, ..)| program).collect();
    assert_eq!(programs, ["Hugging Face", "Ollama", "llama.cpp"]);
}

#[test]
fn a_name_that_is_a_digest_is_verified_all_the_same() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    let mut damaged = model(0);
    damaged[1 << 20] ^= 1;
    sandbox.write(format!("models/sha256-{}", Sha256::of(&model(0))), damaged);
    let said = sandbox.ok("home", &["adopt", "--scan", "models"]);
    assert!(said.contains("1 file in models") && said.contains("no file in it belongs"), "{said}");
}

#[test]
fn a_package_of_which_a_part_is_found_costs_only_the_rest() {
    let sandbox = Sandbox::new();
    let (_publisher, server) = served(&sandbox);
    sandbox.write("Downloads/some name.onnx", model(7));
    let said = sandbox.ok("home", &["adopt", "--scan", "Downloads"]);
    assert!(said.contains("embedder 1.0.0 (plain) lacks 3.00 kB"), "{said}");
    assert!(sandbox.ok("home", &["gc", "--yes"]).contains("KEPT"), "and waits for it");
    let bytes_before = server.bytes_sent();
    sandbox.ok("home", &["install", "embedder"]);
    assert!(server.bytes_sent() - bytes_before < 10_000);
}

#[test]
fn what_lies_on_another_disk_is_copied_only_when_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let _served = served(&sandbox);
    // A file system of its own; the sandbox lies on another one where this is another disk.
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        return crate::support::skipped::skip("another disk: there is no /dev/shm");
    };
    fs::create_dir(sandbox.path("home")).ok();
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(sandbox.path("home")).unwrap().dev() {
        return crate::support::skipped::skip("another disk: /dev/shm is none");
    }
    fs::write(other.path().join("model.gguf"), model(4)).unwrap();
    let folder = other.path().to_str().unwrap();
    let run = sandbox.run("home", &["adopt", "--scan", folder]);
    assert!(run.code == Some(8) && run.stdout.contains("`--copy` copies them"), "{run:?}");
    assert!(!sandbox.path(format!("home/blobs/{}", Sha256::of(&model(4)))).exists());
    let (code, report) = sandbox.json("home", &["adopt", "--scan", folder, "--copy"]);
    assert_eq!((code, report["files"][0]["deed"].as_str()), (Some(0), Some("copied")));
    sandbox.ok("home", &["--offline", "install", "qwen"]);
    sandbox.ok("home", &["verify"]);
}

/// A home on a drive of its own, with so much room, and four models of 5 MiB on another one.
fn on_another_disk(sandbox: &Sandbox, capacity_bytes: u64) -> Option<FaultFs> {
    let drive = FaultFs::new(Rules::Journalled, capacity_bytes)?;
    let _served = served(sandbox);
    drive.load(&sandbox.path("home"));
    for seed in 0..4 {
        sandbox.write(format!("models/{seed}.gguf"), model(seed));
    }
    Some(drive)
}

#[test]
fn copies_for_which_there_is_no_room_are_told_before_the_first_byte() {
    let sandbox = Sandbox::new();
    let Some(drive) = on_another_disk(&sandbox, 18 << 20) else { return };
    let scan = |more: &[&str]| {
        let mut command = sandbox.command("home");
        command.env("LOCALML_HOME", drive.path()).args(["adopt", "--scan", "models", "--copy"]).args(more);
        Run::from(command.output().unwrap())
    };
    let plan = scan(&["--plan"]);
    assert!(plan.code == Some(0) && plan.stdout.contains("NOT ENOUGH ROOM"), "{plan:?}");
    let said = scan(&[]).failed_with(6);
    assert!(said.contains("bytes free where") && said.contains("without `--copy`"), "{said}");
    assert!(!drive.path().join("blobs").exists() && !drive.path().join("staging").exists());
}

#[test]
fn copies_that_are_stopped_leave_no_half_and_what_is_whole_is_recorded() {
    let sandbox = Sandbox::new();
    let Some(drive) = on_another_disk(&sandbox, 64 << 20) else { return };
    let home = Home::at(drive.path());
    let folder = sandbox.path("models");
    let place = ScanPlace { program: "-".to_owned(), folder, is_named: true };
    let options = ScanOptions { places: vec![place], copies: true, is_plan: false };
    // In the middle of the second of four.
    let monitor = Stops::in_task("copying", 7 << 20);
    let error = adopt_scan(&home, &options, &monitor).unwrap_err();
    assert!(error.to_string().contains("stopped; what came in is kept"), "{error}");
    assert!(monitor.notes().contains("`llama` 1.0.0 is whole and kept"), "{}", monitor.notes());
    assert_eq!(fs::read_dir(home.staging()).unwrap().count(), 0, "no half is left");
    let report = adopt_scan(&home, &options, &Silent).unwrap();
    assert_eq!(report.files.len(), 3, "{report:?}");
    let names: Vec<String> =
        localml::ops::list(&home).unwrap().packages.iter().map(|package| package.name.to_string()).collect();
    assert_eq!(names, ["gemma", "llama", "mistral", "phi"]);
}

#[test]
fn wrong_words_are_refused_with_the_right_ones() {
    let sandbox = Sandbox::new();
    sandbox.run("home", &["adopt"]).failed_with(2);
    sandbox.run("home", &["adopt", "a.gguf"]).failed_with(2);
    sandbox.run("home", &["adopt", "--scan", "--name", "x"]).failed_with(2);
    let said = sandbox.run("home", &["adopt", "a", "b", "--name", "x", "--kind", "knowledge"]).failed_with(2);
    assert!(said.contains("takes one file"), "{said}");
    let said = sandbox.run("home", &["adopt", "--scan", "nowhere"]).failed_with(3);
    assert!(said.contains("there is no folder `nowhere`"), "{said}");
    let Run { code, stdout, .. } = sandbox.run("home", &["adopt", "--scan"]);
    assert!(code == Some(0) && stdout.contains("folder"), "{stdout}");
}
