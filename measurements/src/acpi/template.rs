//! A captured table with parts replaced: pieces are found by their bytes, each of which must occur
//! exactly once, and the lengths of all packages around a changed piece are written again.
//!
//! Deliberately not here: which pieces vary (`dsdt`).

use std::ops::Range;

use super::AcpiError;
use super::aml;

/// Replaces pieces of a captured table.
#[derive(Debug)]
pub(super) struct Template<'a> {
    bytes: &'a [u8],
    edits: Vec<Edit>,
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    bytes: Vec<u8>,
}

/// A package around a changed piece: where its length is, and its content.
#[derive(Debug)]
struct Package {
    length: Range<usize>,
    content: Range<usize>,
}

impl<'a> Template<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            edits: Vec::new(),
            packages: Vec::new(),
        }
    }

    /// Where a piece is; it must be there exactly once.
    ///
    /// # Errors
    /// `Template`.
    pub(super) fn find(&self, piece: &[u8]) -> Result<Range<usize>, AcpiError> {
        let windows = self.bytes.windows(piece.len().max(1));
        let mut found = windows.enumerate().filter(|(_, bytes)| *bytes == piece);
        match (found.next(), found.next()) {
            (Some((start, _)), None) => Ok(start..start.saturating_add(piece.len())),
            _ => Err(AcpiError::Template),
        }
    }

    /// Replaces the one occurrence of a piece.
    ///
    /// # Errors
    /// `Template`.
    pub(super) fn replace(
        &mut self,
        piece: &[u8],
        bytes: Vec<u8>,
    ) -> Result<Range<usize>, AcpiError> {
        let range = self.find(piece)?;
        self.replace_at(range.clone(), bytes);
        Ok(range)
    }

    /// Replaces what is in a range.
    pub(super) fn replace_at(&mut self, range: Range<usize>, bytes: Vec<u8>) {
        self.edits.push(Edit { range, bytes });
    }

    /// Declares that the package of that opcode and name around a piece changes in length.
    ///
    /// # Errors
    /// `Template` unless there is exactly one.
    pub(super) fn within(
        &mut self,
        opcode: &[u8],
        name: &[u8],
        piece: &Range<usize>,
    ) -> Result<(), AcpiError> {
        let starts = 0..self.bytes.len();
        let mut around = starts
            .filter_map(|start| self.package_at(start, opcode, name))
            .filter(|found| found.content.start <= piece.start && piece.end <= found.content.end);
        let (Some(package), None) = (around.next(), around.next()) else {
            return Err(AcpiError::Template);
        };
        if !self
            .packages
            .iter()
            .any(|known| known.length == package.length)
        {
            self.packages.push(package);
        }
        Ok(())
    }

    fn package_at(&self, start: usize, opcode: &[u8], name: &[u8]) -> Option<Package> {
        let behind = self.bytes.get(start..)?.strip_prefix(opcode)?;
        let (length, own) = aml::read_package_length(behind)?;
        if !behind.get(own..)?.starts_with(name) {
            return None;
        }
        let at = start.checked_add(opcode.len())?;
        let end = at.checked_add(length)?;
        let content = at.checked_add(own)?..end;
        (content.start <= content.end && end <= self.bytes.len()).then_some(Package {
            length: at..content.start,
            content,
        })
    }

    /// The table with everything replaced.
    ///
    /// # Errors
    /// `Template` when replaced pieces overlap.
    pub(super) fn build(mut self) -> Result<Vec<u8>, AcpiError> {
        // Inner packages start later than those around them; their new lengths are edits, too.
        let mut packages = std::mem::take(&mut self.packages);
        packages.sort_by_key(|package| std::cmp::Reverse(package.content.start));
        for package in packages {
            let content = self.new_length(&package.content);
            let bytes = aml::package_length(content);
            self.replace_at(package.length, bytes);
        }
        self.edits.sort_by_key(|edit| edit.range.start);
        let mut out = Vec::new();
        let mut at = 0_usize;
        for edit in &self.edits {
            let kept = self.bytes.get(at..edit.range.start);
            out.extend_from_slice(kept.ok_or(AcpiError::Template)?);
            out.extend_from_slice(&edit.bytes);
            at = edit.range.end;
        }
        out.extend_from_slice(self.bytes.get(at..).ok_or(AcpiError::Template)?);
        Ok(out)
    }

    /// Length of a range of the original after all edits in it.
    fn new_length(&self, range: &Range<usize>) -> usize {
        let inside = |edit: &&Edit| range.start <= edit.range.start && edit.range.end <= range.end;
        let edits = self.edits.iter().filter(inside);
        edits.fold(range.len(), |length, edit| {
            length
                .saturating_add(edit.bytes.len())
                .saturating_sub(edit.range.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::aml::opcode;

    /// Scope A { Device B { 60 bytes } }
    fn nested() -> Vec<u8> {
        let inner = aml::package(opcode::DEVICE, &[b"B___", &[7; 50]]);
        aml::package(opcode::SCOPE, &[b"A___", &inner])
    }

    #[test]
    fn lengths_of_all_packages_around_an_edit_follow_it() {
        let bytes = nested();
        let mut template = Template::new(&bytes);
        let piece = template.replace(&[7; 50], vec![9; 5000]).unwrap();
        template.within(opcode::DEVICE, b"B___", &piece).unwrap();
        template.within(opcode::SCOPE, b"A___", &piece).unwrap();
        let inner = aml::package(opcode::DEVICE, &[b"B___", &[9; 5000]]);
        let expected = aml::package(opcode::SCOPE, &[b"A___", &inner]);
        assert_eq!(template.build().unwrap(), expected);
    }

    #[test]
    fn a_piece_that_is_absent_or_ambiguous_is_refused() {
        let bytes = nested();
        let template = Template::new(&bytes);
        assert_eq!(template.find(b"C___"), Err(AcpiError::Template));
        assert_eq!(template.find(&[7; 2]), Err(AcpiError::Template));
        let mut template = Template::new(&bytes);
        let refused = template.within(opcode::METHOD, b"B___", &(10..12));
        assert_eq!(refused, Err(AcpiError::Template));
    }

    #[test]
    fn overlapping_edits_are_refused() {
        let mut template = Template::new(&[1, 2, 3]);
        template.replace_at(0..2, vec![]);
        template.replace_at(1..3, vec![]);
        assert_eq!(template.build(), Err(AcpiError::Template));
    }
}
