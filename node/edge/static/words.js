// The page's texts in both languages, and numbers as each language writes them.

const WORDS = {
  en: {
    skip: "Skip to content", now: "Now", height: "Block height", charging_now: "Charging now", settled: "Sessions settled",
    turnover: "Billed", piles: "Charging piles", nodes: "Nodes", blocks: "Blocks", sessions: "Sessions", money: "Money",
    blocks_hint: "newest first · company that kept the book", state_root: "State root", state: "State", pile: "Pile", operator: "Operator",
    driver: "Driver", energy: "Energy", amount: "Amount", opened: "Opened", company: "Company", earned: "Earned",
    due: "Owes (−) / is owed", headroom: "Headroom", claims: "Who owes whom", api_docs: "API documentation",
    live: "live", loading: "connecting", lost: "reconnecting",
    free: "free", "state.opened": "reserved", "state.charging": "charging", "state.settled": "settled", "state.claim": "timed out", "state.expired": "not started",
    all: "all",
    piles_of: (all, free) => `of ${all} piles, ${free} free`,
    energy_of: (text) => `${text} delivered`,
    sum_zero: "books balance: sum ¥0.00", sum_wrong: (text) => `books do not balance: ${text}`,
    balance_badge: "Σ = 0", all_equal: "all states equal", some_equal: (equal, all) => `${equal} of ${all} signed this state`,
    equal: "state equal", equal_at: (height) => `equal at ${height}`, unproven: "no signature yet", offline: "not connected", this_node: "this node",
    transactions: (many) => (many === 1 ? "1 transaction" : `${count(many)} transactions`), empty_block: "empty",
    no_sessions: "No sessions yet. The first one appears here the moment it is sealed.",
    no_piles: "No piles are registered yet.", no_claims: "Nobody owes anybody anything yet.", no_blocks: "No block is sealed yet.",
    loading_data: "Loading …", failed: "The node does not answer. Trying again …", core_gone: "This node's core is restarting; what is shown is the last sealed state.",
    map_label: (all, charging) => `Map of ${all} charging piles, ${charging} of them charging`,
    "role.operator": "operator", "role.lab": "metrology lab", "role.maintenance": "maintenance", "role.grid": "grid", "role.regulator": "regulator",
  },
  zh: {
    skip: "跳到正文", now: "当前", height: "区块高度", charging_now: "正在充电", settled: "已结算会话",
    turnover: "账单总额", piles: "充电桩", nodes: "节点", blocks: "区块", sessions: "充电会话", money: "资金",
    blocks_hint: "最新在前 · 记账公司", state_root: "状态根", state: "状态", pile: "充电桩", operator: "运营商",
    driver: "车主", energy: "电量", amount: "金额", opened: "开始时间", company: "公司", earned: "收入",
    due: "应付（−）/ 应收", headroom: "可用额度", claims: "公司间应付", api_docs: "接口文档",
    live: "实时", loading: "连接中", lost: "重新连接中",
    free: "空闲", "state.opened": "已预约", "state.charging": "充电中", "state.settled": "已结算", "state.claim": "已超时", "state.expired": "未启动",
    all: "全部",
    piles_of: (all, free) => `共 ${all} 桩，空闲 ${free}`,
    energy_of: (text) => `共充 ${text}`,
    sum_zero: "账目平衡：合计 ¥0.00", sum_wrong: (text) => `账目不平：${text}`,
    balance_badge: "Σ = 0", all_equal: "状态全部一致", some_equal: (equal, all) => `${equal} / ${all} 已签同一状态`,
    equal: "状态一致", equal_at: (height) => `一致于 ${height}`, unproven: "尚无签名", offline: "未连接", this_node: "本节点",
    transactions: (many) => `${count(many)} 笔交易`, empty_block: "空块",
    no_sessions: "还没有充电会话。第一笔封存后会立刻出现在这里。",
    no_piles: "尚未登记充电桩。", no_claims: "公司之间互不相欠。", no_blocks: "尚无封存的区块。",
    loading_data: "加载中 …", failed: "节点没有响应，正在重试 …", core_gone: "本节点的共识进程正在重启；显示的是最后封存的状态。",
    map_label: (all, charging) => `${all} 个充电桩的地图，其中 ${charging} 个正在充电`,
    "role.operator": "运营商", "role.lab": "检定机构", "role.maintenance": "运维机构", "role.grid": "供电公司", "role.regulator": "监管部门",
  },
};

const KEY = "pilechain.language";

let language = localStorage.getItem(KEY) ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** The language in use: "zh" or "en". */
export function currentLanguage() {
  return language;
}

/** Use a language from now on, and on the next visit. */
export function useLanguage(next) {
  language = next;
  localStorage.setItem(KEY, next);
}

/** A text; some take arguments. */
export function word(key, ...given) {
  const text = WORDS[language][key] ?? key;
  return typeof text === "function" ? text(...given) : text;
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** A count with thousands separators. */
export function count(value) {
  return value.toLocaleString(locale());
}

/** Fen as yuan: ¥1,234.56; a minus sign for debts. */
export function yuan(fen) {
  const text = (Math.abs(fen) / 100).toLocaleString(locale(), { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return `${fen < 0 ? "−" : ""}¥${text}`;
}

/** Fen as yuan for large sums: whole yuan, or ten thousands of them (万) in Chinese, thousands in English. */
export function roughYuan(fen) {
  const sign = fen < 0 ? "−" : "";
  const value = Math.abs(fen) / 100;
  if (value < 100_000) return yuan(fen);
  const [unit, name] = language === "zh" ? [10_000, "万"] : [1_000_000, "M"];
  return `${sign}¥${(value / unit).toLocaleString(locale(), { maximumFractionDigits: 2 })}${language === "zh" ? " " : ""}${name}`;
}

/** Wh as kWh or MWh. */
export function energy(wh) {
  const [value, unit] = wh >= 10_000_000 ? [wh / 1e6, "MWh"] : [wh / 1e3, "kWh"];
  return `${value.toLocaleString(locale(), { minimumFractionDigits: 1, maximumFractionDigits: unit === "MWh" ? 2 : 1 })} ${unit}`;
}

/** Chain time, to the second. */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString(locale(), { hour12: false });
}

/** Chain time with its day. */
export function dayAndClock(ms) {
  return new Date(ms).toLocaleString(locale(), {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
  });
}
