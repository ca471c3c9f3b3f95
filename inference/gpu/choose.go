package gpu

import (
	"slices"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Choice is the value of HUMO_GPUS.
type Choice string

// The choices beside lists of ordinals such as "0,1".
const (
	Auto Choice = "auto" // every card that can be used; empty means the same
	None Choice = "none" // the CPU
)

// Validate reports a value that is no choice. Whether the cards exist is told by Choose.
func (c Choice) Validate() error {
	_, err := c.ordinals()
	return err
}

// Certain reports whether cards are asked for by number: then it is an error if they cannot be used.
func (c Choice) Certain() bool { return c != "" && c != Auto && c != None }

// ordinals are those that are asked for; nil for the words.
func (c Choice) ordinals() ([]int, error) {
	if !c.Certain() {
		return nil, nil
	}
	var list []int
	for text := range strings.SplitSeq(string(c), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 {
			return nil, fault.New("invalid_setting", "HUMO_GPUS", "is %.40q; set it to %s, %s, or the numbers of cards such as 0,1", string(c), Auto, None)
		}
		if slices.Contains(list, n) {
			return nil, fault.New("invalid_setting", "HUMO_GPUS", "names card %d twice", n)
		}
		list = append(list, n)
	}
	return list, nil
}

// Choose picks from the cards that were found. Of Auto it is every card that ONNX Runtime has code for, at most so many if
// most is not 0, and passed says of each that it has no code for why it is left out. A card that is asked for by number
// and is not there, or cannot be used, is a fault of HUMO_GPUS.
func (c Choice) Choose(f Found, most int) (cards []Card, passed []error, err error) {
	ordinals, err := c.ordinals()
	if err != nil || c == None {
		return nil, nil, err
	}
	for _, n := range ordinals {
		i := slices.IndexFunc(f.Cards, func(k Card) bool { return k.Ordinal == n })
		if i < 0 {
			return nil, nil, fault.New("no_gpu", "HUMO_GPUS", "card %d is asked for, %d cards are there; name others, or set it to %s", n, len(f.Cards), Auto).Because(f.Reason)
		}
		if !f.Cards[i].Runs() {
			return nil, nil, unusable(f.Cards[i])
		}
		cards = append(cards, f.Cards[i])
	}
	if c.Certain() {
		return cards, nil, nil
	}
	for _, k := range f.Cards {
		switch {
		case !k.Runs():
			passed = append(passed, unusable(k))
		case most == 0 || len(cards) < most:
			cards = append(cards, k)
		}
	}
	return cards, passed, nil
}

func unusable(k Card) error {
	return fault.New("unsupported_gpu", "HUMO_GPUS", "%s cannot be used: ONNX Runtime is built for the compute capabilities 7.5, 8.x, 9.0 and 12.x, this card has %s", k, k.Capability())
}
