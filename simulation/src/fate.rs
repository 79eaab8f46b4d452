//! What becomes of an exchange on its way.

use crate::rng::Rng;
use crate::server::Mood;
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Answered,
    /// The request never came through.
    LostBefore,
    /// It was carried out, and the answer never came.
    LostAfter,
    NotSent,
    Unavailable,
    /// A gateway's error hides that the request was carried out.
    UnavailableAfter,
    TooMany,
    TooManyRetryAfter,
    /// An HTML page with status 200, after the request was carried out.
    Page,
    /// Half of an answer.
    Truncated,
    InvalidClient,
    /// `invalid_grant` from a server in disorder.
    FalseRefusal,
    /// The answer comes after the limit.
    Late,
    /// After the limit a gateway gives up.
    LateUnavailable,
    /// After the limit the connection breaks.
    LateLost,
    /// The request itself takes its time on the way.
    Delayed,
}

pub(crate) const ALL: [Fate; 16] = [
    Fate::Answered,
    Fate::LostBefore,
    Fate::LostAfter,
    Fate::NotSent,
    Fate::Unavailable,
    Fate::UnavailableAfter,
    Fate::TooMany,
    Fate::TooManyRetryAfter,
    Fate::Page,
    Fate::Truncated,
    Fate::InvalidClient,
    Fate::FalseRefusal,
    Fate::Late,
    Fate::LateUnavailable,
    Fate::LateLost,
    Fate::Delayed,
];

impl Fate {
    /// What network and server do to a request; `calm`: nothing bad.
    pub(crate) fn draw(rng: &mut Rng, mood: Mood, calm: bool) -> Fate {
        match mood {
            Mood::Unreachable => rng.pick(&[Fate::NotSent, Fate::NotSent, Fate::LostBefore]),
            Mood::Failing => {
                rng.pick(&[Fate::Unavailable, Fate::UnavailableAfter, Fate::Unavailable])
            }
            Mood::Throttling => rng.pick(&[Fate::TooMany, Fate::TooManyRetryAfter]),
            Mood::Slow => rng.pick(&[
                Fate::Late,
                Fate::LateUnavailable,
                Fate::LateLost,
                Fate::Delayed,
            ]),
            Mood::BadClient => Fate::InvalidClient,
            Mood::Refusing => Fate::FalseRefusal,
            Mood::Fine if calm => Fate::Answered,
            Mood::Fine => Fate::draw_fine(rng),
        }
    }

    fn draw_fine(rng: &mut Rng) -> Fate {
        match rng.below(200) {
            0..160 => Fate::Answered,
            160..164 => Fate::LostBefore,
            164..171 => Fate::LostAfter,
            171..174 => Fate::NotSent,
            174..177 => Fate::Unavailable,
            177..180 => Fate::UnavailableAfter,
            180..182 => Fate::TooMany,
            182..184 => Fate::TooManyRetryAfter,
            184..186 => Fate::Page,
            186..188 => Fate::Truncated,
            188..189 => Fate::InvalidClient,
            189..193 => Fate::Late,
            193..195 => Fate::LateUnavailable,
            195..197 => Fate::LateLost,
            _ => Fate::Delayed,
        }
    }

    /// Whether the provider carries the request out.
    pub(crate) fn is_processed(self) -> bool {
        matches!(
            self,
            Fate::Answered
                | Fate::LostAfter
                | Fate::UnavailableAfter
                | Fate::Page
                | Fate::Truncated
                | Fate::Late
                | Fate::Delayed
        )
    }

    /// How long the request takes to the server, and the answer from there.
    pub(crate) fn travel(self, rng: &mut Rng) -> (i64, i64) {
        match self {
            Fate::Late | Fate::LateUnavailable | Fate::LateLost => {
                (rng.millis(5, 200), rng.millis(30_001, 90_000))
            }
            Fate::Delayed => (rng.millis(1000, 80_000), rng.millis(5, 200)),
            _ if rng.percent(80) => (rng.millis(5, 100), rng.millis(5, 300)),
            _ => (rng.millis(5, 200), rng.millis(400, 29_000)),
        }
    }
}

/// How an exchange ends, as the shell sees it.
pub(crate) fn ending(
    rng: &mut Rng,
    fate: Fate,
    reply: Option<(u16, String)>,
    life: i64,
    received: WallTime,
) -> Ending {
    let answer = |status, headers: &[(&str, &str)], body: Vec<u8>, complete| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ending::Answered(Answer {
            status,
            headers: headers.iter().map(owned).collect(),
            body,
            complete,
            received,
        })
    };
    let page = || b"<html><body>One moment, please</body></html>".to_vec();
    let wait = (rng.pick(&[0, 1, 30, life / 8000, life / 1000]))
        .min(3600)
        .to_string();
    match (fate, reply) {
        (Fate::Answered | Fate::Late | Fate::Delayed, Some((status, body))) => {
            answer(status, &[], body.into_bytes(), true)
        }
        (Fate::Truncated, Some((status, body))) => {
            let mut half = body.into_bytes();
            half.truncate(half.len() / 2);
            answer(status, &[], half, false)
        }
        (Fate::Page, _) => answer(200, &[("content-type", "text/html")], page(), true),
        (Fate::UnavailableAfter | Fate::LateUnavailable, _) => answer(502, &[], page(), true),
        (Fate::Unavailable, _) => answer(503, &[("retry-after", &wait)], page(), true),
        (Fate::TooMany, _) => answer(429, &[], Vec::new(), true),
        (Fate::TooManyRetryAfter, _) => answer(429, &[("retry-after", &wait)], Vec::new(), true),
        (Fate::InvalidClient, _) => {
            answer(401, &[], br#"{"error":"invalid_client"}"#.to_vec(), true)
        }
        (Fate::FalseRefusal, _) => answer(400, &[], br#"{"error":"invalid_grant"}"#.to_vec(), true),
        (Fate::NotSent, _) => Ending::NotSent {
            text: "connection refused".to_owned(),
        },
        _ => Ending::Lost {
            text: "connection reset".to_owned(),
        },
    }
}
