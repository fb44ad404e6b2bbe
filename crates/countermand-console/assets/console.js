// Nothing here decides anything: pages say the same without it.
"use strict";

// The link's token is behind the "#". It leaves the address bar at once, and is sent when its holder
// presses the button.
const form = document.getElementById("enter");
if (form) {
  const field = form.elements.token;
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, "", location.pathname);
    field.value = token;
    form.classList.add("ready");
    form.querySelector("button").focus();
  }
  // A request of the script says where it comes from in every browser.
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (answer.redirected) {
      location.replace(answer.url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = page.title;
    document.getElementById("main").replaceWith(document.importNode(page.getElementById("main"), true));
  });
}

// On a phone the sections are wider than the page: where one is, is seen.
const section = document.querySelector(".top nav [aria-current]");
if (section) {
  const nav = section.closest("nav");
  nav.scrollLeft = section.offsetLeft - nav.offsetLeft - (nav.clientWidth - section.offsetWidth) / 2;
}

// What moves is announced below. The page itself stays as it is until its reader asks for the new one.
const events = document.body.dataset.events;
if (events) {
  const news = document.querySelector(".news");
  const say = (words) => {
    news.hidden = false;
    news.querySelector("span").textContent = words;
    news.querySelector("a").href = location.href;
  };
  const stale = "This page does not hear from the gateway and may be out of date.";
  let source = null;
  let silent = null;
  const listen = () => {
    source = new EventSource(events);
    source.addEventListener("open", () => clearTimeout(silent));
    source.addEventListener("error", () => {
      clearTimeout(silent);
      silent = setTimeout(() => say(stale), source.readyState === EventSource.CLOSED ? 0 : 10000);
    });
    source.addEventListener("changes", moved);
  };
  // A browser opens few connections to one server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    source.close();
    clearTimeout(silent);
    if (!document.hidden) {
      listen();
      if (!events.includes("seen=")) {
        say("What moved while this page was out of sight is not on it.");
      }
    }
  });
  const moved = (event) => {
    const changes = JSON.parse(event.data);
    const one = changes.length === 1 ? changes[0] : null;
    if (one && one.state) {
      say(`Change ${one.number} is ${one.state}${one.last ? `: ${one.last}` : ""}.`);
    } else {
      say(changes.length > 1 ? `${changes.length} changes have moved.` : "Something has moved.");
    }
  };
  listen();
  document.querySelector(".news a").addEventListener("click", (event) => {
    event.preventDefault();
    location.reload();
  });
}

// Countdowns run by the gateway's clock, as it was when the page was made.
const behind = Number(document.body.dataset.now) - Date.now();
for (const clock of document.querySelectorAll("[data-until]")) {
  const until = Date.parse(clock.dataset.until);
  const tick = () => {
    const left = Math.ceil((until - Date.now() - behind) / 1000);
    clock.textContent = left > 0 ? `In ${left} s` : "Now";
    if (left > 0) {
      setTimeout(tick, 1000);
    }
  };
  tick();
}

// Commands can be copied.
for (const command of document.querySelectorAll(".cmd")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${command.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.querySelector("code").textContent);
    button.textContent = "Copied";
  });
  command.append(button);
}

// Rows are read when somebody wants to see them: below the summary that they opened.
for (const details of document.querySelectorAll("details[data-rows]")) {
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.read) {
      return;
    }
    details.dataset.read = "yes";
    const page = await fetch(details.dataset.rows)
      .then((answer) => (answer.ok && !answer.redirected ? answer.text() : null))
      .then((text) => text && new DOMParser().parseFromString(text, "text/html"))
      .catch(() => null);
    const found = page?.getElementById("rows");
    if (found) {
      details.querySelector("p").replaceWith(...document.importNode(found, true).childNodes);
    } else {
      // The link below says why.
      details.dataset.read = "";
    }
  });
}
