package pipeline_test

// What is collected is for package gc to decide. Here it is about when: never while somebody counts on
// what there is, and never so long that a build would notice.

import (
	"context"
	"strings"
	"testing"
	"time"

	"imx"
)

func grace(d time.Duration) *imx.Duration {
	g := imx.Duration(d)
	return &g
}

func TestACollectionWaitsForBuildsAndKeepsNobodyOut(t *testing.T) {
	w := newWorld(t)
	leave, err := w.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waits, done := make(chan struct{}), make(chan error, 1)
	go func() {
		told := false
		_, err := w.Collect(t.Context(), "root", imx.CollectRequest{Grace: grace(0)}, func(p imx.Progress) {
			if !told && p.Message == "waiting for 1 build to end" {
				told = true
				close(waits)
			}
		})
		done <- err
	}()
	<-waits
	second, err := w.Enter(t.Context()) // another build comes while the collection waits
	if err != nil {
		t.Fatal(err)
	}
	leave()
	select {
	case err := <-done:
		t.Fatal("it didn't wait for the second build:", err)
	default:
	}
	second()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestACollectionThatNobodyWaitsForAnyMoreEnds(t *testing.T) {
	w := newWorld(t)
	leave, err := w.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Collect(ctx, "root", imx.CollectRequest{Grace: grace(0)}, quiet); imx.KindOf(err) != imx.Unavailable {
		t.Error(err)
	}
}

func TestAnImageWhosePlaceANewerOneTookIsCollectedAfterItsGrace(t *testing.T) {
	w := newWorld(t)
	var images []imx.Image
	for _, text := range []string{service("hi"), strings.Replace(service("hi"), "0755", "0555", 1)} {
		built, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, text)}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, built.Images...)
	}
	if done, err := w.Collect(t.Context(), "root", imx.CollectRequest{}, quiet); err != nil || done.Things != 0 {
		t.Errorf("on their first day %+v went, %v", done, err)
	}
	for _, req := range []imx.CollectRequest{{DryRun: true, Grace: grace(0)}, {Grace: grace(0)}} {
		done, err := w.Collect(t.Context(), "root", req, quiet)
		if err != nil || done.Things == 0 || done.Size == 0 || done.DryRun != req.DryRun {
			t.Errorf("%+v, %v", done, err)
		}
		if w.blobs.Has(images[0].Digest) != bool(req.DryRun) || !w.blobs.Has(images[1].Digest) {
			t.Errorf("dry %t: the first image is there: %t, the second: %t", req.DryRun, w.blobs.Has(images[0].Digest), w.blobs.Has(images[1].Digest))
		}
	}
	again, err := w.Build(t.Context(), "root", imx.PlanRequest{Template: w.parse(t, service("hi"))}, quiet)
	if err != nil || again.Images[0] != images[0] {
		t.Errorf("built again it is %+v, %v", again.Images, err)
	}
}
