// The words and figures of the board.
"use strict";

(() => {
  const { board } = window;

  const channels = { sms: "SMS", voice: "Call", chat: "Chat", email: "Mail" };
  const scores = { 1: "very poor", 2: "poor", 3: "okay", 4: "good", 5: "excellent" };
  const order = Object.keys(channels);

  // Why somebody was not asked, for people who do not know our words.
  const reasons = {
    duplicate: "This closing of the conversation had been told to us before.",
    open_request_exists: "The customer still had an earlier question of ours unanswered.",
    cap_contact: "The customer has been asked often enough lately.",
    cap_desk: "The desk has asked as often as it may on one day.",
    sampled_out: "Only a sample is asked, and this one was not in it.",
    hold_out: "This customer is in the share that is never asked, for comparison.",
    opted_out: "The customer does not want to be asked.",
    no_address: "The desk knew no address to write to.",
    address_internal: "The address is one of the desk’s own.",
    country_not_allowed: "The customer’s country is not on the desk’s list.",
    channel_not_configured: "Nothing is set up to send on this channel.",
    window_closed: "The time in which the channel lets us write was over.",
    quiet_hours: "It was night where the customer is.",
    context_hold: "The desk asked us to leave the customer alone this time.",
    no_agent_reply: "Nobody had answered the customer.",
    auto_resolved: "The conversation was closed by a machine.",
  };

  const space = "\u00a0";
  const count = (n) => Number(n || 0).toLocaleString("en-US");

  // Whole percents, but for what would claim all or nothing.
  function bare(value) {
    const whole = Math.round(value);
    return (whole === 100 && value < 100) || (whole === 0 && value > 0) ? value.toFixed(1) : String(whole);
  }
  const percent = (value) => `${bare(value)}${space}%`;

  function range(estimate) {
    return estimate.low === undefined ? "" : `${bare(estimate.low)} to ${percent(estimate.high)}`;
  }

  function lasting(seconds) {
    if (seconds < 90) return `${Math.round(seconds)}${space}s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)}${space}min`;
    if (seconds < 129_600) return `${(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0)}${space}h`;
    return `${(seconds / 86_400).toFixed(1)}${space}days`;
  }

  // Today by the clock, earlier with the day.
  function instant(text, zone, today) {
    const at = new Date(text);
    const clock = { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    if (at.getTime() >= today) return at.toLocaleTimeString("en-GB", clock);
    return at.toLocaleString("en-GB", { ...clock, weekday: "short", day: "numeric", month: "short" });
  }

  function day(text, long) {
    const shape = long ? { weekday: "short", day: "numeric", month: "short" } : { day: "numeric", month: "short" };
    return new Date(`${text}T00:00:00Z`).toLocaleDateString("en-GB", { timeZone: "UTC", ...shape });
  }

  const tone = (score) => (score > 3 ? "good" : score < 3 ? "bad" : "middle");
  const channel = (name) => channels[name] || name;
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  const byChannel = (a, b) => rank(a) - rank(b) || a.localeCompare(b);

  board.words = { bare, byChannel, channel, count, day, instant, lasting, percent, range, reasons, scores, space, tone };
})();
