//! Slots: the places of a request that hold a credential.

use std::fmt;
use std::ops::Range;

/// Where in a request a credential stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// A header, lower-case: its whole value, what follows a scheme, or the user or password of `Basic`.
    Header(Box<str>),
    /// The whole value of a query parameter.
    Query(Box<str>),
    /// A part of the path.
    Path(PathTemplate),
    /// The whole value of a cookie.
    Cookie(Box<str>),
    /// The whole value of members or parameters of this name in JSON and form bodies; nothing means any name.
    Body(Option<Box<str>>),
    /// The whole value of members of this name in the client's JSON messages; nothing means any name.
    WebSocket(Option<Box<str>>),
}

/// A path with one place for a credential: `/bot{credential}/**`.
///
/// Segments are literal or `*`, the last may be `**`; one of them holds `{credential}`, alone or glued to literal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    source: Box<str>,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Any,
    Rest,
    Credential { before: Box<str>, after: Box<str> },
}

/// Why a text is no path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    /// A path begins with a slash.
    #[error("a path template begins with `/`")]
    NotAbsolute,
    /// No place, or more than one.
    #[error("a path template holds `{{credential}}` exactly once")]
    Place,
    /// `**` before the end.
    #[error("`**` stands alone at the end of a path template")]
    Rest,
    /// `a*`, `{a,b}`, `[a]`.
    #[error("the segments of a path template are plain text, `*` or a last `**`")]
    Glob,
    /// What no canonical path holds.
    #[error("a path template holds only characters that stand for themselves in a path, and no empty or dot segment")]
    Spelling,
}

/// The place of the credential.
const PLACE: &str = "{credential}";

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`PathTemplateError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let rest = text.strip_prefix('/').ok_or(PathTemplateError::NotAbsolute)?;
        if text.matches(PLACE).count() != 1 {
            return Err(PathTemplateError::Place);
        }
        let count = rest.split('/').count();
        let segments = rest.split('/').enumerate().map(|(index, text)| segment(text, index + 1 == count));
        Ok(Self { source: text.into(), segments: segments.collect::<Result<_, _>>()? })
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Where in a canonical path the credential stands; nothing where the path is none of the template's.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Range<usize>> {
        let mut at = 1;
        let mut place = None;
        let mut given = path.strip_prefix('/')?.split('/');
        for segment in &self.segments {
            if *segment == Segment::Rest {
                return place;
            }
            let text = given.next()?;
            match segment {
                Segment::Literal(literal) if **literal != *text => return None,
                Segment::Credential { before, after } => {
                    let inner = text.strip_prefix(&**before)?.strip_suffix(&**after)?;
                    place = Some(at + before.len()..at + before.len() + inner.len());
                }
                Segment::Literal(_) | Segment::Any | Segment::Rest => {}
            }
            at += text.len() + 1;
        }
        given.next().is_none().then_some(place).flatten()
    }
}

fn segment(text: &str, is_last: bool) -> Result<Segment, PathTemplateError> {
    let literal = |text: &str| match text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&b))
    {
        true => Ok(Box::<str>::from(text)),
        false if text.contains(['*', '?', '[', '{']) => Err(PathTemplateError::Glob),
        false => Err(PathTemplateError::Spelling),
    };
    match text {
        "**" if is_last => Ok(Segment::Rest),
        "**" => Err(PathTemplateError::Rest),
        "*" => Ok(Segment::Any),
        "" if !is_last => Err(PathTemplateError::Spelling),
        "." | ".." => Err(PathTemplateError::Spelling),
        _ => match text.split_once(PLACE) {
            Some((before, after)) => Ok(Segment::Credential { before: literal(before)?, after: literal(after)? }),
            None => literal(text).map(Segment::Literal),
        },
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |f: &mut fmt::Formatter<'_>, what: &str, name: &Option<Box<str>>| match name {
            Some(name) => write!(f, "field `{name}` of {what}"),
            None => write!(f, "{what}"),
        };
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Query(name) => write!(f, "query parameter `{name}`"),
            Self::Path(template) => write!(f, "path `{template}`"),
            Self::Cookie(name) => write!(f, "cookie `{name}`"),
            Self::Body(name) => field(f, "the body", name),
            Self::WebSocket(name) => field(f, "WebSocket messages", name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, path: &str, expected: Option<&str>) {
        let template = PathTemplate::parse(template).expect("a template");
        assert_eq!(template.place(path).map(|place| &path[place]), expected, "{template} {path}");
    }

    #[track_caller]
    fn check_refused(template: &str, expected: PathTemplateError) {
        assert_eq!(PathTemplate::parse(template), Err(expected), "{template}");
    }

    #[test]
    fn places() {
        check("/bot{credential}/**", "/bot123:abc/getMe", Some("123:abc"));
        check("/bot{credential}/**", "/bot/getMe", Some(""));
        check("/bot{credential}/**", "/bot123", Some("123"));
        check("/bot{credential}/**", "/file/bot123/x", None);
        check("/file/bot{credential}/**", "/file/bot1/a/b", Some("1"));
        check("/*/{credential}/x", "/a/b/x", Some("b"));
        check("/*/{credential}/x", "/a/b/x/y", None);
        check("/hook/{credential}", "/hook", None);
        check("/{credential}.json", "/abc.json", Some("abc"));
        check("/{credential}/", "/abc/", Some("abc"));
        check("/{credential}/", "/abc", None);
    }

    #[test]
    fn no_templates() {
        check_refused("bot{credential}", PathTemplateError::NotAbsolute);
        check_refused("/bot", PathTemplateError::Place);
        check_refused("/{credential}/{credential}", PathTemplateError::Place);
        check_refused("/**/{credential}", PathTemplateError::Rest);
        check_refused("/a*/{credential}", PathTemplateError::Glob);
        check_refused("/{a,b}/{credential}", PathTemplateError::Glob);
        check_refused("//{credential}", PathTemplateError::Spelling);
        check_refused("/../{credential}", PathTemplateError::Spelling);
        check_refused("/a b/{credential}", PathTemplateError::Spelling);
    }
}
