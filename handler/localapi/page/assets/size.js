// Sizes to choose from with one click, and portrait.
import { element, icon } from "./element.js";

// In landscape; all are multiples of 16. The models were trained at the first two.
const presets = [
  { name: "480p", width: 832, height: 480 },
  { name: "720p", width: 1280, height: 720 },
  { name: "Square", width: 640, height: 640 },
  { name: "Draft", width: 416, height: 240 },
];

// buildSizes puts the buttons into root. width and height are the form's fields; changed is called after a click. It returns
// update(), which marks what is chosen.
export function buildSizes(root, width, height, changed) {
  const set = (w, h) => {
    width.write(w);
    height.write(h);
    changed();
  };
  const isPortrait = () => height.read() > width.read();
  const buttons = presets.map((preset) =>
    element(
      "button",
      {
        type: "button",
        class: "preset",
        onclick: () => (isPortrait() ? set(preset.height, preset.width) : set(preset.width, preset.height)),
      },
      element("strong", {}, preset.name),
      element("span", {}),
    ),
  );
  const turn = element(
    "button",
    { type: "button", class: "preset turn", onclick: () => set(height.read(), width.read()) },
    icon("turn"),
    element("span", {}, "Portrait"),
  );
  root.append(element("div", { class: "presets", role: "group", "aria-label": "Usual sizes" }, ...buttons, turn));

  return () => {
    const [w, h] = [width.read(), height.read()];
    buttons.forEach((button, i) => {
      const { width: long, height: short } = presets[i];
      const here = isPortrait() ? [short, long] : [long, short];
      button.lastChild.textContent = here.join(" × ");
      button.setAttribute("aria-pressed", String(w === here[0] && h === here[1]));
    });
    turn.setAttribute("aria-pressed", String(h > w));
  };
}
