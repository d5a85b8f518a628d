//! Kits: a named set of packages that goes on a stick together, and sets up the site where it arrives.

use std::fs;

use localml::package::Manifest;
use localml::registry::{catalog, resolve};
use serde_json::{Value, json};

use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MEMBERS: [&str; 2] = ["book", "note"];

/// A registry `ngo` with a book, a note and `village-kit`; `profile` is the kit's. The cafe knows it.
fn ngo<'a>(sandbox: &'a Sandbox, profile: &str) -> Publisher<'a> {
    let publisher = Publisher::new(sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# Cold\n\nVaccines stay between 2 and 8 degrees.\n")]);
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.add_manifest("village-kit", "1.0.0", &kit("village-kit", "1.0.0", &MEMBERS, profile), &[]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    fs::create_dir(sandbox.path("stick")).unwrap();
    publisher
}

fn kit(name: &str, version: &str, members: &[&str], profile: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"kit\"\ntitle = \"A kit\"\nlicense = \"MIT\"\n\
         members = {members:?}\n{profile}"
    )
}

const COLLECTIONS: &str = "[profile]\nlanguages = [\"en\"]\n[profile.collections]\nbooks = [\"book\"]\n";

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect()
}

#[test]
fn a_kit_on_a_stick_sets_up_the_site() {
    let sandbox = Sandbox::new();
    let publisher = ngo(&sandbox, COLLECTIONS);
    let (code, fetched) = sandbox.json("cafe", &["fetch", "village-kit"]);
    assert_eq!((code, names(&fetched["packages"])), (Some(0), vec!["book", "note", "village-kit"]));
    let (code, exported) = sandbox.json("cafe", &["--offline", "export", "stick", "--kit", "village"]);
    assert_eq!((code, exported["packages"].as_array().unwrap().len()), (Some(0), 3), "{exported}");

    publisher.introduce("site", publisher.registry().to_str().unwrap());
    fs::remove_dir_all(publisher.registry()).unwrap();
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    let installed = report["installed"].as_array().unwrap();
    assert_eq!((code, installed.len()), (Some(0), 3), "{report}");
    assert_eq!(installed[2], "ngo/village-kit@1.0.0:kit", "the kit is recorded last");
    assert_eq!(report["kits"][0]["next"], json!(["localml index add book --name books"]));

    assert!(sandbox.ok::<&str>("site", &[]).starts_with("site      set up as village (kit 1.0.0)"));
    assert!(sandbox.ok::<&str>("site", &[]).contains("localml index add book --name books"));
    let doctor = sandbox.run("site", &["doctor"]).stdout;
    assert!(doctor.contains("site: this site was set up as village (kit 1.0.0)"), "{doctor}");
    assert!(sandbox.ok("site", &["list"]).contains("all of its 2 packages"));
    sandbox.ok("site", &["verify"]);
    let (code, again) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, again["unchanged"].as_array().unwrap().len()), (Some(0), 3), "{again}");
    #[cfg(feature = "index")]
    {
        sandbox.ok("site", &["index", "add", "book", "--name", "books", "--words-only"]);
        assert!(
            !sandbox.ok::<&str>("site", &[]).contains("index add book"),
            "what is done is not asked for again"
        );
    }
}

#[test]
fn a_kit_that_is_asked_for_by_name_brings_its_members() {
    let sandbox = Sandbox::new();
    let publisher = ngo(&sandbox, COLLECTIONS);
    publisher.add("other", "1.0.0", &[("other.txt", b"not of the kit")]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "village-kit", "other"]);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick", "village-kit"]);
    assert_eq!((code, report["installed"].as_array().unwrap().len()), (Some(0), 3), "{report}");
    assert!(!sandbox.ok("site", &["list"]).contains("other"));
}

#[test]
fn what_is_not_here_is_named_with_the_command_that_brings_it() {
    let sandbox = Sandbox::new();
    let publisher = ngo(&sandbox, COLLECTIONS);
    let said = sandbox.run("cafe", &["export", "stick", "--kit", "village"]).failed_with(3);
    assert!(
        said.contains("nothing of the kit `village-kit` is here")
            && said.contains("localml fetch village-kit")
    );
    let said = sandbox.run("cafe", &["export", "stick", "--kit", "book"]).failed_with(2);
    assert!(said.contains("`book` is of the kind `knowledge`, not a kit"), "{said}");

    sandbox.ok("cafe", &["fetch", "note"]);
    let run = sandbox.run("cafe", &["--offline", "export", "stick", "--kit", "village"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    assert!(
        run.stdout.contains("MISSING `book` of `village-kit` is not here; `localml fetch book` brings it")
    );

    // The site is set up with what came, and hears what is missing until a second stick brings it.
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, &report["kits"][0]["missing"]), (Some(8), &json!(["book"])), "{report}");
    let again = sandbox.run("site", &["--offline", "import", "stick"]);
    assert!(again.code == Some(8) && again.stdout.contains("MISSING    book"), "{again:?}");
    assert!(sandbox.ok("site", &["list"]).contains("1 of 2 packages; lacks `book`"));
    let doctor = sandbox.run("site", &["doctor"]).stdout;
    assert!(doctor.contains("1 of its packages are missing, `book` for example"), "{doctor}");
    sandbox.ok("cafe", &["fetch", "book"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book"]);
    let said = sandbox.ok("site", &["--offline", "import", "stick", "book"]);
    assert!(said.contains("this site is set up as village (kit 1.0.0)"), "{said}");
    assert!(said.contains("next: localml index add book --name books"), "{said}");
    assert!(sandbox.ok("site", &["list"]).contains("all of its 2 packages"));
    // What the hint about a damaged profile says.
    fs::remove_file(sandbox.path("site/profile.toml")).unwrap();
    let said = sandbox.ok("site", &["--offline", "import", "stick"]);
    assert!(said.contains("this site is set up as village"), "{said}");
    assert!(sandbox.ok::<&str>("site", &[]).starts_with("site      set up as village (kit 1.0.0)"));
}

/// A stick with a kit of the `ngo` whose profile names the registry of a `ministry`, and a law of that one.
fn kit_that_vouches_for_a_ministry(sandbox: &Sandbox) -> (Publisher<'_>, Publisher<'_>) {
    let ministry = Publisher::new(sandbox, "ministry");
    ministry.add("law", "1.0.0", &[("law.txt", b"the law")]);
    ministry.publish();
    let registry = format!(
        "[profile]\n[[profile.registry]]\nname = \"ministry\"\nfingerprint = \"{}\"\nurl = \"https://ministry.example/\"\n",
        ministry.fingerprint()
    );
    let publisher = ngo(sandbox, &registry);
    ministry.introduce("cafe", ministry.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "village-kit", "law"]);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    (publisher, ministry)
}

#[test]
fn a_registry_that_a_signed_kit_vouches_for_becomes_trusted_from_the_stick() {
    let sandbox = Sandbox::new();
    let (publisher, ministry) = kit_that_vouches_for_a_ministry(&sandbox);

    // A site that knows neither trusts neither: the kit itself is a stranger there.
    sandbox.run("stranger", &["--offline", "import", "stick"]).failed_with(7);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let run = sandbox.run("site", &["--offline", "import", "stick"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr.contains("the registry `ministry` is trusted from now on: `village-kit` vouches"),
        "{run:?}"
    );
    assert!(run.stdout.contains("trusted    the registry `ministry`"), "{run:?}");
    publisher.introduce("other-site", publisher.registry().to_str().unwrap());
    let (_, report) = sandbox.json("other-site", &["--offline", "import", "stick"]);
    let trusted = &report["trusted_by_kit"][0];
    assert_eq!((&trusted["registry"], &trusted["kit"]), (&json!("ministry"), &json!("village-kit")));
    assert_eq!(trusted["fingerprint"], json!(ministry.fingerprint()));
    let law = sandbox.ok("site", &["path", "law"]);
    assert_eq!(fs::read(law.trim()).unwrap(), b"the law");
    let record = fs::read_to_string(sandbox.path("site/registries/ministry/registry.toml")).unwrap();
    assert!(
        record.contains("https://ministry.example/"),
        "the signed address counts, not the carrier's: {record}"
    );
}

#[test]
fn a_registry_that_came_by_a_kit_vouches_for_no_other_until_the_keeper_adds_it() {
    let sandbox = Sandbox::new();
    let (publisher, ministry) = kit_that_vouches_for_a_ministry(&sandbox);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    sandbox.ok("site", &["--offline", "import", "stick"]);
    assert!(sandbox.path("site/registries/ministry").is_dir());

    // A later stick: the ministry's own kit names a third registry.
    let third = Publisher::new(&sandbox, "third");
    third.add("leaflet", "1.0.0", &[("leaflet.txt", b"a leaflet")]);
    third.publish();
    let profile = format!(
        "[profile]\n[[profile.registry]]\nname = \"third\"\nfingerprint = \"{}\"\nurl = \"https://third.example/\"\n",
        third.fingerprint()
    );
    let law_kit = kit("law-kit", "1.0.0", &["law", "leaflet"], &profile);
    ministry.add_manifest("law-kit", "1.0.0", &law_kit, &[]);
    ministry.publish();
    third.introduce("cafe", third.registry().to_str().unwrap());
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "law-kit"]);
    fs::create_dir(sandbox.path("later")).unwrap();
    sandbox.ok("cafe", &["--offline", "export", "later", "--kit", "law"]);
    let run = sandbox.run("site", &["--offline", "import", "later"]);
    assert!(!sandbox.path("site/registries/third").exists(), "{run:?}");
    let command =
        format!("localml registry add third https://third.example/ --fingerprint {}", third.fingerprint());
    assert!(
        run.stderr.contains("`ministry` came by a kit itself") && run.stderr.contains(&command),
        "{run:?}"
    );
    assert!(sandbox.ok("site", &["list"]).contains("lacks `leaflet`"));

    // The keeper's own act: from then on the ministry's kits vouch as any other registry's.
    ministry.introduce("site", ministry.registry().to_str().unwrap());
    let run = sandbox.run("site", &["--offline", "import", "later"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("trusted    the registry `third`"), "{run:?}");
    sandbox.ok("site", &["path", "leaflet"]);
}

#[test]
fn a_kit_that_names_another_fingerprint_lets_nobody_in() {
    let sandbox = Sandbox::new();
    let ministry = Publisher::new(&sandbox, "ministry");
    ministry.add("law", "1.0.0", &[("law.txt", b"the law")]);
    ministry.publish();
    let registry = format!(
        "[profile]\n[[profile.registry]]\nname = \"ministry\"\nfingerprint = \"{}\"\nurl = \"https://ministry.example/\"\n",
        "00".repeat(32)
    );
    let publisher = ngo(&sandbox, &registry);
    ministry.introduce("cafe", ministry.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "village-kit", "law"]);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let (code, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    assert_eq!((code, report["refused"].as_array().unwrap().len()), (Some(8), 1), "{report}");
    assert!(!sandbox.path("site/registries/ministry").exists());
    assert!(
        report["kits"][0]["next"][0].as_str().unwrap().starts_with("localml registry add ministry https://")
    );
}

#[test]
fn a_later_kit_says_what_it_changes_and_leaves_what_the_keeper_set() {
    let sandbox = Sandbox::new();
    let publisher = ngo(&sandbox, "[profile]\nlanguages = [\"en\"]\n[profile.roles]\nlan = true\n");
    let school = "[profile]\nlanguages = [\"fr\"]\n[profile.roles]\nlan = true\n";
    publisher.add_manifest("college-kit", "2.0.0", &kit("college-kit", "2.0.0", &["note"], school), &[]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["install", "village-kit"]);
    let profile = fs::read_to_string(sandbox.path("cafe/profile.toml")).unwrap();
    sandbox.write("cafe/profile.toml", profile.replacen("lan = true", "lan = false", 1));
    let run = sandbox.run("cafe", &["install", "college-kit"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for said in [
        "this site was set up as village (kit 1.0.0); now it is college (kit 2.0.0)",
        "`languages` was [\"en\"] and is now [\"fr\"]",
        "`roles.lan` stays false as you set it; `college-kit` says true",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{run:?}");
    }
    sandbox.write("cafe/profile.toml", "roles = 3");
    let said = sandbox.ok::<&str>("cafe", &[]);
    assert!(said.contains("profile.toml` cannot be read") && said.contains("; mend the file"), "{said}");
    assert_eq!(said.matches("localml doctor").count(), 1, "{said}");
}

#[test]
fn a_publisher_hears_of_a_profile_that_names_a_stranger() {
    let sandbox = Sandbox::new();
    let bad = kit("bad-kit", "1.0.0", &["note"], "[profile.roles]\nchat_model = \"huge\"\n");
    sandbox.write("manifests/bad-kit/1.0.0.toml", bad);
    let said = sandbox.run("desk", &["registry", "build"]).failed_with(1);
    assert!(said.contains("its profile names `huge`, which is not one of its members"), "{said}");
}

#[test]
fn the_catalogs_kits_name_packages_of_the_catalog_that_fit_8_gb() {
    let catalog = [catalog()];
    let kits: Vec<&Manifest> = catalog[0].manifests().iter().filter(|manifest| manifest.is_kit()).collect();
    assert_eq!(kits.len(), 2);
    for kit in kits {
        assert!(kit.check_profile().is_ok());
        let profile = kit.profile.as_ref().unwrap();
        let embedder = profile.roles.embedder.as_ref().unwrap();
        let embedder = catalog[0].manifests().iter().find(|other| other.package.name == *embedder).unwrap();
        for language in profile.languages.iter().chain(&kit.package.languages) {
            assert!(embedder.package.languages.contains(language), "{}: {language}", kit.package.name);
        }
        let mut size_bytes = 0;
        // The handbook comes from a publisher's registry: there is nowhere on the net to take it from.
        for member in kit.package.members.iter().filter(|member| member.name.as_str() != "localml-handbook") {
            let found = resolve(&catalog, member).unwrap();
            assert!(!found.manifest.package.restricted, "{member}");
            assert!(member.version.is_some(), "{member}: sites must start alike");
            size_bytes += found.variant.unwrap().size_bytes();
        }
        assert!(size_bytes < 2_000_000_000, "{}: {size_bytes}", kit.package.name);
    }
    let sandbox = Sandbox::new();
    let text = sandbox.ok("home", &["--offline", "info", "clinic-kit"]);
    assert!(text.contains("answers with qwen2.5-1.5b-instruct") && text.contains("whisper-tiny"), "{text}");
    assert!(sandbox.ok("home", &["--offline", "search", "kit"]).contains("in 4 packages"));
    let run = sandbox.run("home", &["--offline", "fetch", "clinic-kit", "--plan"]);
    assert!(
        run.code == Some(8) && run.stdout.contains("MISSING `localml-handbook` of `clinic-kit`"),
        "{run:?}"
    );
}

#[test]
fn an_older_kit_lets_in_nobody_whom_the_newest_dropped_and_news_stay_news() {
    let sandbox = Sandbox::new();
    let (publisher, _) = kit_that_vouches_for_a_ministry(&sandbox);
    publisher.introduce("informed", publisher.registry().to_str().unwrap());
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    // What the stick brings of the known registry is newer, and stays the news although a kit brings another.
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["--offline", "export", "stick"]);
    let (_, report) = sandbox.json("site", &["--offline", "import", "stick"]);
    let outcomes: Vec<(&str, &str)> = report["registries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["outcome"].as_str().unwrap()))
        .collect();
    assert!(outcomes.contains(&("ngo", "newer")) && outcomes.contains(&("ministry", "added")), "{report}");
    // A later version of the kit names the ministry no more.
    publisher.add_manifest("village-kit", "1.1.0", &kit("village-kit", "1.1.0", &MEMBERS, COLLECTIONS), &[]);
    publisher.publish();
    sandbox.ok("informed", &["update"]);
    let (_, report) = sandbox.json("informed", &["--offline", "import", "stick"]);
    assert_eq!(report["trusted_by_kit"], json!([]), "{report}");
    assert!(!sandbox.path("informed/registries/ministry").exists());
}
