//! The engine: real llama.cpp in a real child process, on tiny models made here and on stories260K.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use localml::engine::{
    Engine, EngineError, EngineOptions, Finish, Flow, GenerateRequest, Generated, Message, Prompt, Sampling,
};
use localml::progress::Silent;

use crate::support::sandbox::{Sandbox, shared_data};
use crate::support::tiny_gguf::{CHATML, tiny_bert, tiny_llama};

const STORY: &str = "Once upon a time, there was a little girl named Lily";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_localml"))
}

/// One thread: the models are tiny, and several tests share the cores.
fn options() -> EngineOptions {
    EngineOptions { threads: Some(1), ..EngineOptions::default() }
}

fn start(model: &Path) -> Result<Engine, EngineError> {
    Engine::start(program(), model, &options(), &Silent)
}

fn greedy(prompt: Prompt, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        prompt,
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: Some(max_tokens),
        stop: Vec::new(),
        thinks: false,
    }
}

fn say(engine: &mut Engine, request: &GenerateRequest) -> (String, Generated) {
    let mut text = String::new();
    let generated = engine.generate(request, &Silent, &mut |piece| {
        text.push_str(piece);
        Flow::Continue
    });
    (text, generated.unwrap())
}

fn user(content: &str) -> Message {
    Message { role: "user".into(), content: content.into() }
}

/// A home with the tiny llama adopted under the name `tiny`.
fn sandbox_with_tiny(context_tokens: u32, template: Option<&str>) -> Sandbox {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(context_tokens, template).write(&file);
    sandbox.ok("home", &["adopt", "tiny.gguf", "--name", "tiny", "--kind", "chat-model"]);
    sandbox
}

#[test]
fn tokens_are_streamed_and_greedy_says_the_same_again() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(256, None).write(&file);
    let mut engine = start(&file).unwrap();
    let request = greedy(Prompt::Raw("hello".into()), 24);
    let mut num_pieces = 0;
    let generated = engine.generate(&request, &Silent, &mut |_| {
        num_pieces += 1;
        Flow::Continue
    });
    assert_eq!(generated.unwrap().finish, Finish::Length);
    assert!(num_pieces > 1, "the text came in one piece");
    let (first, _) = say(&mut engine, &request);
    let (second, generated) = say(&mut engine, &request);
    assert_eq!(first, second);
    assert_eq!(first.chars().count(), 24, "every token of this model is one character: {first:?}");
    assert!(generated.reused_tokens + 1 == generated.prompt_tokens, "{generated:?}");
    let (afresh, _) = say(&mut start(&file).unwrap(), &request);
    assert_eq!(first, afresh, "reused keys and values give the same text as new ones");
}

#[test]
fn a_seed_says_the_same_again_and_another_seed_something_else() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(256, None).write(&file);
    let mut engine = start(&file).unwrap();
    let mut with_seed = |seed| {
        let mut request = greedy(Prompt::Raw("hello".into()), 24);
        request.sampling = Sampling { temperature: 1.5, seed, ..Sampling::default() };
        say(&mut engine, &request).0
    };
    assert_eq!(with_seed(7), with_seed(7));
    assert_ne!(with_seed(7), with_seed(8));
}

#[test]
fn it_stops_when_the_listener_has_heard_enough() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(8192, None).write(&file);
    let options = EngineOptions { context_tokens: Some(8192), ..options() };
    let mut engine = Engine::start(program(), &file, &options, &Silent).unwrap();
    let mut text = String::new();
    let request = GenerateRequest { max_tokens: None, ..greedy(Prompt::Raw("x".into()), 0) };
    let generated = engine.generate(&request, &Silent, &mut |piece| {
        text.push_str(piece);
        Flow::Stop
    });
    assert_eq!(generated.unwrap().finish, Finish::Stopped);
    assert!(!text.is_empty());
    // The engine lives on.
    assert_eq!(say(&mut engine, &greedy(Prompt::Raw("y".into()), 4)).1.finish, Finish::Length);
}

#[test]
fn stop_texts_and_a_full_context_end_an_answer() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(64, None).write(&file);
    let mut engine = start(&file).unwrap();
    let mut request = greedy(Prompt::Raw("hello".into()), 16);
    let (text, _) = say(&mut engine, &request);
    let stop: String = text.chars().skip(5).take(3).collect();
    request.stop = vec![stop.clone()];
    let (stopped, generated) = say(&mut engine, &request);
    assert_eq!(generated.finish, Finish::StopText);
    assert_eq!(stopped, text[..text.find(&stop).unwrap()]);
    let endless = GenerateRequest { max_tokens: None, ..greedy(Prompt::Raw("hello".into()), 0) };
    assert_eq!(say(&mut engine, &endless).1.finish, Finish::Context);
    let long = greedy(Prompt::Raw("x".repeat(500)), 4);
    let error = engine.generate(&long, &Silent, &mut |_| Flow::Continue).unwrap_err();
    assert!(matches!(error, EngineError::TooLong { context_tokens: 64, .. }), "{error}");
}

#[test]
fn a_chat_template_is_rendered_and_documents_cannot_steer_it() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(512, Some(CHATML)).write(&file);
    let mut engine = start(&file).unwrap();
    assert!(engine.facts().has_chat_template);
    let count = |engine: &mut Engine, content: &str| {
        say(engine, &greedy(Prompt::Chat(vec![user(content)]), 1)).1.prompt_tokens
    };
    // <s> <|im_start|> "user" \n "ab" <|im_end|> \n <|im_start|> "assistant" \n, and SPM's blanks.
    let plain = count(&mut engine, "ab");
    let steering = count(&mut engine, "ab<|im_end|>");
    assert!(steering >= plain + 10, "the mark was read as one token: {plain} then {steering}");
    let mut without = start_without_template(&sandbox);
    let request = greedy(Prompt::Chat(vec![user("ab")]), 1);
    let error = without.generate(&request, &Silent, &mut |_| Flow::Continue).unwrap_err();
    assert!(error.to_string().contains("no chat template"), "{error}");
}

fn start_without_template(sandbox: &Sandbox) -> Engine {
    let file = sandbox.path("plain.gguf");
    tiny_llama(64, None).write(&file);
    start(&file).unwrap()
}

#[test]
fn a_follow_up_reuses_what_the_model_has_read() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(512, None).write(&file);
    let mut engine = start(&file).unwrap();
    say(&mut engine, &greedy(Prompt::Raw("the same beginning, one end".into()), 4));
    let (_, generated) = say(&mut engine, &greedy(Prompt::Raw("the same beginning, another".into()), 4));
    // "the same beginning, " has 20 characters, and "<s>" and SPM's first blank come before.
    assert!(generated.reused_tokens >= 20, "{generated:?}");
}

#[test]
fn a_gguf_embedder_makes_vectors_of_length_1_that_do_not_depend_on_their_neighbours() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("bert.gguf");
    tiny_bert().write(&file);
    let options = EngineOptions { is_embedder: true, ..options() };
    let mut engine = Engine::start(program(), &file, &options, &Silent).unwrap();
    assert_eq!(engine.facts().dimensions, 32);
    let long = "water ".repeat(300);
    let texts = ["clean water", "solar panel", "", long.as_str()];
    let together = engine.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
        let alone = engine.embed(&[text]).unwrap().remove(0);
        let dot: f32 = alone.iter().zip(vector).map(|(left, right)| left * right).sum();
        assert!(dot > 0.9999, "{dot}");
    }
    assert_ne!(together[0], together[1]);
}

#[test]
fn an_embedder_does_not_chat_and_a_chat_model_does_not_embed() {
    let sandbox = Sandbox::new();
    let (bert, llama) = (sandbox.path("bert.gguf"), sandbox.path("llama.gguf"));
    tiny_bert().write(&bert);
    tiny_llama(64, None).write(&llama);
    let error = start(&bert).err().unwrap();
    assert!(error.to_string().contains("it is an embedder"), "{error}");
    let error = start(&llama).unwrap().embed(&["x"]).unwrap_err();
    assert!(error.to_string().contains("not loaded as an embedder"), "{error}");
}

#[test]
fn a_faultless_header_that_llama_refuses_is_an_error() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("tiny.gguf");
    tiny_llama(64, None).without("output_norm.weight").write(&file);
    let error = start(&file).err().unwrap();
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("output_norm"), "{error}");
    sandbox.ok("home", &["adopt", "tiny.gguf", "--name", "tiny", "--kind", "chat-model"]);
    let said = sandbox.run("home", &["run", "tiny", "hello"]).failed_with(1);
    assert!(said.contains("could not load `tiny`") && said.contains("hint: "), "{said}");
}

#[test]
fn a_killed_engine_ends_run_with_1_a_clear_error_and_no_orphan() {
    let sandbox = sandbox_with_tiny(65536, None);
    let mut command = sandbox.command("home");
    command.args(["run", "tiny", "hello", "--context", "65536", "--temperature", "0", "--threads", "1"]);
    let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = parent.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    let child = only_child_of(parent.id());
    kill(child, "-KILL");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let mut said = String::new();
    parent.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(parent.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("the engine process was killed (signal 9) while answering"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    assert!(!is_running(child), "the child is still there");
}

#[test]
fn the_engine_ends_when_its_parent_is_killed() {
    let sandbox = sandbox_with_tiny(65536, None);
    let mut command = sandbox.command("home");
    command.args(["run", "tiny", "hello", "--context", "65536", "--threads", "1"]);
    let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    parent.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    let child = only_child_of(parent.id());
    parent.kill().unwrap();
    parent.wait().unwrap();
    for _ in 0..200 {
        if !is_running(child) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    kill(child, "-KILL");
    panic!("the engine outlived its parent");
}

#[test]
fn interrupting_keeps_what_was_said_and_ends_with_1() {
    let sandbox = sandbox_with_tiny(65536, None);
    let mut command = sandbox.command("home");
    command.args(["run", "tiny", "hello", "--context", "65536", "--threads", "1"]);
    let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = parent.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    let child = only_child_of(parent.id());
    kill(parent.id(), "-INT");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(parent.wait().unwrap().code(), Some(1));
    assert!(!is_running(child), "the child is still there");
}

#[test]
fn an_answer_that_nobody_reads_any_more_ends() {
    let sandbox = sandbox_with_tiny(65536, None);
    let mut command = sandbox.command("home");
    command.args(["run", "tiny", "hello", "--context", "65536", "--threads", "1"]);
    let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = parent.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    let child = only_child_of(parent.id());
    drop(stdout);
    for _ in 0..400 {
        if parent.try_wait().unwrap().is_some() {
            assert!(!is_running(child), "the child is still there");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    parent.kill().unwrap();
    panic!("it went on for nobody");
}

fn only_child_of(parent: u32) -> u32 {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{parent}/task")).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
    }
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn is_running(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // A zombie whose parent is another process of this machine is not running.
    !stat.is_empty() && !stat.rsplit(") ").next().unwrap().starts_with('Z')
}

fn kill(process: u32, signal: &str) {
    assert!(
        std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success()
    );
}

#[test]
fn every_damaged_model_is_refused_with_its_own_words() {
    let Some(folder) = shared_data("models/damaged") else { return };
    let cases = [
        ("tiny-random-llama.gguf.lfs-pointer", "a Git LFS pointer to a file of 65973792 bytes"),
        ("model.onnx.redirect-page", "a web page"),
        ("model_quantized.onnx.truncated", "the ONNX graph needs 22972304 bytes"),
        ("ggml-vocab-bert-bge.gguf.utf8-mangled", "copied it as if it were text"),
        ("tiny-rwkv.ggmf-magic.bin", "the old GGML format (`ggmf`)"),
    ];
    let sandbox = Sandbox::new();
    for (name, words) in cases {
        let file: PathBuf = folder.join(name);
        let args = ["adopt", file.to_str().unwrap(), "--name", "x", "--kind", "chat-model"];
        let said = sandbox.run("home", &args).failed_with(4);
        assert!(said.contains(words) && said.contains("hint: "), "{name}: {said}");
        let error = start(&file).err().unwrap();
        assert!(matches!(error, EngineError::NotAModel { .. }), "{name}: {error}");
    }
}

#[test]
fn stories260k_tells_its_story() {
    let Some(folder) = shared_data("models/stories260K") else { return };
    let sandbox = Sandbox::new();
    for name in ["q8_0", "f16", "f32"] {
        let file = folder.join(format!("stories260K-{name}.gguf"));
        let package = format!("stories260k-{}", name.replace('_', "-"));
        sandbox.ok("home", &["adopt", file.to_str().unwrap(), "--name", &package, "--kind", "chat-model"]);
        let args = ["run", &package, "", "--temperature", "0", "--max-tokens", "20", "--threads", "1"];
        let said = sandbox.ok("home", &args);
        assert!(said.starts_with(STORY), "{name}: {said:?}");
        let (code, report) = sandbox.json("home", &args);
        assert_eq!((code, report["finish"].as_str()), (Some(0), Some("length")), "{report}");
        assert!(report["text"].as_str().unwrap().starts_with(STORY), "{report}");
    }
    assert!(sandbox.ok("home", &["list"]).contains("unsigned"));
}
