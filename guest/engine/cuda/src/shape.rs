//! The shape of a model as the GPU computes it, what is set aside for requests, and batch buckets.
//!
//! The names are those of the CPU engine's shape. Not here: where anything lies (`layout`).

/// Rows of a step for which a graph is recorded; a step takes the smallest that holds it.
pub const BUCKETS: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Rows of the largest step: also what a step's input and output are sized for.
pub const MAX_ROWS: u32 = 256;

/// Positions in a page of the KV cache.
pub const PAGE: u32 = 32;

/// Positions that one block of attention sums, whatever the batch.
pub const SPLIT: u32 = 128;

/// The smallest bucket that holds so many rows.
#[must_use]
pub fn bucket_of(rows: u32) -> Option<u32> {
    BUCKETS.into_iter().find(|bucket| *bucket >= rows)
}

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits a weight.
    Bf16,
    /// 8 bits a weight (e4m3) and a scale a row.
    Fp8,
}

impl Precision {
    /// Bytes of a weight.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bf16 => 2,
            Self::Fp8 => 1,
        }
    }

    /// Its part of a kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
        }
    }
}

/// Widths and counts of a model of the Llama family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Transformer blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Width inside the feed-forward part.
    pub inner: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head.
    pub head: u32,
    /// Tokens.
    pub vocabulary: u32,
    /// Base of the rotary angles.
    pub rope_base: f32,
    /// Epsilon of the norms.
    pub epsilon: f32,
}

/// What is set aside for requests, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Answers at once.
    pub slots: u32,
    /// Longest context, in positions; a multiple of [`SPLIT`].
    pub context: u32,
    /// Pages of the cache.
    pub pages: u32,
}

/// A shape or limits for which there are no kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no kernel for this {what}")]
pub struct Unsupported {
    /// Which number.
    pub what: &'static str,
}

impl Shape {
    /// The shape of Llama 3.1 8B; its rope scaling is left out.
    #[must_use]
    pub const fn llama_8b() -> Self {
        Self {
            layers: 32,
            width: 4096,
            inner: 14336,
            heads: 32,
            kv_heads: 8,
            head: 128,
            vocabulary: 128_256,
            rope_base: 500_000.0,
            epsilon: 1e-5,
        }
    }

    /// Width of all query heads.
    #[must_use]
    pub const fn query_width(&self) -> u32 {
        self.heads.saturating_mul(self.head)
    }

    /// Width of queries, keys and values of one row.
    #[must_use]
    pub const fn qkv_width(&self) -> u32 {
        let kv = self.kv_heads.saturating_mul(self.head);
        self.query_width().saturating_add(kv.saturating_mul(2))
    }

    /// Query heads of one key-value head.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.heads.checked_div(self.kv_heads).unwrap_or(0)
    }

    /// The kernel of attention for this shape, when there is one.
    #[must_use]
    pub fn attention(&self) -> Option<&'static str> {
        match (self.head, self.group()) {
            (64, 1) => Some("attend_64_1"),
            (64, 3) => Some("attend_64_3"),
            (64, 4) => Some("attend_64_4"),
            (128, 1) => Some("attend_128_1"),
            (128, 4) => Some("attend_128_4"),
            (128, 8) => Some("attend_128_8"),
            _ => None,
        }
    }

    /// Refuses what the kernels do not compute.
    ///
    /// # Errors
    /// [`Unsupported`] with the number.
    pub fn check(&self, limits: &Limits) -> Result<(), Unsupported> {
        let chunks = |width: u32| (1..=1 << 17).contains(&width) && width.is_multiple_of(32);
        let cases = [
            ((1..=512).contains(&self.layers), "number of layers"),
            (chunks(self.width), "width"),
            (chunks(self.inner), "inner width"),
            (chunks(self.query_width()), "width of heads"),
            (
                self.heads == self.kv_heads.saturating_mul(self.group()),
                "number of heads",
            ),
            (self.attention().is_some(), "pair of head width and group"),
            (
                (1..=1 << 20).contains(&self.vocabulary) && self.vocabulary.is_multiple_of(8),
                "vocabulary",
            ),
            ((1..=4096).contains(&limits.slots), "number of slots"),
            (
                (1..=1 << 20).contains(&limits.context) && limits.context.is_multiple_of(SPLIT),
                "context",
            ),
            ((1..=1 << 22).contains(&limits.pages), "number of pages"),
        ];
        match cases.iter().find(|(good, _)| !good) {
            Some((_, what)) => Err(Unsupported { what }),
            None => Ok(()),
        }
    }
}
