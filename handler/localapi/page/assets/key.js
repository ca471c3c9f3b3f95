// The question for the server's key, where it has one.
import { element } from "./element.js";

let asking = null;

// askForKey returns what the visitor types, or "" if nothing. Several requests that are refused at once share the question.
export function askForKey(wasWrong) {
  asking ??= ask(wasWrong).finally(() => (asking = null));
  return asking;
}

function ask(wasWrong) {
  const input = element("input", { type: "password", id: "key", autocomplete: "current-password", required: true });
  const dialog = element(
    "dialog",
    { class: "card", "aria-labelledby": "t-key" },
    element(
      "form",
      { method: "dialog", class: "field" },
      element("h2", { id: "t-key" }, "This server has a key"),
      element(
        "p",
        { class: wasWrong ? "error" : "hint" },
        wasWrong ? "That was not it." : "It is what LOCAL_API_KEY was set to. This browser forgets it with the tab.",
      ),
      element("label", { for: "key" }, "Key"),
      element("div", { class: "joined" }, input, element("button", { class: "primary" }, "Continue")),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(input.value.trim());
    });
  });
}
