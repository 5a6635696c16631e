"use strict";
// All answers: found, filtered and shown by fifties. Data becomes text nodes only, never markup.
(() => {
  const PAGE = 50, LINE = 240, LONG = 20000, MANY_SCORES = 12, PROBLEMS = 6;
  const data = JSON.parse(document.getElementById("data").textContent);
  const labels = data.labels;
  const $ = (id) => document.getElementById(id);
  const list = $("items");
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // A row of the data as an object; what it holds is explained in report_data.as_json.
  const answersOf = (found) => found.map((a) => a && {
    text: typeof a[0] === "number" ? found[a[0]][0] : a[0],
    cut: a[1] === 1, tokens: a[2], passed: a[3], failure: a[4], problems: a[5], scores: a[6], unscored: a[7],
  });
  const rows = data.rows.map(([suite, item, task, turns, wanted, answers]) => ({
    suite, item, task, turns, wanted, answers: answersOf(answers), haystack: null,
  }));
  const promptOf = (row) => row.turns.map(([role, text]) => [role, data.texts[text]]);
  const haystack = (row) => row.haystack ??= [
    row.item, row.task === null ? "" : data.tasks[row.task], data.suites[row.suite],
    ...promptOf(row).map((turn) => turn[1]), row.wanted ?? "",
    ...row.answers.map((a) => (a ? a.text : "")),
  ].join("\n").toLowerCase();

  // The filters.
  const fill = (id, all, entries) => {
    const select = $(id);
    select.append(new Option(all, ""));
    for (const [value, text] of entries) select.append(new Option(text, value));
    select.closest("label").hidden = entries.length === 0;
  };
  const numbered = (names) => names.map((name, i) => [String(i), name]);
  fill("suite", "all suites", numbered(data.suites));
  fill("task", "all tasks", numbered(data.tasks));
  fill("version", "any version", numbered(data.versions));
  fill("result", "any result", [["passed", "passed"], ["failed", "failed"], ["cut", "cut by the limit"], ["none", "not scored"]]);
  fill("kind", "any kind", numbered(data.kinds).map(([i, name]) => [i, labels[name] ?? name]));
  fill("differs", "same or not", [["result", "some pass, some fail"], ["text", "answers differ"]]);

  const RESULTS = {
    passed: (a) => a.passed === 1, failed: (a) => a.passed === 0,
    cut: (a) => a.cut, none: (a) => a.passed === null,
  };
  const DIFFERS = {
    result: (row) => new Set(row.answers.filter((a) => a && a.passed !== null).map((a) => a.passed)).size > 1,
    text: (row) => new Set(row.answers.filter(Boolean).map((a) => a.text)).size > 1,
  };
  const chosen = () => {
    const value = (id) => $(id).value;
    const words = value("find").toLowerCase().split(/\s+/).filter(Boolean);
    const [suite, task, version, result, kind, differs] = ["suite", "task", "version", "result", "kind", "differs"].map(value);
    const failed = (a, kind) => a.failure === kind || a.problems.some((p) => p[1] === kind);
    const fits = (a) => a && (!result || RESULTS[result](a)) && (!kind || failed(a, Number(kind)));
    return rows.filter((row) =>
      (!suite || row.suite === Number(suite)) && (!task || row.task === Number(task)) &&
      (!(result || kind) || (version ? fits(row.answers[Number(version)]) : row.answers.some(fits))) &&
      (!differs || DIFFERS[differs](row)) &&
      words.every((word) => haystack(row).includes(word)));
  };

  // One row, and what opens under it.
  const chip = (name, answer) => {
    const [kind, sign] = !answer || answer.passed === null ? ["", "–"] : answer.passed ? ["yes", "✓"] : ["no", "✗"];
    const chip = make("span", `badge ${kind}`, `${sign} ${name}${answer && answer.cut ? " (cut)" : ""}`);
    chip.title = !answer ? "not asked" : answer.passed === null ? "not scored" : answer.passed ? "passed" : "failed";
    return chip;
  };
  const longText = (text) => {
    const pre = make("pre", "", text.slice(0, LONG));
    pre.dir = "auto";
    if (text.length <= LONG) return [pre];
    const more = make("button", "button", `Show the other ${(text.length - LONG).toLocaleString("en")} characters`);
    more.type = "button";
    more.addEventListener("click", () => { pre.textContent = text; more.remove(); });
    return [pre, more];
  };
  const share = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  const side = (name, answer) => {
    const box = make("div", "side-by"), head = make("header");
    head.append(make("b", "", name));
    if (answer.passed !== null) head.append(make("span", `badge ${answer.passed ? "yes" : "no"}`, answer.passed ? "✓ passed" : "✗ failed"));
    if (answer.cut) head.append(make("span", "badge cut", "cut"));
    box.append(head, ...longText(answer.text));
    if (answer.problems.length) {
      const problems = make("ul");
      for (const [path, kind] of answer.problems.slice(0, PROBLEMS)) {
        const line = make("li");
        line.append(make("code", "", path), ` ${labels[data.kinds[kind]] ?? data.kinds[kind]}`);
        problems.append(line);
      }
      const more = answer.problems.length - PROBLEMS;
      if (more > 0) problems.append(make("li", "", `and ${more} more`));
      box.append(problems);
    }
    const scores = Object.entries(answer.scores).slice(0, MANY_SCORES).map(([key, value]) => `${key} ${share(value)}`);
    const missing = Object.entries(answer.unscored).map(([key, why]) => `${key} not scored: ${why}`);
    box.append(make("footer", "", [`${answer.tokens.toLocaleString("en")} tokens`, ...scores, ...missing].join(" · ")));
    return box;
  };
  const inside = (row) => {
    const box = make("div", "inside");
    const turns = promptOf(row);
    const last = turns.length - 1; // its own line shows it, where it fits there
    const shown = turns.filter((turn, i) => i < last || turn[1].length > LINE);
    for (const [role, text] of shown) {
      const pre = make("pre", "prose");
      pre.dir = "auto";
      if (turns.length > 1) pre.append(make("div", "role", role));
      pre.append(text.length > LONG ? `${text.slice(0, LONG)} …` : text);
      box.append(pre);
    }
    if (row.wanted !== null) {
      const more = make("details", "more");
      more.append(make("summary", "", "Reference answer"), ...longText(row.wanted));
      box.append(more);
    }
    const sides = make("div", "sides");
    row.answers.forEach((answer, i) => { if (answer) sides.append(side(data.versions[i], answer)); });
    box.append(sides);
    return box;
  };
  const entry = (row) => {
    const item = make("li"), button = make("button", "row");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    const turns = promptOf(row);
    const line = make("span", "line", (turns.length ? turns[turns.length - 1][1] : "").slice(0, LINE));
    line.dir = "auto";
    const chips = make("span", "chips");
    row.answers.forEach((answer, i) => chips.append(chip(data.versions[i], answer)));
    const task = row.task === null ? "" : ` · ${data.tasks[row.task]}`;
    button.append(line, chips, make("span", "where", `${data.suites[row.suite]}${task} · ${row.item}`));
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) item.lastChild.remove(); else item.append(inside(row));
    });
    item.append(button);
    return item;
  };

  // What is shown.
  let found = rows, first = 0;
  const show = () => {
    const last = Math.min(first + PAGE, found.length);
    list.replaceChildren(...found.slice(first, last).map(entry));
    const n = (number) => number.toLocaleString("en");
    const of = found.length === rows.length ? "" : ` (of ${n(rows.length)})`;
    $("count").textContent = found.length === 0 ? `No item fits${of}`
      : last - first === found.length ? `${n(found.length)} items${of}`
      : `${n(first + 1)} to ${n(last)} of ${n(found.length)} items${of}`;
    $("back").disabled = first === 0;
    $("on").disabled = last === found.length;
    $("open").disabled = found.length === 0;
  };
  const search = () => { found = chosen(); first = 0; show(); };
  const turn = (by) => { first += by; show(); $("answers").scrollIntoView(); };
  let waiting = 0;
  $("find").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  $("filters").addEventListener("change", (event) => { if (event.target.id !== "find") search(); });
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("clear").addEventListener("click", () => { $("filters").reset(); search(); });
  $("open").addEventListener("click", () => {
    for (const button of list.querySelectorAll('.row[aria-expanded="false"]')) button.click();
  });
  $("back").addEventListener("click", () => turn(-PAGE));
  $("on").addEventListener("click", () => turn(PAGE));
  show();

  for (const button of document.querySelectorAll(".show")) {
    button.addEventListener("click", () => {
      const { suite, item } = button.dataset;
      $("filters").reset();
      found = rows.filter((row) => row.item === item && data.suites[row.suite] === suite);
      first = 0;
      show();
      list.querySelector(".row")?.click();
      $("answers").scrollIntoView();
    });
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const text = button.nextElementSibling;
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch { // not allowed here: select it, so that the keyboard can
        getSelection().selectAllChildren(text);
      }
    });
  }
})();
