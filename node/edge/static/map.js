// Piles as dots on a canvas: thousands stay smooth, because a change redraws once per frame and draws each state in one pass.

const STATES = ["free", "claim", "opened", "charging"]; // drawn in this order: what is going on lies on top
const DEGREE_KM = 111.32;
const MARGIN_PX = 28;

/** A map of piles in a box with a canvas, a tip and a scale. */
export class PileMap {
  #canvas;
  #tip;
  #scale;
  #piles = new Map();
  #points = [];
  #frame = 0;
  #describe;

  constructor(box, describe) {
    this.#canvas = box.querySelector("canvas");
    this.#tip = box.querySelector(".tip");
    this.#scale = box.querySelector(".scale");
    this.#describe = describe;
    new ResizeObserver(() => this.#project()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.#canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.#canvas.addEventListener("pointerleave", () => { this.#tip.hidden = true; });
  }

  /** Show these piles. */
  show(piles) {
    this.#piles = new Map(piles.map((pile) => [pile.name, pile]));
    this.#project();
  }

  /** A pile does something else now. */
  update(name, state) {
    const pile = this.#piles.get(name);
    if (pile && pile.state !== state) {
      pile.state = state;
      this.draw();
    }
  }

  /** How many piles are in each state. */
  counts() {
    const counts = { free: 0, claim: 0, opened: 0, charging: 0 };
    for (const pile of this.#piles.values()) counts[pile.state] += 1;
    return counts;
  }

  /** Draw with the next frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  /** Equirectangular, true at the middle latitude: exact enough for a city. Outliers beyond the 1st and 99th percentile fall to the edge. */
  #project() {
    const box = this.#canvas.parentElement.getBoundingClientRect();
    const piles = [...this.#piles.values()];
    if (!box.width || !piles.length) {
      this.#points = [];
      this.draw();
      return;
    }
    const [south, north] = range(piles.map((pile) => pile.latitude_e7 / 1e7));
    const narrowing = Math.cos((((south + north) / 2) * Math.PI) / 180);
    const [west, east] = range(piles.map((pile) => (pile.longitude_e7 / 1e7) * narrowing));
    const width = box.width - 2 * MARGIN_PX;
    const height = box.height - 2 * MARGIN_PX;
    const scale = Math.min(width / Math.max(east - west, 0.01), height / Math.max(north - south, 0.01));
    const left = box.width / 2 - ((west + east) / 2) * scale;
    const top = box.height / 2 + ((south + north) / 2) * scale;
    const inside = (value, size) => Math.min(Math.max(value, MARGIN_PX / 2), size - MARGIN_PX / 2);
    this.#points = piles.map((pile) => ({
      pile,
      x: inside(left + (pile.longitude_e7 / 1e7) * narrowing * scale, box.width),
      y: inside(top - (pile.latitude_e7 / 1e7) * scale, box.height),
    }));
    fan(this.#points, this.#radius());
    this.#showScale(scale / DEGREE_KM, box.width);
    this.draw();
  }

  #radius() {
    return this.#points.length > 1500 ? 2.2 : this.#points.length > 300 ? 3 : 4.5;
  }

  #showScale(pixelsPerKm, width) {
    const km = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].findLast((length) => length * pixelsPerKm < width / 4) ?? 0.1;
    this.#scale.style.width = `${Math.round(km * pixelsPerKm)}px`;
    this.#scale.textContent = km < 1 ? `${km * 1000} m` : `${km} km`;
  }

  #paint() {
    const ratio = devicePixelRatio || 1;
    const box = this.#canvas.parentElement.getBoundingClientRect();
    this.#canvas.width = Math.round(box.width * ratio);
    this.#canvas.height = Math.round(box.height * ratio);
    const pen = this.#canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.#canvas);
    const radius = this.#radius();
    for (const state of STATES) {
      const points = this.#points.filter((point) => point.pile.state === state);
      const grown = state === "free" ? radius : radius * 1.25;
      if (state !== "free") this.#dots(pen, points, grown * 2.2, style.getPropertyValue(`--${state}-glow`));
      this.#dots(pen, points, grown, style.getPropertyValue(`--${state}`));
    }
  }

  #dots(pen, points, radius, colour) {
    pen.fillStyle = colour;
    pen.beginPath();
    for (const { x, y } of points) {
      pen.moveTo(x + radius, y);
      pen.arc(x, y, radius, 0, 2 * Math.PI);
    }
    pen.fill();
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null;
    let least = 14 ** 2;
    for (const point of this.#points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [nearest, least] = [point, distance];
    }
    this.#tip.hidden = !nearest;
    if (nearest) {
      this.#tip.textContent = this.#describe(nearest.pile);
      this.#tip.style.left = `${Math.min(nearest.x, box.width - 180)}px`;
      this.#tip.style.top = `${nearest.y}px`;
    }
  }
}

/** Lower and upper bound of what lies between the 1st and the 99th percentile. */
function range(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const cut = Math.floor(sorted.length / 100);
  return [sorted[cut], sorted[sorted.length - 1 - cut]];
}

/** Piles of one station stand on one point: set them around it in a sunflower, so that each can be seen. */
function fan(points, radius) {
  const stations = Map.groupBy(points, (point) => `${Math.round(point.x)}:${Math.round(point.y)}`);
  for (const station of stations.values()) {
    if (station.length === 1) continue;
    station.forEach((point, at) => {
      const distance = radius * 1.25 * Math.sqrt(at);
      point.x += distance * Math.cos(at * 2.39996);
      point.y += distance * Math.sin(at * 2.39996);
    });
  }
}
