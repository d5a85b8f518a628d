//! A file system of the tests' own that fails as removable media fail: mounted through `/dev/fuse`, kept in
//! memory, pulled out at any operation.
//!
//! The kernel keeps what it has read and written in its page cache, also from one opening of a file to the
//! next, exactly as with a real stick: only a program that drops its cached pages meets the medium. (A
//! `syncfs` never reaches a file system like this one; it makes nothing durable here.)

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use tempfile::TempDir;

use super::fault_drive::{Drive, Faults, Kind, ROOT, Result, Rules, Survival};
use super::fault_medium::{BLOCK_BYTES, Beyond};
use super::skipped::skip;

/// Nothing about names and sizes is cached, so that each look meets the drive.
const AT_ONCE: Duration = Duration::ZERO;

/// A drive that is plugged in.
pub(crate) struct FaultFs {
    folder: TempDir,
    drive: Arc<Mutex<Drive>>,
    session: Option<BackgroundSession>,
    num_plugs: u32,
}

impl FaultFs {
    /// Plugs in an empty drive; `None`, said aloud, where nothing can be mounted.
    pub(crate) fn new(rules: Rules, capacity_bytes: u64) -> Option<Self> {
        let drive = Arc::new(Mutex::new(Drive::new(rules, capacity_bytes)));
        let mut file_system =
            Self { folder: tempfile::tempdir().unwrap(), drive, session: None, num_plugs: 0 };
        match file_system.plug() {
            Ok(()) => Some(file_system),
            Err(error) => {
                skip(&format!("a fault-injecting file system: `/dev/fuse` cannot be used: {error}"));
                None
            }
        }
    }

    /// A stick of 4 GiB.
    pub(crate) fn stick() -> Option<Self> {
        Self::new(Rules::Fat, 4 << 30)
    }

    /// Where it is mounted now.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(self.num_plugs.to_string())
    }

    /// The drive behind the mount, to arm faults and to count.
    pub(crate) fn drive(&self) -> MutexGuard<'_, Drive> {
        self.drive.lock().unwrap()
    }

    pub(crate) fn arm(&self, faults: Faults) {
        self.drive().faults = faults;
    }

    /// Gives the stick a false label: behind `real_bytes` more than it holds now, nothing is kept.
    pub(crate) fn fake_capacity(&self, real_bytes: u64, beyond: Beyond) {
        let mut drive = self.drive();
        let end = drive.medium.num_places() + real_bytes / BLOCK_BYTES;
        drive.medium.real_end = Some((end, beyond));
    }

    /// Pulls the drive out and plugs it in again, with what survived. The faults are over then.
    pub(crate) fn replug(&mut self, survival: Survival) {
        self.unplug();
        self.drive().lose_power(survival);
        self.plug().unwrap();
    }

    /// Makes the drive empty.
    pub(crate) fn format(&mut self) {
        self.unplug();
        let mut drive = self.drive();
        *drive = Drive::new(drive.rules, drive.capacity_bytes);
        drop(drive);
        self.plug().unwrap();
    }

    /// How many operations `deed` takes, and how many bytes it writes.
    pub(crate) fn count<T>(&self, deed: impl FnOnce() -> T) -> (T, u64, u64) {
        let counted = || {
            let drive = self.drive();
            (drive.num_operations, drive.bytes_written)
        };
        let before = counted();
        let done = deed();
        let after = counted();
        (done, after.0 - before.0, after.1 - before.1)
    }

    /// Copies a folder onto the drive, and brings it to the medium.
    pub(crate) fn load(&self, from: &Path) {
        copy_tree(from, &self.path());
        let mut drive = self.drive();
        drive.sync_all();
        drive.bytes_written = 0;
    }

    fn plug(&mut self) -> std::io::Result<()> {
        self.num_plugs += 1;
        fs::create_dir_all(self.path())?;
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("localml-faults".into()), MountOption::NoDev];
        let glue = Glue { drive: Arc::clone(&self.drive) };
        self.session = Some(fuser::spawn_mount(glue, self.path(), &options)?);
        Ok(())
    }

    fn unplug(&mut self) {
        // Whatever the kernel still sends meets a drive that is gone.
        self.drive().faults.operations_left = Some(0);
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            // A process that is just being started may hold a copy of a file handle.
            println!("unmounting took a second try: {error}");
            let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        // A test that failed may have poisoned the lock; the mount must go all the same.
        if let Ok(mut drive) = self.drive.lock() {
            drive.faults.operations_left = Some(0);
        }
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// Copies all of a folder into another, which may exist.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match from.is_dir() {
            true => copy_tree(&from, &to),
            false => fs::write(&to, fs::read(&from).unwrap()).unwrap(),
        }
    }
}

/// What stands between the kernel and the drive.
struct Glue {
    drive: Arc<Mutex<Drive>>,
}

impl Glue {
    /// The drive, one operation later; an error when it is pulled out.
    fn step(&self) -> Result<MutexGuard<'_, Drive>> {
        let mut drive = self.drive.lock().map_err(|_| Errno::EIO)?;
        drive.step()?;
        Ok(drive)
    }

    fn entry(&self, deed: impl FnOnce(&mut Drive) -> Result<u64>) -> Result<FileAttr> {
        let mut drive = self.step()?;
        let node = deed(&mut drive)?;
        attributes(&drive, node)
    }

    fn do_it(&self, deed: impl FnOnce(&mut Drive) -> Result<()>, reply: ReplyEmpty) {
        match self.step().and_then(|mut drive| deed(&mut drive)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

fn text(name: &OsStr) -> Result<&str> {
    name.to_str().ok_or(Errno::EINVAL)
}

/// Makes a file or a folder with the mode that its maker asked for.
fn make(drive: &mut Drive, (parent, name): (u64, &OsStr), is_folder: bool, mode: u32) -> Result<u64> {
    let node = drive.make(parent, text(name)?, is_folder)?;
    drive.node_mut(node)?.mode = (mode & 0o7777) as u16;
    Ok(node)
}

fn attributes(drive: &Drive, number: u64) -> Result<FileAttr> {
    let node = drive.node(number)?;
    let (kind, size, nlink) = match &node.kind {
        Kind::File(file) => (FileType::RegularFile, file.size_bytes, file.num_links),
        Kind::Folder { .. } => (FileType::Directory, BLOCK_BYTES, 2),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: node.changed,
        mtime: node.changed,
        ctime: node.changed,
        crtime: node.changed,
        kind,
        perm: if drive.rules == Rules::Fat { 0o755 } else { node.mode },
        nlink,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES as u32,
        flags: 0,
    })
}

fn reply_entry(entry: Result<FileAttr>, reply: ReplyEntry) {
    match entry {
        Ok(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

/// The page cache stays from one opening to the next; folders are read anew.
const OPENED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE;

impl Filesystem for Glue {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply_entry(self.entry(|drive| drive.lookup(parent.0, text(name)?)), reply);
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.entry(|_| Ok(node.0)) {
            Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.entry(|drive| {
            if let Some(mode) = mode {
                if drive.rules == Rules::Fat {
                    return Err(Errno::EPERM);
                }
                drive.node_mut(node.0)?.mode = (mode & 0o7777) as u16;
            }
            if let Some(size) = size {
                drive.resize(node.0, size)?;
            }
            Ok(node.0)
        });
        match changed {
            Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.entry(|drive| make(drive, (parent.0, name), true, mode & !umask));
        reply_entry(made, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.do_it(|drive| drive.remove(parent.0, text(name)?, false), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.do_it(|drive| drive.remove(parent.0, text(name)?, true), reply);
    }

    fn symlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _to: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let deed = |drive: &mut Drive| match flags.is_empty() {
            true => drive.rename((parent.0, text(name)?), (new_parent.0, text(new_name)?)),
            false => Err(Errno::EINVAL),
        };
        self.do_it(deed, reply);
    }

    fn link(&self, _request: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.entry(|drive| drive.link(node.0, parent.0, text(name)?).map(|()| node.0));
        reply_entry(linked, reply);
    }

    fn open(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.step() {
            Ok(_) => reply.opened(FileHandle(0), OPENED),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.entry(|drive| make(drive, (parent.0, name), false, mode & !umask));
        match made {
            Ok(attributes) => reply.created(&AT_ONCE, &attributes, Generation(0), FileHandle(0), OPENED),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.step().and_then(|drive| drive.read(node.0, offset, size.into())) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.step().and_then(|mut drive| drive.write(node.0, offset, data)) {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, node: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.do_it(|drive| drive.sync_file(node.0), reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        self.do_it(|drive| drive.sync_folder(node.0), reply);
    }

    fn readdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.step().and_then(|drive| {
            let mut listed = vec![
                (node.0, FileType::Directory, ".".to_owned()),
                (ROOT, FileType::Directory, "..".to_owned()),
            ];
            for entry in drive.names(node.0)?.values() {
                listed.push((entry.node, attributes(&drive, entry.node)?.kind, entry.name.clone()));
            }
            Ok(listed)
        });
        match listed {
            Ok(listed) => {
                for (at, (node, kind, name)) in (0u64..).zip(listed).skip(offset as usize) {
                    if reply.add(INodeNo(node), at + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        match self.step() {
            Ok(drive) => {
                let free = drive.free_bytes() / BLOCK_BYTES;
                let (all, size) = (drive.capacity_bytes / BLOCK_BYTES, BLOCK_BYTES as u32);
                reply.statfs(all, free, free, 1 << 20, 1 << 20, size, 255, size);
            }
            Err(error) => reply.error(error),
        }
    }
}
