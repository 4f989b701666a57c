//! What a `tokenizer.json` says that is done to a text before tokens are looked for: the few ways
//! that are known, each recognised as a whole.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Spelling;
use super::json::part;
use super::pieces::{Prefix, SPACE};
use super::split::{Rule, Splitter};
use crate::refusal::ModelError;

/// One step, or several in their order. Members of all kinds of steps together.
#[derive(Deserialize)]
pub(super) struct Step {
    #[serde(rename = "type")]
    kind: String,
    #[serde(alias = "normalizers", alias = "pretokenizers")]
    #[serde(alias = "processors", alias = "decoders")]
    steps: Option<Vec<Step>>,
    pattern: Option<Pattern>,
    content: Option<String>,
    behavior: Option<String>,
    invert: Option<bool>,
    individual_digits: Option<bool>,
    add_prefix_space: Option<bool>,
    use_regex: Option<bool>,
    prepend: Option<String>,
    replacement: Option<String>,
    prepend_scheme: Option<String>,
    split: Option<bool>,
    single: Option<Vec<Place>>,
    special_tokens: Option<BTreeMap<String, Numbers>>,
    /// Of an older way to say what stands around a text.
    cls: Option<(String, u32)>,
    sep: Option<(String, u32)>,
    clean_text: Option<bool>,
    handle_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    lowercase: Option<bool>,
}

/// The numbers that stand for a name around a text.
#[derive(Deserialize)]
struct Numbers {
    ids: Vec<u32>,
}

#[derive(Deserialize)]
enum Pattern {
    Regex(String),
    String(String),
}

/// What stands around a text.
#[derive(Deserialize)]
enum Place {
    SpecialToken { id: String, type_id: u32 },
    Sequence { type_id: u32 },
}

/// The tokens before and after a text, by their names.
pub(super) type Around<'a> = [Option<&'a str>; 2];

/// How letters become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    /// Bytes within words.
    Words(Rule),
    /// Characters within a text.
    Pieces(Prefix),
    /// Not at all: words and their longest pieces are looked up.
    Whole {
        /// Whether letters are made small and lose their accents.
        lowers: bool,
    },
}

impl Joining {
    pub(super) const fn spelling(self) -> Spelling {
        match self {
            Self::Words(_) => Spelling::Letters,
            Self::Pieces(_) => Spelling::Pieces,
            Self::Whole { .. } => Spelling::Words,
        }
    }
}

/// What is done to texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) joining: Joining,
    /// Whether texts are brought into the form NFC.
    pub(super) composes: bool,
    /// Whether a letter is put before texts and before the names of added tokens.
    pub(super) prepends: bool,
}

/// What a normalizer does, of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Normal {
    Nothing,
    Composes,
    /// Spaces become letters; whether one is put before.
    Spaces {
        prefix: Prefix,
    },
}

impl Expected {
    /// Recognises three members of a file.
    ///
    /// # Errors
    /// `Tokenizer` with the member that is not known, or does not fit the others.
    pub(super) fn of(
        normalizer: Option<&Step>,
        pre_tokenizer: Option<&Step>,
        decoder: Option<&Step>,
    ) -> Result<Self, ModelError> {
        let is = |step: Option<&Step>, kind: &str| step.is_some_and(|step| step.kind == kind);
        if is(normalizer, "BertNormalizer") {
            let lowers = normalizer.and_then(Step::lowers);
            let lowers = lowers.ok_or(part("normalizer"))?;
            if !is(pre_tokenizer, "BertPreTokenizer") {
                return Err(part("pre_tokenizer"));
            }
            if !is(decoder, "WordPiece") {
                return Err(part("decoder"));
            }
            return Ok(Self {
                joining: Joining::Whole { lowers },
                composes: false,
                prepends: false,
            });
        }
        let normal = Normal::of(&flat(normalizer)).ok_or(part("normalizer"))?;
        let before = flat(pre_tokenizer);
        let joining = match (rule_of(&before), normal) {
            (Some(rule), Normal::Nothing | Normal::Composes) => Joining::Words(rule),
            (None, Normal::Spaces { prefix }) if before.iter().all(|step| step.splits_spaces()) => {
                Joining::Pieces(prefix)
            }
            (None, Normal::Nothing) => {
                let prefix = Step::spaces_of(&before).ok_or(part("pre_tokenizer"))?;
                Joining::Pieces(prefix)
            }
            (_, _) => return Err(part("pre_tokenizer")),
        };
        // What tokens say follows from how they are spelled; this only has to agree.
        let of_bytes = flat(decoder).iter().all(|step| step.kind == "ByteLevel");
        if decoder.is_none() || of_bytes != (joining.spelling() == Spelling::Letters) {
            return Err(part("decoder"));
        }
        Ok(Self {
            joining,
            composes: normal == Normal::Composes,
            prepends: matches!(normal, Normal::Spaces { prefix } if prefix == Prefix::Always),
        })
    }
}

/// The steps of a sequence, or one alone, in order.
fn flat(step: Option<&Step>) -> Vec<&Step> {
    let Some(step) = step else {
        return Vec::new();
    };
    match (step.kind.as_str(), &step.steps) {
        ("Sequence", Some(steps)) => steps.iter().flat_map(|step| flat(Some(step))).collect(),
        (_, _) => vec![step],
    }
}

impl Normal {
    fn of(steps: &[&Step]) -> Option<Self> {
        let spaces = |step: &Step| step.kind == "Replace" && step.turns(" ", SPACE);
        match steps {
            [] => Some(Self::Nothing),
            [one] if one.kind == "NFC" => Some(Self::Composes),
            [one] if spaces(one) => Some(Self::Spaces {
                prefix: Prefix::Never,
            }),
            [first, one] if first.kind == "Prepend" && spaces(one) => {
                let space = first.prepend.as_deref()?;
                let prefix = Prefix::Always;
                is_space(space).then_some(Self::Spaces { prefix })
            }
            _ => None,
        }
    }
}

fn is_space(text: &str) -> bool {
    text.chars().eq([SPACE])
}

/// The splitting rule of a vocabulary of bytes.
fn rule_of(steps: &[&Step]) -> Option<Rule> {
    let (bytes, before) = steps.split_last()?;
    if bytes.kind != "ByteLevel" || bytes.add_prefix_space != Some(false) {
        return None;
    }
    match (before, bytes.use_regex.unwrap_or(true)) {
        ([], true) => Some(Rule::Gpt2),
        ([digits], true) => {
            let single = digits.kind == "Digits" && digits.individual_digits == Some(true);
            single.then_some(Rule::SmolLm)
        }
        ([split], false) => match &split.pattern {
            Some(Pattern::Regex(expression)) if split.isolates() => Splitter::spelled(expression),
            Some(Pattern::Regex(_) | Pattern::String(_)) | None => None,
        },
        (_, _) => None,
    }
}

impl Step {
    /// Whether it puts that letter in the place of this text.
    fn turns(&self, from: &str, to: char) -> bool {
        let Some(Pattern::String(pattern)) = &self.pattern else {
            return false;
        };
        pattern == from
            && self
                .content
                .as_deref()
                .is_some_and(|text| text.chars().eq([to]))
    }

    fn isolates(&self) -> bool {
        self.kind == "Split"
            && self.behavior.as_deref() == Some("Isolated")
            && !self.invert.unwrap_or(false)
    }

    /// Whether it only splits at spaces, of which none are left.
    fn splits_spaces(&self) -> bool {
        let at_spaces = matches!(&self.pattern, Some(Pattern::String(text)) if text == " ");
        self.kind == "Split" && at_spaces
    }

    /// Where a step that turns spaces into letters puts one before.
    fn spaces_of(steps: &[&Self]) -> Option<Prefix> {
        let [step] = steps else {
            return None;
        };
        let is_known = step.kind == "Metaspace"
            && step.replacement.as_deref().is_some_and(is_space)
            && step.split == Some(false);
        match step.prepend_scheme.as_deref().filter(|_| is_known)? {
            "always" => Some(Prefix::Unspaced),
            "first" => Some(Prefix::First),
            "never" => Some(Prefix::Never),
            _ => None,
        }
    }

    /// What BERT's normalizer does to letters, if it is the whole of BERT's own.
    fn lowers(&self) -> Option<bool> {
        let lowers = self.lowercase?;
        let whole = self.clean_text == Some(true) && self.handle_chinese_chars == Some(true);
        // Accents go with capitals, or the file says that they do not.
        let alike = self.strip_accents.is_none_or(|strips| strips == lowers);
        (whole && alike).then_some(lowers)
    }

    /// What stands around texts that no template stands around; `ids` are the tokens' own numbers.
    ///
    /// # Errors
    /// `Tokenizer` for what is not known, or a name that stands for other numbers.
    pub(super) fn around<'a>(
        step: Option<&'a Self>,
        ids: &HashMap<&str, u32>,
    ) -> Result<Around<'a>, ModelError> {
        let wrong = part("post_processor");
        let mut around = [None, None];
        for step in flat(step) {
            let found = match step.kind.as_str() {
                "ByteLevel" => [None, None],
                "TemplateProcessing" => step.template(ids).ok_or(wrong)?,
                "BertProcessing" => step.pair(ids).ok_or(wrong)?,
                _ => return Err(wrong),
            };
            for (slot, found) in around.iter_mut().zip(found) {
                if found.is_some() && slot.is_some() {
                    return Err(wrong);
                }
                *slot = slot.or(found);
            }
        }
        Ok(around)
    }

    fn template(&self, ids: &HashMap<&str, u32>) -> Option<Around<'_>> {
        let places = self.single.as_deref()?;
        let around = match places {
            [Place::Sequence { .. }] => [None, None],
            [Place::SpecialToken { id, .. }, Place::Sequence { .. }] => [Some(id), None],
            [Place::Sequence { .. }, Place::SpecialToken { id, .. }] => [None, Some(id)],
            [
                Place::SpecialToken { id, .. },
                Place::Sequence { .. },
                Place::SpecialToken { id: last, .. },
            ] => [Some(id), Some(last)],
            _ => return None,
        };
        // All are tokens of the first kind, as all of a text are.
        let first_kind = |place: &Place| match place {
            Place::SpecialToken { type_id, .. } | Place::Sequence { type_id } => *type_id == 0,
        };
        let own = |name: &&String| {
            let numbers = self.special_tokens.as_ref().and_then(|all| all.get(*name));
            let own = ids.get(name.as_str());
            own.is_some_and(|own| numbers.is_some_and(|numbers| numbers.ids == [*own]))
        };
        let sound = places.iter().all(first_kind) && around.iter().flatten().all(own);
        sound.then(|| around.map(|name| name.map(String::as_str)))
    }

    fn pair(&self, ids: &HashMap<&str, u32>) -> Option<Around<'_>> {
        let (cls, sep) = (self.cls.as_ref()?, self.sep.as_ref()?);
        let own = |(name, number): &(String, u32)| ids.get(name.as_str()) == Some(number);
        (own(cls) && own(sep)).then_some([Some(cls.0.as_str()), Some(sep.0.as_str())])
    }
}
