//! A page, as the person before it uses it: by mouse and keyboard, waiting for what they see.

use crate::wire::{PATIENCE, Told, Wire};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// One page. Paths are the console's.
pub(crate) struct Page {
    wire: Arc<Wire>,
    session: String,
    origin: String,
    told: watch::Receiver<Told>,
}

/// How wide a desk's screen is, and a phone's, in CSS pixels.
pub(crate) const DESK: u32 = 1200;
/// See [`DESK`].
pub(crate) const PHONE: u32 = 360;

impl Page {
    pub(crate) async fn new(wire: Arc<Wire>, session: String, origin: String) -> Page {
        let told = wire.of_page(&session);
        let page = Page { wire, session, origin, told };
        for domain in ["Page", "Runtime", "Log", "Audits"] {
            page.ask(&format!("{domain}.enable"), json!({})).await;
        }
        page.ask("Page.setLifecycleEventsEnabled", json!({ "enabled": true })).await;
        page.as_wide_as(DESK).await;
        page
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.wire.ask(Some(&self.session), method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Opens an address of the console and waits until it is loaded.
    pub(crate) async fn open(&self, path: &str) {
        self.load(&format!("{}{path}", self.origin)).await;
    }

    async fn load(&self, url: &str) {
        let opened = self.ask("Page.navigate", json!({ "url": url })).await;
        assert_eq!(opened["errorText"], Value::Null, "{url}");
        let document = opened["loaderId"].as_str().unwrap();
        self.told(|told| told.loads.iter().any(|loaded| loaded == document)).await;
    }

    /// Logs in with a link, as a person does.
    pub(crate) async fn login(&self, link: &str) {
        // Where only what stands behind the `#` differs nothing would be loaded.
        self.load("about:blank").await;
        self.load(link).await;
        self.click_through("#enter .go").await;
        self.until("document.querySelector('.who')").await;
    }

    /// How many documents were loaded until now.
    pub(crate) fn loads(&self) -> usize {
        self.told.borrow().loads.len()
    }

    /// Waits until more documents than these were loaded.
    pub(crate) async fn loaded_after(&self, loads: usize) {
        self.told(|told| told.loads.len() > loads).await;
    }

    async fn told(&self, is: impl Fn(&Told) -> bool) {
        let mut told = self.told.clone();
        let came = tokio::time::timeout(PATIENCE, told.wait_for(|told| is(told))).await;
        assert!(came.is_ok_and(|it| it.is_ok()), "nothing was loaded");
    }

    /// What this JavaScript expression, or its promise, comes to.
    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        self.tried(expression).await.unwrap_or_else(|error| panic!("{error}: {expression:.200}"))
    }

    async fn tried(&self, expression: &str) -> Result<Value, String> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.wire.ask(Some(&self.session), "Runtime.evaluate", params).await?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            thrown => Err(thrown["exception"]["description"].to_string()),
        }
    }

    /// Waits until this expression is true of the page, or of one that takes its place.
    pub(crate) async fn until(&self, expression: &str) {
        let waits = format!(
            "new Promise((holds, never) => {{
                const is = () => Boolean({expression});
                if (is()) return holds(true);
                const look = new MutationObserver(() => is() && holds(true));
                look.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                setTimeout(() => never(new Error(`it never came to that: ${{document.body.innerText}}`)), 60000);
            }})"
        );
        let began = Instant::now();
        loop {
            match self.tried(&waits).await {
                Ok(_) => return,
                // The document went away under it; the next one may be as wanted.
                Err(error) if !error.contains("never came") && began.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}: {expression}"),
            }
        }
    }

    /// What a person reads there.
    pub(crate) async fn text(&self, css: &str) -> String {
        let text = self.evaluate(&format!("{}.innerText", element(css))).await;
        text.as_str().unwrap().to_owned()
    }

    /// Presses the mouse in the middle of it. It must be seen there, and nothing above it.
    pub(crate) async fn click(&self, css: &str) {
        let middle = format!(
            "(() => {{
                const it = {};
                it.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = it.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(x, y);
                if (!hit || !(it === hit || it.contains(hit) || hit.control === it)) {{
                    throw new Error(`it is not seen: ${{hit && hit.outerHTML}}`);
                }}
                return [x, y];
            }})()",
            element(css)
        );
        let at = self.evaluate(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let press = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1
            });
            self.ask("Input.dispatchMouseEvent", press).await;
        }
    }

    /// Clicks and waits until the next document is loaded.
    pub(crate) async fn click_through(&self, css: &str) {
        let loads = self.loads();
        self.click(css).await;
        self.loaded_after(loads).await;
    }

    /// Types into a field, in place of what was there.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        self.evaluate(&format!("{it}.focus(), {it}.select()", it = element(css))).await;
        self.ask("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key: `Tab`, `Enter`, …
    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            " " => (32, Some(" ")),
            "Escape" => (27, None),
            other => panic!("no such key: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if let (Some(text), "keyDown") = (text, kind) {
                event["text"] = text.into();
            }
            self.ask("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Makes the window so wide.
    pub(crate) async fn as_wide_as(&self, width: u32) {
        let size = json!({
            "width": width, "height": 720, "deviceScaleFactor": 1, "mobile": width < 500
        });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// As somebody sees it who prefers dark pages.
    pub(crate) async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// What went wrong in it since this was asked last. It stays empty where all is well.
    pub(crate) async fn troubles(&self) -> Vec<String> {
        // What happened before an answer was told before it.
        self.evaluate("new Promise(painted => requestAnimationFrame(() => setTimeout(painted)))")
            .await;
        self.wire.take_troubles(&self.session)
    }

    /// A picture of the window, as WebP.
    pub(crate) async fn screenshot(&self, file: &Path) {
        let format = json!({ "format": "webp", "quality": 85 });
        let taken = self.ask("Page.captureScreenshot", format).await;
        let bytes = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// A passkey of this machine, which its owner unlocks whenever it is asked for.
    pub(crate) async fn authenticator(&self) -> Authenticator<'_> {
        self.ask("WebAuthn.enable", json!({ "enableUI": false })).await;
        let options = json!({
            "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal",
            "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true,
            "automaticPresenceSimulation": true,
        });
        let added =
            self.ask("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        Authenticator { page: self, id: added["authenticatorId"].clone() }
    }
}

/// A virtual authenticator. Pages must be opened as `localhost`: an address is no name.
pub(crate) struct Authenticator<'a> {
    page: &'a Page,
    id: Value,
}

impl Authenticator<'_> {
    /// The passkeys in it, as the browser keeps them, private keys too.
    pub(crate) async fn credentials(&self) -> Vec<Value> {
        let asked = json!({ "authenticatorId": self.id });
        let found = self.page.ask("WebAuthn.getCredentials", asked).await;
        found["credentials"].as_array().unwrap().clone()
    }

    /// Whether whoever sits there can unlock it.
    pub(crate) async fn unlocks(&self, can: bool) {
        let asked = json!({ "authenticatorId": self.id, "isUserVerified": can });
        self.page.ask("WebAuthn.setUserVerified", asked).await;
    }
}

/// The one element that is meant, in JavaScript; what is not there is said.
fn element(css: &str) -> String {
    let css = json!(css);
    format!(
        "(document.querySelector({css}) ?? (() => {{ throw new Error('there is no ' + {css}) }})())"
    )
}
