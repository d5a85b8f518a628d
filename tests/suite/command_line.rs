//! The command line as a whole: help, exit codes, JSON, the empty home.

use crate::support::sandbox::Sandbox;

#[test]
fn every_command_has_help_with_an_example() {
    let sandbox = Sandbox::new();
    let help = sandbox.ok("home", &["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 15, "{help}");
    for command in commands {
        let help = sandbox.ok("home", &[command, "--help"]);
        assert!(
            help.contains("Example") && help.contains("localml"),
            "`{command}` shows no example:\n{help}"
        );
    }
}

#[test]
fn a_command_that_does_not_exist_ends_with_2() {
    Sandbox::new().run("home", &["instal"]).failed_with(2);
}

#[test]
fn an_empty_home_lists_nothing_and_says_what_comes_next() {
    let sandbox = Sandbox::new();
    let text = sandbox.ok("home", &["list"]);
    assert!(text.contains("nothing is installed") && text.contains("localml import DIR"), "{text}");
    let (code, value) = sandbox.json("home", &["list"]);
    assert_eq!((code, value["packages"].as_array().unwrap().len()), (Some(0), 0));
    assert!(!sandbox.path("home").exists(), "looking must not make a home");
}

#[test]
fn a_home_that_was_named_from_here_is_the_same_from_elsewhere() {
    let sandbox = Sandbox::new();
    let output = sandbox.command("home").env("LOCALML_HOME", "near").arg("--json").output().unwrap();
    let overview: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let home = std::path::Path::new(overview["home"].as_str().unwrap());
    assert!(home.is_absolute() && home.ends_with("near"), "{}", home.display());
}

#[test]
fn an_absent_package_ends_with_3_and_a_hint_also_as_json() {
    let sandbox = Sandbox::new();
    for verb in ["path", "verify", "remove"] {
        let said = sandbox.run("home", &[verb, "nobody-has-this"]).failed_with(3);
        assert!(said.contains("`nobody-has-this` is not installed") && said.contains("hint: "), "{said}");
    }
    let (code, value) = sandbox.json("home", &["path", "nobody-has-this"]);
    assert_eq!((code, value["error"]["exit_code"].as_u64()), (Some(3), Some(3)));
}

#[test]
fn completions_are_made_for_each_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.ok("home", &["completions", shell]).contains("localml"));
    }
    assert!(sandbox.ok("home", &["completions", "--man"]).contains(".TH localml"));
}
