package pipeline_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/pipeline"
)

func TestARequestIsKeptAsItIsAndSmaller(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 4096).Draw(t, "content")
		req := imx.PlanRequest{SkipTests: rapid.String().Draw(t, "skip"), Template: imx.Template{Images: []imx.ImageSpec{{Name: "web", Files: []imx.File{{Path: "/x", Content: bytes.Repeat(content, 4)}}}}}}
		kept, err := pipeline.PackRequest(req)
		if err != nil {
			t.Fatal(err)
		}
		again, err := pipeline.PackRequest(req)
		if err != nil || !bytes.Equal(kept, again) {
			t.Fatalf("packed twice it isn't the same (%v)", err)
		}
		plain, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		var want imx.PlanRequest
		if err := json.Unmarshal(plain, &want); err != nil {
			t.Fatal(err)
		}
		for what, b := range map[string][]byte{"packed": kept, "as it was kept before": plain} {
			got, err := pipeline.UnpackRequest(b)
			if err != nil || !cmp.Equal(got, want) {
				t.Fatalf("%s: %v\n%s", what, err, cmp.Diff(want, got))
			}
		}
	})
}

func FuzzUnpackRequest(f *testing.F) {
	kept, err := pipeline.PackRequest(imx.PlanRequest{SkipTests: "why"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept)
	f.Add([]byte(`{"template":{}}`))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := pipeline.UnpackRequest(b); err != nil && imx.KindOf(err) != imx.Invalid {
			t.Errorf("an error of kind %q: %v", imx.KindOf(err), err)
		}
	})
}
