//! Writes a model image in one pass over its files: data first, each finished block of the hash
//! tree at its place behind it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use protocol::verity::VerityParameters;
use sha2::{Digest as _, Sha256};

use super::source::{Checked, Source};
use super::{FileDigest, FileRecord, ModelImageError, SealedModel};
use crate::erofs::{FileEntry, Layout};
use crate::verity_tree::{self, BLOCK, Block, Geometry, HashBlock, Tree};

const IMAGE: &str = "model.img";
const DESCRIPTION: &str = "model.json";
const MAX_NAME: usize = 64;
/// Data is read and written in pieces of this many bytes.
const PIECE: usize = 256 * BLOCK;

impl Source {
    /// Writes `model.img` and `model.json` into a directory. The image is under its name only when
    /// it is whole.
    ///
    /// # Errors
    /// See [`ModelImageError`].
    pub fn seal(mut self, name: &str, into: &Path) -> Result<SealedModel, ModelImageError> {
        check_name(name)?;
        let salt = verity_tree::salt(&format!("model-{name}"));
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        let entries = self.files.iter().map(|file| FileEntry {
            name: file.name.clone(),
            bytes: file.bytes,
        });
        let uuid = salt.first_chunk::<16>().copied().unwrap_or_default();
        let layout = Layout::plan(entries.collect(), uuid)?;
        std::fs::create_dir_all(into).map_err(|source| cannot_write(into, source))?;
        let (part, image) = (into.join("model.img.part"), into.join(IMAGE));
        let written = self.write(name, &layout, salt, &part);
        let sealed = match written {
            Ok(sealed) => sealed,
            Err(error) => {
                // The reason is worth more than a file that could not be removed.
                let _ = std::fs::remove_file(&part);
                return Err(error);
            }
        };
        std::fs::rename(&part, &image).map_err(|source| cannot_write(&image, source))?;
        let description = into.join(DESCRIPTION);
        let text = serde_json::to_string_pretty(&sealed).map_err(io::Error::from);
        let text = text.map_err(|source| cannot_write(&description, source))?;
        std::fs::write(&description, text + "\n")
            .map_err(|source| cannot_write(&description, source))?;
        Ok(sealed)
    }

    fn write(
        self,
        name: &str,
        layout: &Layout,
        salt: [u8; 32],
        path: &Path,
    ) -> Result<SealedModel, ModelImageError> {
        let mut image = Image::create(path, layout, salt)?;
        image.data(&layout.head())?;
        let mut contents = Vec::new();
        for file in self.files {
            contents.push(image.file(file)?);
        }
        let (verity, image) = image.finish()?;
        Ok(SealedModel {
            version: 1,
            name: name.to_owned(),
            digest: verity.model_digest(),
            verity,
            format: self.format,
            image,
            contents,
        })
    }
}

fn check_name(name: &str) -> Result<(), ModelImageError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(ModelImageError::Name);
    }
    Ok(())
}

fn cannot_write(path: &Path, source: io::Error) -> ModelImageError {
    let path = path.to_owned();
    ModelImageError::Write { path, source }
}

/// An image that is being written.
struct Image {
    path: PathBuf,
    file: File,
    digest: Sha256,
    tree: Tree,
    geometry: Geometry,
    data_blocks: u64,
}

impl Image {
    fn create(path: &Path, layout: &Layout, salt: [u8; 32]) -> Result<Self, ModelImageError> {
        let data_blocks = u64::from(layout.blocks());
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|source| cannot_write(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            digest: Sha256::new(),
            tree: Tree::new(salt),
            geometry: Geometry::behind(data_blocks),
            data_blocks,
        })
    }

    /// Whole blocks of data.
    fn data(&mut self, blocks: &[u8]) -> Result<(), ModelImageError> {
        self.put(blocks)
            .map_err(|source| cannot_write(&self.path, source))
    }

    fn put(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.file.write_all(blocks)?;
        self.digest.update(blocks);
        let mut sink = hash_sink(&self.file, &self.geometry);
        for block in blocks.chunks_exact(BLOCK) {
            let block = block.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
            self.tree.push(block, &mut sink)?;
        }
        Ok(())
    }

    /// A file's data, padded; refused when it is not what was checked.
    fn file(&mut self, mut from: Checked) -> Result<FileRecord, ModelImageError> {
        let mut digest = Sha256::new();
        let mut unchecked = from.checked_bytes;
        let mut left = from.bytes;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            piece.resize(take, 0);
            from.file
                .read_exact(&mut piece)
                .map_err(|source| not_read(&from, source))?;
            left = left.saturating_sub(length(&piece));
            let before = usize::try_from(unchecked).unwrap_or(take).min(take);
            let (checked, rest) = piece.split_at(before);
            digest.update(checked);
            unchecked = unchecked.saturating_sub(length(checked));
            if before > 0 && unchecked == 0 {
                let found: [u8; 32] = digest.clone().finalize().into();
                if found != from.checked_digest {
                    return Err(changed(&from));
                }
            }
            digest.update(rest);
            piece.resize(take.next_multiple_of(BLOCK), 0);
            self.data(&piece)?;
        }
        match from.file.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(changed(&from)),
            Err(source) => return Err(not_read(&from, source)),
        }
        Ok(FileRecord {
            name: from.name,
            bytes: from.bytes,
            sha256: FileDigest(digest.finalize().into()),
        })
    }

    fn finish(self) -> Result<(VerityParameters, FileRecord), ModelImageError> {
        let path = self.path.clone();
        self.finished()
            .map_err(|source| cannot_write(&path, source))
    }

    fn finished(mut self) -> io::Result<(VerityParameters, FileRecord)> {
        let verity = self
            .tree
            .finish(&mut hash_sink(&self.file, &self.geometry))?;
        if verity.data_blocks != self.data_blocks {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // The tree was written from its far end: its digest needs a second look at it.
        self.file
            .seek(SeekFrom::Start(bytes_of(self.data_blocks)))?;
        let mut block = [0; BLOCK];
        while verity_tree::fill(&mut self.file, &mut block)? > 0 {
            self.digest.update(block);
        }
        self.file.sync_all()?;
        let image = FileRecord {
            name: IMAGE.to_owned(),
            bytes: bytes_of(self.geometry.end()),
            sha256: FileDigest(self.digest.finalize().into()),
        };
        Ok((verity, image))
    }
}

/// Writes a block of the tree at its place.
fn hash_sink<'a>(
    file: &'a File,
    geometry: &'a Geometry,
) -> impl FnMut(HashBlock, &Block) -> io::Result<()> + 'a {
    move |block, bytes| {
        let place = geometry.place(block).ok_or(io::ErrorKind::InvalidData)?;
        file.write_all_at(bytes, bytes_of(place))
    }
}

const fn bytes_of(blocks: u64) -> u64 {
    blocks.saturating_mul(crate::erofs::BLOCK_BYTES)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn not_read(file: &Checked, source: io::Error) -> ModelImageError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return changed(file);
    }
    let path = file.path.clone();
    ModelImageError::Read { path, source }
}

fn changed(file: &Checked) -> ModelImageError {
    let file = file.name.clone();
    ModelImageError::Changed { file }
}
