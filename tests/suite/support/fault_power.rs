//! What a sync brings to the medium, what survives when the drive is pulled out, and what decays.

use std::collections::{BTreeSet, HashMap};

use fuser::Errno;

use super::drill::Dice;
use super::fault_drive::{Drive, Entry, Faults, Kind, Node, ROOT, Result, Rules, Step, Survival, is_hit};
use super::fault_medium::{BLOCK_BYTES, Block, garbage, torn, zeros};

impl Drive {
    /// Brings a file's bytes to the medium. After a failure the cache has dropped them, as Linux does.
    pub(crate) fn sync_file(&mut self, node: u64) -> Result<()> {
        if self.faults.ignores_sync {
            return Ok(());
        }
        let file = self.file_mut(node)?;
        file.durable_bytes = file.size_bytes;
        let (dirty, name) = (std::mem::take(&mut file.dirty), file.name.clone());
        let mut done = Ok(());
        for (index, block) in dirty {
            match is_hit(&self.faults.unwritable, &name, index) {
                true => done = Err(Errno::EIO),
                false => self.store(node, index, block)?,
            }
        }
        done
    }

    fn store(&mut self, node: u64, index: u64, block: Option<Block>) -> Result<()> {
        let Some(block) = block else {
            self.file_mut(node)?.places.remove(&index);
            return Ok(());
        };
        let place = match self.file(node)?.places.get(&index) {
            Some(&place) => place,
            None => self.medium.new_place(),
        };
        self.medium.write(place, block);
        self.file_mut(node)?.places.insert(index, place);
        Ok(())
    }

    /// Brings a folder's names to the medium; with a journal, also whatever was changed before.
    pub(crate) fn sync_folder(&mut self, folder: u64) -> Result<()> {
        self.names(folder)?;
        if self.faults.ignores_sync {
            return Ok(());
        }
        match self.rules {
            Rules::Journalled => {
                let touches = |step: &Step| step.iter().any(|change| change.0 == folder);
                let count = self.journal.iter().rposition(touches).map_or(0, |last| last + 1);
                let steps: Vec<Step> = self.journal.drain(..count).collect();
                steps.into_iter().flatten().for_each(|change| self.keep_name(change));
            }
            Rules::Fat => {
                let steps = std::mem::take(&mut self.journal);
                for change in steps.into_iter().flatten() {
                    match change.0 == folder {
                        true => self.keep_name(change),
                        false => self.journal.push(vec![change]),
                    }
                }
            }
        }
        Ok(())
    }

    /// Brings everything to the medium, however it is set.
    pub(crate) fn sync_all(&mut self) {
        let nodes: Vec<u64> = self.nodes.keys().copied().collect();
        for node in nodes {
            // Each is a file or a folder; the other call refuses.
            let _ = self.sync_file(node);
            let _ = self.sync_folder(node);
        }
    }

    fn keep_name(&mut self, (folder, key, entry): (u64, String, Option<Entry>)) {
        if let Some(Node { kind: Kind::Folder { durable, .. }, .. }) = self.nodes.get_mut(&folder) {
            match entry {
                Some(entry) => durable.insert(key, entry),
                None => durable.remove(&key),
            };
        }
    }

    /// Pulls the drive out: of what only the cache had, some survives. The faults are over then.
    pub(crate) fn lose_power(&mut self, survival: Survival) {
        let (mut dice, percent) = match survival {
            Survival::Nothing => (Dice::new(0), 0),
            Survival::Seed(seed) => {
                let mut dice = Dice::new(seed);
                let percent = [0, 30, 60, 95][dice.below(4) as usize];
                (dice, percent)
            }
        };
        self.faults = Faults::default();
        self.lose_names(&mut dice, percent);
        let mut nodes: Vec<u64> = self.nodes.keys().copied().collect();
        nodes.sort_unstable();
        for node in nodes {
            self.lose_bytes(node, &mut dice, percent);
        }
        self.medium.lose_power();
        self.forget_unreachable();
    }

    fn lose_names(&mut self, dice: &mut Dice, percent: u64) {
        let steps = std::mem::take(&mut self.journal);
        if self.rules == Rules::Journalled {
            let count = if percent == 0 { 0 } else { dice.below(steps.len() as u64 + 1) };
            steps.into_iter().take(count as usize).flatten().for_each(|change| self.keep_name(change));
            return;
        }
        let mut lost: BTreeSet<(u64, String)> = BTreeSet::new();
        for change in steps.into_iter().flatten() {
            let name = (change.0, change.1.clone());
            // The changes of one name reach the medium in their order.
            if lost.contains(&name) || !dice.chance(percent) {
                lost.insert(name);
            } else {
                self.keep_name(change);
            }
        }
    }

    fn lose_bytes(&mut self, node: u64, dice: &mut Dice, percent: u64) {
        let Ok(file) = self.file_mut(node) else { return };
        let dirty = std::mem::take(&mut file.dirty);
        let has_new_size = dice.chance(percent);
        file.size_bytes = if has_new_size { file.size_bytes } else { file.durable_bytes };
        let is_garbage = dice.chance(50);
        for (index, block) in dirty {
            let block = match block {
                Some(new) if dice.chance(percent) => match dice.chance(20) {
                    true => {
                        let old = self.file(node).map_or_else(|_| zeros(), |file| self.block(file, index));
                        Some(torn(&old, &new, dice))
                    }
                    false => Some(new),
                },
                // The file grew over a place whose new bytes never came.
                Some(_) if has_new_size && is_garbage => {
                    let has_place = self.file(node).is_ok_and(|file| file.places.contains_key(&index));
                    if has_place { continue } else { Some(garbage(dice)) }
                }
                Some(_) => continue,
                None if has_new_size => None,
                None => continue,
            };
            let _ = self.store(node, index, block);
        }
        let _ = self.file_mut(node).map(|file| {
            file.durable_bytes = file.size_bytes;
            file.places.split_off(&file.size_bytes.div_ceil(BLOCK_BYTES));
        });
    }

    /// What no name leads to any more is gone; the cache begins with what the medium has.
    fn forget_unreachable(&mut self) {
        let mut links: HashMap<u64, u32> = HashMap::new();
        let mut queue = vec![ROOT];
        let mut seen = BTreeSet::from([ROOT]);
        while let Some(folder) = queue.pop() {
            if let Some(Node { kind: Kind::Folder { names, durable }, .. }) = self.nodes.get_mut(&folder) {
                names.clone_from(durable);
                for entry in durable.values() {
                    *links.entry(entry.node).or_default() += 1;
                    if seen.insert(entry.node) {
                        queue.push(entry.node);
                    }
                }
            }
        }
        self.nodes.retain(|node, _| seen.contains(node));
        for (node, count) in links {
            if let Ok(file) = self.file_mut(node) {
                file.num_links = count;
            }
        }
    }

    // ── damage ───────────────────────────────────────────────────────────────────────────────

    /// Every file, as path and size, sorted.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        let mut queue = vec![(String::new(), ROOT)];
        while let Some((path, node)) = queue.pop() {
            match self.node(node).map(|node| &node.kind) {
                Ok(Kind::File(file)) => files.push((path, file.size_bytes)),
                Ok(Kind::Folder { names, .. }) => {
                    queue.extend(names.values().map(|entry| (format!("{path}/{}", entry.name), entry.node)));
                }
                Err(_) => {}
            }
        }
        files.sort();
        files
    }

    /// Flips one bit of a file on the medium.
    pub(crate) fn flip(&mut self, path: &str, at: u64) -> Result<()> {
        let node = self.find(path)?;
        let place = self.file(node)?.places.get(&(at / BLOCK_BYTES)).copied().ok_or(Errno::ENOENT)?;
        self.medium.flip(place, (at % BLOCK_BYTES) as usize);
        Ok(())
    }

    /// Cuts a file on the medium; its name stays.
    pub(crate) fn cut(&mut self, path: &str, size_bytes: u64) -> Result<()> {
        let node = self.find(path)?;
        self.resize(node, size_bytes)?;
        self.sync_file(node)
    }
}
