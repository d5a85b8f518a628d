//! `ask` by the real program: quotes, the model's words, checks, and "not in your documents".

use crate::support::sandbox::Sandbox;
use crate::support::tiny_gguf::{CHATML, tiny_llama};

const WATER: &str = "# Clean water\n\nBoil drinking water for one minute. Let it cool in a covered pot.\n";
const POWER: &str = "# Solar power\n\nA panel of fifty watts charges a phone in two hours of full sun.\n";

fn sandbox_with_documents() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("notes/water.md", WATER);
    sandbox.write("notes/power.md", POWER);
    sandbox.ok("home", &["index", "add", "notes"]);
    sandbox
}

fn adopt_tiny(sandbox: &Sandbox, template: Option<&str>) {
    tiny_llama(4096, template).write(&sandbox.path("tiny.gguf"));
    sandbox.ok("home", &["adopt", "tiny.gguf", "--name", "tiny", "--kind", "chat-model"]);
}

#[test]
fn without_a_chat_model_it_quotes_and_names_one_that_fits() {
    let sandbox = sandbox_with_documents();
    let said = sandbox.ok("home", &["ask", "how long must I boil drinking water?"]);
    assert!(said.starts_with("[1] “Boil drinking water for one minute."), "{said}");
    assert!(said.contains("water.md, line"), "{said}");
    assert!(said.contains("no chat model is installed") && said.contains("would fit this PC"), "{said}");
    let (code, report) = sandbox.json("home", &["ask", "how long must I boil drinking water?"]);
    assert_eq!((code, report["confidence"].as_str()), (Some(0), Some("likely")), "{report}");
    assert!(report["suggestion"]["name"].is_string(), "{report}");
}

#[test]
fn what_the_documents_do_not_say_is_not_answered() {
    let sandbox = sandbox_with_documents();
    adopt_tiny(&sandbox, Some(CHATML));
    for question in ["who painted the ceiling of the chapel?", "zyxgth qwrtz"] {
        let (code, report) = sandbox.json("home", &["ask", question]);
        assert_eq!((code, report["confidence"].as_str()), (Some(0), Some("not_in_documents")), "{report}");
        assert!(report["answer"].is_null(), "a model was asked: {report}");
        assert!(sandbox.ok("home", &["ask", question]).starts_with("not in your documents"));
    }
}

#[test]
fn quotes_come_first_then_the_models_words_then_the_checks() {
    let sandbox = sandbox_with_documents();
    adopt_tiny(&sandbox, Some(CHATML));
    let args = ["ask", "how long must I boil drinking water?", "--max-tokens", "12", "--threads", "1"];
    let said = sandbox.ok("home", &args);
    let quote = said.find("[1] “Boil drinking water").unwrap();
    let words = said.find("tiny says:").unwrap();
    // This model has random weights, and so cites nothing.
    let checks = said.find("the model named no source").unwrap();
    assert!(quote < words && words < checks, "{said}");
    let (_, report) = sandbox.json("home", &args);
    assert_eq!(report["answer"]["new_tokens"].as_u64(), Some(12), "{report}");
    assert!(report["answer"]["num_sources"].as_u64() >= Some(1), "{report}");
}

#[test]
fn a_model_without_a_template_is_asked_only_by_name() {
    let sandbox = sandbox_with_documents();
    adopt_tiny(&sandbox, None);
    let question = "how long must I boil drinking water?";
    let (_, report) = sandbox.json("home", &["ask", question]);
    assert!(report["answer"].is_null(), "{report}");
    assert!(report["notes"].to_string().contains("no chat template"), "{report}");
    let args = ["ask", question, "--model", "tiny", "--max-tokens", "8", "--threads", "1"];
    let (_, report) = sandbox.json("home", &args);
    assert_eq!(report["answer"]["model"].as_str(), Some("tiny"), "{report}");
}

#[test]
fn a_question_that_leaves_no_room_for_sources_is_put_to_no_model() {
    let sandbox = sandbox_with_documents();
    adopt_tiny(&sandbox, Some(CHATML));
    let question = "boil drinking water ".repeat(150);
    let (code, report) = sandbox.json("home", &["ask", &question, "--max-tokens", "8", "--threads", "1"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report["answer"].is_null(), "{report}");
    assert!(report["notes"].to_string().contains("no room for sources"), "{report}");
}

#[test]
fn escape_sequences_of_a_document_do_not_reach_the_terminal() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "notes/water.md",
        "# Clean \u{1b}[2Jwater\n\nBoil \u{1b}]0;evil\u{7}drinking water for one minute.\n",
    );
    sandbox.ok("home", &["index", "add", "notes"]);
    for command in [["ask", "boil drinking water"], ["find", "boil drinking water"]] {
        let said = sandbox.ok("home", &[command[0], command[1], "--color", "always"]);
        assert!(said.contains("drinking water"), "{said}");
        assert!(
            !said.contains("\u{1b}[2J") && !said.contains("\u{1b}]0") && !said.contains('\u{7}'),
            "{said:?}"
        );
    }
}

#[test]
fn a_home_without_documents_says_how_to_index_some() {
    let said = Sandbox::new().run("home", &["ask", "anything?"]).failed_with(3);
    assert!(said.contains("localml index add"), "{said}");
}
