package imx_test

import (
	"testing"

	"pgregory.net/rapid"

	"imx"
)

// What was planned elsewhere has as many instances here as the service has here: what staging needs says nothing of what production needs.
func TestAServiceThatIsHereKeepsItsInstances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50)
		spec := imx.Spec{Name: "web", Replicas: n.Draw(t, "planned")}
		if rapid.Bool().Draw(t, "holds a volume") {
			spec.Volumes = []imx.Volume{{Name: "data"}}
		}
		v := imx.Service{Replicas: n.Draw(t, "here"), Destroyed: rapid.Bool().Draw(t, "destroyed")}
		if rapid.Bool().Draw(t, "released before") {
			v.Releases = []imx.Release{{Number: 1}}
		}
		want := v.Replicas
		if rapid.Bool().Draw(t, "stopped by the policy") {
			v.Stopped, v.Replicas = &imx.Stopped{Replicas: want}, 0
		}
		if len(v.Releases) == 0 || v.Destroyed {
			want = spec.Replicas
		} else if spec.Exclusive() {
			want = min(want, 1)
		}
		kept := v.Keeping(spec)
		if kept.Replicas != want {
			t.Errorf("%+v of %+v has %d instances, not %d", spec, v, kept.Replicas, want)
		}
		kept.Replicas = spec.Replicas
		if imx.DigestJSON(kept) != imx.DigestJSON(spec) {
			t.Errorf("more than the number changed: %+v, %+v", kept, spec)
		}
	})
}
