package api_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"imx"
	"imx/internal/client"
)

func trusts(ctx context.Context, t *testing.T, c *client.Client, by imx.Principal) {
	t.Helper()
	same(t, "keys", ok(c.Keys(ctx))(t), []imx.Key{{ID: "k", Owner: imx.Server, Role: imx.RoleBuilder}})
	same(t, "rotated", ok(c.RotateKey(ctx, imx.RoleTester))(t), imx.Key{ID: "new", Owner: by, Role: imx.RoleTester})
	end := imx.KeyEndRequest{Key: "SHA256:a/b+c", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Compromised: true, Reason: "stolen"}
	same(t, "ended", ok(c.EndKey(ctx, end))(t), imx.Key{ID: end.Key, Owner: by, Until: end.At, Compromised: true, Reason: end.Reason})
	req := imx.PersonRequest{Name: "ada", Emails: []string{"ada@example.org"}, Roles: []imx.Role{imx.RoleReviewer}, Keys: []string{"line"}}
	known := imx.KnownPerson{Person: imx.Person{Name: "ada", Emails: req.Emails, Roles: req.Roles}, Keys: []imx.Key{{ID: "k", Public: "line", Owner: by}}}
	same(t, "person", ok(c.SetPerson(ctx, req))(t), known)
	same(t, "people", ok(c.People(ctx))(t), []imx.KnownPerson{{Person: imx.Person{Name: "ada"}, Keys: []imx.Key{}}})
	if err := c.RemovePerson(ctx, "ada/b", "a reason & more"); err != nil {
		t.Error(err)
	}
	if err := c.RemovePerson(ctx, "ben", ""); imx.KindOf(err) != imx.NotFound {
		t.Errorf("who isn't known: err = %v", err)
	}
}

// upstreams asks for all that there is to ask of other servers.
func upstreams(ctx context.Context, t *testing.T, c *client.Client, by imx.Principal) {
	t.Helper()
	export := ok(c.ExportKeys(ctx))(t)
	same(t, "export", export, imx.KeyExport{Environment: "staging", Keys: []imx.Key{{ID: "k", Environment: "staging"}}})
	req := imx.UpstreamRequest{Environment: "dev", Address: "http://127.0.0.1:5051", TokenFile: "/token", Keys: &export}
	want := imx.Upstream{Environment: "dev", Address: req.Address, TokenFile: req.TokenFile, By: by, Keys: []string{"k"}}
	same(t, "upstream", ok(c.SetUpstream(ctx, req))(t), want)
	same(t, "upstreams", ok(c.Upstreams(ctx))(t), []imx.Upstream{{Environment: "dev", Keys: []string{}}})
	same(t, "offer", string(ok(c.Offer(ctx, "web", "nonce & more"))(t)), `{"service":"web","asked":"nonce \u0026 more"}`)
	if err := c.RemoveUpstream(ctx, "a/b", "a reason & more"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveUpstream(ctx, "dev", ""); imx.KindOf(err) != imx.NotFound {
		t.Errorf("one that isn't known: err = %v", err)
	}
}

func (m *memory) Offer(_ context.Context, service, asked string) (json.RawMessage, error) {
	return json.Marshal(struct {
		Service string `json:"service"`
		Asked   string `json:"asked"`
	}{service, asked})
}

func (m *memory) Export(context.Context) (imx.KeyExport, error) {
	return imx.KeyExport{Environment: "staging", Keys: []imx.Key{{ID: "k", Environment: "staging"}}}, nil
}

func (m *memory) Upstreams(context.Context) ([]imx.Upstream, error) {
	return []imx.Upstream{{Environment: "dev", Keys: []string{}}}, nil
}

func (m *memory) SetUpstream(_ context.Context, by imx.Principal, req imx.UpstreamRequest) (imx.Upstream, error) {
	return imx.Upstream{Environment: req.Environment, Address: req.Address, TokenFile: req.TokenFile, By: by, Keys: []string{req.Keys.Keys[0].ID}}, nil
}

func (m *memory) RemoveUpstream(_ context.Context, _ imx.Principal, environment, reason string) error {
	if environment != "a/b" || reason != "a reason & more" {
		return imx.Errorf(imx.NotFound, "there is no upstream %q", environment)
	}
	return nil
}

func (m *memory) Keys(context.Context) ([]imx.Key, error) {
	return []imx.Key{{ID: "k", Owner: imx.Server, Role: imx.RoleBuilder}}, nil
}

func (m *memory) Rotate(_ context.Context, by imx.Principal, req imx.RotateRequest) (imx.Key, error) {
	return imx.Key{ID: "new", Owner: by, Role: req.Role}, nil
}

func (m *memory) EndKey(_ context.Context, by imx.Principal, req imx.KeyEndRequest) (imx.Key, error) {
	return imx.Key{ID: req.Key, Owner: by, Until: req.At, Compromised: req.Compromised, Reason: req.Reason}, nil
}

func (m *memory) People(context.Context) ([]imx.KnownPerson, error) {
	return []imx.KnownPerson{{Person: imx.Person{Name: "ada"}, Keys: []imx.Key{}}}, nil
}

func (m *memory) SetPerson(_ context.Context, by imx.Principal, req imx.PersonRequest) (imx.KnownPerson, error) {
	p := imx.Person{Name: req.Name, Emails: req.Emails, Roles: req.Roles}
	return imx.KnownPerson{Person: p, Keys: []imx.Key{{ID: "k", Public: req.Keys[0], Owner: by}}}, nil
}

func (m *memory) RemovePerson(_ context.Context, _, name imx.Principal, reason string) error {
	if name != "ada/b" || reason != "a reason & more" {
		return imx.Errorf(imx.NotFound, "there is no person %q", name)
	}
	return nil
}
