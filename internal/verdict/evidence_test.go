package verdict_test

// The matrix: for every kind of evidence, each way in which it can be wrong. What it is about is refused, and the reason names what is
// wrong. What is forged or changed refuses an instance's start, too; reviews are for releases.

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/check"
	"imx/internal/evidence"
	"imx/internal/policy"
	"imx/internal/provenance"
	"imx/internal/sign"
	"imx/internal/vuln"
)

func TestWhatIsWholeAndSignedByTheRightRolesIsAllowed(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	v := w.verdict(imx.ForRelease, release())
	if !v.Allowed {
		t.Fatalf("%+v", v.Conditions)
	}
	if _, err := w.Pass(t.Context(), release()); err != nil {
		t.Error(err)
	}
}

func (w *world) put(e imx.Evidence) { w.record(imx.EvidenceAdded{Evidence: e}) }

// stated is evidence of a kind about release, as it comes to a world: the same steps for all kinds, so that one table has them all.
type stated struct {
	*world
	kind  string
	about imx.Digest    // its subject: the image, of a review the plan
	whose imx.Principal // whose key counts for it
}

// stating is a world in which nothing is stated yet of a kind, and all else is as it should be.
func stating(t *testing.T, kind string) stated {
	t.Helper()
	st := stated{kind: kind, about: image().Digest, whose: imx.Principal(imx.RoleOf(kind))}
	switch kind {
	case imx.PredicateReview:
		st.world, st.about, st.whose = reviewed(t), release().Plan, "bob"
		return st
	case imx.PredicateVerdict:
		st.world = newWorld(t)
		for _, other := range kinds()[1:] { // nobody says how it was built: what a verdict says doesn't matter
			st.put(st.world.good(other))
		}
		return st
	}
	st.world = newWorld(t)
	st.stateAll()
	st.put(st.world.good(imx.PredicateVEX))
	if v := st.verdict(imx.ForRelease, release()); !v.Allowed {
		t.Fatalf("%+v", v.Conditions)
	}
	return st
}

// says is a predicate of the kind that says yes.
func (st stated) says(kind string) any {
	switch kind {
	case imx.PredicateReview:
		return imx.ReviewPredicate{Candidate: "c1", Environment: policy.Production, Plan: release().Plan, Approves: true, Made: st.now}
	case imx.PredicateVerdict:
		return map[string]any{"verificationResult": "PASSED", "timeVerified": st.now}
	}
	return st.predicate(kind)
}

// by is evidence of the kind about a subject, signed by somebody.
func (st stated) by(whose imx.Principal, subject imx.Digest) imx.Evidence {
	return st.seal(whose, subject, st.kind, st.says(st.kind), image().Digest)
}

func (st stated) good() imx.Evidence {
	return st.seal(st.whose, st.about, st.kind, st.says(st.kind), image().Digest)
}

// keep has evidence on the log: a review as an answer of bob's.
func (st stated) keep(e imx.Evidence) {
	if st.kind == imx.PredicateReview {
		st.record(imx.Reviewed{Candidate: "c1", Review: imx.Review{By: "bob", Approves: true, Plan: release().Plan, Key: e.Signer, Bundle: e.Bundle}})
		return
	}
	e.Image = image().Digest
	st.put(e)
}

// again gives whoever's key counts another, after a minute, and returns the name by which the old one signs.
func (st stated) again() imx.Principal {
	st.keys["old"] = st.keys[st.whose]
	st.now = st.now.Add(time.Minute)
	if st.kind == imx.PredicateReview {
		p, err := sign.PublicOf(st.keys["old"].Public())
		if err != nil {
			st.t.Fatal(err)
		}
		st.record(imx.KeyEnded{Key: p.ID, Until: st.now, Reason: "another took its place"})
		st.key("bob", imx.Key{Owner: "bob"})
	} else {
		st.key(st.whose, imx.Key{Owner: imx.Server, Role: imx.RoleOf(st.kind)})
	}
	st.now = st.now.Add(time.Minute)
	return "old"
}

// way is a way in which evidence is wrong, and what is said of it.
type way struct {
	make func(st stated)
	says string
}

// wrong are the ways for evidence of any kind.
func wrong() map[string]way {
	other := imx.DigestBytes([]byte("another image"))
	return map[string]way{
		"for another digest": {func(st stated) { st.keep(st.elsewhere(other)) }, "it is for another digest"},
		"replayed from another image": {func(st stated) {
			e := st.good()
			e.Bundle = st.elsewhere(other).Bundle // the log tells of the one, and the bytes are the other's
			st.keep(e)
		}, "it is for another digest"},
		"signed by the wrong role": {func(st stated) {
			role := imx.RoleTester
			if imx.RoleOf(st.kind) == role {
				role = imx.RoleScanner
			}
			st.keep(st.by(imx.Principal(role), st.about))
		}, "signed with the wrong role"},
		"signed by an unknown key": {func(st stated) {
			st.keys["stranger"] = newWorld(st.t).keys[imx.Principal(imx.RoleBuilder)]
			st.keep(st.by("stranger", st.about))
		}, "an unknown key"},
		"signed by an expired key": {func(st stated) { st.keep(st.by(st.again(), st.about)) }, "an ended key"},
		"signed by a revoked key": {func(st stated) {
			e := st.good()
			st.keep(e)
			st.now = st.now.Add(time.Minute)
			st.record(imx.KeyEnded{Key: e.Signer, Until: st.now, Compromised: true, Reason: "it was stolen"})
		}, "a compromised key"},
		"unsigned": {func(st stated) {
			e := st.good()
			e.Signer = ""
			st.keep(e)
		}, "it is unsigned"},
		"one bit flipped": {func(st stated) {
			e := st.good()
			st.keep(e)
			st.flip(e.Bundle)
		}, "blob"},
		"one bit of its signature flipped, as the log has it": {func(st stated) {
			e := st.good()
			e.Bundle = st.forged(e.Bundle)
			st.keep(e)
		}, "the signature doesn't fit"},
		"of another predicate type": {func(st stated) {
			another := imx.PredicateSPDX
			if st.kind == another {
				another = imx.PredicateCycloneDX
			}
			e := st.seal(st.whose, st.about, another, st.says(st.kind), image().Digest)
			e.PredicateType = st.kind
			st.keep(e)
		}, "it is of another predicate type"},
		"older than its key": {func(st stated) {
			st.keys["late"] = newWorld(st.t).keys[imx.Principal(imx.RoleBuilder)]
			st.keep(st.by("late", st.about))
			st.now = st.now.Add(time.Minute)
			p, err := sign.PublicOf(st.keys["late"].Public())
			if err != nil {
				st.t.Fatal(err)
			}
			late := imx.Key{ID: p.ID, Owner: imx.Server, Role: imx.RoleOf(st.kind), Public: p.Line}
			if st.kind == imx.PredicateReview {
				late.Owner, late.Role = "bob", ""
			}
			st.record(imx.KeyAdded{Key: late})
		}, "older than its key"},
	}
}

// elsewhere is good evidence of the kind about something else alone.
func (st stated) elsewhere(other imx.Digest) imx.Evidence {
	return st.seal(st.whose, other, st.kind, st.says(st.kind))
}

// forged keeps a bundle with another signature, and returns its digest.
func (st stated) forged(bundle imx.Digest) imx.Digest {
	raw, err := st.blobs.ReadAll(bundle, 1<<20)
	if err != nil {
		st.t.Fatal(err)
	}
	b, err := sign.Open(raw)
	if err != nil {
		st.t.Fatal(err)
	}
	b.Signature[10] ^= 1
	if raw, err = b.JSON(); err != nil {
		st.t.Fatal(err)
	}
	d, _, err := st.blobs.Put(bytes.NewReader(raw), "")
	if err != nil {
		st.t.Fatal(err)
	}
	return d
}

func TestEachKindOfEvidenceInEachWayWrongIsRefusedAndNamed(t *testing.T) {
	for what, way := range wrong() {
		for kind, name := range imx.PredicateNames() {
			t.Run(what+"/"+name, func(t *testing.T) {
				st := stating(t, kind)
				way.make(st)
				st.refuses(t, way.says)
			})
		}
	}
}

// refuses fails unless the release is refused, and it is said of the evidence what is wrong with it.
func (st stated) refuses(t *testing.T, says string) {
	t.Helper()
	v := st.verdict(imx.ForRelease, release())
	name := imx.PredicateNames()[st.kind]
	switch st.kind {
	case imx.PredicateReview:
		if c := condition(t, v, "reviews"); v.Allowed || c.Met || !strings.Contains(c.Says, "bob's doesn't count: ") || !strings.Contains(c.Says, says) {
			t.Errorf("allowed %t: %s", v.Allowed, c.Says)
		}
		st.approve("cat")
		if v := st.verdict(imx.ForRelease, release()); !v.Allowed {
			t.Errorf("something else is missing, too: %+v", v.Conditions)
		}
		return
	case imx.PredicateVerdict:
		st.saysNothing(t, says)
		return
	}
	if c := condition(t, v, "signed"); v.Allowed || c.Met || !strings.Contains(c.Says, name+": ") || !strings.Contains(c.Says, says) {
		t.Errorf("allowed %t: %s", v.Allowed, c.Says)
	}
	st.now = st.now.Add(time.Minute) // what was found for a start is remembered for so long
	if _, err := st.Pass(t.Context(), release()); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), says) {
		t.Errorf("at a start: %v", err)
	}
}

// saysNothing fails unless the verdict that is stated lets nothing through, and whoever reads it is told what is wrong. A verdict is given
// anew each time: what one of before says opens no door, good or bad.
func (st stated) saysNothing(t *testing.T, says string) {
	t.Helper()
	s := st.control.State()
	keys := func() map[string]imx.Key { return s.Keys }
	read := evidence.New(evidence.Config{Blobs: st.blobs, Keys: keys})
	e := s.Evidence[image().Digest][imx.PredicateVerdict]
	_, err := read.Read(e)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), says) {
		t.Errorf("who reads it: %v", err)
	}
	if _, err := st.Pass(t.Context(), release()); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "provenance: nobody stated how") {
		t.Errorf("at a start: %v", err)
	}
	st.put(st.world.good(imx.PredicateProvenance))
	if v := st.verdict(imx.ForRelease, release()); !v.Allowed {
		t.Errorf("it stands in the way of what is allowed: %+v", v.Conditions)
	}
}

// Of these two the reason is another for each kind.
func TestEachKindOfEvidenceThatIsMissingOrTooOldIsRefusedAndNamed(t *testing.T) {
	cells := map[string]struct {
		missing, old func(t *testing.T, kind string)
	}{
		imx.PredicateProvenance: {missing("provenance", "nobody stated how"), olderThanItsKey},
		imx.PredicateSPDX:       {missing("sbom", "no spdx"), olderThanItsKey},
		imx.PredicateCycloneDX:  {missing("sbom", "no cyclonedx"), olderThanItsKey},
		imx.PredicateScan:       {missing("scan", "nobody looked"), scanOfYesterday},
		imx.PredicateTest:       {missing("tests", "wasn't tested"), olderThanItsKey},
		imx.PredicateCheck:      {missing("checks", "wasn't checked"), waiverOfYesterday},
		imx.PredicateVEX:        {vexMissing, olderThanItsKey},
		imx.PredicateReview: {func(t *testing.T, _ string) {
			if c := condition(t, reviewed(t).verdict(imx.ForRelease, release()), "reviews"); c.Met || !strings.Contains(c.Says, "nobody approved it") {
				t.Errorf("%+v", c)
			}
		}, reviewOfANamesake},
		imx.PredicateVerdict: {func(t *testing.T, _ string) {
			var none admission.Pass
			if err := none.Covers(release()); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "without a verdict") {
				t.Errorf("%v", err)
			}
		}, verdictOfBefore},
	}
	for kind, name := range imx.PredicateNames() {
		t.Run("missing/"+name, func(t *testing.T) { cells[kind].missing(t, kind) })
		t.Run("older than allowed/"+name, func(t *testing.T) { cells[kind].old(t, kind) })
	}
}

// missing leaves one kind out.
func missing(id, says string) func(*testing.T, string) {
	return func(t *testing.T, kind string) {
		w := newWorld(t)
		for _, k := range kinds() {
			if k != kind {
				w.put(w.good(k))
			}
		}
		v := w.verdict(imx.ForRelease, release())
		if c := condition(t, v, id); v.Allowed || c.Met || !strings.Contains(c.Says, says) {
			t.Errorf("allowed %t: %+v", v.Allowed, c)
		}
	}
}

// olderThanItsKey is all that can be too old of what no condition gives an age.
func olderThanItsKey(t *testing.T, kind string) {
	st, old := stating(t, kind), wrong()["older than its key"]
	old.make(st)
	st.refuses(t, old.says)
}

// Without the statement that excuses it, a vulnerability is what it was.
func vexMissing(t *testing.T, _ string) {
	w := newWorld(t)
	w.stateAll()
	found := imx.Vulnerability{
		ID: "CVE-2026-0001", Level: imx.Critical, Package: imx.Affected{Ecosystem: "Debian:bookworm", Name: "x", Version: "1", Fixed: "2"},
		Excused: &imx.Excuse{From: "evidence"}, // by a statement that is not there any more
	}
	raw, err := vuln.Predicate(imx.ImageScan{Image: image().Digest, Name: "web", Vulnerabilities: []imx.Vulnerability{found}}, nil, "1", w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.put(w.seal(imx.Principal(imx.RoleScanner), image().Digest, imx.PredicateScan, raw))
	v := w.verdict(imx.ForRelease, release())
	if c := condition(t, v, "vulnerabilities"); v.Allowed || !strings.Contains(c.Says, "CVE-2026-0001") {
		t.Errorf("allowed %t: %+v", v.Allowed, c)
	}
	w.put(w.good(imx.PredicateVEX))
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
		t.Errorf("with it: %+v", v.Conditions)
	}
}

func scanOfYesterday(t *testing.T, _ string) {
	w := newWorld(t)
	w.stateAll()
	first := w.verdict(imx.ForRelease, release())
	w.now = w.now.Add(24*time.Hour - time.Second)
	if v := w.verdict(imx.ForRelease, release()); !first.Allowed || !v.Allowed || !v.Until.Equal(w.now.Add(time.Second)) {
		t.Errorf("a second before: allowed %t until %s", v.Allowed, v.Until)
	}
	w.now = w.now.Add(time.Second)
	v := w.verdict(imx.ForRelease, release())
	if c := condition(t, v, "scan"); v.Allowed || !strings.Contains(c.Says, "24 h old") {
		t.Errorf("%+v", c)
	}
	if _, err := w.Pass(t.Context(), release()); err != nil {
		t.Errorf("a machine that was off can't come back: %v", err)
	}
}

// A check says what was found for good; what a waiver excuses of it, it excuses until its day.
func waiverOfYesterday(t *testing.T, _ string) {
	w := newWorld(t)
	w.stateAll()
	raw, _, _ := check.Attest(check.Predicate{Checker: "imx 1", Refuse: imx.Critical, Findings: []imx.Finding{{
		Rule: "root-user", Level: imx.Critical, Message: "it runs as root",
		Waived: &imx.Waiver{Rule: "root-user", Reason: "until it is mended", Until: w.now.Add(time.Hour)},
	}}}, nil)
	w.put(w.seal(imx.Principal(imx.RoleScanner), image().Digest, imx.PredicateCheck, raw))
	w.now = w.now.Add(time.Hour - time.Second)
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
		t.Errorf("a second before: %+v", v.Conditions)
	}
	w.now = w.now.Add(time.Second)
	v := w.verdict(imx.ForRelease, release())
	if c := condition(t, v, "checks"); v.Allowed || !strings.Contains(c.Says, "root-user (critical)") {
		t.Errorf("allowed %t: %+v", v.Allowed, c)
	}
}

func reviewOfANamesake(t *testing.T, _ string) {
	w := reviewed(t)
	w.approve("bob")
	w.now = w.now.Add(time.Minute)
	w.record(imx.PersonRemoved{Person: "bob"})
	w.now = w.now.Add(time.Minute)
	w.record(imx.PersonSet{Person: imx.Person{Name: "bob", Roles: []imx.Role{imx.RoleReviewer}}})
	v := w.verdict(imx.ForRelease, release())
	if c := condition(t, v, "reviews"); v.Allowed || !strings.Contains(c.Says, "bob's doesn't count: it is older than what is known of bob") {
		t.Errorf("allowed %t: %+v", v.Allowed, c)
	}
}

func verdictOfBefore(t *testing.T, _ string) {
	w := newWorld(t)
	w.stateAll()
	v := w.verdict(imx.ForRelease, release())
	if _, err := admission.Issue(v, release(), v.Until.Add(-1)); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	_, err := admission.Issue(v, release(), v.Until)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), fmt.Sprintf("holds from %s until %s", v.Made.Format(time.RFC3339), v.Until.Format(time.RFC3339))) {
		t.Errorf("%v", err)
	}
}

// What conditions read of a statement is what its type says, or nothing.
func TestAStatementThatSaysNothingOfItsTypeIsRefusedAndNamed(t *testing.T) {
	for _, kind := range []string{imx.PredicateProvenance, imx.PredicateScan, imx.PredicateTest, imx.PredicateCheck, imx.PredicateVEX} {
		t.Run(imx.PredicateNames()[kind], func(t *testing.T) {
			st := stating(t, kind)
			st.put(st.seal(st.whose, st.about, kind, map[string]any{"buildDefinition": 1, "result": 1, "scanner": 1, "findings": 1, "statements": 1}))
			st.refuses(t, "it doesn't say what a statement of its type says")
		})
	}
}

func TestWhatAPersonSaysIsNoServersWord(t *testing.T) {
	for kind, name := range imx.PredicateNames() {
		if kind == imx.PredicateReview {
			continue // theirs to say
		}
		t.Run(name, func(t *testing.T) {
			st := stating(t, kind)
			st.person("eve", imx.RoleReviewer)
			st.keep(st.by("eve", st.about))
			st.refuses(t, "signed with the wrong role")
		})
	}
}

func TestAClockThatJumpsBackMakesNothingFreshAgain(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	w.now = w.now.Add(24 * time.Hour)
	if w.verdict(imx.ForRelease, release()).Allowed {
		t.Fatal("an old scan is enough")
	}
	w.now = w.now.Add(-23 * time.Hour)
	if v := w.verdict(imx.ForRelease, release()); v.Allowed {
		t.Errorf("judged at %s: the scan is fresh again", v.Made)
	}
	if _, err := w.Pass(t.Context(), release()); err != nil {
		t.Errorf("nothing starts any more: %v", err)
	}
	again := w.judge(staging) // a server that was started anew knows the time of the log
	w.record(imx.ServerStarted{Version: "1"})
	w.now = w.now.Add(-48 * time.Hour)
	if v, err := again.Release(t.Context(), release()); err != nil || v.Made.Before(w.control.State().Time) {
		t.Errorf("judged at %s, before the log's last event: %v", v.Made, err)
	}
}

func TestAnImageThatWasFoundOnTheWordOfACompromisedKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	w.stateAll()
	old := w.good(imx.PredicateProvenance)
	w.now = w.now.Add(time.Minute)
	w.key(imx.Principal(imx.RoleBuilder), imx.Key{Owner: imx.Server, Role: imx.RoleBuilder})
	p, ok := w.predicate(imx.PredicateProvenance).(provenance.Predicate)
	if !ok {
		t.Fatal("the provenance is none")
	}
	p.Definition.Internal.Bytes = provenance.Bytes{How: provenance.Found, Signer: old.Signer, Statement: old.Statement}
	w.put(w.seal(imx.Principal(imx.RoleBuilder), image().Digest, imx.PredicateProvenance, p))
	if v := w.verdict(imx.ForRelease, release()); !v.Allowed || !strings.Contains(condition(t, v, "provenance").Says, "found as an earlier build made it by the builder") {
		t.Errorf("allowed: %t, %s", v.Allowed, condition(t, v, "provenance").Says)
	}
	w.record(imx.KeyEnded{Key: old.Signer, Until: w.now, Compromised: true, Reason: "it was stolen"})
	if v := w.verdict(imx.ForRelease, release()); v.Allowed || !strings.Contains(condition(t, v, "provenance").Says, "made under the key "+old.Signer+", which is compromised: it was stolen") {
		t.Errorf("allowed: %t, %s", v.Allowed, condition(t, v, "provenance").Says)
	}
}
