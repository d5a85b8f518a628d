//! What `verify` found damaged: no name leads to its bytes, everybody says so, and it comes back whole.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use localml::digest::Sha256;

use crate::support::damage::{corrupt, largest_blob};
use crate::support::http_server::HttpServer;
use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;
use crate::support::stick::files_in;

const PIECE: u64 = 4 << 20;

/// Of 4 pieces and 5 bytes.
fn map() -> Vec<u8> {
    noise(1, (4 * PIECE + 5) as usize)
}

/// `book`, with a map and a chapter, and `atlas` with the same map under another name, installed from a folder.
fn site(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &map()), ("chapter.md", b"# A chapter\n")]);
    publisher.add("atlas", "1.0.0", &[("same.bin", &map())]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "book", "atlas"]);
    publisher
}

/// Damages the second piece of the map, and has it found.
fn find_damage(sandbox: &Sandbox) -> PathBuf {
    let blob = largest_blob(sandbox, "site");
    corrupt(&blob, &[PIECE + 1]);
    sandbox.run("site", &["verify"]).failed_with(4);
    blob
}

/// The names under which packages have bytes as long as the map.
fn names(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut names = files_in(&sandbox.path("site/packages"));
    names.retain(|path| path.metadata().unwrap().len() == 4 * PIECE + 5);
    names
}

#[test]
fn what_was_found_damaged_has_no_name_until_it_is_repaired() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    assert_eq!(names(&sandbox).len(), 2);
    find_damage(&sandbox);
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
    for package in ["book", "atlas"] {
        let said = sandbox.run("site", &["path", package]).failed_with(4);
        assert!(said.contains("damaged, and out of use"), "{said}");
        assert!(said.contains(&format!("`localml repair {package}`")), "{said}");
    }
    let chapter = sandbox.ok("site", &["path", "book", "chapter.md"]);
    assert_eq!(fs::read(chapter.trim()).unwrap(), b"# A chapter\n", "what is sound stays usable");

    // Repairing one package gives the other its name back too.
    sandbox.ok("site", &["repair", "book"]);
    assert_eq!(names(&sandbox).len(), 2);
    let same = sandbox.ok("site", &["path", "atlas"]);
    assert_eq!(Sha256::of_file(same.trim().as_ref()).unwrap(), Sha256::of(&map()));
    assert!(!sandbox.ok("site", &["list"]).contains("DAMAGED"));
}

#[test]
fn list_the_bare_command_and_the_doctor_name_what_is_damaged() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    find_damage(&sandbox);
    let said = sandbox.ok("site", &["list"]);
    assert!(said.contains("DAMAGED") && said.contains("`localml repair atlas`"), "{said}");
    let (_, list) = sandbox.json("site", &["list"]);
    let packages = list["packages"].as_array().unwrap();
    assert!(packages.iter().all(|package| package["is_damaged"] == true), "{list}");
    let said = sandbox.ok("site", &[""; 0]);
    assert!(said.contains("DAMAGED   book") && said.contains("  localml repair book "), "{said}");
    let doctor = sandbox.run("site", &["doctor"]);
    assert_eq!(doctor.code, Some(8));
    assert!(doctor.stdout.contains("`localml repair atlas`"), "{doctor:?}");
    assert!(!doctor.stdout.contains("localml install"), "{doctor:?}");
}

#[test]
fn an_older_version_that_is_damaged_loses_its_name_and_gets_it_back() {
    let sandbox = Sandbox::new();
    let publisher = site(&sandbox);
    publisher.add("atlas", "2.0.0", &[("same.bin", b"a smaller map")]);
    publisher.publish();
    sandbox.ok("site", &["update"]);
    sandbox.ok("site", &["upgrade", "atlas"]);
    find_damage(&sandbox);
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
    sandbox.ok("site", &["repair"]);
    assert_eq!(names(&sandbox).len(), 2);
    sandbox.ok("site", &["rollback", "atlas"]);
    sandbox.ok("site", &["path", "atlas"]);
}

#[test]
fn where_names_are_copies_they_stay_out_of_use_and_mend_the_blob() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    let copies = names(&sandbox);
    for name in &copies {
        let copy = name.with_extension("copy");
        fs::copy(name, &copy).unwrap();
        fs::rename(&copy, name).unwrap();
    }
    corrupt(&copies[1], &[0]);
    find_damage(&sandbox);
    assert_eq!(names(&sandbox), copies, "what is right of them need not come again");
    sandbox.run("site", &["path", "atlas"]).failed_with(4);
    // Nobody else has the map any more.
    fs::rename(sandbox.path("publisher"), sandbox.path("gone")).unwrap();
    sandbox.ok("site", &["--offline", "repair"]);
    assert_eq!(names(&sandbox).len(), 2);
    for name in &copies {
        assert_eq!(fs::read(name).unwrap(), map(), "the wrong copy was put right");
    }
    sandbox.ok("site", &["--offline", "verify"]);
}

#[test]
fn a_name_that_is_all_that_is_left_of_a_file_is_not_removed() {
    let sandbox = Sandbox::new();
    let _publisher = site(&sandbox);
    let kept = names(&sandbox)[0].clone();
    for name in &names(&sandbox)[1..] {
        fs::remove_file(name).unwrap();
    }
    fs::remove_file(crate::support::damage::largest_blob(&sandbox, "site")).unwrap();
    sandbox.run("site", &["verify"]).failed_with(4);
    assert_eq!(fs::read(&kept).unwrap(), map());
    // It is of use: nobody else has the map any more.
    fs::rename(sandbox.path("publisher"), sandbox.path("gone")).unwrap();
    sandbox.ok("site", &["--offline", "repair"]);
    sandbox.ok("site", &["--offline", "verify"]);
}

#[test]
fn what_another_program_shares_keeps_its_own_name() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &map())]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let theirs = sandbox.write("models/map.bin", map());
    sandbox.ok("site", &["adopt", "--scan", "models"]);
    sandbox.ok("site", &["--offline", "install", "book"]);
    let blob = find_damage(&sandbox);
    assert!(names(&sandbox).is_empty() && theirs.is_file());
    let aside = blob.with_extension("damaged");
    assert_eq!(theirs.metadata().unwrap().ino(), aside.metadata().unwrap().ino(), "one file, as before");
}

#[test]
fn a_plan_counts_only_what_is_right_of_a_damaged_file() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("map.bin", &map())]);
    publisher.publish();
    let server = HttpServer::serve(&publisher.registry());
    publisher.introduce("site", &server.url());
    sandbox.ok("site", &["install", "book"]);
    find_damage(&sandbox);
    for line in [&["install", "book", "--plan"][..], &["--offline", "fetch", "book", "--plan"]] {
        let (code, plan) = sandbox.json("site", line);
        // One of the four pieces of 4 MiB has a wrong byte.
        assert_eq!((code, plan["missing_bytes"].as_u64()), (Some(0), Some(PIECE)), "{plan}");
        assert_eq!(plan["saved_bytes"].as_u64(), Some(3 * PIECE + 5));
    }
    let before_bytes = server.bytes_sent();
    let (_, done) = sandbox.json("site", &["install", "book"]);
    assert_eq!(done["missing_bytes"].as_u64(), Some(PIECE), "as planned: {done}");
    let sent_bytes = server.bytes_sent() - before_bytes;
    assert!((PIECE..PIECE + (64 << 10)).contains(&sent_bytes), "{sent_bytes}");
    sandbox.ok("site", &["path", "book"]);
}

#[cfg(feature = "engine")]
#[test]
fn a_damaged_model_is_not_run() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add_kind("model", "1.0.0", "chat-model", &[("model.gguf", &map())]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "model"]);
    find_damage(&sandbox);
    let said = sandbox.run("site", &["run", "model", "hello"]).failed_with(4);
    assert!(said.contains("`localml repair model`"), "{said}");
}

#[cfg(feature = "index")]
#[test]
fn a_damaged_package_is_not_indexed_and_what_is_indexed_of_it_stays() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    let chapter = "# Fever\nA child with fever needs water and shade.\n".repeat(8);
    publisher.add("book", "1.0.0", &[("chapter.md", chapter.as_bytes())]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "book"]);
    sandbox.ok("site", &["index", "add", "book"]);
    corrupt(&largest_blob(&sandbox, "site"), &[5]);
    sandbox.run("site", &["verify"]).failed_with(4);
    for line in [["index", "add", "book"], ["index", "refresh", "book"]] {
        let said = sandbox.run("site", &line).failed_with(4);
        assert!(said.contains("`localml repair book`"), "{said}");
    }
    let all = sandbox.run("site", &["index", "refresh"]);
    assert!(all.stderr.contains("could not refresh `book`"), "{all:?}");
    assert!(sandbox.ok("site", &["find", "fever"]).contains("chapter.md"), "nothing was taken for deleted");
}

#[cfg(all(feature = "index", feature = "onnx"))]
#[test]
fn a_damaged_embedder_is_named_and_words_are_searched_all_the_same() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add_kind("embedder", "1.0.0", "embedder", &[("model.onnx", &map())]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["install", "embedder"]);
    find_damage(&sandbox);
    sandbox.write("documents/fever.md", "# Fever\nA child with fever needs water and shade.\n");
    let (_, report) = sandbox.json("site", &["index", "add", "documents"]);
    assert!(report.to_string().contains("`localml repair embedder`"), "{report}");
    assert!(sandbox.run("site", &["find", "fever"]).stdout.contains("fever.md"));
}
