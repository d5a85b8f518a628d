//! The fault-injecting file system keeps its own rules, so that what the other tests show is worth something.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use localml::disk;

use crate::support::fault_drive::{Faults, Rules, Survival};
use crate::support::fault_fs::FaultFs;
use crate::support::fault_medium::Beyond;

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn only_what_was_synced_survives_the_worst_unplugging() {
    let Some(mut stick) = FaultFs::stick() else { return };
    let root = stick.path();
    fs::create_dir(root.join("folder")).unwrap();
    fs::write(root.join("folder/synced"), b"synced").unwrap();
    fs::write(root.join("folder/nameless"), b"synced, but not its name").unwrap();
    fs::write(root.join("folder/empty"), b"its name, but not its bytes").unwrap();
    sync(&root.join("folder/synced"));
    fs::remove_file(root.join("folder/nameless")).unwrap();
    sync(&root.join("folder"));
    sync(&root);
    fs::write(root.join("folder/nameless"), b"synced, but not its name").unwrap();
    sync(&root.join("folder/nameless"));
    let mut file = OpenOptions::new().append(true).open(root.join("folder/synced")).unwrap();
    file.write_all(b" and more").unwrap();
    drop(file);
    stick.replug(Survival::Nothing);
    let root = stick.path();
    assert_eq!(fs::read(root.join("folder/synced")).unwrap(), b"synced");
    assert_eq!(fs::read(root.join("folder/empty")).unwrap(), b"");
    assert!(!root.join("folder/nameless").exists());
}

#[test]
fn fat_has_its_limits() {
    let Some(stick) = FaultFs::new(Rules::Fat, (4 << 30) + (16 << 10)) else { return };
    let root = stick.path();
    fs::write(root.join("Name.TXT"), b"x").unwrap();
    assert_eq!(fs::read(root.join("nAME.txt")).unwrap(), b"x");
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["Name.TXT"]);
    assert!(fs::hard_link(root.join("Name.TXT"), root.join("other")).is_err());
    assert!(std::os::unix::fs::symlink("Name.TXT", root.join("other")).is_err());
    assert!(fs::write(root.join("a:b"), b"x").is_err());
    assert_eq!(fs::metadata(root.join("Name.TXT")).unwrap().mtime() % 2, 0);
    let file = File::create(root.join("large")).unwrap();
    file.write_all_at(b"x", u64::from(u32::MAX) - 1).unwrap();
    let error = file.write_all_at(b"x", u64::from(u32::MAX)).expect_err("4 GiB");
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert!(file.set_len(1 << 32).is_err());
    assert_eq!(disk::free_bytes(&root).unwrap(), (16 << 10) - 4096, "the small file takes one block");
}

#[test]
fn a_rename_on_fat_may_leave_the_old_name_the_new_one_both_or_none() {
    let mut seen = BTreeSet::new();
    for (rules, num_ends) in [(Rules::Fat, 4), (Rules::Journalled, 2)] {
        let Some(mut drive) = FaultFs::new(rules, 1 << 30) else { return };
        for seed in 0..60 {
            let (old, new) = (drive.path().join("old"), drive.path().join("new"));
            fs::write(&old, b"x").unwrap();
            let _ = fs::remove_file(&new);
            sync(&old);
            sync(&drive.path());
            fs::rename(&old, &new).unwrap();
            drive.replug(Survival::Seed(seed));
            seen.insert((drive.path().join("old").exists(), drive.path().join("new").exists()));
        }
        assert_eq!(seen.len(), num_ends, "{rules:?}: {seen:?}");
        seen.clear();
    }
}

#[test]
fn bytes_that_were_not_synced_are_lost_torn_or_replaced_by_rubbish() {
    let Some(mut stick) = FaultFs::stick() else { return };
    let (old, new) = (vec![1; 64 << 10], vec![2; 128 << 10]);
    let mut ends = BTreeSet::new();
    for seed in 0..40 {
        let path = stick.path().join("file");
        fs::write(&path, &old).unwrap();
        sync(&path);
        sync(&stick.path());
        OpenOptions::new().write(true).open(&path).unwrap().write_all(&new).unwrap();
        stick.replug(Survival::Seed(seed));
        let found = fs::read(stick.path().join("file")).unwrap();
        let is_torn = found.chunks(4096).any(|block| block.contains(&1) && block.contains(&2));
        let has_rubbish = found.iter().any(|&byte| byte > 2);
        ends.insert((found == old, is_torn, has_rubbish, found.len()));
    }
    for (what, is_seen) in [
        ("old", ends.iter().any(|end| end.0)),
        ("torn", ends.iter().any(|end| end.1)),
        ("rubbish", ends.iter().any(|end| end.2)),
        ("longer", ends.iter().any(|end| end.3 == new.len())),
    ] {
        assert!(is_seen, "{what}: {ends:?}");
    }
}

#[test]
fn a_stick_with_a_false_label_deceives_until_the_cached_pages_are_dropped() {
    let Some(stick) = FaultFs::stick() else { return };
    stick.fake_capacity(64 << 10, Beyond::Vanishes);
    let path = stick.path().join("file");
    fs::write(&path, vec![7; 256 << 10]).unwrap();
    sync(&path);
    assert!(fs::read(&path).unwrap().iter().all(|&byte| byte == 7), "the page cache tells a tale");
    disk::drop_cached_pages(&File::open(&path).unwrap());
    let found = fs::read(&path).unwrap();
    assert_eq!(found.iter().filter(|&&byte| byte == 7).count(), 64 << 10);
}

#[test]
fn a_drive_that_is_gone_answers_nothing_and_comes_back() {
    let Some(mut stick) = FaultFs::stick() else { return };
    fs::write(stick.path().join("file"), b"x").unwrap();
    sync(&stick.path().join("file"));
    sync(&stick.path());
    stick.arm(Faults { operations_left: Some(0), ..Faults::default() });
    let error = fs::metadata(stick.path().join("file")).expect_err("gone");
    assert_eq!(error.raw_os_error(), Some(5));
    stick.replug(Survival::Nothing);
    assert_eq!(fs::read(stick.path().join("file")).unwrap(), b"x");
}
