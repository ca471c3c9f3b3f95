package faults_test

import (
	"fmt"
	"testing"
)

// TestNames uses names that have no address: top-level names that are reserved for that (RFC 2606).
func TestNames(t *testing.T) {
	t.Run("of an input", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.start()
		w.expect("broken", `"audio": "https://voices.invalid/voice.wav?signature=CANARY-QUERY"`, "source_unreachable audio") // it has no address: its spelling is wrong
		w.secret = append(w.secret, "CANARY-QUERY")
		w.works("mended")
		w.end()
	})
	t.Run("of an input, no name server", func(t *testing.T) { // nobody says that there is no such name
		t.Parallel()
		w := newWorld(t)
		w.private()
		must(t, writeFile(w.path("resolv.conf"), "nameserver 127.0.0.1:1\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n"))
		w.before = fmt.Sprintf("mount --bind '%s' /etc/resolv.conf\n", w.path("resolv.conf"))
		w.start()
		w.expect("broken", `"audio": "https://voices.example/voice.wav"`, "source_unreachable audio (retryable)")
		w.works("mended")
		w.end()
	})
	t.Run("of the bucket", func(t *testing.T) { // which comes back: the worker's name service is a file of its own
		t.Parallel()
		w := newWorld(t)
		w.private()
		must(t, writeFile(w.path("hosts"), "127.0.0.1 localhost\n"))
		w.before = fmt.Sprintf("mount --bind '%s' /etc/hosts\n", w.path("hosts"))
		w.env = append(w.env, "BUCKET_ENDPOINT_URL=http://bucket.invalid:"+portOf(w.network.URL))
		w.start()
		w.expect("broken", "", "storage_failed BUCKET_ENDPOINT_URL (retryable)")
		must(t, writeFile(w.path("hosts"), "127.0.0.1 localhost bucket.invalid\n"))
		jobs := 0
		w.until("a job that finds the bucket", func() bool { // Go keeps what it read of the file for some seconds
			jobs++
			id := fmt.Sprintf("mended-%d", jobs)
			w.give(id, "")
			return w.await(id).summary() == "ok"
		})
		w.end()
	})
}
