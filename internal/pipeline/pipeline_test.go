// Package pipeline_test takes templates along the arrows with the real parts: a signed archive, a log, a
// blob store, a builder. Only the engine is played, by the functions that a Config asks for.
package pipeline_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"imx"
	"imx/internal/admission"
	"imx/internal/archive"
	"imx/internal/archive/archivetest"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/gc"
	"imx/internal/pipeline"
	"imx/internal/provenance"
	"imx/internal/registry"
	"imx/internal/template"
	"imx/internal/trial"
)

type world struct {
	*pipeline.Pipeline
	control *control.Control
	blobs   *blob.Store
	images  *registry.Registry
	debs    *archivetest.Archive
	admit   func(imx.Release) error
	test    func(trial.Run) ([]imx.TestResult, error)
	check   func(imx.Template) ([]imx.Finding, error)
	judge   func(imx.Release) bool
	unmet   []string // conditions that aren't met where judge says no
	moved   string   // the environment, where it is another than it was
	doubted error    // why what was found built can't be counted on
	judged  []string // releases that were made, with whether their verdict was yes
	checked []string // of each built image: by whom, its name, how many findings
	tags    []string
	kept    []string // manifests, as repository:tag digest
	mu      sync.Mutex
	how     []provenance.How
	stated  []string                  // of images that were built or found, as who, name
	passed  map[imx.Digest]imx.Digest // by image, the plan all of whose tests of it passed
	scanned []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		debs: archivetest.New(t,
			archivetest.Package{Name: "base", Essential: true},
			archivetest.Package{Name: "hello", Depends: "libhello"},
			archivetest.Package{Name: "libhello"}),
		admit: func(imx.Release) error { return nil },
		test:  func(trial.Run) ([]imx.TestResult, error) { return nil, nil },
		judge: func(imx.Release) bool { return true },
		check: func(imx.Template) ([]imx.Finding, error) { return nil, nil },
	}
	log, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	ids := 0
	w.control, err = control.Open(control.Config{
		Log: log, Now: time.Now, NewID: func() string { ids++; return fmt.Sprint("apply", ids) }, Network: netip.MustParsePrefix("10.0.0.0/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	w.blobs = blobs
	debs, err := archive.New(archive.Config{Dir: filepath.Join(dir, "archive"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	builder, err := build.New(build.Config{Dir: filepath.Join(dir, "build"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.New(registry.Config{Dir: filepath.Join(dir, "registry"), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	w.images = images
	w.Pipeline = pipeline.New(pipeline.Config{
		Control: w.control, Archive: debs, Builder: builder, Blobs: blobs, Architecture: "amd64", Now: time.Now,
		Publish: func(_ context.Context, repository, tag string, _ build.Result) error {
			w.tags = append(w.tags, repository+":"+tag)
			return nil
		},
		Stores: []func() gc.Store{images.Things, builder.Things, blobs.Things},
		Keep: func(_ context.Context, repository, tag string, manifest []byte) error {
			w.kept = append(w.kept, repository+":"+tag+" "+string(imx.DigestBytes(manifest)))
			return nil
		},
		Test: func(_ context.Context, _ imx.Principal, r trial.Run, _ imx.Report) ([]imx.TestResult, error) {
			return w.test(r)
		},
		Tested: func(image, plan imx.Digest) (bool, error) { return w.passed[image] == plan, nil },
		Scan: func(_ context.Context, _ imx.Principal, image imx.Image, _ imx.Report) {
			w.scanned = append(w.scanned, image.Name)
		},
		Checked: func(_ context.Context, by imx.Principal, image imx.Image, planned imx.PlanResult) error {
			w.checked = append(w.checked, fmt.Sprint(by, " ", image.Name, " ", len(planned.Findings)))
			return nil
		},
		Check:   func(_ context.Context, t imx.Template) ([]imx.Finding, error) { return w.check(t) },
		Doubted: func(imx.Digest) error { return w.doubted },
		Attest: func(_ context.Context, by imx.Principal, b provenance.Build, _ imx.Report) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if b.Image.Plan != b.Plan.Digest() || b.Whole == "" || b.Finished.Before(b.Started) {
				return imx.Errorf(imx.Internal, "a build that doesn't fit together: %+v", b)
			}
			w.stated = append(w.stated, fmt.Sprint(by, " ", b.Image.Name))
			w.how = append(w.how, b.Bytes.How)
			return nil
		},
		Admit: func(_ context.Context, r imx.Release) error { return w.admit(r) }, Judge: judge{w},
	})
	return w
}

// judge answers as the world says.
type judge struct{ *world }

func (j judge) verdict(r imx.Release, excused []imx.Exception) (imx.Verdict, error) {
	v := imx.Verdict{Service: r.Service, Image: r.Image.Digest, Plan: r.Plan, Allowed: true}
	if j.judge(r) {
		return v, nil
	}
	v.Allowed = len(j.unmet) > 0
	for _, id := range j.unmet {
		c := imx.Condition{ID: id, Refuses: true}
		for _, x := range excused {
			if x.Condition == id && x.Service == r.Service && x.Image == r.Image.Digest {
				c.Exception = x.ID
			}
		}
		v.Allowed = v.Allowed && c.Holds()
		v.Conditions = append(v.Conditions, c)
	}
	if !v.Allowed {
		return v, admission.Denied(v)
	}
	return v, nil
}

func (j judge) Environment() string { return cmp.Or(j.moved, "test") }

func (j judge) Allowed(_ context.Context, _ imx.Principal, drafts []imx.Release, excused []imx.Exception) ([]imx.Verdict, error) {
	var all []imx.Verdict
	for _, r := range drafts {
		v, err := j.verdict(r, excused)
		all = append(all, v)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (j judge) Release(_ context.Context, r imx.Release, excused ...imx.Exception) (imx.Verdict, error) {
	v, _ := j.verdict(r, excused)
	return v, nil
}

func (j judge) Made(_ *imx.State, releases []imx.Release, all []imx.Verdict, excused []imx.Exception) ([]imx.Body, error) {
	var made []imx.Body
	for i, r := range releases {
		j.judged = append(j.judged, fmt.Sprint(r.Service, " ", r.Number, " ", all[i].Allowed))
		for _, x := range excused {
			if slices.ContainsFunc(all[i].Conditions, func(c imx.Condition) bool { return c.Exception == x.ID }) {
				made = append(made, imx.ExceptionMade{Exception: x})
			}
		}
	}
	return made, nil
}

func (j judge) Pass(_ context.Context, r imx.Release) (admission.Pass, error) {
	_, err := j.verdict(r, nil)
	return admission.Pass{}, err
}

// parse reads a template whose archive "own" is the world's.
func (w *world) parse(t *testing.T, text string) imx.Template {
	t.Helper()
	tmpl, ds := template.Parse(fstest.MapFS{"t.imx.hcl": {Data: []byte(text)}})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	for i := range tmpl.Archives {
		tmpl.Archives[i] = w.debs.Declare(tmpl.Archives[i].Name)
	}
	return tmpl
}

const packaged = `
archive "own" {
  mirror = "http://127.0.0.1:1/"
}
image "hello" {
  from     = archive.own
  packages = ["hello"]
  command  = ["/hello"]
}`

func service(greeting string) string {
	return fmt.Sprintf(`
image "plain" {
  command = ["/x"]
  file "/x" {
    content = "x"
    mode    = "0755"
  }
}
service "plain" {
  image       = image.plain
  environment = { GREETING = %q }
}`, greeting)
}

func quiet(imx.Progress) {}

func TestAnOlderIndexThanOneThatWasSeenIsRefusedEvenWithoutALock(t *testing.T) {
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	first, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.control.State().Suites; len(got) != 1 || got[0] != first.Lock.Suites[0] {
		t.Errorf("remembered %v, want %v", got, first.Lock.Suites)
	}
	w.debs.Date = w.debs.Date.Add(-time.Hour)
	w.debs.Publish()
	_, err = w.Plan(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, packaged)}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("an older index: %v", err)
	}
	if _, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl, Lock: &first.Lock}, quiet); err != nil {
		t.Errorf("with a lock nothing has to be asked: %v", err)
	}
}

func TestAPackageWithOtherBytesThanTheLockSaysNeverGetsIntoAnImage(t *testing.T) {
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	planned, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	w.debs.Change("pool/*/*/*/base_*.deb", func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	})
	before := w.control.State().Next
	_, err = w.Apply(t.Context(), "root", imx.PlanRequest{Template: tmpl, Lock: &planned.Lock}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "base_1.0") {
		t.Errorf("a changed package: %v", err)
	}
	s := w.control.State()
	if s.Apply != nil || s.Next != before+2 || len(s.Images) != 0 || len(w.tags) != 0 {
		t.Errorf("after the refusal: apply %v, %d more events, images %v, tags %v", s.Apply, s.Next-before, s.Images, w.tags)
	}
}

// The list is signed, and so is the digest: still a package is what its own control data says.
func TestAPackageThatSaysItIsAnotherNeverGetsIntoAnImage(t *testing.T) {
	w := newWorld(t)
	other := w.debs.Pin("own", "libhello")
	var list strings.Builder
	for _, name := range []string{"base\nEssential: yes", "hello"} {
		fmt.Fprintf(&list, "Package: %s\nVersion: 1.0\nArchitecture: amd64\nFilename: %s\nSize: %d\nSHA256: %s\n\n", name, other.Path, other.Size, other.Digest.Hex())
	}
	w.debs.PublishList(list.String())
	_, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, packaged)}, quiet)
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "it is the package libhello_1.0_amd64, not base_1.0_amd64") {
		t.Errorf("a package under another name: %v", err)
	}
	if len(w.control.State().Images) != 0 || len(w.tags) != 0 {
		t.Errorf("images %v, tags %v", w.control.State().Images, w.tags)
	}
}

func TestWhatTheEngineCantRunIsNeverReleased(t *testing.T) {
	w := newWorld(t)
	w.admit = func(r imx.Release) error {
		return imx.Errorf(imx.Conflict, "port 80 of %s is taken", r.Service)
	}
	_, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if imx.KindOf(err) != imx.Conflict || err.Error() != "port 80 of plain is taken" {
		t.Fatalf("not admitted: %v", err)
	}
	s := w.control.State()
	if len(s.Services) != 0 || s.Apply != nil {
		t.Errorf("services %v, open apply %v", s.Services, s.Apply)
	}
	if len(s.Images) != 1 || len(w.tags) != 1 {
		t.Errorf("what was built is lost: images %v, tags %v", s.Images, w.tags)
	}
}

func TestWhatWasShownIsWhatIsApplied(t *testing.T) {
	w := newWorld(t)
	w.rollOut(t)
	request := func(greeting string) imx.PlanRequest {
		req := imx.PlanRequest{Template: w.parse(t, service(greeting))}
		shown, err := w.Plan(t.Context(), "root", req, quiet)
		if err != nil {
			t.Fatal(err)
		}
		req.Expect = shown.Base
		return req
	}
	mine, other := request("mine"), request("other")
	if _, err := w.Apply(t.Context(), "root", other, quiet); err != nil {
		t.Fatal(err)
	}
	before := w.control.State().Next
	if _, err := w.Apply(t.Context(), "root", mine, quiet); imx.KindOf(err) != imx.Conflict || w.control.State().Next != before {
		t.Errorf("an apply of what was shown before another: %v, %d events", err, w.control.State().Next-before)
	}
	mine = request("mine")
	w.admit = func(imx.Release) error { // somebody scales while the images are built
		_, err := w.control.Scale("root", "plain", 5)
		return err
	}
	if _, err := w.Apply(t.Context(), "root", mine, quiet); imx.KindOf(err) != imx.Conflict || w.control.State().Apply != nil {
		t.Errorf("an apply of what was shown before a scaling: %v", err)
	}
	if got := w.control.State().Services["plain"].Target; got != 1 {
		t.Errorf("release %d is the target", got)
	}
}

func TestWhatTheBlobStoreHasIsNotWrittenAgain(t *testing.T) {
	w := newWorld(t)
	w.rollOut(t)
	tmpl := w.parse(t, service("hi"))
	file := w.blobs.Path(tmpl.Images[0].Files[0].Digest)
	look := func() os.FileInfo {
		if _, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if first, again := look(), look(); !os.SameFile(first, again) {
		t.Error("the second apply wrote the file anew")
	}
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	if look().Size() != 1 {
		t.Error("a damaged file stays damaged")
	}
}

// Applying once more what is still being rolled out changes nothing, but isn't done before it is there.
func TestApplyingWhatIsOnItsWayWaitsForIt(t *testing.T) {
	w := newWorld(t)
	r := w.apply(t, "sick")
	var loop sync.Once
	result, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("sick"))}, func(p imx.Progress) {
		if strings.HasPrefix(p.Step, "roll out") {
			loop.Do(func() { w.rollOut(t) })
		}
	})
	if err != nil || len(result.Releases) != 1 || result.Releases[0].Number != r.Number || result.Releases[0].State != imx.ReleaseFailed {
		t.Errorf("releases %+v, %v; want release %d, failed", result.Releases, err, r.Number)
	}
}

func TestAPortThatAnotherServiceHasIsToldByThePlan(t *testing.T) {
	w := newWorld(t)
	published := func(name string) imx.Template {
		return w.parse(t, strings.ReplaceAll(service("hi"), "plain", name))
	}
	first, second := published("plain"), published("other")
	for _, tmpl := range []*imx.Template{&first, &second} {
		tmpl.Services[0].Ports = []imx.Port{{Name: "p", Container: 80, Publish: 8080}}
		tmpl.Services[0].Health = imx.Health{Every: 1e9, Timeout: 1e9, Failures: 3, TCP: &imx.TCPCheck{Port: "p"}}
	}
	w.rollOut(t)
	if _, err := w.Apply(t.Context(), "root", imx.PlanRequest{Template: first}, quiet); err != nil {
		t.Fatal(err)
	}
	_, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: second}, quiet)
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "port 8080") {
		t.Errorf("a plan with a taken port: %v", err)
	}
}

// What the rules refuse isn't planned, and nothing is fetched for it; what they find else comes with the plan.
func TestFindingsComeWithThePlanUnlessTheyRefuseIt(t *testing.T) {
	w := newWorld(t)
	tmpl := w.parse(t, packaged)
	found := []imx.Finding{{Rule: "root-user", Level: imx.High, Message: "image.hello runs as root"}}
	w.check = func(imx.Template) ([]imx.Finding, error) { return found, nil }
	planned, err := w.Plan(t.Context(), "root", imx.PlanRequest{Template: tmpl}, quiet)
	if err != nil || len(planned.Findings) != 1 || len(w.checked) > 0 {
		t.Fatal(planned.Findings, w.checked, err)
	}
	if _, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet); err != nil || len(w.checked) != 1 || w.checked[0] != "root plain 1" {
		t.Fatal(w.checked, err)
	}
	refused := imx.Errorf(imx.Refused, "image.hello runs as root")
	w.check = func(imx.Template) ([]imx.Finding, error) { return found, refused }
	if _, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: tmpl}, func(p imx.Progress) { t.Errorf("it began: %+v", p) }); err != refused { //nolint:errorlint // the very error
		t.Error(err)
	}
}
