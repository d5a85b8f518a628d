//! Where else to look: rewriting rules and neighbours, from what the caller was told and from the home's config file.

use serde::Deserialize;

use crate::error::ErrorKind;
use crate::home::Home;
use crate::transfer::{InvalidMirror, Mirror, folder_address};

use super::error::{Error, Result};
use super::site;

/// Rules and neighbours, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct MirrorRules {
    /// Where published addresses are looked for first.
    pub mirrors: Vec<Mirror>,
    /// Neighbours and folders that keep blobs by their digest.
    pub peers: Vec<url::Url>,
}

/// What the config file says of sources; other keys are not looked at here.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    peers: Vec<String>,
}

impl MirrorRules {
    /// Reads rules and neighbours, separated by spaces; then those of `config.toml`, if there is one.
    ///
    /// # Errors
    /// Names what is no rule or no address.
    pub fn of(home: &Home, mirrors: &str, peers: &str) -> Result<Self> {
        let config = config(home)?;
        let mirrors = mirrors.split_whitespace().chain(config.mirrors.iter().map(String::as_str));
        let peers = peers.split_whitespace().chain(config.peers.iter().map(String::as_str));
        Ok(Self {
            mirrors: mirrors.map(str::parse).collect::<std::result::Result<_, _>>().map_err(invalid)?,
            peers: peers.map(folder_address).collect::<std::result::Result<_, _>>().map_err(invalid)?,
        })
    }
}

fn config(home: &Home) -> Result<Config> {
    let path = home.config();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if site::is_absent(&error) => return Ok(Config::default()),
        Err(error) => {
            return Err(Error::new(ErrorKind::Failed, format!("`{}`: {error}", path.display())));
        }
    };
    toml::from_str(&text).map_err(|error| {
        let reason = error.message().to_owned();
        Error::new(ErrorKind::Usage, format!("`{}` makes no sense: {reason}", path.display()))
            .with_hint("correct the file, or move it away")
    })
}

fn invalid(error: InvalidMirror) -> Error {
    Error::new(ErrorKind::Usage, error.to_string())
        .with_hint("look at `LOCALML_MIRROR`, `LOCALML_PEER` and `config.toml` in the home")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_was_told_comes_before_the_config_file() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let home = Home::at(folder.path());
        let text = "mirrors = [\"https://a/=https://c/\"]\npeers = [\"http://10.0.0.2/\"]\nother = 1\n";
        std::fs::write(home.config(), text).expect("room");
        let rules = MirrorRules::of(&home, "https://a/=https://b/", "").expect("rules");
        let shown: Vec<String> = rules.mirrors.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["https://a/=https://b/", "https://a/=https://c/"]);
        assert_eq!(rules.peers.len(), 1);
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_place() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let home = Home::at(folder.path());
        let error = MirrorRules::of(&home, "nonsense", "").expect_err("no rule");
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint().expect("a hint").contains("LOCALML_MIRROR"));
        std::fs::write(home.config(), "mirrors = 5").expect("room");
        assert_eq!(MirrorRules::of(&home, "", "").expect_err("no list").kind(), ErrorKind::Usage);
    }
}
