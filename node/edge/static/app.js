// The live page: asks its own node once for what there is, then follows the event streams. Nothing comes from elsewhere.

import { PileMap } from "./map.js";
import { clock, count, currentLanguage, dayAndClock, energy, roughYuan, useLanguage, word, yuan } from "./words.js";

const BLOCKS_SHOWN = 24;
const SESSIONS_SHOWN = 16;
const REFRESH_MS = 1500; // sums and heights: often enough to look live, seldom enough to cost the node nothing
const AGREEMENT_LAG = 8; // blocks that may be under way at once; a seal holds a quorum of votes, not all
const PILES_MS = 60_000; // piles are registered seldom
const RETRY_MS = 3000;

const at = (id) => document.getElementById(id);
const shown = { filter: "", newestStep: 0, status: null, network: null, blocks: null, sessions: null, companies: null, piles: null };
const map = new PileMap(at("map-box"), (pile) =>
  `${pile.name}\n${company(pile.operator)} · ${pile.power_w / 1000} kW · ${stateWord(pile.state)}`);

/** An element with class and children; text is only ever set as text, because names come from the chain. */
function make(name, className = "", ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

const stateWord = (state) => word(state === "free" ? "free" : `state.${state}`);

function company(name) {
  const known = shown.companies?.companies.find((one) => one.name === name);
  return (currentLanguage() === "zh" && known?.display_name) || name;
}

// ── what is shown ──────────────────────────────────────────────────────────────────────────────────────────────────────

function showFigures() {
  const newest = shown.blocks?.[0];
  at("figure-height").textContent = newest ? count(newest.height) : "–";
  at("figure-time").textContent = newest ? dayAndClock(newest.time_ms) : "";
  if (shown.piles) {
    const counts = map.counts();
    at("figure-charging").textContent = count(counts.charging);
    at("figure-piles").textContent = word("piles_of", count(shown.piles.length), count(counts.free));
  }
  if (!shown.companies) return;
  const total = (field) => shown.companies.companies.reduce((sum, one) => sum + one[field], 0);
  at("figure-settled").textContent = count(total("sessions"));
  at("figure-energy").textContent = word("energy_of", energy(total("energy_wh")));
  at("figure-turnover").textContent = roughYuan(total("revenue_fen"));
  const sum = shown.companies.balances_sum_fen;
  at("figure-sum").textContent = sum === 0 ? word("sum_zero") : word("sum_wrong", yuan(sum));
  at("figure-sum").classList.toggle("bad", sum !== 0);
}

function showLegend() {
  const counts = map.counts();
  at("legend").replaceChildren(...["charging", "opened", "claim", "free"].map((state) =>
    make("li", "", make("i", state), stateWord(state), make("b", "", count(counts[state])))));
  at("map").setAttribute("aria-label", word("map_label", shown.piles?.length ?? 0, counts.charging));
  at("map-empty").textContent = shown.piles === null ? word("loading_data") : shown.piles.length ? "" : word("no_piles");
}

function agreement(node) {
  const { height } = shown.network;
  if (node.self || (node.agreed_height !== null && height - node.agreed_height <= AGREEMENT_LAG)) return ["equal", word("equal")];
  if (node.agreed_height !== null) return ["behind", word("equal_at", count(node.agreed_height))];
  return ["", word("unproven")];
}

function showNodes() {
  if (!shown.network) {
    at("nodes").replaceChildren(make("li", "empty", word("loading_data")));
    return;
  }
  const { nodes } = shown.network;
  let equal = 0;
  at("nodes").replaceChildren(...nodes.map((node) => {
    const [kind, text] = agreement(node);
    if (kind === "equal") equal += 1;
    const name = make("span", "name", company(node.name));
    if (node.self) name.append(make("span", "me", word("this_node")));
    const dot = make("i", node.connected ? "dot up" : "dot");
    const roles = node.roles.map((role) => word(`role.${role}`)).join(" · ");
    return make("li", "",
      dot,
      make("div", "who", name, make("div", "sub", roles)),
      make("div", "where",
        make("div", "", node.connected && node.height !== null ? count(node.height) : word("offline")),
        make("div", `agree ${kind}`, text)));
  }));
  const badge = at("nodes-badge");
  badge.textContent = equal === nodes.length ? word("all_equal") : word("some_equal", equal, nodes.length);
  badge.classList.toggle("warn", 3 * equal <= 2 * nodes.length); // more than two thirds: no other state can be sealed
  at("root").textContent = shown.network.state_root ? `${shown.network.state_root.slice(0, 12)}…${shown.network.state_root.slice(-8)}` : "–";
  at("root").title = shown.network.state_root;
}

function showBlocks(fresh = null) {
  if (!shown.blocks?.length) {
    at("blocks").replaceChildren(make("li", "empty", word(shown.blocks ? "no_blocks" : "loading_data")));
    return;
  }
  const most = Math.max(8, ...shown.blocks.map((block) => block.transactions));
  at("blocks").replaceChildren(...shown.blocks.map((block) => {
    const fill = make("i");
    fill.style.width = `${(100 * block.transactions) / most}%`;
    const text = block.transactions ? word("transactions", block.transactions) : word("empty_block");
    return make("li", block.height === fresh ? "new" : "",
      make("div", "height", count(block.height)),
      make("div", "keeper", company(block.proposer)),
      make("div", "sub", text),
      make("div", "sub", clock(block.time_ms)),
      make("div", "fill", fill));
  }));
}

function showSessions() {
  const rows = shown.sessions?.map((session) => {
    const state = make("span", `state ${session.state}`, make("i"), stateWord(session.state));
    const cell = (className, ...children) => make("td", className, ...children);
    const settled = session.state === "settled";
    return make("tr", "",
      cell("", state),
      cell("long", session.pile),
      cell("wide long", company(session.operator)),
      cell("wide", make("code", "", session.driver.slice(2, 10))),
      cell("number", settled ? energy(session.energy_wh) : "–"),
      cell("number", settled ? yuan(session.total_fen) : "–"),
      cell("number wide", dayAndClock(session.opened_ms)));
  });
  at("sessions").replaceChildren(...(rows?.length ? rows : [emptyRow(7, shown.sessions ? "no_sessions" : "loading_data")]));
}

function emptyRow(columns, text) {
  const cell = make("td", "none", word(text));
  cell.colSpan = columns;
  return make("tr", "", cell);
}

function amount(fen) {
  return make("td", fen < 0 ? "number minus" : "number", fen ? roughYuan(fen) : "–");
}

function showMoney() {
  if (!shown.companies) {
    at("money").replaceChildren(emptyRow(4, "loading_data"));
    return;
  }
  at("money").replaceChildren(...shown.companies.companies.map((one) => {
    const bar = make("i");
    bar.style.width = `${one.collateral_fen ? Math.max(0, (100 * one.headroom_fen) / one.collateral_fen) : 0}%`;
    return make("tr", "",
      make("td", "long", company(one.name), one.sessions ? make("span", "sub", energy(one.energy_wh)) : ""),
      amount(one.earned_fen),
      amount(-one.due_fen),
      make("td", "number wide", one.collateral_fen ? roughYuan(one.headroom_fen) : "–", one.collateral_fen ? make("div", "bar", bar) : ""));
  }));
  const balanced = shown.companies.balances_sum_fen === 0;
  at("money-badge").textContent = balanced ? word("balance_badge") : `Σ = ${yuan(shown.companies.balances_sum_fen)}`;
  at("money-badge").classList.toggle("bad", !balanced);
  showClaims();
}

function showClaims() {
  const claims = shown.companies.claims.slice(0, 8);
  const most = Math.max(...claims.map((claim) => claim.amount_fen));
  const rows = claims.map((claim) => {
    const strip = make("i");
    strip.style.width = `${(100 * claim.amount_fen) / most}%`;
    const way = make("span", "", company(claim.debtor), make("span", "arrow", "→"), company(claim.creditor));
    return make("li", "", way, make("span", "", roughYuan(claim.amount_fen)), make("div", "strip", strip));
  });
  at("claims").replaceChildren(...(rows.length ? rows : [make("li", "empty", word("no_claims"))]));
}

function showLive(state) {
  at("live").dataset.state = state;
  at("live-text").textContent = word(state);
}

function showAll() {
  document.documentElement.lang = currentLanguage() === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === currentLanguage()));
  }
  showLive(at("live").dataset.state);
  if (shown.status) {
    at("company").textContent = company(shown.status.company);
    at("chain").textContent = `${shown.status.chain_name} · ${shown.status.chain_id} · ${shown.status.version}`;
  }
  showFigures();
  showLegend();
  showNodes();
  showBlocks();
  showSessions();
  showMoney();
}

// ── where it comes from ────────────────────────────────────────────────────────────────────────────────────────────────

/** Runs `work` now if it has not run lately, else once when it is time: bursts of events become one question. */
function calmly(work) {
  let timer = 0;
  let last = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(async () => {
      timer = 0;
      last = Date.now();
      await attempt(work);
    }, Math.max(0, last + REFRESH_MS - Date.now()));
  };
}

/** Runs `work`; while the node does not answer, says so. */
async function attempt(work) {
  try {
    await work();
    notice(shown.status && !shown.status.core_connected ? word("core_gone") : "");
    return true;
  } catch (error) {
    console.warn(error);
    notice(word("failed"));
    return false;
  }
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

async function loadPiles() {
  const piles = [];
  let page;
  do {
    const after = page ? `&after=${encodeURIComponent(page.next_after)}` : "";
    page = await ask(`/v1/piles?limit=5000${after}`);
    piles.push(...page.piles);
  } while (page.next_after);
  shown.piles = piles;
  map.show(piles);
  showLegend();
}

async function loadSums() {
  [shown.status, shown.network, shown.companies] = await Promise.all(["/v1/status", "/v1/network", "/v1/companies"].map(ask));
  if (!shown.piles?.length) await loadPiles();
  if (shown.status.indexed_height < shown.status.height) refreshSums();
  showFigures();
  showNodes();
  showMoney();
}

async function loadSessions() {
  const filter = shown.filter && `&state=${shown.filter}`;
  const page = await ask(`/v1/sessions?limit=${SESSIONS_SHOWN}${filter}`);
  shown.sessions = page.sessions;
  showSessions();
  if (page.height < shown.newestStep) refreshSessions(); // the stream was ahead of the read model
}

async function loadAll() {
  shown.blocks = (await ask(`/v1/blocks?limit=${BLOCKS_SHOWN}`)).blocks;
  await Promise.all([loadSums(), loadSessions()]);
  showAll();
}

const refreshSums = calmly(loadSums);
const refreshSessions = calmly(loadSessions);

function follow() {
  const blocks = new EventSource(`/v1/stream/blocks?after=${shown.blocks[0]?.height ?? 0}`);
  blocks.onopen = () => showLive("live");
  blocks.onerror = () => showLive("lost"); // the browser comes back by itself, with the last event's id
  blocks.addEventListener("block", (event) => {
    const block = JSON.parse(event.data);
    shown.blocks = [block, ...shown.blocks].slice(0, BLOCKS_SHOWN);
    showFigures();
    showBlocks(block.height);
    refreshSums();
  });
  const sessions = new EventSource(`/v1/stream/sessions?after=${shown.blocks[0]?.height ?? 0}-0`);
  const states = { opened: "opened", started: "charging", settled: "free", expired: "free", "timed-out": "claim" };
  for (const [name, state] of Object.entries(states)) {
    sessions.addEventListener(name, (event) => {
      const step = JSON.parse(event.data);
      shown.newestStep = Number.parseInt(step.cursor, 10);
      map.update(step.data.pile, state);
      showLegend();
      showFigures();
      refreshSessions();
    });
  }
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    useLanguage(button.dataset.language);
    showAll();
  });
}

for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    shown.filter = button.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === button));
    attempt(loadSessions);
  });
}

showAll();
while (!(await attempt(loadAll))) await new Promise((done) => setTimeout(done, RETRY_MS));
follow();
setInterval(calmly(loadPiles), PILES_MS);
setInterval(refreshSums, 4 * REFRESH_MS); // peers come and go without a block
