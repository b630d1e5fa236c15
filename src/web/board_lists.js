// The lists of the board: what customers wrote, and low scores with the steps that are due. What a customer wrote is text.
"use strict";

(() => {
  const { board } = window;
  const { at, element, put, words } = board;

  const stage = ({ state, told }) => `${state} ${told}`;

  // Keeps the entries that stay the same, so that nothing moves under a finger and the focus stays where it is.
  function merge(id, items, make) {
    const list = at(id);
    const first = !list.dataset.drawn;
    const old = new Map(Array.from(list.children, (node) => [node.dataset.key, node]));
    const next = items.map((item) => {
      const known = old.get(item.id);
      const same = JSON.stringify(item);
      const busy = known && known.step === stage(item) && known.contains(document.activeElement);
      if (known && (known.same === same || busy)) return known;
      const node = make(item);
      Object.assign(node, { same, step: stage(item) });
      node.dataset.key = item.id;
      if (!first && !known) node.classList.add("fresh");
      return node;
    });
    next.forEach((node, n) => {
      if (list.children[n] !== node) list.insertBefore(node, list.children[n] || null);
    });
    while (list.children.length > next.length) list.lastChild.remove();
    list.dataset.drawn = "";
    at(`${id}-none`).hidden = items.length > 0;
  }

  const sign = (score) => element("span", { className: "mark-of", data: { tone: words.tone(score) } },
    element("b", { textContent: score }), element("small", { textContent: "of 5" }));
  // A direction of its own for each text: a name or a comment may be written from right to left.
  const text = (value) => element("span", { dir: "auto", textContent: value });
  const about = (item, when) => {
    const parts = [item.conversation, words.channel(item.channel), item.agent?.name || item.agent?.id, item.team, item.touchpoint].filter(Boolean);
    return element("p", { className: "meta" }, element("time", { dateTime: when, textContent: board.when(when) }), ...parts.map(text));
  };

  function comment(item) {
    return element("li", {}, sign(item.score), element("blockquote", { dir: "auto", textContent: item.comment }), about(item, item.changed_at));
  }

  // Low scores: taken by somebody, told to the customer, closed.

  function button(label, whom, act) {
    const node = element("button", { type: "button", textContent: label });
    node.append(element("span", { className: "unseen", textContent: ` ${whom}` }));
    node.addEventListener("click", act);
    return node;
  }

  function steps(item) {
    if (!board.mayAct) return null;
    const place = element("div", { className: "steps" });
    const send = async (step, body) => {
      for (const control of place.querySelectorAll("button, input")) control.disabled = true;
      put("low-said", "");
      try {
        await board.act(item.id, step, body);
      } catch (error) {
        put("low-said", error.message);
        show();
      }
    };
    // A step that needs words asks for them in place of its button.
    const ask = (step, label, field, value, max) => {
      const input = element("input", { className: "input", id: `word-${item.id}`, value, maxLength: max, autocomplete: "off", required: step === "take" });
      const form = element("form", { className: "steps" }, element("label", { htmlFor: input.id, textContent: label }), input, element("button", { type: "submit", textContent: "Save" }), button("Cancel", "", () => show(true)));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (step === "take") board.keepName(input.value.trim());
        send(step, { [field]: input.value.trim() });
      });
      form.addEventListener("keydown", (event) => {
        if (event.key === "Escape") show(true);
      });
      place.replaceChildren(form);
      input.focus();
    };
    const whom = `${item.conversation}, ${item.score} of 5`;
    const show = (focus) => {
      const open = item.state === "open";
      place.replaceChildren(
        ...(open ? [button("Take", whom, () => ask("take", "Who takes it?", "owner", board.name(), 100))] : []),
        ...(!open && !item.told ? [button("Customer told", whom, () => ask("told", "What was the customer told?", "note", "", 1000))] : []),
        button("Close", whom, () => ask("close", "What came of it?", "note", "", 1000)));
      if (focus) place.querySelector("button").focus();
    };
    show();
    return place;
  }

  function low(item) {
    const state = item.state === "open" ? "Nobody yet" : `${item.owner}${item.told ? " has told the customer" : " has it"}`;
    const meta = about(item, item.opened_at);
    meta.prepend(element("span", { className: "flag", dir: "auto", data: { tone: item.state === "open" ? "bad" : "good" }, textContent: state }));
    return element("li", {}, sign(item.score),
      element("div", {}, item.comment ? element("blockquote", { dir: "auto", textContent: item.comment }) : null, meta, steps(item)));
  }

  board.draw.comments = (items) => merge("words", items, comment);
  // The newest first, because that is what just happened; how long the oldest waits is said above.
  const few = 6;
  let all = false;
  let lows = { items: [], oldest: [], more: false };

  function drawLow() {
    const { items, oldest, more } = lows;
    const flat = items.map(({ rating, id, state, score, owner, opened_at: opened, told_at: told }) => ({ ...rating, id, state, score, owner, opened_at: opened, told: Boolean(told) }));
    const sorted = flat.sort((a, b) => b.opened_at.localeCompare(a.opened_at) || b.id.localeCompare(a.id));
    const since = [...oldest, ...items].map((item) => item.opened_at).sort()[0];
    merge("low", all ? sorted : sorted.slice(0, few), low);
    put("low-n", sorted.length ? `${words.count(sorted.length)}${more ? " and more" : ""} open, the oldest since ${board.when(since)}` : "");
    at("low-more").hidden = sorted.length <= few;
    put("low-more", all ? "Show the newest only" : `Show all ${words.count(sorted.length)}`);
    at("low-more").ariaExpanded = String(all);
  }

  board.draw.low = (items, oldest, more) => {
    lows = { items, oldest, more };
    drawLow();
  };
  at("low-more").addEventListener("click", () => {
    all = !all;
    drawLow();
  });
})();
