//! Names that lead to private addresses, addresses themselves, IPv6.

use super::place::Place;
use super::tls::{Authority, TlsEndpoint};

const CA: &str = "ca_file = \"ROOT/ca.pem\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_private_addresses_is_asked_about_each_time() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["auth.corp.test"]).await;
    let url = format!("https://auth.corp.test:{}/token", endpoint.port);
    let place = Place::new(&url, CA);
    authority.publish(&place.house);
    place.hosts("127.0.0.1 auth.corp.test");
    let _daemon = place.daemon_with_hosts();
    assert_eq!(
        place.sends_nothing(),
        "auth.corp.test resolves to 127.0.0.1 (loopback), and no token is sent there unasked; \
         add allow_networks = [\"127.0.0.1\"] to [clients.pretend] if that is meant"
    );
    place.hosts("169.254.169.254 auth.corp.test");
    assert!(
        place
            .sends_nothing()
            .contains("169.254.169.254 (a cloud's metadata service)")
    );
    assert!(endpoint.connections().is_empty());

    place.hosts("127.0.0.1 auth.corp.test");
    place.reload(&format!("{CA}\nallow_networks = [\"127.0.0.0/8\"]"));
    place.refreshes();

    // What was fine a moment ago is no more when the name leads elsewhere.
    place.hosts("10.1.2.3 auth.corp.test\nfd00::7 auth.corp.test");
    let told = place.sends_nothing();
    assert!(
        told.contains("10.1.2.3 (private)") && told.contains("fd00::7 (unique-local)"),
        "{told}"
    );
    assert!(
        told.contains("to allow_networks of [clients.pretend]"),
        "{told}"
    );

    // Of several addresses only the allowed one is connected to.
    place.hosts("10.1.2.3 auth.corp.test\n127.0.0.1 auth.corp.test");
    place.refreshes();
    let connected = endpoint.connections().len();

    // The remedy is lost again with the setting, and no connection is kept alive for it.
    place.reload(CA);
    assert!(place.sends_nothing().contains("allow_networks = ["));
    assert_eq!(endpoint.connections().len(), connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_this_machine_whatever_the_resolver_says() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["shop.localhost"]).await;
    let url = format!("https://shop.localhost:{}/token", endpoint.port);
    let place = Place::new(&url, CA);
    authority.publish(&place.house);
    place.hosts("10.1.2.3 shop.localhost");
    let _daemon = place.daemon_with_hosts();
    place.refreshes();
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_ipv6_address_does_not_block_the_living_ipv4_one() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["both.corp.test"]).await;
    let url = format!("https://both.corp.test:{}/token", endpoint.port);
    let place = Place::new(
        &url,
        &format!("{CA}\nallow_networks = [\"127.0.0.1\", \"::1\"]"),
    );
    authority.publish(&place.house);
    place.hosts("::1 both.corp.test\n127.0.0.1 both.corp.test");
    let _daemon = place.daemon_with_hosts();
    place.refreshes();
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_reached_by_address_and_by_name() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("::1", &authority, &["::1", "six.corp.test"]).await;
    for (host, more) in [
        ("[::1]", ""),
        ("six.corp.test", "allow_networks = [\"::1/128\"]"),
    ] {
        let url = format!("https://{host}:{}/token", endpoint.port);
        let place = Place::new(&url, &format!("{CA}\n{more}"));
        authority.publish(&place.house);
        place.hosts("::1 six.corp.test");
        let _daemon = place.daemon_with_hosts();
        place.refreshes();
    }
    assert_eq!(endpoint.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_in_the_url_itself_are_looked_at_too() {
    for (host, kind, network) in [
        ("10.1.2.3", "private", "10.1.2.0/24"),
        (
            "0xa9fea9fe",
            "a cloud's metadata service",
            "169.254.169.254",
        ),
        (
            "[::ffff:127.0.0.1]",
            "IPv4 mapped into IPv6",
            "::ffff:127.0.0.1",
        ),
    ] {
        let place = Place::new(&format!("https://{host}/token"), "");
        let _daemon = place.house.daemon();
        let told = place.sends_nothing();
        assert!(
            told.contains(&format!(" is {kind}, and no token is sent there unasked")),
            "{told}"
        );
        assert!(
            told.ends_with(&format!(
                "; add allow_networks = [\"{network}\"] to [clients.pretend] if that is meant"
            )),
            "{told}"
        );
    }
    // With the remedy it is tried.
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start("127.0.0.1", &authority, &["::ffff:127.0.0.1"]).await;
    let url = format!("https://[::ffff:127.0.0.1]:{}/token", endpoint.port);
    let place = Place::new(
        &url,
        &format!("{CA}\nallow_networks = [\"::ffff:127.0.0.1\"]"),
    );
    authority.publish(&place.house);
    let _daemon = place.house.daemon();
    place.refreshes();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_told_with_its_place() {
    let place = Place::new("https://no-such-name.invalid/token", "");
    let _daemon = place.house.daemon();
    let told = place.sends_nothing();
    assert!(
        told.starts_with("no-such-name.invalid cannot be resolved: "),
        "{told}"
    );
    assert!(
        told.ends_with("(getent hosts no-such-name.invalid)"),
        "{told}"
    );

    let place = Place::new("https://127.0.0.1:1/token", "");
    let _daemon = place.house.daemon();
    let told = place.sends_nothing();
    assert!(
        told.starts_with("could not connect to 127.0.0.1:1: Connection refused"),
        "{told}"
    );
}
