package apart_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/check"
	"imx/internal/check/apart"
)

// A Set starts the program that it is part of: here, this one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == apart.Word {
		os.Exit(apart.Main(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

const head = "# METADATA\n# title: A rule\n# custom:\n#   id: own\n#   severity: low\npackage own\n"

func load(t *testing.T, text string, limits apart.Limits) *apart.Set {
	t.Helper()
	set, err := apart.Load("own", []check.Module{{Name: "own.rego", Text: head + text}}, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

func document(n int) check.Document {
	return check.Document{
		Input: map[string]any{"n": n}, Now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Locate: func(way []string) (string, imx.Pos) {
			return imx.Address(way...), imx.Pos{File: "t.imx.hcl", Line: len(way)}
		},
	}
}

func TestRulesApartFindTheSameAsRulesHere(t *testing.T) {
	text := `deny contains {"at": ["service", "web", sprintf("%d", [input.n])], "message": "x", "fix": "mend"} if input.n > 0`
	here, err := check.Load("own", []check.Module{{Name: "own.rego", Text: head + text}}, check.DefaultBounds())
	if err != nil {
		t.Fatal(err)
	}
	there := load(t, text, apart.DefaultLimits())
	for n := range 3 {
		want, err := here.Run(t.Context(), document(n))
		if err != nil {
			t.Fatal(err)
		}
		got, err := there.Run(t.Context(), document(n))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%d: %v\n%s", n, err, diff)
		}
	}
	if diff := cmp.Diff(here.Rules(), there.Rules()); diff != "" {
		t.Error(diff)
	}
}

// In each of them one call would take more than ten gigabytes, or more than a lifetime: check's own bounds are looked at only
// between calls.
func TestACallThatTakesAnyMemoryOrTimeIsStoppedAndItsRuleNamed(t *testing.T) {
	const memory = ": the rule own was stopped: it took more memory than rules may"
	const duration = ": the rule own was stopped: it took more time than rules may"
	for name, c := range map[string]struct{ text, says string }{
		"sprintf":      {`deny contains {"message": "x"} if count(sprintf("` + strings.Repeat("%1000000d", 10_000) + `", numbers)) > 0` + "\nnumbers := [1 | some _ in split(\"" + strings.Repeat("x", 10_000) + "\", \"\")]", memory},
		"split":        {doubled("xxxxxxxx", 23) + `deny contains {"message": "x"} if count(split(t23, "")) > 0`, memory},
		"replace":      {doubled("x", 18) + `deny contains {"message": "x"} if count(strings.replace_n({"x": t18}, t18)) > 0`, memory},
		"json.marshal": {nested(40) + `deny contains {"message": "x"} if count(json.marshal(t40)) > 0`, memory},
		"a result":     {nested(40) + `deny contains {"message": "x", "at": t40} if true`, memory},
		"sort":         {nested(60) + strings.ReplaceAll(strings.ReplaceAll(nested(60), "t", "u"), "uexu", "text") + `deny contains {"message": "x"} if count(sort([t60, u60])) > 0`, duration},
	} {
		t.Run(name, func(t *testing.T) {
			// A slow machine may take seconds to fill the memory; what never ends needs no more than one.
			limits := apart.DefaultLimits()
			limits.Time = time.Minute
			if c.says == duration {
				limits.Time = time.Second
			}
			_, err := load(t, c.text, limits).Run(t.Context(), document(1))
			before, _, _ := strings.Cut(head+c.text, "deny")
			says := fmt.Sprintf("own.rego:%d%s", strings.Count(before, "\n")+1, c.says)
			if imx.KindOf(err) != imx.Exhausted || !strings.HasPrefix(err.Error(), says) {
				t.Errorf("%v: %v", imx.KindOf(err), err)
			}
		})
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil || used.Maxrss > 500<<10 {
		t.Errorf("the largest process took %d KiB, %v", used.Maxrss, err)
	}
	t.Logf("the largest process took %d MiB", used.Maxrss>>10)
}

// doubled is text, and n rules of which each has twice the text of the one before.
func doubled(text string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "t0 := %q\n", text)
	for i := range n {
		fmt.Fprintf(&b, "t%d := concat(\"\", [t%d, t%d])\n", i+1, i, i)
	}
	return b.String()
}

// nested is n rules of which each is a list that has the one before twice: small here, and without end as text.
func nested(n int) string {
	var b strings.Builder
	b.WriteString("t0 := [\"text\"]\n")
	for i := range n {
		fmt.Fprintf(&b, "t%d := [t%d, t%d]\n", i+1, i, i)
	}
	return b.String()
}

func TestASetThatWasStoppedCanBeAskedAgain(t *testing.T) {
	set := load(t, nested(40)+`deny contains {"message": "x"} if { input.n == 1; count(json.marshal(t40)) > 0 }`,
		apart.Limits{Bounds: check.DefaultBounds(), Memory: 64 << 20, Time: 30 * time.Second})
	if _, err := set.Run(t.Context(), document(1)); imx.KindOf(err) != imx.Exhausted {
		t.Fatal(err)
	}
	if found, err := set.Run(t.Context(), document(2)); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestChecksOwnBoundsHoldApartToo(t *testing.T) {
	set := load(t, `n := [i | some i, _ in split("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "")]
deny contains {"message": "x"} if { some a in n; some b in n; some c in n; some d in n; some e in n; (((a+b)+c)+d)+e == -1 }`,
		apart.Limits{Bounds: check.Bounds{Steps: 10_000, Memory: 64 << 20}, Memory: 256 << 20, Time: 30 * time.Second})
	_, err := set.Run(t.Context(), document(1))
	if imx.KindOf(err) != imx.Exhausted || err.Error() != "own.rego:8: the rule own was stopped: it took more steps than rules may" {
		t.Error(err)
	}
}

func TestTheCallersEndStopsACall(t *testing.T) {
	set := load(t, nested(60)+`deny contains {"message": "x"} if count([1 | walk(t60)]) > 0`, apart.DefaultLimits())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := set.Run(ctx, document(1)); imx.KindOf(err) != imx.Unavailable {
		t.Error(err)
	}
}

func TestWhatIsWrongWithARuleIsSaidBeforeAnyProcess(t *testing.T) {
	_, err := apart.Load("own", []check.Module{{Name: "own.rego", Text: head + "deny contains"}}, apart.DefaultLimits())
	if imx.KindOf(err) != imx.Invalid {
		t.Error(err)
	}
}
