//! The commit: new files beside the old, the head last, then what nobody names goes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::disk;
use crate::index::analyser::ANALYSER_VERSION;
use crate::index::catalogue::{FileEntry, FileState};
use crate::index::collection::{TEXTS_FOLDER, WORDS_FOLDER, live_ranges, read_table};
use crate::index::error::Result;
use crate::index::head::{FORMAT, FileSeal, Head, SegmentHead, VectorsHead, damage, to_json};
use crate::index::passages::{PassageReader, PassageWriter, id_of, parts_of};
use crate::index::vectors::VectorTable;
use crate::passage::Passage;

use super::{Update, highest_number, names_in};

/// More files of passages than this are joined into one.
const MAX_SEGMENTS: usize = 24;
/// So many passages may belong to no file before the rest is written anew.
const MIN_DEAD_TO_JOIN: u64 = 1000;

impl Update {
    pub(super) fn write(mut self, before: Option<Head>) -> Result<Head> {
        let generation = before.as_ref().map_or(1, |head| head.generation + 1).max(self.next_generation());
        let is_new = before.is_none();
        let (mut segments, mut vectors) =
            before.map(|head| (head.segments, head.vectors)).unwrap_or_default();
        if let Some(writer) = self.new_passages.take().filter(|writer| writer.len() > 0) {
            segments.push(writer.finish(&self.folder)?);
        }
        let ranges = live_ranges(self.files.values());
        count_dead(&mut segments, &ranges);
        if is_worth_joining(&segments) {
            segments = vec![self.join(&segments)?];
            vectors = None;
        }
        segments.retain(|segment| segment.num_dead < segment.num_passages);
        if self.rebuilds_words {
            self.rebuild_words(&segments)?;
        }
        if let Some(words) = self.words.take() {
            words.commit(generation)?;
        } else if is_new {
            self.new_words()?.writer()?.commit(generation)?;
        }
        let vectors = self.keep_live_vectors(vectors, generation)?;
        let head = self.new_head(generation, segments, vectors)?;
        head.write(&self.folder)?;
        remove_strangers(&self.folder, &head, &self.files);
        Ok(head)
    }

    /// Never a generation that left files behind.
    fn next_generation(&self) -> u64 {
        highest_number(&self.folder, "files-") + 1
    }

    fn new_head(
        &self,
        generation: u64,
        segments: Vec<SegmentHead>,
        vectors: Option<VectorsHead>,
    ) -> Result<Head> {
        let files_name = format!("files-{generation}.json");
        let entries: Vec<&FileEntry> = self.files.values().collect();
        disk::write_atomic(&self.folder.join(&files_name), &to_json(&entries)?)?;
        let mut languages = BTreeMap::new();
        let mut num_passages = 0;
        for entry in self.files.values() {
            if let FileState::Indexed { num_passages: count, language, .. } = &entry.state {
                num_passages += u64::from(*count);
                if let Some(language) = language {
                    *languages.entry(language.clone()).or_default() += u64::from(*count);
                }
            }
        }
        Ok(Head {
            format: FORMAT,
            generation,
            chunker_version: self.chunking.0,
            max_tokens: self.chunking.1,
            analyser_version: ANALYSER_VERSION,
            num_passages,
            languages,
            files: FileSeal::of(&self.folder, &files_name)?,
            segments,
            words: seal_words(&self.folder)?,
            vectors,
        })
    }

    /// Writes all passages that belong to a file into one new segment, with new ids.
    fn join(&mut self, segments: &[SegmentHead]) -> Result<SegmentHead> {
        let readers = self.readers(segments)?;
        let number = self.next_segment();
        let mut writer = PassageWriter::create(&self.folder, number)?;
        for entry in self.files.values_mut() {
            if let FileState::Indexed { first_id, num_passages, .. } = &mut entry.state {
                let old = *first_id;
                *first_id = id_of(number, u32::try_from(writer.len()).unwrap_or(u32::MAX));
                for id in old..old + u64::from(*num_passages) {
                    writer.add(&read(&readers, id, &self.roots.name)?)?;
                }
            }
        }
        self.rebuilds_words = true;
        writer.finish(&self.folder)
    }

    fn rebuild_words(&mut self, segments: &[SegmentHead]) -> Result<()> {
        let readers = self.readers(segments)?;
        self.words = None;
        disk::remove_dir_all(&self.folder.join(WORDS_FOLDER))?;
        let mut words = self.new_words()?.writer()?;
        for (first, count) in live_ranges(self.files.values()) {
            for id in first..first + u64::from(count) {
                let passage = read(&readers, id, &self.roots.name)?;
                words.add(id, first, self.analyser.passage_terms(&passage))?;
            }
        }
        self.words = Some(words);
        Ok(())
    }

    fn readers(&self, segments: &[SegmentHead]) -> Result<HashMap<u32, PassageReader>> {
        let open = |segment: &SegmentHead| {
            Ok((segment.number, PassageReader::open(&self.folder, segment, &self.roots.name)?))
        };
        segments.iter().map(open).collect()
    }

    /// A passage that is gone must not be found by its vector.
    fn keep_live_vectors(&self, head: Option<VectorsHead>, generation: u64) -> Result<Option<VectorsHead>> {
        let Some(mut head) = head else { return Ok(None) };
        let table = read_table(&self.folder, &head, &self.roots.name)?;
        let ranges = live_ranges(self.files.values());
        if table.ids().all(|id| is_live(&ranges, id)) {
            return Ok(Some(head));
        }
        let mut live = VectorTable::new(table.dimensions());
        table.copy_to(&mut live, |id| is_live(&ranges, id));
        let name = format!("vectors-{generation}.lmv");
        disk::write_atomic(&self.folder.join(&name), live.as_bytes())?;
        head.seal = FileSeal::of(&self.folder, &name)?;
        head.num_vectors = live.len() as u64;
        Ok(Some(head))
    }
}

fn read(readers: &HashMap<u32, PassageReader>, id: u64, collection: &str) -> Result<Passage> {
    let (segment, place) = parts_of(id);
    let reader = readers
        .get(&segment)
        .ok_or_else(|| damage(collection, "files", format!("it names the unknown segment {segment}")))?;
    reader.get(place)
}

fn count_dead(segments: &mut [SegmentHead], ranges: &[(u64, u32)]) {
    for segment in segments {
        let of_segment = ranges.iter().filter(|(first, _)| parts_of(*first).0 == segment.number);
        let num_live: u32 = of_segment.map(|(_, count)| count).sum();
        segment.num_dead = segment.num_passages.saturating_sub(num_live);
    }
}

fn is_worth_joining(segments: &[SegmentHead]) -> bool {
    let num_dead: u64 = segments.iter().map(|segment| u64::from(segment.num_dead)).sum();
    let num_all: u64 = segments.iter().map(|segment| u64::from(segment.num_passages)).sum();
    segments.len() > MAX_SEGMENTS || (num_dead > MIN_DEAD_TO_JOIN && num_dead * 3 > num_all)
}

fn is_live(ranges: &[(u64, u32)], id: u64) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= id);
    after > 0 && id - ranges[after - 1].0 < u64::from(ranges[after - 1].1)
}

fn seal_words(folder: &Path) -> Result<Vec<FileSeal>> {
    let words = folder.join(WORDS_FOLDER);
    let mut names: Vec<String> = names_in(&words);
    // Locks and tantivy's list of files to remove later say nothing about the index.
    names.retain(|name| !name.starts_with('.') && !name.ends_with(".lock"));
    names.sort_unstable();
    names.iter().map(|name| FileSeal::of(folder, &format!("{WORDS_FOLDER}/{name}"))).collect()
}

/// Removes what neither the head nor a file of it names; what cannot be removed only takes space.
pub(in crate::index) fn remove_strangers(folder: &Path, head: &Head, files: &BTreeMap<String, FileEntry>) {
    let is_ours = |name: &str| {
        let is_unfinished = name.starts_with('.') && name.ends_with(".new");
        is_unfinished
            || ["files-", "passages-", "vectors-", "graph-"].iter().any(|prefix| name.starts_with(prefix))
    };
    for name in names_in(folder) {
        if is_ours(&name) && !head.seals().any(|seal| seal.file == name) {
            let _ = disk::remove_file(&folder.join(name));
        }
    }
    let texts = folder.join(TEXTS_FOLDER);
    let is_named = |name: &str| {
        files.values().any(|entry| {
            matches!(&entry.state, FileState::Indexed { text: Some(digest), .. } if name.starts_with(digest))
        })
    };
    for name in names_in(&texts) {
        if !is_named(&name) {
            let _ = disk::remove_file(&texts.join(name));
        }
    }
}
