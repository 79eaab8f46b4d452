//! A provider whose certificate is from an authority of one's own.

use super::place::Place;
use super::tls::{Authority, TlsEndpoint};
use crate::support::text;
use rcgen::{BasicConstraints, IsCa, date_time_ymd};

const CA: &str = "ca_file = \"ROOT/ca.pem\"";

fn place(endpoint: &TlsEndpoint, client: &str) -> Place {
    Place::new(
        &format!("https://localhost:{}/token", endpoint.port),
        client,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_trusted_by_ca_file_alone_and_read_again_at_a_reload() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["localhost"]).await;
    let place = place(&endpoint, "");
    authority.publish(&place.house);
    let _daemon = place.house.daemon();
    let told = place.sends_nothing();
    let at = format!("the certificate of localhost:{}", endpoint.port);
    assert_eq!(
        told,
        format!(
            "{at} was issued by an authority that this machine does not trust; if that is your own authority, set ca_file under [clients.pretend] to its certificate"
        )
    );
    place.reload(CA);
    place.refreshes();

    let stranger = Authority::new();
    stranger.publish(&place.house);
    place.reload(CA);
    let told = place.sends_nothing();
    assert!(
        told.starts_with(&format!(
            "{at} was issued neither by one of the system's authorities nor by one in ca_file /"
        )),
        "{told}"
    );
    authority.publish(&place.house);
    place.reload(CA);
    place.refreshes();
    assert_eq!(
        endpoint.requests(),
        2,
        "nothing was sent to whom was not trusted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_over_or_for_another_are_told_apart() {
    let authority = Authority::new();
    let over = TlsEndpoint::with("127.0.0.1", &authority, &["localhost"], |params| {
        params.not_before = date_time_ymd(2018, 1, 1);
        params.not_after = date_time_ymd(2019, 1, 1);
    });
    let other = TlsEndpoint::start("127.0.0.1", &authority, &["example.com"]);
    // What `openssl req -x509` makes unless it is told otherwise.
    let own = TlsEndpoint::with("127.0.0.1", &authority, &["localhost"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for (endpoint, expected) in [
        (
            over.await,
            "has expired; its operator must renew it (or this machine's clock is wrong)",
        ),
        (
            other.await,
            "is for example.com; look at the host in the URL",
        ),
        (
            own.await,
            "make it anew with basicConstraints=CA:FALSE, or issue one with it, and set ca_file under [clients.pretend] to the self-signed one",
        ),
    ] {
        let place = place(&endpoint, CA);
        authority.publish(&place.house);
        let _daemon = place.house.daemon();
        let told = place.sends_nothing();
        assert!(told.ends_with(expected), "{told}");
        assert_eq!(endpoint.requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_ca_file_is_noticed_before_anything_is_sent() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["localhost"]).await;
    let place = place(&endpoint, CA);
    authority.publish(&place.house);
    let daemon = place.house.daemon();
    place.house.write("ca.pem", "");
    // The line of ca_file: after [daemon] and the four keys of the client.
    let needles = [
        "refreshd.toml:10:11: ca_file ",
        "ca.pem is empty",
        "help: it must hold the authority's certificate",
    ];
    for args in [&["check"][..], &["reload"]] {
        let ran = place.house.run(args);
        assert_eq!(
            ran.status.code(),
            Some(78),
            "{args:?}: {}",
            text(&ran.stderr)
        );
        for needle in needles {
            assert!(
                text(&ran.stderr).contains(needle),
                "{args:?}: {}",
                text(&ran.stderr)
            );
        }
    }
    // The old configuration goes on; commands read the new one too.
    authority.publish(&place.house);
    place.refreshes();
    place.house.write("ca.pem", "");
    assert_eq!(daemon.stop(), Some(0));
    let start = place.house.run(&["run", "--strict"]);
    assert_eq!(start.status.code(), Some(78), "{}", text(&start.stderr));
    assert!(
        text(&start.stderr).contains("ca.pem is empty"),
        "{}",
        text(&start.stderr)
    );
}
