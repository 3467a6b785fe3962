package scale_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/scale"
)

// service draws one with bounds, a measure and a number of instances.
func service(t *rapid.T) scale.Wanted {
	c := imx.Scaling{
		Min: rapid.IntRange(1, 20).Draw(t, "min"), CPU: rapid.IntRange(1, 100).Draw(t, "cpu"),
		Up: imx.Duration(rapid.Int64Range(0, 60).Draw(t, "up")) * imx.Duration(time.Second), Down: imx.Duration(rapid.Int64Range(0, 300).Draw(t, "down")) * imx.Duration(time.Second),
	}
	c.Max = c.Min + rapid.IntRange(0, 80).Draw(t, "room")
	return scale.Wanted{Scaling: c, Replicas: rapid.IntRange(1, 120).Draw(t, "replicas")}
}

// course lets time pass with a load that is shared evenly, and returns the numbers that there were.
func course(w scale.Wanted, load []float64) []int {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	var samples []scale.Sample
	var numbers []int
	for _, total := range load {
		now = now.Add(every)
		samples = append(samples, scale.Sample{At: now, CPU: scale.Sum{Total: total, Of: w.Replicas}})
		d, _ := scale.Next(w, samples, now)
		if d.Replicas != w.Replicas {
			w.Replicas, w.Changed = d.Replicas, now
		}
		numbers = append(numbers, d.Replicas)
	}
	return numbers
}

func TestASteadyLoadNeverMakesTheNumberTurnBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := service(t)
		load := make([]float64, 1000)
		total := rapid.Float64Range(0, 10000).Draw(t, "load")
		for i := range load {
			load[i] = total
		}
		grew, shrank, was := false, false, min(max(w.Replicas, w.Scaling.Min), w.Scaling.Max)
		for _, n := range course(w, load) {
			grew, shrank, was = grew || n > was, shrank || n < was, n
		}
		if grew && shrank {
			t.Fatalf("it went both ways, and ended at %d", was)
		}
	})
}

func TestTheNumberIsAlwaysWithinItsBoundsAndEachStepIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := service(t)
		load := rapid.SliceOfN(rapid.Float64Range(0, 10000), 1, 200).Draw(t, "load")
		was := w.Replicas
		for _, n := range course(w, load) {
			if n < w.Scaling.Min || n > w.Scaling.Max {
				t.Fatalf("%d instances, of %d to %d", n, w.Scaling.Min, w.Scaling.Max)
			}
			inBounds := was >= w.Scaling.Min && was <= w.Scaling.Max
			if inBounds && (n > max(2*was, was+scale.FewAtOnce) || n < was/2) {
				t.Fatalf("from %d to %d in one step", was, n)
			}
			was = n
		}
	})
}

func TestMoreLoadNeverAsksForFewerInstances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := service(t)
		load := rapid.SliceOfN(rapid.Float64Range(0, 10000), 80, 80).Draw(t, "load")
		now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		next := func(factor float64) int {
			var samples []scale.Sample
			for i, total := range load {
				at := now.Add(time.Duration(i-len(load)) * every)
				samples = append(samples, scale.Sample{At: at, CPU: scale.Sum{Total: total * factor, Of: w.Replicas}})
			}
			d, _ := scale.Next(w, samples, now)
			return d.Replicas
		}
		if less, more := next(1), next(rapid.Float64Range(1, 10).Draw(t, "factor")); more < less {
			t.Fatalf("the load asks for %d, more of it for %d", less, more)
		}
	})
}

func TestSilenceNeverChangesTheNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := service(t)
		w.Replicas = min(max(w.Replicas, w.Scaling.Min), w.Scaling.Max)
		now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		var samples []scale.Sample
		for range rapid.IntRange(0, 100).Draw(t, "samples") {
			now = now.Add(every)
			samples = append(samples, scale.Sample{At: now})
		}
		if d, _ := scale.Next(w, samples, now); d.Replicas != w.Replicas {
			t.Fatalf("from %d to %d: %s", w.Replicas, d.Replicas, d.Reason)
		}
	})
}

func TestWhatIsMeasuredBetweenTwoMoments(t *testing.T) {
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	use := func(cpu time.Duration, memory imx.Size) imx.Usage {
		return imx.Usage{CPU: imx.Duration(cpu), Memory: memory, Limits: imx.Resources{CPU: 0.5, Memory: 100}}
	}
	before := imx.Load{Time: at, Usage: map[string]imx.Usage{"a": use(time.Second, 10), "b": use(5*time.Second, 10)}, Arrivals: map[string]int64{"web": 100}}
	after := imx.Load{
		Time: at.Add(10 * time.Second), Arrivals: map[string]int64{"web": 130},
		Usage: map[string]imx.Usage{"a": use(2*time.Second, 20), "b": use(time.Second, 40), "new": use(time.Second, 60)},
	}
	s := scale.Between("web", []string{"a", "b", "new", "gone"}, before, after)
	if want := (scale.Sum{Total: 20, Of: 1}); s.CPU != want {
		t.Errorf("the processor's is %v, want %v: b's counter went backwards, the others have one value at most", s.CPU, want)
	}
	if want := (scale.Sum{Total: 120, Of: 3}); s.Memory != want {
		t.Errorf("the memory's is %v, want %v", s.Memory, want)
	}
	if want := (scale.Sum{Total: 3, Of: 4}); s.Connections != want {
		t.Errorf("the connections' is %v, want %v", s.Connections, want)
	}
	after.Arrivals["web"] = 20 // the rules were written anew
	if s := scale.Between("web", []string{"a"}, before, after); s.Connections.Total != 2 {
		t.Errorf("after the count began anew there were %v new connections a second, want 2", s.Connections.Total)
	}
	if s := scale.Between("web", []string{"a"}, imx.Load{}, after); s.CPU.Of != 0 || s.Connections.Of != 0 {
		t.Errorf("the first moment alone tells %v", s)
	}
}
