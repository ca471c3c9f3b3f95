// A picked sound, in the place of what it was picked with: sent to the server, drawn, played, removed.
import { announce, element } from "./element.js";
import { Upload } from "./upload.js";
import { buildPlayer } from "./waveform.js";
import { bytes, length } from "./words.js";

// buildSound puts the picker and the sound that it has picked into one place. on.change() is called when something has changed,
// on.clear() when the sound is removed.
export function buildSound(picker, on) {
  let held = null; // an Upload
  let seconds; // of it, if this browser can tell
  const player = buildPlayer();
  const name = element("p", { class: "file-name" });
  const remove = element("button", { type: "button", class: "quiet-button", onclick: () => clear(true) }, "Remove");
  const line = element("div", { class: "chosen-line" }, name, remove);
  const chosen = element("div", { class: "chosen", hidden: true }, player.root, line);
  const root = element("div", { class: "way" }, picker.root, chosen);

  const show = () => {
    chosen.hidden = held === null;
    picker.root.hidden = held !== null;
    if (held) {
      const { name: called, size } = held.file;
      const state = held.failure ? "not sent" : held.source ? "" : "sending …";
      name.textContent = [called, bytes(size), seconds ? length(seconds) : "", state].filter(Boolean).join(" · ");
    }
  };
  const clear = (byHand = false) => {
    held?.cancel();
    held = null;
    seconds = undefined;
    player.stop();
    show();
    on.clear();
    on.change();
    if (byHand) {
      picker.focus();
    }
  };
  // take takes a file; source is that of a file that the server has.
  const take = async (file, source = "") => {
    held?.cancel();
    const one = (held = new Upload(file, source));
    seconds = undefined;
    const update = () => {
      if (held === one) {
        show();
        on.change();
      }
    };
    one.send(update);
    update();
    try {
      const lasts = await player.load(file);
      if (held === one) {
        seconds = lasts;
        player.root.hidden = false;
        announce(`Voice: ${file.name}, ${length(lasts)}.`);
      }
    } catch {
      player.root.hidden = true; // the server knows more formats
    }
    update();
  };
  return {
    root,
    take,
    clear,
    focus: () => (held ? remove.focus() : picker.focus()),
    read: () => held?.source || undefined,
    // problem says why what was picked is not on the server.
    problem: () => held?.failure?.message ?? "",
    fileName: () => held?.file.name,
    settled: () => held?.done,
    // renew sends the file again: the server forgets uploads.
    renew: () => {
      if (held) {
        take(held.file);
      }
      return held !== null;
    },
  };
}
