//! What the knowledge verbs need of an embedder, whichever features this build has.

use crate::home::Home;
use crate::passage::Vector;
use crate::progress::Monitor;

use super::error::Result;

/// Makes vectors of texts.
pub trait Embeds {
    /// Names the model and the way it is used.
    fn identity(&self) -> &str;

    /// The length of every vector.
    fn dimensions(&self) -> usize;

    /// One vector a question.
    ///
    /// # Errors
    /// When the model fails.
    fn questions(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;

    /// One vector a passage.
    ///
    /// # Errors
    /// When the model fails.
    fn passages(&mut self, texts: &[&str]) -> Result<Vec<Vector>>;
}

/// An embedder of any kind.
pub type AnyEmbedder = Box<dyn Embeds>;

/// Opens the installed embedder, if there is one that this build can run.
///
/// # Errors
/// When it is damaged or cannot be started.
pub fn installed_embedder(_home: &Home, _monitor: &dyn Monitor) -> Result<Option<AnyEmbedder>> {
    Ok(None)
}
