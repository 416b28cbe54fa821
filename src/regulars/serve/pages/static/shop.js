// The storefront: slates that change as you click, and a panel that shows what the shop learns.
import { clock, count, el, getJson, minor, percent, postJson, price, svg } from "./common.js";

const view = document.getElementById("main");
const shopper = document.querySelector(".tools .chip").textContent.trim();
const cartKey = `regulars-cart:${shopper}`;
let categories = {};
let lastHome = new Set(); // item ids of the home slate before this one
let lastOffset = 0;
let turn = 0; // a view that was left must not draw over the next one

// --- small things

function hash(text) {
  let h = 2166136261;
  for (const char of text) h = Math.imul(h ^ char.codePointAt(0), 16777619);
  return h >>> 0;
}

function hueOf(item) {
  const names = Object.keys(categories);
  const place = names.indexOf((item.category || [])[0]);
  return place < 0 ? hash(item.item_id) % 360 : Math.round((place * 137.5 + 150) % 360);
}

/** A picture for an item that has none: its category's colour, soft shapes of its own, and its initial. */
function tile(item) {
  const hue = hueOf(item);
  const h = hash(item.item_id);
  const letter = [...(item.title || item.item_id).trim()][0] || "?";
  const picture = svg("svg", { viewBox: "0 0 120 90", class: "tile", "aria-hidden": "true", preserveAspectRatio: "xMidYMid slice" });
  picture.append(svg("rect", { width: 120, height: 90, fill: `hsl(${hue} 42% 90%)` }));
  for (let i = 0; i < 3; i += 1) {
    const bits = (h >>> (i * 9)) & 511;
    picture.append(svg("circle", {
      cx: (bits * 37) % 120, cy: (bits * 53) % 90, r: 14 + (bits % 26), fill: `hsl(${(hue + i * 14) % 360} 48% ${80 - i * 6}%)`, "fill-opacity": 0.75,
    }));
  }
  const glyph = svg("text", { x: 60, y: 47, "text-anchor": "middle", "dominant-baseline": "central", "font-size": 38, "font-weight": 600, fill: `hsl(${hue} 45% 27%)` });
  glyph.textContent = letter.toUpperCase();
  picture.append(glyph);
  return picture;
}

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.classList.add("on");
  setTimeout(() => toast.classList.remove("on"), 2200);
}

const name = (item) => item.title || item.item_id;
const link = (item) => `#/i/${encodeURIComponent(item.item_id)}`;

async function act(...steps) {
  await postJson("/shop/act", steps);
  await refreshPanel();
}

// --- where a click came from: recommendation, slot and position travel with what follows

const origins = new Map();
const from = (itemId) => origins.get(itemId) || {};

// --- cart, kept in this browser

const readCart = () => JSON.parse(localStorage.getItem(cartKey) || "{}");
function writeCart(cart) {
  localStorage.setItem(cartKey, JSON.stringify(cart));
  showCartCount();
}
function showCartCount() {
  document.getElementById("cart-count").textContent = Object.values(readCart()).reduce((sum, line) => sum + line.quantity, 0);
}

async function addToCart(item) {
  const cart = readCart();
  const line = cart[item.item_id] || { item, quantity: 0, origin: from(item.item_id) };
  line.quantity += 1;
  cart[item.item_id] = line;
  writeCart(cart);
  await act({ event_type: "add_to_cart", item_id: item.item_id, ...line.origin });
  say(`${name(item)} is in the cart`);
}

async function removeFromCart(itemId) {
  const cart = readCart();
  const line = cart[itemId];
  delete cart[itemId];
  writeCart(cart);
  await act({ event_type: "remove_from_cart", item_id: itemId, ...line.origin });
  await showCart();
}

async function buy() {
  const lines = Object.values(readCart());
  const order = `web-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e6).toString(36)}`;
  await act(...lines.map((line) => ({
    event_type: "purchase", item_id: line.item.item_id, quantity: line.quantity, order_id: order, ...line.origin,
  })));
  writeCart({});
  say("Bought. Thank you!");
  location.hash = "#/";
}

// --- cards and slates

function card(item, extra = {}) {
  const { reason, fresh, onOpen } = extra;
  return el("li", { class: `item${fresh ? " fresh" : ""}` },
    el("a", { href: link(item), onclick: onOpen, "data-item": item.item_id },
      tile(item),
      el("span", { class: "item-text" },
        el("span", { class: "title" }, name(item)),
        el("span", { class: "meta" }, [item.brand, price(item.price)].filter(Boolean).join(" · ")),
        reason ? el("span", { class: "reason" }, reason) : null,
        fresh ? el("span", { class: "new-mark" }, "new for you") : null)));
}

async function slateSection(title, slot, item = "") {
  const query = new URLSearchParams({ slot, item });
  const { slate, items } = await getJson(`/shop/data/slate?${query}`);
  const before = slot === "home" ? lastHome : new Set();
  const cards = slate.items.map((place) => card(items[place.item_id], {
    reason: place.reason.text,
    fresh: before.size > 0 && !before.has(place.item_id),
    onOpen: () => {
      const origin = { recommendation_id: slate.recommendation_id, slot, position: place.position };
      origins.set(place.item_id, origin);
      sessionStorage.setItem("opened", place.item_id);
    },
  }));
  if (slot === "home") lastHome = new Set(slate.items.map((place) => place.item_id));
  return el("section", { class: "slate", "data-slot": slot, "aria-label": title },
    el("h2", {}, title),
    cards.length ? el("ul", { class: "grid" }, cards) : el("p", { class: "empty" }, `Nothing to show yet: ${slate.why}.`),
    el("p", { class: "muted small" }, slate.model_version ? `Made in ${slate.took_ms.toFixed(1)} ms by model ${slate.model_version}` : ""));
}

// --- views

function draw(mine, title, ...children) {
  if (mine !== turn) return;
  document.title = title;
  view.replaceChildren(...children);
  view.dataset.view = location.hash; // what is drawn now, which may lag behind the address
  window.scrollTo(0, 0);
  if (document.activeElement === document.body || !document.contains(document.activeElement)) view.focus({ preventScroll: true });
}

async function showHome() {
  const mine = (turn += 1);
  const [slate, shelf] = await Promise.all([slateSection("For you, now", "home"), shelfSection("")]);
  draw(mine, "Shop", el("h1", { class: "sr" }, "Shop"), slate, shelf);
}

async function shelfSection(category, start = 0) {
  const load = async (at) => getJson(`/shop/data/shelf?${new URLSearchParams({ category, start: at })}`);
  const first = await load(start);
  const list = el("ul", { class: "grid small" }, first.items.map((item) => card(item)));
  let next = start + first.items.length;
  const more = el("button", { class: "quiet", onclick: async () => {
    const page = await load(next);
    list.append(...page.items.map((item) => card(item)));
    next += page.items.length;
    more.hidden = !page.more;
  } }, "Show more");
  more.hidden = !first.more;
  return el("section", { class: "shelf" }, el("h2", {}, category || "All of the shop"), first.items.length ? list : el("p", { class: "empty" }, "No items here."), more);
}

async function showCategory(category) {
  const mine = (turn += 1);
  const shelf = await shelfSection(category);
  draw(mine, category, el("h1", { class: "sr" }, category), shelf);
}

async function showItem(itemId) {
  const mine = (turn += 1);
  const item = await getJson(`/shop/data/items?${new URLSearchParams({ item_id: itemId })}`);
  const clicked = sessionStorage.getItem("opened") === itemId;
  sessionStorage.removeItem("opened");
  await act(clicked ? { event_type: "click", item_id: itemId, ...from(itemId) } : { event_type: "view", item_id: itemId });
  const [product, home] = await Promise.all([slateSection("Goes well with it", "product", itemId), slateSection("For you, now", "home")]);
  draw(mine, name(item),
    el("article", { class: "product" },
      el("div", { class: "picture" }, tile(item)),
      el("div", { class: "about" },
        el("p", { class: "crumbs" }, (item.category || []).map((part, i) => [i ? " › " : "", el("a", { href: `#/c/${encodeURIComponent(part)}` }, part)]).flat()),
        el("h1", {}, name(item)),
        el("p", { class: "muted" }, item.brand || ""),
        el("p", { class: "price" }, price(item.price)),
        el("p", {}, item.description || ""),
        el("div", { class: "actions" },
          el("button", { class: "primary", onclick: () => addToCart(item), id: "add" }, "Add to cart"),
          el("button", { class: "quiet", onclick: async () => { await act({ event_type: "dislike", item_id: itemId, ...from(itemId) }); say("Noted: not for you"); } }, "Not for me")),
        rating(item))),
    product, home);
}

function rating(item) {
  const stars = [1, 2, 3, 4, 5].map((value) =>
    el("button", { class: "star", "aria-label": `Rate ${value} of 5`, onclick: async () => {
      await act({ event_type: "rating", item_id: item.item_id, value, ...from(item.item_id) });
      stars.forEach((star, i) => star.classList.toggle("on", i < value));
      say(`Rated ${value} of 5`);
    } }, "★"));
  return el("div", { class: "stars", role: "group", "aria-label": "Your rating" }, el("span", { class: "muted small" }, "Your rating"), stars);
}

async function showCart() {
  const mine = (turn += 1);
  const lines = Object.values(readCart());
  const total = lines.reduce((sum, line) => sum + line.quantity * (line.item.price || 0), 0);
  const list = lines.map((line) => el("li", {},
    el("a", { href: link(line.item), class: "mini" }, tile(line.item)),
    el("span", { class: "grow" }, el("a", { href: link(line.item) }, name(line.item)), el("br"), el("span", { class: "muted" }, `${line.quantity} × ${price(line.item.price)}`)),
    el("button", { class: "quiet", "aria-label": `Remove ${name(line.item)}`, onclick: () => removeFromCart(line.item.item_id) }, "Remove")));
  draw(mine, "Cart", el("section", { class: "card cart-view" }, el("h1", {}, "Cart"),
    lines.length ? el("ul", { class: "lines" }, list) : el("p", { class: "empty" }, "The cart is empty."),
    lines.length ? el("div", { class: "sum" }, el("strong", {}, price(total)), el("button", { class: "primary", id: "buy", onclick: buy }, "Buy")) : null));
}

// --- the panel

const DOING = {
  view: "looked at", click: "clicked", add_to_cart: "put into the cart", remove_from_cart: "took out of the cart", purchase: "bought",
  rating: "rated", dislike: "does not want", slate: "was shown", refund: "gave back", wishlist: "wishes for", review: "reviewed", search: "searched", impression: "saw",
};

function bars(profile) {
  const kinds = ["category", "brand", "tag", "price"];
  const kindOf = (key) => kinds.indexOf(key.split(":")[0]);
  const best = Object.entries(profile.interests).sort((a, b) => b[1] - a[1]);
  const top = kinds.flatMap((kind) => best.filter(([key]) => key.startsWith(`${kind}:`)).slice(0, kind === "category" ? 4 : 2))
    .sort((a, b) => kindOf(a[0]) - kindOf(b[0]));
  if (!top.length) return el("p", { class: "empty" }, "Nothing yet. Click something.");
  const most = Math.max(...top.map(([, share]) => share)) || 1;
  return el("table", { class: "bars" }, el("caption", {}, "Interests"), el("tbody", {}, top.map(([key, share]) => {
    const [kind, ...rest] = key.split(":");
    return el("tr", {}, el("th", { scope: "row" }, kind === "price" ? `price band ${rest.join(":")}` : rest.join(":"), el("span", { class: "kind" }, kind)),
      el("td", {}, el("span", { class: "bar", style: `width:${Math.max(3, (100 * share) / most)}%` }), el("span", { class: "num" }, percent(share, 0))));
  })));
}

function drawProfile(profile, names) {
  const facts = [
    ["Segment", profile.segment || "new"], ["Events", count(profile.n_events)], ["Visits", count(profile.n_sessions)],
    ["Orders", count(profile.n_orders)], ["Spent", minor(profile.monetary)],
  ];
  const habits = profile.habits.filter((habit) => habit.orders > 1).slice(0, 3).map((habit) => el("li", {}, `${names[habit.item_id] || habit.item_id}: ${habit.orders} orders`, habit.gap_days ? `, every ${Math.round(habit.gap_days)} days` : ""));
  document.getElementById("profile").replaceChildren(
    el("dl", { class: "facts" }, facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value)))),
    bars(profile),
    habits.length ? el("div", {}, el("h3", {}, "Buys again and again"), el("ul", { class: "habits" }, habits)) : "");
}

function drawMoments(moments) {
  const list = document.getElementById("events");
  for (const moment of moments) {
    const text = `${DOING[moment.kind] || moment.kind} ${moment.item}`;
    list.prepend(el("li", { class: moment.kind === "slate" ? "slate-event" : "" }, el("time", {}, clock(moment.at)), el("span", {}, text, moment.from_slate ? el("span", { class: "tag" }, "via slate") : null)));
  }
  while (list.children.length > 40) list.lastChild.remove();
}

let refreshing = null;
function refreshPanel() {
  refreshing = (refreshing || Promise.resolve()).then(async () => {
    const me = await getJson(`/shop/data/me?after=${lastOffset}`);
    lastOffset = me.offset;
    document.getElementById("model").textContent = me.model_version || "none yet";
    drawProfile(me.profile, me.names);
    drawMoments(me.moments);
  }).catch(() => {}); // a server that restarts is asked again a second later
  return refreshing;
}

// --- start

const ROUTES = [
  [/^#\/c\/(.+)$/, (match) => showCategory(decodeURIComponent(match[1]))],
  [/^#\/i\/(.+)$/, (match) => showItem(decodeURIComponent(match[1]))],
  [/^#\/cart$/, () => showCart()],
  [/^/, () => showHome()],
];

async function route() {
  const [pattern, show] = ROUTES.find(([each]) => each.test(location.hash));
  for (const each of document.querySelectorAll("#categories a")) {
    each.toggleAttribute("aria-current", each.getAttribute("href") === location.hash);
  }
  try {
    await show(location.hash.match(pattern));
  } catch (error) {
    draw(turn, "Something went wrong", el("p", { class: "empty" }, `That did not work: ${error.message}`));
  }
}

categories = await getJson("/shop/data/categories");
document.getElementById("categories").append(...Object.keys(categories).map((each) => el("a", { href: `#/c/${encodeURIComponent(each)}` }, each)));
document.getElementById("panel").open = matchMedia("(min-width: 960px)").matches;
showCartCount();
addEventListener("hashchange", route);
await Promise.all([route(), refreshPanel()]);
setInterval(() => { if (!document.hidden) refreshPanel(); }, 1000);
