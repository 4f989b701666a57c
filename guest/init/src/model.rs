//! The files of the mounted model image, opened for engine, which opens none itself.
//!
//! The image is measured: what is in it is what its digest says. Still its names and their number
//! are bounded before anything is started. What is deliberately not here: which files make a model
//! (engine), and the image itself (`image`).

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use messages::engine_ipc::MAX_MODEL_FILES;

use crate::failure::BootError;

/// Files and their names, in the order of the names.
#[derive(Debug, Default)]
pub struct ModelFiles {
    /// Engine's arguments.
    pub names: Vec<CString>,
    /// Its descriptors.
    pub files: Vec<File>,
}

impl ModelFiles {
    /// Opens every file of a directory.
    ///
    /// # Errors
    /// `ModelFiles` for a directory with none or too many; `File` when one cannot be opened.
    pub fn open(directory: &Path) -> Result<Self, BootError> {
        let refused = || BootError::file("open the model");
        let entries = std::fs::read_dir(directory).map_err(refused())?;
        let mut names = Vec::new();
        for entry in entries.take(MAX_MODEL_FILES.saturating_add(1)) {
            names.push(entry.map_err(refused())?.file_name());
        }
        if names.is_empty() || names.len() > MAX_MODEL_FILES {
            return Err(BootError::ModelFiles { found: names.len() });
        }
        names.sort_unstable();
        let mut opened = Self::default();
        for name in names {
            let file = File::open(directory.join(&name)).map_err(refused())?;
            opened.files.push(file);
            // No name in a directory has a zero byte.
            let name =
                CString::new(name.into_vec()).map_err(|_| BootError::ModelFiles { found: 0 })?;
            opened.names.push(name);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_file_is_opened_under_its_name_in_the_order_of_names() {
        let place = tempfile::tempdir().unwrap();
        for name in ["tokenizer.json", "model.safetensors", "config.json"] {
            std::fs::write(place.path().join(name), name).unwrap();
        }
        let opened = ModelFiles::open(place.path()).unwrap();
        let contents = opened.files.into_iter().map(|mut file| {
            let mut text = Vec::new();
            file.read_to_end(&mut text).unwrap();
            CString::new(text).unwrap()
        });
        assert_eq!(contents.collect::<Vec<_>>(), opened.names);
        let expected = [c"config.json", c"model.safetensors", c"tokenizer.json"];
        assert_eq!(opened.names, expected.map(CString::from));
    }

    #[test]
    fn refuses_a_directory_without_files_and_one_with_too_many() {
        let place = tempfile::tempdir().unwrap();
        let found = |path: &Path| match ModelFiles::open(path) {
            Err(BootError::ModelFiles { found }) => Some(found),
            Err(_) | Ok(_) => None,
        };
        assert_eq!(found(place.path()), Some(0));
        for number in 0..=MAX_MODEL_FILES {
            std::fs::write(place.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(found(place.path()), Some(MAX_MODEL_FILES + 1));
        std::fs::remove_file(place.path().join("0")).unwrap();
        assert!(ModelFiles::open(place.path()).is_ok());
    }
}
