//! A provider behind a corporate proxy.

use super::place::Place;
use super::real_proxies::{HTTP_PASSWORD, Proxy, SOCKS_PASSWORD, THEIR_ADDRESS, USER};
use super::tls::{Authority, TlsEndpoint};
use crate::tiny::Tiny;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

struct Scene {
    endpoint: TlsEndpoint,
    place: Place,
}

impl Scene {
    async fn new() -> Self {
        let authority = Authority::new();
        let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["127.0.0.1"]).await;
        let place = Place::new(&format!("https://127.0.0.1:{}/token", endpoint.port), "");
        authority.publish(&place.house);
        place.house.secret("http-password", HTTP_PASSWORD);
        place
            .house
            .secret("socks-password", &format!("{SOCKS_PASSWORD}\n"));
        place.house.secret("wrong-password", "planted-wrong");
        Scene { endpoint, place }
    }

    /// Everyone who connected was the proxy.
    #[track_caller]
    fn nobody_went_round(&self) {
        for from in self.endpoint.connections() {
            assert_eq!(from.to_string(), THEIR_ADDRESS);
        }
    }

    /// No password is in the log.
    #[track_caller]
    fn nothing_leaked(&self) {
        let log = std::fs::read_to_string(self.place.house.path("log")).unwrap();
        for password in [HTTP_PASSWORD, SOCKS_PASSWORD, "planted-wrong"] {
            let coded = STANDARD.encode(format!("{USER}:{password}"));
            let in_url = password.replace('%', "%25").replace('@', "%40");
            for form in [password, &coded, &in_url.replace('/', "%2F")] {
                assert!(!log.contains(form), "{form} is in the log");
            }
        }
    }
}

fn client(proxy: &str) -> String {
    format!("ca_file = \"ROOT/ca.pem\"\nproxy = {proxy}")
}

fn with_login(url: &str, password: &str) -> String {
    client(&format!(
        "{{ url = \"{url}\", user = \"{USER}\", password = {{ file = \"ROOT/{password}\" }} }}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn tinyproxy_passes_it_on_when_it_knows_us() {
    let scene = Scene::new().await;
    let (place, port) = (&scene.place, scene.endpoint.port);
    let mut proxy = Proxy::tinyproxy(&[port], true);
    proxy.start();
    let url = format!("http://127.0.0.1:{}", proxy.port);
    place.client(&with_login(&url, "http-password"));
    let _daemon = place.house.daemon();
    place.refreshes();
    assert!(
        proxy.log().contains(&format!("CONNECT 127.0.0.1:{port}")),
        "{}",
        proxy.log()
    );
    assert_eq!(scene.endpoint.connections().len(), 1);

    // tinyproxy answers 401, which does not tell it from other refusals.
    place.reload(&with_login(&url, "wrong-password"));
    assert_eq!(
        place.sends_nothing(),
        format!(
            "proxy {url} did not connect to 127.0.0.1:{port}: it refuses user \"{USER}\" with its password, does not permit that, or could not reach it; its log tells which"
        )
    );
    place.reload(&client(&format!("\"{url}\"")));
    assert_eq!(
        place.sends_nothing(),
        format!(
            "proxy {url} wants a user name and password; write proxy = {{ url = \"{url}\", user = \"…\", password = {{ file = \"/…\" }} }} under [clients.pretend]"
        )
    );
    assert_eq!(scene.endpoint.connections().len(), 1);
    place.reload(&with_login(&url, "http-password"));
    place.refreshes();
    scene.nobody_went_round();
    scene.nothing_leaked();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_down_costs_nothing_until_it_is_up() {
    let scene = Scene::new().await;
    let (place, port) = (&scene.place, scene.endpoint.port);
    let mut proxy = Proxy::tinyproxy(&[port], false);
    let url = format!("http://127.0.0.1:{}", proxy.port);
    place.client(&client(&format!("\"{url}\"")));
    let _daemon = place.house.daemon();
    let down = |told: String| {
        assert!(
            told.starts_with(&format!(
                "could not connect to proxy {url}: Connection refused"
            )),
            "{told}"
        );
        assert!(
            told.ends_with("look whether it runs, and at proxy under [clients.pretend]"),
            "{told}"
        );
    };
    down(place.sends_nothing());
    proxy.start();
    place.refreshes();
    proxy.stop();
    down(place.sends_nothing());
    scene.nobody_went_round();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_permit_or_reach_it_says_so() {
    let scene = Scene::new().await;
    let (place, port) = (&scene.place, scene.endpoint.port);
    // 403, since another port is permitted; then 502 or the like, since nobody is there.
    let mut strict = Proxy::tinyproxy(&[443], false);
    strict.start();
    let url = format!("http://127.0.0.1:{}", strict.port);
    place.client(&client(&format!("\"{url}\"")));
    let daemon = place.house.daemon();
    let expected = |place: &str| {
        format!(
            "proxy {url} did not connect to {place}: it does not permit that, or could not reach it; its log tells which"
        )
    };
    assert_eq!(
        place.sends_nothing(),
        expected(&format!("127.0.0.1:{port}"))
    );
    assert_eq!(daemon.stop(), Some(0));
    let nobody = Place::new(
        "https://127.0.0.1:443/token",
        &client(&format!("\"{url}\"")),
    );
    std::fs::copy(place.house.path("ca.pem"), nobody.house.path("ca.pem")).unwrap();
    let _daemon = nobody.house.daemon();
    assert_eq!(nobody.sends_nothing(), expected("127.0.0.1:443"));
    assert!(scene.endpoint.connections().is_empty());
}

/// What proxies of other makes answer, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_connect_are_told_apart() {
    for (answer, login, expected) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            true,
            "PROXY refused user \"corp\" with its password; look at proxy under [clients.pretend]",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            false,
            "PROXY did not connect to TARGET: it does not permit that, or could not reach it; its log tells which",
        ),
        (
            "",
            false,
            "PROXY closed the connection before it had reached TARGET",
        ),
        (
            "HTTP/1.1 200 Connection established\r\n\r\nthis is no TLS",
            false,
            "TARGET (through PROXY) does not speak TLS; look whether the port in the URL is right, and takes https",
        ),
    ] {
        let scene = Scene::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let end = answer.find("\r\n\r\n").map_or(0, |end| end + 4);
                let (head, rest) = answer.split_at(end);
                stream.write_all(head.as_bytes()).await.unwrap();
                if !rest.is_empty() {
                    // The client's part of TLS comes first.
                    stream.read_buf(&mut request).await.unwrap();
                    stream.write_all(rest.as_bytes()).await.unwrap();
                    while stream.read_buf(&mut request).await.is_ok_and(|n| n > 0) {}
                }
            }
        });
        let place = &scene.place;
        place.client(&if login {
            with_login(&url, "http-password")
        } else {
            client(&format!("\"{url}\""))
        });
        let _daemon = place.house.daemon();
        let target = format!("127.0.0.1:{}", scene.endpoint.port);
        let expected = expected
            .replace("PROXY", &format!("proxy {url}"))
            .replace("TARGET", &target);
        assert_eq!(place.sends_nothing(), expected);
        assert!(scene.endpoint.connections().is_empty());
        scene.nothing_leaked();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn socks_proxies_pass_it_on_too() {
    let scene = Scene::new().await;
    let place = &scene.place;
    let mut proxy = Proxy::microsocks();
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{}", proxy.port);
    let (local, remote) = (url("socks5"), url("socks5h"));
    place.client(&with_login(&remote, "socks-password"));
    let _daemon = place.house.daemon();
    let told = place.sends_nothing();
    assert!(
        told.starts_with(&format!("could not connect to proxy {remote}: ")),
        "{told}"
    );
    proxy.start();
    place.refreshes();
    place.reload(&with_login(&local, "socks-password"));
    place.refreshes();
    place.reload(&with_login(&local, "wrong-password"));
    let told = place.sends_nothing();
    assert!(
        told.starts_with(&format!("proxy {local} refused user \"{USER}\"")),
        "{told}"
    );
    scene.nobody_went_round();
    scene.nothing_leaked();
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_to_this_machine_needs_no_proxy() {
    let tiny = Tiny::answering(
        r#"{"access_token":"at-2","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-2"}"#,
    )
    .await;
    let place = Place::new(&tiny.url, "proxy = \"http://127.0.0.1:1\"");
    let _daemon = place.house.daemon();
    place.refreshes();
    assert_eq!(tiny.requests().len(), 1);
}
