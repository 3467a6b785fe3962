package api_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"imx"
	"imx/internal/client"
)

func reviews(ctx context.Context, t *testing.T, c *client.Client, by imx.Principal) {
	t.Helper()
	same(t, "candidates", ok(c.Candidates(ctx))(t)[0].ID, "c1")
	same(t, "candidate", ok(c.Candidate(ctx, "c1"))(t).Conflict, "what runs has changed")
	if _, err := c.Candidate(ctx, "c/2"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("a candidate that isn't there: %v", err)
	}
	answer := ok(c.Review(ctx, "c1", imx.ReviewRequest{Bundle: []byte("signed")}))(t).Reviews[0]
	same(t, "review", answer, imx.Review{By: by, Approves: true, Bundle: imx.DigestBytes([]byte("signed"))})
	same(t, "release", ok(c.Release(ctx, "c1", quiet))(t).Releases[0].By, by)
	same(t, "no sources", ok(c.Sources(ctx))(t), []imx.SourceView{})
	req := imx.SourceRequest{Source: imx.GitSource{Name: "shop", URL: "/srv/shop.git"}, Secret: "s"}
	added := ok(c.AddSource(ctx, req))(t)
	same(t, "source", added.Hook, imx.DigestBytes([]byte("s")))
	same(t, "sources", ok(c.Sources(ctx))(t), []imx.SourceView{added})
	same(t, "one source", ok(c.Source(ctx, "shop"))(t), added)
	same(t, "refreshed", ok(c.RefreshSource(ctx, "shop", quiet))(t).Fault, "looked at by "+string(by))
	if err := c.RemoveSource(ctx, "shop"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveSource(ctx, "shop"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("a source that isn't there: %v", err)
	}
}

func (m *memory) Release(_ context.Context, by imx.Principal, id string, report imx.Report) (imx.ApplyResult, error) {
	report(imx.Progress{Step: "roll out web", Status: imx.StepDone})
	return imx.ApplyResult{Apply: id, Releases: []imx.Release{{Service: "web", By: by, State: imx.ReleaseGood}}}, nil
}

func (m *memory) Candidates(context.Context) ([]imx.Candidate, error) {
	return []imx.Candidate{{ID: "c1", State: imx.CandidateOpen, Services: []string{"web"}}}, nil
}

func (m *memory) Candidate(ctx context.Context, id string) (imx.CandidateView, error) {
	list, err := m.Candidates(ctx)
	if err == nil && id != list[0].ID {
		err = imx.Errorf(imx.NotFound, "there is no candidate %q", id)
	}
	return imx.CandidateView{Candidate: list[0], Conflict: "what runs has changed"}, err
}

func (m *memory) Review(ctx context.Context, by imx.Principal, id string, req imx.ReviewRequest) (imx.Candidate, error) {
	v, err := m.Candidate(ctx, id)
	v.Reviews = []imx.Review{{By: by, Approves: true, Bundle: imx.DigestBytes(req.Bundle)}}
	return v.Candidate, err
}

// followed are the repositories that a memory follows.
type followed struct{ *memory }

func (f followed) Sources(context.Context) ([]imx.SourceView, error) {
	list := []imx.SourceView{}
	for _, name := range slices.Sorted(maps.Keys(f.state.Sources)) {
		list = append(list, imx.SourceView{GitSource: f.state.Sources[name]})
	}
	return list, nil
}

func (f followed) Source(_ context.Context, name string) (imx.SourceView, error) {
	src, ok := f.state.Sources[name]
	if !ok {
		return imx.SourceView{}, imx.Errorf(imx.NotFound, "there is no source %q", name)
	}
	return imx.SourceView{GitSource: src}, nil
}

func (f followed) Add(ctx context.Context, _ imx.Principal, req imx.SourceRequest) (imx.SourceView, error) {
	if req.Secret != "" {
		req.Source.Hook = imx.DigestBytes([]byte(req.Secret))
	}
	f.state.Sources = map[string]imx.GitSource{req.Source.Name: req.Source}
	return f.Source(ctx, req.Source.Name)
}

func (f followed) Remove(ctx context.Context, _ imx.Principal, name string) error {
	_, err := f.Source(ctx, name)
	delete(f.state.Sources, name)
	return err
}

func (f followed) Refresh(ctx context.Context, by imx.Principal, name string, report imx.Report) (imx.SourceView, error) {
	report(imx.Progress{Step: "fetch " + name, Status: imx.StepDone})
	v, err := f.Source(ctx, name)
	v.Fault = "looked at by " + string(by)
	return v, err
}
