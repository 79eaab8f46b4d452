//! A disk with a page cache before it. What is written is seen at once and lasts
//! through the end of a process; through a power loss lasts what was synced, and
//! of the rest what chance lets through: whole blocks, none, or torn ones.

use crate::rng::Rng;
use refreshd::state::journal::{Medium, MediumFile};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Blocks that hold only zeros are not kept.
type Blocks = BTreeMap<u64, Rc<[u8; BLOCK]>>;

#[derive(Clone)]
pub(crate) struct SimDisk(Rc<RefCell<Inner>>);

struct Inner {
    rng: Rng,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Nothing new can be allocated.
    full: bool,
    /// So many syncs are yet to fail.
    failing_syncs: u32,
    failing_writes: u32,
    /// The machine ends before the operation of that number from now.
    dies_in: Option<u32>,
    dead: bool,
}

#[derive(Clone, Default)]
struct Inode {
    size: u64,
    durable_size: u64,
    live: Blocks,
    durable: Blocks,
    dirty: BTreeSet<u64>,
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        SimDisk(Rc::new(RefCell::new(Inner {
            rng: Rng::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            full: false,
            failing_syncs: 0,
            failing_writes: 0,
            dies_in: None,
            dead: false,
        })))
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.0.borrow_mut().full = full;
    }

    pub(crate) fn fail(&self, syncs: u32, writes: u32) {
        let inner = &mut *self.0.borrow_mut();
        inner.failing_syncs = syncs;
        inner.failing_writes = writes;
    }

    pub(crate) fn is_troubled(&self) -> bool {
        let inner = self.0.borrow();
        inner.full || inner.failing_syncs > 0 || inner.failing_writes > 0
    }

    /// The process ends in the middle, before that operation.
    pub(crate) fn die_in(&self, operations: u32) {
        self.0.borrow_mut().dies_in = Some(operations);
    }

    /// Whether it ended there; forgotten by this.
    pub(crate) fn take_dead(&self) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.dies_in = None;
        std::mem::take(&mut inner.dead)
    }

    /// The power goes: the page cache is lost.
    pub(crate) fn lose_power(&self) {
        let inner = &mut *self.0.borrow_mut();
        if inner.rng.percent(50) {
            inner.durable_names = inner.names.clone();
        } else {
            inner.names = inner.durable_names.clone();
        }
        let rng = &mut inner.rng;
        for inode in &mut inner.inodes {
            // Chance favours all, none, or a mixture.
            let favour = rng.pick(&[0, 30, 70, 100]);
            for at in std::mem::take(&mut inode.dirty) {
                if rng.percent(20) {
                    inode.tear(at, rng);
                } else if rng.percent(favour) {
                    inode.write_back(at);
                }
            }
            if inode.size != inode.durable_size && rng.percent(50) {
                inode.durable_size = inode.size;
            }
            inode.size = inode.durable_size;
            inode.live = inode.durable.clone();
        }
    }

    /// All files as they are, copied away.
    pub(crate) fn copy(&self) -> Copy {
        let inner = self.0.borrow();
        let file = |(name, inode): (&String, &usize)| (name.clone(), inner.inodes[*inode].clone());
        Copy(inner.names.iter().map(file).collect())
    }

    /// The files of a copy in the place of what there is, synced.
    pub(crate) fn put_back(&self, copy: &Copy) {
        let inner = &mut *self.0.borrow_mut();
        inner.names.clear();
        for (name, inode) in &copy.0 {
            let mut inode = inode.clone();
            inode.durable = inode.live.clone();
            inode.durable_size = inode.size;
            inode.dirty.clear();
            inner.inodes.push(inode);
            inner.names.insert(name.clone(), inner.inodes.len() - 1);
        }
        inner.durable_names = inner.names.clone();
    }

    /// A file as a power loss would leave it at the worst: what was synced.
    pub(crate) fn durable(&self, name: &str) -> Option<Durable> {
        let inode = *self.0.borrow().durable_names.get(name)?;
        Some(Durable(self.clone(), inode))
    }

    /// Counts an operation; an error when the process ended before it, or at it.
    fn step(&self) -> io::Result<()> {
        let inner = &mut *self.0.borrow_mut();
        match &mut inner.dies_in {
            _ if inner.dead => {}
            Some(0) => inner.dead = true,
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
            None => return Ok(()),
        }
        Err(io::Error::other("the process has ended"))
    }
}

/// Files that were copied away.
pub(crate) struct Copy(Vec<(String, Inode)>);

impl Inode {
    fn write_back(&mut self, at: u64) {
        match self.live.get(&at) {
            Some(block) => drop(self.durable.insert(at, Rc::clone(block))),
            None => drop(self.durable.remove(&at)),
        }
    }

    /// Some sectors are new, and some are old.
    fn tear(&mut self, at: u64, rng: &mut Rng) {
        let read = |blocks: &Blocks| blocks.get(&at).map_or(ZEROS, |block| **block);
        let (new, mut torn) = (read(&self.live), read(&self.durable));
        let prefix = rng.percent(50).then(|| rng.index(BLOCK / SECTOR));
        for sector in 0..BLOCK / SECTOR {
            if prefix.map_or_else(|| rng.percent(50), |end| sector < end) {
                let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                torn[bytes.clone()].copy_from_slice(&new[bytes]);
            }
        }
        self.durable.insert(at, Rc::new(torn));
    }

    fn read(&self, blocks: &Blocks, size: u64, bytes: &mut [u8], at: u64) -> io::Result<()> {
        if at + bytes.len() as u64 > size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            let block = place / BLOCK as u64;
            let from = usize::try_from(place % BLOCK as u64).expect("less than a block");
            let length = (BLOCK - from).min(bytes.len() - done);
            let source = blocks.get(&block).map_or(&ZEROS, |block| &**block);
            bytes[done..done + length].copy_from_slice(&source[from..from + length]);
            done += length;
        }
        Ok(())
    }
}

impl Medium for SimDisk {
    type File = SimFile;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        self.step()?;
        let inner = &mut *self.0.borrow_mut();
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.inodes.push(Inode::default());
        let inode = inner.inodes.len() - 1;
        inner.names.insert(name.to_owned(), inode);
        Ok(SimFile(self.clone(), inode))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let found = self.0.borrow().names.get(name).copied();
        let inode = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile(self.clone(), inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let inner = &mut *self.0.borrow_mut();
        let inode = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?;
        let removed = self.0.borrow_mut().names.remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step()?;
        let inner = &mut *self.0.borrow_mut();
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/sim").join(name)
    }
}

pub(crate) struct SimFile(SimDisk, usize);

impl MediumFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.0.borrow().inodes[self.1].size)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let inner = self.0.0.borrow();
        let inode = &inner.inodes[self.1];
        inode.read(&inode.live, inode.size, bytes, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        assert!(
            at.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK),
            "the journal writes whole blocks"
        );
        let ended = self.0.step();
        let inner = &mut *self.0.0.borrow_mut();
        let (rng, inode) = (&mut inner.rng, &mut inner.inodes[self.1]);
        let mut blocks = bytes.len() / BLOCK;
        let mut result = ended;
        if result.is_err() {
            blocks = if inner.dies_in == Some(0) {
                rng.index(blocks + 1)
            } else {
                0
            };
            inner.dies_in = None;
        } else if inner.failing_writes > 0 {
            inner.failing_writes -= 1;
            blocks = rng.index(blocks + 1);
            result = Err(io::Error::from_raw_os_error(5));
        }
        for (number, chunk) in bytes.chunks_exact(BLOCK).take(blocks).enumerate() {
            let block = at / BLOCK as u64 + number as u64;
            if chunk == ZEROS {
                // Zeros over zeros count as well where a failed sync left others behind.
                let changes = inode.durable.contains_key(&block);
                if inode.live.remove(&block).is_some() || changes {
                    inode.dirty.insert(block);
                }
            } else {
                let chunk: [u8; BLOCK] = chunk.try_into().expect("a block");
                inode.live.insert(block, Rc::new(chunk));
                inode.dirty.insert(block);
            }
            inode.size = inode.size.max((block + 1) * BLOCK as u64);
        }
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.0.step()?;
        let inner = &mut *self.0.0.borrow_mut();
        let (rng, inode) = (&mut inner.rng, &mut inner.inodes[self.1]);
        let fails = inner.failing_syncs > 0;
        inner.failing_syncs = inner.failing_syncs.saturating_sub(1);
        // A failed sync leaves the pages clean, and chance decides what is on the disk.
        for at in std::mem::take(&mut inode.dirty) {
            if !fails || rng.percent(50) {
                inode.write_back(at);
            }
        }
        if fails {
            return Err(io::Error::from_raw_os_error(5));
        }
        inode.durable_size = inode.size;
        Ok(())
    }
}

/// What of a file is beyond loss.
pub(crate) struct Durable(SimDisk, usize);

impl MediumFile for Durable {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.0.borrow().inodes[self.1].durable_size)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let inner = self.0.0.borrow();
        let inode = &inner.inodes[self.1];
        inode.read(&inode.durable, inode.durable_size, bytes, at)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
