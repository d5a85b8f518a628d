//! Where other programs keep models on this PC, as their own settings say.

use std::env;
use std::path::{Path, PathBuf};

use crate::ops::ScanPlace;

/// The folders of Ollama, LM Studio, GPT4All, Hugging Face and llama.cpp, whether they are there or not.
pub(super) fn known() -> Vec<ScanPlace> {
    let home = env::home_dir().unwrap_or_default();
    places(&home, &|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn places(home: &Path, setting: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<ScanPlace> {
    let cache = setting("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
    let data = setting("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    let hub = setting("HF_HUB_CACHE")
        .or_else(|| Some(setting("HF_HOME")?.join("hub")))
        .unwrap_or_else(|| cache.join("huggingface/hub"));
    let all = [
        ("Ollama", setting("OLLAMA_MODELS").unwrap_or_else(|| home.join(".ollama/models"))),
        // Where its own installer puts the models of the service.
        ("Ollama", PathBuf::from("/usr/share/ollama/.ollama/models")),
        ("LM Studio", home.join(".lmstudio/models")),
        ("LM Studio", home.join(".cache/lm-studio/models")),
        ("GPT4All", data.join("nomic.ai/GPT4All")),
        ("GPT4All", home.join("Library/Application Support/nomic.ai/GPT4All")),
        ("GPT4All", home.join(".cache/gpt4all")),
        ("Hugging Face", hub),
        ("llama.cpp", setting("LLAMA_CACHE").unwrap_or_else(|| cache.join("llama.cpp"))),
        ("llama.cpp", home.join("Library/Caches/llama.cpp")),
    ];
    let place = |(program, folder): (&str, PathBuf)| ScanPlace {
        program: program.to_owned(),
        folder,
        is_named: false,
    };
    all.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_other_programs_count() {
        let setting = |name: &str| match name {
            "OLLAMA_MODELS" => Some(PathBuf::from("/models")),
            "HF_HOME" => Some(PathBuf::from("/hf")),
            _ => None,
        };
        let places = places(Path::new("/home/a"), &setting);
        let folder = |program: &str| {
            let place = places.iter().find(|place| place.program == program);
            place.map(|place| place.folder.display().to_string()).unwrap_or_default()
        };
        assert_eq!(folder("Ollama"), "/models");
        assert_eq!(folder("Hugging Face"), "/hf/hub");
        assert_eq!(folder("llama.cpp"), "/home/a/.cache/llama.cpp");
        assert_eq!(folder("GPT4All"), "/home/a/.local/share/nomic.ai/GPT4All");
    }
}
