//! The child's side: load one model, then answer requests until the parent is gone.

mod embed;
mod generate;
mod link;
mod model;
mod stream;
mod template;

use std::io::{self, Read, Write};

use link::Link;
use model::Loaded;

use super::error::{EngineError, Result};
use super::message::{EngineOptions, Failure, ModelFacts, Reply, Request};

/// Serves one parent over a pair of pipes; returns when the parent has closed its end.
///
/// This is what the hidden verb `engine` does, and nothing else may run in that process: llama.cpp may end it.
///
/// # Errors
/// When a pipe breaks or the first request is not to load a model.
pub fn serve(input: impl Read + Send + 'static, output: impl Write) -> Result<()> {
    end_with_parent();
    let mut link = Link::open(input, output);
    match link.next() {
        None => Ok(()),
        Some(Request::Load { path, options }) => {
            let outcome = Loaded::open(&path, &options).and_then(|loaded| {
                run(&loaded, &options, &mut link)
                    .map_err(|source| Failure::Compute { reason: source.to_string() })
            });
            match outcome {
                Ok(()) => Ok(()),
                Err(failure) => link.send(&Reply::Failed(failure)).map_err(garbled),
            }
        }
        Some(_) => Err(garbled(io::Error::other("the first request must be to load a model"))),
    }
}

fn garbled(source: io::Error) -> EngineError {
    EngineError::Garbled { source }
}

/// Has the kernel end this process when its parent dies, however that comes about.
///
/// A parent that died before this line has closed the pipe, which the link sees.
fn end_with_parent() {
    let signal = Some(rustix::process::Signal::KILL);
    // Where the kernel has no such wish (not Linux), the closed pipe does the same a moment later.
    let _ = rustix::process::set_parent_process_death_signal(signal);
}

/// Answers requests until there are no more.
fn run<W: Write>(loaded: &Loaded, options: &EngineOptions, link: &mut Link<W>) -> io::Result<()> {
    let mut session = match loaded.session(options) {
        Ok(session) => session,
        Err(failure) => return link.send(&Reply::Failed(failure)),
    };
    link.send(&Reply::Loaded(ModelFacts {
        context_tokens: session.context_tokens(),
        dimensions: loaded.dimensions(),
        has_chat_template: loaded.has_chat_template(),
    }))?;
    while let Some(request) = link.next() {
        let outcome = match request {
            Request::Generate(request) => session.generate(&request, link),
            Request::Embed { texts } => session.embed(&texts, link),
            Request::CountTokens { text } => {
                link.send(&Reply::Counted { tokens: loaded.tokenize(&text, false, false).len() })?;
                Ok(())
            }
            // An answer that ended by itself a moment before the wish to stop it.
            Request::Stop => Ok(()),
            Request::Load { .. } => {
                Err(Failure::WrongUse { reason: "a model is already loaded".into() }.into())
            }
        };
        match outcome {
            Ok(()) => {}
            Err(Trouble::Failure(failure)) => link.send(&Reply::Failed(failure))?,
            Err(Trouble::Pipe(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Why a request has no result: it was refused, or nobody can hear the answer.
enum Trouble {
    Failure(Failure),
    Pipe(io::Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error)
    }
}
