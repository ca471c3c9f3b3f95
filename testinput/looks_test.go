package testinput_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// looks checks how the page is made, at each width and in both themes: no accessibility rule is broken (contrast of 4.5, labels,
// roles, order), nothing is wider than the window, the keyboard reaches everything.
func looks(v *visitor) {
	v.t.Helper()
	eval[bool](v, `(() => { document.querySelectorAll("details").forEach((one) => (one.open = true)); return true })()`)
	for _, look := range []struct {
		name          string
		width, height int64
		theme         string
	}{
		{"5-desktop-dark", 1440, 1000, "dark"}, {"5-desktop-light", 1440, 1000, "light"}, {"6-tablet-light", 820, 1100, "light"},
		{"7-phone-light", 360, 740, "light"}, {"7-phone-dark", 360, 740, "dark"},
	} {
		v.do(chromedp.EmulateViewport(look.width, look.height))
		v.theme(look.theme)
		if width := eval[int64](v, `document.documentElement.scrollWidth`); width > look.width {
			v.t.Errorf("%s: the page is %d pixels wide", look.name, width)
		}
		accessible(v, look.name)
		for i, place := range []string{"#form", "#t-pictures", "#t-sampling", "#t-clip", "#t-history"} {
			eval[bool](v, fmt.Sprintf(`(document.querySelector(%q).scrollIntoView({ block: "start", behavior: "instant" }), true)`, place))
			v.screenshot(fmt.Sprintf("%s-%d", look.name, i+1))
		}
	}
	keyboard(v)
}

// accessible checks that axe finds no broken rule in what is on screen.
func accessible(v *visitor, state string) {
	v.t.Helper()
	if !eval[bool](v, `typeof window.axe === "object"`) {
		checker := axe(v.t)
		if checker == "" {
			return
		}
		eval[bool](v, checker+"; true") // through the debugger: the page's policy would not let it in
	}
	found := eval[[]string](v, `axe.run(document, {
			resultTypes: ["violations"],
			runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
		}).then((r) => r.violations.flatMap((rule) => rule.nodes.map((at) => rule.help + ": " + at.target + ": " + at.failureSummary)))`)
	for _, problem := range append(found, eval[[]string](v, unlabelled)...) {
		v.t.Errorf("%s: %s", state, problem)
	}
}

// unlabelled are the controls that say what they are with a placeholder at most, which axe takes for a name.
const unlabelled = `[...document.querySelectorAll("input, select, textarea, button, summary")].filter((one) =>
	![...(one.labels ?? [])].some((label) => label.textContent.trim() !== "") && !one.ariaLabel &&
	!(one.matches("button, summary") && one.textContent.trim() !== "")).map((one) => "no label: " + one.outerHTML)`

// keyboard goes through the page with the tab key: all controls are reached, each shows that it has the focus.
func keyboard(v *visitor) {
	v.t.Helper()
	v.do(chromedp.EmulateViewport(1440, 1000))
	eval[bool](v, `(document.querySelector(".skip").focus(), true)`)
	var reached []string
	for range 150 {
		v.do(chromedp.KeyEvent(kb.Tab))
		at := eval[string](v, `(() => {
			const one = document.activeElement;
			if (one === document.body) return "";
			const box = one.getBoundingClientRect();
			const covered = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
			const bar = document.getElementById("bar");
			const hidden = bar.contains(covered) && !bar.contains(one) ? "hidden by the bar: " : "";
			return hidden + (one.id || one.getAttribute("aria-label") || one.name || one.textContent);
		})()`)
		if at == "" {
			break // the end of the page
		}
		reached = append(reached, at)
	}
	for _, want := range []string{"f-prompt", "f-negative-prompt", "voice-way", "Play the voice", "f-images-file", "Remove picture 1", "f-width", "f-height",
		"f-frames", "f-steps", "f-seed", "f-scale-t", "f-shift", "f-output-crf", "card", "generate", "download", "again", "same-text"} {
		if !slices.Contains(reached, want) {
			v.t.Errorf("the tab key does not reach %s", want)
		}
	}
	for _, one := range reached {
		if strings.HasPrefix(one, "hidden") {
			v.t.Errorf("with the focus: %s", one)
		}
	}
}
