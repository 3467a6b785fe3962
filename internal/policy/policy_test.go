package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/policy"
)

func now() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }

func digest(s string) imx.Digest { return imx.DigestBytes([]byte(s)) }

type facts = map[string]any

// stated is evidence that counts.
func stated(name string, f facts) policy.Evidence {
	return policy.Evidence{
		Type: name, Statement: digest(name), Bundle: digest("bundle of " + name), Signer: "SHA256:x", Made: now().Add(-time.Hour), Summary: "says " + name,
		Counts: true, Facts: f,
	}
}

// good is an input that every condition of production is met by.
func good() policy.Input {
	image, plan := imx.Image{Name: "web", Digest: digest("image"), Plan: digest("image plan")}, digest("plan")
	return policy.Input{
		Purpose: imx.ForRelease, Environment: policy.Production, Now: now(), Service: "web", Image: image,
		Plan:    policy.Plan{Digest: plan, Source: imx.Source{Commit: strings.Repeat("a1", 20)}, By: "ann", Service: imx.Spec{Name: "web"}},
		Commit:  &imx.Commit{ID: strings.Repeat("a1", 20), Signer: "ann"},
		Authors: []imx.Principal{"ann"},
		Evidence: map[string]policy.Evidence{
			"provenance": stated("provenance", facts{
				"builder": "urn:imx:builder:v1", "version": "1", "imagePlan": string(image.Plan), "source": "a1a1a1a1a1a1",
			}),
			"spdx": stated("spdx", nil), "cyclonedx": stated("cyclonedx", nil),
			"test":  stated("test", facts{"result": "PASSED", "plan": string(plan)}),
			"scan":  stated("scan", facts{"finished": now().Add(-time.Hour).Format(time.RFC3339), "vulnerabilities": []any{}}),
			"check": stated("check", facts{"refuse": "critical", "findings": []any{}}),
		},
		Candidate: "c1",
		Reviews:   []policy.Review{{By: "bob", Approves: true, Plan: plan, Candidate: "c1", Bundle: digest("review"), Made: now(), Reviewer: true, Counts: true}},
	}
}

func judge(tb testing.TB, p imx.Policy, in policy.Input) imx.Verdict {
	tb.Helper()
	v, err := policy.Judge(p, in)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func condition(tb testing.TB, v imx.Verdict, id string) imx.Condition {
	tb.Helper()
	i := slices.IndexFunc(v.Conditions, func(c imx.Condition) bool { return c.ID == id })
	if i < 0 {
		tb.Fatalf("the verdict has no condition %s", id)
	}
	return v.Conditions[i]
}

// with is good, changed.
func with(change func(in *policy.Input)) policy.Input {
	in := good()
	change(&in)
	return in
}

func evidence(name string, change func(e *policy.Evidence)) policy.Input {
	return with(func(in *policy.Input) {
		e := in.Evidence[name]
		change(&e)
		in.Evidence[name] = e
	})
}

// told are the facts of evidence, to be changed.
func told(e *policy.Evidence) facts {
	f, ok := e.Facts.(facts)
	if !ok {
		panic("evidence without facts: " + e.Type)
	}
	return f
}

func said(name, fact string, value any) policy.Input {
	return evidence(name, func(e *policy.Evidence) { told(e)[fact] = value })
}

func review(change func(r *policy.Review)) policy.Input {
	return with(func(in *policy.Input) { change(&in.Reviews[0]) })
}

func TestWhatHasAllThatProductionAsksForIsAllowed(t *testing.T) {
	for _, purpose := range []imx.Purpose{imx.ForRelease, imx.ForStart} {
		v := judge(t, policy.Default(policy.Production), with(func(in *policy.Input) { in.Purpose = purpose }))
		if !v.Allowed || len(v.Conditions) != 12 || v.Until.After(now().Add(time.Minute)) {
			t.Errorf("%s: %+v", purpose, v)
		}
		for _, c := range v.Conditions {
			if !c.Met || c.Says == "" || c.Hint != "" {
				t.Errorf("%+v", c)
			}
		}
	}
}

func TestEachConditionRefusesAReleaseAndSaysWhy(t *testing.T) {
	other := digest("other")
	vulnerable := []any{
		facts{"id": "CVE-1", "severity": "critical", "fixed": "2"},
		facts{"id": "CVE-2", "severity": "critical", "fixed": ""},
		facts{"id": "CVE-3", "severity": "critical", "fixed": "2", "excused": true},
		facts{"id": "CVE-4", "severity": "high", "fixed": "2"},
	}
	for what, c := range map[string]struct {
		in       policy.Input
		id, says string
		starts   bool // and yet an instance of it may be started again
	}{
		"nothing stated":        {with(func(in *policy.Input) { in.Evidence = map[string]policy.Evidence{} }), "signed", "nothing is stated", false},
		"one that doesn't":      {evidence("scan", func(e *policy.Evidence) { e.Counts, e.Why = false, "a bit was flipped" }), "signed", "scan: a bit was flipped", false},
		"no provenance":         {with(func(in *policy.Input) { delete(in.Evidence, "provenance") }), "provenance", "nobody stated", false},
		"another builder":       {said("provenance", "builder", "urn:other"), "provenance", "built by urn:other", false},
		"another image plan":    {said("provenance", "imagePlan", string(other)), "provenance", string(other), false},
		"no SPDX":               {with(func(in *policy.Input) { delete(in.Evidence, "spdx") }), "sbom", "no spdx document", false},
		"no CycloneDX":          {with(func(in *policy.Input) { delete(in.Evidence, "cyclonedx") }), "sbom", "no cyclonedx document", false},
		"no tests":              {with(func(in *policy.Input) { delete(in.Evidence, "test") }), "tests", "wasn't tested", true},
		"failed tests":          {said("test", "result", "FAILED"), "tests", "says test", true},
		"tests of another plan": {said("test", "plan", string(other)), "tests", string(other), true},
		"no scan":               {with(func(in *policy.Input) { delete(in.Evidence, "scan") }), "scan", "nobody looked", true},
		"an old scan":           {evidence("scan", func(e *policy.Evidence) { e.Made = now().Add(-24 * time.Hour) }), "scan", "is 24 h old, and may be 24 h", true},
		"a scan that says it is younger than it is": {
			evidence("scan", func(e *policy.Evidence) {
				e.Made, told(e)["finished"] = now().Add(-30*time.Hour), now().Add(time.Hour).Format(time.RFC3339)
			}), "scan", "is 30 h old", true,
		},
		"an old scan that was kept late": {said("scan", "finished", now().Add(-99*time.Hour).Format(time.RFC3339)), "scan", "is 99 h old", true},
		"a scan that left something out": {said("scan", "incomplete", []any{"/srv/app.jar: too large"}), "scan", "couldn't look at all of the image: /srv/app.jar", true},
		"a critical with a fix":          {said("scan", "vulnerabilities", vulnerable), "vulnerabilities", "1 critical with a fix: CVE-1", true},
		"no check":                       {with(func(in *policy.Input) { delete(in.Evidence, "check") }), "checks", "wasn't checked", true},
		"a finding": {
			said("check", "findings", []any{facts{"rule": "root-user", "severity": "critical"}, facts{"rule": "shell", "severity": "low"}}),
			"checks", "the rules find: root-user (critical)", true,
		},
		"a waiver that has ended": {
			said("check", "findings", []any{facts{"rule": "root-user", "severity": "critical", "until": now().Format(time.RFC3339)}}), "checks", "root-user", true,
		},
		"a dirty folder":     {with(func(in *policy.Input) { in.Plan.Source.Dirty = true }), "source", "differs from its commit", true},
		"no commit":          {with(func(in *policy.Input) { in.Plan.Source = imx.Source{} }), "source", "in no Git repository", true},
		"no review":          {with(func(in *policy.Input) { in.Reviews = nil }), "reviews", "nobody approved", true},
		"one's own change":   {review(func(r *policy.Review) { r.By = "ann" }), "reviews", "ann had a hand in it", true},
		"no reviewer":        {review(func(r *policy.Review) { r.Reviewer = false }), "reviews", "bob is no reviewer", true},
		"another plan":       {review(func(r *policy.Review) { r.Plan = other }), "reviews", "nobody approved it", true},
		"another candidate":  {review(func(r *policy.Review) { r.Candidate = "c0" }), "reviews", "nobody approved it; bob's is for the candidate c0, and not for this one", true},
		"no candidate":       {with(func(in *policy.Input) { in.Candidate, in.Reviews[0].Candidate = "", "" }), "reviews", "nobody approved it", true},
		"an unsigned commit": {with(func(in *policy.Input) { in.Commit = &imx.Commit{ID: "x", Unsigned: "it isn't signed"} }), "source", "isn't signed by anybody known: it isn't signed", true},
		"an unsigned commit below": {
			with(func(in *policy.Input) { in.Commit.Unsigned = "commit 0123, which is new too: it isn't signed" }), "source", "commit 0123, which is new too: it isn't signed", true,
		},
		"a wrong signature":   {review(func(r *policy.Review) { r.Counts, r.Why = false, "it is unsigned" }), "reviews", "bob's doesn't count: it is unsigned", true},
		"a rejection":         {review(func(r *policy.Review) { r.Approves = false }), "reviews", "rejected by bob", true},
		"rejected afterwards": {with(func(in *policy.Input) { no := in.Reviews[0]; no.Approves = false; in.Reviews = append(in.Reviews, no) }), "reviews", "rejected by bob", true},
	} {
		t.Run(what, func(t *testing.T) {
			v := judge(t, policy.Default(policy.Production), c.in)
			got := condition(t, v, c.id)
			if v.Allowed || got.Met || !got.Refuses || !strings.Contains(got.Says, c.says) || got.Hint == "" {
				t.Errorf("allowed: %t, %+v", v.Allowed, got)
			}
			c.in.Purpose = imx.ForStart
			if v = judge(t, policy.Default(policy.Production), c.in); v.Allowed != c.starts || condition(t, v, c.id).Met {
				t.Errorf("at a start: allowed %t, %+v", v.Allowed, condition(t, v, c.id))
			}
		})
	}
}

func TestNothingNewIsReleasedWhileAFreezeIsOnAndEverythingElseIsDone(t *testing.T) {
	p := policy.Default(policy.Production)
	for _, text := range []string{"sunday: sun 08:00 - 12:00 Europe/Berlin", "night: daily 22:00 - 06:00"} {
		f, err := imx.ParseFreeze(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Settings.Freezes = append(p.Settings.Freezes, f)
	}
	v := judge(t, p, good()) // now is a Sunday, 10:00 in Berlin
	c := condition(t, v, "freeze")
	if v.Allowed || c.Met || c.Says != "nothing new is released before 2026-11-22T12:00:00+01:00: freeze sunday" ||
		c.Hint != "wait until 2026-11-22T12:00:00+01:00; or imx exception add freeze --service web --until 2h --reason WHY" {
		t.Errorf("allowed %t: %+v", v.Allowed, c)
	}
	if !c.Until.Equal(time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("it says so until %s", c.Until)
	}
	if v := judge(t, p, with(func(in *policy.Input) { in.Purpose = imx.ForStart })); !v.Allowed || !condition(t, v, "freeze").Met {
		t.Errorf("at a start: %+v", condition(t, v, "freeze"))
	}
	excused := with(func(in *policy.Input) {
		in.Exceptions = []imx.Exception{{ID: "x", Condition: "freeze", Owner: "ann", Reason: "the fire", Made: now(), Until: now().Add(time.Hour)}}
	})
	if v := judge(t, p, excused); !v.Allowed {
		t.Errorf("excused: %+v", condition(t, v, "freeze"))
	}
	soon := with(func(in *policy.Input) { in.Now = now().Add(2*time.Hour + 59*time.Minute + 30*time.Second) })
	if c := condition(t, judge(t, p, soon), "freeze"); !c.Met || !c.Until.Equal(time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("after its end: %+v", c)
	}
	p.Settings.Freezes[0].Zone = "Europe/Nowhere"
	if _, err := policy.Compile(p); imx.KindOf(err) != imx.Invalid || !strings.Contains(err.Error(), "Europe/Nowhere") {
		t.Errorf("a zone that there isn't: %v", err)
	}
}

func TestApprovingTwiceIsApprovingOnce(t *testing.T) {
	p := policy.Default(policy.Production)
	p.Settings.Reviews = 2
	in := good()
	in.Reviews = append(in.Reviews, in.Reviews[0])
	if v := judge(t, p, in); v.Allowed || !strings.Contains(condition(t, v, "reviews").Hint, "1 of 2 approvals") {
		t.Errorf("%+v", condition(t, v, "reviews"))
	}
	in.Reviews[1].By = "cat"
	if v := judge(t, p, in); !v.Allowed {
		t.Errorf("%+v", condition(t, v, "reviews"))
	}
}

// What counts is said first, and nothing of other plans at all.
func TestWhatIsSaidOfReviewsIsWhatMatters(t *testing.T) {
	add := func(in *policy.Input, r policy.Review, change func(r *policy.Review)) {
		change(&r)
		in.Reviews = append(in.Reviews, r)
	}
	in := good()
	yes := in.Reviews[0]
	add(&in, yes, func(r *policy.Review) { r.By, r.Plan = "eve", digest("another plan") })
	add(&in, yes, func(r *policy.Review) { r.By, r.Candidate = "fay", "c0" })
	if got := condition(t, judge(t, policy.Default(policy.Production), in), "reviews"); got.Says != "approved by bob" {
		t.Errorf("met: %s", got.Says)
	}
	add(&in, yes, func(r *policy.Review) { r.By, r.Reviewer = "dan", false })
	add(&in, yes, func(r *policy.Review) { r.By, r.Approves, r.Candidate = "cat", false, "c0" })
	got := condition(t, judge(t, policy.Default(policy.Production), in), "reviews")
	if got.Says != "rejected by cat; dan is no reviewer; fay's is for the candidate c0, and not for this one" {
		t.Errorf("rejected: %s", got.Says)
	}
	if got.Hint != "the rejection stands until who gave it approves: cat, with imx approve c1; or change the template" {
		t.Errorf("hint: %s", got.Hint)
	}
}

func TestWhoRejectedAndThenApprovesHasApproved(t *testing.T) {
	in := good()
	no := in.Reviews[0]
	no.Approves = false
	in.Reviews = []policy.Review{no, in.Reviews[0]}
	if v := judge(t, policy.Default(policy.Production), in); !v.Allowed {
		t.Errorf("%+v", condition(t, v, "reviews"))
	}
}

func TestDevelopmentAsksForWhatTheServerMakesByItself(t *testing.T) {
	in := good()
	in.Environment, in.Reviews, in.Plan.Source, in.Commit = policy.Development, nil, imx.Source{Folder: "x", Dirty: true}, nil
	delete(in.Evidence, "scan")
	v := judge(t, policy.Default(policy.Development), in)
	if c := condition(t, v, "scan"); !v.Allowed || c.Met || c.Refuses {
		t.Errorf("%+v", v)
	}
}

func TestSignedCommitsAreThoseThatTheServerSaw(t *testing.T) {
	p := policy.Default(policy.Production)
	p.Settings.SignedCommits = true
	if v := judge(t, p, good()); !v.Allowed || !strings.Contains(condition(t, v, "source").Says, "signed by ann") {
		t.Errorf("%+v", condition(t, v, "source"))
	}
	for says, commit := range map[string]*imx.Commit{
		"saw no such commit": nil, "isn't signed by anybody known: the key is unknown": {ID: "x", Unsigned: "the key is unknown"},
	} {
		v := judge(t, p, with(func(in *policy.Input) { in.Commit = commit }))
		if c := condition(t, v, "source"); v.Allowed || !strings.Contains(c.Says, says) {
			t.Errorf("%+v", c)
		}
	}
}

// Root on a console can be anybody, a reviewer too. That is said where reviews are asked for, and refused where a policy wants that.
func TestWhoBroughtAPlanIsKnownOrSaidNotToBe(t *testing.T) {
	root := with(func(in *policy.Input) { in.Commit, in.Plan.By = nil, "account:root" })
	ann := with(func(in *policy.Input) { in.Commit, in.Plan.Person = nil, "ann" })
	strict := policy.Default(policy.Production)
	strict.Settings.KnownAuthor = true
	strictAlone := policy.Default(policy.Development)
	strictAlone.Settings.KnownAuthor = true
	for what, c := range map[string]struct {
		policy       imx.Policy
		in           policy.Input
		met, refuses bool
		says         string
	}{
		"root, where reviews are asked for":         {policy.Default(policy.Production), root, false, false, "account:root brought it, who is nobody that imx knows"},
		"root, where none are":                      {policy.Default(policy.Development), root, true, false, "account:root brought it"},
		"root, where the author must be known":      {strict, root, false, true, "account:root brought it"},
		"root, where only the author must be known": {strictAlone, root, false, true, "account:root brought it"},
		"somebody known":                            {strict, ann, true, true, "ann brought it"},
		"a commit that the server itself saw":       {strict, good(), true, true, "the server itself saw its commit"},
	} {
		got := condition(t, judge(t, c.policy, c.in), "author")
		if got.Met != c.met || got.Refuses != c.refuses || !strings.Contains(got.Says, c.says) || (got.Hint == "") != got.Met {
			t.Errorf("%s: %+v", what, got)
		}
		start := c.in
		start.Purpose = imx.ForStart
		if condition(t, judge(t, c.policy, start), "author").Refuses {
			t.Errorf("%s: what was admitted isn't started", what)
		}
	}
	if ids := policy.Warned(strict.Settings); slices.Contains(ids, "author") {
		t.Errorf("warned of: %v", ids)
	}
	if ids := policy.Warned(policy.Default(policy.Development).Settings); !slices.Equal(ids, []string{"scan", "author"}) {
		t.Errorf("warned of: %v", ids)
	}
}

// A condition can leave it to a setting whether it refuses, and what it names must be one.
func TestARuleNamesTheSettingWithWhichItRefuses(t *testing.T) {
	for setting, says := range map[string]string{
		"signedCommits": "", "reviews": "refuses names reviews, which is no setting", "mood": "refuses names mood", "[]": "refuses names []",
	} {
		p := policy.Default(policy.Production)
		p.Rules = map[string]string{"own.rego": "# METADATA\n# title: Own\n# custom:\n#   id: own\n#   refuses: " + setting + "\npackage own\n\nmet := false\n\nsays := \"no\"\n"}
		book, err := policy.Compile(p)
		if says != "" {
			if imx.KindOf(err) != imx.Invalid || !strings.Contains(imx.AsError(err).Diagnostics.Err().Error(), says) {
				t.Errorf("%s: %v", setting, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range book.Conditions() {
			if c.Warns != (c.ID == "own" || c.ID == "author") {
				t.Errorf("%+v", c)
			}
		}
		p.Settings.SignedCommits = true
		if c := condition(t, judge(t, p, good()), "own"); !c.Refuses {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnExceptionExcusesItsConditionForItsTimeAndPlace(t *testing.T) {
	in := with(func(in *policy.Input) { delete(in.Evidence, "test") })
	x := imx.Exception{ID: "x1", Condition: "tests", Reason: "the moon", Owner: "ann", Made: now(), Until: now().Add(30 * time.Second)}
	longer := x
	longer.ID, longer.Until = "x2", now().Add(45*time.Second)
	in.Exceptions = []imx.Exception{x, longer}
	v := judge(t, policy.Default(policy.Production), in)
	if c := condition(t, v, "tests"); !v.Allowed || c.Met || c.Exception != "x2" || !v.Until.Equal(longer.Until) || !strings.Contains(c.Says, "the moon") {
		t.Errorf("until %s: %+v", v.Until, c)
	}
	for what, change := range map[string]func(x *imx.Exception){
		"another condition": func(x *imx.Exception) { x.Condition = "scan" }, "another service": func(x *imx.Exception) { x.Service = "db" },
		"another image": func(x *imx.Exception) { x.Image = digest("other") }, "its end": func(x *imx.Exception) { x.Until = now() },
		"before it was made": func(x *imx.Exception) { x.Made = now().Add(time.Second) },
	} {
		one := x
		change(&one)
		in.Exceptions = []imx.Exception{one}
		if judge(t, policy.Default(policy.Production), in).Allowed {
			t.Errorf("%s: it is excused", what)
		}
	}
}

func TestNothingExcusesWhatIsSignedByNobody(t *testing.T) {
	in := evidence("scan", func(e *policy.Evidence) { e.Counts = false })
	in.Exceptions = []imx.Exception{{ID: "x", Condition: "signed", Made: now(), Until: now().Add(time.Hour)}}
	if judge(t, policy.Default(policy.Production), in).Allowed {
		t.Error("an exception excuses it")
	}
	p := policy.Default(policy.Production)
	p.Settings.Warn = []string{"signed"}
	_, err := policy.Compile(p)
	wantError(t, err, "can't only be warned of")
	b, err := policy.Compile(policy.Default(policy.Production))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, b.CheckException(in.Exceptions[0]), "nothing excuses")
}

func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if imx.KindOf(err) != imx.Invalid {
		t.Fatalf("err = %v", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("err = %v, want it to say %q", err, s)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for says, change := range map[string]func(p *imx.Policy){
		"-1 reviews": func(p *imx.Policy) { p.Settings.Reviews = -1 }, "at most 0s old": func(p *imx.Policy) { p.Settings.ScanAge = 0 },
		"denied release": func(p *imx.Policy) { p.Settings.Denied = "explode" }, `no condition "scann"`: func(p *imx.Policy) { p.Settings.Warn = []string{"scann"} },
		"name of an environment": func(p *imx.Policy) { p.Environment = "Prod!" },
	} {
		p := policy.Default(policy.Production)
		change(&p)
		_, err := policy.Compile(p)
		wantError(t, err, says)
	}
}

func TestAnExceptionNeedsAReasonAndAnEndThatIsNear(t *testing.T) {
	b, err := policy.Compile(policy.Default(policy.Production))
	if err != nil {
		t.Fatal(err)
	}
	fine := imx.Exception{Condition: "scan", Reason: "x", Made: now(), Until: now().Add(policy.MaxException)}
	if err := b.CheckException(fine); err != nil {
		t.Error(err)
	}
	for says, change := range map[string]func(x *imx.Exception){
		"needs a reason": func(x *imx.Exception) { x.Reason = " " }, "needs an end": func(x *imx.Exception) { x.Until = time.Time{} },
		"is in the past": func(x *imx.Exception) { x.Until = now() }, "90 days are the most": func(x *imx.Exception) { x.Until = x.Until.Add(1) },
		`no condition "scann"`: func(x *imx.Exception) { x.Condition = "scann" },
	} {
		x := fine
		change(&x)
		wantError(t, b.CheckException(x), says)
	}
}

// Whatever is missing, or doesn't count, the verdict never says yes where a condition refuses, and the same input gives the same bytes.
func TestAVerdictIsYesIfAndOnlyIfEachConditionHolds(t *testing.T) {
	book, err := policy.Compile(policy.Default(policy.Production))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		in := good()
		in.Purpose = rapid.SampledFrom([]imx.Purpose{imx.ForRelease, imx.ForStart}).Draw(r, "purpose")
		for name, e := range in.Evidence {
			switch rapid.IntRange(0, 3).Draw(r, name) {
			case 0:
				delete(in.Evidence, name)
			case 1:
				e.Counts, e.Why = false, "why"
				in.Evidence[name] = e
			}
		}
		first, _, err := book.Judge(t.Context(), in)
		if err != nil {
			r.Fatal(err)
		}
		again, _, err := book.Judge(t.Context(), in)
		if diff := cmp.Diff(first, again); err != nil || diff != "" {
			r.Fatalf("%v %s", err, diff)
		}
		refused := slices.ContainsFunc(first.Conditions, func(c imx.Condition) bool { return !c.Holds() })
		uncounted := slices.ContainsFunc(slices.Collect(values(in.Evidence)), func(e policy.Evidence) bool { return !e.Counts })
		if first.Allowed == refused || first.Allowed && uncounted {
			r.Fatalf("%+v", first)
		}
		if in.Purpose == imx.ForRelease && first.Allowed != (len(in.Evidence) == 6 && !uncounted) {
			r.Fatalf("%+v", first)
		}
	})
}

func values(m map[string]policy.Evidence) func(func(policy.Evidence) bool) {
	return func(yield func(policy.Evidence) bool) {
		for _, e := range m {
			if !yield(e) {
				return
			}
		}
	}
}

// What was recorded is judged as what was gathered.
func TestARecordedInputGivesTheSameVerdict(t *testing.T) {
	raw, err := json.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	var again policy.Input
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	p := policy.Default(policy.Production)
	if diff := cmp.Diff(judge(t, p, good()), judge(t, p, again)); diff != "" {
		t.Error(diff)
	}
}
