//! What systemd is told over the notification socket.

use crate::setting::{Setting, epoch};
use crate::support::{PATIENCE, wait_for};
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};

const MANY: usize = 40;

struct Supervised {
    child: Child,
    socket: UnixDatagram,
}

impl Supervised {
    fn start(setting: &Setting, watchdog_usec: &str) -> Supervised {
        let path = setting.house.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = setting.house.command(&["run"]);
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog_usec);
        let log = std::fs::File::create(setting.house.path("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Supervised { child, socket }
    }

    /// The next message that holds this assignment, watchdog aside.
    fn expect(&self, assignment: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|line| line == assignment) {
                return message;
            }
            assert!(
                message.starts_with("WATCHDOG=1"),
                "{message} before {assignment}"
            );
        }
    }

    /// The next message but a mere status.
    fn next(&self) -> String {
        loop {
            let message = self.receive();
            if !message.starts_with("STATUS=") {
                return message;
            }
        }
    }

    /// The next status alone.
    fn next_status(&self) -> String {
        loop {
            let message = self.receive();
            if let Some(status) = message.strip_prefix("STATUS=") {
                return status.trim_end().to_owned();
            }
        }
    }

    fn receive(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        let status = kill
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_comes_after_every_output_and_the_rest_in_order() {
    let config = r#"
        [clients.pretend]
        provider = "pretend"
        client_id = "pretend"
        client_secret = { file = "ROOT/secrets/pretend" }
        [[clients.pretend.outputs]]
        path = "ROOT/tokens/{grant}"
        "#;
    let setting = Setting::new(sandbox::Options::default(), config).await;
    let lines: String = (0..MANY)
        .map(|i| {
            let name = format!("grant-{i}");
            let response = setting.response(&name);
            json!({"name": name, "client": "pretend", "response": response, "obtained_at": epoch()})
                .to_string()
                + "\n"
        })
        .collect();
    setting.run_with(&["import", "--ndjson"], &lines).succeeds();

    let mut supervised = Supervised::start(&setting, "1500000");
    supervised.expect("READY=1");
    let published = (0..MANY).filter(|i| setting.house.path(&format!("tokens/grant-{i}")).exists());
    assert_eq!(published.count(), MANY);
    let status = supervised.next_status();
    let begins = format!("{MANY} of {MANY} fresh, next refresh 20");
    assert!(status.starts_with(&begins), "{status}");
    assert!(setting.house.path("run/control.sock").exists());

    // Fed by itself, with nothing due for the better part of an hour.
    for _ in 0..2 {
        let fed = std::time::Instant::now();
        assert_eq!(supervised.next().trim(), "WATCHDOG=1");
        assert!(fed.elapsed().as_millis() < 1500);
    }

    supervised.signal("HUP");
    let reloading = supervised.expect("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    supervised.expect("READY=1");
    setting.house.configure("[clients");
    supervised.signal("HUP");
    supervised.expect("RELOADING=1");
    supervised.expect("READY=1");
    supervised.signal("TERM");
    supervised.expect("STOPPING=1");
    assert_eq!(supervised.child.wait().unwrap().code(), Some(0));
    setting.house.configure(config);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_waits_for_no_person_and_no_provider() {
    let setting = Setting::one().await;
    // Nobody listens there, and the grant has no token set.
    setting.provider("http://127.0.0.1:9/token");
    let supervised = Supervised::start(&setting, "");
    supervised.expect("READY=1");
    assert_eq!(setting.house.status("one")["state"], "pending");
    let response = setting.response("one").to_string();
    setting.run_with(&["import", "one"], &response).succeeds();
    wait_for("the first try", || {
        setting.house.status("one")["last_outcome"]["kind"] == "not-sent"
    });
    drop(supervised);

    std::fs::remove_file(setting.house.path("notify")).unwrap();
    let supervised = Supervised::start(&setting, "");
    supervised.expect("READY=1");
    assert!(setting.house.path("tokens/one").exists());
}
