//! A power cut in the middle of a download, on a disk that forgets whatever was not synced: what that costs on the wire.

use std::fs;

use localml::digest::Sha256;
use localml::package::MAX_PIECE_BYTES;
use localml::progress::Silent;
use localml::transfer::{TransferError, Wanted};

use crate::support::cafe::{Cafe, MIB};
use crate::support::drill::{Dice, rounds};
use crate::support::fault_drive::{Faults, Rules, Survival};
use crate::support::fault_fs::FaultFs;
use crate::support::http_server::Fault;

/// Fetches, loses the power after so many bytes were written, and fetches the rest; returns how many bytes that were in
/// the file at the cut had to come again. `None` where nothing can be mounted.
fn lost_bytes(with_pieces: bool, cut_after_bytes: u64, ignores_sync: bool) -> Option<u64> {
    let mut disk = FaultFs::new(Rules::Journalled, 1 << 30)?;
    let cafe = Cafe::new();
    let in_pieces = cafe.serve_in_pieces("model.gguf", 40 * MIB);
    let wanted = if with_pieces { in_pieces } else { Wanted { pieces: None, ..in_pieces } };
    cafe.server.set_fault("model.gguf", Fault::Throttle(15 * MIB as u64));
    disk.arm(Faults { bytes_left: Some(cut_after_bytes), ignores_sync, ..Faults::default() });
    let TransferError::Fetch { kept_bytes, .. } =
        cafe.client.fetch(&wanted, &disk.path().join("staging"), &Silent).unwrap_err()
    else {
        panic!("it was no failed fetch");
    };
    // Plugged in again, it has another path.
    disk.replug(Survival::Nothing);
    cafe.server.clear_faults();
    let fetched = cafe.client.fetch(&wanted, &disk.path().join("staging"), &Silent).unwrap();
    assert_eq!(Sha256::of(&fs::read(&fetched.staged.path).unwrap()), wanted.digest);
    Some(kept_bytes.saturating_sub(fetched.reused_bytes))
}

#[test]
fn a_power_cut_costs_a_piece_at_most() {
    let mut dice = Dice::new(11);
    for round in 0..rounds(6, 60) {
        let cut_after_bytes = 3 * MIB as u64 + dice.below(36 * MIB as u64);
        let Some(lost_bytes) = lost_bytes(round % 2 == 0, cut_after_bytes, false) else { return };
        println!("cut after {cut_after_bytes} bytes: {lost_bytes} came again");
        assert!(lost_bytes <= MAX_PIECE_BYTES, "round {round}: {lost_bytes} bytes came again");
    }
}

#[test]
fn these_tests_would_notice_if_nothing_were_synced() {
    let Some(lost_bytes) = lost_bytes(true, 36 * MIB as u64, true) else { return };
    assert!(lost_bytes > 20 * MIB as u64, "{lost_bytes} bytes");
}
