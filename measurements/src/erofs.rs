//! An EROFS image of one directory of files, uncompressed, the same bytes for the same files.
//!
//! Layout: the kernel's `fs/erofs/erofs_fs.h`; only what a flat read-only directory needs of it:
//! block 0 holds the superblock, then come the inodes (64 bytes each, the root directory's first),
//! then the directory's blocks, then the files' data in the order of their names, each padded with
//! zeros to whole blocks of 4096 bytes. Owner and group are 0 and every time is 0. What is
//! deliberately not here: subdirectories, links, attributes, compression, a checksum of the
//! superblock (dm-verity covers it), and reading an image back.

/// Blocks of the image.
pub const BLOCK_BYTES: u64 = 4096;
/// Files of one image, at most.
pub const MAX_FILES: usize = 4096;

const BLOCK: usize = 4096;
const MAX_NAME: usize = 255;
const SUPERBLOCK_AT: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = 12;
const INODE_BYTES: u64 = 64;
const INODES_PER_BLOCK: u64 = BLOCK_BYTES / INODE_BYTES;
/// A node number counts 32-byte slots from the start of the image.
const SLOTS_PER_INODE: u64 = 2;
/// Inodes begin in block 1.
const ROOT_NID: u16 = 128;
/// Version 1 (64 bytes), data layout 0: whole blocks, one after the other.
const FORMAT: u16 = 1;
const DIRECTORY_MODE: u16 = 0o040_555;
const FILE_MODE: u16 = 0o100_444;
const ENTRY_BYTES: usize = 12;
const KIND_FILE: u8 = 1;
const KIND_DIRECTORY: u8 = 2;

/// Why files do not fit into an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErofsError {
    /// More than [`MAX_FILES`].
    #[error("more than {MAX_FILES} files in one image")]
    TooManyFiles,
    /// A name that a directory cannot hold.
    #[error("file {number} has a name that is empty, longer than 255 bytes, or no plain name")]
    Name {
        /// Number of the file, from 0, in the order of names.
        number: usize,
    },
    /// Two files have one name.
    #[error("file {number} repeats a name")]
    Duplicate {
        /// Number of the file, from 0, in the order of names.
        number: usize,
    },
    /// More than 2^32 blocks.
    #[error("files exceed 16 TiB")]
    TooLong,
}

/// A file to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A file and where its data begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    file: FileEntry,
    block: u32,
}

/// Where everything lies in an image whose files are not read yet.
#[derive(Debug, Clone)]
pub struct Layout {
    uuid: [u8; 16],
    /// In the order of names.
    files: Vec<Placed>,
    directory: Directory,
    directory_block: u32,
    blocks: u32,
}

impl Layout {
    /// Places files, in the order of their names.
    ///
    /// # Errors
    /// See [`ErofsError`].
    pub fn plan(mut files: Vec<FileEntry>, uuid: [u8; 16]) -> Result<Self, ErofsError> {
        if files.len() > MAX_FILES {
            return Err(ErofsError::TooManyFiles);
        }
        files.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        check_names(&files)?;
        let directory = Directory::of(&files);
        let inodes = u64::try_from(files.len()).unwrap_or(u64::MAX);
        let inode_blocks = inodes.saturating_add(1).div_ceil(INODES_PER_BLOCK);
        let directory_block = inode_blocks.saturating_add(1);
        let mut next = directory_block.saturating_add(directory.blocks());
        let mut placed = Vec::with_capacity(files.len());
        for file in files {
            let block = u32::try_from(next).map_err(|_| ErofsError::TooLong)?;
            next = next.saturating_add(file.bytes.div_ceil(BLOCK_BYTES));
            placed.push(Placed { file, block });
        }
        Ok(Self {
            uuid,
            files: placed,
            directory,
            directory_block: u32::try_from(directory_block).map_err(|_| ErofsError::TooLong)?,
            blocks: u32::try_from(next).map_err(|_| ErofsError::TooLong)?,
        })
    }

    /// Blocks of the whole image.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Files in the order in which their data follows [`Layout::head`].
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().map(|placed| &placed.file)
    }

    /// Everything in front of the first file's data.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; SUPERBLOCK_AT];
        head.extend(self.superblock());
        head.resize(BLOCK, 0);
        let root = Inode {
            mode: DIRECTORY_MODE,
            bytes: self.directory.bytes,
            block: self.directory_block,
            number: 1,
            links: 2,
        };
        head.extend(root.to_bytes());
        for (number, placed) in (2..).zip(&self.files) {
            let inode = Inode {
                mode: FILE_MODE,
                bytes: placed.file.bytes,
                block: placed.block,
                number,
                links: 1,
            };
            head.extend(inode.to_bytes());
        }
        head.resize(head.len().next_multiple_of(BLOCK), 0);
        for block in &self.directory.written {
            head.extend(block);
        }
        head
    }

    fn superblock(&self) -> Vec<u8> {
        let inodes = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        let mut out = Vec::with_capacity(128);
        out.extend(MAGIC.to_le_bytes());
        out.extend([0; 8]); // checksum, compatible features: none
        out.extend([BLOCK_BITS, 0]); // no further slots
        out.extend(ROOT_NID.to_le_bytes());
        out.extend(inodes.saturating_add(1).to_le_bytes());
        out.extend([0; 12]); // time of the build
        out.extend(self.blocks.to_le_bytes());
        out.extend([0; 8]); // node numbers count from block 0; no shared attributes
        out.extend(self.uuid);
        out.resize(128, 0); // no label, no incompatible feature, one device
        out
    }
}

fn check_names(files: &[FileEntry]) -> Result<(), ErofsError> {
    let mut last: Option<&str> = None;
    for (number, file) in files.iter().enumerate() {
        let name = file.name.as_str();
        let plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        if !plain || name.len() > MAX_NAME {
            return Err(ErofsError::Name { number });
        }
        if last.replace(name) == Some(name) {
            return Err(ErofsError::Duplicate { number });
        }
    }
    Ok(())
}

struct Inode {
    mode: u16,
    bytes: u64,
    block: u32,
    number: u32,
    links: u32,
}

impl Inode {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend(FORMAT.to_le_bytes());
        out.extend([0; 2]); // no attributes
        out.extend(self.mode.to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.bytes.to_le_bytes());
        out.extend(self.block.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend([0; 20]); // owner, group, time
        out.extend(self.links.to_le_bytes());
        out.resize(64, 0);
        out
    }
}

/// The root directory's blocks, each with its own entries in front and their names behind.
#[derive(Debug, Clone)]
struct Directory {
    written: Vec<Vec<u8>>,
    /// Up to the end of the last name.
    bytes: u64,
}

/// An entry before it has a place.
struct Entry<'a> {
    name: &'a str,
    nid: u64,
    kind: u8,
}

impl Directory {
    fn of(files: &[FileEntry]) -> Self {
        let root = u64::from(ROOT_NID);
        let mut entries: Vec<Entry<'_>> = [".", ".."]
            .map(|name| Entry {
                name,
                nid: root,
                kind: KIND_DIRECTORY,
            })
            .into();
        entries.extend((1u64..).zip(files).map(|(number, file)| Entry {
            name: &file.name,
            nid: root.saturating_add(number.saturating_mul(SLOTS_PER_INODE)),
            kind: KIND_FILE,
        }));
        // The kernel searches by halving: the two dots stand among the names, in byte order.
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let mut directory = Self {
            written: Vec::new(),
            bytes: 0,
        };
        let mut waiting: Vec<Entry<'_>> = Vec::new();
        let mut held = 0usize;
        for entry in entries {
            let length = entry.name.len().saturating_add(ENTRY_BYTES);
            if held.saturating_add(length) > BLOCK {
                directory.write(&waiting);
                waiting.clear();
                held = 0;
            }
            held = held.saturating_add(length);
            waiting.push(entry);
        }
        directory.write(&waiting);
        directory
    }

    fn blocks(&self) -> u64 {
        u64::try_from(self.written.len()).unwrap_or(u64::MAX)
    }

    fn write(&mut self, entries: &[Entry<'_>]) {
        let before = self.blocks().saturating_mul(BLOCK_BYTES);
        let mut block = Vec::with_capacity(BLOCK);
        let mut name_at = entries.len().saturating_mul(ENTRY_BYTES);
        for entry in entries {
            block.extend(entry.nid.to_le_bytes());
            block.extend(u16::try_from(name_at).unwrap_or(u16::MAX).to_le_bytes());
            block.extend([entry.kind, 0]);
            name_at = name_at.saturating_add(entry.name.len());
        }
        for entry in entries {
            block.extend(entry.name.as_bytes());
        }
        self.bytes = before.saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        block.resize(BLOCK, 0);
        self.written.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64) -> FileEntry {
        FileEntry {
            name: name.to_owned(),
            bytes,
        }
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        crate::bytes::u32_at(bytes, at).unwrap()
    }

    #[test]
    fn files_lie_one_after_the_other_in_the_order_of_their_names() {
        let files = vec![file("model.gguf", 5000), file("a", 0), file("-x", 1)];
        let layout = Layout::plan(files.clone(), [7; 16]).unwrap();
        let names: Vec<_> = layout.files().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["-x", "a", "model.gguf"]);
        // Superblock, inodes, directory, one block of `-x`, two of the model.
        assert_eq!(layout.blocks(), 6);
        let head = layout.head();
        assert_eq!(head.len(), 3 * BLOCK);
        assert_eq!(u32_at(&head, 1024), MAGIC);
        assert_eq!(head[1024 + 0x30..1024 + 0x40], [7; 16]);
        assert_eq!(u32_at(&head, 1024 + 0x24), 6);
        // The third file's inode: 5000 bytes from block 4.
        let inode = BLOCK + 3 * 64;
        assert_eq!(u32_at(&head, inode + 8), 5000);
        assert_eq!(u32_at(&head, inode + 16), 4);
        // `-` sorts before `.`: four entries in front of `model.gguf`.
        let first_name = usize::from(crate::bytes::u16_at(&head, 2 * BLOCK + 8).unwrap());
        assert_eq!(first_name, 5 * ENTRY_BYTES);
        assert!(head[2 * BLOCK + first_name..].starts_with(b"-x...amodel.gguf\0"));
        let mut other = files;
        other.reverse();
        assert_eq!(Layout::plan(other, [7; 16]).unwrap().head(), head);
    }

    #[test]
    fn a_directory_of_many_files_takes_several_blocks_none_split() {
        let files = (0..300).map(|n| file(&format!("weights-{n:05}-of-00300.safetensors"), 1));
        let layout = Layout::plan(files.collect(), [0; 16]).unwrap();
        let blocks = &layout.directory.written;
        assert_eq!(blocks.len(), 4);
        let mut names = 0;
        for block in blocks {
            let first = usize::from(crate::bytes::u16_at(block, 8).unwrap());
            assert!(first.is_multiple_of(ENTRY_BYTES));
            names += first / ENTRY_BYTES;
        }
        assert_eq!(names, 302);
    }

    #[test]
    fn refuses_names_that_a_directory_cannot_hold_and_too_much() {
        for name in ["", ".", "..", "a/b", "a\0", &"n".repeat(256)] {
            let refused = Layout::plan(vec![file(name, 1)], [0; 16]).unwrap_err();
            assert_eq!(refused, ErofsError::Name { number: 0 }, "{name:?}");
        }
        let twice = Layout::plan(vec![file("a", 1), file("a", 2)], [0; 16]);
        assert_eq!(twice.unwrap_err(), ErofsError::Duplicate { number: 1 });
        let long = Layout::plan(vec![file("a", u64::MAX)], [0; 16]);
        assert_eq!(long.unwrap_err(), ErofsError::TooLong);
        let many = (0..=MAX_FILES).map(|n| file(&n.to_string(), 1)).collect();
        let refused = Layout::plan(many, [0; 16]).unwrap_err();
        assert_eq!(refused, ErofsError::TooManyFiles);
    }
}
