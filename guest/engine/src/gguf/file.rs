//! An open model file: keys by type, tensors one at a time.

use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};

use model_format::gguf;

use crate::kernels::{StoredLayout, SuperLayout, WideLayout};
use crate::model::{Layout, Naming, Stored, TensorSource};
use crate::refusal::ModelError;

/// A model file whose header was found sound.
pub(crate) struct ModelFile {
    file: File,
    content: Content,
}

impl ModelFile {
    /// Checks the header and reads it. The header is read from the file once, so what is used is
    /// what was checked.
    ///
    /// # Errors
    /// A [`ModelError`].
    pub(crate) fn open(mut file: File) -> Result<Self, ModelError> {
        let size = file.metadata().map_err(|_| ModelError::Read)?.len();
        // Zero for a block device; then the end is found by seeking.
        let size = match size {
            0 => file
                .seek(std::io::SeekFrom::End(0))
                .map_err(|_| ModelError::Read)?,
            size => size,
        };
        file.rewind().map_err(|_| ModelError::Read)?;
        let mut prefix = Vec::new();
        read_more(&mut file, &mut prefix, gguf::FIRST_READ)?;
        if gguf::check(&prefix, size)?.is_none() {
            let rest = gguf::MAX_HEADER_BYTES.saturating_sub(gguf::FIRST_READ);
            read_more(&mut file, &mut prefix, rest)?;
            // The whole header, or as much as is taken, is there now.
            gguf::check(&prefix, size)?.ok_or(ModelError::Read)?;
        }
        let content = Content::read(&mut Cursor::new(&prefix)).map_err(|_| ModelError::Library)?;
        Ok(Self { file, content })
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// A key's text.
    pub(crate) fn text(&self, key: &'static str) -> Result<&str, ModelError> {
        let text = self.value(key).and_then(|value| value.to_string().ok());
        text.map(String::as_str).ok_or(ModelError::Key { key })
    }

    /// A key's text; none when there is no such key. A refusal says `key`.
    pub(crate) fn optional_text(
        &self,
        full: &str,
        key: &'static str,
    ) -> Result<Option<&str>, ModelError> {
        let Some(value) = self.value(full) else {
            return Ok(None);
        };
        let text = value.to_string().map_err(|_| ModelError::Key { key })?;
        Ok(Some(text.as_str()))
    }

    /// A key's number; none when there is no such key. A refusal says `key`.
    pub(crate) fn optional_number(
        &self,
        full: &str,
        key: &'static str,
    ) -> Result<Option<u32>, ModelError> {
        let Some(value) = self.value(full) else {
            return Ok(None);
        };
        let number = value
            .to_u64()
            .ok()
            .and_then(|number| u32::try_from(number).ok());
        number.map(Some).ok_or(ModelError::Key { key })
    }

    /// A key's float. A refusal says `key`.
    pub(crate) fn float(&self, full: &str, key: &'static str) -> Result<f32, ModelError> {
        let float = self.value(full).and_then(|value| value.to_f32().ok());
        float
            .filter(|float| float.is_finite())
            .ok_or(ModelError::Key { key })
    }

    /// A key's answer to a question; no when there is no such key.
    pub(crate) fn is_set(&self, key: &'static str) -> Result<bool, ModelError> {
        self.optional_flag(key, key).map(|set| set == Some(true))
    }

    /// A key's answer to a question; none when there is no such key. A refusal says `key`.
    pub(crate) fn optional_flag(
        &self,
        full: &str,
        key: &'static str,
    ) -> Result<Option<bool>, ModelError> {
        let set = self.value(full).map(Value::to_bool).transpose();
        set.map_err(|_| ModelError::Key { key })
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A key's list of texts.
    pub(crate) fn texts(&self, key: &'static str) -> Result<Vec<&str>, ModelError> {
        let values = self.value(key).and_then(|value| value.to_vec().ok());
        let texts = values.ok_or(ModelError::Key { key })?.iter();
        let texts = texts.map(|value| value.to_string().map(String::as_str));
        texts
            .collect::<Result<_, _>>()
            .map_err(|_| ModelError::Key { key })
    }

    /// A key's list of floats, none of them NaN.
    pub(crate) fn floats(&self, key: &'static str) -> Result<Vec<f32>, ModelError> {
        let values = self.value(key).and_then(|value| value.to_vec().ok());
        let floats = values.ok_or(ModelError::Key { key })?.iter();
        let floats = floats.map(|value| value.to_f32().ok().filter(|float| !float.is_nan()));
        floats.collect::<Option<_>>().ok_or(ModelError::Key { key })
    }

    /// A key's list of small numbers.
    pub(crate) fn numbers(&self, key: &'static str) -> Result<Vec<i32>, ModelError> {
        let values = self.value(key).and_then(|value| value.to_vec().ok());
        let numbers = values.ok_or(ModelError::Key { key })?.iter();
        let numbers = numbers.map(candle_core::quantized::gguf_file::Value::to_i32);
        numbers
            .collect::<Result<_, _>>()
            .map_err(|_| ModelError::Key { key })
    }

    /// A tensor in the library's form; none when there is no such tensor.
    #[cfg(test)]
    pub(crate) fn tensor(
        &mut self,
        name: &str,
    ) -> Result<Option<candle_core::quantized::QTensor>, ModelError> {
        let Some(place) = self.content.tensor_infos.get(name) else {
            return Ok(None);
        };
        let start = self.content.tensor_data_offset;
        let tensor = place.read(&mut self.file, start, &candle_core::Device::Cpu);
        tensor.map(Some).map_err(|_| ModelError::Read)
    }
}

impl TensorSource for ModelFile {
    fn naming(&self) -> Naming {
        Naming::Gguf
    }

    fn count(&self) -> usize {
        self.content.tensor_infos.len()
    }

    fn read(&mut self, name: &str) -> Result<Option<Stored>, ModelError> {
        let Some(place) = self.content.tensor_infos.get(name) else {
            return Ok(None);
        };
        let named = ModelError::Tensor { name: "type" };
        let kind = place.ggml_dtype;
        let layout = layout_of(kind).ok_or(named)?;
        // The header's check holds all of this within the file.
        let blocks = place.shape.elem_count().checked_div(kind.block_size());
        let bytes = blocks.and_then(|blocks| blocks.checked_mul(kind.type_size()));
        let start = self.content.tensor_data_offset.checked_add(place.offset);
        let (bytes, start) = bytes.zip(start).ok_or(ModelError::Read)?;
        let mut stored = vec![0; bytes];
        self.file
            .seek(std::io::SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut stored))
            .map_err(|_| ModelError::Read)?;
        Ok(Some(Stored {
            layout,
            dims: place.shape.dims().to_vec(),
            bytes: stored,
        }))
    }
}

/// The layout of a type; none for those that are not multiplied here.
const fn layout_of(kind: GgmlDType) -> Option<Layout> {
    match kind {
        GgmlDType::F32 => Some(Layout::Wide(WideLayout::F32)),
        GgmlDType::F16 => Some(Layout::Wide(WideLayout::F16)),
        GgmlDType::BF16 => Some(Layout::Wide(WideLayout::Bf16)),
        GgmlDType::Q4_0 => Some(Layout::Blocks(StoredLayout::Q4_0)),
        GgmlDType::Q4_1 => Some(Layout::Blocks(StoredLayout::Q4_1)),
        GgmlDType::Q8_0 => Some(Layout::Blocks(StoredLayout::Q8_0)),
        GgmlDType::Q4K => Some(Layout::Superblocks(SuperLayout::Q4K)),
        GgmlDType::Q5K => Some(Layout::Superblocks(SuperLayout::Q5K)),
        GgmlDType::Q6K => Some(Layout::Superblocks(SuperLayout::Q6K)),
        GgmlDType::Q5_0 => Some(Layout::Superblocks(SuperLayout::Q5_0)),
        GgmlDType::Q5_1 => Some(Layout::Superblocks(SuperLayout::Q5_1)),
        GgmlDType::Q8_1 | GgmlDType::Q2K | GgmlDType::Q3K | GgmlDType::Q8K => None,
    }
}

fn read_more(file: &mut File, prefix: &mut Vec<u8>, bytes: u64) -> Result<(), ModelError> {
    let read = file.take(bytes).read_to_end(prefix);
    read.map(drop).map_err(|_| ModelError::Read)
}
