package cli_test

import (
	"testing"

	"imx/internal/cli"
)

func TestDestroyAsksForAllThatItTakesDown(t *testing.T) {
	for want, of := range map[string][2][]string{
		"Destroy app, web, with everything in the services' volumes?":                       {{"app", "web"}, nil},
		"Destroy app and ingress public, inside, with everything in the services' volumes?": {{"app"}, {"public", "inside"}},
		"Destroy ingress public?": {nil, {"public"}},
	} {
		if got := cli.DestroyQuestion(of[0], of[1]); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
