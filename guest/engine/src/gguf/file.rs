//! An open model file: keys by type, tensors one at a time.

use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _};

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};

use model_format::gguf;

use super::GgufError;

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
    /// A [`GgufError`].
    pub(crate) fn open(mut file: File) -> Result<Self, GgufError> {
        let size = file.metadata().map_err(|_| GgufError::Read)?.len();
        // Zero for a block device; then the end is found by seeking.
        let size = match size {
            0 => file
                .seek(std::io::SeekFrom::End(0))
                .map_err(|_| GgufError::Read)?,
            size => size,
        };
        file.rewind().map_err(|_| GgufError::Read)?;
        let mut prefix = Vec::new();
        read_more(&mut file, &mut prefix, gguf::FIRST_READ)?;
        if gguf::check(&prefix, size)?.is_none() {
            let rest = gguf::MAX_HEADER_BYTES.saturating_sub(gguf::FIRST_READ);
            read_more(&mut file, &mut prefix, rest)?;
            // The whole header, or as much as is taken, is there now.
            gguf::check(&prefix, size)?.ok_or(GgufError::Read)?;
        }
        let content = Content::read(&mut Cursor::new(&prefix)).map_err(|_| GgufError::Library)?;
        Ok(Self { file, content })
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// A key's text.
    pub(crate) fn text(&self, key: &'static str) -> Result<&str, GgufError> {
        let text = self.value(key).and_then(|value| value.to_string().ok());
        text.map(String::as_str).ok_or(GgufError::Key { key })
    }

    /// A key's number; none when there is no such key.
    pub(crate) fn optional_number(&self, key: &'static str) -> Result<Option<u32>, GgufError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let number = value
            .to_u64()
            .ok()
            .and_then(|number| u32::try_from(number).ok());
        number.map(Some).ok_or(GgufError::Key { key })
    }

    /// A key's number.
    pub(crate) fn number(&self, key: &'static str) -> Result<u32, GgufError> {
        self.optional_number(key)?.ok_or(GgufError::Key { key })
    }

    /// A key's float.
    pub(crate) fn float(&self, key: &'static str) -> Result<f32, GgufError> {
        let float = self.value(key).and_then(|value| value.to_f32().ok());
        float
            .filter(|float| float.is_finite())
            .ok_or(GgufError::Key { key })
    }

    /// A key's answer to a question; `absent` when there is no such key.
    pub(crate) fn is_set(&self, key: &'static str) -> Result<bool, GgufError> {
        let Some(value) = self.value(key) else {
            return Ok(false);
        };
        value.to_bool().map_err(|_| GgufError::Key { key })
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A key's list of texts.
    pub(crate) fn texts(&self, key: &'static str) -> Result<Vec<&str>, GgufError> {
        let values = self.value(key).and_then(|value| value.to_vec().ok());
        let texts = values.ok_or(GgufError::Key { key })?.iter();
        let texts = texts.map(|value| value.to_string().map(String::as_str));
        texts
            .collect::<Result<_, _>>()
            .map_err(|_| GgufError::Key { key })
    }

    /// A key's list of small numbers.
    pub(crate) fn numbers(&self, key: &'static str) -> Result<Vec<i32>, GgufError> {
        let values = self.value(key).and_then(|value| value.to_vec().ok());
        let numbers = values.ok_or(GgufError::Key { key })?.iter();
        let numbers = numbers.map(candle_core::quantized::gguf_file::Value::to_i32);
        numbers
            .collect::<Result<_, _>>()
            .map_err(|_| GgufError::Key { key })
    }

    /// A tensor, read from the file; none when there is no such tensor.
    pub(crate) fn tensor(&mut self, name: &str) -> Result<Option<QTensor>, GgufError> {
        let Some(place) = self.content.tensor_infos.get(name) else {
            return Ok(None);
        };
        let start = self.content.tensor_data_offset;
        let tensor = place.read(&mut self.file, start, &Device::Cpu);
        tensor.map(Some).map_err(|_| GgufError::Read)
    }
}

fn read_more(file: &mut File, prefix: &mut Vec<u8>, bytes: u64) -> Result<(), GgufError> {
    let read = file.take(bytes).read_to_end(prefix);
    read.map(drop).map_err(|_| GgufError::Read)
}
