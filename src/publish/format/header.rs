//! `header`: one line as HTTP sends it, `Authorization: Bearer TOKEN`, for
//! `curl -H @FILE`. A token that could begin another header is refused.

use super::{FormatError, unfit};
use crate::config::Scheme;
use crate::publish::View;
use zeroize::Zeroizing;

pub(super) fn render(
    view: &View,
    name: &str,
    scheme: &Scheme,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let token = view.tokens.access_token.expose();
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(unfit(
            "header",
            "a space, a control character or one beyond ASCII",
            "publish it as json or raw",
        ));
    }
    let scheme = match scheme {
        Scheme::Absent => "",
        Scheme::Fixed(scheme) => scheme,
        Scheme::OfToken => view.tokens.scheme(),
    };
    let between = if scheme.is_empty() { "" } else { " " };
    // Room for all of it at once: a vector that grows leaves copies behind.
    let room = name.len() + scheme.len() + token.len() + 4;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    for part in [name, ": ", scheme, between, token, "\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::view;
    use proptest::prelude::*;

    fn text(view: &View, name: &str, scheme: &Scheme) -> Result<String, FormatError> {
        let bytes = render(view, name, scheme)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn one_line_as_documented() {
        let of_type = |token_type: Option<&str>| {
            let mut view = view(1, "at-1");
            view.tokens.token_type = token_type.map(str::to_owned);
            text(&view, "Authorization", &Scheme::OfToken)
        };
        for bearer in [None, Some("bearer"), Some("BEARER"), Some("Bearer")] {
            assert_eq!(of_type(bearer).unwrap(), "Authorization: Bearer at-1\n");
        }
        assert_eq!(of_type(Some("DPoP")).unwrap(), "Authorization: DPoP at-1\n");
        let view = view(1, "at-1");
        let fixed = Scheme::Fixed("token".to_owned());
        assert_eq!(
            text(&view, "Authorization", &fixed).unwrap(),
            "Authorization: token at-1\n"
        );
        assert_eq!(
            text(&view, "X-Api-Key", &Scheme::Absent).unwrap(),
            "X-Api-Key: at-1\n"
        );
    }

    #[test]
    fn a_token_type_that_is_no_scheme_goes_out_as_bearer() {
        for own in ["bot", "User Access Token", "my: type", "Bearer\r\nX: y"] {
            let mut view = view(1, "at-1");
            view.tokens.token_type = Some(own.to_owned());
            let text = text(&view, "Authorization", &Scheme::OfToken).unwrap();
            assert_eq!(text, "Authorization: Bearer at-1\n", "{own:?}");
        }
    }

    #[test]
    fn what_readers_would_misread_is_refused() {
        for token in ["a b", " a", "a\r\nX: y", "a\tb", "é", "a\0"] {
            let error = text(&view(1, token), "A", &Scheme::Absent).unwrap_err();
            assert!(error.to_string().contains("a space, a control"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_refused_is_one_header(token in "\\PC{0,40}|[!-~]{0,40}|[ -~\n\r]{0,8}") {
            if let Ok(text) = text(&view(1, &token), "Authorization", &Scheme::OfToken) {
                let value = text.strip_prefix("Authorization: Bearer ").unwrap();
                let value = value.strip_suffix('\n').unwrap();
                prop_assert_eq!(value, &token);
                prop_assert!(value.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
