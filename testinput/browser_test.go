package testinput_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// prompt holds what shells and JSON take for their own.
const prompt = `A woman says "it's $5 \ a piece" to the camera.`

// TestPage goes the whole way of a visitor: fill the form, see an error at its field, make a clip and play it, make another and
// cancel it, come back. In between the page is looked at: by axe, and in screenshots by people.
func TestPage(t *testing.T) {
	browser := chromium(t)
	home, env := serveDemo(t)
	v := visit(t, browser, home)
	v.theme("light")
	v.until(`/pass/.test(document.getElementById("estimate").textContent)`) // before anything is given
	v.screenshot("1-desktop-empty")

	for _, part := range []struct {
		name string
		goes func(*visitor)
	}{
		{"fill the form", fillForm}, {"a wrong size", wrongSize}, {"the same from programs", func(v *visitor) { sameFromPrograms(v, env) }},
		{"make a clip", makeClip}, {"cancel another", cancelSecond}, {"come back", comeBack}, {"looks", looks},
	} {
		if !t.Run(part.name, func(t *testing.T) { v.t = t; part.goes(v) }) {
			break // the rest would only say the same
		}
	}

	v.t = t
	if len(v.abroad) > 0 {
		t.Errorf("the page asks elsewhere: %q", v.abroad)
	}
	if len(v.complaints) > 0 {
		t.Errorf("the console says: %q", v.complaints)
	}
	if shift := eval[float64](v, layoutShift); shift > 0.05 {
		t.Errorf("the page jumps while it loads: a layout shift of %g", shift)
	}
}

// layoutShift is the sum of the shifts that nobody caused, as Lighthouse counts them.
const layoutShift = `new Promise((resolve) => {
	let sum = 0;
	const add = (list) => list.getEntries().forEach((e) => e.hadRecentInput || (sum += e.value));
	new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
	setTimeout(() => resolve(sum), 200);
})`

// fillForm gives everything a job needs, in each of the ways that there are.
func fillForm(v *visitor) {
	v.t.Helper()
	v.enter("#f-prompt", prompt)
	for _, scale := range []struct{ variant, want string }{{"17B", "5"}, {"1.7B", "7.5"}} {
		v.click(`input[name="variant"][value="` + scale.variant + `"]`)
		if got := eval[string](v, `document.getElementById("f-scale-t").value`); got != scale.want {
			v.t.Errorf("the %s's guidance by text is %s, not %s", scale.variant, got, scale.want)
		}
	}

	// The voice: no sound file, a recording, a file.
	v.upload("#f-audio-file", "person.png")
	v.until(`!document.getElementById("f-audio-error").hidden`)
	if said := v.text("#f-audio-error"); !strings.Contains(said, "audio") {
		v.t.Errorf("a picture as a voice: %q", said)
	}
	v.click(`input[name="voice-way"][value="record"]`)
	v.click(".record button")
	v.until(`/Stop \([1-9]/.test(document.querySelector(".record button").textContent)`)
	v.click(".record button")
	v.until(`/recording\.webm .* s$/.test(document.querySelector(".way:not([hidden]) .file-name").textContent)`)
	v.until(`/pass/.test(document.getElementById("estimate").textContent) && document.getElementById("f-audio-error").hidden`)
	v.click(`input[name="voice-way"][value="file"]`)
	v.click(".way:not([hidden]) .quiet-button")
	v.upload("#f-audio-file", "voice.wav")
	v.until(`document.querySelector(".file-name").textContent === "voice.wav · 134 kB · 4.19 s"`)
	v.click(".way:not([hidden]) .player button")
	v.until(`parseFloat(document.querySelector(".clock").textContent) > 0.1`)
	v.click(".way:not([hidden]) .player button")

	// Pictures: one picked, one dropped, put in order with the keyboard. The mode follows.
	v.upload("#f-images-file", "person.png")
	eval[bool](v, dropPicture)
	v.until(`document.querySelectorAll(".tile").length === 2`)
	v.do(chromedp.Focus(chromedp.CSS(`[aria-label="Move picture 2 to the front"]`)), chromedp.KeyEvent(kb.Enter))
	v.until(`document.querySelector(".tile-name").textContent === "1. red.png"`)
	if focused := eval[string](v, `document.activeElement.getAttribute("aria-label")`); focused != "Move picture 1 to the back" {
		v.t.Errorf("after moving, the focus is on %q", focused)
	}
	eval[bool](v, dragFirst)
	v.until(`document.querySelector(".tile-name").textContent === "1. person.png"`)
	v.click(`[aria-label="Remove picture 2"]`)
	if mode := eval[string](v, `document.querySelector("input[name=mode]:checked").value`); mode != "TIA" {
		v.t.Errorf("with a picture, the mode is %s", mode)
	}

	v.until(letterboxed)
}

// dropPicture drops a red picture on the field.
const dropPicture = `(async () => {
	const canvas = new OffscreenCanvas(64, 64);
	const ink = canvas.getContext("2d");
	ink.fillStyle = "red";
	ink.fillRect(0, 0, 64, 64);
	const files = new DataTransfer();
	files.items.add(new File([await canvas.convertToBlob()], "red.png", { type: "image/png" }));
	document.querySelector(".pictures").dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
	return true;
})()`

// letterboxed: a portrait in a landscape frame has white on both sides and its picture in the middle.
const letterboxed = `(() => {
	const canvas = document.querySelector(".tile canvas");
	const ink = new OffscreenCanvas(100, 100).getContext("2d", { willReadFrequently: true });
	ink.drawImage(canvas, 0, 0, 100, 100);
	const isWhite = (x) => [...ink.getImageData(x, 50, 1, 1).data].every((c) => c === 255);
	return canvas.width > canvas.height && isWhite(5) && isWhite(95) && !isWhite(50);
})()`

// dragFirst drags the first picture to the second's place.
const dragFirst = `(() => {
	const [first, second] = document.querySelectorAll(".tile");
	const dataTransfer = new DataTransfer();
	const send = (to, name) => to.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true, cancelable: true }));
	send(first, "dragstart");
	send(second, "dragover");
	send(first, "dragend");
	return true;
})()`

// wrongSize enters a width that no job may have: the error is at the field, and the focus, and it goes with its cause.
func wrongSize(v *visitor) {
	v.t.Helper()
	v.enter("#f-width", "130")
	v.enter("#f-height", "64")
	v.enter("#f-frames", "17")
	// Steps enough for the stage to be seen: the page is told twice a second.
	v.enter("#f-steps", "80")
	v.enter("#f-seed", "18446744073709551615") // more than a number of JavaScript holds
	v.click("#generate")
	v.until(`!document.getElementById("f-width-error").hidden && document.activeElement.id === "f-width"`)
	if said := v.text("#f-width-error"); !strings.Contains(said, "128 or 144") {
		v.t.Errorf("the error of the width is %q", said)
	}
	if ok := eval[bool](v, `(() => { const w = document.activeElement;
		return w.getAttribute("aria-invalid") === "true" && w.getAttribute("aria-describedby").split(" ").includes("f-width-error") })()`); !ok {
		v.t.Error("the error of the width does not belong to it")
	}
	v.screenshot("2-desktop-error")
	accessible(v, "with an error")
	v.enter("#f-width", "96")
	v.until(`document.getElementById("f-width-error").hidden && /320 passes/.test(document.getElementById("estimate").textContent)`)
	v.screenshot("2-desktop-filled")
	if says := v.text("#f-frames-says"); says != "17 frames, 0.68 s" {
		v.t.Errorf("the length is said to be %q", says)
	}
}

// makeClip sends the job, watches it and plays the result.
func makeClip(v *visitor) {
	v.t.Helper()
	eval[bool](v, `(() => {
		window.seen = new Set();
		setInterval(() => {
			const bar = document.querySelector("progress");
			if (bar.checkVisibility()) {
				seen.add(document.getElementById("state").textContent + " " + bar.value);
			}
			window.previewed ||= document.querySelector(".stage img").checkVisibility() && document.querySelector(".stage img").naturalWidth > 0;
		}, 30);
		return true;
	})()`)
	v.click("#generate")
	v.until(`document.querySelector("progress").checkVisibility() && window.previewed`)
	v.screenshot("3-desktop-running")
	v.until(`document.querySelector(".stage video")?.readyState >= 2`)
	v.screenshot("4-desktop-done")
	isDenoising := func(s string) bool { return strings.HasPrefix(s, "Denoising") }
	if seen := eval[[]string](v, `[...seen]`); len(seen) < 4 || !slices.ContainsFunc(seen, isDenoising) {
		v.t.Errorf("of the progress, one sees %q", seen)
	}
	if seconds := eval[float64](v, `document.querySelector(".stage video").duration`); seconds < 0.66 || seconds > 0.76 {
		v.t.Errorf("the clip lasts %g s, not 0.68", seconds)
	}
	eval[bool](v, `document.querySelector(".stage video").play().then(() => true)`)
	v.until(`document.querySelector(".stage video").ended`)
	if facts := v.text(".facts"); !strings.Contains(facts, "18446744073709551615") || !strings.Contains(facts, "96 × 64") {
		v.t.Errorf("the clip is said to be %q", facts)
	}
	for _, link := range []string{"#download", "#manifest"} {
		if status := eval[int](v, `fetch(document.querySelector("`+link+`").href).then((r) => r.status)`); status != http.StatusOK {
			v.t.Errorf("%s: %d", link, status)
		}
	}
}

// cancelSecond sends a long job with the keyboard alone, and another that has to wait for it; both are cancelled.
func cancelSecond(v *visitor) {
	v.t.Helper()
	v.enter("#f-frames", "97")
	v.enter("#f-steps", "250")
	v.until(`/1,000 passes/.test(document.getElementById("estimate").textContent)`)
	v.click(".cost summary")
	v.do(chromedp.Focus(chromedp.CSS("#card")), chromedp.KeyEvent("H100"))
	v.until(`/\$0\.\d+ and .* on H100/.test(document.querySelector(".cost summary").textContent)`)
	v.do(chromedp.Focus(chromedp.CSS("#f-steps")), chromedp.KeyEvent(kb.Enter)) // as in any form
	v.until(`document.getElementById("state").textContent === "Denoising"`)
	v.click("#generate")
	v.until(`document.getElementById("state").textContent === "Waiting: next in line"`)
	v.screenshot("4-desktop-waiting")
	v.click("#cancel")
	v.until(`document.getElementById("state").textContent === "Cancelled"`)
	v.click(".job:nth-child(2) .job-open")
	v.until(`document.getElementById("state").textContent === "Denoising"`)
	v.do(chromedp.Focus(chromedp.CSS("#cancel")), chromedp.KeyEvent(kb.Enter))
	start := time.Now()
	v.until(`document.getElementById("state").textContent === "Cancelled"`)
	if took := time.Since(start); took > 2*time.Second {
		v.t.Errorf("cancelling took %s", took)
	}
}

// comeBack loads the page again: the jobs are there, and what the visitor has chosen; one of the jobs is used again.
func comeBack(v *visitor) {
	v.t.Helper()
	v.click(`input[name="theme"][value="dark"]`)
	v.do(chromedp.Reload())
	v.until(`document.querySelectorAll(".job").length === 3`)
	if kept := eval[string](v, `document.documentElement.dataset.theme + " " + document.getElementById("card").value`); kept != "dark h100" {
		v.t.Errorf("theme and card are %q", kept)
	}
	v.click(`input[name="theme"][value="auto"]`)
	v.click(".job:nth-child(3) .job-open")
	v.until(`document.querySelector(".stage video")?.readyState >= 2`)
	v.click(".job:nth-child(3) .icon-button")
	v.until(`document.querySelector(".file-name").textContent === "voice.wav · 134 kB · 4.19 s" && document.querySelectorAll(".tile").length === 1`)
	for id, want := range map[string]string{"f-prompt": prompt, "f-width": "96", "f-steps": "80", "f-seed": "18446744073709551615"} {
		if got := eval[string](v, `document.getElementById("`+id+`").value`); got != want {
			v.t.Errorf("%s is %q again, not %q", id, got, want)
		}
	}
	v.click("#again")
	v.until(`document.querySelectorAll(".job").length === 4 && document.getElementById("state").textContent === "Done"`)
	if facts := v.text(".facts"); strings.Contains(facts, "18446744073709551615") {
		v.t.Errorf("again with another seed: %q", facts)
	}
}

// TestPageWithKey: a server with a key is used after it has been asked for.
func TestPageWithKey(t *testing.T) {
	browser := chromium(t)
	const key = "the key of this test"
	t.Setenv("LOCAL_API_KEY", key)
	home, _ := serveDemo(t)
	v := open(t, browser, home)
	for _, typed := range []string{"not the key of this test", key} {
		v.until(`document.querySelector("dialog")?.open`)
		v.screenshot("8-key")
		accessible(v, "asking for the key")
		v.do(chromedp.KeyEvent(typed), chromedp.KeyEvent(kb.Enter)) // the focus is in the box
	}
	v.until(`!document.getElementById("form").hidden`)
	v.until(`/pass/.test(document.getElementById("estimate").textContent)`)
	v.upload("#f-audio-file", "voice.wav")
	v.until(`document.querySelector(".file-name").textContent === "voice.wav · 134 kB · 4.19 s"`)
}
