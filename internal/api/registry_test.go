package api_test

import (
	"context"
	"testing"
	"time"

	"imx"
	"imx/internal/client"
)

// registers asks for all that there is to ask of the registry.
func registers(ctx context.Context, t *testing.T, c *client.Client, by imx.Principal) {
	t.Helper()
	made := ok(c.MakeToken(ctx, imx.TokenRequest{Owner: "ci", Rights: []imx.RegistryRight{imx.Pull}, Repositories: []string{"team/*"}, Lasts: imx.Duration(time.Hour)}))(t)
	same(t, "secret", made.Secret, "once")
	same(t, "tokens", ok(c.Tokens(ctx))(t), []imx.RegistryToken{made.RegistryToken})
	same(t, "revoked", ok(c.RevokeToken(ctx, made.ID))(t), made.RegistryToken)
	if _, err := c.RevokeToken(ctx, "none"); imx.KindOf(err) != imx.NotFound {
		t.Error(err)
	}
	quota := imx.RegistryQuota{Repositories: "team/*", Bytes: 1 << 30}
	same(t, "quota", ok(c.SetQuota(ctx, quota))(t), []imx.RegistryUse{{RegistryQuota: quota}})
	same(t, "quotas", ok(c.Quotas(ctx))(t), []imx.RegistryUse{{RegistryQuota: quota}})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	same(t, "pulls", ok(c.Pulls(ctx, at))(t), []imx.RegistryPull{{Time: at, By: "ci", Repository: "app"}})
	same(t, "all pulls", ok(c.Pulls(ctx, time.Time{}))(t), []imx.RegistryPull{{By: "ci", Repository: "app"}})
	m := imx.RegistryMirror{Name: "backup", Direction: imx.MirrorTo, URL: "https://registry.example.org", Repository: "*"}
	same(t, "mirror", ok(c.SetMirror(ctx, m))(t), []imx.MirrorStatus{{RegistryMirror: m}})
	same(t, "mirrors", ok(c.Mirrors(ctx))(t), []imx.MirrorStatus{{RegistryMirror: m}})
	if err := c.RemoveMirror(ctx, "a name/with a slash"); imx.KindOf(err) != imx.NotFound || err.Error() != `there is no mirror "a name/with a slash"` {
		t.Error(err)
	}
	var said string
	found := ok(c.CheckRegistry(ctx, imx.RegistryCheckRequest{RepairFrom: "log"}, func(p imx.Progress) { said = p.Message }))(t)
	if said != "for "+string(by) || found.Blobs != 1 || len(found.Left()) != 0 {
		t.Errorf("%q, %+v", said, found)
	}
}

// rules are the registry's, in memory.
type rules struct {
	tokens  []imx.RegistryToken
	quotas  []imx.RegistryUse
	mirrors []imx.MirrorStatus
}

func (r *rules) Tokens() []imx.RegistryToken { return r.tokens }

func (r *rules) MakeToken(_ imx.Principal, req imx.TokenRequest) (imx.NewToken, error) {
	t := imx.RegistryToken{ID: "t1", Owner: req.Owner, Rights: req.Rights, Repositories: req.Repositories}
	r.tokens = append(r.tokens, t)
	return imx.NewToken{RegistryToken: t, Secret: "once"}, nil
}

func (r *rules) RevokeToken(_ imx.Principal, id string) (imx.RegistryToken, error) {
	for _, t := range r.tokens {
		if t.ID == id {
			return t, nil
		}
	}
	return imx.RegistryToken{}, imx.Errorf(imx.NotFound, "there is no token %q", id)
}

func (r *rules) Quotas() ([]imx.RegistryUse, error) { return r.quotas, nil }

func (r *rules) SetQuota(_ imx.Principal, q imx.RegistryQuota) error {
	r.quotas = append(r.quotas, imx.RegistryUse{RegistryQuota: q})
	return nil
}

func (r *rules) Pulls(since time.Time) ([]imx.RegistryPull, error) {
	return []imx.RegistryPull{{Time: since, By: "ci", Repository: "app"}}, nil
}

func (r *rules) Mirrors() []imx.MirrorStatus { return r.mirrors }

func (r *rules) SetMirror(_ imx.Principal, m imx.RegistryMirror) error {
	r.mirrors = append(r.mirrors, imx.MirrorStatus{RegistryMirror: m})
	return nil
}

func (r *rules) RemoveMirror(_ imx.Principal, name string) error {
	return imx.Errorf(imx.NotFound, "there is no mirror %q", name)
}

func (r *rules) CheckRegistry(_ context.Context, by imx.Principal, req imx.RegistryCheckRequest, report imx.Report) (imx.RegistryCheck, error) {
	report(imx.Progress{Step: "read every byte", Status: imx.StepDone, Message: "for " + string(by)})
	return imx.RegistryCheck{Blobs: 1, Faults: []imx.RegistryFault{{Kind: imx.FaultBlob, Thing: "x", What: "is gone", Repaired: req.RepairFrom}}}, nil
}
