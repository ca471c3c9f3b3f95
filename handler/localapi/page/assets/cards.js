// What a clip costs on a card. A price and a speed belong to each card; both are starting points for the visitor, who sees
// where they are from and can change them. The changes stay in this browser.

// date is when the figures were looked up.
export const date = "23 Nov 2026";

// prices: dollars per hour of a serverless GPU (RunPod's flex workers). speeds: what the published times of Wan 2.1 (14B and
// 1.3B, which HuMo is made of) come to, in TFLOP per second; a card without published times is not in the list.
const cards = [
  { id: "here", name: "This machine" }, // its speed is the server's estimate
  { id: "4090", name: "RTX 4090", price: 1.12, speed: 108 },
  { id: "a100", name: "A100 80 GB", price: 2.74, speed: 195 },
  { id: "h100", name: "H100 80 GB", price: 4.18, speed: 355 },
  { id: "h200", name: "H200 141 GB", price: 5.58, speed: 367 },
  { id: "own", name: "Another card" },
];

const storage = "humo.cards";

// Cards is the list with the visitor's own figures.
export class Cards {
  #own = { chosen: "here", figures: {} };

  constructor() {
    try {
      const own = JSON.parse(localStorage.getItem(storage));
      if (own && typeof own.figures === "object") {
        this.#own = own;
      }
    } catch {
      // no storage, or somebody else's: the list as it stands
    }
  }

  get all() {
    return cards;
  }

  get chosen() {
    const card = cards.find((one) => one.id === this.#own.chosen) ?? cards[0];
    return { ...card, ...this.#own.figures[card.id] };
  }

  choose(id) {
    this.#own.chosen = id;
    this.#save();
  }

  // set changes a figure (price or speed) of the chosen card; undefined is the list's.
  set(figure, value) {
    const { id } = this.chosen;
    const figures = { ...this.#own.figures[id], [figure]: value };
    if (value === undefined) {
      delete figures[figure];
    }
    this.#own.figures[id] = figures;
    this.#save();
  }

  #save() {
    try {
      localStorage.setItem(storage, JSON.stringify(this.#own));
    } catch {
      // then until the page is left
    }
  }
}

// costOn is what an estimate comes to on a card: {seconds, dollars}, each undefined if it is not known.
export function costOn(card, { seconds, tflop }) {
  const here = card.id === "here";
  const takes = here ? seconds : card.speed > 0 ? tflop / card.speed : undefined;
  const dollars = takes > 0 && card.price >= 0 ? (takes / 3600) * card.price : undefined;
  return { seconds: takes > 0 ? takes : undefined, dollars };
}
