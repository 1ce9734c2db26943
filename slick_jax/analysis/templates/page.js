// The page's own script: the switch of colours, and the table of examples. All texts go in as text, never as markup.
"use strict";
(() => {
  const PAGE = 50; // rows drawn at once
  const of = (id) => document.getElementById(id);
  const kept = { // file pages may be refused storage
    read() { try { return localStorage.getItem("slick-colours") || ""; } catch { return ""; } },
    write(value) { try { localStorage.setItem("slick-colours", value); } catch { /* not remembered */ } },
  };

  function colours() {
    const choice = of("theme");
    const use = (value) => { document.documentElement.dataset.theme = value; };
    choice.value = kept.read();
    use(choice.value);
    choice.addEventListener("change", () => { use(choice.value); kept.write(choice.value); });
    of("themes").hidden = false;
  }

  function element(tag, text = "", name = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  // A text of others is isolated, so that its direction marks end with it.
  const foreign = (text) => element(text ? "bdi" : "em", text || "(empty)");

  // An answer is [text, times (0: not counted), right (null: not judged)].
  function answer([text, times, right]) {
    const line = element("div", "", right === null ? "" : right ? "right" : "wrong");
    line.append(foreign(text));
    if (times) line.append(element("span", ` ×${times}`, "times"));
    return line;
  }

  function cell(value, column) {
    const made = element("td", "", column.kind === "number" ? "number" : column.wordy ? "wordy" : "");
    if (value === null) made.textContent = "–";
    else if (column.kind === "number") made.textContent = value.toFixed(column.digits);
    else if (column.kind === "category") made.append(element("span", value, `category ${value}`));
    else if (column.kind === "answers") made.append(...value.map(answer));
    else made.append(foreign(value));
    return made;
  }

  const words = (value) => (Array.isArray(value) ? value.map(([text]) => text).join("\n") : value === null ? "" : String(value));

  function order(rows, place, column, sign) {
    const ranks = column.kind === "category" ? column.order : null;
    const key = (row) => (ranks ? ranks.indexOf(row[place]) : column.kind === "number" ? row[place] : words(row[place]));
    const texts = new Intl.Collator("en", { numeric: true });
    const compare = ranks || column.kind === "number" ? (a, b) => a - b : texts.compare;
    const keyed = rows.map((row, index) => [key(row), index, row]);
    const absent = (one) => one === null || one === "";
    keyed.sort(([a, i], [b, j]) => absent(a) - absent(b) || (absent(a) ? 0 : sign * compare(a, b)) || i - j);
    return keyed.map(([, , row]) => row);
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  async function examples(box) {
    const { columns, rows } = await unpack(of("examples-data").content.textContent);
    const state = { shown: rows, sorted: rows, first: 0, by: -1, sign: 1 };
    const heads = columns.map((column) => element("th", "", column.kind === "number" ? "number" : ""));
    const choices = [...box.querySelectorAll("select")];
    let haystack = null; // made at the first search

    function draw() {
      const end = Math.min(state.first + PAGE, state.shown.length);
      box.querySelector("tbody").replaceChildren(...state.shown.slice(state.first, end).map((row) => {
        const line = element("tr");
        line.append(...row.map((value, place) => cell(value, columns[place])));
        return line;
      }));
      const count = (number) => number.toLocaleString("en");
      of("examples-place").textContent = state.shown.length
        ? `rows ${count(state.first + 1)} to ${count(end)} of ${count(state.shown.length)}` : "no such row";
      of("examples-back").disabled = state.first === 0;
      of("examples-on").disabled = end === state.shown.length;
    }

    function select() {
      const wanted = of("examples-search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const only = choices.filter((one) => one.value)
        .map((one) => [columns.findIndex((column) => column.head === one.dataset.column), one.value]);
      if (wanted.length && !haystack) haystack = new Map(rows.map((row) => [row, row.map(words).join("\n").toLowerCase()]));
      state.shown = state.sorted.filter((row) => only.every(([place, value]) => row[place] === value)
        && wanted.every((word) => haystack.get(row).includes(word)));
      state.first = 0;
      draw();
    }

    function sort(place) {
      state.sign = state.by === place ? -state.sign : 1;
      state.by = place;
      state.sorted = order(rows, place, columns[place], state.sign);
      heads.forEach((head, at) => {
        if (at === place) head.setAttribute("aria-sort", state.sign > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      select();
    }

    heads.forEach((head, place) => {
      const button = element("button", columns[place].head);
      button.type = "button";
      button.addEventListener("click", () => sort(place));
      head.scope = "col";
      head.append(button);
    });
    const line = element("tr");
    line.append(...heads);
    box.querySelector("thead").append(line);
    of("examples-search").addEventListener("input", select);
    choices.forEach((one) => one.addEventListener("change", select));
    of("examples-back").addEventListener("click", () => { state.first -= PAGE; draw(); });
    of("examples-on").addEventListener("click", () => { state.first += PAGE; draw(); });
    box.querySelectorAll(".controls").forEach((one) => { one.hidden = false; });
    draw();
  }

  colours();
  const box = of("examples-table");
  if (box) {
    examples(box).catch((error) => {
      box.append(element("p", `The table could not be opened (${error}); its rows are in tables/examples.csv.`));
    });
  }
})();
