//! What a disk may hold after the power went: everything that was synchronised, and of everything
//! else any part, in any order, torn at sectors.

use std::collections::BTreeMap;
use std::path::Path;

use super::seed::Dice;
use super::tracer::Event;

const SECTOR: usize = 512;

#[derive(Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

/// A directory on a disk.
#[derive(Default)]
struct Disk {
    inodes: Vec<Inode>,
    /// Names as the running program sees them.
    names: BTreeMap<String, usize>,
    /// Names that are on the disk for sure.
    durable: BTreeMap<String, usize>,
    /// Changes of names that may not be there yet, in order.
    renamed: Vec<(String, Option<usize>)>,
}

impl Disk {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(name) => {
                let inode = self.inodes.len();
                self.inodes.push(Inode::default());
                self.names.insert(name.clone(), inode);
                self.renamed.push((name.clone(), Some(inode)));
            }
            Event::Remove(name) => {
                self.names.remove(name);
                self.renamed.push((name.clone(), None));
            }
            Event::Write { file, at, data } => {
                self.pending(file).push(Change::Write(*at, data.clone()));
            }
            Event::Truncate { file, length } => {
                self.pending(file).push(Change::Truncate(*length));
            }
            Event::Sync(file) => {
                let inode = &mut self.inodes[self.names[file]];
                for change in std::mem::take(&mut inode.pending) {
                    change.apply(&mut inode.durable);
                }
            }
            Event::SyncDirectory => {
                for (name, inode) in std::mem::take(&mut self.renamed) {
                    rename(&mut self.durable, name, inode);
                }
            }
            Event::Said(_) => {}
        }
    }

    fn pending(&mut self, file: &str) -> &mut Vec<Change> {
        &mut self.inodes[self.names[file]].pending
    }
}

fn rename(names: &mut BTreeMap<String, usize>, name: String, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(&name),
    };
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let at = usize::try_from(at).unwrap();
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[at..at + data.len()].copy_from_slice(&data);
            }
            Self::Truncate(length) => bytes.resize(usize::try_from(length).unwrap(), 0),
        }
    }

    /// The parts that reached the disk, by chance.
    fn torn(self, dice: &mut Dice, chance: u64) -> Vec<Self> {
        match self {
            Self::Truncate(length) if dice.percent(chance) => vec![Self::Truncate(length)],
            Self::Truncate(_) => vec![],
            Self::Write(at, data) => {
                let mut parts = Vec::new();
                let (mut start, mut from) = (at, 0);
                while from < data.len() {
                    let into = usize::try_from(start).unwrap() % SECTOR;
                    let length = (SECTOR - into).min(data.len() - from);
                    if dice.percent(chance) {
                        parts.push(Self::Write(start, data[from..from + length].to_vec()));
                    }
                    from += length;
                    start += length as u64;
                }
                parts
            }
        }
    }
}

/// Writes into `place` what may be left of a directory after these events.
pub(crate) fn after_power_cut(events: &[Event], dice: &mut Dice, place: &Path) {
    let mut disk = Disk::default();
    events.iter().for_each(|event| disk.apply(event));
    let kept = usize::try_from(dice.below(disk.renamed.len() as u64 + 1)).unwrap();
    for (name, inode) in disk.renamed.drain(..).take(kept) {
        rename(&mut disk.durable, name, inode);
    }
    let mut inodes: Vec<Option<Inode>> = disk.inodes.into_iter().map(Some).collect();
    for (name, at) in disk.durable {
        let Some(mut inode) = inodes[at].take() else {
            continue;
        };
        // Nothing, half or all of what waited, by file: a disk may favour one.
        let chance = [0, 50, 90, 100][usize::try_from(dice.below(4)).unwrap()];
        for change in inode.pending {
            for part in change.torn(dice, chance) {
                part.apply(&mut inode.durable);
            }
        }
        std::fs::write(place.join(name), &inode.durable).unwrap();
    }
}
