//! Answers that are kept since they could not be taken in: how they are written down, and
//! which of them are let go where they become many. None that may hold a token ever is.

use crate::flight::ExchangeId;
use crate::provider::Answer;
use crate::provider::answer::may_hold_token;
use crate::secret::Secret;
use crate::time::WallTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};

/// Beyond so many of a grant, or of an authorization, the oldest that hold no token go.
pub const MOST: usize = 32;
/// Beyond so many bytes of bodies, too.
pub const MOST_BYTES: usize = 4 << 20;

/// An answer to a code that could not be taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct KeptAnswer {
    /// The exchange that brought it.
    pub flight: ExchangeId,
    /// The answer, as it came.
    pub answer: Answer,
}

/// The same in JSON, which has no bytes.
#[derive(Serialize, Deserialize)]
struct Written {
    flight: ExchangeId,
    answer: Answer,
    /// In base64.
    body: Secret,
}

impl From<KeptAnswer> for Written {
    fn from(kept: KeptAnswer) -> Written {
        Written {
            flight: kept.flight,
            body: Secret::new(STANDARD.encode(&kept.answer.body)),
            answer: kept.answer,
        }
    }
}

impl TryFrom<Written> for KeptAnswer {
    type Error = base64::DecodeError;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let mut answer = written.answer;
        answer.body = STANDARD.decode(written.body.expose())?;
        Ok(KeptAnswer {
            flight: written.flight,
            answer,
        })
    }
}

/// The answers of an authorization; an earlier version kept one, and its text alone.
///
/// # Errors
/// When it is neither.
pub(crate) fn of_authorization<'de, D>(from: D) -> Result<Vec<KeptAnswer>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(Secret),
        Several(Vec<KeptAnswer>),
    }
    Ok(match Form::deserialize(from)? {
        Form::Several(several) => several,
        Form::Text(text) => vec![KeptAnswer {
            flight: ExchangeId([0; 16]),
            answer: Answer {
                status: 200,
                headers: Vec::new(),
                body: text.expose().as_bytes().to_vec(),
                complete: true,
                received: WallTime(0),
            },
        }],
    })
}

/// Adds an answer; what it makes superfluous is let go.
pub fn keep(kept: &mut Vec<KeptAnswer>, one_more: KeptAnswer) {
    kept.retain(|known| known.flight != one_more.flight);
    kept.push(one_more);
    let answers: Vec<&Answer> = kept.iter().map(|kept| &kept.answer).collect();
    for at in let_go(&answers).into_iter().rev() {
        kept.remove(at);
    }
}

/// Which of these, the oldest first, are let go, by their places in rising order: what came
/// once more later, byte by byte; and beyond [`MOST`] or [`MOST_BYTES`] the oldest in which
/// nothing looks like a token. The last one stays.
#[must_use]
pub fn let_go(kept: &[&Answer]) -> Vec<usize> {
    let again = |at: usize| kept[at + 1..].iter().any(|later| is_same(kept[at], later));
    let mut gone: Vec<bool> = (0..kept.len()).map(again).collect();
    for at in 0..kept.len().saturating_sub(1) {
        let left = || kept.iter().zip(&gone).filter(|(_, gone)| !**gone);
        let bytes: usize = left().map(|(answer, _)| answer.body.len()).sum();
        if left().count() <= MOST && bytes <= MOST_BYTES {
            break;
        }
        gone[at] |= !may_hold_token(kept[at]);
    }
    (0..kept.len()).filter(|at| gone[*at]).collect()
}

/// But for when they came.
fn is_same(one: &Answer, other: &Answer) -> bool {
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers
    };
    one.status == other.status
        && one.complete == other.complete
        && one.body == other.body
        && headers(one) == headers(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: vec![("date".to_owned(), "today".to_owned())],
            body: body.as_bytes().to_vec(),
            complete: true,
            received: WallTime(1),
        }
    }

    fn gone(answers: &[Answer]) -> Vec<usize> {
        let_go(&answers.iter().collect::<Vec<_>>())
    }

    #[test]
    fn bytes_are_kept_as_they_came() {
        let mut cut = answer(203, "");
        (cut.body, cut.complete) = ((0..=255).collect(), false);
        let kept = KeptAnswer {
            flight: ExchangeId([7; 16]),
            answer: cut,
        };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<KeptAnswer>(&text).unwrap(), kept);
    }

    #[test]
    fn the_same_bytes_are_kept_once() {
        let mut later = answer(200, "<html>busy</html>");
        later.headers = vec![("date".to_owned(), "tomorrow".to_owned())];
        later.received = WallTime(2);
        let first = answer(200, "<html>busy</html>");
        assert_eq!(gone(&[first.clone(), answer(200, "x"), later.clone()]), [0]);
        let mut cut = later.clone();
        cut.complete = false;
        let other = answer(502, "<html>busy</html>");
        assert_eq!(gone(&[first, cut, other]), [] as [usize; 0]);
    }

    #[test]
    fn of_many_the_oldest_without_a_token_go_and_no_other() {
        let token = |n: usize| answer(200, &format!("{{\"data\":{{\"renew\":\"rt-{n}\"}}}}"));
        let page = |n: usize| answer(200, &format!("<html>busy, {n}</html>"));
        // However many hold a token, all of them stay.
        let tokens: Vec<Answer> = (0..2 * MOST).map(token).collect();
        assert_eq!(gone(&tokens), [] as [usize; 0]);
        // Pages give way, the oldest first, as far as there are too many.
        let mut mixed: Vec<Answer> = (0..MOST - 1).map(token).collect();
        mixed.insert(0, page(1));
        mixed.insert(1, page(2));
        mixed.push(page(3));
        assert_eq!(gone(&mixed), [0, 1]);
        // The last one is what a person is told of.
        let mut last: Vec<Answer> = (0..2 * MOST).map(token).collect();
        last.push(page(1));
        assert_eq!(gone(&last), [] as [usize; 0]);
    }

    #[test]
    fn of_large_ones_the_oldest_without_a_token_go() {
        let large = |text: &str| answer(200, &format!("<html>{}</html>", text.repeat(450_000)));
        let most = ["aa", "bb", "cc", "dd", "ee", "ff"].map(large);
        assert_eq!(gone(&most), [0, 1]);
        // What cannot be unpacked or is too large to be read may hold anything.
        let mut packed = answer(200, "");
        packed.body = [&[0x1f, 0x8b][..], &vec![9; 5 << 20]].concat();
        assert_eq!(gone(&[packed, answer(200, "<html>")]), [] as [usize; 0]);
    }
}
