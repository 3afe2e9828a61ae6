// One page in the browser: draws the blocks that the kernel sends, and tells it what the reader chose.
// The page is a function of its state: every control changes one key of the state, the kernel answers with the blocks
// that look different now. Sorting and filtering a table asks nobody.

const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false));
  return node;
};
const isTree = x => x && typeof x === "object" && !Array.isArray(x) && !ArrayBuffer.isView(x);
const merge = (a, b) => { for (const k in b) a[k] = isTree(b[k]) ? merge(isTree(a[k]) ? a[k] : {}, b[k]) : b[k]; return a; };
const plural = (n, unit) => n !== 1 || /series$/.test(unit) ? unit : unit.replace(/ies$/, "ys").replace(/(ss|x)es$|s$/, "$1");
const media = q => window.matchMedia(q);
const narrow = media("(max-width: 640px)"), darkness = media("(prefers-color-scheme: dark)"), coarse = media("(pointer: coarse)");
const chosenTheme = () => { try { return localStorage.getItem("firebot-theme") || "auto"; } catch { return "auto"; } };
const isDark = () => chosenTheme() === "dark" || (chosenTheme() === "auto" && darkness.matches);

// ---------------------------------------------------------------- state and address
const HIDDEN = new Set(["token", "voila-template", "voila-theme"]);
const fromAddress = () => Object.fromEntries([...new URLSearchParams(location.search)].filter(([k]) => !HIDDEN.has(k)));
const query = state => {
  const kept = Object.entries(state).filter(([k, v]) => typeof v === "string" && v !== "" && !k.startsWith("_"));
  return kept.length ? "?" + new URLSearchParams(kept) : "";
};

class Page {
  constructor(model, root) {
    Object.assign(this, { model, root, state: fromAddress(), asked: 0, blocks: new Map(), order: [], tables: {}, themes: null });
    this.body = el("div", { class: "fb-body" });
    this.status = el("div", { class: "fb-status", role: "status", "aria-live": "polite" });
    this.theme = el("button", { class: "fb-theme", type: "button", onclick: () => this.nextTheme() });
    const links = model.get("pages").map(([name, label]) => el("a", {
      href: `${name}.ipynb`, text: label, "aria-current": name === model.get("name") ? "page" : null }));
    root.classList.add("fb");
    const opening = document.getElementById("loading");
    if (opening) opening.remove();
    root.append(
      el("a", { class: "fb-skip", href: "#fb-main", text: "Skip to the content" }),
      el("header", { class: "fb-top" }, el("a", { class: "fb-brand", href: "home.ipynb", text: "FireBot" }),
         el("nav", { "aria-label": "Dashboards" }, links), this.theme),
      el("main", { id: "fb-main", tabindex: "-1" }, this.status, this.body));
    model.on("msg:custom", answer => this.answered(answer));
    darkness.addEventListener("change", () => this.repaint());
    narrow.addEventListener("change", () => this.repaint());
    window.addEventListener("popstate", () => { this.state = fromAddress(); this.ask(); });
    this.paintTheme();
    this.ask();
  }

  ask() {
    this.asked += 1;
    clearTimeout(this.later);
    this.root.setAttribute("aria-busy", "true");
    this.slow = this.slow || setTimeout(() => { this.status.textContent = "Working …"; }, 400);
    this.model.send({ ask: this.asked, state: this.state });
  }
  set(changes, push = false) {
    Object.assign(this.state, changes);
    const to = location.pathname + query(this.state);
    if (push) history.pushState(null, "", to); else history.replaceState(null, "", to);
    this.ask();
  }
  answered(answer) {
    if (answer.ask !== this.asked) return;
    if (answer.themes) this.themes = answer.themes;
    if (answer.title) document.title = `${answer.title} · FireBot`;
    for (const block of answer.blocks) this.blocks.set(block.id, block);
    this.draw(answer.order, new Set(answer.blocks.map(b => b.id)));
    if (answer.more) return;  // a page that opens comes in parts
    clearTimeout(this.slow); this.slow = null;
    this.status.textContent = "";
    this.root.removeAttribute("aria-busy");
    this.root.dataset.answered = answer.ask;
    if (location.search.includes("token=")) history.replaceState(null, "", location.pathname + query(this.state));
    if (answer.refresh) this.later = setTimeout(() => this.ask(), answer.refresh * 1000);
  }

  // Blocks keep their place and their elements; only what changed is made anew.
  draw(order, changed) {
    const focus = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
    const caret = focus && document.activeElement.selectionStart;
    const old = new Map([...this.body.children].map(node => [node.dataset.id, node]));
    const nodes = order.map(id => {
      const before = old.get(id);
      const block = this.blocks.get(id);
      // What the reader chose is not part of a block, so tabs and controls are drawn from the state each time.
      if (before && !changed.has(id) && block.kind !== "tabs" && block.kind !== "controls") return before;
      if (before && block.kind === "chart" && before.dataset.kind === "chart") { this.chart(block, before); return before; }
      const made = el("section", { class: `fb-block fb-${block.kind} ${block.width ? "fb-" + block.width : ""}`,
                                   "data-id": id, "data-kind": block.kind });
      this[block.kind](block, made);
      return made;
    });
    for (const node of this.body.children) if (!nodes.includes(node)) this.forget(node);
    nodes.forEach((node, i) => { if (this.body.children[i] !== node) this.body.insertBefore(node, this.body.children[i] || null); });
    for (const node of [...this.body.children].slice(nodes.length)) { this.forget(node); node.remove(); }
    if (focus) {
      const again = this.body.querySelector(`[data-key="${CSS.escape(focus)}"]`);
      if (again && again !== document.activeElement) {
        again.focus({ preventScroll: true });
        if (caret !== undefined && caret !== null && again.setSelectionRange) again.setSelectionRange(caret, caret);
      }
    }
    if (this.jump) {
      const target = this.body.querySelector(`[data-id="${CSS.escape(this.jump)}"]`);
      if (target) target.scrollIntoView({ block: "start", behavior: "auto" });
      this.jump = null;
    }
  }
  forget(node) { const plot = node.querySelector && node.querySelector(".js-plotly-plot"); if (plot) window.Plotly.purge(plot); }

  // ---------------------------------------------------------------- looks
  paintTheme() {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    const now = chosenTheme();
    this.theme.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[now];
    this.theme.setAttribute("aria-label", `Colours: ${now}. Change.`);
  }
  nextTheme() {
    const next = { auto: "light", light: "dark", dark: "auto" }[chosenTheme()];
    try { localStorage.setItem("firebot-theme", next); } catch { /* a private window keeps nothing */ }
    this.repaint();
  }
  repaint() {
    this.paintTheme();
    for (const node of this.body.querySelectorAll('[data-kind="chart"]')) this.chart(this.blocks.get(node.dataset.id), node);
  }

  // ---------------------------------------------------------------- blocks
  title(block, level = "h2") {
    return [block.title && el(level, { text: block.title }), block.note && el("p", { class: "fb-note", text: block.note })];
  }
  head(block, at) {
    at.append(el("h1", { text: block.title }), block.note && el("p", { class: "fb-lede", text: block.note }));
    if (block.badges) at.append(el("p", { class: "fb-badges" },
      block.badges.map(([text, tone, tip]) => el("span", { class: `fb-badge ${tone || ""}`, text, title: tip }))));
  }
  text(block, at) {
    at.append(...this.title(block).filter(Boolean), ...(block.lines || []).map(text => el("p", { text })));
  }
  empty(block, at) {
    at.append(el("h2", { text: block.title }), el("p", { text: block.note }));
    if (block.command) at.append(el("pre", {}, el("code", { text: block.command })));
  }
  code(block, at) { at.append(...this.title(block).filter(Boolean), el("pre", { tabindex: "0" }, el("code", { text: block.text }))); }
  cards(block, at) {
    at.append(...this.title(block).filter(Boolean));
    at.append(el("dl", {}, block.cards.map(c => el("div", { class: c.tone || "", "data-tip": c.tip, tabindex: c.tip ? "0" : null },
      el("dt", { text: c.label }), el("dd", { text: c.value }), c.note && el("dd", { class: "fb-note", text: c.note.replace(/(\d)-(?=\d)/g, "$1\u2011") }),
      c.share !== undefined && el("meter", { min: 0, max: 1, low: 0.6, high: 0.85, optimum: 0, value: c.share, "aria-label": c.label })))));
  }
  facts(block, at) {
    at.append(...this.title(block).filter(Boolean));
    at.append(el("dl", {}, block.facts.map(([k, v, tip]) => [el("dt", { text: k, title: tip }), el("dd", { text: v })])));
  }
  links(block, at) {
    at.append(el("p", {}, block.links.map(([text, href, download]) => el("a", { href, text, download: download || null }))));
  }
  tabs(block, at) {
    const value = this.state[block.key] || block.value;
    const list = el("div", { role: "tablist", "aria-label": block.label });
    block.options.forEach(([v, text], i) => list.append(el("button", {
      type: "button", role: "tab", text, "aria-selected": String(v === value), tabindex: v === value ? "0" : "-1",
      "data-key": `${block.key}:${v}`, onclick: () => this.set({ [block.key]: v }, true),
      onkeydown: e => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
        if (!step) return;
        const next = block.options[(i + step + block.options.length) % block.options.length][0];
        list.querySelector(`[data-key="${CSS.escape(block.key + ":" + next)}"]`).focus();
        this.set({ [block.key]: next }, true);
      } })));
    at.append(list);
    // On a narrow screen the list is wider than the page: bring the chosen one into it.
    requestAnimationFrame(() => { const on = list.querySelector('[aria-selected="true"]');
      if (on) list.scrollLeft = on.offsetLeft - list.offsetLeft - (list.clientWidth - on.offsetWidth) / 2; });
  }
  controls(block, at) {
    for (const c of block.controls) {
      const value = this.state[c.key] ?? c.value ?? "", id = `fb-${block.id}-${c.key}`, key = `control:${c.key}`;
      let input;
      if (c.kind === "search") {
        input = el("input", { type: "search", id, value, placeholder: c.hint, "data-key": key, oninput: e => {
          clearTimeout(this.typing); this.typing = setTimeout(() => this.set({ [c.key]: e.target.value }), 150); } });
      } else if (c.kind === "check") {
        input = el("input", { type: "checkbox", id, checked: value === "yes", "data-key": key,
                              onchange: e => this.set({ [c.key]: e.target.checked ? "yes" : "no" }) });
      } else {
        input = el("select", { id, "data-key": key, onchange: e => this.set({ [c.key]: e.target.value }) },
          c.options.map(([v, text]) => el("option", { value: v, text, selected: v === value })));
      }
      at.append(el("label", { for: id, class: c.kind === "check" ? "fb-check" : "" }, el("span", { text: c.label }), input));
    }
  }
  // A table sorts, filters and turns its leaves here. Cells are text; `keys` gives numbers to sort by.
  table(block, at) {
    const memory = this.tables[block.id] = this.tables[block.id] || { sort: block.sort || null, word: "", page: 0 };
    if (!block.rows.length) {  // nothing to sort: one line says so
      at.append(...this.title(block).filter(Boolean));
      if (!block.note) at.append(el("p", { class: "fb-note", text: `0 ${block.unit || "rows"}` }));
      return;
    }
    const size = block.page || 25, chosen = new Set((this.state[block.choose] || "").split(",").filter(Boolean));
    const count = el("p", { class: "fb-note", "aria-live": "polite" }), table = el("table"), pager = el("p", { class: "fb-pager" });
    const sortKey = (row, j) => { const k = block.keys && block.keys[j]; return k ? k[row] : block.rows[row][j]; };
    const fill = () => {
      const word = memory.word.trim().toLowerCase();
      let index = block.rows.map((_, i) => i);
      if (word) index = index.filter(i => block.rows[i].some(c => String(c).toLowerCase().includes(word)));
      if (memory.sort) {
        const [j, way] = memory.sort;
        index.sort((a, b) => {
          const x = sortKey(a, j), y = sortKey(b, j);
          if (x === null || y === null) return (x === null) - (y === null) || a - b;
          return way * (x < y ? -1 : x > y ? 1 : 0) || a - b;
        });
      }
      const pages = Math.max(1, Math.ceil(index.length / size));
      memory.page = Math.min(memory.page, pages - 1);
      const head = el("tr", {}, block.choose && el("th", { scope: "col" }, el("span", { class: "fb-sr", text: "Compare" })), block.columns.map((c, j) => {
        const way = memory.sort && memory.sort[0] === j ? memory.sort[1] : 0;
        return el("th", { scope: "col", class: (c.num ? "num" : "") + (c.fold ? " fold" : ""), "aria-sort": way > 0 ? "ascending" : way < 0 ? "descending" : "none", title: c.tip },
          el("button", { type: "button", "data-key": `${block.id}:sort:${j}`, onclick: () => { memory.sort = [j, way ? -way : c.num ? -1 : 1]; memory.page = 0; fill(); } },
            c.label, el("span", { "aria-hidden": "true", text: way > 0 ? " ▲" : way < 0 ? " ▼" : "" })));
      }));
      const body = index.slice(memory.page * size, (memory.page + 1) * size).map(i => {
        const row = block.rows[i], go = block.go && block.go[i];
        const cells = row.map((text, j) => {
          const c = block.columns[j], shown = text === null ? "" : String(text);
          const tone = c.num && /^[-−]/.test(shown) ? " neg" : "";
          const inner = j === (block.lead || 0) && go
            ? (go.href ? el("a", { href: go.href, text: shown })
                       : el("button", { type: "button", class: "fb-link", text: shown, onclick: () => { this.jump = go.jump; this.set(go.set, true); } }))
            : document.createTextNode(shown);
          return el("td", { class: (c.num ? "num" : c.wrap ? "wrap" : c.fold ? "fold" : "") + tone, title: c.full ? shown : null, "data-label": c.label }, inner);
        });
        const id = block.choose && block.ids[i];
        const box = id && el("td", { class: "fb-choose" }, el("input", { type: "checkbox", checked: chosen.has(id), "aria-label": `Compare ${row[block.lead || 0]}`,
          "data-key": `choose:${id}`, onchange: e => {
            if (e.target.checked && chosen.size >= (block.most || 5)) {
              e.target.checked = false; this.status.textContent = `At most ${block.most || 5} at a time: take one away first.`; return; }
            chosen[e.target.checked ? "add" : "delete"](id); this.set({ [block.choose]: [...chosen].join(",") }); } }));
        return el("tr", { "data-row": i, class: block.tones && block.tones[i] }, box, cells);
      });
      table.replaceChildren(el("thead", {}, head), el("tbody", {}, body));
      count.textContent = (word ? `${index.length.toLocaleString("en")} of ` : "") + `${block.rows.length.toLocaleString("en")} ${plural(block.rows.length, block.unit || "rows")}` + (block.more ? `; ${block.more}` : "");
      pager.replaceChildren();
      if (pages > 1) {
        const turn = (by, text) => el("button", { type: "button", text, disabled: memory.page + by < 0 || memory.page + by >= pages, onclick: () => { memory.page += by; fill(); } });
        pager.append(turn(-1, "‹ Previous"), el("span", { text: `${memory.page + 1} of ${pages}` }), turn(1, "Next ›"));
      }
    };
    at.append(...this.title(block).filter(Boolean));
    if (block.rows.length > 8) at.append(el("label", { class: "fb-filter" }, el("span", { class: "fb-sr", text: `Filter ${block.unit || "rows"}` }),
      el("input", { type: "search", value: memory.word, placeholder: "Filter …", "data-key": `${block.id}:filter`,
                    oninput: e => { memory.word = e.target.value; memory.page = 0; fill(); } })));
    if (block.stack) at.classList.add("fb-stack");
    at.append(el("div", { class: "fb-scroll", tabindex: "0", role: "region", "aria-label": block.title || block.unit || "Table" }, table), count, pager);
    fill();
  }
  chart(block, at) {
    let plot = at.querySelector(".fb-plot");
    if (!plot) {
      plot = el("div", { class: "fb-plot", role: "img" });
      at.append(el("h2"), el("p", { class: "fb-note" }), plot);
    }
    at.querySelector("h2").textContent = block.title;
    at.querySelector(".fb-note").textContent = block.note || "";
    plot.setAttribute("aria-label", `${block.title} ${block.note || ""}`);
    if (!at.isConnected) { requestAnimationFrame(() => this.chart(block, at)); return; }  // a chart needs to know its width
    const spec = JSON.parse(JSON.stringify(block.spec)), layout = spec.layout, phone = narrow.matches;
    layout.template = this.themes[+isDark()];
    const slim = (layout.meta || {}).narrow || {};
    if (phone) { spec.data.forEach(t => merge(t, slim.data || {})); merge(layout, slim.layout || {}); }
    // Without a legend there is nothing above the picture.
    const named = spec.data.filter(t => t.name && t.showlegend !== false && !["heatmap", "candlestick", "parcoords"].includes(t.type)).length;
    if (named < 2 && layout.showlegend !== true && layout.margin && !spec.data.some(t => t.type === "parcoords") && !(layout.meta || {}).still && !layout.xaxis2) {
      layout.height = (layout.height || 400) - Math.max(0, layout.margin.t - 16);
      layout.margin.t = Math.min(layout.margin.t, 16);
    }
    const height = Math.max(160, (layout.height || 400) - 76);
    plot.style.height = `${height}px`;
    layout.height = height;
    if (coarse.matches) layout.dragmode = false;
    const config = coarse.matches ? { ...spec.config, displayModeBar: false } : spec.config;
    window.Plotly.react(plot, spec.data, layout, config).then(() => {
      at.dataset.drawn = this.asked;
      if (block.zoom && !plot.dataset.listens) {
        plot.dataset.listens = "yes";
        plot.on("plotly_relayout", e => this.zoomed(block.id, e));
      }
    });
  }
  zoomed(id, event) {
    const key = this.blocks.get(id).zoom;
    const range = event["xaxis.range"] || (event["xaxis.range[0]"] !== undefined ? [event["xaxis.range[0]"], event["xaxis.range[1]"]] : null);
    if (range) this.set({ [key]: range.map(x => typeof x === "number" ? x : Date.parse(x.replace(" ", "T") + "Z")).map(Math.round).join("~") });
    else if (event["xaxis.autorange"]) this.set({ [key]: "" });
  }
}

export default {
  render({ model, el: root }) { new Page(model, root); },
};
