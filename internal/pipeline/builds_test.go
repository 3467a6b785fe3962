package pipeline_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"imx"
)

// When one image can't be built the others are given up. What a person reads of them must not be how
// they noticed, and must not look like a cause.
func TestAnImageThatIsGivenUpBecauseOfAnotherSaysSo(t *testing.T) {
	w := newWorld(t)
	w.debs.Change("pool/*/*/*/base_*.deb", func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	})
	template := packaged
	for i := range 5 {
		template += "\n" + strings.ReplaceAll(packaged[strings.Index(packaged, "image"):], `"hello" {`, fmt.Sprintf(`"hello%d" {`, i))
	}
	var mu sync.Mutex
	last := map[string]imx.Progress{}
	_, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, template)}, func(p imx.Progress) {
		mu.Lock()
		defer mu.Unlock()
		last[p.Step] = p
	})
	if imx.KindOf(err) != imx.Refused {
		t.Fatal(err)
	}
	causes, excused := 0, 0
	for name, p := range last {
		if !strings.HasPrefix(name, "build image.") {
			continue
		}
		switch {
		case p.Status == imx.StepRunning && p.Message == "waiting": // its turn never came
		case p.Status == imx.StepFailed && strings.Contains(p.Message, "base_1.0"):
			causes++
		case p.Status == imx.StepFailed && p.Message == "given up: another image failed":
			excused++
		default:
			t.Errorf("%+v", p)
		}
	}
	if causes == 0 || causes+excused < 2 {
		t.Errorf("%d causes, %d given up, of %v", causes, excused, last)
	}
	for _, name := range []string{"fetch packages", "fetch packages image.hello"} {
		if _, ok := last[name]; ok {
			t.Errorf("the step %q doesn't say for which image", name)
		}
	}
}
