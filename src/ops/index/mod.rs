//! `index`: folders of documents become collections that can be searched.

mod add;
mod list;
mod names;
mod read;
mod refresh;
mod remove;
mod status;
mod vectors;
mod walk;

pub use add::{IndexAddOptions, index_add};
pub use list::{IndexListReport, ListedCollection, index_list};
pub use read::{ProblemFile, ReadCounts};
pub use refresh::{IndexReport, index_refresh};
pub use remove::{IndexRemoveReport, index_remove};
pub use status::{CollectionStatus, IndexStatusReport, index_status};
pub use vectors::VectorCounts;

pub(super) use names::{collection_names, folder_of};
