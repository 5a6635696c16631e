"use strict";
// A blind vote. Votes are kept in this page until they are saved as a file; nothing is sent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const { items, earlier, later } = data;
  const votes = new Array(items.length).fill(null); // "1", "2", "0", or null
  let at = 0, unsaved = false, shown = false;
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Which version a vote went to: "tie", or the name of the one whose answer stood there.
  const winner = (i) => {
    if (votes[i] === "0") return "tie";
    return (votes[i] === "1") === (items[i].first === 1) ? later : earlier;
  };
  const voted = () => votes.filter((vote) => vote !== null).length;
  const say = (text) => { $("message").textContent = text; $("message").hidden = !text; };

  const show = () => {
    const item = items[at];
    $("prompt").replaceChildren(...item.turns.map(([role, text]) => {
      const pre = make("pre", "prose");
      pre.dir = "auto";
      if (item.turns.length > 1) pre.append(make("div", "role", role));
      pre.append(text);
      return pre;
    }));
    [["one", "1"], ["two", "2"]].forEach(([id, vote], i) => {
      const pre = $(id).querySelector("pre");
      pre.textContent = item.texts[i];
      pre.scrollTop = 0;
      $(id).classList.toggle("chosen", votes[at] === vote);
    });
    for (const vote of ["0", "1", "2"]) $(`vote-${vote}`).setAttribute("aria-pressed", String(votes[at] === vote));
    $("place").textContent = `${at + 1} of ${items.length}, ${voted()} voted`;
    $("progress").value = voted() / items.length;
    $("back").disabled = at === 0;
    $("on").disabled = at === items.length - 1;
    if (shown) result();
  };
  const go = (to) => {
    at = Math.max(0, Math.min(items.length - 1, to));
    show();
    scrollTo(0, 0);
  };
  const vote = (choice) => {
    votes[at] = choice;
    unsaved = true;
    const after = votes.findIndex((one, i) => one === null && i > at);
    const next = after >= 0 ? after : votes.indexOf(null);
    say(next < 0 ? "You have voted on all of them. Save the votes, or ask for the result." : "");
    if (next < 0) show(); else go(next);
  };

  // The exact sign test: twice the smaller tail of a fair coin; ties say nothing.
  const signTest = (wins, losses) => {
    const n = wins + losses;
    const logs = [0];
    for (let i = 1; i <= n; i++) logs.push(logs[i - 1] + Math.log(i));
    let tail = 0;
    for (let k = 0; k <= Math.min(wins, losses); k++) tail += Math.exp(logs[n] - logs[k] - logs[n - k] - n * Math.LN2);
    return Math.min(1, 2 * tail);
  };
  const tally = () => {
    const found = { wins: 0, losses: 0, ties: 0 };
    votes.forEach((one, i) => {
      if (one === null) return;
      const name = winner(i);
      found[name === "tie" && one === "0" ? "ties" : name === later ? "wins" : "losses"] += 1;
    });
    return { ...found, p: signTest(found.wins, found.losses) };
  };
  const result = () => {
    const { wins, losses, ties, p } = tally();
    const list = make("dl");
    for (const [name, count] of [[`${later} was better`, wins], [`${earlier} was better`, losses], ["ties", ties]]) {
      const one = make("div");
      one.append(make("dt", "", name), make("dd", "", String(count)));
      list.append(one);
    }
    const sure = p < 0.05 ? `${wins > losses ? later : earlier} is preferred` : "these votes cannot tell which one is preferred";
    const number = p < 0.001 ? "p < .001" : `p = ${p.toFixed(3).replace(/^0/, "")}`;
    const left = `${data.equal} items with equal answers were left out`;
    const rest = data.different > items.length ? `, and ${data.different - items.length} by lot.` : ".";
    $("result").replaceChildren(
      make("h2", "", `The result of ${voted()} votes`), list,
      make("p", "", `By the exact sign test (${number}), ${sure}.`),
      make("p", "quiet", left + rest));
    $("result").hidden = false;
  };

  const save = () => {
    const found = votes.map((one, i) => one && { suite: items[i].suite, item: items[i].item, better: winner(i), tie: one === "0" }).filter(Boolean);
    const file = { format: data.format, page: data.page, earlier, later, saved: new Date().toISOString(), votes: found };
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 2) + "\n"], { type: "application/json" }));
    link.download = "votes.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
  };
  const load = (text) => {
    let file;
    try { file = JSON.parse(text); } catch { file = null; }
    if (!file || file.page !== data.page || !Array.isArray(file.votes)) {
      say("These are not votes of this page. Choose the votes.json that was saved from it.");
      return;
    }
    const places = new Map(items.map((item, i) => [JSON.stringify([item.suite, item.item]), i]));
    let taken = 0;
    for (const one of file.votes) {
      const i = places.get(JSON.stringify([one?.suite, one?.item]));
      if (i === undefined || !(one.tie || [earlier, later].includes(one.better))) continue;
      votes[i] = one.tie ? "0" : (one.better === later) === (items[i].first === 1) ? "1" : "2";
      taken += 1;
    }
    unsaved = false;
    say(`${taken} votes were loaded.`);
    const next = votes.indexOf(null);
    go(next < 0 ? 0 : next);
  };

  for (const choice of ["0", "1", "2"]) $(`vote-${choice}`).addEventListener("click", () => vote(choice));
  $("back").addEventListener("click", () => go(at - 1));
  $("on").addEventListener("click", () => go(at + 1));
  $("save").addEventListener("click", save);
  $("ask").addEventListener("click", () => { shown = true; result(); scrollTo(0, 0); });
  $("load").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) load(await file.text());
    event.target.value = "";
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["0", "1", "2"].includes(event.key)) vote(event.key);
    else if (event.key === "ArrowLeft") go(at - 1);
    else if (event.key === "ArrowRight") go(at + 1);
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  show();
})();
