"use strict";

// Tables that are sorted by their headers.

function sortBy(table, column, descending) {
  const value = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.sort === undefined) return cell.textContent;
    return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
  };
  const compare = (one, other) => {
    const a = value(one), b = value(other);
    if (a === null || b === null) return (a === null) - (b === null); // what has no number stays last
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return descending ? -order : order;
  };
  const body = table.tBodies[0];
  body.append(...Array.from(body.rows).sort(compare));
  for (const header of table.tHead.rows[0].cells) header.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      // Figures begin with the largest, as they are looked for; names and ranks with the first.
      const before = header.getAttribute("aria-sort"), isFigure = header.classList.contains("number") && header.textContent !== "rank";
      sortBy(table, column, before ? before === "ascending" : isFigure);
    });
  });
}

// Charts.

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

function rowsOf(panel) {
  const names = Object.keys(panel.columns);
  return panel.columns[names[0]].map((_, i) => {
    const row = {};
    for (const name of names) row[name] = panel.columns[name][i];
    if (panel.series.length) row.series = panel.series[row.s].label;
    if (panel.choices.length) row.choice = panel.choices[row.k];
    if (panel.classes.length) [row.true, row.guess] = [panel.classes[row.t], panel.classes[row.g]];
    return row;
  });
}

class Charts {
  constructor(place, panel) {
    [this.place, this.panel, this.rows] = [place, panel, rowsOf(panel)];
    [this.choice, this.picked, this.logarithmic] = [panel.chosen, [], Boolean(panel.logarithmic)];
    this.views = [];
    this.drawn = null;
    this.controls(place.querySelector(".controls"));
  }

  draw() {
    this.drawn = (this.drawn ?? Promise.resolve()).then(() => this.embed());
    return this.drawn;
  }

  async embed() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: dark ? "dark" : "light" } };
    const places = this.place.querySelectorAll(".chart");
    for (const view of this.views) view.finalize();
    this.views = [];
    for (let i = 0; i < this.panel.charts.length; i++) {
      const spec = structuredClone(this.panel.charts[i]);
      const isLogarithmic = i === 0 && this.logarithmic;
      if (isLogarithmic) for (const layer of spec.layer) layer.encoding.y.scale = { type: "log", nice: false };
      for (const param of spec.params ?? []) if (param.name in this.signals(i)) param.value = this.signals(i)[param.name];
      spec.datasets = { rows: this.rows };
      this.views.push(await vegaEmbed(places[i], spec, options));
    }
  }

  signals(i) {
    return { choice: this.choice, picked: this.picked, logarithmic: i === 0 && this.logarithmic };
  }

  async update() {
    await this.drawn;
    await Promise.all(this.views.map(({ view }, i) => {
      for (const [name, value] of Object.entries(this.signals(i))) {
        if (name !== "logarithmic" || this.panel.logarithmic !== null) view.signal(name, value);
      }
      return view.runAsync();
    }));
  }

  controls(place) {
    const { panel } = this;
    if (panel.choices.length > 5) {
      const list = element("select", {}, ...panel.choices.map((name, i) => element("option", { value: i }, name)));
      list.value = this.choice;
      list.addEventListener("change", () => this.choose(Number(list.value)));
      place.append(element("label", {}, panel.asks, list));
    } else if (panel.choices.length > 1) {
      const group = element("fieldset", {}, element("legend", {}, panel.asks));
      panel.choices.forEach((name, i) => {
        const radio = element("input", { type: "radio", name: `choice-${panel.name}`, value: i });
        radio.checked = i === this.choice;
        radio.addEventListener("change", () => this.choose(i));
        group.append(element("label", {}, radio, name));
      });
      place.append(group);
    }
    if (panel.logarithmic !== null) {
      const box = element("input", { type: "checkbox" });
      box.checked = this.logarithmic;
      box.addEventListener("change", () => {
        this.logarithmic = box.checked;
        this.draw();
      });
      place.append(element("label", {}, box, { training: "logarithmic loss", samples: "logarithmic error" }[panel.name] ?? "logarithmic"));
    }
    if (panel.series.length > 1) place.append(this.legend());
  }

  legend() {
    const { series, title } = this.panel;
    const group = element("div", { class: "legend", role: "group", "aria-label": `${title}: press to highlight` });
    const buttons = series.map(({ label, colour, dash }, i) => {
      const button = element("button", { type: "button", "aria-pressed": "false" });
      button.innerHTML = '<svg width="26" height="8" aria-hidden="true"><line x1="0" x2="26" y1="4" y2="4" stroke-width="3"/></svg>';
      const line = button.querySelector("line");
      line.setAttribute("stroke", colour);
      if (dash.length > 1 && dash[1]) line.setAttribute("stroke-dasharray", dash.join(" "));
      button.append(label);
      button.addEventListener("click", () => {
        this.picked = this.picked.includes(i) ? this.picked.filter((other) => other !== i) : [...this.picked, i];
        button.setAttribute("aria-pressed", String(this.picked.includes(i)));
        this.update();
      });
      return button;
    });
    const first = buttons.length > 12 ? 10 : buttons.length;
    group.append(...buttons.slice(0, first));
    if (first < buttons.length) {
      const rest = element("div", { class: "legend" }, ...buttons.slice(first));
      group.append(element("details", {}, element("summary", {}, `${buttons.length - first} more`), rest));
    }
    return group;
  }

  choose(i) {
    this.choice = i;
    return this.update();
  }
}

const panels = JSON.parse(document.getElementById("panels").textContent);
const charts = {};
const drawn = (async () => {
  for (const place of document.querySelectorAll("[data-panel]")) {
    const panel = panels.find(({ name }) => name === place.dataset.panel);
    charts[panel.name] = new Charts(place, panel);
    const folded = place.closest("details:not([open])"); // it has no width yet
    if (folded) folded.addEventListener("toggle", () => charts[panel.name].drawn ?? charts[panel.name].draw(), { once: true });
    else await charts[panel.name].draw();
  }
})();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const each of Object.values(charts)) if (each.drawn) each.draw();
});
