package api_test

import (
	"context"
	"testing"

	"imx"
	"imx/internal/client"
)

func rollouts(ctx context.Context, t *testing.T, c *client.Client, by imx.Principal) {
	t.Helper()
	same(t, "history", ok(c.History(ctx, "web"))(t)[0].Body, imx.Body(imx.RolloutStepped{Service: "web", Share: 10}))
	if _, err := c.History(ctx, "wev"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("the history of a service that isn't there: %v", err)
	}
	same(t, "rollout", ok(c.Rollout(ctx, "web"))(t), imx.RolloutView{
		Service: "web", Current: 1, Target: 2, Counted: map[int]imx.Counted{2: {Requests: 940, Errors: 40}}, Outcome: "worse",
	})
	same(t, "promoted", ok(c.Promote(ctx, "web", imx.PromoteRequest{Whole: true, Reason: "it is fine"}))(t).Rollout,
		imx.Rollout{Confirm: true, Whole: true, Reason: "it is fine"})
	same(t, "paused", ok(c.Pause(ctx, "web", ""))(t).Rollout, imx.Rollout{Paused: by})
	same(t, "aborted", ok(c.Abort(ctx, "web", "too slow"))(t).Rollout, imx.Rollout{Reason: "too slow"})
	same(t, "let go", ok(c.ReleaseHold(ctx, "web", "it is mended"))(t).Name, "web: it is mended")
	for what, do := range map[string]func(context.Context, string, string) (imx.Service, error){"abort": c.Abort, "release of a hold": c.ReleaseHold} {
		if _, err := do(ctx, "web", " "); imx.KindOf(err) != imx.Invalid {
			t.Errorf("the %s without a reason: %v", what, err)
		}
	}
}

func (m *memory) History(_ context.Context, service string) ([]imx.Event, error) {
	if service != "web" {
		return nil, imx.Errorf(imx.NotFound, "there is no service %q", service)
	}
	return []imx.Event{{Body: imx.RolloutStepped{Service: service, Share: 10}}}, nil
}

func (m *memory) Rollout(_ context.Context, service string) (imx.RolloutView, error) {
	return imx.RolloutView{
		Service: service, Current: 1, Target: 2, Counted: map[int]imx.Counted{2: {Requests: 940, Errors: 40}}, Outcome: "worse",
	}, nil
}

func (m *memory) PromoteRollout(_ imx.Principal, name string, req imx.PromoteRequest) (imx.Service, error) {
	return imx.Service{Name: name, Rollout: imx.Rollout{Confirm: true, Whole: req.Whole, Reason: req.Reason}}, nil
}

func (m *memory) PauseRollout(by imx.Principal, name, _ string) (imx.Service, error) {
	return imx.Service{Name: name, Rollout: imx.Rollout{Paused: by}}, nil
}

func (m *memory) AbortRollout(_ imx.Principal, name, reason string) (imx.Service, error) {
	return imx.Service{Name: name, Rollout: imx.Rollout{Reason: reason}}, nil
}

func (m *memory) ReleaseHold(_ imx.Principal, name, reason string) (imx.Service, error) {
	return imx.Service{Name: name + ": " + reason}, nil
}
