package verdict_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/policy"
)

// reviewed is a world in production with a candidate of release's plan that ann made and eve wrote.
func reviewed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.Judge = w.judge(policy.Production)
	for _, name := range []imx.Principal{"ann", "bob", "cat"} {
		w.person(name, imx.RoleReviewer)
	}
	w.person("eve", imx.RoleReviewer, imx.RoleAuthor)
	w.stateAll()
	w.record(imx.CandidateMade{Candidate: imx.Candidate{
		ID: "c1", Plan: release().Plan, Environment: policy.Production, By: "ann", Services: []string{"web"}, Made: w.now,
		Commit: &imx.Commit{ID: release().Source.Commit, Emails: []string{"fay@example.com"}, Signer: "eve", Key: w.keyOf("eve")},
	}})
	return w
}

// keyOf is the id of somebody's key.
func (w *world) keyOf(owner imx.Principal) string {
	w.t.Helper()
	for id, k := range w.control.State().Keys {
		if k.Owner == owner {
			return id
		}
	}
	w.t.Fatalf("%s has no key", owner)
	return ""
}

// review is somebody's signed answer to a plan.
func (w *world) review(whose, by imx.Principal, p imx.ReviewPredicate) imx.Review {
	w.t.Helper()
	p.Candidate, p.Environment, p.Made = cmp.Or(p.Candidate, "c1"), policy.Production, w.now
	e := w.seal(whose, p.Plan, imx.PredicateReview, p, image().Digest)
	return imx.Review{By: by, Approves: p.Approves, Plan: p.Plan, Key: e.Signer, Bundle: e.Bundle, Made: w.now}
}

func (w *world) approve(by imx.Principal) {
	w.t.Helper()
	w.record(imx.Reviewed{Candidate: "c1", Review: w.review(by, by, imx.ReviewPredicate{Plan: release().Plan, Approves: true})})
}

func TestAnApprovalBySomebodyElseIsEnough(t *testing.T) {
	w := reviewed(t)
	if v := w.verdict(imx.ForRelease, release()); v.Allowed {
		t.Fatal("nobody has approved it")
	}
	w.approve("bob")
	v := w.verdict(imx.ForRelease, release())
	if c := condition(t, v, "reviews"); !v.Allowed || c.Says != "approved by bob" || len(c.Evidence) != 1 {
		t.Errorf("%+v", v.Conditions)
	}
}

func TestReviewsThatDontCountAreNamed(t *testing.T) {
	plan := release().Plan
	changed := imx.DigestBytes([]byte("plan.")) // by one byte
	for what, c := range map[string]struct {
		make func(w *world)
		says string
	}{
		"one's own change, as who brought it": {func(w *world) { w.approve("ann") }, "ann had a hand in it"},
		"one's own change, as who wrote it":   {func(w *world) { w.approve("eve") }, "eve had a hand in it"},
		"one's own change, as who is known since": {func(w *world) {
			w.person("fay", imx.RoleReviewer)
			w.approve("fay")
			w.record(imx.PersonSet{Person: imx.Person{Name: "fay", Roles: []imx.Role{imx.RoleReviewer}, Emails: []string{"Fay@Example.com"}}})
		}, "fay had a hand in it"},
		"one's own change, from an account that became known as theirs afterwards": {func(w *world) {
			w.approve("bob")
			w.record(imx.CandidateMade{Candidate: imx.Candidate{
				ID: "c2", Plan: plan, Environment: policy.Production, By: imx.AccountPrincipal("b"), Account: "b", Services: []string{"web"}, Made: w.now,
			}})
			w.record(imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}, Logins: []string{"b"}}})
		}, "bob had a hand in it"},
		"losing the role afterwards": {func(w *world) {
			w.approve("bob")
			w.record(imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleAuthor}}})
		}, "bob is no reviewer"},
		"being removed afterwards": {func(w *world) {
			w.approve("bob")
			w.record(imx.PersonRemoved{Person: "bob"})
		}, "bob is no reviewer"},
		"a plan that changed by one byte": {func(w *world) {
			r := w.review("bob", "bob", imx.ReviewPredicate{Plan: changed, Approves: true})
			w.record(imx.CandidateMade{Candidate: imx.Candidate{ID: "c2", Plan: changed, Environment: policy.Production, Services: []string{"web"}, Made: w.now}})
			w.record(imx.Reviewed{Candidate: "c2", Review: r})
		}, "nobody approved it"},
		"an approval of the same plan as another candidate": {func(w *world) {
			r := w.review("bob", "bob", imx.ReviewPredicate{Candidate: "c0", Plan: plan, Approves: true})
			w.record(imx.CandidateMade{Candidate: imx.Candidate{ID: "c0", Plan: plan, Environment: policy.Production, Services: []string{"web"}, Made: w.now}})
			w.record(imx.Reviewed{Candidate: "c0", Review: r})
		}, "nobody approved it; bob's is for the candidate c0, and not for this one"},
		"an approval of another candidate, kept as one of this": {func(w *world) {
			w.record(imx.Reviewed{Candidate: "c1", Review: w.review("bob", "bob", imx.ReviewPredicate{Candidate: "c0", Plan: plan, Approves: true})})
		}, "nobody approved it; bob's is for the candidate c0"},
		"an approval of another plan, kept as one of this": {func(w *world) {
			r := w.review("bob", "bob", imx.ReviewPredicate{Plan: changed, Approves: true})
			r.Plan = plan
			w.record(imx.Reviewed{Candidate: "c1", Review: r})
		}, "bob's doesn't count: it is for another digest"},
		"a rejection, kept as an approval": {func(w *world) {
			r := w.review("bob", "bob", imx.ReviewPredicate{Plan: plan})
			r.Approves = true
			w.record(imx.Reviewed{Candidate: "c1", Review: r})
		}, "bob's doesn't count: what is signed isn't what it is kept as"},
		"with another's key": {func(w *world) {
			w.record(imx.Reviewed{Candidate: "c1", Review: w.review("cat", "bob", imx.ReviewPredicate{Plan: plan, Approves: true})})
		}, "bob's doesn't count: it is signed with the key of cat"},
		"with a key of the server": {func(w *world) {
			w.record(imx.Reviewed{Candidate: "c1", Review: w.review(imx.Principal(imx.RoleBuilder), "bob", imx.ReviewPredicate{Plan: plan, Approves: true})})
		}, "bob's doesn't count: it is signed with the wrong role"},
		"with a key that was stolen": {func(w *world) {
			w.approve("bob")
			for id, k := range w.control.State().Keys {
				if k.Owner == "bob" {
					w.record(imx.KeyEnded{Key: id, Until: w.now, Compromised: true, Reason: "stolen"})
				}
			}
		}, "bob's doesn't count: it is signed with a compromised key"},
		"an approval of the plan with another image": {func(w *world) {
			p := imx.ReviewPredicate{Candidate: "c1", Environment: policy.Production, Plan: plan, Approves: true, Made: w.now}
			e := w.seal("bob", plan, imx.PredicateReview, p, imx.DigestBytes([]byte("another image")))
			w.record(imx.Reviewed{Candidate: "c1", Review: imx.Review{By: "bob", Approves: true, Plan: plan, Key: e.Signer, Bundle: e.Bundle}})
		}, "bob's doesn't count: it isn't about the image"},
		"an approval of the plan with other tests": {func(w *world) {
			p := imx.ReviewPredicate{Plan: plan, Approves: true, Proof: imx.DigestBytes([]byte("tests that were taken out since"))}
			w.record(imx.Reviewed{Candidate: "c1", Review: w.review("bob", "bob", p)})
		}, "bob's doesn't count: it is for other tests or waivers"},
		"one of a namesake who left": {func(w *world) {
			w.approve("bob")
			w.now = w.now.Add(time.Minute)
			w.record(imx.PersonRemoved{Person: "bob"})
			w.now = w.now.Add(time.Minute)
			w.record(imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}}})
		}, "bob's doesn't count: it is older than what is known of bob"},
		"one bit flipped": {func(w *world) {
			w.approve("bob")
			w.flip(w.control.State().Candidates["c1"].Reviews[0].Bundle)
		}, "bob's doesn't count: "},
		"a rejection of the plan with other tests, built otherwise": {func(w *world) {
			w.approve("cat")
			p := imx.ReviewPredicate{
				Candidate: "c1", Environment: policy.Production, Plan: plan, Proof: imx.DigestBytes([]byte("tests that were taken out since")), Reason: "no", Made: w.now,
			}
			e := w.seal("bob", plan, imx.PredicateReview, p, imx.DigestBytes([]byte("another image")))
			w.record(imx.Reviewed{Candidate: "c1", Review: imx.Review{By: "bob", Plan: plan, Key: e.Signer, Bundle: e.Bundle}})
		}, "rejected by bob"},
		"a rejection": {func(w *world) {
			w.approve("cat")
			w.record(imx.Reviewed{Candidate: "c1", Review: w.review("bob", "bob", imx.ReviewPredicate{Plan: plan})})
		}, "rejected by bob"},
	} {
		t.Run(what, func(t *testing.T) {
			w := reviewed(t)
			c.make(w)
			v := w.verdict(imx.ForRelease, release())
			if got := condition(t, v, "reviews"); v.Allowed || got.Met || !strings.Contains(got.Says, c.says) {
				t.Errorf("allowed %t: %s", v.Allowed, got.Says)
			}
		})
	}
}

func TestApprovingTwiceCountsOnce(t *testing.T) {
	w := reviewed(t)
	p := policy.Default(policy.Production)
	p.Settings.Reviews = 2
	if _, err := w.SetPolicy(t.Context(), "root", imx.PolicyRequest{Policy: p}); err != nil {
		t.Fatal(err)
	}
	w.approve("bob")
	w.now = w.now.Add(time.Second)
	w.approve("bob")
	if v := w.verdict(imx.ForRelease, release()); v.Allowed {
		t.Error("one person is two")
	}
	w.approve("cat")
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
		t.Errorf("%+v", v.Conditions)
	}
}

// Whose account brought a plan is asked each time: who is known later was there before.
func TestWhoBroughtAPlanIsWhoseLoginTheAccountIsNow(t *testing.T) {
	for what, c := range map[string]struct {
		by     imx.Principal
		person imx.Person
		met    bool
		says   string
	}{
		"somebody known":              {"ann", imx.Person{Name: "ann"}, true, "ann brought it"},
		"an account that is theirs":   {"account:ann", imx.Person{Name: "ada", Logins: []string{"ann"}}, true, "ada brought it"},
		"a namesake of somebody":      {"account:ann", imx.Person{Name: "ann", Logins: []string{"other"}}, false, "account:ann brought it, who is nobody"},
		"somebody who isn't any more": {"ann", imx.Person{Name: "ada"}, false, "ann brought it, who is nobody"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.Judge = w.judge(policy.Production)
			w.stateAll()
			c.person.Roles = []imx.Role{imx.RoleReviewer}
			w.record(imx.PersonSet{Person: c.person})
			r := release()
			r.By = c.by
			got := condition(t, w.verdict(imx.ForRelease, r), "author")
			if got.Met != c.met || !strings.Contains(got.Says, c.says) || got.Refuses {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Nobody approves what they brought, though it was released without a candidate and their login became known later.
func TestWhoAppliedFromAnAccountOfTheirsIsAnAuthor(t *testing.T) {
	w := reviewed(t)
	w.approve("bob")
	r := release()
	r.By = imx.AccountPrincipal("b")
	if v := w.verdict(imx.ForRelease, r); !v.Allowed {
		t.Fatalf("%+v", v.Conditions)
	}
	w.record(imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}, Logins: []string{"b"}}})
	if v := w.verdict(imx.ForRelease, r); v.Allowed || !strings.Contains(condition(t, v, "reviews").Says, "bob had a hand in it") {
		t.Errorf("%+v", condition(t, v, "reviews"))
	}
}

// Who signed a commit is asked again each time: a key that was stolen signed nothing that counts.
func TestACommitsSignerCountsAsLongAsTheirKeyDoes(t *testing.T) {
	for what, c := range map[string]struct {
		after func(w *world, key string)
		says  string // "" where it still counts
	}{
		"nothing happens":    {func(*world, string) {}, ""},
		"its key ends later": {func(w *world, key string) { w.record(imx.KeyEnded{Key: key, Until: w.now, Reason: "old"}) }, ""},
		"its key was stolen": {func(w *world, key string) {
			w.record(imx.KeyEnded{Key: key, Until: w.now, Compromised: true, Reason: "stolen"})
		}, "its signer's key is compromised: stolen"},
		"its signer is no author":   {func(w *world, _ string) { w.person("dan", imx.RoleReviewer) }, "dan, who signed it, hasn't the role author"},
		"its signer left meanwhile": {func(w *world, _ string) { w.record(imx.PersonRemoved{Person: "dan"}) }, "dan, who signed it, hasn't the role author"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.Judge = w.judge(policy.Production)
			w.stateAll()
			w.person("dan", imx.RoleAuthor)
			w.person("bob", imx.RoleReviewer)
			p := policy.Default(policy.Production)
			p.Settings.SignedCommits = true
			if _, err := w.SetPolicy(t.Context(), "root", imx.PolicyRequest{Policy: p}); err != nil {
				t.Fatal(err)
			}
			key := w.keyOf("dan")
			w.record(imx.CandidateMade{Candidate: imx.Candidate{
				ID: "c1", Plan: release().Plan, Environment: policy.Production, By: imx.Server, Services: []string{"web"},
				Commit: &imx.Commit{ID: release().Source.Commit, Signer: "dan", Key: key},
			}})
			w.approve("bob")
			w.now = w.now.Add(time.Minute)
			c.after(w, key)
			got := condition(t, w.verdict(imx.ForRelease, release()), "source")
			if got.Met != (c.says == "") || !strings.Contains(got.Says, c.says) {
				t.Errorf("met %t: %s", got.Met, got.Says)
			}
		})
	}
}

// Each commit that is new is asked for, not the newest alone.
func TestWhoSignedTheCommitsBelowIsAskedToo(t *testing.T) {
	w := reviewed(t)
	w.person("dan", imx.RoleAuthor)
	w.record(imx.CandidateMade{Candidate: imx.Candidate{
		ID: "c2", Plan: release().Plan, Environment: policy.Production, By: imx.Server, Services: []string{"web"}, Made: w.now,
		Commit: &imx.Commit{ID: release().Source.Commit, Signer: "eve", Key: w.keyOf("eve"), Keys: []string{w.keyOf("dan")}},
	}})
	if got := condition(t, w.verdict(imx.ForRelease, release()), "source"); !got.Met || !strings.HasSuffix(got.Says, "signed by eve") {
		t.Errorf("%+v", got)
	}
	w.record(imx.KeyEnded{Key: w.keyOf("dan"), Until: w.now, Compromised: true, Reason: "stolen"})
	got := condition(t, w.verdict(imx.ForRelease, release()), "source")
	if got.Met || !strings.Contains(got.Says, "another commit that was new with it: its signer's key is compromised: stolen") || !strings.Contains(got.Hint, "sign each commit") {
		t.Errorf("%+v", got)
	}
}

// A yes is for the moment in which it is given: what changes before the release is made is looked at again.
func TestNoReleaseIsMadeByAVerdictWhoseGroundIsGone(t *testing.T) {
	w := reviewed(t)
	w.approve("bob")
	all, err := w.Allowed(t.Context(), "ann", []imx.Release{release()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Made(w.control.State(), []imx.Release{release()}, all, nil); err != nil {
		t.Fatal(err)
	}
	w.record(imx.PersonRemoved{Person: "bob"})
	if _, err := w.Made(w.control.State(), []imx.Release{release()}, all, nil); imx.KindOf(err) != imx.Conflict {
		t.Errorf("%v", err)
	}
	if _, err := w.Made(w.control.State(), []imx.Release{release()}, nil, nil); imx.KindOf(err) != imx.Conflict {
		t.Errorf("without a verdict: %v", err)
	}
}

func TestAScanThatLeftSomethingOutIsntEnough(t *testing.T) {
	w := newWorld(t)
	w.Judge = w.judge(policy.Production)
	w.stateAll()
	scanned := map[string]any{
		"scanner": map[string]any{"incomplete": []string{"/srv/app.jar: too large"}}, "metadata": map[string]any{"scanFinishedOn": w.now},
	}
	w.put(w.seal(imx.Principal(imx.RoleScanner), image().Digest, imx.PredicateScan, scanned))
	if c := condition(t, w.verdict(imx.ForRelease, release()), "scan"); c.Met || !strings.Contains(c.Says, "/srv/app.jar: too large") {
		t.Errorf("met %t: %s", c.Met, c.Says)
	}
}

// The image of a release is asked about with all that the release has: its plan, its commit, its approvals.
func TestAnImageThatIsReleasedIsJudgedAsThatRelease(t *testing.T) {
	w := reviewed(t)
	w.approve("bob")
	before, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "image.web", Purpose: imx.ForRelease})
	if err != nil || before.Verdict.Allowed {
		t.Errorf("of no release: %+v, %v", before.Verdict, err)
	}
	w.apply(release())
	after, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "image.web"})
	if err != nil || !after.Verdict.Allowed || after.Verdict.Purpose != imx.ForRelease {
		t.Errorf("%+v, %v", after.Verdict.Conditions, err)
	}
}

// An image that a candidate has is asked about with what the candidate has, and not with the plan of the one and the facts of another.
func TestAnImageOfACandidateIsJudgedAsThatWouldBeReleased(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	built, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "image.web"})
	if r := release(); err != nil || built.Subject != "image web" && built.Subject != "image " || built.Verdict.Plan != r.Plan {
		t.Fatalf("%+v, %v", built, err)
	}
	draft := release()
	draft.Plan, draft.Source = imx.DigestBytes([]byte("another plan")), imx.Source{Commit: strings.Repeat("c", 40)}
	c := imx.Candidate{ID: "c1", Plan: draft.Plan, Environment: staging, Services: []string{"web"}, Images: []imx.Image{image()}}
	w.record(imx.CandidateMade{Candidate: c})
	if stale, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "image.web"}); err != nil || stale.Subject != built.Subject {
		t.Errorf("one that can't be released any more: %+v, %v", stale.Subject, err)
	}
	w.drafts = func(imx.Candidate) []imx.Release { return []imx.Release{draft} }
	found, err := w.Verify(t.Context(), imx.VerifyQuery{Subject: "image.web"})
	if err != nil || !strings.HasSuffix(found.Subject, ", as candidate c1 has it") || found.Verdict.Plan != draft.Plan || found.Verdict.Service != "web" ||
		!strings.Contains(condition(t, found.Verdict, "source").Says, "commit cccccccccccc") {
		t.Errorf("%s of %s: %s, %v", found.Subject, found.Verdict.Plan, condition(t, found.Verdict, "source").Says, err)
	}
}
