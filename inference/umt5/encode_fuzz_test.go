package umt5

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzEncode: a text of any bytes becomes ids of the vocabulary, always the same ones, and their pieces, in order, are the
// text: nothing but spaces and unknown characters is lost, and nothing is invented.
func FuzzEncode(f *testing.F) {
	var cases []struct {
		Text string `json:"text"`
	}
	readJSON(f, "testdata/tokens.json", &cases)
	for i, c := range cases {
		if i%8 == 0 {
			f.Add(c.Text)
		}
	}
	f.Add("a </s><extra_id_1>\u2581\u2581 \xff\xed\xa0\x80  b<pad")
	f.Add(strings.Repeat("talking person ", 400))
	tokenizer := goldenTokenizer(f)
	pieces := map[int32]string{}
	for _, v := range []vocabulary{tokenizer.model.pieces, tokenizer.added} {
		for i, id := range v.ids {
			pieces[id] = v.sorted[i]
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		ids, untruncated := tokenizer.Encode(text)
		if again, n := tokenizer.Encode(text); n != untruncated || !slices.Equal(ids, again) {
			t.Fatalf("%+q: %v, then %v", text, ids, again)
		}
		// Between two ▁ there is at least one other character or another ▁, so there are at most two ids a character.
		if len(ids) != min(untruncated, MaxTokens) || ids[len(ids)-1] != tokenizer.end || untruncated > 2*utf8.RuneCountInString(text)+1 {
			t.Fatalf("%+q: %d ids of %d", text, len(ids), untruncated)
		}
		left := bare(strings.ToValidUTF8(text, "\ufffd"))
		known := true // everything before has been found
		for _, id := range ids[:len(ids)-1] {
			if id == tokenizer.model.unknown {
				known = false
				continue
			}
			piece, ok := pieces[id]
			if !ok {
				t.Fatalf("%+q: the id %d is not in the vocabulary", text, id)
			}
			piece = bare(piece)
			at := strings.Index(left, piece)
			if at < 0 || known && at > 0 {
				t.Fatalf("%+q: the piece %+q of id %d does not stand where %+q goes on", text, piece, id, left)
			}
			left = left[at+len(piece):]
			known = known || piece != ""
		}
		if known && untruncated <= MaxTokens && left != "" {
			t.Fatalf("%+q: the end %+q is in no id", text, left)
		}
	})
}

// bare is a text without what stands for spaces.
func bare(text string) string { return strings.NewReplacer(" ", "", metaspace, "").Replace(text) }
