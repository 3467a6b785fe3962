package control_test

import (
	"testing"

	"imx"
)

func TestATaintIsKeptUntilItIsTakenBackOrItsInstanceEnds(t *testing.T) {
	w := open(t, t.TempDir())
	w.good(t, w.apply(t, candidate("web", "1"))...)
	in := imx.Instance{ID: "web-1-a", Service: "web", Release: 1, Phase: imx.Healthy}
	tell := func(body imx.Body) {
		t.Helper()
		if err := w.Record(imx.Server, body); err != nil {
			t.Fatal(err)
		}
	}
	tell(imx.InstanceStarted{Instance: in})

	_, err := w.Taint("ada", in.ID, "  ")
	wantError(t, err, imx.Invalid, "needs a reason")
	_, err = w.Taint("ada", "web-1-b", "why not")
	wantError(t, err, imx.NotFound, "no instance")
	_, err = w.Untaint("ada", in.ID, "")
	wantError(t, err, imx.Conflict, "isn't tainted")
	for _, reason := range []string{"somebody looked into it", "another reason"} { // one that is tainted stays so
		if _, err := w.Taint("ada", in.ID, reason); err != nil {
			t.Fatal(err)
		}
	}
	in.Phase = imx.Unhealthy
	tell(imx.InstanceChanged{Instance: in}) // as an engine sees it, which knows of no taint
	if got := w.State().Instances[in.ID].Taint; got == nil || got.By != "ada" || got.Reason != "somebody looked into it" {
		t.Errorf("its taint is %+v", got)
	}
	if _, err := w.Untaint("bob", in.ID, "it was the wrong one"); err != nil {
		t.Fatal(err)
	}
	if got := w.State().Instances[in.ID].Taint; got != nil {
		t.Errorf("its taint was taken back and is %+v", got)
	}
	if _, err := w.Taint("ada", in.ID, "again"); err != nil {
		t.Fatal(err)
	}
	in.Phase = imx.Stopping
	tell(imx.InstanceChanged{Instance: in})
	_, err = w.Untaint("ada", in.ID, "")
	wantError(t, err, imx.Conflict, "stopping already")
	_, err = w.Taint("ada", in.ID, "again")
	wantError(t, err, imx.Conflict, "stopping already")
}
