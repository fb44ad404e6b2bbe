// Passkeys: made, logged in with, signed with. The challenge is made here, from the very text that is
// shown. Nothing happens without this script, and nothing by it that its human was not asked for.
"use strict";
(() => {
  const encode = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const decode = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const challenge = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const known = (list) => list.map((key) => ({ ...key, id: decode(key.id) }));
  const can = window.isSecureContext && "PublicKeyCredential" in window;
  const cannot = "This browser has no passkeys here. Open the console at its own address, over TLS or as localhost.";

  const post = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({ detail: "The gateway did not answer." }));
    if (!answer.ok) {
      throw new Error(said.detail ?? said.title ?? "The gateway refused.");
    }
    return said;
  };

  const plain = (credential, response) => ({
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    response,
  });

  const use = async (text, options) => {
    const { rpId, timeout, userVerification, allowCredentials } = options;
    const publicKey = { challenge: await challenge(text), rpId, timeout, userVerification, allowCredentials: known(allowCredentials) };
    const credential = await navigator.credentials.get({ publicKey });
    return plain(credential, {
      clientDataJSON: encode(credential.response.clientDataJSON),
      authenticatorData: encode(credential.response.authenticatorData),
      signature: encode(credential.response.signature),
    });
  };

  const make = async (text, options) => {
    const publicKey = {
      ...options,
      challenge: await challenge(text),
      user: { ...options.user, id: decode(options.user.id) },
      excludeCredentials: known(options.excludeCredentials),
    };
    const credential = await navigator.credentials.create({ publicKey });
    return plain(credential, {
      clientDataJSON: encode(credential.response.clientDataJSON),
      attestationObject: encode(credential.response.attestationObject),
    });
  };

  // What a browser says of a passkey that was not used is the same for many reasons.
  const why = (error) => {
    if (error.name === "NotAllowedError") {
      return "Nothing was signed: the passkey was not used, or its time ran out.";
    }
    if (error.name === "InvalidStateError") {
      return "This device has a passkey of yours already.";
    }
    return error.message;
  };

  // One thing at a time, and what came of it where everybody hears it.
  const once = (form, outcome, act) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      if (button.disabled) {
        return;
      }
      button.disabled = true;
      outcome.classList.remove("bad");
      outcome.textContent = "";
      try {
        if (!can) {
          throw new Error(cannot);
        }
        await act(form);
      } catch (error) {
        outcome.classList.add("bad");
        outcome.textContent = why(error);
      } finally {
        button.disabled = false;
      }
    });
  };

  const prove = document.getElementById("prove");
  if (prove) {
    prove.hidden = !can;
    once(prove, document.getElementById("prove-outcome"), async () => {
      const { text, options } = await post("/api/v1/login/ask");
      await post("/api/v1/login/proof", { text, credential: await use(text, options) });
      location.replace("/");
    });
  }

  const maker = document.getElementById("make-passkey");
  if (maker) {
    const outcome = document.getElementById("make-outcome");
    once(maker, outcome, async () => {
      const { text, options } = await post("/api/v1/passkeys/ask");
      const made = await post("/api/v1/passkeys/made", { text, credential: await make(text, options) });
      document.getElementById("made-line").textContent = made.line;
      document.getElementById("made-fingerprint").textContent = made.fingerprint;
      document.getElementById("made").hidden = false;
      outcome.textContent = "The passkey is made. What is left to do stands below.";
    });
  }

  // Whether a text is what its human asked for, by what the page itself shows: the gateway is trusted
  // to hold things back, not to choose what a human signs.
  const isWanted = (text, data) => {
    const { act, signer, subject } = JSON.parse(text);
    const number = data.number ?? data.change;
    const about = subject.change ?? subject.number ?? subject.what;
    const found = act === "resolve" ? (subject.committed ? "resolve_committed" : "resolve_rolled_back") : act;
    if (data.seat && subject.seat !== data.seat) {
      return false;
    }
    return found === data.act && signer === data.human && String(about) === (number ?? data.what);
  };

  const dialog = document.getElementById("sign");
  const shown = (id) => document.getElementById(`sign-${id}`);

  const ask = (form, toSign) => new Promise((resolve) => {
    const { statement, said, type_back: typeBack, options } = toSign;
    shown("title").textContent = form.dataset.words;
    // What nobody would see is written as JSON writes it: the same text.
    shown("raw").textContent = statement.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
    shown("said").replaceChildren(...said.flatMap(([name, words]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = words;
      return [term, description];
    }));
    const typed = dialog.querySelector("input");
    typed.value = "";
    typed.required = Boolean(typeBack);
    shown("typed").hidden = !typeBack;
    // They stand above, or on the page; here they would only be copied.
    shown("asks").textContent = form.dataset.act === "approve_configuration"
      ? "the configuration's number and how many differences it has"
      : "the change's number and the largest number of rows that was measured, or 0";
    shown("outcome").textContent = "";
    const no = shown("no");
    const yes = shown("yes");
    no.textContent = "Do nothing";
    yes.hidden = false;
    yes.disabled = false;
    yes.classList.toggle("danger", form.querySelector("button").classList.contains("danger"));
    let done = false;
    const end = () => dialog.close();
    no.onclick = end;
    dialog.onclose = () => {
      resolve();
      if (done) {
        location.reload();
      }
    };
    dialog.querySelector("form").onsubmit = async (event) => {
      event.preventDefault();
      const outcome = shown("outcome");
      outcome.classList.remove("bad");
      if (typeBack && typed.value.replaceAll(",", "").trim().split(/\s+/).join(" ") !== typeBack) {
        outcome.classList.add("bad");
        outcome.textContent = "Those are not the numbers: nothing was signed.";
        typed.focus();
        return;
      }
      yes.disabled = true;
      outcome.textContent = "Your passkey is asked.";
      try {
        const credential = await use(statement, options);
        const { words } = await post("/api/v1/submit", { statement, credential });
        done = true;
        outcome.textContent = `Done: ${words}.`;
        yes.hidden = true;
        no.textContent = "Close";
        no.focus();
      } catch (error) {
        outcome.classList.add("bad");
        outcome.textContent = why(error);
        yes.disabled = false;
      }
    };
    dialog.showModal();
  });

  for (const form of document.querySelectorAll("form.act")) {
    const outcome = document.createElement("p");
    outcome.setAttribute("role", "status");
    outcome.setAttribute("aria-live", "polite");
    form.append(outcome);
    once(form, outcome, async () => {
      const data = { ...form.dataset };
      const body = { act: data.act };
      for (const name of ["change", "number"]) {
        if (data[name]) {
          body[name] = Number(data[name]);
        }
      }
      if (form.elements.reason) {
        body.reason = form.elements.reason.value;
      }
      if (form.elements.seat) {
        body.seat = data.seat = form.elements.seat.value;
      }
      if (data.agent) {
        body.agent = data.agent;
      }
      if (data.scope) {
        body.what = JSON.parse(data.scope);
      }
      if ("stops" in data) {
        const { words } = await post("/api/v1/stop", body);
        outcome.textContent = `Done: ${words}.`;
        return;
      }
      if (data.seen) {
        body.seen = data.seen;
      }
      const toSign = await post("/api/v1/prepare", body);
      if (!isWanted(toSign.statement, data)) {
        throw new Error("The gateway's statement is not what was asked for: nothing was signed.");
      }
      await ask(form, toSign);
    });
  }
})();
