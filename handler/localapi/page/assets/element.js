// element makes an element: element("p", {class: "hint", onclick: f}, "text", child, …). Attributes that are null or false are
// left out, true is the empty string, on… are listeners. Text stays text: nothing here ever reads HTML.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      made.addEventListener(name.slice(2), value);
    } else {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const svg = "http://www.w3.org/2000/svg";

// The icons' outlines, in a box of 24 x 24.
const outlines = {
  play: "M8 5.5v13l11-6.5z",
  pause: "M8 5v14M16 5v14",
  left: "M14.5 5.5 8 12l6.5 6.5",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  close: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  add: "M12 5v14M5 12h14",
  upload: "M12 16V5M7.5 9.5 12 5l4.5 4.5M5 19h14",
  download: "M12 5v11M7.5 11.5 12 16l4.5-4.5M5 19h14",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1",
  microphone: "M12 4a2.5 2.5 0 0 1 2.5 2.5v5a2.5 2.5 0 0 1-5 0v-5A2.5 2.5 0 0 1 12 4zM6.5 11.5a5.5 5.5 0 0 0 11 0M12 17v3",
  stop: "M7.5 7.5h9v9h-9z",
  again: "M19 12a7 7 0 1 1-2-4.9M19 4.5V8.5h-4",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  turn: "M8 4.5h8v15H8zM11 17h2",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  settings:
    "M4 8h9M18 8h2M4 16h2M11 16h9M15.5 5.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 0 1 0-5zM8.5 13.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 0 1 0-5z",
  file: "M7 4h7l4 4v12H7zM14 4v4h4",
};

// icon draws one of the outlines. It says nothing to a screen reader: the button that holds it does.
export function icon(name) {
  const made = document.createElementNS(svg, "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("aria-hidden", "true");
  made.setAttribute("class", "icon");
  const path = document.createElementNS(svg, "path");
  path.setAttribute("d", outlines[name]);
  made.append(path);
  return made;
}

// announce says a sentence to screen readers, whatever has the focus.
export function announce(sentence) {
  document.getElementById("live").textContent = sentence;
}
