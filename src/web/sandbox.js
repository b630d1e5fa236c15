// The sandbox page: a pretended customer's devices. Every action goes through the door that the real thing uses: the
// trigger API with its key, the provider's hooks, the widget, the links of a mail. The numbers are those that
// Prometheus would scrape.
"use strict";

(() => {
  const base = document.body.dataset.base;
  const at = (id) => document.getElementById(id);
  const words = { sms: "SMS", voice: "Call", chat: "Chat", email: "Mail" };
  let config = null;

  function element(name, props, ...children) {
    const node = Object.assign(document.createElement(name), props);
    node.append(...children);
    return node;
  }

  function randomHex(bytes) {
    return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function read(path) {
    const response = await fetch(base + path, { cache: "no-store" });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return response;
  }

  // The sandbox provider's hooks, as a provider calls them.
  async function hook(path, fields) {
    const response = await fetch(base + path, { method: "POST", body: new URLSearchParams({ key: config.hook_key, ...fields }) });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail || `${path.split("/", 4).join("/")} answered ${response.status}`);
    return answer;
  }

  function problem(text) {
    if (at("problem").textContent !== text) at("problem").textContent = text;
  }

  function atEnd(list) {
    list.scrollTop = list.scrollHeight;
  }

  // The service desk: ending a conversation.

  function note(channel, text, bad) {
    const now = new Date();
    const idle = at("log").querySelector(".idle");
    if (idle) idle.remove();
    at("log").prepend(element("p", {}, element("time", { dateTime: now.toISOString(), textContent: now.toLocaleTimeString([], { hourCycle: "h23" }) }),
      element("b", { textContent: words[channel] }), element("span", { textContent: text, className: bad ? "bad" : "" })));
  }

  async function end(channel) {
    const key = config.api_key || at("api-key").value.trim();
    if (!key) {
      note(channel, "An API key is needed: see the field above.", true);
      return at("api-key").focus();
    }
    const to = { sms: config.phone, voice: `CA${randomHex(16)}`, chat: `visitor-${randomHex(6)}`, email: config.mail }[channel];
    const body = {
      channel,
      to,
      conversation: `DEMO-${randomHex(4)}`,
      contact: { name: "Ana" },
      agent: { name: at("agent").value.trim() || undefined },
      team: at("team").value.trim() || undefined,
      touchpoint: at("touchpoint").value.trim() || undefined,
      delay_seconds: Number(at("delay").value) || undefined,
    };
    const response = await fetch(`${base}/v1/requests`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) return note(channel, answer.detail || answer.title || `The service answered ${response.status}.`, true);
    if (answer.state === "suppressed") return note(channel, `not asked: ${answer.reason}`);
    note(channel, `asked (${answer.state})`);
    if (channel === "chat" && answer.token && window.onefive) {
      const place = element("div", {});
      at("chat").append(place);
      window.onefive.ask({ token: answer.token, target: place }).catch(() => {});
      new ResizeObserver(() => atEnd(at("chat"))).observe(place);
    }
  }

  // The text messages.

  const texts = new Map();

  // Text with its links, without ever parsing it as HTML.
  function linked(text) {
    return text.split(/(https?:\/\/\S+)/).map((part, index) =>
      index % 2 ? element("a", { href: part, textContent: part, target: "_blank", rel: "noopener" }) : part);
  }

  function drawTexts(list) {
    for (const text of list) {
      if (texts.has(text.id)) continue;
      texts.set(text.id, text);
      at("thread").append(element("p", { className: text.direction === "in" ? "in" : "out" }, ...linked(text.body)));
      atEnd(at("thread"));
      if (text.direction === "out" && text.token) {
        hook(`/hooks/sandbox/status/${text.token}`, { id: text.id, status: "delivered" }).catch((error) => problem(error.message));
      }
    }
  }

  at("sms-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = at("sms-body").value.trim();
    if (!body) return;
    at("sms-body").value = "";
    try {
      await hook("/hooks/sandbox/sms", { from: config.phone, to: config.sender, body, id: `SM${randomHex(16)}` });
      await look();
    } catch (error) {
      at("sms-body").value = body;
      problem(error.message);
    }
  });

  // The phone.

  const calls = new Set();
  const phone = { call: null, token: null, next: null, timer: 0, busy: false };
  const keySilence = 8000;

  function ring({ call, token }) {
    calls.add(call);
    Object.assign(phone, { call, token, next: null });
    at("phone").dataset.state = "ringing";
    at("call-state").textContent = "Service desk is calling";
    at("spoken").textContent = "";
    at("pick-up").hidden = false;
    at("hang-up").disabled = false;
  }

  function hear(say) {
    at("spoken").textContent = say;
    if (at("speak").checked && "speechSynthesis" in window) speechSynthesis.speak(new SpeechSynthesisUtterance(say));
  }

  function keys(on) {
    for (const key of document.querySelectorAll(".key")) key.disabled = !on;
  }

  async function turn(path, fields) {
    if (phone.busy) return;
    clearTimeout(phone.timer);
    phone.busy = true;
    const call = phone.call;
    try {
      const answer = await hook(path, { call, ...fields });
      if (phone.call !== call) return;
      if (answer.say) hear(answer.say);
      phone.next = answer.gather ? answer.next : null;
      if (phone.next) {
        at("call-state").textContent = "On the call: press a key";
        keys(true);
        phone.timer = setTimeout(() => turn(phone.next, { digits: "" }), keySilence);
      } else if (answer.next) {
        phone.timer = setTimeout(() => turn(answer.next, { digits: "" }), 0);
      } else {
        hangUp("Call ended");
      }
    } catch (error) {
      problem(error.message);
      hangUp("Call failed");
    } finally {
      phone.busy = false;
    }
  }

  function hangUp(words) {
    clearTimeout(phone.timer);
    Object.assign(phone, { call: null, token: null, next: null });
    keys(false);
    at("phone").dataset.state = "idle";
    at("call-state").textContent = words;
    at("pick-up").hidden = true;
    at("hang-up").disabled = true;
  }

  function press(key) {
    if (phone.call && phone.next) turn(phone.next, { digits: key });
  }

  at("pick-up").addEventListener("click", () => {
    at("phone").dataset.state = "talking";
    at("pick-up").hidden = true;
    at("call-state").textContent = "On the call";
    turn(`/hooks/sandbox/voice/${phone.token}?turn=0`, {}).then(() => {
      const key = document.querySelector(".key:enabled");
      if (key) key.focus();
    });
  });
  at("hang-up").addEventListener("click", () => {
    if ("speechSynthesis" in window) speechSynthesis.cancel();
    hangUp("Call ended");
  });
  at("phone").addEventListener("click", (event) => {
    const key = event.target.closest(".key");
    if (key) press(key.dataset.key);
  });
  at("phone").addEventListener("keydown", (event) => {
    if (/^[0-9*#]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) press(event.key);
  });

  // The mailbox.

  const mails = new Map();
  let part = "html";

  // The frame inherits this page's content security policy, which stops the inline styles that mails are made of. They
  // are taken out and set again through the object model, which the policy allows. The frame runs no scripts.
  function readable(html) {
    return html.replace(/(<[^>]*\s)style=/gi, "$1data-style=").replace(/<style\b[^>]*>/gi, '<template class="sheet">').replace(/<\/style>/gi, "</template>");
  }

  at("letter").addEventListener("load", () => {
    const letter = at("letter").contentDocument;
    if (!letter) return;
    for (const node of letter.querySelectorAll("[data-style]")) node.style.cssText = node.dataset.style;
    letter.adoptedStyleSheets = Array.from(letter.querySelectorAll("template.sheet"), (style) => {
      const sheet = new letter.defaultView.CSSStyleSheet();
      sheet.replaceSync(style.content.textContent);
      return sheet;
    });
    for (const link of letter.links) Object.assign(link, { target: "_blank", rel: "noopener" });
  });

  function openMail(mail) {
    for (const button of at("inbox").querySelectorAll("button")) button.setAttribute("aria-current", String(button.mail === mail));
    at("tabs").hidden = false;
    at("no-mail").hidden = true;
    at("letter").hidden = part !== "html";
    at("plain").hidden = part !== "text";
    const html = readable(mail.html);
    if (at("letter").srcdoc !== html) at("letter").srcdoc = html;
    at("plain").replaceChildren(...linked(mail.text));
  }

  function drawMails(list) {
    for (const mail of list) {
      if (mails.has(mail.id)) continue;
      mails.set(mail.id, mail);
      const button = element("button", { type: "button", mail }, element("b", { textContent: mail.subject }), element("span", { textContent: mail.from }));
      button.addEventListener("click", () => openMail(mail));
      at("inbox").prepend(element("li", {}, button));
      openMail(mail);
    }
  }

  at("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("button");
    if (!tab) return;
    part = tab.dataset.part;
    for (const other of at("tabs").children) other.setAttribute("aria-pressed", String(other === tab));
    const open = at("inbox").querySelector("[aria-current=true]");
    if (open) openMail(open.mail);
  });

  // The numbers, from the same text that Prometheus scrapes.

  function samples(text) {
    const found = [];
    for (const line of text.split("\n")) {
      const match = /^onefive_(requests|ratings)_total\{(.*)\} (\S+)/.exec(line);
      if (!match) continue;
      const labels = Object.fromEntries(Array.from(match[2].matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), (pair) => [pair[1], pair[2]]));
      if (!labels.desk || labels.desk === config.desk) found.push({ of: match[1], labels, value: Number(match[3]) });
    }
    return found;
  }

  function sum(list, of, labels) {
    return list.filter((one) => one.of === of && Object.entries(labels).every(([name, value]) => one.labels[name] === value))
      .reduce((total, one) => total + one.value, 0);
  }

  // Wilson's interval: where the share lies with 95 % certainty, honest for small numbers too.
  function wilson(good, n) {
    const z = 1.96;
    const share = good / n;
    const middle = share + (z * z) / (2 * n);
    const half = z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
    return [middle - half, middle + half].map((edge) => Math.round((100 * edge) / (1 + (z * z) / n)));
  }

  function drawCounts(list) {
    for (const lane of document.querySelectorAll(".lane")) {
      const { channel } = lane.dataset;
      const counts = [1, 2, 3, 4, 5].map((score) => sum(list, "ratings", { channel, score: String(score) }));
      const n = counts.reduce((total, count) => total + count, 0);
      const put = (name, ...content) => lane.querySelector(`[data-count=${name}]`).replaceChildren(...content);
      // Each request is counted once in every state that it passed, so `sent` is the number of asks.
      put("asked", String(sum(list, "requests", { channel, state: "sent" })));
      put("answered", String(n));
      const csat = lane.querySelector("[data-count=csat]");
      csat.toggleAttribute("data-empty", n === 0);
      if (n === 0) {
        put("csat", "no ratings yet");
      } else {
        const [low, high] = wilson(counts[3] + counts[4], n);
        put("csat", `${Math.round((100 * (counts[3] + counts[4])) / n)} %`, element("small", { textContent: `${low} to ${high} % with 95 % certainty` }));
      }
      for (const bar of lane.querySelectorAll(".bars li")) {
        const count = counts[bar.dataset.score - 1];
        bar.querySelector(".n").textContent = count;
        bar.querySelector(".fill").style.inlineSize = `${n ? (100 * count) / n : 0}%`;
      }
    }
  }

  // The loop: once a second, only while somebody looks.

  async function look() {
    const [state, metrics] = await Promise.all([read("/sandbox/state").then((r) => r.json()), read("/metrics").then((r) => r.text())]);
    drawTexts(state.texts);
    drawMails(state.mails);
    const waiting = state.calls.find(({ call }) => !calls.has(call));
    if (waiting && !phone.call) ring(waiting);
    drawCounts(samples(metrics));
    problem("");
  }

  let timer = 0;
  async function loop() {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") return;
    try {
      await look();
    } catch (error) {
      problem(`The service cannot be reached: ${error.message}`);
    }
    clearTimeout(timer);
    timer = setTimeout(loop, 1000);
  }

  async function start() {
    try {
      config = await (await read("/sandbox/config")).json();
    } catch (error) {
      problem(`The sandbox is not there: ${error.message}`);
      setTimeout(start, 2000);
      return;
    }
    at("key-field").hidden = Boolean(config.api_key);
    at("sms-peer").textContent = config.sender;
    at("mail-owner").textContent = config.mail;
    document.addEventListener("visibilitychange", loop);
    loop();
  }

  for (const counts of document.querySelectorAll(".counts")) counts.append(at("counts").content.cloneNode(true));
  at("fields").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-end]")) {
    const { end: channel } = button.dataset;
    button.addEventListener("click", () => end(channel).catch((error) => note(channel, error.message, true)));
  }
  start();
})();
