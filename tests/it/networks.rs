//! Networks as they are: private addresses, IPv6, authorities of one's own,
//! proxies. Names are given to the real daemon by a hosts file of its own.

mod authorities;
mod discovery;
mod place;
mod private;
mod proxies;
mod real_proxies;
mod tls;
