package umt5

import (
	"html"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"
)

type cleanCase struct {
	Text       string `json:"text"`
	Fixed      string `json:"fixed"`
	BasicClean string `json:"basic_clean"`
	Cleaned    string `json:"cleaned"`
}

func TestCleanLikeTheOracle(t *testing.T) {
	var cases []cleanCase
	readJSON(t, "testdata/clean.json", &cases)
	for _, want := range cases {
		got := cleanCase{want.Text, fixText(want.Text), BasicClean(want.Text), Clean(want.Text)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+q (-want +got):\n%s", want.Text, diff)
		}
	}
}

// Lone and paired surrogates reach Python in a str; here they can only come as the bytes that UTF-8 forbids.
func TestFixTextSurrogates(t *testing.T) {
	for text, want := range map[string]string{
		"\xed\xa0\xbd\xed\xb8\x80":      "😀",
		"\xed\xb8\x80\xed\xa0\xbd":      "\ufffd\ufffd",
		"a\xed\xa0\xbdb":                "a\ufffdb",
		"\xed\xa0":                      "\ufffd\ufffd",
		"caf\xc3\xa9 \xff\xed\xa0\x80x": "café \ufffd\ufffdx",
		// A lone surrogate is in no encoding and not "bad", unlike U+FFFD.
		"Ã©\xed\xbf\xbf": "é\ufffd",
	} {
		if got := fixText(text); got != want {
			t.Errorf("fixText(%+q) = %+q, want %+q", text, got, want)
		}
	}
}

// A segment ends at maxSegment characters even without a line break.
func TestFixTextLongLine(t *testing.T) {
	// The segment boundary cuts the mojibake of é in two, so its first half has no second half to be repaired with.
	line := strings.Repeat("a", maxSegment-1) + "Ã©"
	if got := fixText(line); got != line {
		t.Errorf("the repair reached over the segment's end: …%q", got[len(got)-4:])
	}
	if got := fixText(line[1:]); !strings.HasSuffix(got, "aé") {
		t.Errorf("no repair within the segment: …%q", got[len(got)-4:])
	}
}

// The table must be HTML's, which Go's own package holds too, and whole names mean the same to both.
func TestEntitiesAreHTMLs(t *testing.T) {
	entities := html5Entities()
	if len(entities) != 2231 {
		t.Errorf("%d names, HTML has 2231", len(entities))
	}
	for name, want := range entities {
		if name == "nLt;" || name == "nGt;" {
			continue // Go's table lacks these two
		}
		if got := html.UnescapeString("&" + name); got != want {
			t.Errorf("&%s is %q here and %q in html", name, want, got)
		}
	}
}

// Where Python and Go part.
func TestUnescapeCharRefs(t *testing.T) {
	for text, want := range map[string]string{
		"&#x1;|&#11;|&#xFDD0;|&#127;": "|||",
		"&#x;|&#;|&#|&":               "&#x;|&#;|&#|&",
		"&#0;&#xD800;&#x110000;":      "\ufffd\ufffd\ufffd",
		"&#128;&#x81;&#13;&#12;":      "€\u0081\r\f",
		"&notit;&notin;&ampersand":    "¬it;∉&ersand",
		"&#65&#x41g&#0000065;":        "AAgA",
		"&eacuteé;&é;":                "éé;&é;",
		"&gt&lt;&amp;lt;":             "><&lt;",
	} {
		if got := unescapeCharRefs(text); got != want {
			t.Errorf("unescapeCharRefs(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestComposeNFC(t *testing.T) {
	// x/text would put a U+034F into these.
	long := "a" + strings.Repeat("\u0323", 40)
	if got, want := string(composeNFC([]rune(long))), "ạ"+strings.Repeat("\u0323", 39); got != want {
		t.Errorf("a long run of marks came out as %+q", got)
	}
	var cases []cleanCase
	readJSON(t, "testdata/clean.json", &cases)
	for _, c := range cases {
		want := norm.NFC.String(c.Text)
		if strings.Contains(want, "\u034f") || !utf8.ValidString(c.Text) {
			continue
		}
		if got := string(composeSlowly([]rune(c.Text))); got != want {
			t.Errorf("composeSlowly(%+q) = %+q, want %+q", c.Text, got, want)
		}
	}
}

func TestOneOf(t *testing.T) {
	in := oneOf("c-fa\u0080-\u00bfb")
	for r := range rune(0x100) {
		want := r >= 'a' && r <= 'f' || r >= 0x80 && r <= 0xbf
		if in(r) != want || noneOf("c-fa\u0080-\u00bfb")(r) == want {
			t.Errorf("%q in the class: %v, want %v", r, in(r), want)
		}
	}
}

// FuzzClean looks for panics, for output that is not clean, and for segments that change when repaired again.
func FuzzClean(f *testing.F) {
	var cases []cleanCase
	readJSON(f, "testdata/clean.json", &cases)
	for i, c := range cases {
		if i%8 == 0 {
			f.Add(c.Text)
		}
	}
	f.Add("Ã©\xed\xa0\xbd\xff&#\xed;")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		cleaned := Clean(text)
		if !utf8.ValidString(cleaned) {
			t.Errorf("not UTF-8: %+q", cleaned)
		}
		if cleaned != strings.Join(strings.FieldsFunc(cleaned, isWhiteSpace), " ") {
			t.Errorf("white space left: %+q", cleaned)
		}

		// ftfy repairs until nothing changes, so a segment is not repaired any further. Only if the repair made line
		// breaks are there several segments, which may look different one by one.
		fixed := fixText(text)
		if body := strings.TrimSuffix(fixed, "\n"); !strings.Contains(body, "\n") && utf8.RuneCountInString(fixed) <= maxSegment {
			if again := fixText(fixed); again != fixed && !strings.Contains(strings.TrimSuffix(text, "\n"), "\n") {
				t.Errorf("%+q, repaired again, is %+q", fixed, again)
			}
		}
		if strings.ContainsFunc(fixed, unwantedControl) || strings.Contains(fixed, "\r") {
			t.Errorf("controls left: %+q", fixed)
		}
	})
}
