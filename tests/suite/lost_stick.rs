//! A set over three sticks through the real program: one of them is lost for ever.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::noise::noise;
use crate::support::publisher::Publisher;
use crate::support::sandbox::Sandbox;

const MB: usize = 1_000_000;
const ROOM: &str = "26MB";

/// A cafe with four packages of 12 to 15 MB, of which two fit on a stick.
fn cafe(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "clinic");
    for (seed, name) in (1..).zip(["anatomy", "birth", "cholera", "dosage"]) {
        let bytes = noise(seed, 12 * MB + usize::try_from(seed).unwrap() * 700_000);
        publisher.add(name, "1.0.0", &[("book.bin", &bytes)]);
    }
    publisher.publish();
    let url = format!("file://{}", publisher.registry().display());
    publisher.introduce("cafe", &url);
    publisher.introduce("site", &url);
    sandbox.ok("cafe", &["fetch", "anatomy", "birth", "cholera", "dosage"]);
    publisher
}

fn stick(sandbox: &Sandbox, number: usize) -> String {
    let name = format!("stick-{number}");
    fs::create_dir_all(sandbox.path(&name)).unwrap();
    name
}

/// Writes the set to three sticks, one after the other, as somebody with one USB port does.
fn write_set(sandbox: &Sandbox, room: &str, more: &[&str]) -> Vec<String> {
    let mut sticks = Vec::new();
    for number in 1..=4 {
        let stick = stick(sandbox, number);
        let args = [&["export", &stick, "--spread", "--room", room, "--volume-size", "9MB"], more].concat();
        let (planned_code, plan) = sandbox.json("cafe", &[&args[..], &["--plan"]].concat());
        let (code, report) = sandbox.json("cafe", &args);
        let is_last = report["left"].as_array().unwrap().is_empty();
        assert_eq!((planned_code, code), if is_last { (Some(0), Some(0)) } else { (Some(8), Some(8)) });
        assert_eq!(plan["size_bytes"], report["size_bytes"], "the plan is what is written");
        assert_eq!(plan["left"], report["left"]);
        sticks.push(stick);
        if is_last {
            return sticks;
        }
    }
    panic!("four sticks are not enough");
}

fn lying(sandbox: &Sandbox, stick: &str) -> Vec<PathBuf> {
    crate::support::stick::files_in(&sandbox.path(stick))
}

fn installed(report: &Value) -> usize {
    report["installed"].as_array().unwrap().len()
}

#[test]
fn a_lost_stick_costs_exactly_its_missing_pieces() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let sticks = write_set(&sandbox, ROOM, &[]);
    assert_eq!(sticks.len(), 3);
    let (_, third) = sandbox.json("site", &["import", &sticks[2]]);
    assert!(installed(&third) < 4);
    let run = sandbox.run("site", &["import", &sticks[0]]);
    assert!(run.stdout.contains("INCOMPLETE"), "{}", run.stdout);
    // The second stick is lost for ever. The site asks again.
    let (_, report) = sandbox.json("site", &["import", &sticks[0]]);
    let incomplete = report["incomplete"].as_array().unwrap();
    let files = incomplete.iter().flat_map(|package| package["files"].as_array().unwrap());
    let missing_bytes: u64 = files.map(|file| file["missing_bytes"].as_u64().unwrap()).sum();
    assert!(missing_bytes > 0);
    let repair = stick(&sandbox, 9);
    sandbox.ok("site", &["request", &repair]);
    let (code, sent) = sandbox.json("cafe", &["export", &repair, "--request", &repair]);
    assert_eq!(code, Some(0), "{sent}");
    let volumes = sent["files"].as_array().unwrap().iter();
    let volumes = volumes.filter(|file| file["path"].as_str().unwrap().contains("/V"));
    let sent_bytes: u64 = volumes.map(|file| file["size_bytes"].as_u64().unwrap()).sum();
    // Beside the pieces: a header of 512 bytes for each of at most 4 MiB, its padding, and the end.
    let num_pieces = missing_bytes.div_ceil(4 * 1024 * 1024) + 8;
    assert!((missing_bytes..missing_bytes + num_pieces * 1024 + 4096).contains(&sent_bytes), "{sent_bytes}");
    let (code, report) = sandbox.json("site", &["import", &repair]);
    assert_eq!(code, Some(0), "{report}");
    let (_, list) = sandbox.json("site", &["list"]);
    assert_eq!(list.as_array().map_or_else(|| list["packages"].as_array().unwrap().len(), Vec::len), 4);
}

#[test]
fn with_enough_parity_a_lost_stick_costs_nothing() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let sticks = write_set(&sandbox, "30MB", &["--parity", "50%"]);
    // The first stick is lost for ever; the others come in the wrong order.
    for stick in sticks[1..].iter().rev() {
        sandbox.run("site", &["import", stick]);
    }
    let (code, report) = sandbox.json("site", &["import", &sticks[1]]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report["incomplete"].as_array().unwrap().is_empty());
}

#[test]
fn several_sticks_at_once_share_the_volumes() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let (first, second, third) = (stick(&sandbox, 1), stick(&sandbox, 2), stick(&sandbox, 3));
    let export =
        ["export", &first, "--also", &second, "--also", &third, "--room", ROOM, "--volume-size", "9MB"];
    let (code, report) = sandbox.json("cafe", &export);
    assert_eq!(code, Some(0));
    assert!(report["left"].as_array().unwrap().is_empty());
    assert_eq!(report["sticks"].as_array().unwrap().len(), 3);
    // Again: nothing to do, and nothing written.
    let before = lying(&sandbox, &first);
    let (_, again) = sandbox.json("cafe", &export);
    assert_eq!((again["was_there"].as_bool(), lying(&sandbox, &first)), (Some(true), before));
    let run = sandbox.run("site", &["import", &third]);
    assert!(run.stdout.contains("(number 1 of the set)"), "{}", run.stdout);
    for stick in [&first, &second] {
        sandbox.run("site", &["import", stick]);
    }
    sandbox.ok("site", &["verify"]);
    let (code, _) = sandbox.json("site", &["import", &first]);
    assert_eq!(code, Some(0));
    for stick in [&first, &second, &third] {
        sandbox.ok("cafe", &["stick", "verify", stick]);
    }
    // What is said of one stick is what lies on it, not the whole set.
    let (_, info) = sandbox.json("cafe", &["stick", "info", &first]);
    let bundle = &info["bundles"][0];
    assert!(bundle["volumes"].as_array().unwrap().len() < bundle["num_volumes"].as_u64().unwrap() as usize);
    let (_, plan) = sandbox.json("cafe", &["stick", "clean", &first, "--all", "--plan"]);
    let (_, cleaned) = sandbox.json("cafe", &["stick", "clean", &first, "--all"]);
    assert_eq!(plan["freed_bytes"], cleaned["freed_bytes"]);
    assert_eq!(cleaned["freed_bytes"], bundle["size_bytes"]);
}

/// Every volume of the set that lies on one of these sticks.
fn volumes_on(sandbox: &Sandbox, sticks: &[&str]) -> std::collections::BTreeSet<String> {
    let files = sticks.iter().flat_map(|stick| lying(sandbox, stick));
    let names = files.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('V')).collect()
}

#[test]
fn a_second_stick_that_fails_is_replaced_by_another_and_no_volume_is_forgotten() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let (first, broken, other, last) =
        (stick(&sandbox, 1), stick(&sandbox, 2), stick(&sandbox, 3), stick(&sandbox, 4));
    // A file where the folder of the bundles belongs: nothing can be written.
    sandbox.write(format!("{broken}/LOCALML/B"), "no folder");
    let with = |second| {
        ["export", &first, "--also", second, "--also", &last, "--room", ROOM, "--volume-size", "9MB"]
    };
    assert_ne!(sandbox.run("cafe", &with(&broken)).code, Some(0));
    let (code, report) = sandbox.json("cafe", &with(&other));
    assert_eq!(code, Some(0), "{report}");
    let num_volumes = volumes_on(&sandbox, &[&first, &other, &last]).len();
    let named = report["sticks"].as_array().unwrap().iter();
    let named: usize = named.map(|part| part["volumes"].as_array().unwrap().len()).sum();
    assert_eq!(named, num_volumes, "{report}");
    for stick in [&last, &other, &first] {
        sandbox.run("site", &["import", stick]);
    }
    let (code, _) = sandbox.json("site", &["import", &first]);
    assert_eq!(code, Some(0), "every volume lies on one of the three");
}

#[test]
fn a_stick_named_twice_or_not_there_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let first = stick(&sandbox, 1);
    let said = sandbox.run("cafe", &["export", &first, "--also", &first]).failed_with(2);
    assert!(said.contains("is named twice"), "{said}");
    sandbox.run("cafe", &["export", &first, "--also", "not-mounted"]).failed_with(3);
    assert!(lying(&sandbox, &first).is_empty() && !sandbox.path("not-mounted").exists());
}

#[test]
fn a_finished_set_is_found_again_and_a_new_stick_begins_a_new_one() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let sticks = write_set(&sandbox, ROOM, &[]);
    let args = |stick: &str| {
        let args = ["export", stick, "--spread", "--room", ROOM, "--volume-size", "9MB"];
        args.map(str::to_owned)
    };
    for number in [2, 0, 1] {
        let (code, report) = sandbox.json("cafe", &args(&sticks[number]));
        assert_eq!((code, report["was_there"].as_bool()), (Some(0), Some(true)), "{report}");
        assert_eq!(report["elsewhere"].as_array().unwrap().len(), 2);
    }
    let new = stick(&sandbox, 7);
    let (code, report) = sandbox.json("cafe", &args(&new));
    assert_eq!((code, report["sticks"][0]["volumes"][0].as_str()), (Some(8), Some("V0001.TAR")));
    // And a set that was given up goes on, unless it is begun anew.
    let anew = stick(&sandbox, 8);
    let (_, plan) = sandbox.json("cafe", &[&args(&anew)[..], &["--plan".into()]].concat());
    assert_ne!(plan["sticks"][0]["volumes"][0].as_str(), Some("V0001.TAR"));
    let (_, plan) = sandbox.json("cafe", &[&args(&anew)[..], &["--plan".into(), "--anew".into()]].concat());
    assert_eq!(plan["sticks"][0]["volumes"][0].as_str(), Some("V0001.TAR"), "{plan}");
}

#[test]
fn a_stick_with_a_share_takes_the_whole_later_and_never_looks_whole_in_between() {
    let sandbox = Sandbox::new();
    let _publisher = cafe(&sandbox);
    let first = stick(&sandbox, 1);
    let (code, _) =
        sandbox.json("cafe", &["export", &first, "--spread", "--room", ROOM, "--volume-size", "9MB"]);
    assert_eq!(code, Some(8));
    let share = volumes_on(&sandbox, &[&first]).len();
    sandbox.ok("cafe", &["export", &first, "--volume-size", "9MB"]);
    assert!(volumes_on(&sandbox, &[&first]).len() > share);
    sandbox.ok("cafe", &["stick", "verify", &first]);
    sandbox.ok("site", &["import", &first]);
}
