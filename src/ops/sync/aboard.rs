//! What lies on the stick already, whole and committed, and for whom: it is not written twice.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use crate::bundle::{Bundle, BundleError, Description, Item, SiteId, Stick};
use crate::digest::Sha256;
use crate::ops::addressee::{Addressee, fulfils};
use crate::ops::difference::{Share, share_of};
use crate::ops::error::Result;
use crate::ops::holding::reference;
use crate::package::FileEntry;
use crate::store::{Installed, Store};

/// The committed bundles of a stick.
#[derive(Debug, Default)]
pub(super) struct Aboard {
    items: Vec<Item>,
    /// Of each blob, which of its pieces lie here.
    blobs: HashMap<Sha256, Vec<bool>>,
}

impl Aboard {
    /// Reads what the stick's record promises. A folder that is no stick yet has nothing.
    ///
    /// # Errors
    /// When a later localml wrote the stick, or it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let stick = match Stick::open(folder) {
            Err(BundleError::NotAStick { .. }) => return Ok(Self::default()),
            opened => opened?,
        };
        let mut aboard = Self::default();
        let bundles = stick.bundles()?.bundles;
        for bundle in bundles.into_iter().filter(|bundle| bundle.is_committed) {
            aboard.add(bundle);
        }
        Ok(aboard)
    }

    fn add(&mut self, bundle: Bundle) {
        let lying = bundle.lying_volumes();
        let Description { items, blobs, volumes, .. } = bundle.description;
        let mut carried: Vec<Vec<bool>> = blobs.iter().map(|blob| vec![false; blob.pieces.len()]).collect();
        for run in volumes.iter().filter(|volume| lying.contains(&volume.name)).flat_map(|it| &it.holds) {
            let pieces = carried.get_mut(run.blob).into_iter().flatten();
            pieces.skip(run.first).take(run.count).for_each(|piece| *piece = true);
        }
        for (blob, carried) in blobs.iter().zip(carried) {
            let known = self.blobs.entry(blob.sha256).or_insert_with(|| vec![false; carried.len()]);
            // Two lists of one blob may cut it differently; each is then a carriage of its own.
            if known.len() == carried.len() {
                known.iter_mut().zip(&carried).for_each(|(known, carried)| *known |= carried);
            } else if carried.iter().all(|carried| *carried) {
                *known = carried;
            }
        }
        self.items.extend(items);
    }

    /// True when the stick brings a package to a site, or to every site, with all that is lacking there of it.
    pub(super) fn brings(&self, package: &Installed, site: Option<&Addressee>, store: &Store) -> bool {
        let own = reference(package);
        let is_for = |recipients: &[SiteId]| {
            recipients.is_empty() || site.is_some_and(|site| recipients.contains(&site.site))
        };
        let is_listed = |item: &Item| {
            fulfils(&item.package, &own)
                && is_for(&item.recipients)
                && package.files().len() == item.files.len()
                && package.files().iter().all(|file| item.files.iter().any(|it| it.sha256 == file.sha256))
        };
        self.items.iter().any(is_listed)
            && package.files().iter().all(|file| self.brings_file(file, site, store))
    }

    fn brings_file(&self, file: &FileEntry, site: Option<&Addressee>, store: &Store) -> bool {
        let sites: Vec<&Addressee> = site.into_iter().collect();
        let pieces = file.pieces.and_then(|digest| store.piece_list(&digest).ok().flatten());
        let carried = self.blobs.get(&file.sha256);
        let all = |range: Range<usize>| {
            carried.and_then(|carried| carried.get(range)).is_some_and(|it| it.iter().all(|it| *it))
        };
        match share_of(file, pieces.as_ref(), &sites) {
            Share::Nothing => true,
            Share::Whole => carried.is_some_and(|carried| all(0..carried.len())),
            Share::Pieces(ranges) => ranges.into_iter().all(all),
        }
    }
}
