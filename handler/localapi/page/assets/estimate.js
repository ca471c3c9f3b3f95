// The bar at the foot of the form: what the clip on screen would take, asked of the server while one types, and what it would
// cost.
import * as api from "./api.js";
import { Cards, costOn, date } from "./cards.js";
import { element } from "./element.js";
import { count, duration, money, plural } from "./words.js";

const pause = 350; // ms after the last change before the server is asked

// A tenth of a second of silence and a white dot stand in for what is not chosen yet: an estimate does not depend on what is in
// a file.
const silence =
  "data:audio/wav;base64," +
  btoa("RIFF\x44\x03\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x20\x03\0\0" + "\x80".repeat(800));
const dot = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";

// buildEstimate fills the bar. onAnswer(result, problems, filledIn) is called with each answer: the server's result or null,
// what is wrong with the job, and the fields that something stood in for.
export function buildEstimate(bar, onAnswer) {
  const cards = new Cards();
  let last = null; // the server's newest result
  const time = element("strong", { class: "bar-time" }, "–");
  const detail = element("span", { class: "quiet" }, "");
  const cost = element("span", {});
  const submit = element("button", { type: "submit", class: "primary", id: "generate" }, "Generate");
  const card = element(
    "select",
    { id: "card", onchange: () => (cards.choose(card.value), showCard()) },
    ...cards.all.map((one) => element("option", { value: one.id, selected: one.id === cards.chosen.id }, one.name)),
  );
  const price = figure("price", "Dollars per hour");
  const speed = figure("speed", "TFLOP per second");
  const source = element("p", { class: "hint" });
  const figures = element(
    "details",
    { class: "cost" },
    element("summary", {}, cost),
    element(
      "div",
      { class: "cost-figures" },
      element("div", { class: "field" }, element("label", { for: "card" }, "Card"), card),
      price.root,
      speed.root,
      source,
    ),
  );
  bar.append(element("p", { class: "bar-line", id: "estimate" }, time, " ", detail), figures, submit);

  function figure(name, title) {
    const input = element("input", {
      type: "number",
      id: `card-${name}`,
      min: 0,
      step: "any",
      inputmode: "decimal",
      oninput: () => {
        cards.set(name, input.value === "" ? undefined : Number(input.value));
        show();
      },
    });
    return { input, root: element("div", { class: "field" }, element("label", { for: input.id }, title), input) };
  }
  const showCard = () => {
    const chosen = cards.chosen;
    price.input.value = chosen.price ?? "";
    speed.input.value = chosen.speed ?? "";
    speed.root.hidden = chosen.id === "here";
    source.textContent =
      chosen.id === "here"
        ? "The time is the server's own estimate. Type what an hour of this machine costs."
        : chosen.id === "own"
          ? "Type what an hour costs, and how fast the card denoises."
          : `Price: RunPod's flex workers on ${date}. Speed: from Wan 2.1's published times. Change either.`;
    show();
  };
  const show = () => {
    bar.classList.remove("stale");
    const chosen = cards.chosen;
    const name = named(chosen);
    if (!last) {
      cost.textContent = `Price of ${name}`;
      return;
    }
    const { passes, steps, tokens, tflop, seconds } = last.estimate;
    const on = costOn(chosen, last.estimate);
    time.textContent = seconds >= 1 ? `About ${duration(seconds)}` : seconds > 0 ? "Under 1 s" : "Time not known";
    detail.textContent = `${plural(passes * steps, "pass", "passes")} (${passes} × ${plural(steps, "step")})`;
    detail.title = `${count(tokens)} tokens a pass, ${count(Math.round(tflop))} TFLOP`;
    if (on.dollars === undefined) {
      cost.textContent = on.seconds === undefined ? "Set price and speed" : "Set a price";
    } else {
      cost.textContent =
        chosen.id === "here" ? `${money(on.dollars)} on ${name}` : `${money(on.dollars)} and ${duration(on.seconds)} on ${name}`;
    }
  };
  const fail = (why) => {
    last = null;
    time.textContent = "–";
    detail.textContent = why;
    detail.title = "";
    show();
  };

  let timer = 0;
  let asking = new AbortController();
  // refresh asks the server, a moment after the last call.
  const refresh = (read) => {
    clearTimeout(timer);
    asking.abort();
    bar.classList.add("stale");
    timer = setTimeout(() => ask(read()), pause);
  };
  const ask = async ({ input, problems }) => {
    const [full, filledIn] = fillIn(input);
    if (problems.length > 0 || !full) {
      fail(full ? "Correct the marked fields." : "The voice decides the length: choose it first.");
      onAnswer(null, problems, filledIn);
      return;
    }
    const asked = (asking = new AbortController());
    try {
      const result = await api.estimate(full, asked.signal);
      last = result;
      show();
      onAnswer(result, [], filledIn);
    } catch (failure) {
      if (!asked.signal.aborted) {
        fail(failure.details?.length > 0 ? "Correct the marked fields." : failure.message);
        onAnswer(null, failure.details ?? [], filledIn);
      }
    }
  };
  showCard();
  new ResizeObserver(() => (document.documentElement.style.scrollPaddingBottom = `${bar.offsetHeight + 24}px`)).observe(bar);
  return { refresh, submit };
}

const named = (card) => (card.id === "here" ? "this machine" : card.id === "own" ? "another card" : card.name);

// fillIn completes a job that is not complete yet, and says with which fields; null if nothing can stand in.
function fillIn(input) {
  const full = { ...input };
  const filledIn = [];
  const stand = (name, value) => {
    if (full[name] === undefined || full[name].length === 0) {
      full[name] = value;
      filledIn.push(name);
    }
  };
  if (input.audio === undefined && input.frames === "auto") {
    return [null, []];
  }
  stand("prompt", "-");
  stand("audio", silence);
  if (input.mode === "TIA") {
    stand("images", [dot]);
  }
  return [full, filledIn];
}
