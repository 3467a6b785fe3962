package offer_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/offer"
)

// offered asks as root does, and returns what production makes of the answer.
func (w *world) offered(t *testing.T, service string) (imx.Offer, error) {
	t.Helper()
	bundle, told, err := w.Offer(t.Context(), offer.Query{Service: service, Asked: asked})
	if err != nil {
		return imx.Offer{}, err
	}
	o, err := offer.Verify(bundle, w.exported(), "staging", asked, noon())
	if diff := cmp.Diff(told, o); err != nil || diff != "" {
		t.Fatalf("%v, %s", err, diff)
	}
	return o, nil
}

func TestWhatRunsIsOffered(t *testing.T) {
	w := newWorld(t)
	o, err := w.offered(t, "web")
	if err != nil {
		t.Fatal(err)
	}
	r := w.state.Services["web"].Releases[0]
	if o.Environment != "staging" || o.Plan != w.plan.Digest() || o.Request != r.Request || o.Proof != r.Proof || o.At != noon() {
		t.Errorf("%+v", o)
	}
	if len(o.Services) != 2 || o.Services[0].Service != "db" || o.Services[1].Image != r.Image.Digest || o.Services[1].Since != w.state.Services["web"].Finished {
		t.Errorf("services %+v", o.Services)
	}
	if len(o.Images) != 2 || o.Images[0].Image != r.Image || o.Images[1].Image.Name != "team/db" {
		t.Errorf("images %+v", o.Images)
	}
	var types []string
	for _, e := range o.Images[0].Evidence {
		types = append(types, imx.PredicateNames()[e.PredicateType])
	}
	if diff := cmp.Diff([]string{"test", "provenance", "spdx"}, types); diff != "" {
		t.Error(diff)
	}
}

func TestThePlanIsBesideEachImageAndPushedOnce(t *testing.T) {
	w := newWorld(t)
	o, err := w.offered(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range o.Images {
		raw, media, err := w.registry.Manifest(t.Context(), im.Image.Name, string(im.Artifact))
		if err != nil || media != ocispec.MediaTypeImageManifest {
			t.Fatal(media, err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{"subject": string(m.Subject.Digest), "type": m.ArtifactType}
		for _, l := range m.Layers {
			got[l.MediaType] = string(l.Digest)
		}
		if diff := cmp.Diff(map[string]string{
			"subject": string(im.Image.Digest), "type": imx.ArtifactPlan, imx.MediaPlan: string(o.Plan), imx.MediaRequest: string(o.Request), imx.MediaInventory: string(im.Image.Inventory),
		}, got); diff != "" {
			t.Error(diff)
		}
	}
	before := len(w.pushed)
	if again, err := w.offered(t, "db"); err != nil || len(w.pushed) != before || again.Images[0].Artifact != o.Images[0].Artifact {
		t.Errorf("asked again, %d more manifests are pushed, err = %v", len(w.pushed)-before, err)
	}
}

// An apply that changes one service makes no release of the other: both run what the newer plan says all the same.
func TestAReleaseOfAnOlderPlanWithTheSameContentIsFine(t *testing.T) {
	w := newWorld(t)
	db := w.state.Services["db"]
	newer := w.plan
	newer.Services = slices.Clone(newer.Services)
	newer.Services[0].Command = []string{"/web", "--new"}
	w.release(t, newer)
	w.state.Services["db"] = db
	for _, service := range []string{"", "web", "db"} {
		o, err := w.offered(t, service)
		if err != nil || o.Plan != newer.Digest() || o.Services[0].Release != 1 || o.Services[1].Release != 2 {
			t.Errorf("%q: %+v, %v", service, o, err)
		}
	}
}

// spoil is one way in which what runs can't be offered.
type spoil struct {
	do   func(w *world)
	says string
}

func service(name string, change func(v *imx.Service)) func(w *world) {
	return func(w *world) {
		v := w.state.Services[name]
		v.Releases = slices.Clone(v.Releases)
		change(&v)
		w.state.Services[name] = v
	}
}

func spoils() map[string]spoil {
	return map[string]spoil{
		"a rollout":   {service("db", func(v *imx.Service) { v.Target = 2 }), "service db can't be taken over: its release 2 is being rolled out"},
		"a rollback":  {service("db", func(v *imx.Service) { v.Target = 3; v.Current = 1 }), "its release 3 is being rolled out"},
		"no traffic":  {service("db", func(v *imx.Service) { v.Current, v.Target = 0, 0 }), "service db can't be taken over: no release of it was good yet"},
		"not good":    {service("db", func(v *imx.Service) { v.Releases[0].State = imx.ReleaseFailed }), "its release 1 is failed"},
		"not tried":   {service("db", func(v *imx.Service) { v.Releases[0].Reason = "none was wanted" }), "wasn't tried: none was wanted"},
		"no request":  {service("db", func(v *imx.Service) { v.Releases[0].Request = "" }), "was made before servers kept what releases are made of"},
		"no moment":   {service("db", func(v *imx.Service) { v.Finished = time.Time{} }), "it isn't known since when"},
		"more wanted": {service("db", func(v *imx.Service) { v.Replicas = 2 }), "1 of 2 instances are healthy"},
		"none wanted": {func(w *world) {
			service("db", func(v *imx.Service) { v.Replicas = 0 })(w)
			delete(w.state.Instances, "db-1-0")
		}, "service db can't be taken over: none of its instances is wanted"},
		"an unhealthy one": {func(w *world) {
			w.state.Instances["web-1-1"] = imx.Instance{Service: "web", Release: 1, Phase: imx.Unhealthy}
		}, "service web can't be taken over: 1 of 2 instances are healthy"},
		"a destroyed one": {service("db", func(v *imx.Service) { v.Destroyed, v.Current = true, 0 }), "service db can't be taken over: it was destroyed"},
		"another command": {service("db", func(v *imx.Service) { v.Releases[0].Spec.Command = []string{"x"} }), "runs something else than the plan"},
		"another image":   {service("db", func(v *imx.Service) { v.Releases[0].Image.Plan = imx.DigestBytes(nil) }), "runs something else than the plan"},
		"another setting": {service("db", func(v *imx.Service) { v.Releases[0].Config.User = "x" }), "runs something else than the plan"},
		"another instance": {func(w *world) {
			w.state.Instances["db-1-0"] = imx.Instance{Service: "db", Release: 7, Phase: imx.Healthy}
		}, "0 of 1 instances are healthy"},
	}
}

func TestWhatDoesNotRunWhollyIsNotOfferedAndTheServiceIsNamed(t *testing.T) {
	for what, c := range spoils() {
		w := newWorld(t)
		c.do(w)
		for _, name := range []string{"", "web"} {
			if what == "no request" && name == "web" {
				continue // web's own release names what the plan was made of
			}
			_, err := w.offered(t, name)
			if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), c.says) || imx.AsError(err).Hint == "" {
				t.Errorf("%s, asked for %q: err = %v", what, name, err)
			}
		}
		if len(w.pushed) != 2 {
			t.Errorf("%s: %d manifests beside the images are pushed", what, len(w.pushed)-2)
		}
	}
}

func TestOtherNumbersOfInstancesAreNoOtherPlan(t *testing.T) {
	w := newWorld(t)
	service("web", func(v *imx.Service) { v.Replicas, v.Releases[0].Spec.Replicas = 1, 7 })(w)
	if _, err := w.offered(t, "web"); err != nil {
		t.Error(err)
	}
}

func TestSeveralPlansAreNamedByTheirServices(t *testing.T) {
	w := newWorld(t)
	w.release(t, imx.Plan{Images: w.plan.Images[:1], Services: []imx.Spec{{Name: "mail", Image: "web", Replicas: 1}}})
	if _, err := w.offered(t, ""); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "several plans: services db, mail, web") {
		t.Errorf("err = %v", err)
	}
	if o, err := w.offered(t, "mail"); err != nil || len(o.Services) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := w.offered(t, "none"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("a service that isn't there: err = %v", err)
	}
	w.state.Services = map[string]imx.Service{}
	if _, err := w.offered(t, ""); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "nothing runs here") {
		t.Errorf("where nothing runs: err = %v", err)
	}
}

func TestWhatDoesNotCountHereIsNotOfferedAlong(t *testing.T) {
	w := newWorld(t)
	for id, k := range w.state.Keys {
		switch k.Role {
		case imx.RoleTester:
			k.Compromised = true
		case imx.RoleBuilder:
			k.Environment = "dev" // what staging itself took over counts on
		case imx.RoleScanner, imx.RoleReleaser, imx.RoleReviewer, imx.RoleAuthor:
		}
		w.state.Keys[id] = k
	}
	bundle, o, err := w.Offer(t.Context(), offer.Query{Asked: asked})
	if err != nil || len(bundle) == 0 || len(o.Images[0].Evidence) != 2 || o.Images[0].Evidence[0].PredicateType != imx.PredicateProvenance {
		t.Errorf("%+v, %v", o.Images[0].Evidence, err)
	}
}

func TestWhoMayNotPullAllImagesLearnsNothing(t *testing.T) {
	w := newWorld(t)
	w.release(t, imx.Plan{Images: w.plan.Images[:1], Services: []imx.Spec{{Name: "mail", Image: "web", Replicas: 1}}})
	may := func(repository string) bool { return repository == "web" }
	var said []string
	for _, name := range []string{"web", "db", "none"} {
		_, _, err := w.Offer(t.Context(), offer.Query{Service: name, Asked: asked, May: may})
		if imx.KindOf(err) != imx.Refused {
			t.Errorf("%s: err = %v", name, err)
			continue
		}
		said = append(said, strings.ReplaceAll(err.Error(), "service "+name, "service X"))
	}
	if len(slices.Compact(said)) != 1 {
		t.Errorf("what is there can be told from what isn't: %q", said)
	}
	if _, o, err := w.Offer(t.Context(), offer.Query{Asked: asked, May: may}); err != nil || o.Services[0].Service != "mail" {
		t.Errorf("what they may have: %+v, %v", o, err)
	}
	all := func(string) bool { return true }
	if _, _, err := w.Offer(t.Context(), offer.Query{Service: "none", Asked: asked, May: all}); imx.KindOf(err) != imx.NotFound {
		t.Errorf("from whom nothing is kept, asked for what isn't there: err = %v", err)
	}
	if w.May(func(string) bool { return false }) || !w.May(may) || !w.May(nil) {
		t.Error("who may have something, and who may not, isn't told apart")
	}
}

// Whatever the state, what is chosen runs: the conditions are written down once more, another way.
func TestWhatIsChosenRuns(t *testing.T) {
	whole := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		w := &world{plan: whole.plan, state: &imx.State{Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}, Images: whole.state.Images}}
		maps.Copy(w.state.Services, whole.state.Services)
		maps.Copy(w.state.Instances, whole.state.Instances)
		names := slices.Sorted(maps.Keys(spoils()))
		done := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(t, "spoils")
		for _, name := range done {
			spoils()[name].do(w)
		}
		made := []offer.Made{{Plan: w.plan, Digest: w.plan.Digest(), At: noon()}}
		o, err := offer.Choose(w.state, made, rapid.SampledFrom([]string{"", "web"}).Draw(t, "service"), []string{"db", "web"})
		if err != nil {
			if len(done) == 0 {
				t.Fatal(err)
			}
			return
		}
		for _, v := range o.Services {
			now := w.state.Services[v.Service]
			r, ok := now.Release(v.Release)
			spec := w.plan.Services[slices.IndexFunc(w.plan.Services, func(s imx.Spec) bool { return s.Name == v.Service })]
			healthy := 0
			for _, in := range w.state.Instances {
				if in.Phase == imx.Healthy && in.Service == v.Service && in.Release == v.Release {
					healthy++
				}
			}
			if !ok || now.Destroyed || now.Current != v.Release || now.Target != v.Release || healthy == 0 || healthy < now.Replicas || r.State != imx.ReleaseGood ||
				r.Image.Digest != v.Image || !slices.Equal(r.Spec.Command, spec.Command) || r.Reason != "" || v.Since.IsZero() {
				t.Fatalf("after %v %s is offered: %+v", done, v.Service, now)
			}
		}
	})
}
