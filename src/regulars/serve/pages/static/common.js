// What both pages share: building elements, fetching, money, times, tables.

/** Make an element: el("p", {class: "x", onclick: f}, "text", child). Text is never parsed as HTML. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an SVG element. */
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Fetch JSON of ours; a session that is over leads back to the door. */
export async function getJson(url) {
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  if (answer.status === 401) location.assign("/");
  if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
  return answer.json();
}

/** Post JSON with the session's CSRF token. */
export async function postJson(url, body) {
  const token = document.querySelector('meta[name="csrf"]').content;
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": token },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
  return answer.json();
}

const shop = document.querySelector('meta[name="shop"]');
const money = new Intl.NumberFormat("en", { style: "currency", currency: shop.content });
const digits = money.resolvedOptions().maximumFractionDigits;

/** Major units as text. */
export const price = (amount) => (amount === undefined || amount === null ? "" : money.format(amount));
/** Minor units as text. */
export const minor = (amount) => money.format(amount / 10 ** digits);
export const count = (n) => new Intl.NumberFormat("en").format(n);
export const percent = (x, places = 1) => `${(100 * x).toFixed(places)} %`;
export const clock = (microseconds) => new Date(microseconds / 1000).toLocaleTimeString("en-GB");

/** A table from rows; columns are [title, row => cell, isNumber]. */
export function table(caption, rows, columns) {
  const head = columns.map(([title, , number]) => el("th", { scope: "col", class: number ? "num" : null }, title));
  const body = rows.map((row) =>
    el("tr", {}, columns.map(([, cell, number]) => el("td", { class: number ? "num" : null }, String(cell(row))))),
  );
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "sr" }, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}
