//! What every error must be able to say: how bad it is, and what to do about it.

/// The way a command can end other than well. Each kind has one exit code, given in `cli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something went wrong that no other kind names.
    Failed,
    /// The command line does not make sense.
    Usage,
    /// No such package, file or collection.
    NotFound,
    /// Bytes differ from their digest, or a file is not what it claims to be.
    Damaged,
    /// The network did not do its part.
    Network,
    /// Not enough disk, memory or budget.
    NoRoom,
    /// A signature, a root or a version floor does not hold.
    Untrusted,
}

/// An error that knows its kind and may know the way out.
///
/// The hint stays out of the message, so that causes can be chained without advice in the middle.
/// A hint names a command that exists.
pub trait Explain: std::error::Error {
    /// Says which kind of failure this is; it decides the exit code.
    fn kind(&self) -> ErrorKind;

    /// Says what the reader can do, as one line without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}
