package policy_test

// For which environment a data folder is, and where what runs in it comes from.

import (
	"maps"
	"strings"
	"testing"

	"imx"
	"imx/internal/policy"
)

func TestADataFolderIsForOneEnvironmentUntilSomebodyChangesIt(t *testing.T) {
	for what, c := range map[string]struct {
		has, wanted string
		change      policy.Change
		want        string
		kind        imx.Kind
	}{
		"the first start":                 {"", policy.Production, false, policy.Production, ""},
		"the first start, not told":       {"", "", false, policy.Development, ""},
		"told as before":                  {policy.Production, policy.Production, false, policy.Production, ""},
		"not told":                        {policy.Production, "", false, policy.Production, ""},
		"told otherwise":                  {policy.Production, policy.Development, false, "", imx.Conflict},
		"told to change":                  {policy.Production, policy.Staging, true, policy.Staging, ""},
		"misspelled":                      {"", "prodution", false, "", imx.NotFound},
		"misspelled where it may change":  {policy.Production, "prodution", true, "", imx.NotFound},
		"one that was made":               {"", "preview", false, "preview", ""},
		"no name at all":                  {"", "Not a name", true, "", imx.Invalid},
		"what it has, though nobody made": {"older", "older", false, "older", ""},
	} {
		s := &imx.State{Environment: c.has, Policies: map[string]imx.Policy{"preview": policy.Default("preview")}}
		got, err := policy.Settle(s, c.wanted, c.change)
		if got != c.want || imx.KindOf(err) != c.kind {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if c.kind == imx.NotFound && !strings.Contains(err.Error(), "known are development, preview, production, staging") {
			t.Errorf("%s: %v names not all that there are", what, err)
		}
	}
}

func TestAFolderThatDiffersIsToldFromOneWhoseLockIsNew(t *testing.T) {
	for what, c := range map[string]struct {
		changes    []string
		says, hint string
	}{
		"a page":   {[]string{"index.html isn't in the commit"}, "differs from its commit: index.html isn't in the commit", "git add --force"},
		"the lock": {[]string{"imx.lock isn't in the commit as it is written now"}, "imx.lock isn't in the commit", "commit imx.lock"},
		"both":     {[]string{"imx.lock is otherwise in the commit", "a is missing"}, "imx.lock is otherwise in the commit, a is missing", "git add --force"},
		"unknown":  {nil, "the template's folder differs from its commit", "commit all"},
	} {
		in := with(func(in *policy.Input) { in.Plan.Source.Dirty, in.Plan.Source.Changes = true, c.changes })
		if got := condition(t, judge(t, policy.Default(policy.Production), in), "source"); !strings.HasSuffix(got.Says, c.says) && !strings.Contains(got.Says, c.says) || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestProvenanceTellsWhereAReleaseOfTheSameImageIsFrom(t *testing.T) {
	a, b := strings.Repeat("a1", 20), strings.Repeat("b2", 20)
	for what, c := range map[string]struct {
		built   facts
		release imx.Source
		says    string
	}{
		"the same commit": {facts{"source": "a1", "commit": a}, imx.Source{Commit: a}, "built by the builder of imx 1; template: a1"},
		"a later one":     {facts{"source": "a1", "commit": a}, imx.Source{Commit: b}, "template: a1; this release's, b2b2b2b2b2b2, gives the same image"},
		"with changes":    {facts{"source": "a1", "commit": a}, imx.Source{Commit: a, Dirty: true}, "; this release's, with changes, gives the same image"},
		"in no Git":       {facts{"source": "a1", "commit": a}, imx.Source{Folder: "x"}, "; this release's, not in Git, gives the same image"},
		"found":           {facts{"source": "a1", "commit": a, "bytes": facts{"how": "found"}}, imx.Source{Commit: a}, "found as an earlier build made it by the builder of imx 1; template: a1"},
		"compared":        {facts{"source": "a1", "commit": a, "bytes": facts{"how": "compared"}}, imx.Source{Commit: a}, "built anew, with the same bytes by the builder"},
	} {
		in := with(func(in *policy.Input) {
			e := in.Evidence["provenance"]
			whole := facts{"builder": "urn:imx:builder:v1", "version": "1", "imagePlan": string(in.Image.Plan)}
			maps.Copy(whole, c.built)
			e.Facts = whole
			in.Evidence["provenance"], in.Plan.Source = e, c.release
		})
		if got := condition(t, judge(t, policy.Default(policy.Development), in), "provenance"); !got.Met || !strings.HasSuffix(got.Says, c.says) && !strings.HasPrefix(got.Says, c.says) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
