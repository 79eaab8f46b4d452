//! Small HTML pages for people, browsers and scripts.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A page; `body` is HTML.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html).into_response()
}

/// A page that says why there is nothing else.
pub(crate) fn refusal(why: &str) -> Response {
    let body = format!("<p id=\"why\">{}</p>", escaped(why));
    page(StatusCode::BAD_REQUEST, "This request is refused", &body)
}

/// A form that POSTs hidden fields, one text field, and a decision.
pub(crate) struct Form<'a> {
    pub(crate) title: &'a str,
    pub(crate) asks: &'a str,
    pub(crate) action: &'a str,
    pub(crate) hidden: Vec<(&'a str, &'a str)>,
    /// Names, labels and values.
    pub(crate) texts: Vec<(&'a str, &'a str, &'a str)>,
}

impl Form<'_> {
    pub(crate) fn page(&self) -> Response {
        let hidden = self.hidden.iter().map(|(name, value)| {
            let (name, value) = (escaped(name), escaped(value));
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">\n")
        });
        let texts = self.texts.iter().map(|(name, label, value)| {
            let (name, label, value) = (escaped(name), escaped(label), escaped(value));
            format!(
                "<p><label>{label} \
                 <input type=\"text\" name=\"{name}\" id=\"{name}\" value=\"{value}\"></label></p>\n"
            )
        });
        let fields: String = hidden.chain(texts).collect();
        let (asks, action) = (escaped(self.asks), escaped(self.action));
        let body = format!(
            "<p>{asks}</p>\n<form method=\"post\" action=\"{action}\">\n{fields}\
             <button type=\"submit\" id=\"allow\" name=\"decision\" value=\"allow\">Allow</button>\n\
             <button type=\"submit\" id=\"deny\" name=\"decision\" value=\"deny\">Deny</button>\n\
             </form>"
        );
        page(StatusCode::OK, self.title, &body)
    }
}

/// The fields of a query or of a form; what is not UTF-8 becomes U+FFFD.
pub(crate) fn fields(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

/// The first field of that name that is not empty.
pub(crate) fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = fields.iter().filter(|(n, _)| n == name);
    let value = named.next().map(|(_, value)| value.as_str());
    value.filter(|value| !value.is_empty())
}

/// A text where HTML stands, in quotation marks too.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
