//! Prompt text with numbered sources, citation marks and whether they hold, and the "not in your documents" rule.
//!
//! Everything here is a pure function. What a term is, the caller says: languages differ, and the index knows them.

mod citation;
mod evidence;
mod prompt;
mod question;

pub use citation::{Citation, Support, check_citations};
pub use evidence::{Confidence, Evidence, judge, term_coverage};
pub use prompt::{Draft, NOT_IN_DOCUMENTS, Source, draft, says_not_in_documents};
pub use question::subject_of;
