//! A real browser, driven as a person uses it: what it clicks and types is trusted by pages.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{interval, timeout};

use super::{http, part};

/// The longest wait for something in a page.
const PATIENCE: Duration = Duration::from_secs(20);

/// Browsers at once; each wants a processor.
static SEATS: Semaphore = Semaphore::const_new(2);

/// The source of axe, which finds what people with disabilities cannot use.
static AXE: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string(part("ONEFIVE_TEST_AXE")).unwrap());

/// What a person's browser says that it is.
pub(crate) const PERSON: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// How the browser looks at pages.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(crate) struct Look {
    /// The width of the page in CSS pixels.
    pub(crate) width: u32,
    /// The height of the page.
    pub(crate) height: u32,
    /// Whether dark colours are preferred.
    pub(crate) dark: bool,
    /// Whether the scripts of pages arrive.
    pub(crate) javascript: bool,
    /// Whether it says that a program drives it, as the browsers of link scanners do.
    pub(crate) driven: bool,
    /// Whether it says nevertheless that it is a person's.
    pub(crate) disguised: bool,
    /// Whether it keeps cookies.
    pub(crate) cookies: bool,
}

impl Look {
    /// A phone with a touch screen.
    pub(crate) const PHONE: Self = Self {
        width: 390,
        height: 844,
        dark: false,
        javascript: true,
        driven: false,
        disguised: false,
        cookies: true,
    };
    /// A desktop.
    pub(crate) const DESKTOP: Self = Self {
        width: 1280,
        height: 900,
        dark: false,
        javascript: true,
        driven: false,
        disguised: false,
        cookies: true,
    };

    /// The same in dark colours.
    pub(crate) const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }

    /// The same as a program's browser.
    pub(crate) const fn driven(self) -> Self {
        Self {
            driven: true,
            ..self
        }
    }

    /// The same under the name of a person's browser.
    pub(crate) const fn disguised(self) -> Self {
        Self {
            disguised: true,
            ..self
        }
    }

    /// The same without cookies.
    pub(crate) const fn without_cookies(self) -> Self {
        Self {
            cookies: false,
            ..self
        }
    }

    /// The same without scripts.
    pub(crate) const fn without_javascript(self) -> Self {
        Self {
            javascript: false,
            ..self
        }
    }

    /// A name for pictures.
    fn name(self) -> String {
        format!(
            "{}x{}-{}",
            self.width,
            self.height,
            if self.dark { "dark" } else { "light" }
        )
    }

    fn capabilities(self, profile: &Path) -> serde_json::Map<String, Value> {
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        .map(str::to_owned)
        .to_vec();
        if !self.driven {
            // A person's browser has a window and is driven by nobody: the driver's marks are taken off again.
            args.push("--disable-blink-features=AutomationControlled".to_owned());
        }
        if !self.driven || self.disguised {
            args.push(format!("--user-agent={PERSON}"));
        }
        args.push(format!("--user-data-dir={}", profile.display()));
        args.push(format!("--window-size={},{}", self.width, self.height));
        if self.dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut options = json!({"binary": part("ONEFIVE_TEST_CHROMIUM"), "args": args});
        if !self.cookies {
            options["prefs"] = json!({"profile.default_content_setting_values.cookies": 2});
        }
        if self.width < 600 {
            options["mobileEmulation"] = json!({"deviceMetrics":
                {"width": self.width, "height": self.height, "pixelRatio": 1.0, "touch": true, "mobile": true}});
        }
        let capabilities =
            json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        capabilities.as_object().unwrap().clone()
    }
}

/// A browser with a profile of its own; it ends when dropped.
pub(crate) struct Browser {
    /// Its driver.
    pub(crate) client: Client,
    look: Look,
    session: String,
    _profile: tempfile::TempDir,
    _seat: SemaphorePermit<'static>,
}

impl Browser {
    /// Starts one.
    pub(crate) async fn open(look: Look) -> Self {
        let seat = SEATS.acquire().await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        // The driver is on this machine and speaks plain HTTP.
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(look.capabilities(profile.path()))
            .connect(&part("ONEFIVE_TEST_CHROMEDRIVER"))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let browser = Self {
            client,
            look,
            session,
            _profile: profile,
            _seat: seat,
        };
        if !look.javascript {
            // The driver's own scripts have to go on, so the page's are stopped on their way.
            browser.cdp("Network.enable", json!({})).await;
            browser
                .cdp("Network.setBlockedURLs", json!({"urls": ["*.js*"]}))
                .await;
        }
        browser
    }

    /// Opens a page and waits until it and its files are loaded.
    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Waits until the page has nothing left to do.
    pub(crate) async fn idle(&self) {
        let script = "requestIdleCallback(arguments[0])";
        self.client.execute_async(script, vec![]).await.unwrap();
    }

    /// Clicks (or touches, on a phone) the element, as a person does.
    pub(crate) async fn click(&self, css: &str) {
        let found = self.client.find(Locator::Css(css)).await;
        let clicked = found.unwrap_or_else(|error| panic!("{css}: {error}"));
        clicked
            .click()
            .await
            .unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Types into the element.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        let found = self.client.find(Locator::Css(css)).await.unwrap();
        found.send_keys(text).await.unwrap();
    }

    /// Presses one key after the other, wherever the focus is.
    pub(crate) async fn keys(&self, keys: &[char]) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for key in keys {
            actions = actions
                .then(KeyAction::Down { value: *key })
                .then(KeyAction::Up { value: *key });
        }
        self.client.perform_actions(actions).await.unwrap();
    }

    /// The text of the element as it is shown. Where a click may replace the page, wait for the new one first.
    pub(crate) async fn text(&self, css: &str) -> String {
        let text = self
            .value(&format!("document.querySelector({css:?}).innerText"))
            .await;
        text.as_str()
            .unwrap_or_else(|| panic!("{css} has no text"))
            .to_owned()
    }

    /// The value of a JavaScript expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        let value = self.client.execute(&script, vec![]).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until a JavaScript expression is true. A click may replace the page: while there is none, nothing is true.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let mut ticks = interval(Duration::from_millis(25));
        let done = timeout(PATIENCE, async {
            loop {
                ticks.tick().await;
                if matches!(self.client.execute(&script, vec![]).await, Ok(value) if value == true)
                {
                    return;
                }
            }
        });
        if done.await.is_err() {
            let page = self.value("document.body.innerText").await;
            panic!("never true: {expression}\n{page}");
        }
    }

    /// Goes to the tab that was opened last, once there are `count`.
    pub(crate) async fn tab(&self, count: usize) -> WindowHandle {
        let mut ticks = interval(Duration::from_millis(25));
        let last = timeout(PATIENCE, async {
            loop {
                ticks.tick().await;
                let windows = self.client.windows().await.unwrap();
                if windows.len() == count {
                    return windows.into_iter().next_back().unwrap();
                }
            }
        });
        let last = last.await.expect("a new tab");
        self.client.switch_to_window(last.clone()).await.unwrap();
        last
    }

    /// Keeps a picture of the whole page in `target/screenshots`, for people; nothing depends on it.
    pub(crate) async fn shot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        let answer = self
            .cdp(
                "Page.captureScreenshot",
                json!({"captureBeyondViewport": true}),
            )
            .await;
        let data = answer["data"].as_str().unwrap_or_default();
        let png = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data);
        if let (Ok(png), Ok(())) = (png, std::fs::create_dir_all(&folder)) {
            drop(std::fs::write(
                folder.join(format!("{name}-{}.png", self.look.name())),
                png,
            ));
        }
    }

    /// Nothing on the page keeps anybody from using it, as far as WCAG 2.2 AA can be checked by a machine.
    pub(crate) async fn assert_accessible(&self) {
        self.client.execute(&AXE, vec![]).await.unwrap();
        let script = "const done = arguments[0]; axe.run(document, { iframes: false, \
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then(({ violations, passes }) => done({ passes: passes.length, \
            violations: violations.map(({ id, nodes }) => [id, nodes.map((node) => [node.html, node.failureSummary])]) }), (error) => done(String(error)))";
        let found = self.client.execute_async(script, vec![]).await.unwrap();
        assert!(found["passes"].as_u64().unwrap_or(0) > 5, "{found:#}");
        assert_eq!(
            found["violations"],
            json!([]),
            "{:?} {}: {found:#}",
            self.look,
            self.client.current_url().await.unwrap()
        );
    }

    /// Nothing sticks out at the side.
    pub(crate) async fn assert_fits(&self) {
        let widths = self
            .value("[document.documentElement.scrollWidth, innerWidth]")
            .await;
        assert_eq!(widths, json!([self.look.width, self.look.width]));
    }

    /// The page is shown in the colours that this look prefers.
    pub(crate) async fn assert_colours(&self) {
        let dark = self
            .value("matchMedia('(prefers-color-scheme: dark)').matches")
            .await;
        assert_eq!(dark, self.look.dark);
        let light: f64 = self
            .value("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number).reduce((a, b) => a + b)")
            .await
            .as_f64()
            .unwrap();
        assert_eq!(
            light < 3.0 * 128.0,
            self.look.dark,
            "the sum of the background's parts is {light}"
        );
    }

    /// The console holds no error; what a content security policy stops is one.
    pub(crate) async fn assert_quiet_console(&self) {
        let entries = self.command("se/log", &json!({"type": "browser"})).await;
        let errors: Vec<&Value> = entries
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["level"] == "SEVERE")
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }

    /// A command of the browser's own protocol.
    pub(crate) async fn cdp(&self, method: &str, params: Value) -> Value {
        let body = json!({"cmd": method, "params": params});
        self.command("goog/cdp/execute", &body).await
    }

    /// A command of `ChromeDriver`'s own.
    async fn command(&self, path: &str, body: &Value) -> Value {
        let driver = part("ONEFIVE_TEST_CHROMEDRIVER");
        let url = format!(
            "{}/session/{}/{path}",
            driver.trim_end_matches('/'),
            self.session
        );
        let answer = http::post_json(&url, &[], body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also at the end of a failed test: a browser that nobody ends stays. Dropping cannot wait, so this blocks.
        let driver = part("ONEFIVE_TEST_CHROMEDRIVER");
        let host = driver.trim_start_matches("http://").trim_end_matches('/');
        let Ok(mut stream) = std::net::TcpStream::connect(host) else {
            return;
        };
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n",
            self.session
        );
        // The driver answers when the browser has ended, and leaves the connection open.
        drop(stream.set_read_timeout(Some(PATIENCE)));
        if stream.write_all(request.as_bytes()).is_ok() {
            drop(stream.read(&mut [0; 64]));
        }
    }
}
