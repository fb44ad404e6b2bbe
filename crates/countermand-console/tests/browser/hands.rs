//! What a human does on the console's pages with a passkey.

use crate::page::Page;

impl Page {
    /// Makes a passkey, and gives the line that is shown.
    pub(crate) async fn makes_passkey(&self) -> String {
        self.open("/keys").await;
        self.click("#make-passkey button").await;
        self.until("!document.getElementById('made').hidden").await;
        assert!(self.text("#made").await.contains("countermand config apply"));
        self.text("#made-line").await
    }

    /// Logs in with it.
    pub(crate) async fn enters(&self) {
        self.open("/enter").await;
        self.until("!document.getElementById('prove').hidden").await;
        self.click_through("#prove .go").await;
        self.until("document.querySelector('.who')").await;
    }

    /// Presses an act's button, types what is to be typed, and signs.
    pub(crate) async fn signs(&self, act: &str) {
        self.click(&format!("form[data-act={act}] button")).await;
        self.until("document.getElementById('sign').open").await;
        let asked = self.evaluate("!document.getElementById('sign-typed').hidden").await;
        if asked == true {
            let numbers = self.numbers().await;
            self.fill("#sign input", &numbers).await;
        }
        self.click("#sign-yes").await;
    }

    /// What the dialog asks to be typed, as a human finds it: in what it says.
    pub(crate) async fn numbers(&self) -> String {
        let found = self
            .evaluate(
                "(() => {
                    const said = [...document.querySelectorAll('#sign-said dt')].map((term) =>
                        [term.textContent, term.nextElementSibling.textContent]);
                    const of = (name) => said.filter(([it]) => it === name).map(([, words]) => words);
                    const rows = of('measured').map((words) => Number(words.split(' ')[0].replaceAll(',', '')));
                    const number = said[0][1].match(/(?:change|configuration) (\\d+)/)[1];
                    return `${number} ${of('difference').length || Math.max(0, ...rows)}`;
                })()",
            )
            .await;
        found.as_str().unwrap().to_owned()
    }

    /// Waits until the dialog says so.
    pub(crate) async fn said(&self, words: &str) {
        let outcome =
            format!("document.getElementById('sign-outcome').innerText.includes({words:?})");
        self.until(&outcome).await;
    }
}
