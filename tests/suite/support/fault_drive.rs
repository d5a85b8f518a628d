//! A drive with two layers: what the medium has, and what only the cache has. Pulling it out drops or tears
//! the second, as the dice fall.
//!
//! Syncing a file makes its bytes durable, not its name; syncing a folder makes the names in it durable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use fuser::Errno;

use super::fault_medium::{BLOCK_BYTES, Block, Medium, zeros};

pub(crate) type Result<T> = std::result::Result<T, Errno>;

pub(crate) const ROOT: u64 = 1;

/// The longest file that FAT32 can hold.
const FAT_MAX_FILE_BYTES: u64 = u32::MAX as u64;

/// Whose rules the drive follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Files up to 4 GiB − 1, no links, no modes, names without case, times of 2 s, no journal: each change of a
    /// name is kept or lost by itself, so that a rename may leave both names or none.
    Fat,
    /// As ext4 and xfs: changes of names reach the medium in order, each as a whole.
    Journalled,
}

/// What of the cache reaches the medium when the power goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Survival {
    /// Nothing but what was synced.
    Nothing,
    /// Whatever this seed says.
    Seed(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// How many operations still succeed before the drive is gone.
    pub(crate) operations_left: Option<u64>,
    /// How many bytes are still written before the drive is gone.
    pub(crate) bytes_left: Option<u64>,
    /// How many bytes can still be written before the drive says that it is full.
    pub(crate) room_left_bytes: Option<u64>,
    /// Files (by name) and ranges of bytes that cannot be read from the medium.
    pub(crate) unreadable: Vec<(String, Range<u64>)>,
    /// Files (by name) and ranges of bytes that cannot be brought to the medium; the cache drops them.
    pub(crate) unwritable: Vec<(String, Range<u64>)>,
    /// Syncing is answered at once and does nothing.
    pub(crate) ignores_sync: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) node: u64,
}

type Names = BTreeMap<String, Entry>;

#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    pub(crate) num_links: u32,
    /// Blocks that only the cache has; `None` was cut off.
    pub(super) dirty: BTreeMap<u64, Option<Block>>,
    pub(super) durable_bytes: u64,
    /// Block → where the medium has it.
    pub(super) places: BTreeMap<u64, u64>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    File(File),
    Folder { names: Names, durable: Names },
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) changed: SystemTime,
}

/// A change of names that the medium does not have yet: folder, key, new entry.
pub(super) type Step = Vec<(u64, String, Option<Entry>)>;

#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) rules: Rules,
    pub(crate) capacity_bytes: u64,
    pub(crate) faults: Faults,
    pub(crate) medium: Medium,
    pub(crate) num_operations: u64,
    pub(crate) bytes_written: u64,
    pub(super) nodes: HashMap<u64, Node>,
    next_node: u64,
    pub(super) journal: Vec<Step>,
}

impl Drive {
    pub(crate) fn new(rules: Rules, capacity_bytes: u64) -> Self {
        let root = Node::folder(SystemTime::now());
        Self {
            rules,
            capacity_bytes,
            faults: Faults::default(),
            medium: Medium::default(),
            num_operations: 0,
            bytes_written: 0,
            nodes: HashMap::from([(ROOT, root)]),
            next_node: ROOT + 1,
            journal: Vec::new(),
        }
    }

    /// Counts an operation; from the one on at which the drive is pulled out, all fail.
    pub(crate) fn step(&mut self) -> Result<()> {
        self.num_operations += 1;
        match &mut self.faults.operations_left {
            Some(0) => Err(Errno::EIO),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn node(&self, node: u64) -> Result<&Node> {
        self.nodes.get(&node).ok_or(Errno::ENOENT)
    }

    pub(crate) fn node_mut(&mut self, node: u64) -> Result<&mut Node> {
        self.nodes.get_mut(&node).ok_or(Errno::ENOENT)
    }

    pub(crate) fn names(&self, folder: u64) -> Result<&Names> {
        match &self.node(folder)?.kind {
            Kind::Folder { names, .. } => Ok(names),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn lookup(&self, folder: u64, name: &str) -> Result<u64> {
        let entry = self.names(folder)?.get(&self.key(name)?);
        entry.map(|entry| entry.node).ok_or(Errno::ENOENT)
    }

    /// Follows a path below the root.
    pub(crate) fn find(&self, path: &str) -> Result<u64> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(ROOT, |node, name| self.lookup(node, name))
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let used = |node: &Node| match &node.kind {
            Kind::File(file) if file.num_links > 0 => file.size_bytes.next_multiple_of(BLOCK_BYTES),
            _ => 0,
        };
        self.capacity_bytes.saturating_sub(self.nodes.values().map(used).sum())
    }

    // ── names ────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn make(&mut self, folder: u64, name: &str, is_folder: bool) -> Result<u64> {
        if self.lookup(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let key = self.key(name)?;
        let node = self.next_node;
        self.next_node += 1;
        let now = self.now();
        let made = if is_folder { Node::folder(now) } else { Node::file(name, now) };
        self.nodes.insert(node, made);
        let entry = Entry { name: name.to_owned(), node };
        self.change(vec![(folder, key, Some(entry))])?;
        Ok(node)
    }

    pub(crate) fn remove(&mut self, folder: u64, name: &str, is_folder: bool) -> Result<()> {
        let node = self.lookup(folder, name)?;
        match &self.node(node)?.kind {
            Kind::Folder { names, .. } if !is_folder || !names.is_empty() => {
                return Err(if is_folder { Errno::ENOTEMPTY } else { Errno::EISDIR });
            }
            Kind::File(_) if is_folder => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.change(vec![(folder, self.key(name)?, None)])
    }

    pub(crate) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<()> {
        let node = self.lookup(from.0, from.1)?;
        let (from_key, to_key) = (self.key(from.1)?, self.key(to.1)?);
        if self.lookup(to.0, to.1).is_ok_and(|there| there == node) && (from.0, &from_key) != (to.0, &to_key)
        {
            return Ok(());
        }
        if let Kind::File(file) = &mut self.node_mut(node)?.kind {
            to.1.clone_into(&mut file.name);
        }
        let entry = Entry { name: to.1.to_owned(), node };
        self.change(vec![(from.0, from_key, None), (to.0, to_key, Some(entry))])
    }

    pub(crate) fn link(&mut self, node: u64, folder: u64, name: &str) -> Result<()> {
        if self.rules == Rules::Fat {
            return Err(Errno::EPERM);
        }
        if self.lookup(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.change(vec![(folder, self.key(name)?, Some(Entry { name: name.to_owned(), node }))])
    }

    /// Changes names in the cache, and remembers what the medium does not have yet.
    fn change(&mut self, step: Step) -> Result<()> {
        let now = self.now();
        for (folder, key, entry) in &step {
            let added = entry.as_ref().map(|entry| entry.node);
            let Node { kind: Kind::Folder { names, .. }, changed, .. } = self.node_mut(*folder)? else {
                return Err(Errno::ENOTDIR);
            };
            *changed = now;
            let removed = match entry {
                Some(entry) => names.insert(key.clone(), entry.clone()),
                None => names.remove(key),
            };
            self.count_links(added, 1);
            self.count_links(removed.map(|entry| entry.node), -1);
        }
        self.journal.push(step);
        Ok(())
    }

    fn count_links(&mut self, node: Option<u64>, change: i32) {
        if let Some(Node { kind: Kind::File(file), .. }) = node.and_then(|node| self.nodes.get_mut(&node)) {
            file.num_links = file.num_links.saturating_add_signed(change);
        }
    }

    fn key(&self, name: &str) -> Result<String> {
        if self.rules != Rules::Fat {
            return Ok(name.to_owned());
        }
        let is_bad = |c: char| c.is_control() || "\"*:<>?\\|".contains(c);
        match name.chars().any(is_bad) || name.ends_with([' ', '.']) {
            true => Err(Errno::EINVAL),
            false => Ok(name.to_lowercase()),
        }
    }

    /// Now, as precisely as the file system can say it.
    pub(crate) fn now(&self) -> SystemTime {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        match self.rules {
            Rules::Fat => SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() & !1),
            Rules::Journalled => SystemTime::UNIX_EPOCH + since,
        }
    }

    // ── bytes ────────────────────────────────────────────────────────────────────────────────

    pub(super) fn file(&self, node: u64) -> Result<&File> {
        match &self.node(node)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder { .. } => Err(Errno::EISDIR),
        }
    }

    pub(super) fn file_mut(&mut self, node: u64) -> Result<&mut File> {
        match &mut self.node_mut(node)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder { .. } => Err(Errno::EISDIR),
        }
    }

    /// A block as a program sees it: from the cache, else from the medium.
    pub(super) fn block(&self, file: &File, index: u64) -> Block {
        match (file.dirty.get(&index), file.places.get(&index)) {
            (Some(Some(block)), _) => block.clone(),
            (None, Some(&place)) => self.medium.read(place),
            _ => zeros(),
        }
    }

    pub(crate) fn read(&self, node: u64, offset: u64, length: u64) -> Result<Vec<u8>> {
        let file = self.file(node)?;
        let end = file.size_bytes.min(offset.saturating_add(length));
        let mut bytes = Vec::with_capacity(length as usize);
        let mut at = offset;
        while at < end {
            let (index, within) = (at / BLOCK_BYTES, (at % BLOCK_BYTES) as usize);
            if !file.dirty.contains_key(&index) && is_hit(&self.faults.unreadable, &file.name, index) {
                return Err(Errno::EIO);
            }
            let take = (BLOCK_BYTES - within as u64).min(end - at) as usize;
            bytes.extend_from_slice(&self.block(file, index)[within..within + take]);
            at += take as u64;
        }
        Ok(bytes)
    }

    /// Writes what there is room for; returns how much that was.
    pub(crate) fn write(&mut self, node: u64, offset: u64, bytes: &[u8]) -> Result<u32> {
        let count = self.room_for(node, offset, bytes.len() as u64)?;
        if let Some(left) = &mut self.faults.bytes_left {
            let Some(rest) = left.checked_sub(count) else {
                self.faults.operations_left = Some(0);
                return Err(Errno::EIO);
            };
            *left = rest;
        }
        let bytes = &bytes[..count as usize];
        let now = self.now();
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (index, within) = (at / BLOCK_BYTES, (at % BLOCK_BYTES) as usize);
            let take = rest.len().min(BLOCK_BYTES as usize - within);
            let mut block = match take == BLOCK_BYTES as usize {
                true => Vec::new(),
                false => self.block(self.file(node)?, index).to_vec(),
            };
            block.resize(BLOCK_BYTES as usize, 0);
            block[within..within + take].copy_from_slice(&rest[..take]);
            self.file_mut(node)?.dirty.insert(index, Some(block.into()));
            at += take as u64;
            rest = &rest[take..];
        }
        let file = self.file_mut(node)?;
        file.size_bytes = file.size_bytes.max(at);
        self.node_mut(node)?.changed = now;
        self.bytes_written += count;
        if let Some(left) = &mut self.faults.room_left_bytes {
            *left -= count;
        }
        Ok(count as u32)
    }

    fn room_for(&self, node: u64, offset: u64, length: u64) -> Result<u64> {
        let size_bytes = self.file(node)?.size_bytes;
        let mut count = length;
        if self.rules == Rules::Fat {
            count = count.min(FAT_MAX_FILE_BYTES.saturating_sub(offset));
            if count == 0 && length > 0 {
                return Err(Errno::EFBIG);
            }
        }
        let last_block_end = size_bytes.next_multiple_of(BLOCK_BYTES);
        let limit_bytes = last_block_end + self.free_bytes() / BLOCK_BYTES * BLOCK_BYTES;
        count = count.min(limit_bytes.saturating_sub(offset));
        count = count.min(self.faults.room_left_bytes.unwrap_or(u64::MAX));
        if count == 0 && length > 0 { Err(Errno::ENOSPC) } else { Ok(count) }
    }

    pub(crate) fn resize(&mut self, node: u64, size_bytes: u64) -> Result<()> {
        if self.rules == Rules::Fat && size_bytes > FAT_MAX_FILE_BYTES {
            return Err(Errno::EFBIG);
        }
        let last = size_bytes / BLOCK_BYTES;
        let within = (size_bytes % BLOCK_BYTES) as usize;
        let mut kept = self.block(self.file(node)?, last).to_vec();
        kept[within..].fill(0);
        let file = self.file_mut(node)?;
        if size_bytes < file.size_bytes {
            let gone: BTreeSet<u64> = file.dirty.range(last..).map(|(&index, _)| index).collect();
            gone.into_iter().for_each(|index| drop(file.dirty.remove(&index)));
            let cut: Vec<u64> = file.places.range(last..).map(|(&index, _)| index).collect();
            cut.into_iter().for_each(|index| drop(file.dirty.insert(index, None)));
            if within > 0 {
                file.dirty.insert(last, Some(kept.into()));
            }
        }
        file.size_bytes = size_bytes;
        Ok(())
    }
}

impl Node {
    fn file(name: &str, changed: SystemTime) -> Self {
        let file = File { name: name.to_owned(), ..File::default() };
        Self { kind: Kind::File(file), mode: 0o644, changed }
    }

    fn folder(changed: SystemTime) -> Self {
        Self { kind: Kind::Folder { names: Names::new(), durable: Names::new() }, mode: 0o755, changed }
    }
}

/// True when a block of a file lies in one of the ranges.
pub(super) fn is_hit(ranges: &[(String, Range<u64>)], name: &str, block: u64) -> bool {
    let (from, to) = (block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    ranges.iter().any(|(hit, range)| hit == name && range.start < to && from < range.end)
}
