//! `START.SH` and `START.BAT`: how a PC that has nothing yet gets localml from a stick.

use crate::digest::Sha256;

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
    let line =
        |deed: &str, file: &ProgramFile| format!("{deed} '{}' '{}'\n", stick_name(&file.path), file.path);
    let looks = program.files.iter().filter(|file| file.path != executable.path);
    let looks: String = looks.map(|file| line("    look", file)).collect();
    let places: String = program.files.iter().map(|file| line("place", file)).collect();
    SHELL
        .replace("@TITLE@", &program.title)
        .replace("@SUMS@", &sums(program))
        .replace("@WARNING@", &said(&SHELL_WARNING.replace("@RUNS@", &signed(program)), echo))
        .replace("@LOOKS@", &looks)
        .replace("@PLACES@", &places)
        .replace("@STICK_NAME@", &stick_name(&executable.path))
        .replace("@NAME@", executable.path.as_str())
}

fn batch(program: &Program) -> String {
    let executable = executable(program);
    let each = |line: &dyn Fn(&ProgramFile) -> String| -> String { program.files.iter().map(line).collect() };
    let windows = |path: &str| path.replace('/', "\\");
    let mut checks =
        each(&|file| format!("call :check \"{}\" {}\n", windows(&stick_name(&file.path)), file.sha256));
    checks += &format!("call :check \"SHA256SUMS\" {}\n", Sha256::of(sums(program).as_bytes()));
    let places = each(&|file| {
        let (from, to) = (windows(&stick_name(&file.path)), windows(file.path.as_str()));
        format!("call :place \"{from}\" \"{to}\"\n")
    });
    BATCH
        .replace("@TITLE@", &program.title)
        .replace("@CHECKS@", &checks)
        .replace(
            "@WARNING@",
            &said(&BATCH_WARNING.replace("@RUNS@", &signed(program)), |line| format!("echo.{line}\n")),
        )
        .replace("@PLACES@", &places)
        .replace("@NAME@", &windows(executable.path.as_str()))
}

fn echo(line: &str) -> String {
    format!("echo \"{line}\"\n")
}

/// Lines that are spoken one by one; only plain characters stand in them.
fn said(text: &str, line: impl Fn(&str) -> String) -> String {
    text.lines().map(line).collect()
}

/// What else is to be compared, where a registry signed the program. What that registry is called is each
/// machine's own business, and does not stand in the script: anyone can make the same script again.
fn signed(program: &Program) -> String {
    let Some(Signer { fingerprint }) = &program.signer else { return String::new() };
    let groups: String = fingerprint.lines().map(|group| format!("    {}\n", group.trim())).collect();
    format!(
        "When localml runs here, it asks whether to trust a registry.\n\
         Ask the publisher for its fingerprint too, and compare:\n{groups}"
    )
}

/// The file called localml, else the first one.
fn executable(program: &Program) -> &ProgramFile {
    let is_itself = |file: &&ProgramFile| matches!(file.path.as_str(), "localml" | "localml.exe");
    program.files.iter().find(is_itself).unwrap_or(&program.files[0])
}

const SHELL_WARNING: &str = "
The sums are right: the files are as they were written to this stick.
That alone does NOT prove who made them: a forger can write the sums as well, and this script.
Before the first run, ask the publisher BY TELEPHONE for the sum of SHA256SUMS,
on a number that you did not get with this stick, and compare every digit.
Type the commands yourself, because a forged script can print anything:

    cd '$here'
    $sum -c SHA256SUMS
    $sum SHA256SUMS

The first must say OK of every file; the second prints the sum, which is now:
    $digest
@RUNS@";

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
    sum=sha256sum
elif command -v shasum >/dev/null 2>&1; then
    sum="shasum -a 256"
else
    fail "this PC has neither sha256sum nor shasum, so nothing can be checked" "install one of them" 1
fi
sums="\
@SUMS@"
printf %s "$sums" | $sum -c - ||
    fail "a file differs from its sum" "use another copy of the stick, or export to it again" 4
printf %s "$sums" | cmp -s - SHA256SUMS ||
    fail "SHA256SUMS is not the list of these files" "use another copy of the stick, or export to it again" 4
digest=$($sum <SHA256SUMS) || exit 1
digest=${digest%% *}
look() {
    [ -f "./$2" ] || fail "localml cannot run from this stick: it would look for $2, and finds only $1" \
        "leave --here out to copy it to this PC" 1
}
if [ "$1" = --here ]; then
    [ -x "./@STICK_NAME@" ] || fail "programs cannot run from this stick" "leave --here out to copy it to this PC" 1
@LOOKS@fi
@WARNING@
[ -t 0 ] ||
    fail "nobody at a terminal can say that the sum is right, so nothing is copied or run" \
        "run this script in a terminal" 7
printf "Type yes when the publisher's sum has the same digits: "
read -r answer
[ "$answer" = yes ] || fail "not compared, so nothing is copied or run" "telephone the publisher first" 7

if [ "$1" = --here ]; then
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
    mkdir -p "$(dirname "$to/$2")" && cp "./$1" "$to/$2" && cmp -s "./$1" "$to/$2" ||
        fail "could not copy $2 to $to" "is there room, and may you write there? Name another folder" 6
}
@PLACES@chmod +x "$to/@NAME@"
"$to/@NAME@" --version || fail "the program does not run on this PC" "is it for another kind of PC?" 1
echo "next: \"$to/@NAME@\" import \"$stick\""
"#;

const BATCH_WARNING: &str = "
The sums are right: the files are as they were written to this stick.
That alone does NOT prove who made them: a forger can write the sums as well, and this script.
Before the first run, ask the publisher BY TELEPHONE for the sum of SHA256SUMS,
on a number that you did not get with this stick, and compare every digit.
Type the commands yourself, because a forged script can print anything:

    cd /d \"%here%\"
    type SHA256SUMS
    certutil -hashfile SHA256SUMS SHA256

and certutil in the same way for each file of that list.
The sum of SHA256SUMS is now:
@RUNS@";

const BATCH: &str = r#"@echo off
rem Checks the localml on this stick, and copies it to this PC: START.BAT [FOLDER]
setlocal
cd /d "%~dp0"
set "here=%~dp0"
echo @TITLE@
@CHECKS@@WARNING@certutil -hashfile SHA256SUMS SHA256
set "answer="
set /p "answer=Type yes when the publisher's sum has the same digits: " <con
if not "%answer%"=="yes" echo error: not compared, so nothing is copied or run
if not "%answer%"=="yes" echo hint: telephone the publisher first
if not "%answer%"=="yes" exit /b 7
set "to=%~1"
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

    fn program(target: &str, names: &[&str]) -> Program {
        let file = |name: &&str| ProgramFile {
            path: name.parse().unwrap(),
            source: "x".into(),
            size_bytes: 3,
            sha256: Sha256::of(b"abc"),
        };
        let signer = Signer { fingerprint: "  aaaa\n  bbbb".into() };
        let files = names.iter().map(file).collect();
        Program { target: target.into(), title: "localml 1.0.0".into(), signer: Some(signer), files }
    }

    #[test]
    fn every_name_is_given_back_and_nothing_is_left_to_fill_in() {
        let (name, text) = script(&program("x86_64-unknown-linux-gnu", &["lib/libc++.so.1", "localml"]));
        assert_eq!(name, "START.SH");
        assert!(
            text.contains("place 'LIB/LIBC__.SO.1' 'lib/libc++.so.1'\nplace 'LOCALML' 'localml'\n"),
            "{text}"
        );
        assert!(!text.contains("@") && !text.contains('\r'), "{text}");
        assert!(text.contains("echo \"    aaaa\"\necho \"    bbbb\"") && text.contains("BY TELEPHONE"));
    }

    #[test]
    fn windows_gets_its_own_script() {
        let (name, text) = script(&program("x86_64-pc-windows-msvc", &["localml.exe", "lib/a.dll"]));
        assert_eq!(name, "START.BAT");
        assert!(text.contains("call :place \"LIB\\A.DLL\" \"lib\\a.dll\"\r\n"), "{text}");
        assert!(text.lines().count() == text.matches("\r\n").count() && !text.contains("@W"));
        let listed = Sha256::of(sums(&program("t", &["localml.exe", "lib/a.dll"])).as_bytes());
        assert!(text.contains(&format!("call :check \"SHA256SUMS\" {listed}\r\n")), "{text}");
    }

    #[test]
    fn sums_are_those_that_sha256sum_reads() {
        let expected = format!("{}  LOCALML\n", Sha256::of(b"abc"));
        assert_eq!(sums(&program("t", &["localml"])), expected);
    }
}
