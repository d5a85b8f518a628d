//! What no publisher signed, carried by people who say with their own key that they did.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use localml::digest::Sha256;

use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::stick::{files_in, flip};

/// A courier's home adopts a text.
fn adopt(sandbox: &Sandbox, home: &str, name: &str, text: &str) {
    let file = sandbox.write(format!("{home}-{name}.md"), text);
    sandbox.ok(home, &["adopt", file.to_str().unwrap(), "--name", name, "--kind", "knowledge"]);
}

/// Writes everything of a home to a new stick, signed.
fn export(sandbox: &Sandbox, home: &str, stick: &str) -> String {
    fs::create_dir_all(sandbox.path(stick)).unwrap();
    sandbox.ok(home, &["--offline", "export", stick, "--sign"])
}

/// Makes the courier `kofi` with a leaflet on `stick`; returns the fingerprint.
fn kofi(sandbox: &Sandbox) -> String {
    adopt(sandbox, "cafe", "leaflet", "# A leaflet\n");
    fs::create_dir(sandbox.path("stick")).unwrap();
    let said = sandbox.ok("cafe", &["--offline", "export", "stick", "--sign=kofi"]);
    assert!(said.contains("the courier `kofi`"), "{said}");
    fingerprint(sandbox, "cafe")
}

fn fingerprint(sandbox: &Sandbox, home: &str) -> String {
    let (_, value) = sandbox.json(home, &["courier", "show"]);
    value["fingerprint"].as_str().unwrap().to_owned()
}

fn import(sandbox: &Sandbox, stick: &str, more: &[&str]) -> Run {
    sandbox.run("site", &[&["--offline", "import", stick], more].concat())
}

#[test]
fn an_unknown_courier_is_shown_and_an_authorised_one_believed_and_labelled() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    let groups: Vec<String> =
        full.as_bytes()[..24].chunks(4).map(|group| String::from_utf8(group.to_vec()).unwrap()).collect();
    let run = import(&sandbox, "stick", &[]);
    assert_eq!(run.code, Some(7), "{run:?}");
    for word in ["no publisher signed it", "`kofi`", &groups.join(" "), "--courier", "--unsigned leaflet"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    let wrong = import(&sandbox, "stick", &["--courier", &"0".repeat(24)]).failed_with(7);
    assert!(wrong.contains("no courier on this stick has the fingerprint given"), "{wrong}");
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
    assert!(sandbox.ok("site", &["courier", "list"]).contains("no courier is authorised"));

    let run = import(&sandbox, "stick", &["--courier", &groups.join(" ")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(sandbox.ok("site", &["list"]).contains("courier kofi"));
    assert!(
        sandbox.ok("site", &["info", "leaflet"]).contains("no publisher signed it, the courier kofi did")
    );
    let (_, list) = sandbox.json("site", &["list"]);
    let package = &list["packages"][0];
    assert_eq!(package["is_signed"], false);
    assert_eq!(
        (&package["origin"]["courier"]["name"], &package["origin"]["courier"]["fingerprint"]),
        (&"kofi".into(), &full.into())
    );
    assert!(sandbox.ok("site", &["courier", "list"]).contains(&groups.join(" ")));
    // Remembered: the next stick needs no word.
    adopt(&sandbox, "cafe", "song", "# A song\n");
    export(&sandbox, "cafe", "next");
    assert_eq!(import(&sandbox, "next", &[]).code, Some(0));
    let path = sandbox.ok("site", &["path", "song"]);
    assert_eq!(fs::read_to_string(path.trim()).unwrap(), "# A song\n");
    // The key was made once, and is the courier's alone.
    let key = sandbox.path("cafe/courier/kofi.pk8");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    sandbox.run("cafe", &["export", "next", "--sign=ama"]).failed_with(2);
}

#[test]
fn a_withdrawn_courier_brings_nothing_new_and_what_is_here_stays_labelled() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
    let said = sandbox.ok("site", &["courier", "withdraw", "kofi"]);
    assert!(said.contains("`leaflet` came in by this courier and stays"), "{said}");
    sandbox.run("site", &["courier", "withdraw", "kofi"]).failed_with(3);
    adopt(&sandbox, "cafe", "song", "# A song\n");
    export(&sandbox, "cafe", "next");
    let run = import(&sandbox, "next", &["song"]);
    assert!(run.code == Some(7) && run.stdout.contains("who is not known here"), "{run:?}");
    assert!(sandbox.ok("site", &["list"]).contains("courier kofi"));
    sandbox.ok("site", &["verify", "leaflet"]);
}

#[test]
fn a_statement_that_was_changed_or_damaged_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    let set = files_in(&sandbox.path("stick/LOCALML/TRUST")).pop().unwrap();
    let whole = fs::read(&set).unwrap();
    let find = |text: &str| whole.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    // What the commit record promises is damaged: as any trust file.
    let in_signature = find("\"signature\": \"") + 20;
    flip(&set, in_signature);
    let said = import(&sandbox, "stick", &["--courier", &full]).failed_with(7);
    assert!(said.contains("TRUST/"), "{said}");
    // A forger who takes the records away changes the signature, or what it is about, and names the file for it.
    for slot in ["STICK.A", "STICK.B"] {
        let _ = fs::remove_file(sandbox.path(format!("stick/LOCALML/{slot}")));
    }
    let digit = |at: usize| if whole[at] == b'0' { b'1' } else { b'0' };
    for (at, byte) in [(in_signature, digit(in_signature)), (find("leaflet@0.0.0"), b'm')] {
        let mut forged = whole.clone();
        forged[at] = byte;
        let id = Sha256::of(&forged).to_string()[..8].to_uppercase();
        fs::remove_dir_all(sandbox.path("stick/LOCALML/TRUST")).unwrap();
        sandbox.write(format!("stick/LOCALML/TRUST/{id}.TAR"), &forged);
        let run = import(&sandbox, "stick", &[]);
        assert_eq!(run.code, Some(7), "{run:?}");
        assert!(
            run.stdout.contains("COURIER/") && run.stdout.contains("its signature does not hold"),
            "{run:?}"
        );
        let said = import(&sandbox, "stick", &["--courier", &full]).failed_with(7);
        assert!(said.contains("its signature does not hold"), "{said}");
    }
    assert!(sandbox.ok("site", &["list"]).contains("nothing is installed"));
    fs::remove_dir_all(sandbox.path("stick/LOCALML/TRUST")).unwrap();
    sandbox.write(format!("stick/LOCALML/TRUST/{}", set.file_name().unwrap().to_str().unwrap()), &whole);
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
}

#[test]
fn a_signature_is_about_the_bytes_and_not_about_the_name() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    // The stick's own list says that the leaflet is another file, and how it is described.
    for slot in ["STICK.A", "STICK.B"] {
        let _ = fs::remove_file(sandbox.path(format!("stick/LOCALML/{slot}")));
    }
    let files = files_in(&sandbox.path("stick/LOCALML/B"));
    let description = files.iter().find(|path| path.ends_with("BUNDLE.JSON")).unwrap();
    let other = localml::digest::Sha256::of(b"another leaflet").to_string();
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(description).unwrap()).unwrap();
    value["items"][0]["unsigned"]["variant"][0]["file"][0]["sha256"] = other.clone().into();
    value["items"][0]["files"][0]["sha256"] = other.into();
    fs::write(description, value.to_string()).unwrap();
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
    let path = sandbox.ok("site", &["path", "leaflet"]);
    assert_eq!(
        fs::read_to_string(path.trim()).unwrap(),
        "# A leaflet\n",
        "what was signed came, nothing else"
    );
}

#[test]
fn a_courier_takes_nobodys_place() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("note", "1.0.0", &[("note.txt", b"a note")]);
    publisher.publish();
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    adopt(&sandbox, "cafe", "note", "# Another note\n");
    adopt(&sandbox, "site", "song", "# The keeper's own song\n");
    adopt(&sandbox, "cafe", "song", "# Another song\n");
    export(&sandbox, "cafe", "next");
    let run = import(&sandbox, "next", &["--courier", &full]);
    assert_eq!(run.code, Some(8), "{run:?}");
    assert!(run.stdout.contains("the registry `ngo` has a package of this name"), "{run:?}");
    assert!(run.stdout.contains("another `song` is installed here"), "{run:?}");
    assert!(run.stdout.contains("installed  leaflet"), "{run:?}");
    let song = sandbox.ok("site", &["path", "song"]);
    assert_eq!(fs::read_to_string(song.trim()).unwrap(), "# The keeper's own song\n");
    // Another person with the same name is another courier.
    adopt(&sandbox, "stranger", "poem", "# A poem\n");
    fs::create_dir(sandbox.path("third")).unwrap();
    sandbox.ok("stranger", &["export", "third", "--sign=kofi"]);
    let other = fingerprint(&sandbox, "stranger");
    let said = import(&sandbox, "third", &["--courier", &other]).failed_with(7);
    assert!(
        said.contains("another courier is called `kofi` here") && said.contains("withdraw kofi"),
        "{said}"
    );
    assert_eq!(import(&sandbox, "third", &[]).code, Some(7));
}

#[test]
fn the_plan_counts_a_signature_that_is_not_there_yet() {
    let sandbox = Sandbox::new();
    adopt(&sandbox, "cafe", "leaflet", "# A leaflet\n");
    fs::create_dir(sandbox.path("stick")).unwrap();
    let (code, plan) = sandbox.json("cafe", &["export", "stick", "--sign", "--plan"]);
    assert!(code == Some(0) && !sandbox.path("cafe/courier").exists(), "a plan makes no key: {plan}");
    assert!(plan["courier"].is_null(), "a fingerprint that will not be the real one is not shown: {plan}");
    let (_, report) = sandbox.json("cafe", &["export", "stick", "--sign"]);
    assert_eq!(report["size_bytes"], plan["size_bytes"]);
    let name = report["courier"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name, format!("courier-{}", &fingerprint(&sandbox, "cafe")[..8]));
    assert!(
        sandbox.ok("cafe", &["export", "stick", "--sign"]).contains("already"),
        "the same again writes nothing"
    );
    // An export without a signature gets one later, and its volumes stay.
    fs::create_dir(sandbox.path("plain")).unwrap();
    sandbox.ok("cafe", &["export", "plain"]);
    let volume = files_in(&sandbox.path("plain/LOCALML/B")).pop().unwrap();
    let before = fs::metadata(&volume).unwrap().modified().unwrap();
    sandbox.ok("cafe", &["export", "plain", "--sign"]);
    assert_eq!(fs::metadata(&volume).unwrap().modified().unwrap(), before);
    assert_eq!(import(&sandbox, "plain", &["--courier", &fingerprint(&sandbox, "cafe")]).code, Some(0));
}

#[test]
fn records_say_which_localml_can_read_them() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    adopt(&sandbox, "site", "song", "# A song\n");
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
    let record = |name: &str| sandbox.path(format!("site/installed/{name}.json"));
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(record(name)).unwrap()).unwrap()
    };
    // Programs that know no couriers read format 1, and refuse 2 by name.
    assert_eq!((read("song")["format"].as_u64(), read("leaflet")["format"].as_u64()), (Some(1), Some(2)));
    let mut later = read("leaflet");
    later["format"] = 3.into();
    fs::write(record("leaflet"), later.to_string()).unwrap();
    let said = sandbox.run("site", &["list"]).failed_with(1);
    assert!(said.contains("was written by a later localml (record format 3)"), "{said}");
}

#[test]
fn a_damaged_record_of_a_courier_stops_no_import_and_lets_nobody_in() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
    adopt(&sandbox, "cafe", "song", "# A song\n");
    export(&sandbox, "cafe", "next");
    sandbox.write("site/couriers/kofi.toml", "format = 1\nname = ");
    sandbox.write(
        "site/couriers/ama.toml",
        format!("format = 1\nname = \"ama\"\nfingerprint = \"{}\"\nauthorised_at = 7\n", "ab".repeat(32)),
    );
    let run = sandbox.run("site", &["courier", "list"]);
    assert!(run.code == Some(8) && run.stdout.starts_with("ama\n"), "the others are listed: {run:?}");
    assert!(run.stdout.contains("NOT BELIEVED") && run.stdout.contains("kofi.toml"), "{run:?}");
    assert!(run.stdout.contains("`localml courier withdraw kofi` removes the record"), "{run:?}");
    let run = import(&sandbox, "next", &["song"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(run.stdout.contains("who is not known here"), "{run:?}");
    assert!(run.stderr.contains("`localml courier withdraw kofi` removes the record"), "{run:?}");
    sandbox.ok("site", &["courier", "withdraw", "kofi"]);
    assert_eq!(import(&sandbox, "next", &["--courier", &full]).code, Some(0));
}

#[test]
fn a_key_that_is_withdrawn_is_believed_under_no_other_name() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    assert_eq!(import(&sandbox, "stick", &["--courier", &full]).code, Some(0));
    let record = fs::read_to_string(sandbox.path("site/couriers/kofi.toml")).unwrap();
    sandbox.write("site/couriers/ama.toml", record.replace("\"kofi\"", "\"ama\""));
    // Under another name nothing is added, and one word withdraws them all.
    let said = sandbox.ok("site", &["courier", "withdraw", "ama"]);
    assert!(said.contains("`leaflet` came in by this courier"), "{said}");
    assert!(sandbox.ok("site", &["courier", "list"]).contains("no courier is authorised"));
}

#[test]
fn an_older_stick_of_a_courier_takes_nothing_back_unasked() {
    let sandbox = Sandbox::new();
    let full = kofi(&sandbox);
    sandbox.ok("cafe", &["remove", "leaflet"]);
    adopt(&sandbox, "cafe", "leaflet", "# A better leaflet\n");
    export(&sandbox, "cafe", "next");
    let here = || fs::read_to_string(sandbox.ok("site", &["path", "leaflet"]).trim()).unwrap();
    assert_eq!(import(&sandbox, "next", &["--courier", &full]).code, Some(0));
    let run = import(&sandbox, "stick", &[]);
    assert!(run.code == Some(0) && run.stderr.contains("carries other bytes under this version"), "{run:?}");
    assert_eq!(here(), "# A better leaflet\n");
    assert_eq!(import(&sandbox, "stick", &["leaflet"]).code, Some(0));
    assert_eq!(here(), "# A leaflet\n");
}
