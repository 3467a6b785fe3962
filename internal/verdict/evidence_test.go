package verdict_test

// For each kind of evidence, each way in which it can be wrong: the release is refused, and the reason names what is wrong. What is
// forged or changed refuses an instance's start, too.

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/provenance"
	"imx/internal/sign"
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

// wrong is a way in which evidence of a kind is wrong.
type wrong struct {
	// make puts it on the log in place of what was good.
	make func(w *world, kind string)
	says string // of what is wrong
}

func (w *world) put(e imx.Evidence) { w.record(imx.EvidenceAdded{Evidence: e}) }

func ways() map[string]wrong {
	other := imx.DigestBytes([]byte("another image"))
	return map[string]wrong{
		"for another digest": {func(w *world, kind string) {
			e := w.seal(imx.Principal(imx.RoleOf(kind)), other, kind, w.predicate(kind))
			e.Image = image().Digest
			w.put(e)
		}, "it is for another digest"},
		"replayed from another image": {func(w *world, kind string) {
			theirs := w.seal(imx.Principal(imx.RoleOf(kind)), other, kind, w.predicate(kind))
			e := w.good(kind)
			e.Bundle = theirs.Bundle // the log tells of the one, and the bytes are the other's
			w.put(e)
		}, "it is for another digest"},
		"signed by the wrong role": {func(w *world, kind string) {
			role := imx.RoleTester
			if imx.RoleOf(kind) == role {
				role = imx.RoleScanner
			}
			w.put(w.seal(imx.Principal(role), image().Digest, kind, w.predicate(kind)))
		}, "signed with the wrong role"},
		"signed by a person": {func(w *world, kind string) {
			w.person("eve", imx.RoleReviewer)
			w.put(w.seal("eve", image().Digest, kind, w.predicate(kind)))
		}, "signed with the wrong role"},
		"signed by an unknown key": {func(w *world, kind string) {
			stranger := newWorld(w.t)
			w.keys["stranger"] = stranger.keys[imx.Principal(imx.RoleOf(kind))]
			w.put(w.seal("stranger", image().Digest, kind, w.predicate(kind)))
		}, "an unknown key"},
		"signed by an expired key": {func(w *world, kind string) {
			old := w.keys[imx.Principal(imx.RoleOf(kind))]
			w.now = w.now.Add(time.Minute)
			w.key(imx.Principal(imx.RoleOf(kind)), imx.Key{Owner: imx.Server, Role: imx.RoleOf(kind)})
			w.keys["old"] = old
			w.now = w.now.Add(time.Minute)
			w.put(w.seal("old", image().Digest, kind, w.predicate(kind)))
		}, "an ended key"},
		"signed by a revoked key": {func(w *world, kind string) {
			e := w.good(kind)
			w.put(e)
			w.now = w.now.Add(time.Minute)
			w.record(imx.KeyEnded{Key: e.Signer, Until: w.now, Compromised: true, Reason: "it was stolen"})
		}, "a compromised key"},
		"signed before its key was known": {func(w *world, kind string) {
			w.keys["late"] = newWorld(w.t).keys[imx.Principal(imx.RoleOf(kind))]
			w.put(w.seal("late", image().Digest, kind, w.predicate(kind)))
			w.now = w.now.Add(time.Minute)
			p, err := sign.PublicOf(w.keys["late"].Public())
			if err != nil {
				w.t.Fatal(err)
			}
			w.record(imx.KeyAdded{Key: imx.Key{ID: p.ID, Owner: imx.Server, Role: imx.RoleOf(kind), Public: p.Line}})
		}, "older than its key"},
		"unsigned": {func(w *world, kind string) {
			e := w.good(kind)
			e.Bundle, e.Signer = "", ""
			w.put(e)
		}, "it is unsigned"},
		"one bit flipped": {func(w *world, kind string) {
			e := w.good(kind)
			w.put(e)
			w.flip(e.Bundle)
		}, "blob"},
		"of another predicate type": {func(w *world, kind string) {
			another := imx.PredicateSPDX
			if kind == another {
				another = imx.PredicateCycloneDX
			}
			e := w.seal(imx.Principal(imx.RoleOf(kind)), image().Digest, another, w.predicate(another))
			e.PredicateType = kind
			w.put(e)
		}, "it is of another predicate type"},
		"nothing of its type": {func(w *world, kind string) {
			w.put(w.seal(imx.Principal(imx.RoleOf(kind)), image().Digest, kind, map[string]any{
				"buildDefinition": 1, "result": 1, "scanner": 1, "findings": 1, "statements": 1,
			}))
		}, "it doesn't say what a statement of its type says"},
	}
}

func TestEachKindOfEvidenceInEachWayWrongIsRefusedAndNamed(t *testing.T) {
	for what, way := range ways() {
		for _, kind := range append(kinds(), imx.PredicateVEX) {
			name := imx.PredicateNames()[kind]
			if what == "nothing of its type" && (name == "spdx" || name == "cyclonedx") {
				continue // no condition asks what they say
			}
			t.Run(what+"/"+name, func(t *testing.T) {
				w := newWorld(t)
				w.stateAll()
				w.put(w.good(imx.PredicateVEX))
				if v := w.verdict(imx.ForRelease, release()); !v.Allowed {
					t.Fatalf("%+v", v.Conditions)
				}
				way.make(w, kind)
				v := w.verdict(imx.ForRelease, release())
				c := condition(t, v, "signed")
				if v.Allowed || c.Met || !strings.Contains(c.Says, name+": ") || !strings.Contains(c.Says, way.says) {
					t.Errorf("allowed %t: %s", v.Allowed, c.Says)
				}
				w.now = w.now.Add(time.Minute) // what was found for a start is remembered for so long
				if _, err := w.Pass(t.Context(), release()); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), way.says) {
					t.Errorf("at a start: %v", err)
				}
			})
		}
	}
}

func TestEachKindOfEvidenceThatIsMissingIsRefusedAndNamed(t *testing.T) {
	for kind, want := range map[string]struct{ id, says string }{
		imx.PredicateProvenance: {"provenance", "nobody stated how"}, imx.PredicateSPDX: {"sbom", "no spdx"}, imx.PredicateCycloneDX: {"sbom", "no cyclonedx"},
		imx.PredicateScan: {"scan", "nobody looked"}, imx.PredicateTest: {"tests", "wasn't tested"}, imx.PredicateCheck: {"checks", "wasn't checked"},
	} {
		w := newWorld(t)
		for _, k := range kinds() {
			if k != kind {
				w.put(w.good(k))
			}
		}
		v := w.verdict(imx.ForRelease, release())
		if c := condition(t, v, want.id); v.Allowed || c.Met || !strings.Contains(c.Says, want.says) {
			t.Errorf("%s: allowed %t: %+v", kind, v.Allowed, c)
		}
	}
}

func TestAScanThatIsOlderThanAllowedRefusesAReleaseAndNoStart(t *testing.T) {
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
