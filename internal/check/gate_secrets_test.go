package check_test

import (
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/check"
	"imx/internal/leak"
)

func TestATemplateWithASecretIsRefusedUnlessItsBlockIsWaived(t *testing.T) {
	token := "ghp_" + "8fT2kQzX4vB6nM1cR7sW9yL3pD5hJ0gA2eKu"
	tpl := imx.Template{Images: []imx.ImageSpec{{Name: "bot", Environment: map[string]string{"TOKEN": token}}}}
	gate := check.Gate{Set: shipped(t), Secrets: leak.New(), Refuse: imx.Critical}
	_, err := gate.Pass(t.Context(), tpl, today())
	if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "secret-github-pat") || strings.Contains(err.Error(), token) {
		t.Errorf("the error is %v", err)
	}
	tpl.Waivers = []imx.Waiver{{Rule: "secret-github-pat", For: []string{"image.bot"}, Reason: "opens nothing", Until: today().Add(90 * 24 * time.Hour)}}
	if _, err := gate.Pass(t.Context(), tpl, today()); err != nil {
		t.Errorf("waived, and yet: %v", err)
	}
}
