//! Device codes (RFC 8628), and who let them in.

use crate::codes::Asked;
use crate::tokens::random_text;
use std::collections::HashMap;

/// Consonants alone make no words (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What a device is told to add to its interval (RFC 8628 §3.5).
const SLOWER_MS: u64 = 5000;

/// All device codes that were ever made.
#[derive(Debug, Default)]
pub(crate) struct Devices(HashMap<String, Device>);

#[derive(Debug)]
struct Device {
    user_code: String,
    asked: Asked,
    good_until_ms: u64,
    interval_ms: u64,
    polled_ms: Option<u64>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Allowed(String),
    Denied,
    Used,
}

/// The codes of a device that begins.
#[derive(Debug)]
pub(crate) struct DeviceCodes {
    pub(crate) device: String,
    pub(crate) user: String,
}

/// Why a device gets no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotYet {
    Unknown,
    Used,
    Expired,
    TooSoon,
    Waiting,
    Denied,
}

impl Devices {
    /// A new device that waits.
    pub(crate) fn begin(&mut self, asked: Asked, interval: u64, good_until_ms: u64) -> DeviceCodes {
        let (device, user) = (random_text("dc"), user_code());
        let waiting = Device {
            user_code: user.clone(),
            asked,
            good_until_ms,
            interval_ms: interval.saturating_mul(1000),
            polled_ms: None,
            state: State::Waiting,
        };
        self.0.insert(device.clone(), waiting);
        DeviceCodes { device, user }
    }

    /// Whether a user code waits for somebody.
    pub(crate) fn waits(&self, user_code: &str, now_ms: u64) -> bool {
        let entered = letters(user_code);
        let mut devices = self.0.values();
        devices.any(|d| d.is_asked_for(&entered) && now_ms < d.good_until_ms)
    }

    /// Somebody entered a user code and decided; false when none such waits.
    pub(crate) fn decide(&mut self, user_code: &str, account: Option<&str>) -> bool {
        let entered = letters(user_code);
        let mut devices = self.0.values_mut();
        let Some(device) = devices.find(|device| device.is_asked_for(&entered)) else {
            return false;
        };
        device.state = match account {
            Some(account) => State::Allowed(account.to_owned()),
            None => State::Denied,
        };
        true
    }

    /// The device asks for its token: whose it is to be.
    pub(crate) fn poll(&mut self, text: &str, now_ms: u64) -> Result<(String, Asked), NotYet> {
        let device = self.0.get_mut(text).ok_or(NotYet::Unknown)?;
        if device.state == State::Used {
            return Err(NotYet::Used);
        }
        if now_ms >= device.good_until_ms {
            return Err(NotYet::Expired);
        }
        let last_ms = device.polled_ms.replace(now_ms);
        if last_ms.is_some_and(|last| now_ms.saturating_sub(last) < device.interval_ms) {
            device.interval_ms += SLOWER_MS;
            return Err(NotYet::TooSoon);
        }
        match device.state.clone() {
            State::Waiting => Err(NotYet::Waiting),
            State::Denied => Err(NotYet::Denied),
            State::Used => Err(NotYet::Used),
            State::Allowed(account) => {
                device.state = State::Used;
                Ok((account, device.asked.clone()))
            }
        }
    }

    /// Who let a device in, where somebody has.
    pub(crate) fn account(&self, text: &str) -> Option<String> {
        match &self.0.get(text)?.state {
            State::Allowed(account) => Some(account.clone()),
            _ => None,
        }
    }

    /// Lets a device code be good no more.
    pub(crate) fn spend(&mut self, text: &str) {
        if let Some(device) = self.0.get_mut(text) {
            device.state = State::Used;
        }
    }
}

impl Device {
    fn is_asked_for(&self, entered: &str) -> bool {
        self.state == State::Waiting && letters(&self.user_code) == entered
    }
}

/// `WDJB-MJHT`.
fn user_code() -> String {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    let (left, right) = bytes.split_at(4);
    let half = |bytes: &[u8]| bytes.iter().map(letter).collect::<String>();
    format!("{}-{}", half(left), half(right))
}

/// A user code without what people add or leave out.
fn letters(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_hurries_is_slowed_down() {
        let mut devices = Devices::default();
        let codes = devices.begin(Asked::default(), 5, 60_000);
        let mut poll = |now_ms| devices.poll(&codes.device, now_ms).map(|(who, _)| who);
        assert_eq!(poll(0), Err(NotYet::Waiting));
        assert_eq!(poll(4999), Err(NotYet::TooSoon));
        assert_eq!(poll(12_000), Err(NotYet::TooSoon), "it is ten seconds now");
        assert_eq!(poll(30_000), Err(NotYet::Waiting), "it is fifteen now");
        assert_eq!(poll(60_000), Err(NotYet::Expired));
    }

    #[test]
    fn a_user_code_is_taken_as_people_type_it() {
        let mut devices = Devices::default();
        let codes = devices.begin(Asked::default(), 0, 60_000);
        let typed = format!(" {} ", codes.user.to_lowercase().replace('-', " "));
        assert!(devices.waits(&typed, 0));
        assert!(!devices.waits(&typed, 60_000));
        assert!(devices.decide(&typed, Some("a")));
        assert!(!devices.decide(&typed, Some("b")), "it was decided");
        let whose = devices.poll(&codes.device, 0).map(|(who, _)| who);
        assert_eq!(whose, Ok("a".to_owned()));
        assert_eq!(devices.poll(&codes.device, 0).err(), Some(NotYet::Used));
    }
}
