package weights

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// problem is a needed file that cannot be used.
type problem struct {
	file  File
	where string // absolute
	what  string // "missing", "empty", …
}

// missing is the one fault for all files that a variant lacks.
func (l Layout) missing(variant string, list []problem) *fault.Error {
	var s strings.Builder
	if len(list) == 1 {
		fmt.Fprintf(&s, "1 weight file of the %s variant cannot be used:", variant)
	} else {
		fmt.Fprintf(&s, "%d weight files of the %s variant cannot be used:", len(list), variant)
	}
	for _, p := range list {
		fmt.Fprintf(&s, "\n  %s (%s%s) is %s; expected at %s", p.file.Path, p.file.Purpose, sizeNote(p.file.Bytes), p.what, p.where)
	}
	if l.IsDemo() {
		fmt.Fprintf(&s, "\nThis folder holds the demo bundle. Repair it with: %s", l.Cure(variant))
		return fault.New("missing_weights", "HUMO_WEIGHTS", "%s", s.String())
	}
	fmt.Fprintf(&s, "\nFetch them with: %s", l.Cure(variant))
	trial := l.Root
	if l.holdsPublished() != "" {
		trial += "-demo" // the demo never writes over real weights
	}
	fmt.Fprintf(&s, "\nOr write a tiny trial set with: humo-worker weights demo --dir %s", shellWord(trial))
	if trial != l.Root {
		fmt.Fprintf(&s, " and set HUMO_WEIGHTS to that folder")
	}
	fmt.Fprint(&s, "\nIf the files lie elsewhere, set HUMO_WEIGHTS to the folder above HuMo/.")
	return fault.New("missing_weights", "HUMO_WEIGHTS", "%s", s.String())
}

// Cure is the command that brings what a variant lacks in this folder.
func (l Layout) Cure(variant string) string {
	if l.IsDemo() {
		return "humo-worker weights demo --dir " + shellWord(l.Root)
	}
	return "humo-worker weights pull --variant " + variant + " --dir " + shellWord(l.Root)
}

// missingSeparator is the fault for the one file that only some jobs need.
func (l Layout) missingSeparator(variant, what string) *fault.Error {
	f := published[slices.IndexFunc(published, func(f File) bool { return f.Path == pathSeparator })]
	cure := "Fetch it with: " + l.Cure(variant)
	if l.IsDemo() {
		cure = "This folder holds the demo bundle. Repair it with: " + l.Cure(variant)
	}
	return fault.New("missing_weights", "isolate_vocals", "%s (%s%s) is %s; expected at %s\n%s\nOr leave isolate_vocals out.",
		f.Path, f.Purpose, sizeNote(f.Bytes), what, l.Path(f.Path), cure)
}

// holdsPublished returns the path of the first published file that exists below the root; empty if none does.
func (l Layout) holdsPublished() string {
	for _, f := range published {
		if _, err := os.Lstat(l.Path(f.Path)); err == nil {
			return f.Path
		}
	}
	return ""
}

func sizeNote(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return ", " + Size(bytes)
}

// Size writes a number of bytes for people, in the decimal units in which the files are published.
func Size(bytes int64) string {
	switch {
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
}

// shellWord quotes s for a POSIX shell where that is needed, so that the printed command can be pasted.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
