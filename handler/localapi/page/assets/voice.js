// The voice track: a file, a link that the server fetches, or a recording. Each way keeps what was given in it; the job gets that
// of the one that is shown.
import { fetchUpload } from "./api.js";
import { element, icon } from "./element.js";
import { frame, idOf } from "./field.js";
import { buildRecorder } from "./recorder.js";
import { buildSound } from "./sound.js";
import { dropTarget, isKept } from "./upload.js";

const words = { file: "File", link: "Link", record: "Record" };

export function buildVoice(field, changed) {
  const id = idOf(field.name);
  const touch = () => {
    control.fail("");
    changed();
  };
  const chooser = fileChooser(`${id}-file`, (file) => ways.file.take(file));
  const recorder = buildRecorder(
    (file) => ways.record.take(file),
    (message) => control.fail(message),
  );
  const ways = {
    file: buildSound(chooser, { change: touch, clear: chooser.clear }),
    link: linkWay(`${id}-link`, touch),
    record: buildSound(recorder, { change: touch, clear: () => {} }),
  };

  const tabs = Object.entries(words).map(([way, word]) => {
    const input = element("input", { type: "radio", name: "voice-way", value: way, onchange: () => choose(way) });
    return element("label", {}, input, element("span", {}, word));
  });
  const now = () => ways[tabs.find((tab) => tab.firstChild.checked).firstChild.value];
  const show = (chosen) => {
    for (const tab of tabs) {
      tab.firstChild.checked = tab.firstChild.value === chosen;
    }
    for (const [way, { root }] of Object.entries(ways)) {
      root.hidden = way !== chosen;
    }
  };
  const choose = (way) => {
    recorder.cancel();
    show(way);
    touch();
  };

  const body = element(
    "div",
    { class: "voice" },
    element("div", { class: "segments small" }, ...tabs),
    ...Object.values(ways).map((way) => way.root),
  );
  dropTarget(body, ([file]) => {
    choose("file");
    ways.file.take(file);
  });
  const control = frame(
    field,
    {
      group: true,
      input: chooser.input,
      focus: () => now().focus(),
      read: () => now().read(),
      problem: () => now().problem(),
      fileName: () => now().fileName(),
      settled: () => now().settled(),
      renew: () => now().renew(),
      write: async (source) => {
        Object.values(ways).forEach((way) => way.clear());
        const isLinked = source && isKept(source) && !source.startsWith("upload:");
        choose(isLinked ? "link" : "file");
        if (isLinked) {
          ways.link.write(source);
        } else if (source) {
          try {
            await ways.file.take(await fetchUpload(source), source);
          } catch {
            control.fail("The server does not have this file any more. Choose it again.");
          }
        }
      },
    },
    body,
  );
  control.root.querySelector("legend").className = "unseen"; // the section's heading says it
  show("file");
  return control;
}

// fileChooser is where a file is chosen or dropped.
function fileChooser(id, onFile) {
  const input = element("input", { type: "file", id, accept: "audio/*,video/mp4,video/webm", "aria-label": "Voice file" });
  input.addEventListener("change", () => input.files[0] && onFile(input.files[0]));
  const says = element("span", {}, element("strong", {}, "Choose a sound file"), " or drop it here");
  return {
    root: element("label", { class: "drop", for: id }, icon("upload"), says, input),
    input,
    focus: () => input.focus(),
    clear: () => (input.value = ""),
  };
}

// linkWay is a link, which the server fetches.
function linkWay(id, changed) {
  const input = element("input", {
    type: "url",
    id,
    placeholder: "https://…",
    "aria-label": "Link to the voice",
    autocomplete: "off",
    spellcheck: "false",
    oninput: changed,
  });
  const hint = element("p", { class: "hint" }, "The server fetches it. This page does not, so there is no waveform.");
  return {
    root: element("div", { class: "way panel" }, input, hint),
    write: (source) => (input.value = source),
    clear: () => (input.value = ""),
    focus: () => input.focus(),
    read: () => input.value.trim() || undefined,
    problem: () => "",
    fileName: () => undefined,
    settled: () => undefined,
    renew: () => false,
  };
}
