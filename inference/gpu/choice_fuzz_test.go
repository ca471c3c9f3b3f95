package gpu

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// FuzzChoice: a value of HUMO_GPUS is a choice or a short fault about the setting. Of eight cards a choice gives those that it
// names, each once and in its order; written out again, it is the same choice.
func FuzzChoice(f *testing.F) {
	for _, seed := range []string{"", "auto", "none", "0", "1,0", " 2 ,3", "0,0", "-1", "8", "+1", "1e3", "0x1", "99999999999999999999", "0,", "None", "\x00"} {
		f.Add(seed)
	}
	var found Found
	for i := range 8 {
		found.Cards = append(found.Cards, Card{Ordinal: i, Name: "card", Major: 8})
	}
	found.Cards[7].Major = 5 // nothing runs on it
	f.Fuzz(func(t *testing.T, text string) {
		c := Choice(text)
		cards, passed, err := c.Choose(found, 0)
		if invalid := c.Validate(); invalid != nil {
			if fault.CodeOf(invalid) != "invalid_setting" || len(invalid.Error()) > 400 || err == nil || !strings.Contains(invalid.Error(), "HUMO_GPUS") {
				t.Fatalf("%q: %v, %v", text, invalid, err)
			}
			return
		}
		if err != nil {
			if code := fault.CodeOf(err); code != "no_gpu" && code != "unsupported_gpu" || !c.Certain() || len(err.Error()) > 400 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var again []string
		seen := map[int]bool{}
		for _, k := range cards {
			if seen[k.Ordinal] || !k.Runs() {
				t.Fatalf("%q gives %v", text, cards)
			}
			seen[k.Ordinal] = true
			again = append(again, fmt.Sprint(k.Ordinal))
		}
		switch {
		case c == None && len(cards) > 0, (c == Auto || c == "") && (len(cards) != 7 || len(passed) != 1):
			t.Fatalf("%q gives %v, without %v", text, cards, passed)
		case c.Certain() && len(cards) != strings.Count(text, ",")+1:
			t.Fatalf("%q names other than %d cards", text, len(cards))
		}
		if !c.Certain() {
			return
		}
		rewritten, _, err := Choice(strings.Join(again, ",")).Choose(found, 0)
		if err != nil || fmt.Sprint(rewritten) != fmt.Sprint(cards) {
			t.Fatalf("%q is %v, written again %v, %v", text, cards, rewritten, err)
		}
	})
}

// FuzzVisibleDevices: of CUDA_VISIBLE_DEVICES every name up to the first unknown one is that of its card, and no card comes
// after that.
func FuzzVisibleDevices(f *testing.F) {
	for _, seed := range []string{"0,1", "", "1, 0", "GPU-", "GPU-1", "MIG-0000", "MIG-x", "0,5,1", "GPU-0000,0", "NoDevFiles", "-1", "0,0", "+0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, visible string) {
		d := driverOf(t4, h100)
		chosen, err := visibleDevices(d, visible, true)
		names := strings.Split(visible, ",")
		if err == nil && len(chosen) != len(names) || err != nil && (fault.CodeOf(err) != "no_gpu" || len(chosen) >= len(names)) {
			t.Fatalf("%q: %d cards, %v", visible, len(chosen), err)
		}
		for i, card := range chosen {
			name := strings.TrimSpace(names[i])
			number, noNumber := strconv.Atoi(name)
			id, err := card.uuid()
			if err != nil || noNumber == nil && card != device(d.cards[number]) || noNumber != nil && (len(name) < 4 || !strings.HasPrefix(id, name)) {
				t.Fatalf("%q: %q is the card %s, %v", visible, name, id, err)
			}
		}
	})
}
