package hubtest

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Trouble is what goes wrong. The zero value makes none.
type Trouble struct {
	Cut     float64        // how likely an answer breaks off in the middle
	Busy    float64        // how likely a request is told to come back in a second
	Broken  float64        // how likely a request is answered with 500, 502, 503 or 504
	Expire  int            // how often a signed address works; 0: always
	Wrong   []string       // the files of which one byte is wrong, for each time that one is named
	Status  map[string]int // an answer for all requests for a file
	Header  http.Header    // of that answer
	Pace    time.Duration  // between pieces
	Piece   int            // how many bytes are sent at once; 0: 4 KiB
	Silence time.Duration  // before an answer, when it is Silent's turn
	Silent  int            // how many answers do not come for so long

	mu   sync.Mutex
	rng  *rand.Rand
	used map[string]int
}

// draw decides by chance, the same in every run as far as the order of requests is.
func (t *Trouble) draw(likely float64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rng == nil {
		t.rng = rand.New(rand.NewPCG(1, 2))
	}
	return t.rng.Float64() < likely
}

func (t *Trouble) intn(n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rng == nil {
		t.rng = rand.New(rand.NewPCG(1, 2))
	}
	return t.rng.IntN(n)
}

// answer answers a request with trouble, if it is its turn.
func (t *Trouble) answer(h *Hub, w http.ResponseWriter, r *http.Request, path string) bool {
	t.mu.Lock()
	status, silent := t.Status[path], t.Silent > 0
	if silent {
		t.Silent--
	}
	t.mu.Unlock()
	if silent {
		select {
		case <-time.After(t.Silence):
		case <-r.Context().Done():
		}
	}
	switch {
	case status != 0:
		for name, values := range t.Header {
			w.Header()[name] = values
		}
		http.Error(w, "as told", status)
	case t.draw(t.Busy):
		const seconds = 1
		now := time.Now()
		h.mu.Lock()
		h.quiet[r.Host] = quiet{now, now.Add(seconds * time.Second)}
		h.mu.Unlock()
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case t.draw(t.Broken):
		http.Error(w, "broken", []int{500, 502, 503, 504}[t.intn(4)])
	default:
		return false
	}
	return true
}

// expired counts the uses of a signed address.
func (t *Trouble) expired(signature string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used == nil {
		t.used = map[string]int{}
	}
	t.used[signature]++
	return t.Expire > 0 && t.used[signature] > t.Expire
}

// send sends the part of a content that begins at from, or something like it.
func (t *Trouble) send(h *Hub, w http.ResponseWriter, f *file, content []byte, from int) {
	t.mu.Lock()
	if i := slices.Index(t.Wrong, f.name); i >= 0 && from == 0 {
		t.Wrong = slices.Delete(t.Wrong, i, i+1)
		content = slices.Clone(content)
		content[len(content)/2] ^= 1
	}
	t.mu.Unlock()
	end := len(content)
	if t.draw(t.Cut) {
		end = t.intn(len(content))
	}
	piece := cmp.Or(t.Piece, 4<<10)
	for at := 0; at < end; at += piece {
		if t.Pace > 0 {
			time.Sleep(t.Pace)
		}
		n, err := w.Write(content[at:min(at+piece, end)])
		h.mu.Lock()
		h.stats.Sent += int64(n)
		h.mu.Unlock()
		if err != nil {
			return
		}
		if t.Pace > 0 {
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
		}
	}
	if end < len(content) {
		_ = http.NewResponseController(w).Flush() // the rest of what was sent counts as sent
		panic(http.ErrAbortHandler)
	}
}
