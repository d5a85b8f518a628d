//! What every command gets: the home, the way to speak, and whether the network is allowed.

use std::env;
use std::path::PathBuf;

use crate::home::Home;
#[cfg(feature = "index")]
use crate::ops::{Embedders, Error};

use super::output::Output;
use super::terminal::Terminal;

/// The global flags, as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// The folder that holds everything localml keeps; without it, the one that `LOCALML_HOME` names
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print one JSON value on stdout, and progress as lines of JSON on stderr, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say only results and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Open no network connection
    #[arg(long, global = true)]
    offline: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Say more about what happens
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// What the flags mean on this machine.
pub(crate) struct Context {
    /// Where everything lies.
    pub(crate) home: Home,
    /// Results, as text or JSON.
    pub(crate) output: Output,
    /// Progress and notes, on stderr.
    pub(crate) terminal: Terminal,
    /// True when no network connection may be opened.
    pub(crate) is_offline: bool,
    /// True when more should be said.
    pub(crate) is_verbose: bool,
}

impl Context {
    /// Looks at flags, environment and the executable's folder.
    pub(crate) fn new(args: &GlobalArgs) -> Self {
        match args.color {
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
            Color::Auto => {}
        }
        Self {
            home: Home::at(from_anywhere(args.home.clone().or_else(named_home).unwrap_or_else(default_home))),
            output: if args.quiet { Output::quiet(args.json) } else { Output::new(args.json) },
            terminal: Terminal::new(args.quiet, args.json),
            is_offline: args.offline,
            is_verbose: args.verbose,
        }
    }
}

impl Context {
    /// Where ONNX Runtime may lie: what the environment names, else `lib` beside the executable, one folder up, or
    /// in the home. Who names one wants that one, or an error that speaks of it.
    pub(crate) fn onnx_places(&self) -> Vec<PathBuf> {
        if let Some(named) = env::var_os("LOCALML_ONNXRUNTIME").filter(|value| !value.is_empty()) {
            return vec![PathBuf::from(named)];
        }
        let program = env::current_exe().ok();
        let folders = program.iter().flat_map(|program| program.ancestors().skip(1).take(2));
        folders.chain([self.home.root()]).map(|folder| folder.join("lib")).collect()
    }

    /// What starting an embedder needs besides its package.
    #[cfg(feature = "index")]
    pub(crate) fn embedder_options(&self) -> crate::ops::EmbedderOptions {
        crate::ops::EmbedderOptions {
            // Without it GGUF embedders cannot start, and say so.
            program: env::current_exe().unwrap_or_default(),
            onnx_places: self.onnx_places(),
            num_threads: None,
        }
    }

    /// The installed embedders; a build that can run none has none.
    ///
    /// # Errors
    /// When an installed record is damaged.
    #[cfg(feature = "index")]
    pub(crate) fn embedders(&self) -> Result<Embedders, Error> {
        Embedders::installed(&self.home, &self.embedder_options(), &self.terminal)
    }
}

/// Spells the path out: a collection remembers where its documents lie, also inside the home, and must
/// find them when the next command runs in another folder.
fn from_anywhere(home: PathBuf) -> PathBuf {
    std::path::absolute(&home).unwrap_or(home)
}

/// What the environment says. A flag with a default from there would stand in every usage line, as if it were needed.
fn named_home() -> Option<PathBuf> {
    env::var_os("LOCALML_HOME").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A folder `localml-home` beside the executable (a courier's stick), else the user's data folder.
fn default_home() -> PathBuf {
    if let Some(beside) = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("localml-home")))
        && beside.is_dir()
    {
        return beside;
    }
    if let Some(data) = env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        return PathBuf::from(data).join("localml");
    }
    env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(".local/share/localml")
}
