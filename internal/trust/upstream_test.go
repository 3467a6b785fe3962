package trust_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"imx"
)

// newServer is a world with an environment.
func newServer(t *testing.T, environment string) *world {
	t.Helper()
	w := newWorld(t)
	if err := w.control.Record(imx.Server, imx.EnvironmentSet{Environment: environment}); err != nil {
		t.Fatal(err)
	}
	return w
}

// export is what goes from one server to another: through JSON.
func (w *world) export(t *testing.T) imx.KeyExport {
	t.Helper()
	x, err := w.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var read imx.KeyExport
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// knows makes an upstream of another world known with what it exports now.
func (w *world) knows(t *testing.T, x imx.KeyExport) error {
	t.Helper()
	_, err := w.SetUpstream(t.Context(), "root", imx.UpstreamRequest{Environment: x.Environment, Address: "http://127.0.0.1:5051/", Keys: &x})
	return err
}

func (w *world) of(role imx.Role) imx.Key {
	for _, k := range w.Known() {
		if k.Own() && k.Role == role && k.Until.IsZero() {
			return k
		}
	}
	return imx.Key{}
}

func TestWhatAnUpstreamsKeysSignedCountsAndTheyNeverSignHere(t *testing.T) {
	staging, production := newServer(t, "staging"), newServer(t, "production")
	built, bundle := staging.states(t, imx.PredicateProvenance)
	verdict, verdictBundle := staging.states(t, imx.PredicateVerdict)
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	built.Made = production.control.State().Time
	if err := production.counts(built, bundle); err != nil {
		t.Error(err)
	}
	verdict.Made = built.Made
	if err := production.counts(verdict, verdictBundle); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "key of the environment staging") {
		t.Errorf("its verdict: err = %v", err)
	}
	own := production.of(imx.RoleBuilder)
	if e, _ := production.states(t, imx.PredicateProvenance); e.Signer != own.ID {
		t.Errorf("%s signed, and not %s", e.Signer, own.ID)
	}
	if err := production.start(); err != nil || production.of(imx.RoleBuilder) != own {
		t.Errorf("after another start: %v", err)
	}
	if k, err := imx.FindKey(production.Known(), "builder"); err != nil || k.ID != own.ID {
		t.Errorf("the builder's key is %+v, err = %v", k, err)
	}
	list, err := production.Keys(t.Context())
	if err != nil || len(list) != 7 || slices.ContainsFunc(list[:4], func(k imx.Key) bool { return !k.Own() }) || list[6].Environment != "staging" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAnEndThereIsAnEndHereOnceTheKeysComeAgain(t *testing.T) {
	staging, production := newServer(t, "staging"), newServer(t, "production")
	old := staging.of(imx.RoleBuilder)
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	before := production.control.State().Next
	if err := production.knows(t, staging.export(t)); err != nil || production.control.State().Next != before {
		t.Errorf("the same again: %v, %d more events", err, production.control.State().Next-before)
	}
	if _, err := staging.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleBuilder}); err != nil {
		t.Fatal(err)
	}
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	if k := production.Known()[old.ID]; k.Until.IsZero() || k.Compromised || !k.Until.Equal(staging.Known()[old.ID].Until) {
		t.Errorf("after a rotation: %+v", k)
	}
	if k := production.Known()[staging.of(imx.RoleBuilder).ID]; k.Environment != "staging" || !k.Until.IsZero() {
		t.Errorf("the new one: %+v", k)
	}
	if _, err := staging.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: old.ID, At: time.Unix(0, 0), Compromised: true, Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	if k := production.Known()[old.ID]; !k.Compromised || k.Reason != "stolen" {
		t.Errorf("after its compromise: %+v", k)
	}
}

func TestAnUpstreamsKeyCanBeEndedHereAndDoesNotComeBack(t *testing.T) {
	staging, production := newServer(t, "staging"), newServer(t, "production")
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	k := staging.of(imx.RoleTester)
	if _, err := production.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: k.ID, Reason: "doubted"}); err != nil {
		t.Fatal(err)
	}
	if !production.of(imx.RoleTester).Until.IsZero() || production.of(imx.RoleTester).ID == "" {
		t.Error("it ended the server's own")
	}
	err := production.knows(t, staging.export(t))
	if imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "an ended key doesn't come back") {
		t.Errorf("err = %v", err)
	}
	if _, err := staging.Rotate(t.Context(), "root", imx.RotateRequest{Role: imx.RoleTester}); err != nil {
		t.Fatal(err)
	}
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Error(err)
	}
}

func TestTheKeysOfAnUpstreamsUpstreamComeAlong(t *testing.T) {
	dev, staging, production := newServer(t, "dev"), newServer(t, "staging"), newServer(t, "production")
	if err := staging.knows(t, dev.export(t)); err != nil {
		t.Fatal(err)
	}
	if err := production.knows(t, staging.export(t)); err != nil {
		t.Fatal(err)
	}
	if k := production.Known()[dev.of(imx.RoleBuilder).ID]; k.Environment != "dev" {
		t.Errorf("the builder's: %+v", k)
	}
	if k, ok := production.Known()[dev.of(imx.RoleReleaser).ID]; ok {
		t.Errorf("who says what runs in dev says it to staging alone: %+v", k)
	}
	if err := production.RemoveUpstream(t.Context(), "root", "staging", "moved"); err != nil {
		t.Fatal(err)
	}
	for _, k := range production.Known() {
		if k.Own() != k.Until.IsZero() {
			t.Errorf("%s's %s: until %s", k.Environment, k.Role, k.Until)
		}
	}
	if err := production.RemoveUpstream(t.Context(), "root", "staging", ""); imx.KindOf(err) != imx.NotFound {
		t.Errorf("twice: err = %v", err)
	}
}

func TestAnUpstreamsWordOnAThirdsKeyDoesNotEndWhatThatOneSaysItself(t *testing.T) {
	dev, staging, production := newServer(t, "dev"), newServer(t, "staging"), newServer(t, "production")
	for _, err := range []error{staging.knows(t, dev.export(t)), production.knows(t, dev.export(t)), production.knows(t, staging.export(t))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	k := dev.of(imx.RoleBuilder)
	if _, err := staging.EndKey(t.Context(), "root", imx.KeyEndRequest{Key: k.ID, Reason: "doubted"}); err != nil {
		t.Fatal(err)
	}
	if err := production.knows(t, staging.export(t)); err != nil || !production.Known()[k.ID].Until.IsZero() {
		t.Errorf("%+v, err = %v", production.Known()[k.ID], err)
	}
}

func TestTwoServersMayKnowEachOther(t *testing.T) {
	one, other := newServer(t, "one"), newServer(t, "other")
	if err := one.knows(t, other.export(t)); err != nil {
		t.Fatal(err)
	}
	if err := other.knows(t, one.export(t)); err != nil {
		t.Fatal(err)
	}
	if own := other.of(imx.RoleBuilder); slices.Contains(other.control.State().Upstreams["one"].Keys, own.ID) {
		t.Error("its own key came back as another's")
	}
}

func TestWhatAnUpstreamCanNotBe(t *testing.T) {
	staging := newServer(t, "staging")
	good := staging.export(t)
	changed := func(change func(x *imx.KeyExport)) imx.UpstreamRequest {
		x := imx.KeyExport{Environment: good.Environment, Keys: slices.Clone(good.Keys)}
		change(&x)
		return imx.UpstreamRequest{Environment: "staging", Address: "http://127.0.0.1:5051", Keys: &x}
	}
	for what, c := range map[string]struct {
		req  imx.UpstreamRequest
		kind imx.Kind
		says string
	}{
		"without keys":          {imx.UpstreamRequest{Environment: "staging", Address: "http://h"}, imx.Conflict, "no key of a releaser of staging"},
		"no address":            {imx.UpstreamRequest{Environment: "staging", Keys: &good}, imx.Invalid, "no address of staging is known"},
		"a relative token file": {imx.UpstreamRequest{Environment: "staging", Address: "https://h", TokenFile: "token", Keys: &good}, imx.Invalid, "absolute path"},
		"a path":                {imx.UpstreamRequest{Environment: "staging", Address: "https://h/v2", Keys: &good}, imx.Invalid, "no address of a registry"},
		"a password":            {imx.UpstreamRequest{Environment: "staging", Address: "https://a:b@h", Keys: &good}, imx.Invalid, "no address of a registry"},
		"of another name":       {imx.UpstreamRequest{Environment: "dev", Address: "http://h", Keys: &good}, imx.Invalid, `the keys of "staging", and not of "dev"`},
		"of no name":            {imx.UpstreamRequest{Environment: "../x", Address: "http://h", Keys: &imx.KeyExport{Environment: "../x"}}, imx.Invalid, "can't be the name"},
		"of nobody":             {imx.UpstreamRequest{Address: "http://h"}, imx.Invalid, "can't be the name"},
		"no releaser":           {changed(func(x *imx.KeyExport) { x.Keys = x.Keys[:0] }), imx.Conflict, "no key of a releaser"},
		"a releaser that ended": {changed(func(x *imx.KeyExport) { end(x, imx.RoleReleaser) }), imx.Conflict, "no key of a releaser"},
		"a scanner":             {changed(func(x *imx.KeyExport) { x.Keys[0].Role = imx.RoleScanner }), imx.Invalid, `a role, "scanner"`},
		"a person":              {changed(func(x *imx.KeyExport) { x.Keys[0].Role = "" }), imx.Invalid, `a role, ""`},
		"another's releaser": {changed(func(x *imx.KeyExport) {
			x.Keys[0].Role, x.Keys[0].Environment = imx.RoleReleaser, "dev"
		}), imx.Invalid, `a role, "releaser", that doesn't speak here for the server of dev`},
		"a key of nobody":      {changed(func(x *imx.KeyExport) { x.Keys[0].Environment = "" }), imx.Invalid, "of no environment"},
		"a key of this server": {changed(func(x *imx.KeyExport) { x.Keys[0].Environment = "production" }), imx.Conflict, "which this server doesn't have"},
		"a key twice":          {changed(func(x *imx.KeyExport) { x.Keys[1] = x.Keys[0] }), imx.Invalid, "twice"},
		"a key's name":         {changed(func(x *imx.KeyExport) { x.Keys[0].ID = x.Keys[1].ID }), imx.Invalid, "goes by the name"},
		"no key":               {changed(func(x *imx.KeyExport) { x.Keys[0].Public = "ssh-rsa x" }), imx.Invalid, "can't be read"},
		"too many":             {changed(func(x *imx.KeyExport) { x.Keys = make([]imx.Key, 1001) }), imx.Invalid, "more than 1000"},
	} {
		production := newServer(t, "production")
		before := production.control.State().Next
		_, err := production.SetUpstream(t.Context(), "root", c.req)
		if imx.KindOf(err) != c.kind || !strings.Contains(imx.AsError(err).Message, c.says) || imx.AsError(err).Hint == "" {
			t.Errorf("%s: err = %v (%s), hint %q", what, err, imx.KindOf(err), imx.AsError(err).Hint)
		}
		if production.control.State().Next != before {
			t.Errorf("%s: something of it is on the log", what)
		}
	}
}

// end ends the keys of a role in an export.
func end(x *imx.KeyExport, role imx.Role) {
	for i, k := range x.Keys {
		if k.Role == role {
			x.Keys[i].Until = time.Unix(1, 0)
		}
	}
}

func TestAServerIsNoUpstreamOfItself(t *testing.T) {
	staging := newServer(t, "staging")
	if err := staging.knows(t, staging.export(t)); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "this server is staging itself") {
		t.Errorf("err = %v", err)
	}
	copied := newServer(t, "production")
	x := staging.export(t)
	own := copied.of(imx.RoleBuilder)
	x.Keys[0].ID, x.Keys[0].Public = own.ID, own.Public
	if err := copied.knows(t, x); imx.KindOf(err) != imx.Conflict || !strings.Contains(err.Error(), "known here already, as this server's own") {
		t.Errorf("err = %v", err)
	}
}

func TestWhatIsNotSaidOfAnUpstreamStays(t *testing.T) {
	staging, production := newServer(t, "staging"), newServer(t, "production")
	x := staging.export(t)
	first := imx.UpstreamRequest{Address: "https://a/", TokenFile: "/token", Keys: &x}
	u, err := production.SetUpstream(t.Context(), "root", first)
	if err != nil || u.Environment != "staging" || u.Address != "https://a" || u.TokenFile != "/token" || len(u.Keys) != 3 {
		t.Fatalf("%+v, %v", u, err)
	}
	u, err = production.SetUpstream(t.Context(), "root", imx.UpstreamRequest{Environment: "staging", Keys: &x})
	if err != nil || u.Address != "https://a" || u.TokenFile != "/token" {
		t.Errorf("%+v, %v", u, err)
	}
	u, err = production.SetUpstream(t.Context(), "root", imx.UpstreamRequest{Environment: "staging", Address: "https://a/"})
	if err != nil || u.Address != "https://a" || u.TokenFile != "/token" {
		t.Errorf("the same address once more: %+v, %v", u, err)
	}
	u, err = production.SetUpstream(t.Context(), "root", imx.UpstreamRequest{Environment: "staging", Address: "https://b"})
	if err != nil || u.Address != "https://b" || u.TokenFile != "" || len(u.Keys) != 3 {
		t.Errorf("%+v, %v", u, err)
	}
	list, err := production.Upstreams(t.Context())
	if err != nil || len(list) != 1 || list[0].Address != "https://b" {
		t.Errorf("%+v, %v", list, err)
	}
}
