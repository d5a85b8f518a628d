//! How much is written a second time when a long export or import is cut off at the worst moment.

use std::fs;
use std::path::Path;

use localml::bundle::{self, Authorised, BundleError, ExportOptions, Intake, Outgoing, Plan, Site, Stick};
use localml::digest::Sha256;
use localml::disk::Staged;
use localml::package::FileEntry;
use localml::progress::Silent;

use crate::support::drill::{Dice, rounds};
use crate::support::fault_drive::{Faults, Rules, Survival};
use crate::support::fault_fs::FaultFs;
use crate::support::noise::noise;
use crate::support::stick::Desk;

const MIB: u64 = 1 << 20;

/// More than may be written again.
const LARGE_BYTES: u64 = 320 * MIB;

/// What the handbook promises of a long export or import that was cut off.
const MAX_REWORK_BYTES: u64 = 256 * MIB;

/// The late moment at which rework would be dearest, then random ones.
fn moment(round: u64) -> u64 {
    if round == 0 { LARGE_BYTES - 8 * MIB } else { Dice::new(round).below(LARGE_BYTES / MIB) * MIB }
}

fn export(desk: &Desk, stick: &Path) -> bundle::Result<()> {
    let outgoing = Outgoing { blobs: desk.blobs.clone(), ..Outgoing::default() };
    let plan = Plan::new(stick, outgoing, &ExportOptions::default())?;
    bundle::write(stick, plan, &Silent).map(drop)
}

/// Reads all from the desk's stick; what is whole goes to `<home>/blobs`.
fn import(desk: &Desk, home: &Path) -> bundle::Result<Intake> {
    let mut authorised = Authorised::default();
    for blob in &desk.blobs {
        let (path, size_bytes, sha256) = ("file".parse().unwrap(), blob.size_bytes, blob.digest);
        let sources = Vec::new();
        authorised.add(&FileEntry { path, size_bytes, sha256, sources, pieces: None, unpinned: false });
    }
    let mut deliver = |staged: Staged| -> bundle::Result<()> {
        Ok(staged.move_to(&home.join("blobs").join(staged.digest.to_string()))?)
    };
    let bundles = Stick::open(&desk.stick())?.bundles()?;
    let site = Site { staging: &home.join("staging"), held: &|_, _| None };
    bundle::receive(bundles, &authorised, &site, &mut deliver, &Silent)
}

/// Cuts a deed off after some bytes, loses all that was not synced, and does it again; returns how many bytes were
/// written more than once.
fn rework_bytes<T>(drive: &mut FaultFs, round: u64, deed: impl Fn(&Path) -> bundle::Result<T>) -> u64 {
    let (whole, _, needed_bytes) = drive.count(|| deed(&drive.path()));
    assert!(whole.is_ok(), "{:?}", whole.err());
    drive.format();
    drive.arm(Faults { bytes_left: Some(moment(round)), ..Faults::default() });
    let (cut, _, first_bytes) = drive.count(|| deed(&drive.path()));
    assert!(matches!(cut, Err(BundleError::Disk(_))), "{:?}", cut.err());
    drive.replug(Survival::Nothing);
    let (again, _, second_bytes) = drive.count(|| deed(&drive.path()));
    assert!(again.is_ok(), "{:?}", again.err());
    let rework_bytes = (first_bytes + second_bytes).saturating_sub(needed_bytes);
    println!("cut off after {} MiB: {} MiB were written again", first_bytes / MIB, rework_bytes / MIB);
    rework_bytes
}

#[test]
fn an_export_that_is_cut_off_writes_little_again() {
    let desk = Desk::new(&[&noise(1, LARGE_BYTES as usize)]);
    for round in 0..rounds(1, 10) {
        let Some(mut stick) = FaultFs::stick() else { return };
        let again_bytes = rework_bytes(&mut stick, round, |stick| export(&desk, stick));
        assert!(again_bytes <= MAX_REWORK_BYTES, "{again_bytes}");
    }
}

#[test]
fn an_import_that_is_cut_off_writes_little_again() {
    let desk = Desk::new(&[&noise(1, LARGE_BYTES as usize)]);
    desk.write(1 << 30);
    for round in 0..rounds(1, 10) {
        let Some(mut disk) = FaultFs::new(Rules::Journalled, 4 << 30) else { return };
        let again_bytes = rework_bytes(&mut disk, round, |home| import(&desk, home));
        assert!(again_bytes <= MAX_REWORK_BYTES, "{again_bytes}");
        let blob = disk.path().join("blobs").join(desk.blobs[0].digest.to_string());
        assert_eq!(Sha256::of_file(&blob).unwrap(), desk.blobs[0].digest);
        assert_eq!(fs::read_dir(disk.path().join("staging")).unwrap().count(), 0);
    }
}
