//! Taking blobs in from a stick's bundles: the same for an import, a fetch with a stick at hand, and a repair.

use crate::bundle::{self, Authorised, Bundles, Intake};
use crate::digest::Sha256;
use crate::disk::Staged;
use crate::home::Home;
use crate::progress::Monitor;
use crate::store::Store;

use super::error::Result;

/// Reads the authorised blobs; each that is whole goes to `deliver`, pieces of others stay in the home's staging, and
/// the piece lists that their publishers signed are kept.
///
/// # Errors
/// What `deliver` returns, or when the stick or the home fails.
pub(super) fn receive(
    home: &Home,
    store: &Store,
    (bundles, authorised): (Bundles, &Authorised),
    deliver: &mut dyn FnMut(Staged) -> Result<()>,
    monitor: &dyn Monitor,
) -> Result<Intake> {
    let staging = home.stick_staging();
    let held = |digest: &Sha256, size_bytes: u64| store.blob_path(digest, size_bytes);
    let site = bundle::Site { staging: &staging, held: &held };
    let intake = bundle::receive(bundles, authorised, &site, deliver, monitor)?;
    for list in &intake.piece_lists {
        store.keep_piece_list(list)?;
    }
    Ok(intake)
}
