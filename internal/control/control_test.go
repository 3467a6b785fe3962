// Package control_test shows what control refuses and what it writes down, on a real log.
package control_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/control"
	"imx/internal/eventlog"
)

// world is a control on a log in a scratch folder, with a clock that moves a second per look.
type world struct {
	*control.Control
	dir string
	log *eventlog.Log
	now time.Time
	ids int
}

func open(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{dir: dir, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var recovery eventlog.Recovery
	var err error
	w.log, recovery, err = eventlog.Open(eventlog.Config{Dir: dir, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.log.Close() })
	w.Control, err = control.Open(control.Config{
		Log: w.log, Now: w.clock, Network: netip.MustParsePrefix("10.0.0.0/28"), Version: "test", Cut: recovery.Cut,
		NewID: func() string { w.ids++; return fmt.Sprintf("apply%d", w.ids) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) clock() time.Time {
	w.now = w.now.Add(time.Second)
	return w.now
}

func candidate(name, image string, change ...func(*imx.Spec)) control.Candidate {
	spec := imx.Spec{Name: name, Image: name, Replicas: 2}
	for _, c := range change {
		c(&spec)
	}
	return control.Candidate{Spec: spec, Image: imx.Image{Name: name, Digest: imx.DigestBytes([]byte(image))}}
}

func connect(to string) func(*imx.Spec) {
	return func(s *imx.Spec) { s.Connect = append(s.Connect, imx.PortRef{Service: to, Port: "p"}) }
}

func publish(port int) func(*imx.Spec) {
	return func(s *imx.Spec) { s.Ports = append(s.Ports, imx.Port{Name: "p", Container: 80, Publish: port}) }
}

// apply releases candidates as one apply does.
func (w *world) apply(t *testing.T, cs ...control.Candidate) []imx.Release {
	t.Helper()
	id, err := w.Begin("root", "", imx.Source{})
	if err != nil {
		t.Fatal(err)
	}
	p := control.Promotion{Apply: id, Candidates: cs, Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil }}
	rs, err := w.Promote("root", p)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// good finishes a rollout as the reconciling loop does.
func (w *world) good(t *testing.T, rs ...imx.Release) {
	t.Helper()
	for _, r := range rs {
		if err := w.Record(imx.Server, imx.RolloutFinished{Service: r.Service, Release: r.Number}); err != nil {
			t.Fatal(err)
		}
	}
}

func wantError(t *testing.T, err error, kind imx.Kind, words ...string) {
	t.Helper()
	if imx.KindOf(err) != kind {
		t.Fatalf("error of kind %q (%v), want %q", imx.KindOf(err), err, kind)
	}
	var e *imx.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *imx.Error", err)
	}
	for _, word := range words {
		if !strings.Contains(e.Message+" "+e.Hint, word) {
			t.Errorf("%q (hint %q) doesn't say %q", e.Message, e.Hint, word)
		}
	}
}

func TestOneOfTwoAppliesWinsAndTheOtherLearnsWhoHoldsIt(t *testing.T) {
	w := open(t, t.TempDir())
	var wins, losses []string
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, who := range []imx.Principal{"ada", "bob"} {
		both.Go(func() {
			_, err := w.Begin(who, "", imx.Source{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins = append(wins, string(who))
				return
			}
			losses = append(losses, err.Error())
		})
	}
	both.Wait()
	if len(wins) != 1 || len(losses) != 1 || !strings.Contains(losses[0], "begun by "+wins[0]) {
		t.Fatalf("winners %v, losers %v", wins, losses)
	}
}

func TestAnApplyThatADeadServerLeftOpenIsUndone(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	if _, err := w.Begin("root", "", imx.Source{}); err != nil {
		t.Fatal(err)
	}
	before := w.State().Next
	if err := w.log.Close(); err != nil { // as if killed: nothing else is written
		t.Fatal(err)
	}
	w = open(t, dir)
	s := w.State()
	if s.Apply != nil {
		t.Fatalf("apply %v is still open", s.Apply)
	}
	if s.Next != before+2 { // server-started, apply-failed
		t.Errorf("%d events, want %d: none lost, the undoing written down", s.Next, before+2)
	}
	if _, err := w.Begin("root", "", imx.Source{}); err != nil {
		t.Errorf("a new apply is refused: %v", err)
	}
}

func TestOnlyWhatChangedIsReleased(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1", connect("app")), candidate("app", "1"))...)
	rs := w.apply(t, candidate("web", "1", connect("app")), candidate("app", "2"))
	if len(rs) != 1 || rs[0].Service != "app" || rs[0].Number != 2 {
		t.Fatalf("released %v, want app's release 2 alone", rs)
	}
	w.good(t, rs...)
	if rs := w.apply(t, candidate("app", "2", func(s *imx.Spec) { s.Replicas = 5 })); len(rs) != 0 {
		t.Fatalf("another number of instances made releases %v", rs)
	}
	if n := w.State().Services["app"].Replicas; n != 5 {
		t.Errorf("%d replicas, want 5", n)
	}
}

func TestServicesKeepTheirAddressAndAreKnownByNameToThoseThatConnect(t *testing.T) {
	w := open(t, t.TempDir())
	rs := w.apply(t, candidate("app", "1", connect("db")), candidate("db", "1"))
	if rs[0].Address == rs[1].Address || !rs[0].Address.IsValid() {
		t.Fatalf("addresses %v and %v", rs[0].Address, rs[1].Address)
	}
	want := []imx.Host{{Name: "app", Address: rs[0].Address}, {Name: "db", Address: rs[1].Address}}
	if fmt.Sprint(rs[0].Hosts) != fmt.Sprint(want) {
		t.Errorf("app knows %v, want %v", rs[0].Hosts, want)
	}
	w.good(t, rs...)
	if err := w.Destroy("root", control.KeepVolumes, "app", "db"); err != nil {
		t.Fatal(err)
	}
	again := w.apply(t, candidate("db", "1"))
	if again[0].Address != rs[1].Address || again[0].Number != 2 {
		t.Errorf("a namesake got address %v and number %d, want %v and 2", again[0].Address, again[0].Number, rs[1].Address)
	}
}

func TestAddressesRunOutWithAHint(t *testing.T) {
	w := open(t, t.TempDir()) // a /28: 7 addresses for services
	var cs []control.Candidate
	for i := range 8 {
		cs = append(cs, candidate(fmt.Sprintf("s%d", i), "1"))
	}
	_, err := w.Draft("root", control.Promotion{Candidates: cs})
	wantError(t, err, imx.Exhausted, "10.0.0.0/29", "--network")
}

func TestTwoServicesCantPublishOnePort(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("a", "1", publish(8080)))...)
	_, err := w.Draft("root", control.Promotion{Candidates: []control.Candidate{candidate("b", "1", publish(8080))}})
	wantError(t, err, imx.Conflict, "services a and b", "port 8080")
	preview := func(s *imx.Spec) { s.Deploy = &imx.Deploy{Preview: 8080} }
	_, err = w.Draft("root", control.Promotion{Candidates: []control.Candidate{candidate("b", "1", publish(8081), preview)}})
	wantError(t, err, imx.Conflict, "services a and b", "port 8080")
}

func TestRollbackGoesToTheNewestGoodReleaseBefore(t *testing.T) {
	w := open(t, t.TempDir())
	for i := range 3 {
		rs := w.apply(t, candidate("web", fmt.Sprint(i)))
		if i == 1 { // release 2 never got healthy
			if err := w.Record(imx.Server, imx.RolloutFailed{Service: "web", Release: 2, Reason: "sick"}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		w.good(t, rs...)
	}
	_, err := w.Rollback("root", "web", 2)
	wantError(t, err, imx.Conflict, "release 2", "failed")
	_, err = w.Rollback("root", "web", 9)
	wantError(t, err, imx.NotFound, "no release 9")
	r, err := w.Rollback("root", "web", 0)
	if err != nil || r.Number != 1 {
		t.Fatalf("rolled back to %d (%v), want 1", r.Number, err)
	}
	w.good(t, r)
	_, err = w.Rollback("root", "web", 0)
	wantError(t, err, imx.Conflict, "no earlier good release")
}

func TestScaleAndDestroyRefuseWhatMakesNoSense(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("app", "1", connect("db")), candidate("db", "1", func(s *imx.Spec) {
		s.Volumes, s.Replicas = []imx.Volume{{Name: "data", Path: "/d"}}, 1
	}))...)
	_, err := w.Scale("root", "nothing", 1)
	wantError(t, err, imx.NotFound, `"nothing"`, "app, db")
	_, err = w.Scale("root", "app", -1)
	wantError(t, err, imx.Invalid, "-1")
	_, err = w.Scale("root", "db", 2)
	wantError(t, err, imx.Invalid, `volume "data"`)
	err = w.Destroy("root", control.KeepVolumes, "db")
	wantError(t, err, imx.Conflict, "app connects to service db", "imx destroy app db")
}

func TestTheClockMayJumpBackButTheLogsTimeDoesnt(t *testing.T) {
	w := open(t, t.TempDir())
	before := w.State().Time
	w.now = w.now.Add(-time.Hour)
	w.apply(t, candidate("a", "1"))
	if after := w.State().Time; after.Before(before) {
		t.Errorf("time went from %s back to %s", before, after)
	}
}

func TestThePastIsTheFoldOfItsEvents(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("a", "1"))...)
	then := w.State()
	w.good(t, w.apply(t, candidate("a", "2"))...)
	past, err := w.At(then.Time)
	if err != nil {
		t.Fatal(err)
	}
	if imx.DigestJSON(past) != imx.DigestJSON(then) {
		t.Errorf("at %s the state was\n%v\nand is told as\n%v", then.Time, then, past)
	}
	_, err = w.At(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	wantError(t, err, imx.NotFound, "the log begins later")
}

func (w *world) rollback(t *testing.T, service string, to int) {
	t.Helper()
	r, err := w.Rollback("root", service, to)
	if err != nil {
		t.Fatal(err)
	}
	w.good(t, r)
}

func TestAPortBelongsToWhoeverMayComeToPublishIt(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1", publish(8080)))...)
	draft := func(cs ...control.Candidate) error {
		_, err := w.Draft("root", control.Promotion{Candidates: cs})
		return err
	}
	// web goes back to its current release, with the port, if the one without it fails.
	err := draft(candidate("web", "2"), candidate("other", "1", publish(8080)))
	wantError(t, err, imx.Conflict, "services other and web", "port 8080", "first apply without it")
	second := w.apply(t, candidate("web", "2"))
	wantError(t, draft(candidate("other", "1", publish(8080))), imx.Conflict, "services other and web", "port 8080")
	w.good(t, second...)
	w.good(t, w.apply(t, candidate("other", "1", publish(8080)))...)

	_, err = w.Rollback("root", "web", 1)
	wantError(t, err, imx.Conflict, "services other and web", "port 8080")
	if v := w.State().Services["web"]; v.Target != 2 {
		t.Errorf("the refused rollback made release %d the target", v.Target)
	}
	w.good(t, w.apply(t, candidate("other", "2"))...)
	w.rollback(t, "web", 1)
	_, err = w.Rollback("root", "other", 1)
	wantError(t, err, imx.Conflict, "services other and web", "port 8080")
}

func TestAReleaseThatConnectsToADestroyedServiceIsNotGoneBackTo(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1", connect("db")), candidate("db", "1"))...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	if err := w.Destroy("root", control.KeepVolumes, "db"); err != nil {
		t.Fatal(err)
	}
	_, err := w.Rollback("root", "web", 0)
	wantError(t, err, imx.Conflict, "release 1 of service web connects to service db, which was destroyed", "apply a template that has service db")
	w.good(t, w.apply(t, candidate("db", "1"))...)
	w.rollback(t, "web", 0)
}

func TestAVolumeOfEitherEndOfARolloutAllowsOneInstance(t *testing.T) {
	volume := func(s *imx.Spec) { s.Volumes, s.Replicas = []imx.Volume{{Name: "data", Path: "/d"}}, 1 }
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("db", "1", volume))...)
	second := w.apply(t, candidate("db", "2"))
	_, err := w.Scale("root", "db", 3)
	wantError(t, err, imx.Invalid, `volume "data"`)
	w.good(t, second...)
	if v, err := w.Scale("root", "db", 3); err != nil || v.Replicas != 3 {
		t.Errorf("without the volume: %d replicas, %v", v.Replicas, err)
	}
	w.apply(t, candidate("db", "3", volume))
	_, err = w.Scale("root", "db", 3)
	wantError(t, err, imx.Invalid, `volume "data"`)
}

func TestTheNumberOfAnApplyOnlyCountsOnceItsReleaseIsGood(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"))...)
	w.apply(t, candidate("web", "2", func(s *imx.Spec) { s.Replicas = 1 }))
	if v := w.State().Services["web"]; v.Replicas != 1 || v.CurrentReplicas != 2 {
		t.Errorf("during the rollout %d and %d are wanted, want 1 of the new and 2 of the good one", v.Replicas, v.CurrentReplicas)
	}
	if err := w.Record(imx.Server, imx.RolloutFailed{Service: "web", Release: 2, Reason: "sick"}); err != nil {
		t.Fatal(err)
	}
	if n := w.State().Services["web"].Replicas; n != 2 {
		t.Errorf("the broken apply left %d replicas of the good release, want 2", n)
	}
}

func TestAServiceNamedTwiceIsDestroyedOnce(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"))...)
	if err := w.Destroy("root", control.KeepVolumes, "web", "web"); err != nil {
		t.Error(err)
	}
}

func TestAnApplyIsRefusedWhereServicesNoLongerStandAsExpected(t *testing.T) {
	w := open(t, t.TempDir())
	first := w.apply(t, candidate("web", "1"), candidate("other", "1"))
	shown := w.State().Base([]string{"web"})
	promote := func() error {
		_, err := w.Draft("root", control.Promotion{Candidates: []control.Candidate{candidate("web", "2")}, Expect: shown})
		return err
	}
	w.good(t, first...) // what was shown is as it was: the target only arrived
	w.good(t, w.apply(t, candidate("other", "2"))...)
	if err := promote(); err != nil {
		t.Error(err)
	}
	w.good(t, w.apply(t, candidate("web", "1b"))...)
	wantError(t, promote(), imx.Conflict, "has changed since", "plan again")
	w.rollback(t, "web", 1)
	wantError(t, promote(), imx.Conflict, "is held at release 1 by root", "imx hold release web")
	if _, err := w.ReleaseHold("root", "web", "mended"); err != nil {
		t.Fatal(err)
	}
	if err := promote(); err != nil {
		t.Errorf("back where it was: %v", err)
	}
	if _, err := w.Scale("root", "web", 7); err != nil {
		t.Fatal(err)
	}
	wantError(t, promote(), imx.Conflict, "has changed since")
}

func TestAnApplyNeverGetsAnIdThatAReleaseHas(t *testing.T) {
	w := open(t, t.TempDir())
	rs := w.apply(t, candidate("web", "1"))
	w.ids = 0 // the same ids once more
	if again := w.apply(t, candidate("web", "2")); again[0].Apply == rs[0].Apply {
		t.Errorf("two applies are called %s", rs[0].Apply)
	}
}

func TestTheSameEvidenceIsWrittenDownOnce(t *testing.T) {
	w := open(t, t.TempDir())
	e := imx.Evidence{Image: imx.DigestBytes(nil), PredicateType: imx.PredicateTest, Statement: imx.DigestBytes([]byte("s")), Made: time.Unix(1, 0).UTC()}
	before := w.State().Next
	for i, want := range []int64{1, 1, 2, 2, 3} {
		again := e
		again.Made = e.Made.Add(time.Duration(i) * time.Second)
		again.Passed = new(bool)
		*again.Passed = i < 2
		if i == 4 {
			again.Statement = imx.DigestBytes([]byte("another"))
		}
		got, err := w.AddEvidence("root", again)
		if err != nil || w.State().Next != before+want {
			t.Errorf("%d: %d events, %v", i, w.State().Next-before, err)
		}
		if diff := cmp.Diff(w.State().Evidence[e.Image][e.PredicateType], got); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
	if w.State().Evidence[e.Image][e.PredicateType].Statement == e.Statement {
		t.Error("the later statement didn't take the place of the earlier one")
	}
}

func TestNoReleaseIsMadeOfAServiceThatWasntJudged(t *testing.T) {
	w := open(t, t.TempDir())
	id, err := w.Begin("root", "", imx.Source{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Promote("root", control.Promotion{Apply: id, Candidates: []control.Candidate{candidate("a", "1"), candidate("b", "1")}})
	wantError(t, err, imx.Refused, "wasn't judged")
	if n := len(w.State().Services); n != 0 {
		t.Errorf("there are %d services", n)
	}
}

func TestAnExceptionIsMadeOnceAndEndedOnce(t *testing.T) {
	w := open(t, t.TempDir())
	no := imx.Errorf(imx.Invalid, "no")
	if _, err := w.Except("ann", imx.Exception{}, func(imx.Exception) error { return no }); imx.KindOf(err) != imx.Invalid || len(w.State().Exceptions) != 0 {
		t.Errorf("err = %v", err)
	}
	fine := func(imx.Exception) error { return nil }
	x, err := w.Except("ann", imx.Exception{Condition: "scan", Until: w.now.Add(time.Hour)}, fine)
	if err != nil || x.Owner != "ann" || x.Made.IsZero() || w.State().Exceptions[x.ID].Condition != "scan" {
		t.Fatalf("%+v, %v", x, err)
	}
	w.ids = 0 // the same ids once more
	if again, err := w.Except("ann", imx.Exception{Until: w.now.Add(time.Hour)}, fine); err != nil || again.ID == x.ID {
		t.Errorf("%+v, %v", again, err)
	}
	wantError(t, w.EndException("ann", "none", ""), imx.NotFound, `"none"`)
	if err := w.EndException("ann", x.ID, "done"); err != nil {
		t.Fatal(err)
	}
	wantError(t, w.EndException("ann", x.ID, "done"), imx.Conflict, "has ended already")
}

func TestWhatIsDeniedIsReplacedOrStoppedIfItIsStillWhatRuns(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1", publish(8080)))...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	if err := w.Replace("web", 1, 2, "x"); err != nil || w.State().Services["web"].Target != 2 {
		t.Errorf("one that isn't to run was replaced: %v", err)
	}
	w.good(t, w.apply(t, candidate("other", "1", publish(8080)))...)
	wantError(t, w.Replace("web", 2, 1, "tests"), imx.Conflict, "release 2 of service web may not run any more (tests)", "port 8080")
	if err := w.Stop("web", 1, "x"); err != nil || w.State().Services["web"].Replicas == 0 {
		t.Errorf("one that isn't to run was stopped: %v", err)
	}
	if err := w.Stop("web", 2, "tests"); err != nil || w.State().Services["web"].Replicas != 0 {
		t.Errorf("%v: %+v", err, w.State().Services["web"])
	}
	if err := w.Destroy("root", control.KeepVolumes, "other"); err != nil {
		t.Fatal(err)
	}
	if err := w.Replace("web", 2, 1, "tests"); err != nil || w.State().Services["web"].Target != 1 {
		t.Errorf("%v: %+v", err, w.State().Services["web"])
	}
}
