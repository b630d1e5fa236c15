// Draws what GET /v1/summary says. Every text goes in as text, never as HTML, and nothing is replaced that stays the same.
"use strict";

(() => {
  const { board } = window;
  const { words } = board;
  const at = (id) => document.getElementById(id);

  function element(name, props = {}, ...children) {
    const { data = {}, style = {}, ...rest } = props;
    const node = Object.assign(document.createElement(name), rest);
    Object.assign(node.dataset, data);
    // Through the object model: the page's policy allows no style in markup.
    for (const [property, value] of Object.entries(style)) node.style.setProperty(property, value);
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  }

  function put(id, text) {
    const node = at(id);
    if (node.textContent !== text) node.textContent = text;
  }

  // Puts the new content in only if it is another.
  function swap(id, ...content) {
    const next = document.createElement("div");
    next.append(...content.filter(Boolean));
    const node = at(id);
    const same = node.childNodes.length === next.childNodes.length && Array.from(next.childNodes).every((child, n) => child.isEqualNode(node.childNodes[n]));
    if (!same) node.replaceChildren(...next.childNodes);
  }

  const fact = (name, ...value) => element("div", {}, element("dt", { textContent: name }), element("dd", {}, ...value));
  const bar = (part, tone) =>
    element("span", { className: "track", ariaHidden: "true", data: tone ? { tone } : {} }, element("span", { className: "fill", style: { "--part": `${Math.max(0, Math.min(100, part)).toFixed(2)}%` } }));
  const column = (text, className = "") => element("th", { scope: "col", textContent: text, className });
  const place = (estimate) => ({ "--low": `${estimate.low}%`, "--high": `${estimate.high}%`, "--at": `${estimate.value}%` });

  // CSAT

  function score(total, minimum) {
    const { ratings } = total;
    const csat = ratings?.csat;
    const state = total.insufficient ? "few" : csat ? "ok" : "none";
    at("csat").dataset.state = state;
    put("csat-value", { few: "Too few ratings", none: "No ratings yet", ok: csat ? words.bare(csat.value) : "" }[state]);
    put("csat-unit", csat ? "%" : "");
    const between = {
      few: `Fewer than ${words.count(minimum)}, the minimum that is set: any number would say more about chance than about the service.`,
      none: "The first answer will show here.",
      ok: csat ? `95${words.space}% certain between ${words.bare(csat.low)} and ${words.percent(csat.high)}, from ${words.count(ratings.n)} ${ratings.n === 1 ? "rating" : "ratings"}.` : "",
    }[state];
    put("csat-between", between);
    const scale = at("csat-scale");
    scale.toggleAttribute("data-empty", !csat);
    if (csat) for (const [name, value] of Object.entries(place(csat))) scale.style.setProperty(name, value);
    if (!csat) return swap("score-facts");
    const { dsat, mean, bounds } = ratings;
    swap("score-facts",
      fact("DSAT, ratings 1 and 2", words.percent(dsat.value)),
      fact("Mean", mean.value.toFixed(2), mean.low === undefined ? "" : element("span", { className: "dim", textContent: ` ${mean.low.toFixed(2)} to ${mean.high.toFixed(2)}` })),
      bounds && bounds.silent ? fact(`CSAT if all ${words.count(bounds.silent)} silent were unhappy, or happy`, `${words.bare(bounds.csat_if_unhappy)} to ${words.percent(bounds.csat_if_happy)}`) : null);
  }

  // The five counts

  function counts(total) {
    const ratings = total.ratings || { n: 0, counts: {} };
    put("counts-n", total.insufficient ? "too few to show" : `n = ${words.count(ratings.n)}`);
    const rows = [5, 4, 3, 2, 1].map((value) => {
      const n = ratings.counts[value] || 0;
      const part = ratings.n ? (100 * n) / ratings.n : 0;
      return element("tr", {},
        element("th", { scope: "row" }, element("b", { textContent: value }), words.scores[value]),
        element("td", {}, bar(part, words.tone(value))),
        element("td", { className: "n", textContent: total.insufficient ? "–" : words.count(n), data: { score: value } }),
        element("td", { className: "share", textContent: ratings.n ? words.percent(part) : "–" }));
    });
    const head = element("thead", { className: "unseen" }, element("tr", {}, column("Rating"), column("Bar"), column("Count"), column("Share")));
    const out = [
      ratings.suspect ? `answers of ${words.count(ratings.suspect)} ${ratings.suspect === 1 ? "customer" : "customers"} held back: they look like a machine’s` : "",
      ratings.excluded ? `${words.count(ratings.excluded)} taken out by a manager` : "",
    ].filter(Boolean);
    swap("counts", element("table", {}, element("caption", { className: "unseen", textContent: "Ratings by score" }), head, element("tbody", {}, ...rows)),
      out.length ? element("p", { className: "counts-note", textContent: `Not counted: ${out.join("; ")}.` }) : null);
  }

  // Response

  const rates = [
    ["of_requested", "Answered of requested", "who were to be asked"],
    ["of_delivered", "Answered of delivered", "whose ask arrived"],
    ["of_reached", "Answered of reached", "who had it in front of them"],
  ];

  // Where only the answer proves that an ask arrived, all who are known to have it have answered: such channels are no part of a rate.
  const leftOut = (shares, name) => shares.left_out?.[name] || [];
  const rated = (shares, name) => (shares[name] ? words.percent(shares[name].value) : leftOut(shares, name).length ? "not known" : "–");

  // The same in a narrow column.
  const narrow = (text) => (text === "not known" ? [element("span", { ariaHidden: "true", textContent: "–" }), element("span", { className: "unseen", textContent: text })] : [text]);

  function basis(shares, name, meaning) {
    const share = shares[name];
    const others = leftOut(shares, name).toSorted(words.byChannel).map(words.channel).join(", ");
    if (!share) return others ? `only an answer tells: ${others}` : `nobody yet ${meaning}`;
    return `${words.count(share.answered)} of ${words.count(share.of)} ${meaning}${others ? `, without ${others}` : ""}`;
  }

  function response({ asked, response: shares, ratings }) {
    const rows = rates.map(([name, label, meaning]) => {
      const share = shares[name];
      return element("tr", {},
        element("th", { scope: "row" }, label, element("span", { className: "dim", textContent: basis(shares, name, meaning) })),
        element("td", {}, element("b", { textContent: rated(shares, name), data: { rate: name, known: String(Boolean(share)) } }),
          element("span", { className: "dim", textContent: share ? words.range(share) : "" })));
    });
    const head = element("thead", { className: "unseen" }, element("tr", {}, column("Rate"), column("Value and 95 % interval")));
    swap("response", element("table", {}, element("caption", { className: "unseen", textContent: "Response rates" }), head, element("tbody", {}, ...rows)));
    const median = ratings?.median_seconds;
    swap("response-facts",
      median ? fact("Half answered within", words.lasting(median.value)) : null,
      ratings && ratings.comment_rate !== null ? fact("With words", words.percent(ratings.comment_rate)) : null,
      asked.failed ? fact("Could not be sent", words.count(asked.failed)) : null);
  }

  // From asking to answer: a step a row, so that each column falls like a funnel.

  const steps = [["requested", "Scheduled"], ["sent", "Sent"], ["delivered", "Delivered"], ["reached", "Reached"], ["answered", "Answered"]];

  function funnel(groups, total) {
    if (!total.asked.requested) return swap("funnel", element("p", { className: "empty", textContent: "Nobody has been asked yet." }));
    const known = groups.filter((group) => group.asked.requested).sort((a, b) => words.byChannel(a.by.channel, b.by.channel));
    const columns = known.length === 1 ? known : [{ by: {}, ...total }, ...known];
    const name = (group) => (group.by.channel === undefined ? "All" : words.channel(group.by.channel));
    const rows = steps.map(([step, label]) => element("tr", {}, element("th", { scope: "row", textContent: label }), ...columns.map((group) => {
      const n = group.asked[step];
      return element("td", { data: { step, channel: group.by.channel || "" }, className: group.by.channel === undefined ? "all" : "" }, words.count(n), bar(group.asked.requested ? (100 * n) / group.asked.requested : 0));
    })));
    const shares = rates.map(([rate, label]) => element("tr", {}, element("th", { scope: "row", textContent: label }), ...columns.map((group) =>
      element("td", { className: group.by.channel === undefined ? "all" : "" }, ...narrow(rated(group.response, rate))))));
    const head = element("thead", {}, element("tr", {}, element("td", {}), ...columns.map((group) => column(name(group)))));
    swap("funnel", element("table", {}, element("caption", { className: "unseen", textContent: "Requests by the steps they came through, and response rates, by channel" }), head, element("tbody", {}, ...rows), element("tbody", {}, ...shares)));
  }

  // Touchpoint by channel. The roles are said once more, because a phone shows the table as a grid, which would lose them.
  // A cell is flagged only if its whole interval lies to one side of what all together have.

  const saying = (text) => element("td", { role: "cell" }, element("span", { className: "dim", textContent: text }));

  function cell(group, all) {
    if (!group) return saying("none ended");
    if (group.insufficient) return saying("too few");
    const { csat, n } = group.ratings;
    if (!csat) return saying("no ratings");
    const side = !all ? "" : csat.high < all.value ? "bad" : csat.low > all.value ? "good" : "";
    return element("td", { role: "cell", data: { touchpoint: group.by.touchpoint, channel: group.by.channel } },
      element("span", { className: "dim", textContent: `n${words.space}${words.count(n)} ` }), element("b", { textContent: words.percent(csat.value) }),
      element("span", { className: "range", ariaHidden: "true", style: place(csat) }, element("span", { className: "band" }), element("span", { className: "tick" })),
      element("span", { className: "dim", textContent: `${words.bare(csat.low)} to ${words.bare(csat.high)}` }),
      side ? element("span", { className: "flag", data: { tone: side }, textContent: side === "bad" ? "below the rest" : "above the rest" }) : null);
  }

  const rowsMax = 12;

  function matrix(groups, total) {
    const channels = [...new Set(groups.map((group) => group.by.channel))].sort(words.byChannel);
    const touchpoints = new Map();
    for (const group of groups) {
      const row = touchpoints.get(group.by.touchpoint) || { n: 0, cells: {} };
      row.n += group.ratings?.n || 0;
      row.cells[group.by.channel] = group;
      touchpoints.set(group.by.touchpoint, row);
    }
    const all = total.ratings?.csat;
    const sorted = [...touchpoints].sort(([a, one], [b, two]) => two.n - one.n || a.localeCompare(b));
    if (!sorted.length) return swap("matrix", element("p", { className: "empty", textContent: "No conversation has ended yet." }));
    const rows = sorted.slice(0, rowsMax).map(([touchpoint, row]) => element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader", dir: "auto", textContent: touchpoint || "none named" }), ...channels.map((channel) => cell(row.cells[channel], all))));
    const titles = [column("Touchpoint"), ...channels.map((channel) => column(words.channel(channel)))];
    for (const title of titles) title.role = "columnheader";
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...titles));
    const more = sorted.length - rowsMax;
    const style = { "--channels": channels.length };
    swap("matrix", element("table", { role: "table", style }, element("caption", { className: "unseen", textContent: "CSAT by touchpoint and channel" }), head, element("tbody", { role: "rowgroup" }, ...rows)),
      more > 0 ? element("p", { className: "counts-note", textContent: `and ${words.count(more)} more touchpoints with fewer ratings` }) : null);
  }

  // Why nothing was sent

  function reasons({ asked }) {
    const list = Object.entries(asked.suppressed_by).filter(([, n]) => n > 0).sort(([a, one], [b, two]) => two - one || a.localeCompare(b));
    put("reasons-n", asked.suppressed ? `${words.count(asked.suppressed)} of ${words.count(asked.triggers)} conversations` : "");
    at("reasons-none").hidden = list.length > 0;
    put("reasons-none", asked.triggers ? "Everybody was asked." : "No conversation has ended yet.");
    const rows = list.map(([reason, n]) => element("tr", {},
      element("th", { scope: "row" }, words.reasons[reason] || "Another rule of the desk.", element("span", { className: "dim", textContent: reason })),
      element("td", { textContent: words.count(n), data: { reason } })));
    const head = element("thead", { className: "unseen" }, element("tr", {}, column("Reason"), column("Conversations")));
    swap("reasons", list.length ? element("table", {}, element("caption", { className: "unseen", textContent: "Conversations not asked about, by reason" }), head, element("tbody", {}, ...rows)) : null);
  }

  // A part that could not be read says so. Its numbers stay if they are of what is chosen now, and are hidden if they are not.
  function trouble(name, view, error) {
    const card = document.querySelector(`.card.${name}`);
    const old = card.querySelector(":scope > .trouble");
    if (!error) {
      card.shows = view;
      delete card.dataset.trouble;
      return old?.remove();
    }
    card.dataset.trouble = card.shows === view ? "old" : "none";
    const text = card.shows === view ? `Not up to date. ${error.message}` : `This part cannot be shown. ${error.message}`;
    if (old?.textContent === text) return;
    old?.remove();
    card.querySelector("h2").after(element("p", { className: "said trouble", role: "status", textContent: text }));
  }

  Object.assign(board, { at, element, put, swap, column });
  board.draw = { score, counts, response, funnel, matrix, reasons, trouble };
})();
