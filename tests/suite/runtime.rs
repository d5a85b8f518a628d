//! localml itself on a stick: a PC that has nothing gets it by a script, and hears what that does not prove.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::publisher::Publisher;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::stick::{files_in, flip};

/// The kind of PC that this is.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn manifest(target: &str, version: &str, executable: &str) -> String {
    format!(
        "[package]\nname = \"localml-runtime\"\nversion = \"{version}\"\nkind = \"runtime\"\ntitle = \"localml itself\"\n\
         license = \"MIT\"\n[[variant]]\nid = \"portable\"\ntarget = \"{target}\"\n\
         [[variant.file]]\npath = \"localml\"\nfrom = \"{executable}\"\n\
         [[variant.file]]\npath = \"lib/libhelp+er.so.1\"\nfrom = \"helper\"\n"
    )
}

/// A registry `ngo` with this very program as a runtime, and a book; the cafe has fetched both.
fn cafe(sandbox: &Sandbox) -> Publisher<'_> {
    let publisher = Publisher::new(sandbox, "ngo");
    sandbox.write("publisher/ngo/files/helper", "a library");
    let executable = env!("CARGO_BIN_EXE_localml");
    publisher.add_manifest("localml-runtime", "1.0.0", &manifest(&target(), "1.0.0", executable), &[]);
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "localml-runtime", "book"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    publisher
}

fn folder(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("stick/LOCALML/BIN").join(target().to_ascii_uppercase())
}

/// Runs a script of the stick as on a PC of which nothing is known: no PATH, no HOME, no folder of its own.
fn start(sandbox: &Sandbox, args: &[&str]) -> Run {
    let mut command = Command::new("/bin/sh");
    command.env_clear().current_dir(sandbox.path("")).stdin(Stdio::null());
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Run::from(command.arg(folder(sandbox).join("START.SH")).args(args).output().unwrap())
}

/// Runs the script at a terminal where somebody types `answer`; both streams come on stdout.
fn start_and_type(sandbox: &Sandbox, args: &[&str], answer: &str) -> Run {
    let quoted = |word: &str| format!("'{word}'");
    let mut words = vec!["/bin/sh".to_owned(), quoted(folder(sandbox).join("START.SH").to_str().unwrap())];
    words.extend(args.iter().map(|arg| quoted(arg)));
    let mut command = Command::new("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]);
    command.env_clear().current_dir(sandbox.path("")).stdin(Stdio::piped());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
    let mut run = Run::from(child.wait_with_output().unwrap());
    run.stdout = run.stdout.replace('\r', "");
    run
}

fn sum(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    Run::from(child.wait_with_output().unwrap()).stdout[..64].to_owned()
}

fn written_bytes(stick: &Path) -> u64 {
    files_in(stick).iter().map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn a_pc_that_has_nothing_gets_localml_from_the_stick() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let export = ["--offline", "export", "stick", "book", "--runtime"];
    let (code, plan) = sandbox.json("cafe", &[&export[..], &["--plan"]].concat());
    assert_eq!((code, fs::read_dir(sandbox.path("stick")).unwrap().count()), (Some(0), 0), "{plan}");
    let (code, report) = sandbox.json("cafe", &export);
    assert_eq!((code, &report["size_bytes"]), (Some(0), &plan["size_bytes"]), "{report}");
    assert_eq!(Some(written_bytes(&sandbox.path("stick"))), plan["size_bytes"].as_u64(), "{plan}");
    assert!(folder(&sandbox).join("LIB/LIBHELP_ER.SO.1").is_file());

    let run = start_and_type(&sandbox, &["new pc/localml"], "yes");
    assert_eq!(run.code, Some(0), "{run:?}");
    let fingerprint = publisher.fingerprint();
    let sums = sum(&fs::read(folder(&sandbox).join("SHA256SUMS")).unwrap());
    let said_words =
        ["LOCALML: OK", "does NOT prove who made them", "BY TELEPHONE", &fingerprint[..4], &sums];
    for said in said_words {
        assert!(run.stdout.contains(said), "{said}\n{}", run.stdout);
    }
    let copy = sandbox.path("new pc/localml/localml");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(env!("CARGO_BIN_EXE_localml")).unwrap());
    assert_eq!(fs::read(sandbox.path("new pc/localml/lib/libhelp+er.so.1")).unwrap(), b"a library");

    // The next command is the one that the script names, and it works with the copy alone.
    let folder = sandbox.path("").canonicalize().unwrap();
    let (program, stick) = (folder.join("new pc/localml/localml"), folder.join("stick"));
    let next = format!("next: \"{}\" import \"{}\"", program.display(), stick.display());
    assert!(run.stdout.contains(&next), "{next}\n{}", run.stdout);
    let mut import = Command::new(&copy);
    import.env_clear().env("LOCALML_HOME", sandbox.path("site")).current_dir(sandbox.path(""));
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        import.env("LD_LIBRARY_PATH", libraries);
    }
    import.args(["--offline", "import", "stick", "--fingerprint", &fingerprint]);
    let imported = Run::from(import.output().unwrap());
    assert!(imported.code == Some(0) && imported.stdout.contains("installed  ngo/book"), "{imported:?}");
}

#[test]
fn from_the_stick_it_keeps_everything_beside_itself() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    let executable = folder(&sandbox).join("LOCALML");
    let not_here = start(&sandbox, &["--here"]);
    assert!(
        not_here.code == Some(1) && not_here.stderr.contains("programs cannot run from this stick"),
        "{not_here:?}"
    );
    // FAT knows no such mark: there every file can be run.
    fs::set_permissions(&executable, fs::Permissions::from_mode(0o755)).unwrap();
    // The program would look for a library by a name that no stick can hold.
    let not_here = start(&sandbox, &["--here"]);
    assert!(not_here.code == Some(1) && not_here.stderr.contains("lib/libhelp+er.so.1"), "{not_here:?}");
    fs::create_dir(folder(&sandbox).join("lib")).unwrap();
    fs::write(folder(&sandbox).join("lib/libhelp+er.so.1"), "a library").unwrap();
    let run = start_and_type(&sandbox, &["--here"], "yes");
    assert!(run.code == Some(0) && run.stdout.contains("next: "), "{run:?}");
    assert!(folder(&sandbox).join("localml-home").is_dir());
}

#[test]
fn nothing_is_copied_or_run_before_somebody_said_yes() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    let run = start(&sandbox, &["pc"]);
    assert!(run.code == Some(7) && run.stderr.contains("run this script in a terminal"), "{run:?}");
    let run = start_and_type(&sandbox, &["pc"], "y");
    assert!(run.code == Some(7) && run.stdout.contains("telephone the publisher first"), "{run:?}");
    assert!(!sandbox.path("pc").exists());
}

#[test]
fn the_sum_that_is_read_out_is_that_of_the_lying_files() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    // A forger changes a library and its sum; the script still has the sums of the publisher.
    let (library, sums) = (folder(&sandbox).join("LIB/LIBHELP_ER.SO.1"), folder(&sandbox).join("SHA256SUMS"));
    fs::write(&library, "a trap").unwrap();
    let forged = fs::read_to_string(&sums).unwrap().replace(&sum(b"a library"), &sum(b"a trap"));
    fs::write(&sums, &forged).unwrap();
    let run = start(&sandbox, &["pc"]);
    assert!(run.code == Some(4) && run.stderr.contains("a file differs from its sum"), "{run:?}");
    // He changes the script as well: then the sum is not the publisher's any more.
    let script = folder(&sandbox).join("START.SH");
    let text = fs::read_to_string(&script).unwrap().replace(&sum(b"a library"), &sum(b"a trap"));
    fs::write(&script, text).unwrap();
    let run = start(&sandbox, &["pc"]);
    assert!(run.code == Some(7) && run.stdout.contains(&sum(forged.as_bytes())), "{run:?}");
    assert!(run.stdout.contains("sha256sum SHA256SUMS"), "{run:?}");
}

/// Writes the record of the stick anew, so that it promises a file as it lies there now.
fn promise(sandbox: &Sandbox, name: &str) {
    let path = format!("BIN/{}/{name}", target().to_ascii_uppercase());
    let bytes = fs::read(sandbox.path("stick/LOCALML").join(&path)).unwrap();
    for slot in ["STICK.A", "STICK.B"] {
        let slot = sandbox.path("stick/LOCALML").join(slot);
        let text = fs::read_to_string(&slot).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("check "));
        let line = |line: &str| match line.ends_with(&path) {
            true => format!("file {} {} {path}\n", bytes.len(), sum(&bytes)),
            false => format!("{line}\n"),
        };
        let body: String = lines.map(line).collect();
        fs::write(&slot, format!("{body}check {}\n", sum(body.as_bytes()))).unwrap();
    }
}

#[test]
fn stick_verify_vouches_only_for_a_whole_folder() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let verify = || sandbox.run("site", &["stick", "verify", "stick"]);
    assert!(verify().stdout.contains(&sum(&fs::read(folder(&sandbox).join("SHA256SUMS")).unwrap())));
    // A file beside the record.
    let extra = folder(&sandbox).join("LIB/EXTRA.SO");
    fs::write(&extra, "a trap").unwrap();
    let run = verify();
    assert!(run.code == Some(7) && run.stdout.contains("LIB/EXTRA.SO` stands in no record"), "{run:?}");
    assert!(!run.stdout.contains("as the registry"), "{run:?}");
    fs::remove_file(extra).unwrap();
    // A forged script, for which the record was written anew.
    let script = folder(&sandbox).join("START.SH");
    let text = fs::read_to_string(&script).unwrap();
    fs::write(&script, text.replace("[ -t 0 ]", "true")).unwrap();
    promise(&sandbox, "START.SH");
    let run = verify();
    assert!(
        run.code == Some(7) && run.stdout.contains("START.SH` is not what this localml writes"),
        "{run:?}"
    );
    fs::write(&script, &text).unwrap();
    promise(&sandbox, "START.SH");
    assert_eq!(verify().code, Some(0));
    // A damaged file.
    flip(&folder(&sandbox).join("LIB/LIBHELP_ER.SO.1"), 3);
    let run = verify();
    assert!(run.code == Some(4) && !run.stdout.contains("as the registry"), "{run:?}");
}

#[test]
fn only_builds_that_are_published_and_not_taken_back_go_below_bin() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let executable = env!("CARGO_BIN_EXE_localml");
    // The older one is in use here, the newer one only kept.
    sandbox.ok("cafe", &["install", "localml-runtime"]);
    publisher.add_manifest("localml-runtime", "2.0.0", &manifest(&target(), "2.0.0", executable), &[]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "localml-runtime"]);
    // A kit that names the older version gets it, though the newer one is here too.
    let kit = "[package]\nname = \"first-kit\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"A kit\"\nlicense = \"MIT\"\n\
               members = [\"localml-runtime@1.0.0\", \"book\"]\n";
    publisher.add_manifest("first-kit", "1.0.0", kit, &[]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--kit", "first"]);
    assert!(fs::read_to_string(folder(&sandbox).join("START.SH")).unwrap().contains("localml-runtime 1.0.0"));
}

#[test]
fn a_damaged_build_stays_behind_by_name_and_the_packages_go() {
    let sandbox = Sandbox::new();
    cafe(&sandbox);
    let library = sandbox.path("cafe/blobs").join(sum(b"a library"));
    let library = match library.exists() {
        true => library,
        false => files_in(&sandbox.path("cafe/blobs"))
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str() == Some(sum(b"a library").as_str()))
            .unwrap(),
    };
    fs::set_permissions(&library, fs::Permissions::from_mode(0o644)).unwrap();
    flip(&library, 3);
    let run = sandbox.run("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    assert!(run.code == Some(8) && run.stderr.contains("stays behind"), "{run:?}");
    assert!(!folder(&sandbox).exists() && sandbox.path("stick/LOCALML/B").is_dir());
}

#[test]
fn a_changed_program_is_named_by_the_script_and_by_stick_verify() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    // A site that trusts the publisher hears that it is its own; a stranger, that nobody known says so.
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    let said = sandbox.ok("site", &["stick", "verify", "stick"]);
    assert!(said.contains("`localml-runtime` 1.0.0, as the registry `ngo` signed it"), "{said}");
    let said = sandbox.run("stranger", &["stick", "verify", "stick"]);
    assert!(
        said.code == Some(7) && said.stdout.contains("no registry known here signed these bytes"),
        "{said:?}"
    );

    flip(&folder(&sandbox).join("LIB/LIBHELP_ER.SO.1"), 3);
    let run = start(&sandbox, &["pc"]);
    assert!(run.code == Some(4) && run.stderr.contains("a file differs from its sum"), "{run:?}");
    assert!(!sandbox.path("pc").exists(), "nothing of it is copied");
    let said = sandbox.run("site", &["stick", "verify", "stick"]);
    assert!(said.code == Some(4) && said.stdout.contains("LIB/LIBHELP_ER.SO.1"), "{said:?}");

    // A forger writes the sums and the record anew; only the signature still tells.
    let forged = Publisher::new(&sandbox, "forger");
    sandbox.write("publisher/forger/files/helper", "a trap");
    let executable = env!("CARGO_BIN_EXE_localml");
    forged.add_manifest("localml-runtime", "1.0.0", &manifest(&target(), "1.0.0", executable), &[]);
    forged.publish();
    forged.introduce("thief", forged.registry().to_str().unwrap());
    sandbox.ok("thief", &["fetch", "localml-runtime"]);
    sandbox.ok("thief", &["--offline", "export", "stick", "--runtime"]);
    assert_eq!(start_and_type(&sandbox, &["pc"], "yes").code, Some(0), "sums prove nothing");
    let said = sandbox.run("site", &["stick", "verify", "stick"]);
    assert!(said.code == Some(7) && said.stdout.contains("UNKNOWN BIN/"), "{said:?}");
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    let again = sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    assert!(again.contains("already"), "{again}");
    let (_, plan) = sandbox.json("cafe", &["--offline", "export", "stick", "book", "--runtime", "--plan"]);
    assert_eq!(plan["size_bytes"], 0, "{plan}");

    let script = sandbox.write("publisher/ngo/files/small", "#!/bin/sh\necho localml 2\n");
    let newer = manifest(&target(), "2.0.0", script.to_str().unwrap())
        .replace("[[variant.file]]\npath = \"lib/libhelp+er.so.1\"\nfrom = \"helper\"\n", "");
    publisher.add_manifest("localml-runtime", "2.0.0", &newer, &[]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["fetch", "localml-runtime"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "book", "--runtime"]);
    assert!(!folder(&sandbox).join("LIB/LIBHELP_ER.SO.1").exists(), "what is no longer promised is gone");
    let run = start_and_type(&sandbox, &["pc"], "yes");
    assert!(run.code == Some(0) && run.stdout.contains("localml 2"), "{run:?}");
    publisher.introduce("site", publisher.registry().to_str().unwrap());
    assert!(sandbox.ok("site", &["stick", "verify", "stick"]).contains("`localml-runtime` 2.0.0"));
}

#[test]
fn without_a_runtime_here_the_command_that_brings_one_is_named() {
    let sandbox = Sandbox::new();
    let publisher = Publisher::new(&sandbox, "ngo");
    publisher.add("book", "1.0.0", &[("chapter.md", b"# A chapter\n")]);
    publisher.publish();
    publisher.introduce("cafe", publisher.registry().to_str().unwrap());
    sandbox.ok("cafe", &["fetch", "book"]);
    fs::create_dir(sandbox.path("stick")).unwrap();
    let said = sandbox.run("cafe", &["export", "stick", "--runtime"]).failed_with(3);
    assert!(
        said.contains("no build of localml itself is fetched here")
            && said.contains("localml search runtime")
    );
    assert_eq!(fs::read_dir(sandbox.path("stick")).unwrap().count(), 0);
}

#[test]
fn a_kit_brings_the_runtime_that_it_names() {
    let sandbox = Sandbox::new();
    let publisher = cafe(&sandbox);
    let kit = "[package]\nname = \"first-kit\"\nversion = \"1.0.0\"\nkind = \"kit\"\ntitle = \"A kit\"\nlicense = \"MIT\"\n\
               members = [\"localml-runtime\", \"book\"]\n";
    publisher.add_manifest("first-kit", "1.0.0", kit, &[]);
    publisher.publish();
    sandbox.ok("cafe", &["update"]);
    sandbox.ok("cafe", &["--offline", "export", "stick", "--kit", "first"]);
    assert!(folder(&sandbox).join("START.SH").is_file());
}
