//! The real program in a folder of its own, with nothing of this machine's environment but the PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::skipped::skip;

/// A temporary folder with homes and sticks in it; removed when dropped.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A path inside the sandbox; nothing is made.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file and its folders; returns its path.
    pub(crate) fn write(&self, relative: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The program with the home `<sandbox>/<home>`, ready for more arguments.
    pub(crate) fn command(&self, home: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_localml"));
        command.env_clear();
        for kept in ["PATH", "LOCALML_ONNXRUNTIME", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOME", self.path("nobody"))
            .env("LOCALML_HOME", self.path(home))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end in the home `<sandbox>/<home>`.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, home: &str, args: &[S]) -> Run {
        Run::from(self.command(home).args(args).output().unwrap())
    }

    /// Runs the program, which must end well; returns its stdout.
    pub(crate) fn ok<S: AsRef<std::ffi::OsStr>>(&self, home: &str, args: &[S]) -> String {
        let run = self.run(home, args);
        assert_eq!(run.code, Some(0), "stdout: {}\nstderr: {}", run.stdout, run.stderr);
        run.stdout
    }

    /// Runs the program with `--json`; returns the exit code and the one value on stdout.
    pub(crate) fn json<S: AsRef<std::ffi::OsStr>>(&self, home: &str, args: &[S]) -> (Option<i32>, Value) {
        let run = Run::from(self.command(home).arg("--json").args(args).output().unwrap());
        let value = serde_json::from_str(&run.stdout);
        (
            run.code,
            value.unwrap_or_else(|error| panic!("{error}\nstdout: {}\nstderr: {}", run.stdout, run.stderr)),
        )
    }
}

impl Run {
    /// Asserts the exit code, and returns what was said on stderr.
    pub(crate) fn failed_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The folder of real data beside the project, when it is there; says aloud what is skipped when not.
pub(crate) fn shared_data(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(relative);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{}: it is not there", path.display()));
    None
}
