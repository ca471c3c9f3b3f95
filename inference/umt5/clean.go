package umt5

import (
	"strings"
)

// DefaultNegativePrompt stands in for an empty negative prompt (spec §3.4).
const DefaultNegativePrompt = "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"

// DatasetPrompt is what the reference does to the prompt field of a test-case file before anything else: strip, turn
// underscores into spaces, and drop every double quote at either end (spec §3.1).
func DatasetPrompt(s string) string {
	s = strings.TrimFunc(s, isPythonSpace)
	s = strings.ReplaceAll(s, "_", " ")
	return strings.Trim(s, `"`)
}

// Clean is BasicClean with every run of white space collapsed into one space: the text that the tokenizer sees
// (spec §3.2). The time it takes may grow with the square of the length (nested entities), so callers limit the length
// of a prompt first.
func Clean(s string) string {
	s = collapseSpace(BasicClean(s))
	return strings.TrimFunc(s, isPythonSpace)
}

// BasicClean repairs the text (fixText), decodes HTML character references twice, and strips (spec §3.2). Bytes that
// are not UTF-8 come out as U+FFFD.
func BasicClean(s string) string {
	s = fixText(s)
	s = unescapeCharRefs(unescapeCharRefs(s))
	return strings.TrimFunc(s, isPythonSpace)
}

// collapseSpace replaces each run of Unicode White_Space, which is \s in Python's regex module, by one space.
func collapseSpace(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	inRun := false
	for _, r := range s {
		space := isWhiteSpace(r)
		switch {
		case !space:
			b.WriteRune(r)
		case !inRun:
			b.WriteByte(' ')
		}
		inRun = space
	}
	return b.String()
}
