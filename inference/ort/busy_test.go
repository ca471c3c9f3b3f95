package ort

import (
	"testing"
	"testing/synctest"
	"time"
)

// Runs side by side count once, and one that is under way counts up to now.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &Runtime{}
		expect := func(want time.Duration) {
			t.Helper()
			if got := rt.Busy(); got != want {
				t.Errorf("busy for %s, want %s", got, want)
			}
		}
		time.Sleep(time.Second)
		rt.busy.begin()
		time.Sleep(time.Second)
		expect(time.Second)
		rt.busy.begin()
		time.Sleep(time.Second)
		rt.busy.end()
		time.Sleep(time.Second)
		rt.busy.end()
		expect(3 * time.Second)
		time.Sleep(time.Second)
		expect(3 * time.Second)
	})
}
