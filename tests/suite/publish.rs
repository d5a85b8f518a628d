//! A publisher's work: what `registry build` makes of manifests and files, and what it refuses.

use std::fs;

use localml::digest::Sha256;
use localml::package::{Manifest, PieceList};
use serde_json::Value;

use crate::support::sandbox::{Sandbox, shared_data};

const BUILD: [&str; 6] = ["registry", "build", "registry", "--files", "files", "--shards=1"];

fn manifest(name: &str, files: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nkind = \"chat-model\"\ntitle = \"T\"\nlicense = \"MIT\"\n[[variant]]\nid = \"v\"\n{files}"
    )
}

/// The only line of the index.
fn built(sandbox: &Sandbox) -> Manifest {
    let index = fs::read_to_string(sandbox.path("registry/index-000.jsonl")).unwrap();
    let lines: Vec<&str> = index.lines().collect();
    assert_eq!(lines.len(), 1, "{index}");
    serde_json::from_str(lines[0]).unwrap()
}

#[test]
fn a_large_file_gets_its_digest_its_pieces_and_a_source() {
    let sandbox = Sandbox::new();
    // 5 MiB: two pieces, of 4 MiB and 1 MiB.
    let bytes: Vec<u8> = (0..5_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    sandbox.write("files/big/model.bin", &bytes);
    sandbox.write("manifests/big/1.0.0.toml", manifest("big", "[[variant.file]]\npath = \"model.bin\"\n"));
    sandbox.ok("home", &BUILD);
    let built = built(&sandbox);
    let file = &built.variants[0].files[0];
    assert_eq!((file.size_bytes, file.sha256), (5 << 20, Sha256::of(&bytes)));
    assert_eq!(file.sources, [format!("blobs/{}", file.sha256)]);
    assert_eq!(fs::read(sandbox.path("registry").join(&file.sources[0])).unwrap(), bytes);
    let digest = file.pieces.unwrap();
    let text = fs::read_to_string(sandbox.path(format!("registry/pieces/{digest}"))).unwrap();
    assert_eq!(Sha256::of(text.as_bytes()), digest);
    let pieces = PieceList::parse(&text).unwrap();
    assert_eq!((pieces.pieces().len(), pieces.size_bytes()), (2, 5 << 20));
    assert_eq!(pieces.pieces()[1].sha256, Sha256::of(&bytes[4 << 20..]));
}

#[test]
fn the_same_manifests_give_the_same_bytes_and_check_sees_any_change() {
    let sandbox = Sandbox::new();
    sandbox.write("files/a/x.md", "text");
    sandbox.write("manifests/a/1.0.0.toml", manifest("a", "[[variant.file]]\npath = \"x.md\"\n"));
    sandbox.ok("home", &BUILD);
    let first = fs::read(sandbox.path("registry/index-000.jsonl")).unwrap();
    let (_, again) = sandbox.json("home", &BUILD);
    assert_eq!(again["changed"], Value::Array(vec![]));
    assert_eq!(fs::read(sandbox.path("registry/index-000.jsonl")).unwrap(), first);
    sandbox.write("files/a/x.md", "other");
    let check = [&BUILD[..], &["--check"]].concat();
    let said = sandbox.run("home", &check).failed_with(1);
    assert!(said.contains("`index-000.jsonl`") && said.contains("blobs/"), "{said}");
    assert_eq!(fs::read(sandbox.path("registry/index-000.jsonl")).unwrap(), first, "check changes nothing");
}

#[test]
fn a_folder_stands_for_every_file_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write("manifests/book/1.0.0.toml", manifest("book", "folder = \".\"\n"));
    sandbox.write("manifests/book/01 intro.md", "one");
    sandbox.write("manifests/book/pictures/map.svg", "two");
    sandbox.write("manifests/book/.hidden", "three");
    sandbox.ok("home", &["registry", "build", "registry", "--shards", "1"]);
    let built = built(&sandbox);
    let names: Vec<&str> = built.variants[0].files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["01 intro.md", "pictures/map.svg"]);
}

#[test]
fn what_does_not_agree_is_named() {
    let digest = Sha256::of(b"something else");
    let cases = [
        ("a/1.0.0.toml", "a", "[[variant.file]]\npath = \"x.md\"\n".to_owned(), "`x.md` has no digest"),
        (
            "a/1.0.1.toml",
            "a",
            "[[variant.file]]\npath = \"here.md\"\n".to_owned(),
            "belongs at `a/1.0.0.toml`",
        ),
        ("b/1.0.0.toml", "a", "[[variant.file]]\npath = \"../x\"\n".to_owned(), "b/1.0.0.toml"),
        (
            "a/1.0.0.toml",
            "a",
            format!("[[variant.file]]\npath = \"here.md\"\nsha256 = \"{digest}\"\nsize_bytes = 4\n"),
            "`here.md` has sha256",
        ),
        ("a/1.0.0.toml", "a", "folder = \"nowhere\"\n".to_owned(), "the folder `nowhere` is not there"),
        ("a/1.0.0.toml", "a", String::new(), "missing field `file`"),
    ];
    for (path, name, files, message) in cases {
        let sandbox = Sandbox::new();
        sandbox.write("files/a/here.md", "text");
        sandbox.write(format!("manifests/{path}"), manifest(name, &files));
        let said = sandbox.run("home", &BUILD).failed_with(1);
        assert!(said.contains(message) && !said.contains("panicked"), "{message}: {said}");
    }
    let said = Sandbox::new().run("home", &["registry", "build", "--shards", "3"]).failed_with(1);
    assert!(said.contains("power of two") || said.contains("manifests"), "{said}");
}

#[test]
fn a_gguf_tells_its_shape_and_a_damaged_one_is_refused() {
    let (Some(whole), Some(damaged)) =
        (shared_data("models/stories260K/stories260K-q8_0.gguf"), shared_data("models/damaged"))
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let bytes = fs::read(whole).unwrap();
    sandbox.write("files/tiny/model.gguf", &bytes);
    sandbox.write("manifests/tiny/1.0.0.toml", manifest("tiny", "[[variant.file]]\npath = \"model.gguf\"\n"));
    sandbox.ok("home", &BUILD);
    let variant = &built(&sandbox).variants[0];
    let shape = variant.shape.as_ref().unwrap();
    assert_eq!((shape.architecture.as_str(), shape.assumed), ("llama", false));
    assert!(variant.files[0].pieces.is_some(), "the tensor data begins a piece of its own");
    let mut mangled = fs::read_dir(damaged).unwrap().map(|entry| entry.unwrap().path());
    let mangled = mangled.find(|path| fs::read(path).unwrap().starts_with(b"GGUF")).unwrap();
    sandbox.write("files/tiny/model.gguf", fs::read(mangled).unwrap());
    let said = sandbox.run("home", &BUILD).failed_with(1);
    assert!(said.contains("model.gguf"), "{said}");
}

#[test]
fn signing_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let said = sandbox.run("home", &["registry", "sign", "registry", "--keys", "keys"]).failed_with(3);
    assert!(said.contains("`1.root.json` is not there") && said.contains("registry init"), "{said}");
    sandbox.ok("home", &["registry", "init", "registry", "--keys", "keys"]);
    let said = sandbox.run("home", &["registry", "sign", "registry", "--keys", "keys"]).failed_with(1);
    assert!(said.contains("`localml registry build` writes it"), "{said}");
    sandbox.ok("home", &["registry", "init", "other", "--keys", "other-keys"]);
    sandbox.write("manifests/a/1.0.0.toml", manifest("a", "[[variant.file]]\npath = \"x.md\"\n"));
    sandbox.write("files/a/x.md", "text");
    sandbox.ok("home", &BUILD);
    let said = sandbox.run("home", &["registry", "sign", "registry", "--keys", "other-keys"]).failed_with(1);
    assert!(
        said.contains("`targets` needs 1 of the 1 keys that `1.root.json` names")
            && said.contains("0 of them"),
        "{said}"
    );
    sandbox.run("home", &["registry", "init", "third", "--keys", "third/keys"]).failed_with(2);
    let said = sandbox.run("home", &["registry", "init", "registry", "--keys", "keys2"]).failed_with(1);
    assert!(said.contains("`registry/1.root.json` already exists"), "{said}");
    assert!(!sandbox.path("keys2").exists());
}

#[test]
fn a_new_registry_that_was_stopped_says_what_goes_on() {
    let sandbox = Sandbox::new();
    let init = ["registry", "init", "registry", "--keys", "keys"];
    sandbox.ok("home", &init);
    let said = sandbox.run("home", &init).failed_with(1);
    assert!(said.contains("1.root.json` already exists") && said.contains("`registry sign` go on"), "{said}");
    // Stopped after its keys, and before the root that names them.
    fs::remove_file(sandbox.path("registry/1.root.json")).unwrap();
    let said = sandbox.run("home", &init).failed_with(1);
    assert!(said.contains("keys/root.pk8` already exists") && said.contains("another folder"), "{said}");
    sandbox.write("manifests/a/1.0.0.toml", manifest("a", "[[variant.file]]\npath = \"x.md\"\n"));
    sandbox.write("files/a/x.md", "text");
    let said = sandbox.ok("home", &BUILD);
    assert!(said.contains("no root yet") && said.contains("localml registry init registry"), "{said}");
    sandbox.ok("home", &["registry", "init", "registry", "--keys", "keys2"]);
    sandbox.ok("home", &["registry", "sign", "registry", "--keys", "keys2"]);
}

#[test]
fn what_was_published_stays_what_it_was_and_a_draft_does_not() {
    let sandbox = Sandbox::new();
    let describe = |version: &str, text: &str| {
        let toml = format!(
            "[package]\nname = \"a\"\nversion = \"{version}\"\nkind = \"knowledge\"\ntitle = \"T\"\nlicense = \"MIT\"\n[[variant]]\nid = \"v\"\n[[variant.file]]\npath = \"x.md\"\nfrom = \"a/{version}.md\"\n"
        );
        sandbox.write(format!("manifests/a/{version}.toml"), toml);
        sandbox.write(format!("files/a/{version}.md"), text);
    };
    sandbox.ok("home", &["registry", "init", "registry", "--keys", "keys"]);
    describe("1.0.0", "a draft");
    sandbox.ok("home", &BUILD);
    describe("1.0.0", "published");
    sandbox.ok("home", &BUILD);
    sandbox.ok("home", &["registry", "sign", "registry", "--keys", "keys"]);
    let published = fs::read(sandbox.path("registry/index-000.jsonl")).unwrap();
    describe("1.0.0", "changed afterwards");
    for args in [&BUILD[..], &[&BUILD[..], &["--check"]].concat()] {
        let said = sandbox.run("home", args).failed_with(1);
        assert!(
            said.contains("`a@1.0.0` is published, and `x.md` of the build `v` would be other"),
            "{said}"
        );
        assert!(said.contains("a new version"), "{said}");
        assert_eq!(fs::read(sandbox.path("registry/index-000.jsonl")).unwrap(), published);
    }
    // The way is a new version; titles, sources and more builds may change.
    describe("1.0.0", "published");
    describe("1.0.1", "changed afterwards");
    sandbox.ok("home", &BUILD);
    let toml = fs::read_to_string(sandbox.path("manifests/a/1.0.0.toml")).unwrap();
    let more = "[[variant]]\nid = \"w\"\n[[variant.file]]\npath = \"y.md\"\nfrom = \"a/1.0.0.md\"\n";
    sandbox.write("manifests/a/1.0.0.toml", toml.replace("\"T\"", "\"A better title\""));
    sandbox.ok("home", &BUILD);
    // What was never signed may go again; what was, may not.
    sandbox.write("manifests/a/1.0.0.toml", &toml);
    sandbox.ok("home", &BUILD);
    sandbox.write("manifests/a/1.0.0.toml", format!("{toml}{more}"));
    sandbox.ok("home", &BUILD);
    sandbox.ok("home", &["registry", "sign", "registry", "--keys", "keys"]);
    sandbox.write("manifests/a/1.0.0.toml", &toml);
    assert!(sandbox.run("home", &BUILD).failed_with(1).contains("the build `w` would be gone"));
}
