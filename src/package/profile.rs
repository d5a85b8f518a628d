//! What a kit says of the sites that it sets up, so that fifty of them start alike.
//!
//! ```toml
//! [profile]
//! languages = ["en", "sw"]
//! [[profile.registry]]
//! name = "ministry"
//! fingerprint = "<sha256 of its first root>"
//! url = "https://packages.example.org/"
//! [profile.collections]
//! handbook = ["localml-handbook"]
//! [profile.roles]
//! chat_model = "qwen2.5-1.5b-instruct"
//! embedder = "all-minilm-l6-v2-gguf"
//! lan = true
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

use super::manifest::InvalidManifest;
use super::name::Name;
use super::reference::PackageRef;

/// How a site is set up. Keys that a later localml adds are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// ISO 639-1 codes of the languages that are spoken there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Registries that it trusts besides those it knows.
    #[serde(default, rename = "registry", skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<ProfileRegistry>,
    /// Collections by name, each with the members whose documents it indexes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub collections: BTreeMap<Name, Vec<PackageRef>>,
    /// Which package does what.
    #[serde(default, skip_serializing_if = "Roles::is_empty")]
    pub roles: Roles,
}

/// A registry that a kit vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRegistry {
    /// What it is called.
    pub name: Name,
    /// The sha256 of its first root.
    pub fingerprint: Sha256,
    /// Where it is refreshed from.
    pub url: String,
}

/// Which package does what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roles {
    /// The model that answers when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_model: Option<Name>,
    /// The embedder that is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Name>,
    /// Whether others in the room may ask this PC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan: Option<bool>,
}

impl Roles {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Profile {
    /// Checks what a publisher may get wrong: roles and collections name members of the kit.
    ///
    /// # Errors
    /// `Stranger` names the first package that is no member.
    pub(super) fn check(&self, members: &[PackageRef]) -> Result<(), InvalidManifest> {
        let roles = self.roles.chat_model.iter().chain(&self.roles.embedder);
        let indexed = self.collections.values().flatten().map(|package| &package.name);
        let is_member = |name: &&Name| members.iter().any(|member| member.name == **name);
        match roles.chain(indexed).find(|name| !is_member(name)) {
            None => Ok(()),
            Some(name) => Err(InvalidManifest::Stranger { name: name.to_string() }),
        }
    }
}
