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

// What moves is announced below. The page itself stays as it is until its reader asks for the new one.
const events = document.body.dataset.events;
if (events) {
  const news = document.querySelector(".news");
  const say = (words) => {
    news.hidden = false;
    news.querySelector("span").textContent = words;
    news.querySelector("a").href = location.href;
  };
  const source = new EventSource(events);
  source.addEventListener("changes", (event) => {
    const moved = JSON.parse(event.data);
    const one = moved.length === 1 ? moved[0] : null;
    if (one && one.state) {
      say(`Change ${one.number} is ${one.state}${one.last ? `: ${one.last}` : ""}.`);
    } else {
      say(moved.length > 1 ? `${moved.length} changes have moved.` : "Something has moved.");
    }
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      say("This page no longer hears from the gateway.");
    }
  });
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
