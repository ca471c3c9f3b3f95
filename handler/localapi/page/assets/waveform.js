// A sound as a picture that can be played: a button, the waveform with a slider over it, the time.
import { element, icon } from "./element.js";
import { length } from "./words.js";

const columns = 160;

// buildPlayer returns {root, load(file) → seconds, stop()}. load rejects what this browser cannot decode; the file then can
// still be sent.
export function buildPlayer() {
  let peaks = [];
  let seconds = 0;
  let url = "";
  const sound = new Audio();
  const button = element("button", { type: "button", class: "icon-button round", "aria-label": "Play the voice" }, icon("play"));
  const canvas = element("canvas", { "aria-hidden": "true" });
  const slider = element("input", { type: "range", min: 0, max: 1000, value: 0, step: 1, "aria-label": "Position in the voice" });
  const clock = element("output", { class: "clock" }, "0 s");
  const root = element("div", { class: "player" }, button, element("div", { class: "wave" }, canvas, slider), clock);

  const show = () => {
    const part = seconds > 0 ? Math.min(1, sound.currentTime / seconds) : 0;
    slider.value = Math.round(1000 * part);
    slider.setAttribute("aria-valuetext", `${length(sound.currentTime)} of ${length(seconds)}`);
    clock.textContent =
      sound.currentTime > 0 ? `${length(Number(sound.currentTime.toFixed(1)))} / ${length(seconds)}` : length(seconds);
    draw(canvas, peaks, part);
  };
  const follow = () => {
    show();
    if (!sound.paused) {
      requestAnimationFrame(follow);
    }
  };
  button.addEventListener("click", () => (sound.paused ? sound.play().catch(() => {}) : sound.pause()));
  slider.addEventListener("input", () => {
    sound.currentTime = (Number(slider.value) / 1000) * seconds;
    show();
  });
  for (const event of ["play", "pause", "ended"]) {
    sound.addEventListener(event, () => {
      button.replaceChildren(icon(sound.paused ? "play" : "pause"));
      button.setAttribute("aria-label", sound.paused ? "Play the voice" : "Pause the voice");
      if (event === "ended") {
        sound.currentTime = 0;
      }
      follow();
    });
  }
  new ResizeObserver(show).observe(canvas);
  new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);

  return {
    root,
    async load(file) {
      this.stop();
      peaks = [];
      seconds = 0;
      url = URL.createObjectURL(file);
      sound.src = url;
      // Offline, because a context for the loudspeaker waits for a click.
      const decoded = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
      seconds = decoded.duration;
      peaks = peaksOf(decoded);
      show();
      return seconds;
    },
    stop() {
      sound.pause();
      sound.removeAttribute("src");
      URL.revokeObjectURL(url);
    },
  };
}

// peaksOf is the largest sample of each column, the loudest being 1.
function peaksOf(decoded) {
  const samples = decoded.getChannelData(0);
  const peaks = new Array(columns).fill(0);
  for (let i = 0; i < samples.length; i++) {
    const column = Math.floor((i * columns) / samples.length);
    peaks[column] = Math.max(peaks[column], Math.abs(samples[i]));
  }
  const loudest = Math.max(...peaks, 1e-4);
  return peaks.map((peak) => peak / loudest);
}

// draw draws a bar per column; those before part in the accent's colour.
function draw(canvas, peaks, part) {
  const sharp = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * sharp);
  const height = Math.round(canvas.clientHeight * sharp);
  if (width === 0 || height === 0) {
    return;
  }
  canvas.width = width;
  canvas.height = height;
  const ink = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const shown = Math.min(peaks.length, Math.floor(canvas.clientWidth / 3)); // a bar and a gap have at least 3 pixels
  const pitch = width / shown;
  for (let i = 0; i < shown; i++) {
    const from = Math.floor((i * peaks.length) / shown);
    const to = Math.max(from + 1, Math.floor(((i + 1) * peaks.length) / shown));
    const bar = Math.max(2 * sharp, Math.max(...peaks.slice(from, to)) * height * 0.92);
    ink.fillStyle = i / shown < part ? style.outlineColor : style.color;
    ink.beginPath();
    ink.roundRect(i * pitch, (height - bar) / 2, Math.max(1, pitch * 0.62), bar, pitch * 0.31);
    ink.fill();
  }
}
