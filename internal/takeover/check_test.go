package takeover_test

import (
	"encoding/json"
	"testing"

	"imx"
	"imx/internal/takeover"
)

// Whatever comes, it is the plan of the offer with its images, or it is refused with what to do.
func FuzzPlan(f *testing.F) {
	im := imx.ImagePlan{Spec: imx.ImageSpec{Name: "web"}, Architecture: "amd64"}
	good := imx.Plan{Images: []imx.ImagePlan{im}, Services: []imx.Spec{{Name: "web", Image: "web"}}}
	raw, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "web", "web")
	f.Add(raw, "web", "db")
	f.Add([]byte(`{"images":null,"services":[{}]}`), "", "")
	f.Add([]byte(`{`), "web", "web")
	f.Fuzz(func(t *testing.T, raw []byte, image, service string) {
		o := imx.Offer{
			Environment: "staging", Plan: imx.DigestBytes(raw), Request: imx.DigestBytes(raw),
			Services: []imx.Serving{{Service: service, Image: imx.DigestBytes([]byte(image))}},
			Images:   []imx.Offering{{Image: imx.Image{Name: image, Digest: imx.DigestBytes([]byte(image)), Plan: im.Digest()}}},
		}
		p, images, err := takeover.Plan(o, raw)
		if err != nil {
			if imx.KindOf(err) != imx.Refused || imx.AsError(err).Hint == "" {
				t.Errorf("%v", err)
			}
			return
		}
		if p.Digest() != o.Plan || len(images) != len(p.Images) || images[0].Plan != p.Images[0].Digest() || p.Services[0].Name != service {
			t.Errorf("%+v of %s", p, raw)
		}
		if _, err := takeover.Request(o, raw); err != nil && imx.KindOf(err) != imx.Refused {
			t.Errorf("%v", err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"template":{},"lock":{},"expect":"sha256:x","skipTests":"why","update":true}`))
	f.Add([]byte(`{"template":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := takeover.Request(imx.Offer{Environment: "staging"}, raw)
		switch {
		case err != nil && imx.KindOf(err) != imx.Refused:
			t.Errorf("%v", err)
		case err == nil && (req.Lock == nil || req.SkipTests != "" || req.Expect != "" || req.Update):
			t.Errorf("%+v", req)
		}
	})
}
