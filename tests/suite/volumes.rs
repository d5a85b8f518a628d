//! The stick's format: what is written reads back, in whatever state the stick comes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use localml::bundle::{self, BundleError, ExportOptions, Outgoing, Plan, Stick};
use localml::digest::Sha256;
use localml::progress::Silent;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use tar::EntryType;

use crate::support::noise::noise;
use crate::support::skipped::skip;
use crate::support::stick::{Desk, DiesAt, files_in, flip};
use crate::support::tarball;

const MIB: usize = 1 << 20;

/// 13 MiB in four pieces, 5 MiB in two, a little one and an empty one.
fn desk() -> Desk {
    Desk::new(&[&noise(1, 13 * MIB), &noise(2, 5 * MIB), b"little", b""])
}

/// One piece of 4 MiB with its header and the end.
const ONE_PIECE_BYTES: u64 = (4 << 20) + 512 + 1024;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn no_file_is_longer_than_the_limit_and_the_plan_equals_what_is_written(
        sizes in proptest::collection::vec(0..40_000usize, 1..9),
        spare in 0..90_000u64,
    ) {
        let blobs: Vec<Vec<u8>> = (0u64..).zip(&sizes).map(|(seed, &size)| noise(seed + 7, size)).collect();
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let desk = Desk::new(&blobs);
        // The longest piece has 40,000 bytes: 512 + 40,448, and the end.
        let limit = 512 + 40_448 + 1024 + spare;
        let planned = desk.plan(limit).total_bytes().unwrap();
        prop_assert_eq!(desk.write(limit).bytes_written, planned);
        let lengths: Vec<u64> = desk.files().iter().map(|file| file.metadata().unwrap().len()).collect();
        prop_assert_eq!(lengths.iter().sum::<u64>(), planned);
        prop_assert!(desk.volumes().iter().all(|volume| volume.metadata().unwrap().len() <= limit));
        let intake = desk.receive(&Silent).unwrap();
        prop_assert!(intake.incomplete.is_empty() && intake.remarks.is_empty(), "{:?}", intake);
        let distinct: std::collections::BTreeSet<Sha256> = desk.blobs.iter().map(|blob| blob.digest).collect();
        prop_assert_eq!(intake.received.len(), distinct.len());
    }
}

#[test]
fn volumes_come_in_any_order_and_any_subset_until_all_is_there() {
    let desk = desk();
    desk.write(ONE_PIECE_BYTES);
    let volumes = desk.volumes();
    assert!(volumes.len() >= 5, "{volumes:?}");
    let away = desk.stick().join("away");
    fs::create_dir(&away).unwrap();
    for volume in &volumes {
        fs::rename(volume, away.join(volume.file_name().unwrap())).unwrap();
    }
    let mut received = 0;
    // One at a time, the last first; what came stays.
    for volume in volumes.iter().rev() {
        fs::rename(away.join(volume.file_name().unwrap()), volume).unwrap();
        let intake = desk.receive(&Silent).unwrap();
        received = received.max(intake.received.len());
        fs::rename(volume, away.join(volume.file_name().unwrap())).unwrap();
    }
    for blob in &desk.blobs {
        assert!(desk.stick().join("../site").join(blob.digest.to_string()).is_file(), "{blob:?}");
    }
}

#[test]
fn an_export_that_dies_anywhere_goes_on_and_harms_nothing() {
    let mut desk = Desk::new(&[&noise(3, MIB)]);
    desk.write(ONE_PIECE_BYTES);
    desk.add(&noise(1, 9 * MIB), false);
    desk.add(b"little", false);
    let first = Stick::open(&desk.stick()).unwrap().record().cloned().unwrap();
    for count in 0.. {
        let monitor = DiesAt::new(count, count % 2 == 0);
        let plan = desk.plan(ONE_PIECE_BYTES);
        let died = catch_unwind(AssertUnwindSafe(|| bundle::write(&desk.stick(), plan, &monitor)));
        let stick = Stick::open(&desk.stick()).unwrap();
        match died {
            Ok(Ok(written)) => {
                assert!(count > 5 && written.is_new);
                break;
            }
            Ok(Err(error)) => assert!(matches!(error, BundleError::Cancelled), "{error}"),
            Err(_) => assert!(!monitor.cancels),
        }
        assert_eq!(stick.record(), Some(&first), "what was committed is what counts");
    }
    let health = bundle::verify(&Stick::open(&desk.stick()).unwrap(), &Silent).unwrap();
    assert!(health.iter().all(|file| file.is_whole), "{health:?}");
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 3);
}

#[test]
fn what_a_dead_export_left_damaged_is_found_and_written_again() {
    let desk = desk();
    let plan = desk.plan(ONE_PIECE_BYTES);
    let died = bundle::write(&desk.stick(), plan, &DiesAt::new(6, true));
    assert!(matches!(died, Err(BundleError::Cancelled)));
    let volumes = desk.volumes();
    // The first volume holds the little one alone.
    flip(&volumes[1], 2 * MIB);
    fs::write(&volumes[2], b"").unwrap();
    desk.write(ONE_PIECE_BYTES);
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 4);
}

#[test]
fn the_rest_of_another_export_is_cleaned_away() {
    let mut desk = desk();
    desk.write(ONE_PIECE_BYTES);
    desk.add(b"one more", false);
    let died = bundle::write(&desk.stick(), desk.plan(ONE_PIECE_BYTES), &DiesAt::new(4, true));
    assert!(died.is_err());
    desk.add(b"and another", false);
    desk.write(ONE_PIECE_BYTES);
    let folders = fs::read_dir(desk.stick().join("LOCALML/B")).unwrap().count();
    assert_eq!(folders, 2, "the first bundle and the last; the dead one is gone");
    // It may also have died in its last step.
    let torn = desk.stick().join("LOCALML/B/00000001");
    fs::create_dir(&torn).unwrap();
    fs::write(torn.join("BUNDLE.JSON"), b"{ \"format\": \"1.0\"").unwrap();
    desk.add(b"and a last", false);
    desk.write(ONE_PIECE_BYTES);
    assert!(!torn.exists());
}

#[test]
fn an_import_that_dies_anywhere_keeps_what_came() {
    let desk = desk();
    desk.write(ONE_PIECE_BYTES);
    let mut num_deaths = 0;
    loop {
        // Two pieces a run: the rest of each run is what the next one finds.
        match desk.receive_missing(&DiesAt::new(2, true)) {
            Err(BundleError::Cancelled) => num_deaths += 1,
            done => {
                done.unwrap();
                break;
            }
        }
        assert!(num_deaths < 20, "it goes on");
    }
    assert!(num_deaths >= 2);
    for blob in &desk.blobs {
        assert!(desk.stick().join("../site").join(blob.digest.to_string()).is_file());
    }
}

#[test]
fn a_flipped_byte_costs_one_piece_of_one_blob() {
    let desk = desk();
    desk.write(1 << 30);
    let volumes = desk.volumes();
    let length = volumes[0].metadata().unwrap().len() as usize;
    flip(&volumes[0], length - 2 * MIB);
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!((intake.received.len(), intake.incomplete.len()), (3, 1));
    let incomplete = &intake.incomplete[0];
    assert_eq!((incomplete.digest, incomplete.num_missing_pieces), (desk.blobs[0].digest, 1));
    let cause = incomplete.causes[0].to_string();
    assert!(cause.contains("V0001.TAR") && cause.contains("piece ") && cause.contains("sha256"), "{cause}");
}

#[test]
fn a_cut_an_empty_and_an_absent_volume_are_named() {
    for state in ["cut", "empty", "absent"] {
        let desk = desk();
        desk.write(ONE_PIECE_BYTES);
        let volume = desk.volumes().pop().unwrap();
        match state {
            "cut" => fs::write(&volume, &fs::read(&volume).unwrap()[..700]).unwrap(),
            "empty" => fs::write(&volume, b"").unwrap(),
            _ => fs::remove_file(&volume).unwrap(),
        }
        let intake = desk.receive(&Silent).unwrap();
        assert_eq!((intake.received.len(), intake.incomplete.len()), (3, 1), "{state}");
        let name = volume.file_name().unwrap().to_str().unwrap();
        assert!(intake.incomplete[0].causes[0].file.ends_with(name), "{state}: {intake:?}");
        assert!(intake.remarks.iter().any(|remark| remark.file.ends_with(name)), "{state}: {intake:?}");
    }
}

#[test]
fn a_stick_with_one_bad_slot_is_read_by_the_other_and_with_two_by_looking() {
    let mut desk = desk();
    desk.write(1 << 30);
    desk.add(b"more", false);
    desk.write(1 << 30);
    flip(&desk.stick().join("LOCALML/STICK.B"), 25);
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!(intake.received.len(), 5);
    assert!(intake.remarks.iter().any(|remark| remark.file == "STICK.B"), "{intake:?}");
    flip(&desk.stick().join("LOCALML/STICK.A"), 25);
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!(intake.received.len(), 5);
    let text = format!("{:?}", intake.remarks);
    assert!(text.contains("every bundle found is looked at"), "{text}");
    // The next export makes a whole record again, with the bundles that were found.
    desk.add(b"even more", false);
    desk.write(1 << 30);
    let health = bundle::verify(&Stick::open(&desk.stick()).unwrap(), &Silent).unwrap();
    assert!(health.iter().filter(|file| file.file.ends_with("BUNDLE.JSON")).count() == 3, "{health:?}");
    assert!(health.iter().all(|file| file.is_whole), "{health:?}");
}

#[test]
fn the_same_export_again_writes_nothing_and_repairs_what_was_damaged() {
    let desk = desk();
    assert!(desk.write(ONE_PIECE_BYTES).is_new);
    assert!(!desk.write(ONE_PIECE_BYTES).is_new);
    flip(&desk.volumes()[2], MIB);
    assert!(desk.write(ONE_PIECE_BYTES).is_new);
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 4);
    assert!(!desk.write(ONE_PIECE_BYTES).is_new);
}

#[test]
fn a_blob_that_is_damaged_here_is_named_and_never_written_as_good() {
    let desk = desk();
    flip(&desk.blobs[0].path, 9 * MIB);
    let plan = desk.plan(1 << 30);
    let error = bundle::write(&desk.stick(), plan, &Silent).expect_err("damaged");
    assert!(matches!(&error, BundleError::BlobDamaged { digest, .. } if *digest == desk.blobs[0].digest));
    assert!(desk.volumes().is_empty(), "nothing of it is left");
    assert!(Stick::open(&desk.stick()).unwrap().record().is_none());
}

#[test]
fn too_little_room_is_said_before_the_first_byte() {
    let desk = desk();
    let size_bytes = localml::disk::free_bytes(&desk.stick()).unwrap() + (1 << 30);
    let mut blob = desk.blobs[0].clone();
    blob.path = desk.stick().join("../blobs/sparse");
    blob.size_bytes = size_bytes;
    let sparse = fs::File::create(&blob.path).unwrap();
    if size_bytes > 2 << 40 || sparse.set_len(size_bytes).is_err() {
        skip("a disk that is too full: this one has more free space than a file can have");
        return;
    }
    let outgoing = Outgoing { blobs: vec![blob], ..Outgoing::default() };
    let plan = Plan::new(&desk.stick(), outgoing, &ExportOptions::default()).unwrap();
    let error = bundle::write(&desk.stick(), plan, &Silent).expect_err("no room");
    assert!(matches!(error, BundleError::NoRoom { .. }), "{error}");
    assert!(desk.files().is_empty());
}

#[test]
fn tar_and_cat_alone_rebuild_a_file() {
    let mut desk = desk();
    let text = "All the words of a long handbook, again and again.\n".repeat(200_000);
    desk.add(text.as_bytes(), true);
    desk.write(ONE_PIECE_BYTES);
    let stored: u64 = desk.volumes().iter().map(|volume| volume.metadata().unwrap().len()).sum();
    assert!(stored < 19 * MIB as u64, "10 MB of text take little room: {stored}");
    let room = tempfile::tempdir().unwrap();
    let shell = |script: &str| {
        let run = Command::new("sh").args(["-ec", script]).current_dir(room.path()).status();
        assert!(run.unwrap().success(), "{script}");
    };
    let folder = desk.volumes()[0].parent().unwrap().to_owned();
    shell(&format!("for volume in '{}'/V*.TAR; do tar -xf \"$volume\"; done", folder.display()));
    let digest = desk.blobs[0].digest;
    shell(&format!("cat {digest}.?????? > model"));
    assert_eq!(fs::read(room.path().join("model")).unwrap(), noise(1, 13 * MIB));
    if Command::new("zstd").arg("--version").output().is_err() {
        skip("rebuilding text with `cat` and `zstd`: there is no zstd");
        return;
    }
    let digest = desk.blobs[4].digest;
    shell(&format!("cat {digest}.??????.zst | zstd -dcq > text"));
    assert_eq!(fs::read(room.path().join("text")).unwrap(), text.as_bytes());
}

#[test]
fn text_comes_back_from_its_compressed_pieces() {
    let mut desk = Desk::new(&[]);
    desk.add("All the words of a long handbook.\n".repeat(300_000).as_bytes(), true);
    desk.add(&noise(5, MIB), true);
    let written = desk.write(1 << 30);
    assert!(written.bytes_written < 2 * MIB as u64, "noise is not compressed, text is: {written:?}");
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 2);
}

fn entry(kind: EntryType, name: &str, bytes: &[u8]) -> Vec<u8> {
    tarball::entry(kind, name.as_bytes(), bytes)
}

#[test]
fn hostile_entries_are_refused_with_the_exact_reason() {
    let desk = Desk::new(&[b"little"]);
    desk.write(1 << 20);
    let volume = desk.volumes().pop().unwrap();
    let whole = fs::read(&volume).unwrap();
    let digest = desk.blobs[0].digest;
    let stranger = Sha256::of(b"stranger");
    let hostile = [
        (entry(EntryType::Symlink, "evil", b""), "the entry `evil` is a link"),
        (entry(EntryType::Regular, "../../evil", b"x"), "`../../evil` is not the name of a piece"),
        (entry(EntryType::Regular, "/etc/evil", b"x"), "`/etc/evil` is not the name of a piece"),
        (entry(EntryType::XHeader, "pax", b"30 path=../../evil\n"), "is an extended header"),
        (entry(EntryType::Char, "tty", b""), "is a device"),
        (entry(EntryType::Regular, &format!("{digest}.000009"), b"x"), "is more than the blob has"),
        (entry(EntryType::Regular, &format!("{digest}.000000"), b"short"), "5 stored bytes, and 6 were"),
        (entry(EntryType::Regular, &format!("{digest}.000000.zst"), b"little"), "6 stored bytes"),
        (entry(EntryType::Regular, &format!("{digest}.000000"), b"wrong!"), "is damaged: it has sha256"),
        (entry(EntryType::Regular, &format!("{stranger}.000000"), b"stranger"), ""),
    ];
    for (bytes, reason) in hostile {
        // The bad entry stands before the good one, which must still be found.
        fs::write(&volume, [bytes.clone(), whole.clone()].concat()).unwrap();
        let intake = desk.receive(&Silent).unwrap();
        assert_eq!(intake.received, [digest], "{reason}");
        // And alone.
        fs::write(&volume, [bytes, vec![0; 1024]].concat()).unwrap();
        let intake = desk.receive(&Silent).unwrap();
        let said = format!("{:?} {:?}", intake.remarks, intake.incomplete);
        assert!(intake.received.is_empty() && said.contains(reason), "{reason}: {said}");
    }
    let names: Vec<_> = files_in(desk.stick().parent().unwrap());
    assert!(!names.iter().any(|path| path.ends_with("evil")), "{names:?}");
}

#[test]
fn a_piece_that_stands_twice_counts_once() {
    let desk = Desk::new(&[b"first", b"second"]);
    desk.write(1 << 20);
    let volume = desk.volumes().pop().unwrap();
    let whole = fs::read(&volume).unwrap();
    // The pieces of both, then the first again before its blob is complete for this volume.
    let twice = [&whole[..1024], &whole[..1024], &whole[1024..]].concat();
    fs::write(&volume, twice).unwrap();
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!(intake.received.len(), 2);
    assert!(format!("{:?}", intake.remarks).contains("stands in it twice"), "{intake:?}");
}

/// Changes BUNDLE.JSON by hand.
fn forge(desk: &Desk, change: impl Fn(&mut serde_json::Value)) {
    let file = desk.files().into_iter().find(|file| file.ends_with("BUNDLE.JSON")).unwrap();
    let mut value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, value.to_string()).unwrap();
}

#[test]
fn a_forged_description_can_waste_time_and_nothing_more() {
    let desk = Desk::new(&[&noise(4, 100_000)]);
    desk.write(1 << 20);
    let other = noise(9, 100_000);
    let volume = desk.volumes().pop().unwrap();
    let mut bytes = fs::read(&volume).unwrap();
    bytes[512..512 + other.len()].copy_from_slice(&other);
    fs::write(&volume, bytes).unwrap();
    // The description vouches for other bytes under the digest that is wanted.
    forge(&desk, |value| value["blobs"][0]["pieces"][0]["sha256"] = Sha256::of(&other).to_string().into());
    let intake = desk.receive(&Silent).unwrap();
    assert!(intake.received.is_empty());
    assert!(format!("{:?}", intake.incomplete).contains("its pieces make a file with sha256"), "{intake:?}");
}

#[test]
fn a_bomb_ends_at_the_declared_length() {
    let mut desk = Desk::new(&[]);
    desk.add("words and words. ".repeat(10_000).as_bytes(), true);
    desk.write(1 << 20);
    let volume = desk.volumes().pop().unwrap();
    let name = format!("{}.000000.zst", desk.blobs[0].digest);
    let bomb = zstd::bulk::compress(&vec![0; 256 * MIB], 19).unwrap();
    fs::write(&volume, [entry(EntryType::Regular, &name, &bomb), vec![0; 1024]].concat()).unwrap();
    forge(&desk, |value| value["blobs"][0]["pieces"][0]["stored"] = bomb.len().into());
    let intake = desk.receive(&Silent).unwrap();
    assert!(intake.received.is_empty());
    assert!(format!("{:?}", intake.incomplete).contains("does not expand to the declared length"));
}

#[test]
fn a_description_that_is_huge_or_from_the_future_is_refused_by_name() {
    let desk = desk();
    desk.write(1 << 30);
    forge(&desk, |value| value["format"] = "2.0".into());
    let error = desk.receive(&Silent).expect_err("from the future");
    assert!(error.to_string().contains("BUNDLE.JSON` has format 2.0"), "{error}");
    forge(&desk, |value| value["format"] = "1.99".into());
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 4);
    let file = desk.files().into_iter().find(|file| file.ends_with("BUNDLE.JSON")).unwrap();
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10 << 30).unwrap();
    let error = desk.receive(&Silent).expect_err("huge");
    assert!(error.to_string().contains("larger than 64 MiB"), "{error}");
}

#[test]
fn links_on_a_stick_are_never_followed() {
    let desk = desk();
    let outside = desk.stick().join("../outside");
    fs::create_dir(&outside).unwrap();
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).unwrap();
    link(&outside, &desk.stick().join("LOCALML"));
    assert!(matches!(
        bundle::write(&desk.stick(), desk_plan(&desk), &Silent),
        Err(BundleError::NotPlain { .. })
    ));
    fs::remove_file(desk.stick().join("LOCALML")).unwrap();
    fs::create_dir(desk.stick().join("LOCALML")).unwrap();
    link(&outside, &desk.stick().join("LOCALML/B"));
    assert!(matches!(
        bundle::write(&desk.stick(), desk_plan(&desk), &Silent),
        Err(BundleError::NotPlain { .. })
    ));
    fs::remove_file(desk.stick().join("LOCALML/B")).unwrap();
    desk.write(ONE_PIECE_BYTES);
    // A volume that is a link to the right bytes is still no volume.
    let volume = desk.volumes().pop().unwrap();
    fs::rename(&volume, outside.join("v")).unwrap();
    link(&outside.join("v"), &volume);
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!((intake.received.len(), intake.incomplete.len()), (3, 1));
}

/// A plan made before the links were there; making one later would already refuse.
fn desk_plan(desk: &Desk) -> Plan {
    let empty = tempfile::tempdir().unwrap();
    let outgoing = Outgoing { blobs: desk.blobs.clone(), ..Outgoing::default() };
    Plan::new(empty.path(), outgoing, &ExportOptions::default()).unwrap()
}

#[test]
fn descriptions_that_are_too_much_together_are_refused_by_name_and_the_newest_is_read() {
    let mut desk = Desk::new(&[b"first"]);
    desk.write(1 << 20);
    let old = desk.files().into_iter().find(|file| file.ends_with("BUNDLE.JSON")).unwrap();
    desk.add(b"second", false);
    desk.write(1 << 20);
    // JSON may end in blanks: this one is whole and has exactly 64 MiB.
    let mut bytes = fs::read(&old).unwrap();
    bytes.resize(64 * MIB, b' ');
    fs::write(&old, bytes).unwrap();
    let found = Stick::open(&desk.stick()).unwrap().bundles().unwrap();
    assert_eq!((found.bundles.len(), found.refused.len()), (1, 1));
    assert!(found.refused[0].to_string().contains("BUNDLE.JSON"));
    assert_eq!(desk.receive(&Silent).unwrap().received.len(), 2);
}

#[test]
fn a_description_that_the_record_does_not_mean_is_read_with_a_remark() {
    let desk = Desk::new(&[b"little"]);
    desk.write(1 << 20);
    forge(&desk, |value| value["created"] = "yesterday".into());
    let intake = desk.receive(&Silent).unwrap();
    assert_eq!(intake.received.len(), 1);
    assert!(format!("{:?}", intake.remarks).contains("differs from the commit record"), "{intake:?}");
}
