// The dashboard: numbers come as JSON, charts are drawn by plotly, and every chart is a table too.
import { count, el, getJson, minor, percent, table } from "./common.js";

const INK = "#22302b", GREEN = "#1d6b58", AMBER = "#d98e2b", GRID = "#e6e1d6";
const STEP = { view: "Looked at", click: "Clicked", add_to_cart: "Cart", purchase: "Bought" };

function layout(extra = {}) {
  return {
    font: { family: "system-ui, sans-serif", size: 13, color: INK }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 16, t: 8, b: 36 }, height: 260, showlegend: true, legend: { orientation: "h", y: 1.12, x: 0 },
    xaxis: { gridcolor: GRID, zeroline: false, fixedrange: true, automargin: true },
    yaxis: { gridcolor: GRID, zeroline: false, fixedrange: true, automargin: true }, ...extra,
  };
}
const SETTINGS = { displayModeBar: false, responsive: true };

/** A chart with its table, which a person opens by a click or a key. */
function chart(id, data, extra, rows, columns, caption) {
  const figure = document.getElementById(id);
  const open = figure.querySelector("details")?.open || false;
  if (!rows.length) {
    figure.replaceChildren(el("p", { class: "empty" }, "Nothing to count yet. A slate counts when its windows are closed."));
    return;
  }
  const plot = el("div", { class: "plot", role: "img", "aria-label": `${caption}. The table below holds the same numbers.` });
  figure.replaceChildren(plot, el("details", { class: "as-table", ...(open ? { open: true } : {}) }, el("summary", {}, "As a table"), table(caption, rows, columns)));
  window.Plotly.newPlot(plot, data, layout(extra), SETTINGS);
}

function dots(rows, label, key, name, colour, symbol) {
  return {
    type: "scatter", mode: "markers", name, x: rows.map((row) => row[key]), y: rows.map(label), marker: { color: colour, size: 10, symbol },
    error_x: {
      type: "data", symmetric: false, color: colour, thickness: 1.6, width: 5,
      array: rows.map((row) => row[`${key}_high`] - row[key]), arrayminus: rows.map((row) => row[key] - row[`${key}_low`]),
    },
    hovertemplate: "%{y}: %{x:.2%}<extra></extra>",
  };
}

const between = (row, key) => `${percent(row[key])} (${percent(row[`${key}_low`])} – ${percent(row[`${key}_high`])})`;

function rateChart(id, rows, label, caption) {
  chart(id,
    [dots(rows, label, "click_rate", "Clicked", GREEN, "circle"), dots(rows, label, "conversion", "Bought from", AMBER, "diamond")],
    {
      height: 120 + 52 * rows.length,
      xaxis: { tickformat: ".0%", gridcolor: GRID, zeroline: false, rangemode: "tozero", fixedrange: true },
      yaxis: { type: "category", automargin: true, fixedrange: true, range: [rows.length - 0.4, -0.6] },
    },
    rows,
    [[caption, label], ["Seen slates", (row) => count(row.slates), true], ["Click rate", (row) => between(row, "click_rate"), true],
      ["Conversion", (row) => between(row, "conversion"), true], ["Revenue per 1,000", (row) => minor(row.revenue_per_thousand), true], ["Seen by", (row) => row.seen_by]],
    caption);
}

function drawLoop(data) {
  const n = data.loop;
  const stages = [
    ["Events", count(n.events), "what shoppers did"],
    ["Sessions", count(n.sessions), "visits they make up"],
    ["Shoppers", count(n.shoppers), "known by their profiles"],
    ["Model", n.model_version || "none yet", "answers now"],
    ["Slates", count(n.slates), "shown and journaled"],
    ["Outcomes", count(n.clicked), `slates clicked, ${count(n.purchased)} bought from`],
  ];
  document.getElementById("loop").replaceChildren(...stages.map(([title, value, text]) =>
    el("li", { "data-stage": title.toLowerCase() }, el("span", { class: "stage" }, title), el("strong", { title: value }, value), el("span", { class: "muted small" }, text))));
  document.getElementById("loop-note").textContent = `Outcomes feed the next model. ${count(n.open)} of ${count(n.slates)} slates may still earn something; they enter no rate yet. Earned so far: ${minor(n.revenue)}.`;
}

function drawFunnel(rows) {
  chart("funnel", [{
    type: "bar", orientation: "h", y: rows.map((row) => STEP[row.step]), x: rows.map((row) => row.shoppers), marker: { color: [GREEN, "#3b8a74", "#7fb3a2", AMBER] },
    text: rows.map((row) => count(row.shoppers)), textposition: "auto", hovertemplate: "%{y}: %{x} shoppers<extra></extra>",
  }], { showlegend: false, yaxis: { autorange: "reversed", automargin: true, fixedrange: true }, xaxis: { title: { text: "Shoppers" }, gridcolor: GRID, fixedrange: true, zeroline: false } },
  rows.some((row) => row.events) ? rows : [],
  [["Step", (row) => STEP[row.step]], ["Events", (row) => count(row.events), true], ["Shoppers", (row) => count(row.shoppers), true]], "From looking to buying");
}

function drawPositions(rows) {
  chart("positions", [{
    type: "scatter", mode: "lines+markers", x: rows.map((row) => row.position + 1), y: rows.map((row) => row.click_rate), line: { color: GREEN, width: 2 }, marker: { size: 8 },
    error_y: { type: "data", symmetric: false, color: GREEN, thickness: 1.4, array: rows.map((row) => row.click_rate_high - row.click_rate), arrayminus: rows.map((row) => row.click_rate - row.click_rate_low) },
    hovertemplate: "position %{x}: %{y:.2%}<extra></extra>",
  }], { showlegend: false, xaxis: { title: { text: "Position" }, dtick: 1, gridcolor: GRID, fixedrange: true, zeroline: false }, yaxis: { tickformat: ".1%", rangemode: "tozero", automargin: true, gridcolor: GRID, fixedrange: true } },
  rows, [["Position", (row) => row.position + 1, true], ["Seen", (row) => count(row.seen), true], ["Clicked", (row) => count(row.clicked), true], ["Click rate", (row) => between(row, "click_rate"), true]], "By position");
}

const plain = (value) => (typeof value === "number" ? (Number.isInteger(value) ? count(value) : value.toFixed(4)) : String(value ?? ""));

const COLUMNS = ["model", "users", "ndcg@20", "vs_popular", "recall@20", "hr@20", "coverage@20", "diversity@20"];
const SUBSETS = { all: "All that was bought", new: "New to the shopper", organic: "What no slate caused" };

function offlineTable(version, subset) {
  const rows = version.table.filter((row) => row.subset === subset);
  const cell = (key) => (row) => (`${key}_low` in row ? `${plain(row[key])} (${plain(row[`${key}_low`])} – ${plain(row[`${key}_high`])})` : plain(row[key]));
  const keys = COLUMNS.filter((key) => rows.some((row) => key in row));
  return el("details", subset === "all" ? { open: true } : {},
    el("summary", {}, SUBSETS[subset] || subset.replaceAll("-", ", ")),
    table(`${subset}, offline, ${version.version}`, rows, keys.map((key) => [key, cell(key), typeof rows[0][key] === "number"])));
}

function verdictOf(verdict) {
  if (!verdict.reasons) return el("p", {}, "No verdict was kept.");
  return el("div", {},
    el("p", {}, el("b", {}, `Gate: ${verdict.accepted ? "let in" : "kept out"}`)),
    el("ul", { class: "small" }, ...verdict.reasons.map((reason) => el("li", {}, reason))));
}

function drawVersions(versions) {
  const place = document.getElementById("versions");
  const open = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.version));
  if (!versions.length) {
    place.replaceChildren(el("p", { class: "empty" }, "No model yet: run regulars train."));
    return;
  }
  place.replaceChildren(...versions.map((version, i) =>
    el("details", { class: "version", "data-version": version.version, ...(open.has(version.version) || (i === 0 && !open.size) ? { open: true } : {}) },
      el("summary", {}, el("strong", {}, version.version), version.current ? el("span", { class: "tag live" }, "in place") : null, el("span", { class: "muted small" }, `data up to ${version.trained_at.replace("T", " ").slice(0, 16)}`)),
      verdictOf(version.verdict),
      el("p", { class: "muted small" }, `Models: ${version.models.join(", ")}`),
      ...(version.table.length ? [...new Set(version.table.map((row) => row.subset))].map((subset) => offlineTable(version, subset)) : [el("p", { class: "empty" }, "No offline table was kept.")]))));
}

let drawn = "";
async function refresh() {
  const data = await getJson("/dashboard/data");
  document.getElementById("as-of").textContent = `As of ${data.at.replace("T", " ").slice(0, 19)} UTC, renewed by itself`;
  drawLoop(data);
  const { at, ...rest } = data;
  if (JSON.stringify(rest) === drawn) return;
  drawn = JSON.stringify(rest);
  drawFunnel(data.funnel);
  drawPositions(data.positions);
  rateChart("slots", data.slots, (row) => row.slot, "Slot");
  rateChart("policies", data.policies, (row) => `${row.policy} ${row.model_version}`.trim(), "Policy and model");
  drawVersions(data.versions);
  document.getElementById("orphans").textContent = count(data.loop.orphans);
  document.getElementById("quarantine").replaceChildren(data.quarantine.length
    ? table("Quarantine", data.quarantine, [["File", (row) => row.file], ["Rows", (row) => count(row.rows), true]])
    : el("p", { class: "empty" }, "Nothing is kept aside."));
}

const again = () => refresh().catch((error) => { document.getElementById("as-of").textContent = `No answer: ${error.message}`; });
await again();
setInterval(() => { if (!document.hidden) again(); }, 3000);
