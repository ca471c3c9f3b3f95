// The reference pictures: picked, dropped or named by a link, put in order by dragging or with buttons, each shown as the model
// gets it at the chosen size.
import { fetchUpload } from "./api.js";
import { announce, element, icon } from "./element.js";
import { frame, idOf } from "./field.js";
import { drawLetterbox } from "./letterbox.js";
import { Upload, dropTarget, isKept, isLink, nameOf } from "./upload.js";

const accepted = "image/jpeg,image/png,image/webp,image/gif,image/bmp";

export function buildPictures(described, changed) {
  const field = {
    ...described,
    doc: `What the person, clothes, things or the place look like: ${described.maxItems} at most. Shown as the model gets them.`,
  };
  const id = idOf(field.name);
  let tiles = []; // {upload, picture, root, canvas, …} in order
  let size = { width: 832, height: 480 };
  const file = element("input", {
    type: "file",
    id: `${id}-file`,
    accept: accepted,
    multiple: true,
    "aria-label": "Picture files",
    onchange: () => (add([...file.files]), (file.value = "")),
  });
  const drop = element(
    "label",
    { class: "drop", for: file.id },
    icon("add"),
    element("span", {}, element("strong", {}, "Choose pictures"), " or drop them here"),
    file,
  );
  const list = element("ol", { class: "tiles" });
  const link = element("input", {
    type: "url",
    id: `${id}-link`,
    placeholder: "https://…",
    "aria-label": "Link to a picture",
    autocomplete: "off",
    spellcheck: "false",
  });
  const addLink = element("button", { type: "button", class: "button", onclick: () => takeLink() }, "Add link");
  link.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault(); // it would send the form
      takeLink();
    }
  });
  const byLink = element(
    "details",
    { class: "by-link" },
    element("summary", {}, "Add by link"),
    element("div", { class: "joined" }, link, addLink),
  );
  const body = element("div", { class: "pictures" }, list, drop, byLink);

  const update = () => {
    arrange(
      list,
      tiles.map((tile) => tile.root),
    );
    list.hidden = tiles.length === 0;
    drop.hidden = byLink.hidden = tiles.length >= field.maxItems;
    drop.classList.toggle("slim", tiles.length > 0);
    tiles.forEach((tile, place) => tile.show(place, tiles.length, size));
    changed();
  };
  const append = (tile) => {
    if (tiles.length >= field.maxItems) {
      control.fail(`At most ${field.maxItems} pictures are taken.`);
      return false;
    }
    tiles.push(tile);
    return true;
  };
  // add takes files; source is that of a file that the server has.
  const add = (files, source = "") => {
    control.fail("");
    for (const one of files) {
      const tile = buildTile(new Upload(one, source), moves);
      if (append(tile)) {
        tile.upload.send(update);
        createImageBitmap(one).then(
          (picture) => {
            tile.picture = picture;
            update();
          },
          () => tile.say("This browser cannot show it."),
        );
      }
    }
    update();
  };
  const takeLink = () => {
    const source = link.value.trim();
    if (source !== "" && append(buildTile(new Upload(null, source), moves))) {
      link.value = "";
      update();
      link.focus();
    }
  };
  const moves = {
    move(tile, by) {
      const from = tiles.indexOf(tile);
      moves.place(tile, from + by);
      const button = by < 0 ? tile.left : tile.right;
      (button.disabled ? (by < 0 ? tile.right : tile.left) : button).focus();
    },
    place(tile, to) {
      const from = tiles.indexOf(tile);
      if (from < 0 || to < 0 || to >= tiles.length || to === from) {
        return;
      }
      tiles.splice(from, 1);
      tiles.splice(to, 0, tile);
      update();
      announce(`${tile.name} is now picture ${to + 1} of ${tiles.length}.`);
    },
    remove(tile) {
      const place = tiles.indexOf(tile);
      tile.upload.cancel();
      tiles.splice(place, 1);
      control.fail("");
      update();
      announce(`${tile.name} is removed.`);
      (tiles[Math.min(place, tiles.length - 1)]?.removeButton ?? file).focus();
    },
    tileOf: (root) => tiles.find((tile) => tile.root === root),
    indexOf: (tile) => tiles.indexOf(tile),
  };
  sortByDragging(list, moves);
  dropTarget(body, (files) => add(files.filter((one) => one.type.startsWith("image/"))));

  const control = frame(
    field,
    {
      group: true,
      input: file,
      focus: () => file.focus(),
      read: () => (tiles.length > 0 ? tiles.map((tile) => tile.upload.source).filter(Boolean) : undefined),
      // problem says why a picture that was chosen is not on the server.
      problem: () => {
        const tile = tiles.find((one) => one.upload.failure);
        return tile ? `${tile.name}: ${tile.upload.failure.message}` : "";
      },
      count: () => tiles.length,
      fileNames: () => tiles.map((tile) => tile.upload.file?.name),
      settled: () => Promise.all(tiles.map((tile) => tile.upload.done)),
      // renew sends the files again: the server forgets uploads.
      renew: () => {
        const files = tiles.filter((tile) => tile.upload.file);
        files.forEach((tile) => tile.upload.sendAgain(update));
        return files.length > 0;
      },
      // setSize shows how the pictures fit.
      setSize: (width, height) => {
        size = { width, height };
        tiles.forEach((tile, place) => tile.show(place, tiles.length, size));
      },
      // failAt marks one of them.
      failAt: (place) => tiles[place]?.root.classList.add("failed"),
      clearMarks: () => tiles.forEach((tile) => tile.root.classList.remove("failed")),
      write: async (sources) => {
        tiles.forEach((tile) => tile.upload.cancel());
        tiles = [];
        update();
        for (const source of [sources ?? []].flat()) {
          if (isKept(source) && !source.startsWith("upload:")) {
            append(buildTile(new Upload(null, source), moves));
            continue;
          }
          try {
            add([await fetchUpload(source)], source);
          } catch {
            control.fail("The server does not have a picture any more. Choose it again.");
          }
        }
        update();
      },
    },
    body,
  );
  control.root.querySelector("legend").className = "unseen"; // the section's heading says it
  list.hidden = true;
  return control;
}

// arrange brings the children of a list into order and removes the others. What is in its place is not touched: it may have the
// focus.
function arrange(list, wanted) {
  wanted.forEach((child, place) => {
    if (list.children[place] !== child) {
      list.insertBefore(child, list.children[place] ?? null);
    }
  });
  while (list.children.length > wanted.length) {
    list.lastChild.remove();
  }
}

// buildTile is one picture in the list.
function buildTile(upload, moves) {
  const name = upload.file?.name ?? nameOf(upload.source);
  const canvas = element("canvas", { role: "img" });
  const cover = element(
    "p",
    { class: "tile-cover" },
    upload.file ? "" : isLink(upload.source) ? "Fetched by the server" : "On the server",
  );
  const caption = element("span", { class: "tile-name", title: name });
  const tile = { upload, picture: null, name, canvas };
  const button = (glyph, run) => element("button", { type: "button", class: "icon-button", onclick: run }, icon(glyph));
  tile.left = button("left", () => moves.move(tile, -1));
  tile.right = button("right", () => moves.move(tile, 1));
  tile.removeButton = button("close", () => moves.remove(tile));
  tile.root = element(
    "li",
    { class: "tile", draggable: "true" },
    element("div", { class: "tile-picture" }, canvas, cover),
    caption,
    element("div", { class: "tile-buttons" }, tile.left, tile.right, tile.removeButton),
  );
  tile.say = (text) => {
    cover.textContent = text;
    cover.hidden = text === "";
  };
  tile.show = (place, all, { width, height }) => {
    drawLetterbox(canvas, tile.picture, width, height);
    cover.hidden = tile.picture !== null || cover.textContent === "";
    canvas.setAttribute("aria-label", `Picture ${place + 1}, ${name}, as fitted into ${width} by ${height}`);
    caption.textContent = `${place + 1}. ${name}`;
    tile.left.disabled = place === 0;
    tile.right.disabled = place === all - 1;
    tile.left.setAttribute("aria-label", `Move picture ${place + 1} to the front`);
    tile.right.setAttribute("aria-label", `Move picture ${place + 1} to the back`);
    tile.removeButton.setAttribute("aria-label", `Remove picture ${place + 1}`);
  };
  return tile;
}

// sortByDragging moves a tile to the place of the one that it is dragged over.
function sortByDragging(list, moves) {
  let dragged = null;
  list.addEventListener("dragstart", (event) => {
    dragged = moves.tileOf(event.target.closest("li"));
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.name); // Firefox drags nothing without
    dragged.root.classList.add("dragged");
  });
  list.addEventListener("dragover", (event) => {
    const over = moves.tileOf(event.target.closest("li"));
    if (dragged && over) {
      event.preventDefault();
      if (over !== dragged) {
        moves.place(dragged, moves.indexOf(over));
      }
    }
  });
  list.addEventListener("drop", (event) => dragged && event.preventDefault());
  list.addEventListener("dragend", () => {
    dragged?.root.classList.remove("dragged");
    dragged = null;
  });
}
