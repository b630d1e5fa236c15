// The board: who looks at it, what is chosen, and when it asks again. The key is kept for this tab, or for this browser if that
// is ticked; it goes into no address and into no part of the page.
"use strict";

(() => {
  const { board } = window;
  const { at, draw, put, words } = board;
  const place = "onefive.board.key";
  const choices = ["channel", "team", "queue", "touchpoint"];
  const periods = { today: ["Today", 0], "7d": ["Last 7 days", 6], "30d": ["Last 30 days", 29] };
  const trendDays = 30;
  const commentsMax = 8;
  const lowMax = 200;
  const wall = new URLSearchParams(location.search).get("display") === "wall";

  // How often it asks: soon after an event, but leaving the service three quarters of the time; now and then without events.
  const soonest = 150;
  const share = 3;
  const pollEvery = 10_000;
  const liveEvery = 60_000;
  const sayEvery = 20_000;

  let session = null;
  let name = "";

  // The key

  function stored() {
    try {
      return sessionStorage.getItem(place) || localStorage.getItem(place) || "";
    } catch {
      return "";
    }
  }

  function store(key, keep) {
    try {
      sessionStorage.removeItem(place);
      localStorage.removeItem(place);
      if (key) (keep ? localStorage : sessionStorage).setItem(place, key);
    } catch {
      // A browser that keeps nothing asks again after a reload.
    }
  }

  function door(said = "") {
    session?.stop();
    session = null;
    store("");
    at("board").hidden = true;
    at("state").hidden = true;
    at("door").hidden = false;
    put("desk", "board");
    document.title = "onefive board";
    put("door-said", said);
    at("key").value = "";
    at("enter").disabled = false;
    at("key").focus();
  }

  const denied = { 401: "This key is not known here. It may be mistyped, or revoked.", 403: "This key may not read ratings: the scope read is missing." };

  async function enter(key, keep) {
    at("enter").disabled = true;
    put("door-said", "");
    try {
      const who = await board.call(key, "v1/key");
      if (!who.scopes.includes("read")) return door(denied[403]);
      store(key, keep);
      at("key").value = "";
      const asked = !at("door").hidden;
      session = open(key, who);
      // What had the focus is gone with the door.
      if (asked) at("content").focus();
    } catch (error) {
      if (denied[error.status]) return door(denied[error.status]);
      put("door-said", `${error.message} Try again in a moment.`);
      at("enter").disabled = false;
      at("door").hidden = false;
      return false;
    }
    return true;
  }

  at("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(at("key").value.trim(), at("keep").checked);
  });
  at("sign-out").addEventListener("click", () => door());

  // What is chosen, in the address, so that a view can be bookmarked.

  function chosen() {
    const query = new URLSearchParams(location.search);
    const found = { period: periods[query.get("period")] ? query.get("period") : "today", minimum: /^\d{1,3}$/.test(query.get("minimum")) ? query.get("minimum") : "" };
    for (const name of choices) found[name] = query.get(name) || "";
    return found;
  }

  function choose(changes) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value && !(name === "period" && value === "today")) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    showChosen();
    session?.refresh(true);
  }

  function showChosen() {
    const now = chosen();
    for (const radio of at("filters").elements.period) radio.checked = radio.value === now.period;
    for (const name of choices) {
      const select = at(name);
      if (now[name] && !Array.from(select.options, (option) => option.value).includes(now[name])) select.append(new Option(name === "channel" ? words.channel(now[name]) : now[name], now[name]));
      select.value = now[name];
    }
    at("clear").hidden = !choices.some((name) => now[name]);
    put("title", periods[now.period][0]);
  }

  function offer(groups) {
    for (const name of choices) {
      const select = at(name);
      const values = [...new Set(groups[name])].filter((value) => value && value !== "_other").sort(name === "channel" ? words.byChannel : undefined);
      const had = Array.from(select.options, (option) => option.value).slice(1);
      // An open list is left alone.
      if (document.activeElement === select || values.join("\n") === had.join("\n")) continue;
      select.replaceChildren(new Option("All", ""), ...values.map((value) => new Option(name === "channel" ? words.channel(value) : value, value)));
    }
    showChosen();
  }

  at("filters").addEventListener("change", (event) => choose({ [event.target.name]: event.target.value }));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("clear").addEventListener("click", () => {
    choose(Object.fromEntries(choices.map((name) => [name, ""])));
    at("channel").focus();
  });
  window.addEventListener("popstate", () => {
    showChosen();
    session?.refresh(true);
  });

  // A desk that is being watched.

  function open(key, who) {
    const zone = who.timezone || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    const ahead = Date.parse(who.now) - performance.now();
    const now = () => performance.now() + ahead;
    const stop = new AbortController();
    let live = "starting";
    let timer = 0;
    let busy = false;
    let again = false;
    let asking = new AbortController();
    let offered = -Infinity;
    let said = { at: -Infinity, text: "" };
    let lows = null;

    board.when = (text) => words.instant(text, zone, board.midnight(zone, now()));
    board.mayAct = who.scopes.includes("send");
    board.act = async (id, step, body) => {
      await board.call(key, `v1/follow-ups/${encodeURIComponent(id)}/${step}`, { method: "POST", body });
      refresh();
    };
    board.name = () => name;
    board.keepName = (given) => {
      name = given;
    };

    function lamp(state, text) {
      at("live").dataset.live = state;
      put("live-text", text);
    }

    function query(more, filters) {
      const all = { ...more, timezone: zone };
      for (const name of [...choices, "minimum"]) if (filters[name]) all[name] = filters[name];
      return `v1/summary?${new URLSearchParams(all)}`;
    }

    async function ask() {
      const filters = chosen();
      const ms = now();
      const iso = (back) => new Date(board.midnight(zone, ms, back)).toISOString();
      const from = iso(periods[filters.period][1]);
      const get = (path) => board.call(key, path, { signal: AbortSignal.any([stop.signal, asking.signal]) });
      const only = Object.fromEntries(choices.filter((name) => filters[name]).map((name) => [name, filters[name]]));
      const offering = ms - offered > liveEvery;
      const monthly = (group_by) => get(query({ group_by, from: iso(trendDays - 1) }, {}));
      const lowest = (state, more) => get(`v1/follow-ups?${new URLSearchParams({ ...only, state, ...more })}`);
      // The newest of those that wait; of more than a page only how long the oldest waits.
      const waiting = async (state) => {
        const page = await lowest(state, { order: "newest", limit: lowMax });
        const oldest = page.next ? (await lowest(state, { limit: 1 })).items : [];
        return { ...page, oldest };
      };
      const [channels, cells, days, comments, low, ...offers] = await parts([
        get(query({ group_by: "channel", from }, filters)),
        get(query({ group_by: "touchpoint,channel", from }, filters)),
        get(query({ group_by: "day", from: iso(trendDays - 1) }, filters)),
        get(`v1/comments?${new URLSearchParams({ ...only, from, limit: commentsMax })}`),
        Promise.all(["open", "taken"].map(waiting)),
        ...(offering ? [monthly("channel,touchpoint"), monthly("team,queue")] : []),
      ]);
      const unread = offers.find((answer) => answer.error);
      if (offering && !unread) {
        offered = ms;
        const groups = offers.flatMap(({ answer }) => answer.groups.map((group) => group.by));
        offer(Object.fromEntries(choices.map((name) => [name, groups.map((by) => by[name] || "")])));
      }
      return { filters, ms, from, channels, cells, days, comments, low, unread };
    }

    // One that fails takes no other with it. What ends everything does: a key that is refused, a new choice, a service that is away.
    async function parts(calls) {
      const settled = await Promise.allSettled(calls);
      const errors = settled.filter((one) => one.status === "rejected").map((one) => one.reason);
      const last = errors.find((error) => denied[error.status] || !(error instanceof board.Refused));
      const away = errors.length === settled.length && errors.every((error) => error.status === 0 || error.status >= 500);
      if (last || away) throw last || errors[0];
      return settled.map(({ value, reason }) => ({ answer: value, error: reason }));
    }

    function show({ filters, ms, from, channels, cells, days, comments, low, unread }) {
      const view = JSON.stringify([filters, from]);
      const part = (names, { answer, error }, put) => {
        for (const name of names) draw.trouble(name, view, error);
        if (!error) put(answer);
      };
      const chosenParts = choices.filter((name) => filters[name]).map((name) => (name === "channel" ? words.channel(filters[name]) : filters[name]));
      put("title", periods[filters.period][0]);
      put("scope", [`${words.day(board.days(zone, ms, 1)[0], true)}, ${zone.replaceAll("_", " ")}`, ...chosenParts, ...(unread ? ["the lists to choose from could not be read"] : [])].join(" · "));
      at("board").hidden = false;
      part(["score", "counts", "response", "funnel", "reasons"], channels, ({ total, groups, minimum }) => {
        draw.score(total, minimum);
        draw.counts(total);
        draw.response(total);
        draw.funnel(groups, total);
        draw.reasons(total);
        const csat = total.ratings?.csat;
        document.title = `${csat ? words.percent(csat.value) : "–"} · ${who.name} · onefive`;
      });
      part(["matrix"], cells, ({ groups, total }) => draw.matrix(groups, total));
      part(["words"], comments, ({ items }) => draw.comments(items));
      part(["low"], low, (pages) => draw.low(pages.flatMap((page) => page.items), pages.flatMap((page) => page.oldest), pages.some((page) => page.next)));
      part(["trend"], days, ({ groups }) => draw.trend(groups, board.days(zone, ms, trendDays)));
      put("as-of", new Date(ms).toLocaleTimeString("en-GB", { timeZone: zone }));
      if (channels.answer && low.answer) say(channels.answer.total, low.answer.flatMap((page) => page.items));
    }

    // For who cannot see the numbers move: the gist, only when it changed, and not more often than can be heard.
    function say({ ratings, insufficient }, low) {
      const fresh = lows ? low.filter((item) => !lows.has(item.id)).length : 0;
      lows = new Set(low.map((item) => item.id));
      const csat = insufficient ? "too few ratings to show" : ratings.csat ? `CSAT ${words.percent(ratings.csat.value)} of ${ratings.n}` : "no ratings yet";
      const text = fresh ? `${csat}; ${fresh} new low ${fresh === 1 ? "score" : "scores"}` : csat;
      if (text === said.text || performance.now() - said.at < sayEvery) return;
      said = { at: performance.now(), text };
      put("say", text);
    }

    async function refresh(chosenAnew = false) {
      if (busy) {
        again = true;
        // An answer to what is not chosen any more is not waited for.
        if (chosenAnew) asking.abort();
        return;
      }
      clearTimeout(timer);
      asking = new AbortController();
      busy = true;
      again = false;
      const began = performance.now();
      try {
        const answers = await ask();
        if (stop.signal.aborted) return;
        show(answers);
        if (live !== "live") lamp(live === "starting" ? "starting" : "poll", live === "starting" ? "Connecting" : `Every ${pollEvery / 1000} seconds`);
        else lamp("live", "Live");
      } catch (error) {
        if (stop.signal.aborted) return;
        if (asking.signal.aborted) {
          busy = false;
          return refresh();
        }
        if (denied[error.status]) return door(denied[error.status]);
        if (!(error instanceof board.Refused)) console.error(error);
        lamp("offline", error.status ? "Service in trouble" : "Offline");
      }
      busy = false;
      const took = performance.now() - began;
      clearTimeout(timer);
      timer = again ? setTimeout(() => refresh(), Math.max(soonest, took * share)) : setTimeout(() => refresh(), live === "live" ? liveEvery : pollEvery);
    }

    // Events come in crowds: one look serves them all.
    function soon() {
      if (document.visibilityState !== "visible") {
        again = true;
        return;
      }
      if (busy || again) {
        again = true;
        return;
      }
      again = true;
      clearTimeout(timer);
      timer = setTimeout(() => refresh(), soonest);
    }

    at("door").hidden = true;
    at("state").hidden = false;
    put("desk", who.name);
    showChosen();
    lamp("starting", "Connecting");
    refresh();
    const line = board.follow(key, {
      open: () => {
        live = "live";
        soon();
      },
      event: soon,
      lost: () => {
        if (live === "live") lamp("poll", "Reconnecting");
        live = "lost";
        soon();
      },
      refused: (status) => door(denied[status]),
    });
    const waken = () => {
      if (document.visibilityState === "visible") refresh();
    };
    const online = () => line.again();
    document.addEventListener("visibilitychange", waken, { signal: stop.signal });
    window.addEventListener("online", online, { signal: stop.signal });
    window.addEventListener("offline", () => lamp("offline", "Offline"), { signal: stop.signal });

    return {
      refresh,
      stop: () => {
        clearTimeout(timer);
        line.stop();
        stop.abort();
      },
    };
  }

  // A display that starts before its network does keeps trying; it does not forget its key.
  async function resume(key, kept) {
    const entered = await enter(key, kept);
    if (entered === false && stored() === key) setTimeout(() => session || resume(key, kept), pollEvery);
  }

  if (wall) document.documentElement.dataset.display = "wall";
  const key = stored();
  const kept = Boolean(key) && !sessionStorage.getItem(place);
  if (!key) door();
  else resume(key, kept);
})();
