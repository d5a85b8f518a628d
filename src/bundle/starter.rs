//! `START.SH` and `START.BAT`: how a PC that has nothing yet gets localml from a stick.

use super::runtime::{Program, ProgramFile, Signer, stick_name};

/// The script's name and its text, for the platform that the program is for.
pub(super) fn script(program: &Program) -> (&'static str, String) {
    match program.target.contains("windows") {
        true => ("START.BAT", batch(program).replace('\n', "\r\n")),
        false => ("START.SH", shell(program)),
    }
}

/// What `sha256sum -c` reads.
pub(super) fn sums(program: &Program) -> String {
    program.files.iter().map(|file| format!("{}  {}\n", file.sha256, stick_name(&file.path))).collect()
}

fn shell(program: &Program) -> String {
    let executable = executable(program);
    let places: String = program
        .files
        .iter()
        .map(|file| format!("place {} {}\n", stick_name(&file.path), file.path))
        .collect();
    SHELL
        .replace("@TITLE@", &program.title)
        .replace("@WARNING@", &said(program, |line| format!("echo \"{line}\"\n")))
        .replace("@PLACES@", &places)
        .replace("@STICK_NAME@", &stick_name(&executable.path))
        .replace("@NAME@", executable.path.as_str())
}

fn batch(program: &Program) -> String {
    let executable = executable(program);
    let each = |line: &dyn Fn(&ProgramFile) -> String| -> String { program.files.iter().map(line).collect() };
    let windows = |path: &str| path.replace('/', "\\");
    let checks =
        each(&|file| format!("call :check \"{}\" {}\n", windows(&stick_name(&file.path)), file.sha256));
    let places = each(&|file| {
        let (from, to) = (windows(&stick_name(&file.path)), windows(file.path.as_str()));
        format!("call :place \"{from}\" \"{to}\"\n")
    });
    BATCH
        .replace("@TITLE@", &program.title)
        .replace("@CHECKS@", &checks)
        .replace("@WARNING@", &said(program, |line| format!("echo.{line}\n")))
        .replace("@PLACES@", &places)
        .replace("@NAME@", &windows(executable.path.as_str()))
}

/// The words that must be heard before the program runs, a line each; only plain characters stand in them.
fn said(program: &Program, line: impl Fn(&str) -> String) -> String {
    let executable = executable(program);
    let mut lines: Vec<String> = WARNING.lines().map(str::to_owned).collect();
    lines.push(format!("    {}", executable.sha256));
    if let Some(Signer { registry, fingerprint }) = &program.signer {
        lines.push(format!("When localml runs here, it asks whether to trust the registry {registry}."));
        lines.push("Ask the publisher for its fingerprint too, and compare:".to_owned());
        lines.extend(fingerprint.lines().map(|group| format!("    {}", group.trim())));
    }
    lines.push(String::new());
    lines.iter().map(|text| line(text)).collect()
}

/// The file called localml, else the first one.
fn executable(program: &Program) -> &ProgramFile {
    let is_itself = |file: &&ProgramFile| matches!(file.path.as_str(), "localml" | "localml.exe");
    program.files.iter().find(is_itself).unwrap_or(&program.files[0])
}

const WARNING: &str = "
The sums are right: the files are as they were written to this stick.
That alone does NOT prove who made them: a forger can write a sum as well.
Before the first run, ask the publisher BY TELEPHONE for the sha256 of the program,
on a number that you did not get with this stick, and compare every digit:";

const SHELL: &str = r#"#!/bin/sh
# Checks the localml on this stick, and copies it to this PC.
#
#     sh START.SH [FOLDER]    copies it to FOLDER; without one, to localml in your own folder
#     sh START.SH --here      runs it from the stick; what it keeps lies beside it, in localml-home
PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
export PATH

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit "$3"
}

from=$(pwd)
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$here" || exit 1
stick=$(cd ../../.. && pwd)

echo "@TITLE@"
if command -v sha256sum >/dev/null 2>&1; then
    sha256sum -c SHA256SUMS
elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 -c SHA256SUMS
else
    fail "this PC has neither sha256sum nor shasum, so nothing can be checked" "install one of them" 1
fi || fail "a file differs from its sum" "use another copy of the stick, or export to it again" 4
@WARNING@
if [ "$1" = --here ]; then
    [ -x "@STICK_NAME@" ] || fail "programs cannot run from this stick" "leave --here out to copy it to this PC" 1
    mkdir -p localml-home || exit 1
    echo "next: \"$here/@STICK_NAME@\" import \"$stick\""
    exec "./@STICK_NAME@" --version
fi

to="${1:-${HOME:-$from}/localml}"
case "$to" in
    /*) ;;
    *) to="$from/$to" ;;
esac
place() {
    mkdir -p "$(dirname "$to/$2")" && cp "$1" "$to/$2" && cmp -s "$1" "$to/$2" ||
        fail "could not copy $2 to $to" "is there room, and may you write there? Name another folder" 6
}
@PLACES@chmod +x "$to/@NAME@"
"$to/@NAME@" --version || fail "the program does not run on this PC" "is it for another kind of PC?" 1
echo "next: \"$to/@NAME@\" import \"$stick\""
"#;

const BATCH: &str = r#"@echo off
rem Checks the localml on this stick, and copies it to this PC: START.BAT [FOLDER]
setlocal
cd /d "%~dp0"
echo @TITLE@
@CHECKS@@WARNING@set "to=%~1"
if "%to%"=="" set "to=%USERPROFILE%\localml"
@PLACES@"%to%\@NAME@" --version || exit /b 1
echo next: "%to%\@NAME@" import "%~d0\"
exit /b 0

:check
certutil -hashfile %1 SHA256 | findstr /i /c:"%2" >nul && (echo %~1: OK) && exit /b 0
echo error: %~1 differs from its sum
echo hint: use another copy of the stick, or export to it again
exit 4

:place
for %%F in ("%to%\%~2") do if not exist "%%~dpF" mkdir "%%~dpF"
copy /b /y %1 "%to%\%~2" >nul && exit /b 0
echo error: could not copy %~2
exit 6
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn program(target: &str, names: &[&str]) -> Program {
        let file = |name: &&str| ProgramFile {
            path: name.parse().unwrap(),
            source: "x".into(),
            size_bytes: 3,
            sha256: Sha256::of(b"abc"),
        };
        let signer = Signer { registry: "ngo".into(), fingerprint: "  aaaa\n  bbbb".into() };
        let files = names.iter().map(file).collect();
        Program { target: target.into(), title: "localml 1.0.0".into(), signer: Some(signer), files }
    }

    #[test]
    fn every_name_is_given_back_and_nothing_is_left_to_fill_in() {
        let (name, text) = script(&program("x86_64-unknown-linux-gnu", &["lib/libc++.so.1", "localml"]));
        assert_eq!(name, "START.SH");
        assert!(text.contains("place LIB/LIBC__.SO.1 lib/libc++.so.1\nplace LOCALML localml\n"), "{text}");
        assert!(!text.contains("@TITLE@") && !text.contains("@NAME@") && !text.contains('\r'));
        assert!(text.contains("echo \"    aaaa\"\necho \"    bbbb\"") && text.contains("BY TELEPHONE"));
    }

    #[test]
    fn windows_gets_its_own_script() {
        let (name, text) = script(&program("x86_64-pc-windows-msvc", &["localml.exe", "lib/a.dll"]));
        assert_eq!(name, "START.BAT");
        assert!(text.contains("call :place \"LIB\\A.DLL\" \"lib\\a.dll\"\r\n"), "{text}");
        assert!(text.lines().count() == text.matches("\r\n").count() && !text.contains("@W"));
    }

    #[test]
    fn sums_are_those_that_sha256sum_reads() {
        let expected = format!("{}  LOCALML\n", Sha256::of(b"abc"));
        assert_eq!(sums(&program("t", &["localml"])), expected);
    }
}
