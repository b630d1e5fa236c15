// The chat widget: asks for a rating inside a chat, on any website, with one script tag.
//
//   <script src="https://HOST/widget.js" data-token="TOKEN" async></script>
//
// It appears after the tag, or inside the element that data-target selects. Or from a program:
//
//   window.onefive.ask({ token, target }).then(({ score, comment }) => …)
//
// It lives in a shadow tree with a constructed style sheet: the website's styles do not reach it, and a content security
// policy without 'unsafe-inline' does not stop it. The website has to allow this host in script-src and connect-src.
"use strict";

(() => {
  const script = document.currentScript;
  if (!script || !script.src) return;
  const base = new URL(".", script.src).href.replace(/\/(assets\/)?$/, "");

  const css = `
    :host { all: initial; display: block; container-type: inline-size; color-scheme: light dark;
      --surface: #fff; --ink: #17211d; --muted: #55605a; --line: #dfded6; --edge: #7f8a84; --accent: #0b6b57; --on-accent: #fff;
      --soft: #e2f0eb; --danger: #9c2a20;
      font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif; }
    @media (prefers-color-scheme: dark) { :host { --surface: #161e1b; --ink: #e8eeeb; --muted: #a2afa9; --line: #29342f;
      --edge: #72817a; --accent: #6bcfb3; --on-accent: #06231c; --soft: #15332b; --danger: #ff9f92; } }
    *, *::before, *::after { box-sizing: border-box; }
    [hidden] { display: none !important; }
    .box { display: grid; gap: 14px; padding: 16px; max-inline-size: 30rem; border: 1px solid var(--line); border-radius: 14px;
      background: var(--surface); color: var(--ink); text-align: start; overflow-wrap: break-word; }
    .text { margin: 0; font-weight: 600; }
    .scale { display: grid; gap: 8px; }
    button { font: inherit; color: inherit; cursor: pointer; touch-action: manipulation; }
    .choice { display: flex; align-items: center; gap: 12px; min-block-size: 46px; padding: 8px 12px; border: 1px solid var(--edge);
      border-radius: 10px; background: var(--surface); text-align: start; }
    .choice b { min-inline-size: 1.2em; font-size: 1.15em; color: var(--accent); text-align: center; }
    .choice:hover { border-color: var(--accent); background: var(--soft); }
    .choice[aria-checked="true"] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
    .choice[aria-checked="true"] b { color: inherit; text-decoration: underline; text-underline-offset: 3px; }
    @container (min-width: 26rem) {
      .scale.short { grid-template-columns: repeat(5, minmax(0, 1fr)); }
      .short .choice { flex-direction: column; justify-content: flex-start; gap: 2px; padding: 10px 4px; font-size: 13px; line-height: 1.25;
        text-align: center; hyphens: auto; overflow-wrap: anywhere; }
      .short .choice b { font-size: 22px; line-height: 1.2; }
    }
    .status { margin: 0; color: var(--muted); }
    .status:empty { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); }
    .status[data-kind="ok"] { color: var(--ink); font-weight: 600; }
    .status[data-kind="error"] { color: var(--danger); }
    form { display: grid; gap: 8px; }
    label { font-size: 14px; color: var(--muted); }
    textarea { inline-size: 100%; min-block-size: 72px; padding: 10px 12px; border: 1px solid var(--edge); border-radius: 10px;
      background: var(--surface); color: inherit; font: inherit; resize: vertical; }
    .send, .retry { justify-self: start; min-block-size: 44px; padding: 8px 18px; border: 1px solid transparent; border-radius: 10px;
      background: var(--accent); color: var(--on-accent); font-weight: 600; }
    .retry { border-color: var(--edge); background: transparent; color: var(--ink); }
    :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    @media (forced-colors: active) { .choice[aria-checked="true"] { forced-color-adjust: none; background: Highlight; color: HighlightText; } }
  `;

  function element(name, props, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(props || {})) {
      if (key.startsWith("aria-") || key === "role" || key === "for") node.setAttribute(key, value);
      else node[key] = value;
    }
    node.append(...children);
    return node;
  }

  function styled(root) {
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(css);
      root.adoptedStyleSheets = [sheet];
    } catch {
      root.append(element("style", { textContent: css }));
    }
  }

  async function call(url, body) {
    const init = body === undefined ? {} : { method: "POST", body: body === null ? "" : JSON.stringify(body) };
    if (body) init.headers = { "Content-Type": "application/json" };
    const response = await fetch(url, { credentials: "omit", keepalive: body !== undefined, ...init });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw Object.assign(new Error(answer.detail || ""), { status: response.status });
    return answer;
  }

  class Rating extends HTMLElement {
    constructor() {
      super();
      this.attachShadow({ mode: "open" });
      styled(this.shadowRoot);
    }

    connectedCallback() {
      if (this.started) return;
      this.started = true;
      this.load();
    }

    // The address of one ask. The token is one path segment, whatever it holds.
    get address() {
      return `${base}/w/${encodeURIComponent(this.token || this.getAttribute("token") || "")}`;
    }

    async load() {
      try {
        this.draw(await call(this.address));
      } catch (error) {
        // Nothing to ask about: a customer's chat is no place for our errors. A passing fault gets a second chance.
        if (error.status && error.status < 500) return this.remove();
        const again = element("button", { type: "button", className: "retry", textContent: "Try again" });
        again.addEventListener("click", () => { box.remove(); this.load(); });
        const box = element("div", { className: "box" }, again);
        this.shadowRoot.append(box);
      }
    }

    draw(ask) {
      const texts = ask.texts || {};
      this.texts = texts;
      this.url = ask.url || this.address;
      this.saved = { score: ask.score || null, comment: ask.comment || "" };
      this.choices = ask.buttons.map(({ score, label }) => {
        const choice = element("button", { type: "button", className: "choice", role: "radio", "aria-checked": "false", tabIndex: -1 },
          element("b", { textContent: score }), element("span", { textContent: label }));
        choice.score = score;
        choice.addEventListener("click", () => this.choose(choice));
        return choice;
      });
      this.status = element("p", { className: "status", role: "status", "aria-live": "polite" });
      this.retry = element("button", { type: "button", className: "retry", textContent: texts.retry || "Try again", hidden: true });
      this.retry.addEventListener("click", () => this.save());
      this.words = element("textarea", { id: "words", maxLength: 1000, rows: 2, dir: "auto", value: this.saved.comment });
      this.form = element("form", { hidden: true }, element("label", { for: "words", textContent: texts.comment_label || "" }), this.words,
        element("button", { className: "send", textContent: texts.send || "" }));
      this.form.addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
      // Columns only for words that fit into one; the longest are broken nowhere.
      const short = ask.buttons.every(({ label }) => label.split(/\s+/).every((word) => word.length <= 10));
      this.scale = element("div", { className: short ? "scale short" : "scale", role: "radiogroup", "aria-labelledby": "text" }, ...this.choices);
      this.scale.addEventListener("keydown", (event) => this.move(event));
      const box = element("section", { className: "box", lang: ask.lang || "", dir: ask.dir || "auto", "aria-labelledby": "text" },
        element("p", { className: "text", id: "text", textContent: ask.text }), this.scale, this.status, this.retry, this.form);
      this.shadowRoot.append(box);
      this.mark(this.saved.score);
      if (ask.state === "closed") this.close(texts.closed);
      else if (ask.state === "answered") this.thank();
      else this.watch();
    }

    // Tells once that the ask was in front of somebody.
    watch() {
      const seen = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting) || document.visibilityState !== "visible") return;
        seen.disconnect();
        call(`${this.address}/shown`, null).catch(() => {});
      }, { threshold: 0.5 });
      seen.observe(this);
      // The observer is silent when a hidden tab with the widget in view becomes visible.
      document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible" && this.isConnected) { seen.unobserve(this); seen.observe(this); } }, { once: true });
    }

    mark(score) {
      for (const choice of this.choices) choice.setAttribute("aria-checked", String(choice.score === score));
      this.rove(this.choices.find((choice) => choice.score === score) || this.choices[0]);
    }

    rove(target) {
      for (const choice of this.choices) choice.tabIndex = choice === target ? 0 : -1;
    }

    // Arrow keys move, Enter and Space choose (a button's own behaviour): passing over a score must not send it.
    move(event) {
      const at = this.choices.indexOf(event.target);
      const last = this.choices.length - 1;
      const back = getComputedStyle(this.scale).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
      const on = back === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
      const to = { [on]: at + 1, ArrowDown: at + 1, [back]: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      const target = this.choices[(to + this.choices.length) % this.choices.length];
      this.rove(target);
      target.focus();
    }

    choose(choice) {
      if (this.closed) return;
      this.mark(choice.score);
      this.save();
    }

    wanted() {
      const chosen = this.choices.find((choice) => choice.getAttribute("aria-checked") === "true");
      return chosen ? { score: chosen.score, comment: this.words.value.trim() } : null;
    }

    // Posts what is chosen and written; what changes meanwhile is posted next. Never two posts at once.
    async save() {
      if (this.busy) return;
      this.busy = true;
      this.retry.hidden = true;
      const same = (a, b) => a.score === b.score && a.comment === b.comment;
      try {
        for (let want = this.wanted(); want && !same(want, this.saved); want = this.wanted()) {
          const answer = await call(this.url, want.comment ? want : { score: want.score });
          this.saved = want;
          if (answer.state === "closed") return this.close(answer.message || this.texts.closed);
          this.thank(answer.message);
          this.dispatchEvent(new CustomEvent("onefive:rated", { bubbles: true, composed: true, detail: { ...want } }));
          if (this.done) this.done({ ...want });
        }
      } catch (error) {
        if ([404, 409, 410].includes(error.status)) return this.close(error.message || this.texts.closed);
        this.say("error", error.message || this.texts.error || "");
        this.retry.hidden = false;
      } finally {
        this.busy = false;
      }
    }

    say(kind, text) {
      this.status.dataset.kind = kind;
      this.status.textContent = text;
    }

    thank(message) {
      this.say("ok", message || this.texts.thanks || "");
      this.form.hidden = false;
    }

    close(text) {
      this.closed = true;
      this.say("plain", text || "");
      this.form.hidden = true;
      this.scale.hidden = true;
    }
  }

  if (!customElements.get("onefive-rating")) customElements.define("onefive-rating", Rating);

  function place(target) {
    return typeof target === "string" ? document.querySelector(target) : target;
  }

  function ask({ token, target }) {
    return new Promise((resolve, reject) => {
      const where = place(target) || document.body;
      if (!token || !where) return reject(new TypeError("onefive.ask needs a token and a target"));
      const widget = document.createElement("onefive-rating");
      widget.token = token;
      widget.done = resolve;
      where.append(widget);
    });
  }

  window.onefive = { ...window.onefive, ask };

  const { token, target } = script.dataset;
  if (!token) return;
  const mount = () => {
    if (target) return void ask({ token, target });
    const widget = document.createElement("onefive-rating");
    widget.token = token;
    if (script.parentNode === document.head) document.body.append(widget);
    else script.after(widget);
  };
  // With async the script may run before its place in the body exists.
  if (document.readyState === "loading" && (target || script.parentNode === document.head)) addEventListener("DOMContentLoaded", mount, { once: true });
  else mount();
})();
