//! The loopback callback (RFC 8252 §7.3): open for one authorization, and no longer.

use crate::control::client::Control;
use crate::enroll::Report;
use crate::enroll::serve::returned;
use crate::exit::{Exit, Failure};
use crate::service::api::Redirect;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use refreshd_core::enroll::{Stage, callback};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Listens on one port of 127.0.0.1, and of [::1] where there is one.
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
    path: String,
}

/// The last page is given so long to be delivered.
const FAREWELL: Duration = Duration::from_secs(2);

impl Listener {
    /// Takes the port; `0` takes a free one.
    pub(super) fn bind(port: u16, path: &str, host: Option<&str>) -> Result<Self, Failure> {
        let only_v6 = host == Some("[::1]");
        let place = if only_v6 { "[::1]" } else { "127.0.0.1" };
        let failed = |port: u16, e: &io::Error| {
            let remedy = match e.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program listens there (an earlier `refreshd authorize`? `--list` shows it, `--cancel` ends it): end it, choose another with --port (and as redirect_uri), or use --paste"
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are root's: choose another redirect_uri, or use --paste"
                }
                _ => "use --paste",
            };
            let text = format!("cannot listen on {place}:{port} for the callback: {e}; {remedy}");
            Failure::new(Exit::Unavailable, text)
        };
        let mut sockets = Vec::new();
        let mut bound = port;
        if !only_v6 {
            let socket = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
                .map_err(|e| failed(port, &e))?;
            bound = socket.local_addr().map_err(|e| failed(port, &e))?.port();
            sockets.push(socket);
        }
        // Browsers may take either for localhost; a machine without IPv6 has one.
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, bound))) {
            Ok(socket) => {
                bound = socket.local_addr().map_err(|e| failed(port, &e))?.port();
                sockets.push(socket);
            }
            Err(e) if sockets.is_empty() || e.kind() == io::ErrorKind::AddrInUse => {
                return Err(failed(bound, &e));
            }
            Err(_) => {}
        }
        Ok(Listener {
            sockets,
            port: bound,
            path: path.to_owned(),
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Serves callbacks until it is closed.
    pub(super) fn open(self, control: &Control, id: &str) -> Result<Open, Failure> {
        let (told, ended) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let desk = Arc::new(Desk {
            control: control.clone(),
            id: id.to_owned(),
            path: self.path,
            told,
        });
        let router = Router::new().fallback(called_back).with_state(desk);
        let mut servers = Vec::new();
        for socket in self.sockets {
            let internal = |e: io::Error| Failure::new(Exit::Internal, e.to_string());
            socket.set_nonblocking(true).map_err(internal)?;
            let socket = tokio::net::TcpListener::from_std(socket).map_err(internal)?;
            let (router, mut stopped) = (router.clone(), stopped.clone());
            servers.push(tokio::spawn(async move {
                let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
                axum::serve(socket, router)
                    .with_graceful_shutdown(stopped)
                    .await
            }));
        }
        Ok(Open {
            ended,
            stop,
            servers,
        })
    }
}

/// A listener that serves.
pub(super) struct Open {
    ended: mpsc::Receiver<Report>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<io::Result<()>>>,
}

impl Open {
    /// How the authorization ended, if a callback has ended it; or another, of the same
    /// grant, whose code has come in its stead.
    pub(super) async fn ended(&mut self) -> Report {
        match self.ended.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }

    /// Lets the last page be delivered, and gives the port back.
    pub(super) async fn close(self) {
        let _gone = self.stop.send(true);
        for server in self.servers {
            let _late = tokio::time::timeout(FAREWELL, server).await;
        }
    }
}

struct Desk {
    control: Control,
    id: String,
    path: String,
    told: mpsc::Sender<Report>,
}

async fn called_back(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    if request.uri().path() != desk.path {
        return page(StatusCode::NOT_FOUND, "Nothing is here.", "");
    }
    let (head, body) = request.into_parts();
    let query = match returned::read(&head, body).await {
        Ok(query) => query,
        Err(page) => return closing(*page),
    };
    let redirect = Redirect {
        query,
        by_hand: false,
    };
    match desk.control.redirected(&desk.id, &redirect).await {
        Ok(report) if report.stage == Stage::Done => {
            let _full = desk.told.try_send(report);
            page(StatusCode::OK, "Authorized. You can close this window.", "")
        }
        Ok(report) => {
            let (text, over) = (report.text.clone(), report.stage.is_over());
            if over || report.id != desk.id {
                let _full = desk.told.try_send(report);
            }
            let title = match over {
                true => "Not authorized. You can close this window.",
                false => {
                    "The provider has not answered yet. You can close this window; the terminal tells how it ends."
                }
            };
            page(StatusCode::OK, title, &text)
        }
        // Nobody has looked at it: the daemon may be on its way back.
        Err(failure) if matches!(failure.exit, Exit::Unavailable | Exit::TempFail) => page(
            StatusCode::SERVICE_UNAVAILABLE,
            "This could not be handed over yet. Reload this page in a moment.",
            &failure.message,
        ),
        // It was not for us; the right one may still come.
        Err(failure) => {
            let said = callback::words(redirect.query.expose());
            let words = said.as_ref().map_or_else(String::new, |words| {
                format!(
                    ". It says {words:?}, which proves nothing, since every website can send it: refreshd goes on waiting. If you did not approve, press Ctrl-C and begin again"
                )
            });
            let why = format!("{}{words}", failure.message);
            super::output::note(&format!("A callback was ignored: {why}."));
            let title = match &said {
                Some(_) => "The provider may have refused this.",
                None => {
                    "This callback does not belong to the authorization that refreshd waits for."
                }
            };
            page(StatusCode::BAD_REQUEST, title, &why)
        }
    }
}

/// The daemon's plain page, on a connection that ends with it: so does the listener.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    closing(crate::enroll::serve::page::page(status, title, &[text], ""))
}

fn closing(mut page: Response) -> Response {
    let close = HeaderValue::from_static("close");
    page.headers_mut().insert(header::CONNECTION, close);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_named_with_a_remedy() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let failure = Listener::bind(port, "/callback", None)
            .err()
            .expect("it is taken");
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(
            failure.message.contains(&format!("127.0.0.1:{port}")),
            "{failure}"
        );
        assert!(failure.message.contains("--paste"), "{failure}");
    }
}
