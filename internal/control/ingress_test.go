package control_test

import (
	"testing"

	"imx"
	"imx/internal/control"
)

// behind applies a service with a route of an ingress that comes with it.
func (w *world) behind(t *testing.T, name, image string) []imx.Release {
	t.Helper()
	id, err := w.Begin("root", "", imx.Source{})
	if err != nil {
		t.Fatal(err)
	}
	rs, err := w.Promote("root", control.Promotion{
		Apply: id, Candidates: []control.Candidate{candidate(name, image, routed)}, Ingresses: []imx.Ingress{{Name: "public", HTTP: 80}},
		Judged: func(*imx.State, []imx.Release) ([]imx.Body, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func routed(s *imx.Spec) {
	s.Ports = []imx.Port{{Name: "p", Container: 80}}
	s.Routes = []imx.Route{{Host: "shop.example", Ingress: "public", Port: "p"}}
}

func TestAnIngressThatIsGoneKeepsNobodyFromGoingBack(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.behind(t, "web", "1")...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	if err := w.RemoveIngress("root", "public"); err != nil {
		t.Fatal(err)
	}
	_, err := w.Draft("root", control.Promotion{Candidates: []control.Candidate{candidate("web", "3", routed)}})
	wantError(t, err, imx.Conflict, "route shop.example/ of ingress public, which isn't there")
	w.rollback(t, "web", 1)
	w.good(t, w.apply(t, candidate("api", "1"))...) // nor does what web has a route of keep others from coming
}

func TestARouteThatAnotherServiceHasByNowKeepsOneFromGoingBack(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.behind(t, "web", "1")...)
	w.good(t, w.apply(t, candidate("web", "2"))...)
	w.good(t, w.behind(t, "shop", "1")...)
	_, err := w.Rollback("root", "web", 1)
	wantError(t, err, imx.Conflict, "services", "shop.example/")
}
