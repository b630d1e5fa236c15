// The rating page with JavaScript: one touch is enough.
//
// Opening the page never answers. A score that the link chose is posted at the first trusted press, touch, key or
// wheel event, because mail scanners open links and run scripts but press nothing. Events made by scripts
// (isTrusted is false), loading, waiting, being shown and moving a pointer do not count; nor does the scroll event,
// which browsers report as trusted when a script scrolled. A page that is shown for a while and not touched says so
// once, which is no person's answer. Without this script the form works by its button.
"use strict";

(() => {
  const form = document.getElementById("rating");
  const note = document.getElementById("note");
  if (!form || !note) return;

  const say = form.dataset;
  const comment = form.elements.comment;
  const view = form.elements.view;
  // A script that submits the form around us must not look like a person who pressed its button.
  form.elements.event.value = "none";

  let answered = say.state === "answered";
  let saved = answered ? picture() : null;
  let wanted = null;
  let busy = false;
  let byArrow = false;
  let pressed = null;
  let proof = null;
  let quiet = null;

  function chosen() {
    const input = form.querySelector("input[name=score]:checked");
    return input ? input.value : "";
  }

  function picture() {
    return JSON.stringify([chosen(), comment.value.trim()]);
  }

  function choiceOf(event) {
    const label = event.target instanceof Element ? event.target.closest(".choice") : null;
    return label ? label.querySelector("input") : null;
  }

  function show(kind, title, detail, retry) {
    const strong = document.createElement("strong");
    strong.textContent = title;
    const parts = [strong];
    if (detail) {
      const span = document.createElement("span");
      span.textContent = detail;
      parts.push(span);
    }
    if (retry) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button quiet";
      button.textContent = say.retry;
      button.addEventListener("click", (event) => {
        if (event.isTrusted) send(wanted || proof || nameOf(event));
      });
      parts.push(button);
    }
    note.dataset.kind = kind;
    note.replaceChildren(...parts);
  }

  // What gives a program away that passes for a browser. The service weighs it.
  function signs() {
    const blind = document.hidden || innerWidth === 0 || innerHeight === 0;
    return [navigator.webdriver && "webdriver", blind && "blind"].filter(Boolean).join(" ");
  }

  function fields(event) {
    return new URLSearchParams({ view: view.value, score: chosen(), comment: comment.value.trim(), event, signs: signs() });
  }

  function deliver(body) {
    return fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body,
      // The page's own cookie, by which a correction is known to come from here.
      credentials: "same-origin",
      keepalive: true,
    });
  }

  function answerInWords(score) {
    const input = form.querySelector(`input[name=score][value="${Number(score)}"]`);
    const word = input ? input.closest(".choice").querySelector(".face span").textContent : "";
    return `${say.yourAnswer} ${score} ${word}. ${say.change}`;
  }

  // Posts what stands in the form. A call during a post is remembered and runs afterwards, if anything changed.
  async function send(event) {
    proof = event;
    if (!chosen()) return;
    wanted = event;
    if (busy) return;
    busy = true;
    while (wanted && picture() !== saved) {
      await quiet;
      const posting = picture();
      const body = fields(wanted);
      wanted = null;
      if (!(await post(posting, body, event))) break;
    }
    if (picture() === saved) wanted = null;
    busy = false;
  }

  async function post(posting, body, event) {
    show("busy", say.sending);
    let response;
    let answer = {};
    try {
      response = await deliver(body);
      answer = await response.json().catch(() => ({}));
    } catch {
      wanted = event;
      show("error", navigator.onLine === false ? say.offline : say.error, "", true);
      return false;
    }
    if (!response.ok) {
      const final = response.status === 404 || response.status === 409 || response.status === 410;
      wanted = final ? null : event;
      answered = answered || final;
      show("error", answer.detail || say.error, "", !final);
      return false;
    }
    if (typeof answer.view === "string") view.value = answer.view;
    answered = true;
    // The value was used before, by a post whose answer was lost, with another score: say it again with the new value.
    if (answer.repeated && String(answer.score) !== body.get("score")) {
      wanted = wanted || event;
      return true;
    }
    saved = posting;
    if (answer.state === "closed") {
      show("error", answer.message || say.closed);
      return false;
    }
    form.dataset.state = "answered";
    // Thanks for the words do not name the score; the other thanks do.
    show("ok", answer.message || say.thanks, body.get("comment") ? answerInWords(answer.score || body.get("score")) : say.change);
    note.scrollIntoView({ block: "nearest" });
    return true;
  }

  // The first event that only a person can make. Pressing one of the choices waits for its click, so that the pressed
  // score is posted and not the one that the link chose.
  function firstSign(event, name) {
    if (!event.isTrusted || answered || busy || wanted || byArrow || !chosen()) return;
    const choice = choiceOf(event);
    if (choice && choice.value !== chosen()) {
      pressed = choice;
      return;
    }
    send(name);
  }

  const first = { capture: true, passive: true };
  addEventListener("pointerdown", (event) => {
    if (!event.isTrusted) return;
    byArrow = false;
    firstSign(event, event.pointerType === "touch" ? "touch" : "pointer");
  }, first);
  // A press on a choice that turned into scrolling, or ended beside it, chose nothing; it was a person all the same.
  for (const type of ["pointercancel", "pointerup"]) {
    addEventListener(type, (event) => {
      if (!event.isTrusted || !pressed) return;
      const same = type === "pointerup" && choiceOf(event) === pressed;
      pressed = null;
      if (!same) firstSign(event, event.pointerType === "touch" ? "touch" : "pointer");
    }, first);
  }
  addEventListener("wheel", (event) => firstSign(event, "scroll"), first);

  addEventListener("keydown", (event) => {
    if (!event.isTrusted || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["Shift", "Control", "Alt", "Meta", "CapsLock", "Escape"].includes(event.key)) return;
    const onChoice = event.target instanceof HTMLInputElement && event.target.name === "score";
    if (onChoice && event.key.startsWith("Arrow")) {
      // Arrow keys pass over scores on the way to another: the choice counts at Space, Enter, Send or on leaving.
      byArrow = true;
    } else if (onChoice && event.key === " ") {
      event.preventDefault();
      event.target.checked = true;
      byArrow = false;
      send("key");
    } else if (/^[1-5]$/.test(event.key) && event.target !== comment) {
      form.querySelector(`input[value="${event.key}"]`).checked = true;
      byArrow = false;
      send("key");
    } else if (!(onChoice && event.key === "Enter") && event.target.type !== "submit") {
      firstSign(event, "key");
    }
  }, true);

  form.querySelector("fieldset").addEventListener("focusout", (event) => {
    if (!event.isTrusted || !byArrow || choiceOf({ target: event.relatedTarget })) return;
    if (!document.hasFocus()) return;
    byArrow = false;
    send("key");
  });

  let click = null;
  addEventListener("click", (event) => {
    if (!event.isTrusted) return;
    click = event;
    const choice = choiceOf(event);
    // The browser clicks a radio button for each arrow key, too; those are no choice yet.
    if (!choice || byArrow) return;
    pressed = null;
    choice.checked = true;
    send(nameOf(event));
  }, true);

  function nameOf(click) {
    return click.pointerType === "touch" ? "touch" : click.detail === 0 && !click.pointerType ? "key" : "pointer";
  }

  // A submit event is trusted even if a script clicked the button, so the click before it has to be.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const person = click && event.timeStamp - click.timeStamp < 1000 && click;
    click = null;
    byArrow = false;
    if (event.isTrusted && person) send(nameOf(person));
  });

  let shown = 0;
  const watch = setInterval(() => {
    if (answered || busy || wanted) clearInterval(watch);
    else if (chosen() && !document.hidden && ++shown >= Number(say.auto)) {
      clearInterval(watch);
      // What a person does next waits for it, and goes out with the value that this brings back.
      quiet = deliver(fields("none"))
        .then((response) => (response.ok ? response.json() : {}))
        .then((answer) => {
          if (answer.view) view.value = answer.view;
        })
        .catch(() => {});
    }
  }, 1000);

  addEventListener("online", (event) => {
    if (event.isTrusted && wanted && !busy) send(wanted);
  });
})();
