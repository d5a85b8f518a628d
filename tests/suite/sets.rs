//! A bundle over several sticks, and parity: any order, any subset, any number of times.

use std::fs;
use std::path::{Path, PathBuf};

use localml::bundle::{self, Berth, BundleError, ExportOptions, Outgoing, Stick};
use localml::digest::Sha256;
use localml::progress::Silent;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

use crate::support::stick::{Desk, DiesAt, files_in, flip};
use crate::support::stick_set::{
    self, NUM_STICKS, VOLUME_BYTES, desk, room_for, sticks, volumes, write_one, write_set,
};

/// The blobs that should be whole after these sticks were seen, by what their descriptions say.
fn expected(sticks: &[PathBuf]) -> usize {
    let stick = Stick::open(&sticks[0]).unwrap();
    let description = stick.bundles().unwrap().bundles.remove(0).description;
    let lies = |name: &str| volumes(sticks).iter().any(|path| path.ends_with(name));
    let is_whole = |blob: &usize| {
        let mut volumes = description.volumes.iter();
        volumes.all(|volume| volume.holds.iter().all(|run| run.blob != *blob) || lies(&volume.name))
    };
    (0..description.blobs.len()).filter(is_whole).count()
}

fn num_at_site(desk: &Desk) -> usize {
    desk.blobs.iter().filter(|blob| desk.path("site").join(blob.digest.to_string()).exists()).count()
}

fn some_sticks() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..NUM_STICKS, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_subset_order_and_repetition_of_sticks_gives_the_union(order in some_sticks()) {
        let desk = desk();
        let used = write_set(&desk, 0);
        prop_assert!(used.len() >= 3, "the set is spread");
        let mut seen: Vec<PathBuf> = Vec::new();
        for number in order {
            let stick = &used[number % used.len()];
            if !seen.contains(stick) {
                seen.push(stick.clone());
            }
            desk.receive_from(stick).unwrap();
            prop_assert_eq!(num_at_site(&desk), expected(&seen));
        }
    }

    #[test]
    fn volumes_dealt_anew_and_twice_over_five_folders_give_the_union(
        deal in proptest::collection::vec((any::<Index>(), 0..NUM_STICKS), 1..30),
        records in proptest::collection::vec(proptest::option::of(any::<Index>()), NUM_STICKS),
        order in proptest::collection::vec(0..NUM_STICKS, 1..12),
    ) {
        let desk = desk();
        let used = write_set(&desk, 0);
        let folders = deal_by_hand(&desk, &used, &deal, &records);
        let mut seen: Vec<PathBuf> = Vec::new();
        for number in order {
            seen.push(folders[number].clone());
            desk.receive_from(&folders[number]).unwrap();
            prop_assert_eq!(num_at_site(&desk), expected(&seen));
        }
        // Whatever is missing now lies in the folders that nobody brought yet.
        folders.iter().for_each(|folder| drop(desk.receive_from(folder).unwrap()));
        prop_assert_eq!(num_at_site(&desk), expected(&folders));
    }

    #[test]
    fn any_losses_up_to_the_number_of_parity_volumes_are_made_good(
        harms in proptest::collection::vec((any::<Index>(), 0..3u8), 1..6),
        turn in 0..NUM_STICKS,
    ) {
        let desk = desk();
        // Of eight or nine volumes, 11 percent are one, 22 two, and so on, rounded up.
        let mut used = write_set(&desk, 11 * u32::try_from(harms.len()).unwrap());
        let num_parity = volumes(&used).iter().filter(|path| is_parity(path)).count();
        prop_assert_eq!(num_parity, harms.len());
        harm_volumes(volumes(&used), &harms);
        let count = used.len();
        used.rotate_left(turn % count);
        for stick in &used {
            desk.receive_from(stick).unwrap();
        }
        // A stick that was seen before its parity came need not be seen again: only the pieces count.
        prop_assert!(desk.has_all());
        prop_assert!(kept_parity(&desk).is_empty(), "nothing waits any more");
    }
}

/// Copies volumes to five new folders as somebody with a file manager does: some never, some twice, with
/// the description of one stick and perhaps the commit record of another.
fn deal_by_hand(
    desk: &Desk,
    used: &[PathBuf],
    deal: &[(Index, usize)],
    records: &[Option<Index>],
) -> Vec<PathBuf> {
    let all = volumes(used);
    let home_of = |volume: &Path| volume.parent().unwrap().to_owned();
    let folders: Vec<PathBuf> =
        (0..NUM_STICKS).map(|number| desk.path(&format!("copied {number}"))).collect();
    let bundle = home_of(&all[0]);
    let bundle = Path::new("LOCALML/B").join(bundle.file_name().unwrap());
    for ((folder, record), number) in folders.iter().zip(records).zip(0..) {
        fs::create_dir_all(folder.join(&bundle)).unwrap();
        let described = used[number % used.len()].join(&bundle).join("BUNDLE.JSON");
        fs::copy(described, folder.join(&bundle).join("BUNDLE.JSON")).unwrap();
        let Some(record) = record else { continue };
        let slots = used[record.index(used.len())].join("LOCALML");
        for slot in ["STICK.A", "STICK.B"].iter().filter(|slot| slots.join(slot).exists()) {
            fs::copy(slots.join(slot), folder.join("LOCALML").join(slot)).unwrap();
        }
    }
    for (volume, number) in deal {
        let volume = &all[volume.index(all.len())];
        fs::copy(volume, folders[*number].join(&bundle).join(volume.file_name().unwrap())).unwrap();
    }
    folders
}

/// Does each harm to another volume: it is lost, empty, or has one wrong bit.
fn harm_volumes(mut whole: Vec<PathBuf>, harms: &[(Index, u8)]) {
    for (pick, harm) in harms {
        let volume = whole.swap_remove(pick.index(whole.len()));
        match harm {
            0 => fs::remove_file(volume).unwrap(),
            1 => fs::write(volume, b"").unwrap(),
            _ => flip(&volume, usize::try_from(volume.metadata().unwrap().len()).unwrap() / 2),
        }
    }
}

#[test]
fn the_small_and_the_essential_lie_whole_on_the_first_stick() {
    let mut desk = desk();
    // The text is essential, though others are smaller; all else has the priority of its size.
    let (essential, others) = desk.blobs.split_last_mut().unwrap();
    essential.priority = 0;
    others.iter_mut().for_each(|blob| blob.priority = if blob.size_bytes < 1000 { 1 } else { 2 });
    let used = write_set(&desk, 0);
    desk.receive_from(&used[0]).unwrap();
    // Two volumes of 256 KiB: the text, both tiny ones, and the smallest of the large ones.
    let is_here = |blob: &bundle::OutgoingBlob| desk.path("site").join(blob.digest.to_string()).exists();
    for blob in desk.blobs.iter().filter(|blob| blob.priority < 2 || blob.size_bytes == 90_000) {
        assert!(is_here(blob), "{} bytes of priority {}", blob.size_bytes, blob.priority);
    }
    for blob in desk.blobs.iter().filter(|blob| blob.size_bytes > 600_000) {
        assert!(!is_here(blob), "{} bytes are for later sticks", blob.size_bytes);
    }
}

fn is_parity(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('P'))
}

fn kept_parity(desk: &Desk) -> Vec<PathBuf> {
    let files = files_in(&desk.path("site"));
    files.into_iter().filter(|path| path.to_string_lossy().contains("PARITY")).collect()
}

#[test]
fn one_loss_too_many_is_said_and_nothing_wrong_comes_in() {
    let desk = desk();
    let used = write_set(&desk, 10);
    let data: Vec<PathBuf> = volumes(&used).into_iter().filter(|path| !is_parity(path)).collect();
    fs::remove_file(&data[1]).unwrap();
    fs::remove_file(&data[2]).unwrap();
    let mut last = None;
    for stick in &used {
        last = Some(desk.receive_from(stick).unwrap());
    }
    assert!(!desk.has_all());
    let incomplete = last.unwrap().incomplete;
    assert!(!incomplete.is_empty() && incomplete.iter().all(|blob| blob.num_missing_pieces > 0));
    // The lost volume from another copy of the set is all that it takes.
    let other = stick_set::desk();
    let copy = write_set(&other, 10);
    let lost = data[1].file_name().unwrap();
    let whole = volumes(&copy).into_iter().find(|path| path.ends_with(lost)).unwrap();
    fs::copy(whole, &data[1]).unwrap();
    for stick in &used {
        desk.receive_from(stick).unwrap();
    }
    assert!(desk.has_all());
}

#[test]
fn a_stick_says_on_which_other_stick_the_rest_is() {
    let desk = desk();
    let used = write_set(&desk, 0);
    let id = Stick::open(&used[0]).unwrap().record().unwrap().stick_id.clone();
    // The last stick knows of all; the first knows only that there are later ones.
    let intake = desk.receive_from(used.last().unwrap()).unwrap();
    let causes: Vec<String> =
        intake.incomplete.iter().flat_map(|blob| &blob.causes).map(ToString::to_string).collect();
    let text = format!("it is on stick {id} (number 1 of the set)");
    assert!(causes.iter().any(|cause| cause.contains(&text)), "{causes:?}");
    assert!(intake.remarks.is_empty(), "nothing is wrong: {:?}", intake.remarks);
    let first = desk.receive_from(&used[0]).unwrap();
    let causes: Vec<String> =
        first.incomplete.iter().flat_map(|blob| &blob.causes).map(ToString::to_string).collect();
    assert!(causes.iter().any(|cause| cause.contains("it is on a later stick of the set")), "{causes:?}");
}

#[test]
fn each_stick_of_a_set_names_every_volume_with_its_digest() {
    let desk = desk();
    let used = write_set(&desk, 20);
    let mut digests = Vec::new();
    for stick in &used {
        let description = Stick::open(stick).unwrap().bundles().unwrap().bundles.remove(0).description;
        let parity = description.parity.iter().flat_map(|parity| &parity.volumes);
        let all: Vec<(String, Sha256)> = description
            .volumes
            .iter()
            .map(|volume| (volume.name.clone(), volume.sha256))
            .chain(parity.map(|volume| (volume.name.clone(), volume.sha256)))
            .collect();
        for path in volumes(std::slice::from_ref(stick)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let found = Sha256::of(&fs::read(&path).unwrap());
            assert!(all.contains(&(name, found)), "{}", path.display());
        }
        digests.push(all);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_same_stick_again_keeps_its_share() {
    let desk = desk();
    let first = &sticks(&desk)[0];
    fs::create_dir_all(first).unwrap();
    let known = write_one(&desk, first, room_for(3), 0, None).unwrap();
    let outgoing = || Outgoing { blobs: desk.blobs.clone(), ..Outgoing::default() };
    let options = ExportOptions { volume_size_bytes: VOLUME_BYTES, ..ExportOptions::default() };
    let berth = || Berth { folder: first.clone(), room_bytes: Some(room_for(3)), reserved_bytes: 0 };
    // Also when this machine forgot what it dealt: the stick itself knows.
    for earlier in [Some(known), None] {
        let plans = bundle::spread(&[berth()], outgoing(), &options, &|_| earlier.clone()).unwrap();
        assert!(plans[0].1.is_already_there());
    }
    let all = bundle::Plan::new(first, outgoing(), &options).unwrap();
    assert!(!all.is_already_there(), "a share is not the whole");
    let too_small =
        Berth { folder: desk.path("stick"), room_bytes: Some(room_for(3) / 3), reserved_bytes: 0 };
    let refused = bundle::spread(&[too_small], outgoing(), &options, &|_| None);
    assert!(matches!(refused, Err(BundleError::LittleRoom { .. })));
}

#[test]
fn of_a_blob_only_the_pieces_asked_for_travel_and_complete_what_is_there() {
    let mut desk = desk();
    let used = write_set(&desk, 0);
    desk.receive_from(&used[0]).unwrap();
    let incomplete = desk.receive_from(&used[0]).unwrap().incomplete;
    let torn = incomplete.iter().find(|blob| blob.missing_bytes < blob.size_bytes).expect("half a blob");
    let blob = desk.blobs.iter_mut().find(|blob| blob.digest == torn.digest).unwrap();
    let num_pieces = blob.pieces.as_ref().unwrap().pieces().len();
    // The first volumes hold the first pieces.
    let first = num_pieces - torn.num_missing_pieces;
    blob.only = Some(vec![first..first + 1, first + 1..num_pieces]);
    let repair = blob.clone();
    let outgoing = Outgoing { blobs: vec![repair.clone()], ..Outgoing::default() };
    let plan = bundle::Plan::new(&desk.stick(), outgoing, &ExportOptions::default()).unwrap();
    let volume_bytes = plan.files().unwrap()[0].size_bytes;
    assert!(volume_bytes < torn.missing_bytes + 1024 * (torn.num_missing_pieces as u64 + 2));
    bundle::write(&desk.stick(), plan, &Silent).unwrap();
    desk.receive_from(&desk.stick()).unwrap();
    assert!(desk.path("site").join(repair.digest.to_string()).exists());
}

#[test]
fn notes_about_another_bundle_of_the_same_name_are_not_believed() {
    let desk = desk();
    let first = &sticks(&desk)[0];
    fs::create_dir_all(first).unwrap();
    let honest = write_one(&desk, first, room_for(3), 20, None).unwrap();
    let mut longer = honest.clone();
    longer.blobs[0].size_bytes += 1;
    let mut more = honest.clone();
    more.blobs.push(honest.blobs[1].clone());
    let mut moved = honest.clone();
    moved.volumes.swap(0, 1);
    let second = &sticks(&desk)[1];
    fs::create_dir_all(second).unwrap();
    for (known, is_believed) in [(honest, true), (longer, false), (more, false), (moved, false)] {
        let outgoing = Outgoing { blobs: desk.blobs.clone(), ..Outgoing::default() };
        let options =
            ExportOptions { volume_size_bytes: VOLUME_BYTES, parity_percent: 20, begins_anew: false };
        let berth = Berth { folder: second.clone(), room_bytes: Some(room_for(3)), reserved_bytes: 0 };
        let plan =
            bundle::spread(&[berth], outgoing, &options, &|_| Some(known.clone())).unwrap().remove(0).1;
        assert_eq!(plan.share()[0] != "V0001.TAR", is_believed);
    }
}

#[test]
fn a_share_that_grows_is_harmed_by_no_interruption() {
    let whole = desk();
    for count in (0..40).step_by(3) {
        let first = whole.path(&format!("grows {count}"));
        fs::create_dir_all(&first).unwrap();
        write_one(&whole, &first, room_for(3), 0, None).unwrap();
        let plan = || {
            let outgoing = Outgoing { blobs: whole.blobs.clone(), ..Outgoing::default() };
            let options = ExportOptions { volume_size_bytes: VOLUME_BYTES, ..ExportOptions::default() };
            bundle::Plan::new(&first, outgoing, &options).unwrap()
        };
        let dies = DiesAt::new(count, true);
        let is_done = bundle::write(&first, plan(), &dies).is_ok();
        let stick = Stick::open(&first).unwrap();
        let health = bundle::verify(&stick, &Silent).unwrap();
        assert!(health.iter().all(|file| file.is_whole), "the record promises only what is there");
        assert!(!stick.bundles().unwrap().bundles.is_empty(), "and the share can still be read");
        bundle::write(&first, plan(), &Silent).unwrap();
        assert!(plan().is_already_there());
        if is_done {
            return;
        }
    }
}
