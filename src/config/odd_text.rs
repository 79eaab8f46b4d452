//! What cannot be seen in a text that was copied from somewhere, and is sent all the
//! same. Nothing of the text itself is ever told.

use std::fmt;

/// What some editors put before a text (RFC 3629 §6).
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Something odd about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// It began with a byte order mark, which was taken off.
    Mark {
        /// Which text.
        place: String,
    },
    /// It begins or ends with a blank.
    Blank {
        /// Which text.
        place: String,
        /// `begins` or `ends`.
        where_: &'static str,
    },
    /// A character that has no width, or looks like another.
    Unseen {
        /// Which text.
        place: String,
        /// Which character.
        which: char,
    },
    /// Its file belongs to another user, who could put another there.
    Foreign {
        /// Which text.
        place: String,
        /// Whose it is.
        uid: u32,
    },
    /// Quotation marks around it, which were meant for a shell or for TOML.
    Quoted {
        /// Which text.
        place: String,
    },
}

/// What is odd about a text, such as `the secret in FILE`.
pub(super) fn oddities(text: &str, place: &str) -> Vec<Odd> {
    let place = || place.to_owned();
    let blank = |where_| Odd::Blank {
        place: place(),
        where_,
    };
    let begins = text
        .starts_with(char::is_whitespace)
        .then(|| blank("begins"));
    let ends = text.ends_with(char::is_whitespace).then(|| blank("ends"));
    let unseen = text.chars().find(|c| is_unseen(*c));
    let unseen = unseen.map(|which| Odd::Unseen {
        place: place(),
        which,
    });
    let quoted = is_quoted(text).then(|| Odd::Quoted { place: place() });
    [begins, ends, unseen, quoted]
        .into_iter()
        .flatten()
        .collect()
}

/// Format characters of Unicode that people copy without knowing.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

fn is_quoted(text: &str) -> bool {
    let pairs = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
        ('\u{201e}', '\u{201c}'),
    ];
    let stands_in = |(open, close): (char, char)| {
        let inner = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(|inner| !inner.is_empty())
    };
    pairs.into_iter().any(stands_in)
}

impl Odd {
    pub(super) fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Odd::Mark { .. } => "write it without: printf %s \"$SECRET\" > FILE",
            Odd::Foreign { .. } => "look at who put it there, then: chown USER FILE",
            _ => "take it out, unless the provider gave it to you like that",
        };
        Some(remedy.to_owned())
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Odd::Mark { place } => write!(
                f,
                "{place} begins with a byte order mark, which is not sent"
            ),
            Odd::Blank { place, where_ } => {
                write!(f, "{place} {where_} with a blank, which is sent too")
            }
            Odd::Unseen { place, which } => write!(
                f,
                "{place} holds a character that cannot be seen, U+{:04X}, which is sent too",
                *which as u32
            ),
            Odd::Foreign { place, uid } => {
                let owner = crate::trust::user_name(*uid);
                write!(f, "{place} belongs to {owner}, who can put another there")
            }
            Odd::Quoted { place } => {
                write!(f, "{place} stands in quotation marks, which are sent too")
            }
        }
    }
}
