//! What a person pastes: never from argv, which all processes may read. Nothing that is
//! pasted ends the command: it says what is wrong, and asks again.

use super::terminal::{Input, Reader};
use crate::cli::output;
use refreshd_core::enroll::paste::{self, Asked, LONGEST_TEXT, PasteError};
use refreshd_core::secret::Secret;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroize;

/// What the person wants.
#[derive(Debug)]
pub(super) enum Pasted {
    /// A redirect's parameters, as a query.
    Query(Secret),
    /// To stop waiting.
    GiveUp,
    /// Nothing more will be pasted; why the last of it was not used.
    End(Option<String>),
}

/// Words that nobody pastes.
const GIVE_UP: [&str; 6] = ["q", "quit", "exit", "stop", "cancel", "abort"];

/// Reads and judges what is pasted.
pub(super) struct Pasting {
    reader: Reader,
    judge: Judge,
    asks: Asks,
    last: Option<String>,
}

/// How the person is asked.
struct Asks {
    terminal: bool,
    /// The command listens too; it has said that pasting is a way.
    listens: bool,
    lifetime: Option<Duration>,
    /// The countdown of a code that is short-lived.
    ends: Option<Instant>,
}

impl Pasting {
    /// Begins to read. Where the code is short-lived, an empty line starts a countdown.
    pub(super) fn begin(url: &str, listens: bool, lifetime: Option<Duration>) -> Pasting {
        let asks = Asks {
            terminal: std::io::stdin().is_terminal(),
            listens,
            lifetime: lifetime.filter(|_| !listens),
            ends: None,
        };
        let reader = Reader::start();
        asks.begin();
        Pasting {
            reader,
            judge: Judge::of(url),
            asks,
            last: None,
        }
    }

    /// The next redirect that is ours, by its state.
    pub(super) async fn next(&mut self) -> Pasted {
        loop {
            let mut text = match self.asks.ends {
                None => self.reader.next().await,
                Some(_) => {
                    let second = Duration::from_secs(1);
                    match tokio::time::timeout(second, self.reader.next()).await {
                        Ok(input) => input,
                        Err(_) => {
                            self.asks.count_down();
                            continue;
                        }
                    }
                }
            };
            let judged = match &text {
                Input::End => return self.end(),
                Input::Text(text) => {
                    let word = text.trim().to_ascii_lowercase();
                    if GIVE_UP.contains(&word.as_str()) {
                        return Pasted::GiveUp;
                    }
                    self.judge.judge(text)
                }
            };
            if let Input::Text(text) = &mut text {
                text.zeroize();
            }
            match judged {
                Ok(query) => return Pasted::Query(query),
                Err(PasteError::Empty) => self.asks.empty(),
                Err(error) => self.again(&error.to_string()),
            }
        }
    }

    /// A pipe that has ended has brought all there is, also where no state was in it.
    fn end(&mut self) -> Pasted {
        let rest = self.judge.doubtful.take();
        match rest.filter(|_| !self.asks.terminal) {
            Some(query) => Pasted::Query(query),
            None => Pasted::End(self.last.take()),
        }
    }

    /// Says why something was not used, and asks again.
    pub(super) fn again(&mut self, why: &str) {
        output::note(&format!("Not used: {why}."));
        self.last = Some(why.to_owned());
        self.asks.again();
    }
}

impl Asks {
    fn begin(&self) {
        if !self.terminal || self.listens {
            return;
        }
        if let Some(lifetime) = self.lifetime {
            let secs = lifetime.as_secs();
            output::note(&format!(
                "The code is good for {secs} seconds from the moment you approve. Press Enter at that moment to see them count down."
            ));
        }
        self.again();
    }

    fn again(&self) {
        if self.terminal {
            prompt("Paste the address that the browser was sent to, or the code: ");
        }
    }

    fn empty(&mut self) {
        match self
            .lifetime
            .filter(|_| self.terminal && self.ends.is_none())
        {
            Some(lifetime) => {
                self.ends = Some(Instant::now() + lifetime);
                self.count_down();
            }
            None => self.again(),
        }
    }

    fn count_down(&mut self) {
        let Some(ends) = self.ends else {
            return;
        };
        match ends.saturating_duration_since(Instant::now()).as_secs() {
            0 => {
                prompt("\rThe code has expired: begin again, or paste it all the same: ");
                (self.ends, self.lifetime) = (None, None);
            }
            left => prompt(&format!("\r{left:>3} s left; paste: ")),
        }
    }
}

/// Judges texts one after the other: an address that came in pieces is put together, and
/// what is doubtful is taken when it comes a second time.
struct Judge {
    state: String,
    /// Pieces of an address.
    pieces: String,
    doubtful: Option<Secret>,
}

impl Judge {
    /// By the address that the person was sent to.
    fn of(url: &str) -> Judge {
        let url = Url::parse(url).ok();
        let state = url.and_then(|url| {
            let mut pairs = url.query_pairs().filter(|(name, _)| name == "state");
            pairs.next().map(|(_, state)| state.into_owned())
        });
        Judge {
            state: state.unwrap_or_default(),
            pieces: String::new(),
            doubtful: None,
        }
    }

    fn judge(&mut self, text: &str) -> Result<Secret, PasteError> {
        let asked = Asked { state: &self.state };
        let alone = paste::read(text, Some(asked));
        if self.pieces.is_empty() || is_whole(text) {
            let read = self.second_time(alone);
            return self.judged(read, text);
        }
        // The rest of an address looks like a code of its own.
        let together = format!("{}\n{text}", self.pieces.trim_end());
        let read = paste::read(&together, Some(asked));
        match (read, alone) {
            (Ok(query), _) => Ok(query),
            (Err(_), Err(error @ PasteError::Empty)) => Err(error),
            (error, _) => self.judged(error, &together),
        }
    }

    /// Takes an address without a state when all of it is pasted once more. A piece that is
    /// added to one and leaves its code as it was is no second time: the code may be cut.
    fn second_time(&self, read: Result<Secret, PasteError>) -> Result<Secret, PasteError> {
        match read {
            Err(PasteError::NoState(query)) if self.doubtful.as_ref() == Some(&query) => Ok(query),
            read => read,
        }
    }

    fn judged(
        &mut self,
        read: Result<Secret, PasteError>,
        text: &str,
    ) -> Result<Secret, PasteError> {
        self.pieces.zeroize();
        if let Err(PasteError::NoState(query)) = &read {
            self.doubtful = Some(query.clone());
        }
        let in_pieces = match &read {
            Err(PasteError::NoState(_) | PasteError::WhereItEnds) => true,
            // It may end before its code.
            Err(PasteError::NoCode) => text.contains(['?', '#']),
            _ => false,
        };
        if in_pieces && text.len() < LONGEST_TEXT / 2 {
            text.clone_into(&mut self.pieces);
        }
        read
    }
}

/// Whether a text begins anew, and is no piece of what was pasted before.
fn is_whole(text: &str) -> bool {
    text.contains("://") || text.trim_start().starts_with("code=")
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.pieces.zeroize();
    }
}

fn prompt(text: &str) {
    let mut out = std::io::stderr();
    let _closed = write!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "qhX4GgsDVrA1YHDbr1JmVA";

    fn judge() -> Judge {
        Judge::of(&format!(
            "https://as.example/authorize?client_id=c&state={STATE}"
        ))
    }

    fn codes(texts: &[&str]) -> Vec<Option<String>> {
        let mut judge = judge();
        let read = texts.iter().map(|text| judge.judge(text).ok());
        read.map(|query| query.map(|q| q.expose().to_owned()))
            .collect()
    }

    #[test]
    fn an_address_in_pieces_is_put_together_and_no_piece_is_a_code() {
        let rest = format!("ef90&state={STATE}");
        let whole = format!("code=abcd1234ef90&state={STATE}");
        let got = codes(&["https://app.example/cb?code=abcd\n", "1234\n", &rest]);
        assert_eq!(got, [None, None, Some(whole.clone())]);
        let got = codes(&[
            "https://app.example/cb?session=abcd\n",
            "1234&co\n",
            "de=abcd1234ef90&state=",
            STATE,
        ]);
        assert_eq!(got, [None, None, None, Some(whole)]);
    }

    #[test]
    fn what_has_no_state_is_taken_the_second_time() {
        let cut = "https://app.example/cb?code=abcd1234";
        assert_eq!(codes(&[cut, cut]), [None, Some("code=abcd1234".to_owned())]);
        let other = "https://app.example/cb?code=abcd12";
        assert_eq!(codes(&[cut, other]), [None, None]);
    }

    #[test]
    fn after_a_wrong_one_the_right_one_is_taken() {
        let right = format!("https://app.example/cb?code=abcd1234&state={STATE}");
        let taken = Some(format!("code=abcd1234&state={STATE}"));
        for wrong in [
            "https://as.example/authorize?client_id=c&response_type=code&state=x",
            "https://app.example/cb?code=other&state=another",
            "https://app.example/cb?code=abcd",
            "https://app.example/cb",
            "what is this",
            "",
        ] {
            assert_eq!(codes(&[wrong, &right]), [None, taken.clone()], "{wrong}");
        }
        // The code alone, after an address that has none.
        let got = codes(&["https://app.example/cb", "4/0AbC-dEf"]);
        assert_eq!(got, [None, Some("code=4%2F0AbC-dEf".to_owned())]);
    }
}
