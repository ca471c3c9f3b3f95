package localapi_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	clients = 200
	pause   = 250 * time.Millisecond // four times as often as RunPod's SDKs ask
)

// BenchmarkClients: 200 clients poll the status of a job that runs on the demo weights, for -benchtime (60s is what counts).
// An error fails it, and so do a p99 of 50 ms or a memory that grows.
//
//	go test -run - -bench Clients -benchtime 60s ./handler/localapi
func BenchmarkClients(b *testing.B) {
	w := startWorker(b)
	id := w.run(b, `{"input": {"prompt": "a woman", "audio": "volume:voice.wav", "frames": 97, "width": 384, "height": 256, "steps": 250}}`) // longer than the polling
	for w.until(b, id, "IN_PROGRESS").Progress.Step < 20 {                                                                                   // the render's own memory has grown to what it needs
		time.Sleep(50 * time.Millisecond)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var mu sync.Mutex
	var took []time.Duration
	var memory []int
	polls := make(chan struct{}, clients)
	var group sync.WaitGroup
	b.ResetTimer()
	for range clients {
		group.Go(func() {
			for range polls {
				time.Sleep(rand.N(2 * pause)) // clients do not ask in step
				began := time.Now()
				answer, err := client.Get(w.base + "/v2/demo/status/" + id)
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
					answer.Body.Close() //nolint:errcheck // read
				}
				if err != nil || answer.StatusCode != http.StatusOK {
					b.Errorf("%v %v", answer, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	for i := range b.N {
		if i%(b.N/20+1) == 0 {
			memory = append(memory, w.memory(b))
		}
		polls <- struct{}{}
	}
	close(polls)
	group.Wait()
	b.StopTimer()
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	b.ReportMetric(float64(at(0.5).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(at(0.99).Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "polls/s")
	b.Logf("memory of the worker, in MB, from beginning to end: %v", memory)
	grown := memory[len(memory)-1] - memory[len(memory)/4]
	b.ReportMetric(float64(grown), "grown-MB")
	if grown > 32 {
		b.Errorf("the memory has grown: %v", memory)
	}
	if b.N > clients*20 && at(0.99) > 50*time.Millisecond {
		b.Errorf("p50 %s, p99 %s, p99.9 %s", at(0.5), at(0.99), at(0.999))
	}
	if s := w.until(b, id, "IN_PROGRESS"); s.Progress.Stage != "denoise" {
		b.Errorf("the job is over: %+v", s)
	}
}

// memory is the worker's, in MB, without what it has mapped of files.
func (w *worker) memory(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.Process.Pid))
	if err != nil {
		b.Skipf("the memory of a process cannot be read here: %v", err)
	}
	kb, err := strconv.Atoi(string(regexp.MustCompile(`RssAnon:\s+(\d+)`).FindSubmatch(text)[1]))
	if err != nil {
		b.Fatal(err)
	}
	return kb >> 10
}
