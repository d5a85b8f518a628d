//! The description of one package version, as it stands in `manifests/` (TOML) and in an index (JSON).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::gguf::Shape;

use super::kind::Kind;
use super::name::{Name, VariantId};
use super::path::RelativePath;
use super::profile::Profile;
use super::reference::PackageRef;

/// One version of a package: what it is, and its variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is.
    pub package: PackageHead,
    /// Its builds, the publisher's first choice first. A kit has none.
    #[serde(default, rename = "variant", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// How a kit sets up a site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// What holds for every variant of a package version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageHead {
    /// The package's name.
    pub name: Name,
    /// The version of this packaging.
    pub version: semver::Version,
    /// What it is for.
    pub kind: Kind,
    /// One line for people.
    pub title: String,
    /// SPDX expression, or the licence's own name; shown before install.
    pub license: String,
    /// True when the licence forbids some uses (commercial ones, for example).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
    /// ISO 639-1 codes of the languages it is good for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// The longest text that the model can read, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Packages that it cannot work without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<PackageRef>,
    /// The packages of a kit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PackageRef>,
    /// How an embedder is to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
    /// Anything a person should know: unpinned source, thinking on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One build of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Which build, for example `q4_k_m`.
    pub id: VariantId,
    /// Its files.
    #[serde(rename = "file")]
    pub files: Vec<FileEntry>,
    /// The platform that a runtime is for, as a target triple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the GGUF's header says of the model's size, for planning memory before a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
}

/// One file of a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name inside the package.
    pub path: RelativePath,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The digest of all its bytes: its identity.
    pub sha256: Sha256,
    /// Where it can be fetched: URLs, or paths relative to the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The digest of its piece list, where the publisher made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Sha256>,
    /// True when a source names a moving branch, so that it may stop matching the digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpinned: bool,
}

/// How an embedder turns token vectors into one, and what it wants before the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedding {
    /// The length of its vectors.
    pub dimensions: usize,
    /// The longest text it reads, in tokens.
    pub max_tokens: usize,
    /// How token vectors become one.
    #[serde(default)]
    pub pooling: Pooling,
    /// What stands before a question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query_prefix: String,
    /// What stands before a passage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub passage_prefix: String,
}

/// How token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens.
    #[default]
    Mean,
    /// The first token's vector.
    Cls,
    /// The last token's vector.
    Last,
}

/// A manifest is not usable.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// It is not TOML of the right shape.
    #[error("not a manifest: {0}")]
    Toml(#[from] toml::de::Error),
    /// Two variants, or two files of one variant, have the same name on some file system, or a file lies
    /// in a folder that has the name of another.
    #[error("two of its {what} are called `{name}`")]
    Duplicate {
        /// `variants` or `files`.
        what: &'static str,
        /// The name that stands twice.
        name: String,
    },
    /// A variant has no file, or the package has neither variants nor members.
    #[error("`{name}` is empty")]
    Empty {
        /// The variant or the package.
        name: String,
    },
    /// A kit's profile names a package that the kit does not bring.
    #[error("its profile names `{name}`, which is not one of its members")]
    Stranger {
        /// The package.
        name: String,
    },
    /// Its files are said to have more bytes than any package.
    #[error("the files of `{name}` are said to have more than 1 PiB")]
    TooLarge {
        /// The package.
        name: String,
    },
}

/// The most bytes that all files of a manifest may have together: sums over many packages stay numbers.
const MAX_TOTAL_BYTES: u64 = 1 << 50;

impl Manifest {
    /// Reads the TOML form.
    ///
    /// # Errors
    /// When it is not TOML, lacks a field, or contradicts itself.
    pub fn from_toml(text: &str) -> Result<Self, InvalidManifest> {
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what the types cannot say: nothing empty, nothing twice.
    ///
    /// # Errors
    /// Names the first contradiction.
    pub fn check(&self) -> Result<(), InvalidManifest> {
        if self.variants.is_empty() && self.package.members.is_empty() {
            return Err(InvalidManifest::Empty { name: self.package.name.to_string() });
        }
        check_unique("variants", self.variants.iter().map(|variant| variant.id.as_str()))?;
        for variant in &self.variants {
            if variant.files.is_empty() {
                return Err(InvalidManifest::Empty { name: variant.id.to_string() });
            }
            check_unique("files", variant.files.iter().map(|file| file.path.as_str()))?;
            check_folders(&variant.files)?;
        }
        let mut sizes = self.variants.iter().flat_map(|variant| &variant.files).map(|file| file.size_bytes);
        match sizes.try_fold(0, u64::checked_add).is_some_and(|total| total <= MAX_TOTAL_BYTES) {
            true => Ok(()),
            false => Err(InvalidManifest::TooLarge { name: self.package.name.to_string() }),
        }
    }

    /// Checks what only its publisher can mend; readers take a profile as it is.
    ///
    /// # Errors
    /// `Stranger` when a kit's profile names a package that the kit does not bring.
    pub fn check_profile(&self) -> Result<(), InvalidManifest> {
        self.profile.as_ref().map_or(Ok(()), |profile| profile.check(&self.package.members))
    }

    /// True for a named set of packages, which has no files of its own.
    pub fn is_kit(&self) -> bool {
        self.variants.is_empty()
    }

    /// Finds a variant by its id.
    pub fn variant(&self, id: &VariantId) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.id == *id)
    }
}

impl Variant {
    /// The build that stands in a kit's record, where other packages have one with files.
    pub fn of_kit() -> Self {
        Self { id: VariantId::of_kit(), files: Vec::new(), target: None, shape: None }
    }

    /// The bytes of all its files together.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// FAT and Windows see no difference between `A` and `a`, so neither may a package.
fn check_unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), InvalidManifest> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(InvalidManifest::Duplicate { what, name: name.to_owned() });
        }
    }
    Ok(())
}

/// A name is a file's or a folder's, not both, and that too whatever its case.
fn check_folders(files: &[FileEntry]) -> Result<(), InvalidManifest> {
    let names: HashSet<String> = files.iter().map(|file| file.path.as_str().to_ascii_lowercase()).collect();
    let is_in_a_file = |path: &str| {
        let path = path.to_ascii_lowercase();
        path.match_indices('/').any(|(at, _)| names.contains(&path[..at]))
    };
    match files.iter().find(|file| is_in_a_file(file.path.as_str())) {
        Some(file) => Err(InvalidManifest::Duplicate { what: "files", name: file.path.to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        [package]
        name = "tiny"
        version = "1.0.0"
        kind = "chat-model"
        title = "Tiny"
        license = "MIT"
        [[variant]]
        id = "f16"
        [[variant.file]]
        path = "model.gguf"
        size_bytes = 3
        sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        sources = ["blobs/ba78"]
    "#;

    #[test]
    fn reads_a_manifest_and_survives_json() {
        let manifest = Manifest::from_toml(TOML).expect("complete");
        assert_eq!(manifest.variants[0].size_bytes(), 3);
        let json = serde_json::to_string(&manifest).expect("plain data");
        assert_eq!(serde_json::from_str::<Manifest>(&json).expect("same shape"), manifest);
    }

    #[test]
    fn a_kits_profile_names_only_its_members() {
        let kit = r#"
            [package]
            name = "clinic-kit"
            version = "1.0.0"
            kind = "kit"
            title = "Clinic"
            license = "MIT"
            members = ["tiny@1.0.0:f16", "ngo/book"]
            [profile]
            languages = ["sw"]
            [[profile.registry]]
            name = "ngo"
            fingerprint = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            url = "https://ngo.example/"
            [profile.collections]
            books = ["book"]
            [profile.roles]
            chat_model = "tiny"
            lan = true
        "#;
        let manifest = Manifest::from_toml(kit).expect("complete");
        assert!(manifest.is_kit() && manifest.check_profile().is_ok());
        let json = serde_json::to_string(&manifest).expect("plain data");
        assert_eq!(serde_json::from_str::<Manifest>(&json).expect("same shape"), manifest);
        let stranger = Manifest::from_toml(&kit.replace("chat_model = \"tiny\"", "chat_model = \"huge\""));
        let error = stranger.expect("readable").check_profile().expect_err("no member");
        assert_eq!(error.to_string(), "its profile names `huge`, which is not one of its members");
    }

    #[test]
    fn refuses_sizes_that_no_package_has() {
        let giant = TOML.replace("size_bytes = 3", &format!("size_bytes = {}", i64::MAX));
        let error = Manifest::from_toml(&giant).expect_err("8 EiB");
        assert_eq!(error.to_string(), "the files of `tiny` are said to have more than 1 PiB");
    }

    #[test]
    fn refuses_two_files_that_differ_only_in_case() {
        let twice = format!(
            "{TOML}\n[[variant.file]]\npath = \"MODEL.gguf\"\nsize_bytes = 3\nsha256 = \"{}\"\n",
            Sha256::of(b"abc")
        );
        let error = Manifest::from_toml(&twice).expect_err("same name on FAT");
        assert_eq!(error.to_string(), "two of its files are called `MODEL.gguf`");
        let inside = twice.replace("MODEL.gguf", "Model.GGUF/x");
        let error = Manifest::from_toml(&inside).expect_err("a file and a folder");
        assert_eq!(error.to_string(), "two of its files are called `Model.GGUF/x`");
    }
}
