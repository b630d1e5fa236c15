// What the board knows of the service: calls with the key in a header (never in an address), the stream of events, and the
// hours of the desk. Nothing here touches the page.
"use strict";

window.board = {};

(() => {
  const { board } = window;
  const silence = 60_000;
  const longest = 30_000;

  // What an answer other than 2xx says. `status` is 0 if there was no answer.
  class Refused extends Error {
    constructor(status, text) {
      super(text);
      this.status = status;
    }
  }

  async function call(key, path, { method = "GET", body, signal } = {}) {
    const headers = { Authorization: `Bearer ${key}`, Accept: "application/json" };
    if (body) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refused(0, "The service cannot be reached.");
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Refused(response.status, answer?.detail || answer?.title || `The service answered ${response.status}.`);
    return answer;
  }

  // Server-sent events out of a body (the HTML standard, section 9.2.6). EventSource cannot send a header, so the board reads
  // the stream itself.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let event = { data: "" };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      yield null; // Something came, if only a comment: the line is alive.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data || event.id) yield event;
          event = { data: "" };
          continue;
        }
        const [, field, data] = /^([^:]*):? ?(.*)$/.exec(line) || [];
        if (field === "data") event.data += event.data ? `\n${data}` : data;
        if (field === "id") event.id = data;
        if (field === "event") event.type = data;
        if (field === "retry" && /^\d+$/.test(data)) event.retry = Number(data);
      }
    }
  }

  // Keeps the stream open until it is stopped. `on.open` after each connection, `on.event` for each event, `on.lost` when it
  // broke, `on.refused` when the key is not taken. Where it broke it goes on, from the last event that was seen.
  function follow(key, on) {
    const stop = new AbortController();
    let last = "";
    let wait = 1000;
    let timer = 0;

    async function connect() {
      const line = new AbortController();
      stop.signal.addEventListener("abort", () => line.abort(), { once: true });
      let watch = 0;
      const alive = () => {
        clearTimeout(watch);
        watch = setTimeout(() => line.abort(), silence);
      };
      try {
        alive();
        const headers = { Authorization: `Bearer ${key}`, Accept: "text/event-stream" };
        if (last) headers["Last-Event-ID"] = last;
        const response = await fetch("v1/events", { headers, signal: line.signal, cache: "no-store", credentials: "omit", redirect: "error" });
        if (response.status === 401 || response.status === 403) return on.refused(response.status);
        // The place that we had is none any more: from now on, then.
        if (response.status === 400) last = "";
        if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
        on.open();
        for await (const event of events(response.body)) {
          alive();
          wait = 1000;
          if (event?.id) last = event.id;
          if (event) on.event(event);
        }
      } catch {
        // A stream ends for many reasons; all are answered by coming back.
      } finally {
        clearTimeout(watch);
      }
      if (stop.signal.aborted) return;
      on.lost();
      timer = setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, longest);
    }

    const soon = () => {
      clearTimeout(timer);
      wait = 1000;
      if (!stop.signal.aborted) connect();
    };
    connect();
    return {
      stop: () => {
        clearTimeout(timer);
        stop.abort();
      },
      // The network is back: not to be waited for.
      again: soon,
    };
  }

  // The desk's day. The service says what time it is, so that a display with a wrong clock shows the same as all others.

  function offset(zone, ms) {
    const parts = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" }).formatToParts(ms);
    const part = (type) => Number(parts.find((one) => one.type === type).value);
    return Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second")) - Math.floor(ms / 1000) * 1000;
  }

  // Midnight of the day of `now` in that zone, `back` days before.
  function midnight(zone, now, back = 0) {
    const local = new Date(now + offset(zone, now));
    const wall = Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate() - back);
    const guess = wall - offset(zone, wall);
    return wall - offset(zone, guess);
  }

  // The last days in that zone as YYYY-MM-DD, oldest first.
  function days(zone, now, count) {
    const local = new Date(now + offset(zone, now));
    return Array.from({ length: count }, (_, at) =>
      new Date(Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate() - (count - 1 - at))).toISOString().slice(0, 10));
  }

  Object.assign(board, { Refused, call, follow, midnight, days });
})();
