//! A real browser without a window: Chromium, by its own driver (W3C WebDriver).

use crate::http::Http;
use crate::support::{PATIENCE, installed, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What WebDriver calls an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Each name but this machine's is unknown to it, so that a page cannot wait for the world.
const NAMES: &str =
    "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE localhost, EXCLUDE *.localhost";

/// A browser with a profile of its own, and one page. It is ended when this is dropped.
///
/// What acts on an element waits for it, and until what came in between (a page that is
/// just leaving, say) is over. A test that waits in vain is told the page's text.
pub struct Browser {
    http: Http,
    driver: Child,
    /// The session's URL; empty until there is one.
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the driver and the browser; their packages are installed if need be.
    ///
    /// It takes any certificate on this machine.
    pub fn start() -> Self {
        let program = installed("chromedriver", "chromium-driver");
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(program)
            .arg("--port=0")
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(profile.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let stdout = driver.stdout.take().unwrap();
        let mut browser = Browser {
            http: Http::new(),
            driver,
            session: String::new(),
            profile,
        };
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.unwrap_or_else(|| panic!("the driver did not start: {}", browser.log()));
        // It must not meet a closed pipe.
        thread::spawn(move || lines.for_each(drop));
        browser.begin(&format!("http://127.0.0.1:{port}/session"));
        browser
    }

    fn begin(&mut self, url: &str) {
        let data = format!("--user-data-dir={}/data", self.profile.path().display());
        let names = format!("--host-resolver-rules={NAMES}");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-default-browser-check",
            "--no-proxy-server",
            &data,
            &names,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            // Less than the client's own patience, so that it is the driver who tells.
            "timeouts": {"pageLoad": 25_000},
            "goog:chromeOptions": {"args": args},
        }}});
        let begun = self
            .ask("POST", url, Some(&wanted))
            .unwrap_or_else(|e| panic!("the browser did not start: {e}: {}", self.log()));
        self.session = format!("{url}/{}", begun["sessionId"].as_str().unwrap());
    }

    /// Goes to an address and waits until its page, or where that redirects to, is there.
    pub fn go(&self, url: &str) {
        self.must("POST", "/url", &json!({"url": url}));
    }

    /// The page's address.
    pub fn url(&self) -> String {
        let url = self.ask("GET", &self.at("/url"), None).unwrap();
        url.as_str().unwrap().to_owned()
    }

    /// The text that the page shows.
    pub fn text(&self) -> String {
        self.text_of("body")
    }

    /// The text that an element shows.
    pub fn text_of(&self, css: &str) -> String {
        let text = self.act(css, |element| {
            self.ask("GET", &format!("{element}/text"), None)
        });
        text.as_str().unwrap().to_owned()
    }

    /// Writes into a field, in place of what was there.
    pub fn fill(&self, css: &str, text: &str) {
        self.act(css, |element| {
            self.ask("POST", &format!("{element}/clear"), Some(&json!({})))?;
            let typed = json!({"text": text});
            self.ask("POST", &format!("{element}/value"), Some(&typed))
        });
    }

    /// Clicks an element.
    pub fn click(&self, css: &str) {
        self.act(css, |element| {
            self.ask("POST", &format!("{element}/click"), Some(&json!({})))
        });
    }

    /// Waits until the page's address is as wanted; the address.
    pub fn wait_for_url(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut url = String::new();
        wait_for(what, || {
            url = self.url();
            wanted(&url)
        });
        url
    }

    /// Waits until the page shows a text; all that it shows.
    pub fn wait_for_text(&self, wanted: &str) -> String {
        let mut text = String::new();
        wait_for(&format!("the page to say {wanted:?}"), || {
            text = self.text();
            text.contains(wanted)
        });
        text
    }

    /// Forgets every cookie, so that somebody else can log in.
    pub fn forget(&self) {
        let command = json!({"cmd": "Network.clearBrowserCookies", "params": {}});
        self.must("POST", "/goog/cdp/execute", &command);
    }

    /// Finds an element and does something with it, until that succeeds.
    fn act(&self, css: &str, what: impl Fn(&str) -> Result<Value, String>) -> Value {
        let begun = Instant::now();
        loop {
            let problem = match self.find(css).and_then(|element| what(&element)) {
                Ok(value) => return value,
                Err(problem) => problem,
            };
            if begun.elapsed() > PATIENCE / 2 {
                let page = match css {
                    "body" => String::new(),
                    _ => self.text(),
                };
                panic!("{css} at {}: {problem}\n{page}", self.url());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The URL of an element.
    fn find(&self, css: &str) -> Result<String, String> {
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.ask("POST", &self.at("/element"), Some(&wanted))?;
        Ok(self.at(&format!("/element/{}", found[ELEMENT].as_str().unwrap())))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.session)
    }

    fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &self.at(path), Some(body))
            .unwrap_or_else(|e| panic!("{path}: {e}: {}", self.log()))
    }

    /// One WebDriver command: its value, or kind and message of the error.
    fn ask(&self, method: &str, url: &str, body: Option<&Value>) -> Result<Value, String> {
        let method = method.parse().unwrap();
        let answer = self.http.send(|client| {
            let request = client.request(method, url);
            match body {
                Some(body) => request
                    .header("Content-Type", "application/json")
                    .body(body.to_string()),
                None => request,
            }
        });
        let (status, text) = answer.map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
        if status == 200 {
            return Ok(answer["value"].take());
        }
        let error = &answer["value"];
        Err(format!("{} ({})", error["error"], error["message"]))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.profile.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ended = self.ask("DELETE", &self.session, None);
        }
        // Whatever the session's end left over is in the driver's group, by its id.
        let driver = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw);
        let _ended = kill_process_group(driver.expect("an id"), Signal::KILL);
        let _reaped = self.driver.wait();
    }
}
