package bench

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Tolerance is by how much a measure may be worse than the stored one's.
const Tolerance = 0.15

// attempts is how often an entry is measured before it counts as worse: a busy neighbour is not a regression.
const attempts = 3

// Check measures the guarded entries of a stored table again by run, and compares what does not depend on how fast the
// machine is. It writes a line per measure to w, and fails where one is worse by more than Tolerance in every attempt.
func Check(ctx context.Context, stored *Table, w io.Writer, run func(context.Context, Entry) (*Report, error)) error {
	var failed []string
	machine := ""
	for _, r := range stored.Rows {
		if !r.Guard || !r.possible() {
			continue
		}
		bad, cpu, err := r.check(ctx, w, run)
		if err != nil {
			return err
		}
		failed, machine = append(failed, bad...), cpu
	}
	if machine == "" {
		return fault.New("no_table", "", "the stored table has no entry to compare with; measure it anew with `bench table --out FOLDER`")
	}
	if len(failed) == 0 {
		return nil
	}
	hint := "find the change that did it"
	if machine != stored.Machine.CPU {
		hint = fmt.Sprintf("or this machine is unlike the table's (%s, not %s)", machine, stored.Machine.CPU)
	}
	return fault.New("slower", "", "worse than the stored table by more than %.0f %%: %s; %s, or, if it is meant, measure the table anew",
		100*Tolerance, strings.Join(failed, "; "), hint)
}

// check compares one entry. Each measure's best attempt counts.
func (r Row) check(ctx context.Context, w io.Writer, run func(context.Context, Entry) (*Report, error)) (failed []string, cpu string,
	err error) {
	entry := r.Entry
	entry.Parts = false // they are not compared
	best := map[Measure]float64{}
	var tries []Result
	for range attempts {
		report, err := run(ctx, entry)
		if err != nil {
			return nil, "", err
		}
		if len(report.Results) == 0 {
			return nil, "", fault.New("no_result", r.Name, "the measurement gave no result")
		}
		x := report.Results[0]
		tries, cpu, failed = append(tries, x), report.Machine.CPU, nil
		for _, m := range []Measure{Time, Share, Memory, Own} {
			before, now := m.of(r.main()), m.of(x)
			if before == 0 || now == 0 {
				continue // one of both without PyTorch, or nothing is counted
			}
			if old, ok := best[m]; !ok || m.worse(old, now) < 0 {
				best[m] = now
			}
			if worse := m.worse(before, best[m]); worse > Tolerance {
				failed = append(failed, fmt.Sprintf("%s %s: %s %.2f, was %.2f", r.Name, r.Size, m, best[m], before))
			}
		}
		if len(failed) == 0 {
			break
		}
	}
	for _, m := range []Measure{Time, Share, Memory, Own} {
		if now, ok := best[m]; ok {
			before := m.of(r.main())
			verdict := "as before"
			if worse := m.worse(before, now); worse > Tolerance {
				verdict = fmt.Sprintf("WORSE by %.0f %%", 100*worse)
			} else if worse < -Tolerance {
				verdict = "better: measure the table anew"
			}
			_, err = fmt.Fprintf(w, "%-18s %-10s %-6s %.3f, was %.3f  %s\n", r.Name, r.Size, m, now, before, verdict)
			if err != nil {
				return nil, "", err
			}
		}
	}
	_, err = fmt.Fprintf(w, "%-18s %-10s measured %s; noise: %s\n", "", "", times(len(tries)), noiseOf(tries))
	return failed, cpu, err
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// noiseOf says how far the slowest of equal runs is behind the fastest: the network's, and the products'.
func noiseOf(tries []Result) string {
	var own, products float64
	for _, x := range tries {
		own = max(own, x.Seconds.Max/x.Seconds.Min-1)
		products = max(products, x.Products.Max/x.Products.Min-1)
	}
	return fmt.Sprintf("equal runs differ by up to %.0f %%, products by %.0f %%", 100*own, 100*products)
}
