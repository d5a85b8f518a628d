//! A publisher: keys, manifests and files in a sandbox, made into a signed registry by the real program.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::sandbox::Sandbox;

/// A publisher's desk at `<sandbox>/publisher/<name>`.
pub(crate) struct Publisher<'a> {
    sandbox: &'a Sandbox,
    name: String,
}

impl<'a> Publisher<'a> {
    /// Makes keys and an empty registry.
    pub(crate) fn new(sandbox: &'a Sandbox, name: &str) -> Self {
        Self::with(sandbox, name, &[])
    }

    /// As `new`, with more arguments to `registry init`.
    pub(crate) fn with(sandbox: &'a Sandbox, name: &str, init: &[&str]) -> Self {
        let publisher = Self { sandbox, name: name.to_owned() };
        let (registry, keys) = (publisher.registry_arg(), publisher.keys_arg());
        sandbox.ok("desk", &[&["registry", "init", &registry, "--keys", &keys], init].concat());
        publisher
    }

    /// The arguments that replace keys.
    pub(crate) fn rotation(&self, more: &[&str]) -> Vec<String> {
        let (registry, keys) = (self.registry_arg(), self.keys_arg());
        let args = [&["registry", "rotate", &registry, "--keys", &keys], more].concat();
        args.into_iter().map(str::to_owned).collect()
    }

    /// Replaces keys; returns what was said.
    pub(crate) fn rotate(&self, more: &[&str]) -> String {
        self.sandbox.ok("desk", &self.rotation(more))
    }

    /// The folder of the keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.sandbox.path(self.keys_arg())
    }

    /// The folder to serve or to read.
    pub(crate) fn registry(&self) -> PathBuf {
        self.sandbox.path(self.registry_arg())
    }

    /// Describes one version of a package, of kind `knowledge`, from its files.
    pub(crate) fn add(&self, package: &str, version: &str, files: &[(&str, &[u8])]) {
        self.add_kind(package, version, "knowledge", files);
    }

    /// Describes one version of a package from its files.
    pub(crate) fn add_kind(&self, package: &str, version: &str, kind: &str, files: &[(&str, &[u8])]) {
        let mut toml = format!(
            "[package]\nname = \"{package}\"\nversion = \"{version}\"\nkind = \"{kind}\"\ntitle = \"A test package\"\nlicense = \"MIT\"\n[[variant]]\nid = \"plain\"\n"
        );
        for (path, bytes) in files {
            // Each version has a folder of its own: what is published must not change.
            let from = format!("{package}/{version}/{path}");
            writeln!(toml, "[[variant.file]]\npath = \"{path}\"\nfrom = \"{from}\"").unwrap();
            self.sandbox.write(format!("publisher/{}/files/{from}", self.name), bytes);
        }
        self.add_manifest(package, version, &toml, &[]);
    }

    /// Takes a manifest as it is, and the files that it names.
    pub(crate) fn add_manifest(&self, package: &str, version: &str, toml: &str, files: &[(&str, &[u8])]) {
        for (path, bytes) in files {
            self.sandbox.write(format!("publisher/{}/files/{package}/{path}", self.name), bytes);
        }
        self.sandbox.write(format!("publisher/{}/manifests/{package}/{version}.toml", self.name), toml);
    }

    /// Takes a version back; it is news once it is published.
    pub(crate) fn revoke(&self, package: &str, version: &str, reason: &str) {
        let path = self.sandbox.path(format!("publisher/{}/manifests/revoked.toml", self.name));
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let word =
            format!("[[revoked]]\nname = \"{package}\"\nversion = \"{version}\"\nreason = \"{reason}\"\n");
        self.sandbox.write(format!("publisher/{}/manifests/revoked.toml", self.name), before + &word);
    }

    /// Builds and signs what was described.
    pub(crate) fn publish(&self) {
        let desk = format!("publisher/{}", self.name);
        let (manifests, files) = (format!("{desk}/manifests"), format!("{desk}/files"));
        self.sandbox.ok(
            "desk",
            &["registry", "build", &self.registry_arg(), "--manifests", &manifests, "--files", &files],
        );
        self.sandbox.ok("desk", &["registry", "sign", &self.registry_arg(), "--keys", &self.keys_arg()]);
    }

    /// What a keeper is told over the phone: the sha256 of the first root.
    pub(crate) fn fingerprint(&self) -> String {
        let root = std::fs::read(self.registry().join("1.root.json")).unwrap();
        localml::digest::Sha256::of(&root).to_string()
    }

    /// The path in the registry of its one file of so many bytes.
    pub(crate) fn path_of(&self, size_bytes: u64) -> String {
        let registry = self.registry();
        let mut folders = vec![registry.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.metadata().unwrap().len() == size_bytes {
                    return path.strip_prefix(&registry).unwrap().to_str().unwrap().to_owned();
                }
            }
        }
        panic!("no file of {size_bytes} bytes in {}", registry.display());
    }

    /// Makes `home` trust this registry at `url`, under the publisher's name.
    pub(crate) fn introduce(&self, home: &str, url: &str) {
        self.sandbox.ok(home, &["registry", "add", &self.name, url, "--fingerprint", &self.fingerprint()]);
    }

    fn registry_arg(&self) -> String {
        format!("publisher/{}/registry", self.name)
    }

    fn keys_arg(&self) -> String {
        format!("publisher/{}/keys", self.name)
    }
}
