//! Documents become searchable: every format, every kind of bad file, changes, damage, several collections.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::documents::{HTML, pdf};
use crate::support::publisher::Publisher;
use crate::support::sandbox::{Sandbox, shared_data};
#[cfg(feature = "onnx")]
use crate::support::starter::install_embedder;

const BOILING: &str =
    "# Water\n\n## Boiling\n\nBoil water for one minute. Above 2000 metres, boil it for three.\n";

#[test]
fn finds_a_passage_with_its_source_and_its_best_sentence() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/guides/water.md", BOILING);
    let said = sandbox.ok("home", &["index", "add", "docs"]);
    assert!(said.contains("docs: 1 passages in 1 files"), "{said}");
    let text = sandbox.ok("home", &["find", "how", "long", "to", "boil", "water"]);
    assert!(text.contains("docs: guides/water.md, line 5"), "{text}");
    assert!(text.contains("Water › Boiling") && text.contains("“Boil water for one minute.”"), "{text}");
    let (_, value) = sandbox.json("home", &["find", "boil"]);
    let passage = &value["passages"][0];
    assert_eq!(
        passage["path"],
        sandbox.path("docs/guides/water.md").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!((passage["first_line"].as_u64(), passage["page"].as_u64()), (Some(5), None));
}

#[test]
fn reads_pdf_with_pages_and_html_without_scripts() {
    let sandbox = Sandbox::new();
    let pages = [
        "Chapter one is about malaria.\nSleep under a net.",
        "Chapter two is about cholera.\nDrink clean water.",
    ];
    sandbox.write("docs/book.pdf", pdf(&pages));
    sandbox.write("docs/cold.html", HTML);
    sandbox.ok("home", &["index", "add", "docs"]);
    let (_, value) = sandbox.json("home", &["find", "cholera"]);
    let passage = &value["passages"][0];
    assert_eq!((passage["file"].as_str(), passage["page"].as_u64()), (Some("book.pdf"), Some(2)), "{value}");
    assert_eq!(
        value["passages"].as_array().unwrap().len(),
        1,
        "a passage does not reach over a page: {value}"
    );
    let (_, value) = sandbox.json("home", &["find", "thermometer"]);
    assert_eq!(value["passages"][0]["heading_path"][0], "Keeping vaccines cold");
    assert!(value["passages"][0]["quote"].as_str().unwrap().contains("Check the thermometer twice a day."));
    sandbox.run("home", &["find", "zebra"]).failed_with(3);
}

#[test]
fn one_bad_file_never_stops_a_run_and_each_is_named_with_a_reason() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/good.md", BOILING);
    sandbox.write("docs/program.md", b"\x7fELF\x02\x01\x00\x00 not text");
    sandbox.write("docs/broken.pdf", b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 9 0 R");
    sandbox.write("docs/not.pdf", b"this is a text");
    sandbox.write("docs/nested.html", "<div>".repeat(5_000));
    sandbox.write("docs/letter.docx", b"PK\x03\x04");
    sandbox.write("docs/empty.txt", "");
    sandbox.write("docs/photo.jpg", b"\xff\xd8");
    sandbox.write("docs/latin.txt", b"Le caf\xe9 est chaud et la for\xeat est belle, dit le m\xe9decin.");
    let (code, value) = sandbox.json("home", &["index", "add", "docs"]);
    assert_eq!(code, Some(8), "{value}");
    let files = &value["files"];
    let count = |key: &str| files[key].as_u64().unwrap();
    assert_eq!(
        (count("num_indexed"), count("num_empty"), count("num_failed"), count("num_others")),
        (2, 1, 5, 1)
    );
    let status = sandbox.ok("home", &["index", "status", "docs"]);
    for said in [
        "empty    empty.txt",
        "failed   program.md: it is not text",
        "failed   broken.pdf: it is not readable as PDF",
        "failed   not.pdf: it is not readable as PDF: it does not begin with `%PDF-`",
        "failed   nested.html: it is not readable as HTML: its tags are nested more than 1000 deep",
        "failed   letter.docx: `.docx` files cannot be read yet",
        "note     latin.txt: its encoding is not UTF-8",
    ] {
        assert!(status.contains(said), "`{said}` is not in:\n{status}");
    }
    assert!(sandbox.ok("home", &["find", "foret"]).contains("la forêt est belle"));
}

#[test]
fn a_changed_file_is_read_again_a_deleted_one_goes_and_the_rest_is_not_opened() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/a.txt", "The old pump is green.");
    sandbox.write("docs/b.txt", "A mango tree stands here.");
    sandbox.write("docs/c.txt", "The well is deep.");
    sandbox.ok("home", &["index", "add", "docs"]);
    sandbox.write("docs/a.txt", "The new pump is yellow, not green.");
    fs::remove_file(sandbox.path("docs/b.txt")).unwrap();
    let (code, value) = sandbox.json("home", &["index", "refresh", "docs"]);
    assert_eq!(code, Some(0));
    let files = &value[0]["files"];
    let counts = ["num_read", "num_unchanged", "num_removed"].map(|key| files[key].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1]);
    sandbox.run("home", &["find", "mango"]).failed_with(3);
    assert!(sandbox.ok("home", &["find", "yellow"]).contains("a.txt"));
    let (_, value) = sandbox.json("home", &["find", "pump"]);
    assert_eq!(value["passages"].as_array().unwrap().len(), 1);
    let head = fs::read(sandbox.path("home/collections/docs/head.json")).unwrap();
    sandbox.ok("home", &["index", "refresh"]);
    assert_eq!(fs::read(sandbox.path("home/collections/docs/head.json")).unwrap(), head, "nothing changed");
}

#[test]
fn a_root_that_is_not_there_is_offline_and_keeps_its_passages() {
    let sandbox = Sandbox::new();
    sandbox.write("stick/note.txt", "The key is under the stone.");
    sandbox.ok("home", &["index", "add", "stick", "--name", "notes"]);
    fs::rename(sandbox.path("stick"), sandbox.path("unplugged")).unwrap();
    let run = sandbox.run("home", &["index", "refresh"]);
    assert_eq!(run.code, Some(8));
    assert!(run.stdout.contains("offline"), "{}", run.stdout);
    assert!(sandbox.ok("home", &["find", "key"]).contains("under the stone"));
}

#[test]
fn an_empty_mount_point_does_not_empty_the_index() {
    let sandbox = Sandbox::new();
    sandbox.write("drive/note.txt", "The key is under the stone.");
    sandbox.ok("home", &["index", "add", "drive"]);
    fs::remove_file(sandbox.path("drive/note.txt")).unwrap();
    let run = sandbox.run("home", &["index", "refresh"]);
    assert_eq!(run.code, Some(8));
    assert!(run.stdout.contains("offline"), "{}", run.stdout);
    assert!(sandbox.ok("home", &["find", "key"]).contains("under the stone"));
}

#[test]
fn damage_is_named_and_refresh_repairs_it() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/a.md", BOILING);
    sandbox.write("docs/b.txt", "The well is deep.");
    sandbox.ok("home", &["index", "add", "docs"]);
    for kind in ["head.json", "passages-", "files-", ".idx", ".term", ".store"] {
        let Some(file) = index_file(&sandbox, kind) else { continue };
        flip_middle_byte(&file);
        let run = sandbox.run("home", &["find", "--in", "docs", "well"]);
        // A damaged list of files does not touch the search; all else must be noticed.
        if kind != "files-" {
            let said = run.failed_with(4);
            assert!(said.contains("localml index refresh docs"), "{kind}: {said}");
        }
        let run = sandbox.run("home", &["index", "refresh", "docs"]);
        assert_eq!(run.code, Some(0), "{kind}: {}", run.stderr);
        assert!(run.stderr.contains("rebuilding"), "{kind}: {}", run.stderr);
        assert!(sandbox.ok("home", &["find", "--in", "docs", "well"]).contains("The well is deep."));
    }
}

#[test]
fn damage_while_a_folder_is_away_forgets_no_file_of_it() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/a.txt", "The well is deep.");
    sandbox.ok("home", &["index", "add", "docs"]);
    flip_middle_byte(&index_file(&sandbox, "passages-").unwrap());
    fs::rename(sandbox.path("docs"), sandbox.path("away")).unwrap();
    let run = sandbox.run("home", &["index", "refresh"]);
    assert_eq!(run.code, Some(8), "{}", run.stderr);
    assert!(run.stdout.contains("read again when it is back"), "{}", run.stdout);
    assert!(run.stdout.contains("failed   a.txt: its passages were damaged"), "{}", run.stdout);
    fs::rename(sandbox.path("away"), sandbox.path("docs")).unwrap();
    sandbox.write("home/collections/docs/.head.json.1.new", "{");
    sandbox.ok("home", &["index", "refresh"]);
    assert!(sandbox.ok("home", &["find", "well"]).contains("The well is deep."));
    assert!(!sandbox.path("home/collections/docs/.head.json.1.new").exists(), "a torn write is swept");
}

#[test]
fn a_collection_that_lost_its_roots_can_be_made_anew_as_the_hint_says() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/a.txt", "The well is deep.");
    sandbox.ok("home", &["index", "add", "docs"]);
    sandbox.write("home/collections/docs/collection.json", "{");
    let said = sandbox.run("home", &["index", "refresh", "docs"]).failed_with(4);
    assert!(said.contains("localml index remove docs"), "{said}");
    sandbox.ok("home", &["index", "remove", "docs"]);
    sandbox.ok("home", &["index", "add", "docs"]);
}

/// A file of the index whose name contains `kind`.
fn index_file(sandbox: &Sandbox, kind: &str) -> Option<PathBuf> {
    let folder = sandbox.path("home/collections/docs");
    let entries = fs::read_dir(&folder).unwrap().chain(fs::read_dir(folder.join("words")).unwrap());
    entries.map(|entry| entry.unwrap().path()).find(|path| path.to_str().unwrap().contains(kind))
}

fn flip_middle_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    // The file may be read-only; its folder is not.
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn several_collections_are_searched_together_and_in_narrows() {
    let sandbox = Sandbox::new();
    sandbox.write("health/malaria.md", "Malaria is carried by mosquitoes.");
    sandbox.write("garden/mint.md", "Mint keeps mosquitoes away.");
    sandbox.ok("home", &["index", "add", "health"]);
    sandbox.ok("home", &["index", "add", "garden"]);
    let (_, value) = sandbox.json("home", &["find", "mosquitoes"]);
    assert_eq!(value["passages"].as_array().unwrap().len(), 2);
    let (_, value) = sandbox.json("home", &["find", "mosquitoes", "--in", "garden"]);
    let collections: Vec<&Value> =
        value["passages"].as_array().unwrap().iter().map(|passage| &passage["collection"]).collect();
    assert_eq!(collections, ["garden"]);
    sandbox.run("home", &["find", "mosquitoes", "--in", "nobody"]).failed_with(3);
}

#[test]
fn two_folders_of_one_name_become_two_collections_and_one_folder_twice_stays_one() {
    let sandbox = Sandbox::new();
    sandbox.write("a/notes/x.txt", "first");
    sandbox.write("b/notes/x.txt", "second");
    sandbox.ok("home", &["index", "add", "a/notes"]);
    assert!(sandbox.ok("home", &["index", "add", "b/notes"]).starts_with("notes-2:"));
    assert!(sandbox.ok("home", &["index", "add", "a/notes"]).starts_with("notes:"));
    let list = sandbox.ok("home", &["index", "list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(sandbox.ok("home", &["index", "remove", "notes-2"]).contains("the documents stay"));
    assert!(sandbox.path("b/notes/x.txt").exists());
    sandbox.run("home", &["index", "remove", "notes-2"]).failed_with(3);
}

#[test]
fn with_nothing_indexed_or_nothing_found_the_way_out_is_named() {
    let sandbox = Sandbox::new();
    let said = sandbox.run("home", &["find", "water"]).failed_with(3);
    assert!(said.contains("localml index add FOLDER"), "{said}");
    sandbox.write("docs/a.md", BOILING);
    sandbox.ok("home", &["index", "add", "docs"]);
    let said = sandbox.run("home", &["find", "xylophone"]).failed_with(3);
    assert!(said.contains("localml search"), "{said}");
    sandbox.run("home", &["index", "add", "nowhere"]).failed_with(3);
    sandbox.run("home", &["index", "add", "docs", "--name", "../up"]).failed_with(2);
}

#[test]
fn odd_texts_are_quoted_at_their_own_lines() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/crlf.md", "\u{feff}# Pump\r\n\r\nGrease the bearing\r\nevery month.\r\n");
    sandbox.write("docs/long.txt", format!("{} zanzibar {}", "word ".repeat(40_000), "word ".repeat(40_000)));
    sandbox.write("docs/deep.md", "# a\n## b\n### c\n#### d\n##### e\n###### f\n\nThe bottom is here.\n");
    let utf16: Vec<u8> =
        "\u{feff}Salted fish keeps well.".encode_utf16().flat_map(u16::to_le_bytes).collect();
    sandbox.write("docs/wide.txt", utf16);
    sandbox.ok("home", &["index", "add", "docs"]);
    let (_, value) = sandbox.json("home", &["find", "bearing"]);
    assert_eq!(value["passages"][0]["quote"], "Grease the bearing\r\nevery month.");
    assert_eq!(value["passages"][0]["quote_first_line"], 3);
    let (_, value) = sandbox.json("home", &["find", "zanzibar"]);
    let text = value["passages"][0]["text"].as_str().unwrap();
    assert!(text.contains("zanzibar") && text.len() < 2_000);
    let (_, value) = sandbox.json("home", &["find", "bottom"]);
    assert_eq!(value["passages"][0]["heading_path"].as_array().unwrap().len(), 6);
    assert!(sandbox.ok("home", &["find", "fish"]).contains("wide.txt, line 1"));
    let (_, value) = sandbox.json("home", &["find", "fish"]);
    let passage = &value["passages"][0];
    assert_eq!(
        (&passage["quote"], &passage["is_extracted"]),
        (&"Salted fish keeps well.".into(), &true.into())
    );
    let text = fs::read_to_string(passage["text_path"].as_str().unwrap()).unwrap();
    let byte = |key: &str| usize::try_from(passage[key].as_u64().unwrap()).unwrap();
    assert_eq!(&text[byte("start_byte")..byte("end_byte")], passage["text"].as_str().unwrap());
}

#[test]
fn two_folders_in_one_collection_keep_their_files_and_paths() {
    let sandbox = Sandbox::new();
    sandbox.write("a/b/x.txt", "The first well is deep.");
    sandbox.write("c/b/x.txt", "The second pump is green.");
    sandbox.write("c/b/y.txt", "The third tree is a mango.");
    sandbox.ok("home", &["index", "add", "a", "c/b", "--name", "library"]);
    for (word, file) in [("well", "a/b/x.txt"), ("pump", "c/b/x.txt"), ("mango", "c/b/y.txt")] {
        let (_, value) = sandbox.json("home", &["find", word]);
        let path = sandbox.path(file).canonicalize().unwrap();
        assert_eq!(value["passages"][0]["path"], path.to_str().unwrap(), "{word}: {value}");
    }
    // A folder that appears later under a name that is taken is named, and takes nothing away.
    sandbox.write("a/c/b/y.txt", "The fourth is a banana.");
    let said = sandbox.ok("home", &["index", "refresh"]);
    assert!(said.contains("another folder has this name"), "{said}");
    assert!(sandbox.ok("home", &["find", "mango"]).contains("third tree"));
}

#[test]
fn the_texts_of_documents_are_the_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    sandbox.write("docs/a.html", HTML);
    let folder = sandbox.path("home/collections/docs");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.ok("home", &["index", "add", "docs"]);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn other_languages_are_found_by_their_own_words() {
    let sandbox = Sandbox::new();
    sandbox.write("docs/zh.txt", "诺曼人是中世纪居住在法国北部诺曼底的人民。他们的祖先来自北欧。");
    sandbox.write("docs/th.txt", "น้ำสะอาดสำคัญต่อสุขภาพของทุกคนในหมู่บ้าน");
    sandbox.write(
        "docs/fr.txt",
        "Les réfrigérateurs solaires gardent les vaccins au froid pendant plusieurs jours.",
    );
    sandbox.ok("home", &["index", "add", "docs"]);
    for (question, file) in
        [("诺曼底在哪里", "zh.txt"), ("สุขภาพ", "th.txt"), ("refrigerateur solaire", "fr.txt")]
    {
        let (code, value) = sandbox.json("home", &["find", question]);
        assert_eq!((code, value["passages"][0]["file"].as_str()), (Some(0), Some(file)), "{question}");
    }
}

#[test]
fn word_search_reaches_the_reference_numbers() {
    // data/README.md: plain BM25 has .341 on cranfield and .893 on squad2.
    for (set, least) in [("cranfield", 0.341), ("squad2", 0.893), ("xquad/zh", 0.95)] {
        let Some(folder) = shared_data(&format!("retrieval/{set}")) else { continue };
        let args = ["bench", "retrieval", folder.to_str().unwrap(), "--words-only"];
        let (code, value) = Sandbox::new().json("home", &args);
        assert_eq!(code, Some(0), "{value}");
        let ndcg = value["rows"][0]["ndcg_at_10"].as_f64().unwrap();
        println!("{set}: words nDCG@10 {ndcg:.3}");
        assert!(ndcg >= least, "{set}: {ndcg}");
    }
}

#[test]
fn a_folder_that_is_no_test_collection_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let said = sandbox.run("home", &["bench", "retrieval", "nowhere"]).failed_with(3);
    assert!(said.contains("corpus.jsonl"), "{said}");
}

#[test]
fn an_installed_knowledge_package_is_indexed_by_its_name() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("water-book", "1.0.0", &[("boiling.md", BOILING.as_bytes())]);
    publisher.publish();
    let registry = publisher.registry().canonicalize().unwrap();
    publisher.introduce("home", &format!("file://{}", registry.display()));
    sandbox.ok("home", &["install", "water-book"]);
    assert!(sandbox.ok("home", &["index", "add", "water-book"]).starts_with("water-book: 1 passages"));
    let text = sandbox.ok("home", &["find", "boil water"]);
    assert!(text.contains("water-book: boiling.md, line 5"), "{text}");
}

#[test]
#[cfg(feature = "onnx")]
fn meaning_is_searched_too_and_no_text_is_embedded_twice() {
    let sandbox = Sandbox::new();
    if !install_embedder(&sandbox, "home") {
        return;
    }
    sandbox.write("docs/fever.md", "A raised temperature in infants is a reason to see the nurse at once.");
    sandbox.write("docs/roof.md", "The roof was painted blue last summer, and it still keeps out the rain.");
    let vectors = |args: &[&str]| {
        let (code, value) = sandbox.json("home", args);
        assert_eq!(code, Some(0), "{value}");
        let report = value.get(0).unwrap_or(&value).clone();
        ["num_new", "num_reused", "num_vectors"].map(|key| report["vectors"][key].as_u64().unwrap())
    };
    assert_eq!(vectors(&["index", "add", "docs"]), [2, 0, 2]);
    let (_, value) = sandbox.json("home", &["find", "my baby is hot and has fever"]);
    assert_eq!(value["used_vectors"], true);
    assert_eq!(value["passages"][0]["file"], "fever.md");
    assert!(value["passages"][0]["vector_score"].as_f64().unwrap() > 0.3, "{value}");

    fs::create_dir(sandbox.path("docs/moved")).unwrap();
    fs::rename(sandbox.path("docs/fever.md"), sandbox.path("docs/moved/fever.md")).unwrap();
    assert_eq!(vectors(&["index", "refresh"]), [0, 2, 2], "a moved file costs nothing");
    fs::remove_file(sandbox.path("docs/roof.md")).unwrap();
    assert_eq!(vectors(&["index", "refresh"]), [0, 1, 1], "what is gone is not found by its meaning");
    sandbox.ok("home", &["index", "remove", "docs"]);
    assert_eq!(vectors(&["index", "add", "docs"]), [0, 1, 1], "what comes back costs nothing");
}

#[test]
#[cfg(feature = "onnx")]
fn fused_search_reaches_the_numbers_that_are_promised() {
    let sandbox = Sandbox::new();
    let Some(folder) = shared_data("retrieval/cranfield") else { return };
    if !install_embedder(&sandbox, "home") {
        return;
    }
    let (code, value) = sandbox.json("home", &["bench", "retrieval", folder.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{value}");
    let ndcg = |row: usize| value["rows"][row]["ndcg_at_10"].as_f64().unwrap();
    println!("cranfield: words {:.3}, vectors {:.3}, fused {:.3}", ndcg(0), ndcg(1), ndcg(2));
    assert!(ndcg(2) >= 0.38 && ndcg(2) > ndcg(0) && ndcg(2) > ndcg(1));
}
