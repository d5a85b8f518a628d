//! Collections that may only be read, may not be read, or were never finished.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::sandbox::{Run, Sandbox};
use crate::support::skipped::skip;

fn indexed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("docs/water.md", "Boil water for one minute.\n");
    sandbox.ok("home", &["index", "add", "docs", "--words-only"]);
    sandbox
}

/// Runs the program by another one, which gets its path and its arguments at the end of `through`.
fn run_through(sandbox: &Sandbox, through: &[&str], args: &[&str]) -> Run {
    let inner = sandbox.command("home");
    let mut outer = Command::new(through[0]);
    outer.args(&through[1..]).arg(inner.get_program()).args(args).env_clear().stdin(Stdio::null());
    outer.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Run::from(outer.current_dir(sandbox.path("")).output().unwrap())
}

fn can(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_home_on_a_disk_that_takes_no_writes_can_be_searched() {
    let sandbox = indexed();
    let home = sandbox.path("home");
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let through = ["unshare", "--mount", "sh", "-c", mount, home.to_str().unwrap()];
    if !can(&[&through[..], &["true"]].concat()) {
        skip("a home that is mounted read-only: this machine lets nobody mount one");
        return;
    }
    let touched = run_through(&sandbox, &through, &["index", "remove", "docs"]);
    assert_ne!(touched.code, Some(0), "nothing can be written: {touched:?}");
    let run = run_through(&sandbox, &through, &["find", "boil", "water"]);
    assert!(run.code == Some(0) && run.stdout.contains("docs: water.md, line 1"), "{run:?}");
    let run = run_through(&sandbox, &through, &["index", "status"]);
    assert!(run.code == Some(0) && run.stdout.contains("1 passages"), "{run:?}");
}

#[test]
fn collections_that_may_not_be_read_are_not_taken_for_none() {
    let sandbox = indexed();
    for (folder, mode) in [("", 0o755), ("home", 0o755), ("home/collections", 0o700)] {
        fs::set_permissions(sandbox.path(folder), PermissionsExt::from_mode(mode)).unwrap();
    }
    let program = sandbox.command("home").get_program().to_str().unwrap().to_owned();
    let through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !can(&[&through[..], &[&program, "--version"]].concat()) {
        skip("a home of another user: this machine lets nobody become one");
        return;
    }
    for args in [&["find", "boil"][..], &["index", "list"], &["index", "status"]] {
        let said = run_through(&sandbox, &through, args).failed_with(1);
        assert!(said.contains("home/collections`: Permission denied"), "{said}");
        assert!(said.contains("hint: check who owns it"), "{said}");
    }
    // Where only one collection is closed, its name is known.
    fs::set_permissions(sandbox.path("home/collections"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(sandbox.path("home/collections/docs"), PermissionsExt::from_mode(0o700)).unwrap();
    let said = run_through(&sandbox, &through, &["find", "boil"]).failed_with(1);
    assert!(said.contains("docs/collection.json`: Permission denied"), "{said}");
}

#[test]
fn what_a_first_indexing_left_that_was_cut_off_at_the_start_is_listed_and_removed() {
    let sandbox = Sandbox::new();
    sandbox.write("home/collections/lib/passages-000001.lmp.part", b"text");
    sandbox.write("home/collections/lib/words/meta.json", b"{");
    let said = sandbox.ok("home", &["index", "list"]);
    assert!(said.contains("cut off at the start; `localml index remove lib` removes what is left"), "{said}");
    sandbox.run("home", &["index", "remove", "other"]).failed_with(3);
    sandbox.ok("home", &["index", "remove", "lib"]);
    assert!(!sandbox.path("home/collections/lib").exists());
    for name in ["..", ".", "lib/../.."] {
        sandbox.run("home", &["index", "remove", name]).failed_with(3);
    }
}

#[test]
fn a_first_indexing_that_was_cut_off_is_not_finished_and_goes_on() {
    let sandbox = indexed();
    // As it is before the first list of files and the head are written.
    for entry in fs::read_dir(sandbox.path("home/collections/docs")).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if name == "head.json" || name.starts_with("files-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let said = sandbox.run("home", &["find", "boil"]).failed_with(1);
    assert!(said.contains("the collection `docs` is not finished: its indexing was cut off"), "{said}");
    assert!(said.contains("`localml index refresh docs` goes on with it"), "{said}");
    sandbox.ok("home", &["index", "refresh", "docs", "--words-only"]);
    assert!(sandbox.ok("home", &["find", "boil"]).contains("docs: water.md, line 1"));
}
