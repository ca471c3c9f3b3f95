// The chosen theme, before anything is painted: that is why this is not a module. "auto" leaves it to the system.
(() => {
  const key = "humo.theme";
  const root = document.documentElement;
  let stored = null;
  try {
    stored = localStorage.getItem(key);
  } catch {
    // storage may be forbidden; the switch then works until the page is left
  }
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") {
      root.dataset.theme = theme;
    } else {
      delete root.dataset.theme;
    }
  };
  apply(stored);
  document.addEventListener("DOMContentLoaded", () => {
    const choices = document.querySelectorAll("input[name=theme]");
    for (const choice of choices) {
      choice.checked = choice.value === (root.dataset.theme || "auto");
      choice.addEventListener("change", () => {
        apply(choice.value);
        try {
          localStorage.setItem(key, choice.value);
        } catch {
          // as above
        }
      });
    }
  });
})();
