package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"imx"
	"imx/internal/pipeline"
	"imx/internal/trial"
)

// built is what one server built, and what another takes over of it.
func built(t *testing.T, there, here *world, greeting string) (pipeline.Taken, imx.PlanRequest) {
	t.Helper()
	req := imx.PlanRequest{Template: there.parse(t, service(greeting))}
	result, err := there.Build(t.Context(), "ada", req, quiet)
	if err != nil {
		t.Fatal(err)
	}
	req.Lock = &result.Plan.Lock
	req.SkipTests, req.Expect = "in a hurry", imx.DigestBytes([]byte("where services stood there")) // what was said there
	raw, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	request, err := here.Keep(raw)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := here.Keep([]byte("the signed offer of " + greeting))
	if err != nil {
		t.Fatal(err)
	}
	taken := pipeline.Taken{
		Plan: result.Plan.Plan, Images: result.Images, Request: request,
		Origin: imx.Origin{Environment: "staging", Bundle: bundle, Signer: "SHA256:x", Since: time.Now().Add(-time.Hour), At: time.Now()},
	}
	taken.Bring = func(context.Context, imx.Report) error {
		for _, im := range taken.Images {
			carry(t, there, here, im.Digest)
		}
		return nil
	}
	req.SkipTests, req.Expect = "", ""
	return taken, req
}

// carry copies an image's blobs.
func carry(t *testing.T, there, here *world, image imx.Digest) {
	t.Helper()
	raw, err := there.blobs.ReadAll(image, 1<<20)
	var m v1.Manifest
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := []imx.Digest{image, imx.Digest(m.Config.Digest)}
	for _, l := range m.Layers {
		all = append(all, imx.Digest(l.Digest))
	}
	for _, d := range all {
		blob, err := there.blobs.Reader(d)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(blob)
		_ = blob.Close()
		if err == nil {
			_, _, err = here.blobs.Put(bytes.NewReader(raw), d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// takeOver compares, and releases what was compared.
func (w *world) takeOver(t *testing.T, taken pipeline.Taken, req imx.PlanRequest) (imx.ApplyResult, error) {
	t.Helper()
	planned, err := w.Compare(t.Context(), taken, req)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	req.Expect = planned.Base
	return w.TakeOver(t.Context(), "bob", taken, req, quiet)
}

func TestWhatIsTakenOverIsReleasedAsItIsAndNothingIsBuilt(t *testing.T) {
	there, here := newWorld(t), newWorld(t)
	here.rolled(t)
	taken, req := built(t, there, here, "hi")
	here.passed = map[imx.Digest]imx.Digest{taken.Images[0].Digest: taken.Plan.Digest()}
	here.test = func(trial.Run) ([]imx.TestResult, error) {
		t.Error("what passed there was tested again")
		return nil, nil
	}
	vouched := ""
	taken.Vouch = func(_ context.Context, image imx.Image) error { vouched += image.Name; return nil }
	result, err := here.takeOver(t, taken, req)
	if err != nil || len(result.Releases) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	r := result.Releases[0]
	if r.Image != taken.Images[0] || r.State != imx.ReleaseGood || r.Plan != taken.Plan.Digest() || r.By != "bob" {
		t.Errorf("released %+v", r)
	}
	if diff := cmp.Diff(&taken.Origin, r.Origin); diff != "" {
		t.Error(diff)
	}
	if len(here.stated) != 0 || len(here.how) != 0 {
		t.Errorf("something was built: %v", here.stated)
	}
	if vouched != "plain" || len(here.scanned) != 1 || len(here.checked) != 1 || len(here.tags) != 1 {
		t.Errorf("vouched for %s, scanned %v, checked %v, tagged %v", vouched, here.scanned, here.checked, here.tags)
	}
	planned, err := here.Compare(t.Context(), taken, req)
	if err != nil || len(planned.Changes) != 0 {
		t.Errorf("once more there is something to change: %+v, %v", planned.Changes, err)
	}
}

func TestAServiceKeepsTheInstancesThatItHasHere(t *testing.T) {
	there, here := newWorld(t), newWorld(t)
	here.rolled(t)
	first, req := built(t, there, here, "hi")
	if _, err := here.takeOver(t, first, req); err != nil {
		t.Fatal(err)
	}
	if got := here.control.State().Services["plain"].Replicas; got != 1 {
		t.Errorf("a new service has %d instances and not those of the plan", got)
	}
	if _, err := here.control.Scale("bob", "plain", 7); err != nil {
		t.Fatal(err)
	}
	second, req := built(t, there, here, "hello")
	planned, err := here.Compare(t.Context(), second, req)
	for _, c := range planned.Changes {
		if c.Kind == "instances" && (c.Before != "7" || c.After != "7") {
			t.Errorf("it would change %+v", c)
		}
	}
	if err != nil || len(planned.Changes) == 0 {
		t.Fatalf("%+v, %v", planned, err)
	}
	if _, err := here.takeOver(t, second, req); err != nil {
		t.Fatal(err)
	}
	if v := here.control.State().Services["plain"]; v.Replicas != 7 || v.Current != 2 {
		t.Errorf("release %d has %d instances", v.Current, v.Replicas)
	}
}

func TestWhatWaitsIsReleasedLaterAndNothingIsBuiltThenEither(t *testing.T) {
	there, here := newWorld(t), newWorld(t)
	here.rolled(t)
	taken, req := built(t, there, here, "hi")
	here.judge, here.unmet = func(imx.Release) bool { return false }, []string{"reviews"}
	result, err := here.takeOver(t, taken, req)
	if err != nil || result.Candidate == nil || len(result.Releases) != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	c := *result.Candidate
	if diff := cmp.Diff(&taken.Origin, c.Origin); diff != "" || c.Request != taken.Request {
		t.Errorf("request %s\n%s", c.Request, diff)
	}
	later := taken
	later.Origin.At = later.Origin.At.Add(time.Minute)
	if again, err := here.takeOver(t, later, req); err != nil || again.Candidate == nil || again.Candidate.ID != c.ID {
		t.Errorf("the same again is another candidate: %+v, %v", again.Candidate, err)
	}
	elsewhere := taken
	elsewhere.Origin.Environment = "dev"
	if other, err := here.takeOver(t, elsewhere, req); err != nil || other.Candidate == nil || other.Candidate.ID == c.ID {
		t.Errorf("from another environment it is the same candidate: %+v, %v", other.Candidate, err)
	}
	result, err = here.takeOver(t, taken, req)
	if err != nil || result.Candidate == nil {
		t.Fatalf("%+v, %v", result, err)
	}
	here.judge = func(imx.Release) bool { return true }
	released, err := here.Release(t.Context(), "eve", result.Candidate.ID, quiet)
	if err != nil || len(released.Releases) != 1 || released.Releases[0].Origin == nil || released.Releases[0].Image != taken.Images[0] {
		t.Fatalf("%+v, %v", released, err)
	}
	if len(here.stated) != 0 {
		t.Errorf("something was built: %v", here.stated)
	}
	if x := here.control.State().Exceptions; len(x) != 0 {
		t.Errorf("that tests were skipped there excuses something here: %v", x)
	}
}

func TestWhatFailsOnItsWayLeavesNothingToSeeAndTheNextGoesOn(t *testing.T) {
	there, here := newWorld(t), newWorld(t)
	here.rolled(t)
	taken, req := built(t, there, here, "hi")
	bring := taken.Bring
	taken.Bring = func(context.Context, imx.Report) error { return imx.Errorf(imx.Unavailable, "the line is cut") }
	if _, err := here.takeOver(t, taken, req); imx.KindOf(err) != imx.Unavailable {
		t.Errorf("cut off: %v", err)
	}
	if s := here.control.State(); len(s.Images) != 0 || len(s.Services) != 0 || s.Apply != nil || len(here.tags) != 0 {
		t.Errorf("images %v, services %v, open apply %v, tags %v", s.Images, s.Services, s.Apply, here.tags)
	}
	taken.Bring = bring
	if _, err := here.takeOver(t, taken, req); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestAnImageThatIsOtherwiseHereIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(here *world, taken *pipeline.Taken) error
		kind  imx.Kind
		says  string
	}{
		"another image of the same plan": {func(here *world, taken *pipeline.Taken) error {
			other := taken.Images[0]
			other.Digest = imx.DigestBytes([]byte("other"))
			return here.control.Record("root", imx.ImageBuilt{Image: other})
		}, imx.Conflict, "image plain of the same plan is " + string(imx.DigestBytes([]byte("other"))) + " here, and "},
		"another root": {func(_ *world, taken *pipeline.Taken) error {
			taken.Images[0].Root = imx.DigestBytes([]byte("other"))
			return nil
		}, imx.Refused, "the root of image plain is "},
		"bytes that rotted on the way": {func(here *world, taken *pipeline.Taken) error {
			bring := taken.Bring
			taken.Bring = func(ctx context.Context, report imx.Report) error {
				if err := bring(ctx, report); err != nil {
					return err
				}
				path := here.blobs.Path(taken.Images[0].Digest)
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				raw[len(raw)/2] ^= 1
				if err := os.Remove(path); err != nil {
					return err
				}
				return os.WriteFile(path, raw, 0o400)
			}
			return nil
		}, imx.Refused, "is damaged on disk"},
	} {
		there, here := newWorld(t), newWorld(t)
		taken, req := built(t, there, here, "hi")
		if err := c.spoil(here, &taken); err != nil {
			t.Fatal(err)
		}
		if _, err := here.takeOver(t, taken, req); imx.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
		if s := here.control.State(); len(s.Services) != 0 || len(here.tags) != 0 {
			t.Errorf("%s: services %v, tags %v", what, s.Services, here.tags)
		}
	}
}

func TestWhatIsntKnownToHavePassedIsTestedHere(t *testing.T) {
	there, here := newWorld(t), newWorld(t)
	here.rolled(t)
	taken, req := built(t, there, here, "hi")
	here.passed = map[imx.Digest]imx.Digest{taken.Images[0].Digest: imx.DigestBytes([]byte("another plan"))}
	var tested imx.Digest
	here.test = func(r trial.Run) ([]imx.TestResult, error) { tested = r.Plan; return nil, nil }
	if _, err := here.takeOver(t, taken, req); err != nil || tested != taken.Plan.Digest() {
		t.Errorf("tested %s: %v", tested, err)
	}
}
