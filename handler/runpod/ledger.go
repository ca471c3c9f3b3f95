package runpod

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
)

// ledger remembers how jobs ended: a file per job, kept in memory as well. A file is replaced whole or not at all.
type ledger struct {
	dir     string // "": in memory only
	lock    *flock.Flock
	records map[string]*record
	bytes   int
	t       Timing
	log     zerolog.Logger
}

// record is one job's end.
type record struct {
	ID     string          `json:"id"`
	State  state           `json:"state"`
	At     time.Time       `json:"at"`
	Body   json.RawMessage `json:"body,omitempty"`
	Stream bool            `json:"stream,omitempty"`
	Failed bool            `json:"failed,omitempty"`
}

type state string

const (
	statePending   state = "pending"   // there is a result; RunPod may not have it
	stateDelivered state = "delivered" // RunPod has the result, or wants none
	stateCancelled state = "cancelled"
)

// stopped is true for a job of which RunPod wants to hear nothing more: it was cancelled, be it after its result.
func (r *record) stopped() bool {
	return r.State == stateCancelled || r.State == stateDelivered && len(r.Body) == 0
}

// What is remembered of finished jobs is bounded, too: the oldest are forgotten.
const (
	maxRecords     = 10_000
	maxRecordBytes = 64 << 20
)

// openLedger reads what earlier processes of this worker left. Without a folder to write to it remembers in memory, which
// keeps every promise but those about a killed worker.
func openLedger(parent, workerID string, t Timing, log zerolog.Logger) (*ledger, error) {
	l := &ledger{records: map[string]*record{}, t: t, log: log}
	dir := filepath.Join(parent, fileName(workerID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Warn().Err(err).Msg("WORKER_STATE_DIR cannot be written to: results would not survive a killed worker.")
		return l, nil
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	for range 20 { // a killed predecessor may be a moment from gone
		if locked, err := lock.TryLock(); err != nil || locked {
			l.dir, l.lock = dir, lock
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if l.dir == "" {
		return nil, fmt.Errorf("WORKER_STATE_DIR: another worker with the id %.80q uses %s; give each worker its own RUNPOD_POD_ID or folder", workerID, parent)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var r record
		if json.Unmarshal(data, &r) != nil || r.ID == "" || l.path(r.ID) != file {
			os.Remove(file) //nolint:errcheck // it is nothing of ours; leaving it costs a file
			continue
		}
		if now := time.Now(); r.At.After(now) { // the clock was wrong, then or now; for years it would not expire
			r.At = now
		}
		l.records[r.ID] = &r
		l.bytes += len(r.Body)
	}
	partial, _ := filepath.Glob(filepath.Join(dir, "*.partial"))
	for _, file := range partial {
		os.Remove(file) //nolint:errcheck // the next start tries again
	}
	l.forget()
	return l, nil
}

func (l *ledger) close() {
	if l.lock != nil {
		l.lock.Close() //nolint:errcheck // the lock ends with the process
	}
}

// recall returns what is known about a job, or nil.
func (l *ledger) recall(id string) *record {
	r := l.records[id]
	if r == nil || l.expired(r) {
		return nil
	}
	return r
}

// keep replaces what is known about a job.
func (l *ledger) keep(r record) {
	r.At = time.Now()
	if old := l.records[r.ID]; old != nil {
		l.bytes -= len(old.Body)
	}
	l.records[r.ID] = &r
	l.bytes += len(r.Body)
	if l.dir != "" {
		if err := l.write(&r); err != nil {
			l.log.Warn().Err(err).Str("job", r.ID).Msg("The job's end cannot be written to WORKER_STATE_DIR: it would not survive a killed worker.")
		}
	}
	if len(l.records) > maxRecords || l.bytes > maxRecordBytes || len(l.records)%64 == 0 {
		l.forget()
	}
}

func (l *ledger) write(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := l.path(r.ID)
	if err := os.WriteFile(path+".partial", data, 0o600); err != nil {
		return errors.Join(err, os.Remove(path+".partial"))
	}
	return os.Rename(path+".partial", path)
}

// expired is true once the same id means something new.
func (l *ledger) expired(r *record) bool {
	keep := l.t.RememberSuccess
	switch {
	case r.State == statePending:
		keep = l.t.RememberUndelivered
	case r.State == stateCancelled:
		keep = l.t.RememberCancel
	case r.Failed:
		keep = l.t.RememberFailure
	}
	return time.Since(r.At) > keep
}

// forget removes what has expired and, if that is too little, the oldest finished jobs. Results that RunPod does not have
// are never among them.
func (l *ledger) forget() {
	var finished []*record
	for _, r := range l.records {
		if l.expired(r) {
			l.drop(r)
		} else if r.State != statePending {
			finished = append(finished, r)
		}
	}
	slices.SortFunc(finished, func(a, b *record) int { return a.At.Compare(b.At) })
	for _, r := range finished {
		if len(l.records) <= maxRecords && l.bytes <= maxRecordBytes {
			return
		}
		l.drop(r)
	}
}

func (l *ledger) drop(r *record) {
	delete(l.records, r.ID)
	l.bytes -= len(r.Body)
	if l.dir != "" {
		os.Remove(l.path(r.ID)) //nolint:errcheck // an expired file is dropped at the next start
	}
}

func (l *ledger) path(id string) string { return filepath.Join(l.dir, fileName(id)+".json") }

// fileName is a name for any id, whatever is in it.
func fileName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}
