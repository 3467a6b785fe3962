package offer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/offer"
	"imx/internal/sign"
)

// good is an offer of a world, and its bundle.
func (w *world) good(t *testing.T) (imx.Offer, []byte) {
	t.Helper()
	bundle, o, err := w.Offer(t.Context(), offer.Query{Asked: asked})
	if err != nil {
		t.Fatal(err)
	}
	return o, bundle
}

// forged is a statement that says what an offer does, signed by a role's key.
func (w *world) forged(t *testing.T, o imx.Offer, role imx.Role, change func(st *imx.Statement)) []byte {
	t.Helper()
	named := func(name string, d imx.Digest) imx.Subject {
		return imx.Subject{Name: name, Digest: map[string]string{"sha256": d.Hex()}}
	}
	st := imx.Statement{Type: imx.StatementType, PredicateType: imx.PredicateOffer, Subject: []imx.Subject{named("plan", o.Plan)}, Predicate: must(json.Marshal(o))(t)}
	for _, im := range o.Images {
		st.Subject = append(st.Subject, named(im.Image.Name, im.Image.Digest))
	}
	if change != nil {
		change(&st)
	}
	return must(sign.Seal(must(json.Marshal(st))(t), w.private[role]))(t)
}

func TestAnOfferCountsOnlyIfTheEnvironmentsReleaserSignedItNowForWhoAsked(t *testing.T) {
	w := newWorld(t)
	_, bundle := w.good(t)
	role := func(r imx.Role, change func(k *imx.Key)) func(keys map[string]imx.Key) {
		return func(keys map[string]imx.Key) {
			for id, k := range keys {
				if k.Role == r {
					change(&k)
					keys[id] = k
				}
			}
		}
	}
	releaser := func(change func(k *imx.Key)) func(keys map[string]imx.Key) { return role(imx.RoleReleaser, change) }
	keep := func(map[string]imx.Key) {}
	for what, c := range map[string]struct {
		keys               func(keys map[string]imx.Key)
		environment, asked string
		now                time.Time
		says               string
	}{
		"as it is":             {keep, "staging", asked, noon(), ""},
		"a key that ends soon": {releaser(func(k *imx.Key) { k.Until = noon().Add(time.Second) }), "staging", asked, noon(), ""},
		"four minutes on":      {keep, "staging", asked, noon().Add(4 * time.Minute), ""},
		"an unknown key":       {func(keys map[string]imx.Key) { clear(keys) }, "staging", asked, noon(), "a key that isn't known here"},
		"another's key":        {releaser(func(k *imx.Key) { k.Environment = "dev" }), "staging", asked, noon(), "of another environment: SHA256:"},
		"a key of one's own":   {releaser(func(k *imx.Key) { k.Environment = "" }), "staging", asked, noon(), "this server's own"},
		"a person's key":       {releaser(func(k *imx.Key) { k.Environment, k.Role, k.Owner = "", "", "ada" }), "staging", asked, noon(), "is ada's"},
		"of no environment":    {releaser(func(k *imx.Key) { k.Environment = "" }), "", asked, noon(), "of another environment"},
		"another role":         {releaser(func(k *imx.Key) { k.Role = imx.RoleBuilder }), "staging", asked, noon(), "signed with the wrong role"},
		"a compromised key":    {releaser(func(k *imx.Key) { k.Compromised, k.Reason = true, "stolen" }), "staging", asked, noon(), "a compromised key, SHA256:"},
		"an ended key":         {releaser(func(k *imx.Key) { k.Until, k.Reason = noon(), "rotated" }), "staging", asked, noon(), "an ended key, SHA256:"},
		"another environment":  {keep, "dev", asked, noon(), "of another environment"},
		"an older answer":      {keep, "staging", strings.Replace(asked, "0", "1", 1), noon(), "it answers another question"},
		"no question":          {keep, "staging", "", noon(), "it answers another question"},
		"a clock behind":       {keep, "staging", asked, noon().Add(-6 * time.Minute), "the clocks differ"},
		"a clock before":       {keep, "staging", asked, noon().Add(6 * time.Minute), "the clocks differ"},
		"a key of another name": {func(keys map[string]imx.Key) {
			for id, k := range keys {
				k.ID = "SHA256:x"
				keys[id] = k
			}
		}, "staging", asked, noon(), "isn't known here"},
	} {
		keys := w.exported()
		c.keys(keys)
		o, err := offer.Verify(bundle, keys, c.environment, c.asked, c.now)
		if (c.says == "") != (err == nil) || c.says != "" && (imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says) || len(o.Services) != 0) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func TestAnOfferThatIsNotWholeIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		change func(o *imx.Offer)
		says   string
	}{
		"as it is":            {func(*imx.Offer) {}, ""},
		"no plan":             {func(o *imx.Offer) { o.Request = "" }, "it isn't whole"},
		"no services":         {func(o *imx.Offer) { o.Services = nil }, "0 services"},
		"no images":           {func(o *imx.Offer) { o.Images = nil }, "0 images"},
		"a service twice":     {func(o *imx.Offer) { o.Services[1] = o.Services[0] }, "aren't in order"},
		"no name":             {func(o *imx.Offer) { o.Services[0].Service = "" }, "aren't in order"},
		"a strange image":     {func(o *imx.Offer) { o.Services[0].Image = imx.DigestBytes(nil) }, "isn't one of its images"},
		"no release":          {func(o *imx.Offer) { o.Services[0].Release = 0 }, "has release 0"},
		"since ever":          {func(o *imx.Offer) { o.Services[0].Since = time.Time{} }, "since 0001"},
		"since tomorrow":      {func(o *imx.Offer) { o.Services[0].Since = noon().Add(time.Hour) }, "since 2026"},
		"an image twice":      {func(o *imx.Offer) { o.Images[1].Image.Name = "web" }, "image web is there twice"},
		"an image of no name": {func(o *imx.Offer) { o.Images[0].Image.Name = "" }, "has no name"},
		"no artifact":         {func(o *imx.Offer) { o.Images[0].Artifact = "x" }, "is not a digest"},
		"no root":             {func(o *imx.Offer) { o.Images[0].Image.Root = "" }, "image web"},
		"a strange inventory": {func(o *imx.Offer) { o.Images[0].Image.Inventory = "sha256:x" }, "is not a digest"},
		"a verdict along":     {func(o *imx.Offer) { o.Images[0].Evidence[0].PredicateType = imx.PredicateVerdict }, "isn't about it, or isn't in order"},
		"of another image":    {func(o *imx.Offer) { o.Images[0].Evidence[0].Image = o.Images[1].Image.Digest }, "isn't about it, or isn't in order"},
		"a type twice":        {func(o *imx.Offer) { o.Images[0].Evidence[1] = o.Images[0].Evidence[0] }, "isn't about it, or isn't in order"},
		"unsigned evidence":   {func(o *imx.Offer) { o.Images[0].Evidence[0].Bundle = "" }, "image web"},
		"another environment": {func(o *imx.Offer) { o.Environment = "dev" }, "it says that it comes from"},
		"another question":    {func(o *imx.Offer) { o.Asked = "x" }, "it answers another question"},
	} {
		w := newWorld(t)
		o, _ := w.good(t)
		c.change(&o)
		_, err := offer.Verify(w.forged(t, o, imx.RoleReleaser, nil), w.exported(), "staging", asked, noon())
		if (c.says == "") != (err == nil) || c.says != "" && (imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func TestWhatIsSignedOtherwiseIsRefused(t *testing.T) {
	w := newWorld(t)
	o, bundle := w.good(t)
	mallory := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	w.private["mallory"] = mallory
	flipped := []byte(strings.Replace(string(bundle), `"payload":"e`, `"payload":"f`, 1))
	for what, c := range map[string]struct {
		bundle []byte
		says   string
	}{
		"a stranger's":   {w.forged(t, o, "mallory", nil), "isn't known here"},
		"the builder's":  {w.forged(t, o, imx.RoleBuilder, nil), "the wrong role"},
		"the scanner's":  {w.forged(t, o, imx.RoleScanner, nil), "isn't known here"},
		"other subjects": {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) { st.Subject[0].Name = "plans" }), "other subjects"},
		"fewer subjects": {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) { st.Subject = st.Subject[:1] }), "other subjects"},
		"another type":   {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) { st.PredicateType = imx.PredicateVerdict }), "a statement of another type"},
		"a key too much": {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) {
			st.Predicate = json.RawMessage(strings.Replace(string(st.Predicate), "{", `{"new":1,`, 1))
		}), "keys that aren't known"},
		"a key twice": {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) {
			st.Predicate = json.RawMessage(strings.Replace(string(st.Predicate), "{", `{"asked":"x",`, 1))
		}), "keys twice"},
		"no offer":        {w.forged(t, o, imx.RoleReleaser, func(st *imx.Statement) { st.Predicate = json.RawMessage(`{"images":7}`) }), "can't be read"},
		"one bit flipped": {flipped, "doesn't count"},
		"nothing":         {nil, "no signed statement"},
		"too much":        {make([]byte, offer.MaxBundle+1), "more than"},
	} {
		if _, err := offer.Verify(c.bundle, w.exported(), "staging", asked, noon()); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", what, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(f)
	p := must(sign.PublicOf(private.Public()))(f)
	keys := map[string]imx.Key{p.ID: {ID: p.ID, Role: imx.RoleReleaser, Environment: "staging", Public: p.Line}}
	hex := strings.Repeat("ab", 32)
	f.Add([]byte(`{"environment":"staging","asked":"`+asked+`","at":"2026-11-22T12:00:00Z","plan":"sha256:`+hex+`","request":"sha256:`+hex+`","services":[],"images":[]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, predicate, raw []byte) {
		if _, err := offer.Verify(raw, keys, "staging", asked, noon()); imx.KindOf(err) != imx.Refused {
			t.Fatalf("what nobody signed: err = %v", err)
		}
		if !json.Valid(predicate) {
			return
		}
		st, err := json.Marshal(imx.Statement{
			Type: imx.StatementType, PredicateType: imx.PredicateOffer, Predicate: predicate, Subject: []imx.Subject{{Name: "plan", Digest: map[string]string{"sha256": hex}}},
		})
		if err != nil {
			return
		}
		bundle, err := sign.Seal(st, private)
		if err != nil {
			return
		}
		o, err := offer.Verify(bundle, keys, "staging", asked, noon())
		if err == nil && (o.Environment != "staging" || o.Asked != asked || len(o.Services) == 0 || len(o.Images) == 0) {
			t.Fatalf("%+v counts", o)
		}
		if err != nil && imx.KindOf(err) != imx.Refused {
			t.Fatalf("err = %v", err)
		}
	})
}
