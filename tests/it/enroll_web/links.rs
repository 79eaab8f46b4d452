//! Links, opened by a browser of few words.

use super::Place;
use refreshd_core::enroll::{Stage, Via};
use reqwest::header::HeaderMap;
use sandbox::{Auto, Options, Outcome, Pkce};
use serde_json::json;
use url::Url;

const GRANT: &str = "[grants.one]\nclient = \"c\"\n";

async fn generic() -> Place {
    let options = Options {
        pkce: Pkce::Required,
        ..Options::default()
    };
    Place::new(options, "", GRANT).await
}

/// What a browser got.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn location(&self) -> Url {
        self.headers["location"].to_str().unwrap().parse().unwrap()
    }

    /// Name and value of the cookie that is set.
    fn cookie(&self) -> String {
        let set = self.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

async fn get(place: &Place, url: &Url, cookie: Option<&str>) -> Got {
    let request = place.http.get(url.clone());
    sent(match cookie {
        Some(cookie) => request.header("cookie", cookie),
        None => request,
    })
    .await
}

async fn sent(request: reqwest::RequestBuilder) -> Got {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.unwrap();
    Got {
        status,
        headers,
        body,
    }
}

/// Begins at a link; the cookie, and where the provider sends the browser back to.
async fn begun(place: &Place, link: &Url) -> (String, Url) {
    let posted = sent(place.http.post(link.clone())).await;
    assert_eq!(posted.status, 303, "{}", posted.body);
    let consented = get(place, &posted.location(), None).await;
    assert_eq!(consented.status, 302, "{}", consented.body);
    (posted.cookie(), consented.location())
}

async fn link(place: &Place) -> (String, Url) {
    place.begin(Some("one"), Via::Link).await.unwrap()
}

fn is_plain(got: &Got) {
    let csp = got.headers["content-security-policy"].to_str().unwrap();
    assert!(csp.starts_with("default-src 'none'"), "{csp}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(got.headers[name], value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_token_and_is_spent_by_it() {
    let place = generic().await;
    let daemon = place.daemon();
    let (id, link) = link(&place).await;
    // Chats look at it first, as often as they like.
    for _ in 0..5 {
        let shown = get(&place, &link, None).await;
        assert_eq!(shown.status, 200);
        for word in ["one", "generic", "method=\"post\""] {
            assert!(shown.body.contains(word), "{}", shown.body);
        }
        is_plain(&shown);
        assert!(!shown.headers.contains_key("set-cookie"));
        let head = sent(place.http.head(link.clone())).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
    assert!(place.server.visits().is_empty());

    let (cookie, back) = begun(&place, &link).await;
    let ended = get(&place, &back, Some(&cookie)).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    assert!(
        ended.body.contains("You can close this window"),
        "{}",
        ended.body
    );
    is_plain(&ended);
    assert!(
        ended.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let report = place.done(&id, "one").await;
    assert_eq!(report.generation, Some(1));

    // Spent: by every way in.
    for request in [place.http.get(link.clone()), place.http.post(link.clone())] {
        let spent = sent(request).await;
        assert_eq!(spent.status, 410);
        assert!(spent.body.contains("has been used"), "{}", spent.body);
    }
    // The last page, loaded again: the cookie went with the success.
    for cookie in [None, Some(cookie.as_str())] {
        let again = get(&place, &back, cookie).await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert!(again.body.contains("Authorized"), "{}", again.body);
    }
    let other = Url::parse(&back.as_str().replacen("code=", "code=x", 1)).unwrap();
    for cookie in [None, Some(cookie.as_str())] {
        let other = get(&place, &other, cookie).await;
        assert_eq!(other.status, 400, "{}", other.body);
    }
    let replayed = get(&place, &back, None).await;
    assert_eq!(place.asked(), 1);

    let code = back
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1
        .into_owned();
    for (place, text) in [
        ("the page", &ended.body),
        ("the log", &daemon.log()),
        ("a later page", &replayed.body),
    ] {
        assert!(!text.contains(&code), "the code is in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_taken_from_the_browser_that_has_begun_alone() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (id, link) = link(&place).await;
    let (first, first_back) = begun(&place, &link).await;
    let (second, second_back) = begun(&place, &link).await;
    assert_ne!(first, second, "each attempt has its own");
    let query = |back: &Url, name: &str, value: &str| {
        let mut changed = back.clone();
        let pairs: Vec<_> = back.query_pairs().into_owned().collect();
        changed.query_pairs_mut().clear().extend_pairs(
            pairs
                .iter()
                .map(|(n, v)| (n.as_str(), if n == name { value } else { v.as_str() })),
        );
        changed
    };
    let link_state = link
        .path_segments()
        .unwrap()
        .next_back()
        .unwrap()
        .to_owned();
    let (name, _) = first.split_once('=').unwrap();
    let refused: [(&str, Url, Option<String>); 9] = [
        ("no cookie", first_back.clone(), None),
        (
            "another attempt's cookie",
            first_back.clone(),
            Some(second.clone()),
        ),
        (
            "a made-up cookie",
            first_back.clone(),
            Some(format!("{name}=AAAA")),
        ),
        (
            "an empty cookie",
            first_back.clone(),
            Some(format!("{name}=")),
        ),
        (
            "two cookies",
            first_back.clone(),
            Some(format!("{first}; {first}")),
        ),
        (
            "no state",
            query(&first_back, "state", ""),
            Some(first.clone()),
        ),
        (
            "the link's own state",
            query(&first_back, "state", &link_state),
            Some(first.clone()),
        ),
        (
            "nothing",
            Url::parse(&place.url("/callback")).unwrap(),
            Some(first.clone()),
        ),
        (
            "two codes",
            Url::parse(&format!("{first_back}&code=x")).unwrap(),
            Some(first.clone()),
        ),
    ];
    for (what, url, cookie) in refused {
        let got = get(&place, &url, cookie.as_deref()).await;
        assert_eq!(got.status, 400, "{what}: {}", got.body);
        is_plain(&got);
    }
    assert_eq!(place.report(&id).await.stage, Stage::Open);
    assert_eq!(place.asked(), 0);
    // Either of the two browsers may still end it.
    assert_eq!(get(&place, &first_back, Some(&first)).await.status, 200);
    place.done(&id, "one").await;
    assert_eq!(get(&place, &second_back, Some(&second)).await.status, 400);
    assert_eq!(place.asked(), 1);
}

/// A form that another site posts comes without our cookie: the browser is sent on, and
/// brings it along.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_may_be_posted_from_the_provider_s_site() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (id, link) = link(&place).await;
    let (cookie, back) = begun(&place, &link).await;
    let mut callback = back.clone();
    callback.set_query(None);
    let post = |body: &str| {
        let post = place.http.post(callback.clone());
        let kind = "application/x-www-form-urlencoded";
        sent(post.header("content-type", kind).body(body.to_owned()))
    };
    let form = back.query().unwrap();
    for (body, status) in [
        (form.replacen("state=", "state=x", 1), 400),
        ("error=access_denied".to_owned(), 400),
        ("x".repeat(70_000), 413),
    ] {
        assert_eq!(post(&body).await.status, status, "{body:.40}");
    }
    let plain = sent(place.http.post(callback.clone()).body(form.to_owned())).await;
    assert_eq!(plain.status, 415, "{}", plain.body);
    let on = post(&format!("{form}&id_token=e30")).await;
    assert_eq!(on.status, 303, "{}", on.body);
    let to = callback
        .join(on.headers["location"].to_str().unwrap())
        .unwrap();
    assert_eq!(
        to, back,
        "nothing is added, and nothing that is not read is passed on"
    );
    // Another browser brings no cookie, and ends nothing.
    assert_eq!(get(&place, &to, None).await.status, 400);
    let ahead = place.http.get(to.clone()).header("cookie", &cookie);
    let ahead = sent(ahead.header("sec-purpose", "prefetch")).await;
    assert_eq!((ahead.status, place.asked()), (503, 0));
    assert_eq!(get(&place, &to, Some(&cookie)).await.status, 200);
    place.done(&id, "one").await;
    assert_eq!(place.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_until_somebody_has_approved() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (id, link) = link(&place).await;
    let mut denies = place.server.enrollment();
    denies.auto = Auto::Deny;
    denies.hostile_description = true;
    place.server.set_enrollment(denies);
    let (cookie, back) = begun(&place, &link).await;
    let denied = get(&place, &back, Some(&cookie)).await;
    assert!(denied.body.contains("Not authorized"), "{}", denied.body);
    assert!(
        !denied.body.contains('\u{1b}') && !denied.body.contains("<script"),
        "{}",
        denied.body
    );
    assert_eq!(place.report(&id).await.stage, Stage::Open);

    // A code that the provider does not take leaves it good as well.
    let mut late = place.server.enrollment();
    (late.auto, late.code_ms) = (Auto::Allow, Some(0));
    place.server.set_enrollment(late.clone());
    let (cookie, back) = begun(&place, &link).await;
    let failed = get(&place, &back, Some(&cookie)).await;
    assert!(
        failed.body.contains("open the link again"),
        "{}",
        failed.body
    );
    let again = get(&place, &back, Some(&cookie)).await;
    assert_eq!(again.status, 400, "that code is over: {}", again.body);
    assert_eq!(place.asked(), 1);
    let shown = get(&place, &link, None).await;
    assert!(shown.body.contains("came to nothing"), "{}", shown.body);

    late.code_ms = None;
    place.server.set_enrollment(late);
    let (cookie, back) = begun(&place, &link).await;
    get(&place, &back, Some(&cookie)).await;
    place.done(&id, "one").await;
    let outcomes: Vec<_> = place.server.visits().iter().map(|v| v.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Denied, Outcome::Allowed, Outcome::Allowed]
    );
}

/// Some providers send errors back without the state: nothing ends by them, and whoever
/// waits sees them.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_nothing_proves_is_shown_to_both_and_ends_nothing() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (id, link) = link(&place).await;
    let (cookie, back) = begun(&place, &link).await;
    for state in ["", "&state=not-ours"] {
        let mut error = back.clone();
        error.set_query(Some(&format!(
            "error=access_denied&error_description=%3Cb%3ENora%1b%5b2J+declined{state}"
        )));
        let shown = get(&place, &error, Some(&cookie)).await;
        assert_eq!(shown.status, 400);
        for part in ["&lt;b&gt;Nora", "access_denied", "proves nothing"] {
            assert!(shown.body.contains(part), "{part}: {}", shown.body);
        }
        assert!(!shown.body.contains(['\u{1b}']), "{}", shown.body);
    }
    let report = place.report(&id).await;
    assert_eq!(report.stage, Stage::Open);
    let said = "access_denied: <b>Nora";
    assert!(report.text.contains(said), "{}", report.text);
    assert!(report.text.contains("proves nothing"), "{}", report.text);
    // Nobody else's browser says anything to who waits.
    let mut stranger = back.clone();
    stranger.set_query(Some("error=strange"));
    let shown = get(&place, &stranger, None).await;
    assert!(shown.body.contains("strange"), "{}", shown.body);
    assert_eq!(place.report(&id).await.text, report.text);
    get(&place, &back, Some(&cookie)).await;
    place.done(&id, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_begin() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (_, link) = link(&place).await;
    let ours = place.url("");
    let cases: [(&[(&str, &str)], u16); 8] = [
        (&[], 303),
        (&[("origin", &ours)], 303),
        (&[("origin", "null")], 303),
        (
            &[("origin", "null"), ("sec-fetch-site", "same-origin")],
            303,
        ),
        (&[("origin", "null"), ("sec-fetch-site", "cross-site")], 403),
        (&[("origin", "https://evil.example")], 403),
        (
            &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            403,
        ),
        (&[("sec-fetch-site", "same-site")], 403),
    ];
    for (headers, status) in cases {
        let post = headers
            .iter()
            .fold(place.http.post(link.clone()), |r, (n, v)| r.header(*n, *v));
        assert_eq!(sent(post).await.status, status, "{headers:?}");
    }
    // What a proxy says, or somebody in its name, changes nothing.
    let lies = place
        .http
        .post(link.clone())
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example;proto=https");
    let posted = sent(lies).await;
    let to = posted.location();
    let back = to
        .query_pairs()
        .find(|(name, _)| name == "redirect_uri")
        .unwrap()
        .1
        .into_owned();
    assert_eq!(back, place.url("/callback"));
    assert!(
        !posted.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("__Host-")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_https_the_cookie_is_the_host_s_own_and_prefixes_do_not_matter() {
    let place = generic().await;
    let enroll = format!(
        "listen = \"{}\"\npublic_url = \"https://auth.example.com/refreshd/\"\n",
        place.address
    );
    place.configure(&enroll, "", GRANT);
    let _daemon = place.daemon();
    let (id, link) = link(&place).await;
    let path = link
        .as_str()
        .strip_prefix("https://auth.example.com/refreshd")
        .unwrap();
    // One proxy passes the path on as it is, the other without its beginning.
    for prefix in ["/refreshd", ""] {
        let here = Url::parse(&place.url(&format!("{prefix}{path}"))).unwrap();
        assert_eq!(get(&place, &here, None).await.status, 200);
        // What a proxy says of itself is not believed.
        let forwarded = place.http.post(here);
        let forwarded = forwarded
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "http")
            .header("forwarded", "host=evil.example;proto=http");
        let posted = sent(forwarded).await;
        let set = posted.headers["set-cookie"].to_str().unwrap();
        assert!(set.starts_with("__Host-refreshd-"), "{set}");
        for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/;"] {
            assert!(set.contains(attribute), "{set}");
        }
        let back = get(&place, &posted.location(), None).await.location();
        assert!(
            back.as_str()
                .starts_with("https://auth.example.com/refreshd/callback?"),
            "{back}"
        );
        if prefix.is_empty() {
            let here = place.url(&format!("/callback?{}", back.query().unwrap()));
            let ended = get(&place, &here.parse().unwrap(), Some(&posted.cookie())).await;
            assert_eq!(ended.status, 200, "{}", ended.body);
        }
    }
    place.done(&id, "one").await;
    let state = place.house.status("one");
    assert_eq!(state["generation"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_not_ours_is_not_known() {
    let place = generic().await;
    let _daemon = place.daemon();
    let (_, link) = link(&place).await;
    let good = link
        .path_segments()
        .unwrap()
        .next_back()
        .unwrap()
        .to_owned();
    let other = format!(
        "{}{}",
        if good.starts_with('A') { "B" } else { "A" },
        &good[1..]
    );
    for state in ["x", &"A".repeat(54), &other, "%1b%5b2J<script>"] {
        let got = sent(place.http.get(place.url(&format!("/authorize/{state}")))).await;
        assert_eq!(got.status, 404, "{state}");
        assert!(!got.body.contains("script"), "{}", got.body);
    }
}
