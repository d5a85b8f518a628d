//! localml itself on a stick: a PC that has nothing gets it by a script, and hears what that does not prove.

use std::fs;
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

    let run = start(&sandbox, &["new pc/localml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let fingerprint = publisher.fingerprint();
    for said in
        ["LOCALML: OK", "does NOT prove who made them", "BY TELEPHONE", "registry ngo", &fingerprint[..4]]
    {
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
    let run = start(&sandbox, &["--here"]);
    assert!(run.code == Some(0) && run.stdout.contains("next: "), "{run:?}");
    assert!(folder(&sandbox).join("localml-home").is_dir());
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
    let said = sandbox.ok("stranger", &["stick", "verify", "stick"]);
    assert!(
        said.contains("UNKNOWN BIN/") && said.contains("no registry known here signed these bytes"),
        "{said}"
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
    assert_eq!(start(&sandbox, &["pc"]).code, Some(0), "sums prove nothing");
    let said = sandbox.ok("site", &["stick", "verify", "stick"]);
    assert!(said.contains("UNKNOWN BIN/"), "{said}");
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
    let run = start(&sandbox, &["pc"]);
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
