//! Weights in files of the format safetensors, several of which may make one model.
//!
//! Each header is checked by `model_format` before anything is read by it: tensors then cover their
//! file exactly. What is deliberately not here: what tensors mean (`model`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use model_format::safetensors::{HeaderError, Tensor, check, header_length};

use crate::model::{Naming, Stored, TensorSource, wide};
use crate::refusal::ModelError;

/// Files of one model, at most: twice those of the largest open models.
const MAX_FILES: usize = 512;
/// Tensors of all files together.
const MAX_TENSORS: usize = 1 << 18;

/// What an encoder has for other tasks, and the numbers of its positions.
const UNREAD: [&str; 3] = [
    "pooler.dense.weight",
    "pooler.dense.bias",
    "embeddings.position_ids",
];

/// The weights of one model, their headers found sound.
pub(crate) struct WeightFiles {
    files: Vec<File>,
    /// File and place of each tensor.
    tensors: HashMap<String, (usize, Tensor)>,
}

impl WeightFiles {
    /// Checks the headers of all files.
    ///
    /// # Errors
    /// `Safetensors` for a header, `Tensor` for a tensor that two files hold, `Read`.
    pub(crate) fn open(files: Vec<File>) -> Result<Self, ModelError> {
        if files.is_empty() || files.len() > MAX_FILES {
            return Err(ModelError::Read);
        }
        let mut tensors = HashMap::new();
        let mut checked = Vec::with_capacity(files.len());
        for (number, mut file) in files.into_iter().enumerate() {
            for tensor in headers(&mut file)? {
                let full = tensors.len() >= MAX_TENSORS;
                let name = tensor.name.clone();
                if full || tensors.insert(name, (number, tensor)).is_some() {
                    return Err(ModelError::Tensor { name: "repeated" });
                }
            }
            checked.push(file);
        }
        Ok(Self {
            files: checked,
            tensors,
        })
    }
}

fn headers(file: &mut File) -> Result<Vec<Tensor>, ModelError> {
    let unread = |_| ModelError::Read;
    let bytes = file.seek(SeekFrom::End(0)).map_err(unread)?;
    file.rewind().map_err(unread)?;
    let mut first = [0; 8];
    let short = HeaderError::Truncated { file_bytes: bytes };
    file.read_exact(&mut first).map_err(|_| short)?;
    let length = header_length(first, bytes)?;
    let mut header = Vec::new();
    let read = file.take(length).read_to_end(&mut header).map_err(unread)?;
    if u64::try_from(read) != Ok(length) {
        return Err(ModelError::Read);
    }
    Ok(check(&header, bytes)?)
}

impl TensorSource for WeightFiles {
    fn naming(&self) -> Naming {
        if self
            .tensors
            .contains_key("embeddings.word_embeddings.weight")
        {
            return Naming::Encoder;
        }
        if self.tensors.contains_key("embed_tokens.weight") {
            return Naming::Headless;
        }
        Naming::Transformers
    }

    fn count(&self) -> usize {
        let unread = |name: &&&str| self.tensors.contains_key(**name);
        let unread = UNREAD.iter().filter(unread).count();
        self.tensors.len().saturating_sub(unread)
    }

    fn read(&mut self, name: &str) -> Result<Option<Stored>, ModelError> {
        let Some((number, tensor)) = self.tensors.get(name) else {
            return Ok(None);
        };
        let layout = wide(tensor.dtype).ok_or(ModelError::Tensor { name: "type" })?;
        let size = |size: u64| usize::try_from(size).map_err(|_| ModelError::Read);
        let dims = tensor.shape.iter().map(|dimension| size(*dimension));
        let dims = dims.collect::<Result<_, _>>()?;
        // The header's check holds the place within the file.
        let mut bytes = vec![0; size(tensor.end.saturating_sub(tensor.begin))?];
        let file = self.files.get_mut(*number).ok_or(ModelError::Read)?;
        file.seek(SeekFrom::Start(tensor.begin))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|_| ModelError::Read)?;
        Ok(Some(Stored {
            layout,
            dims,
            bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;
    use crate::fixture::file_of;

    fn file(header: &str, data: usize) -> File {
        let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len().saturating_add(data), 0);
        file_of(&bytes)
    }

    const ONE: &str = r#"{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}}"#;

    #[test]
    fn a_tensor_is_read_from_its_place() {
        let other = ONE.replace("\"a\"", "\"b\"");
        let mut files = WeightFiles::open(vec![file(ONE, 12), file(&other, 12)]).unwrap();
        assert_eq!(files.count(), 2);
        let stored = files.read("b").unwrap().unwrap();
        assert_eq!((stored.dims, stored.bytes.len()), (vec![2, 3], 12));
        assert!(files.read("c").unwrap().is_none());
    }

    #[test]
    fn refuses_what_is_malformed_repeated_or_short() {
        let code = |files| WeightFiles::open(files).err().unwrap().code();
        assert_eq!(code(vec![file(ONE, 11)]), "safetensors-buffer-length");
        assert_eq!(code(vec![file(ONE, 12), file(ONE, 12)]), "gguf-tensor");
        assert_eq!(code(vec![file_of(b"1234")]), "safetensors-truncated");
        assert_eq!(
            code(vec![file_of(&[255; 64])]),
            "safetensors-header-too-long"
        );
        assert_eq!(code(Vec::new()), "gguf-read");
    }

    #[test]
    fn refuses_elements_that_are_no_floats() {
        let header = ONE.replace("F16", "I16");
        let mut files = WeightFiles::open(vec![file(&header, 12)]).unwrap();
        assert!(files.read("a").is_err());
    }
}
