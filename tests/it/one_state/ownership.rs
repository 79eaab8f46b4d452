//! Whose the state and the socket are. Only root can give files away: without it, what
//! needs another user is left out.

use crate::setting::{Setting, epoch};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_directory_that_others_may_write_is_refused() {
    let setting = Setting::one().await;
    let run = setting.house.path("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    let path = run.display().to_string();
    let needles = [&path, "can be written by everyone", "chmod go-w"];
    setting.run(&["run"]).fails(77, &needles);
    // A socket in it is not talked to.
    let listener = UnixListener::bind(run.join("control.sock")).unwrap();
    let response = setting.response("one").to_string();
    let ran = setting.run_with(&["import", "one"], &response);
    ran.fails(77, &[&path, "nothing was sent", "written by everyone"]);
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut sent = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut sent).unwrap();
    assert!(sent.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_socket_is_not_talked_to() {
    if !is_root() {
        return;
    }
    let setting = Setting::one().await;
    let house = &setting.house;
    let run = house.path("run");
    fs::create_dir(&run).unwrap();
    let _listener = UnixListener::bind(run.join("control.sock")).unwrap();
    chown(&run, Some(65533), Some(65533)).unwrap();
    let response = setting.response("one").to_string();
    let ran = setting.run_with(&["import", "one"], &response);
    ran.fails(77, &["nothing was sent", "belongs to uid 65533"]);
    setting.run(&["run"]).fails(77, &["belongs to uid 65533"]);
    // The directory is root's, and yet another listens: here root itself is the stranger.
    chown(&run, Some(65534), Some(65534)).unwrap();
    let mut import = setting.as_nobody(&["import", "one"]);
    import.stdin(std::process::Stdio::null());
    // Root may listen for anybody, so it is only refused for what it answers.
    let ran = setting.run_command(import);
    assert_ne!(ran.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn root_works_on_a_state_at_rest_as_its_owner() {
    if !is_root() {
        return;
    }
    let setting = Setting::one().await;
    let daemon = setting.daemon_as(65534);
    setting.import("one");
    assert_eq!(daemon.stop(), Some(0));
    let later = (epoch() + 1).to_string();
    let response = setting.response("again").to_string();
    let import = ["import", "one", "--obtained-at", &later];
    setting.run_with(&import, &response).succeeds();
    setting.run(&["status"]).succeeds();
    setting.run(&["key", "rotate"]).succeeds();
    let backup = setting.house.path("backup.db").display().to_string();
    setting.run(&["backup", &backup]).succeeds();
    let mut made = vec![setting.house.path("backup.db")];
    for place in ["state", "key"] {
        let entries = fs::read_dir(setting.house.path(place)).unwrap();
        made.extend(entries.map(|entry| entry.unwrap().path()));
    }
    for path in made {
        let owner = fs::symlink_metadata(&path).unwrap().uid();
        assert_eq!(owner, 65534, "{}", path.display());
    }
    let daemon = setting.daemon_as(65534);
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
}

/// Root can read everything, and would find nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn check_by_root_tells_what_the_services_user_cannot_read() {
    if !is_root() {
        return;
    }
    let setting = Setting::one().await;
    let house = &setting.house;
    let mode = |path: &str, mode| {
        fs::set_permissions(house.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    for dir in ["state", "tokens"] {
        fs::create_dir(house.path(dir)).unwrap();
        chown(house.path(dir), Some(65533), Some(65533)).unwrap();
        mode(dir, 0o700);
    }
    mode("", 0o755);
    let says = |needles: &[&str]| {
        let told = setting.run(&["check"]).succeeds();
        let lines: Vec<&str> = told.err.lines().collect();
        for needle in needles {
            assert!(
                lines.iter().any(|line| line.contains(needle)),
                "{needle}: {told:?}"
            );
        }
        let cannot = told.err.matches("as whom the service runs").count();
        assert_eq!(cannot, needles.len() / 2, "{told:?}");
    };
    // The secret is root's alone; nothing was written about the directory it is in.
    let secret = house.path("secrets/pretend");
    let of_secret = format!(
        "the client secret {} cannot be read by uid 65533",
        secret.display()
    );
    says(&[&of_secret, "chown 65533"]);
    chown(&secret, Some(65533), None).unwrap();
    says(&[]);
    mode("secrets", 0o700);
    let shut = format!("{} cannot be entered", house.path("secrets").display());
    says(&[&shut, "chmod g+x"]);
    mode("secrets", 0o711);
    let provider = house.path("providers.d/pretend.toml");
    mode("providers.d/pretend.toml", 0o600);
    let unread = format!("the configuration {} cannot be read", provider.display());
    says(&[&unread, "chmod g+r"]);
    mode("providers.d/pretend.toml", 0o644);
    house.write("key/key", "");
    mode("key/key", 0o600);
    let key = format!(
        "the sealing key {} cannot be read",
        house.path("key/key").display()
    );
    says(&[&key, "chown 65533:65533"]);
    fs::remove_dir_all(house.path("key")).unwrap();
    chown(house.path("tokens"), Some(0), Some(0)).unwrap();
    let unwritten = format!(
        "{} cannot be written by uid 65533",
        house.path("tokens/one").display()
    );
    says(&[&unwritten, "install -d -o 65533"]);
}
