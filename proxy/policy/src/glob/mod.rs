//! The one glob dialect, over paths ([`PathGlob`]) and over plain text ([`TextGlob`]).
//!
//! | token | in a path | in text (query values, tools, operation and field names) |
//! | --- | --- | --- |
//! | `*` | any run of characters inside a segment | any run of characters |
//! | `**` as a whole segment | any segments; at the end at least one, which may be empty | like `*` |
//! | `?` | one character but `/` | one character |
//! | `[ab]`, `[a-z]`, `[!a]`, `[^a]` | one character, never `/` | one character |
//! | `{a,b}` | either; may be nested and may hold `/` | either; may be nested |
//! | `\x` | the character `x` itself | the same |
//!
//! So `/repos/**` covers `/repos/` and `/repos/a/b` but not `/repos`. What cannot be read is an error, never a pattern
//! that matches nothing. Deliberately no regular expressions: a pattern is matched in time linear in the text for each `*`.
//!
//! ```
//! use tollgate_policy::glob::PathGlob;
//!
//! let glob = PathGlob::parse("/repos/*/issues").unwrap();
//! assert!(glob.matches("/repos/a/issues"));
//! assert!(!glob.matches("/repos/a/b/issues"));
//! ```

mod braces;
mod map;
mod path;
mod piece;
mod text;
mod trie;

pub(crate) use map::GlobMap;
pub use path::PathGlob;
pub(crate) use path::Segment;
pub(crate) use piece::Piece;
pub use text::TextGlob;
pub(crate) use trie::Trie;

/// Why a text is not a glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// No text at all.
    #[error("a pattern may not be empty")]
    Empty,
    /// More than [`MAX_GLOB_BYTES`].
    #[error("a pattern may have at most {MAX_GLOB_BYTES} bytes")]
    TooLong,
    /// `[` without `]`.
    #[error("`[` is never closed")]
    OpenClass,
    /// A range such as `z-a`.
    #[error("a range in `[…]` runs backwards")]
    BackwardRange,
    /// A class that names `/`, which no class matches.
    #[error("`[…]` may not hold `/`")]
    SlashInClass,
    /// `{` without `}`.
    #[error("`{{` is never closed")]
    OpenBrace,
    /// `}` without `{`.
    #[error("`}}` was never opened")]
    StrayBrace,
    /// `{}`, `{,a}` or `{a,}`: readers disagree on whether nothing is an alternative.
    #[error("`{{…}}` holds an empty alternative")]
    EmptyAlternative,
    /// More than [`MAX_ALTERNATIVES`] once all braces are written out.
    #[error("`{{…}}` stands for more than {MAX_ALTERNATIVES} patterns")]
    TooManyAlternatives,
    /// A backslash with nothing after it.
    #[error("`\\` at the end escapes nothing")]
    DanglingEscape,
}

/// Longer than any path that is accepted ([`tollgate_model::MAX_PATH_BYTES`]).
pub const MAX_GLOB_BYTES: usize = 4096;

/// What braces may stand for in one pattern.
pub const MAX_ALTERNATIVES: usize = 256;

#[cfg(test)]
mod tests;
