package leak_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/leak"
)

func secret() string { return "hunter" + "2-and-more" }

// cut is a key that no pattern for whole keys fits.
func cut() string { return strings.Split(pem(), "-----END")[0] }

func TestFilesThatProgramsKeepSecretsInAreKnownByNameAndContent(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"id_ed25519", cut(), []string{"1 secret-file-private-key"}},
		{"id_ed25519.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host\n", []string{}},
		{"tls/server.pem", "# mine\n" + cut(), []string{"2 secret-file-private-key"}},
		{"tls/server.pem", strings.ReplaceAll(cut(), "RSA "+"PRIVATE KEY", "CERTIFICATE"), []string{}},
		{"notes.md", cut(), []string{}},
		{".env", "# db\nDB_PASSWORD=" + secret() + "\n", []string{"2 secret-file-env"}},
		{"prod.env", "export DB_PASSWORD=\"" + secret() + "\"\n", []string{"1 secret-file-env"}},
		{".env", "DB_PASSWORD=${DB_PASSWORD}\nAPI_TOKEN=\nSECRET=changeme\nPORT=8080\nHOST=database.internal\n", []string{}},
		{".env.example", "DB_PASSWORD=" + secret() + "\n", []string{}},
		{".npmrc", "//registry.example.org/:_authToken=" + secret() + "\n", []string{"1 secret-file-npmrc"}},
		{".npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}\nsave-exact=true\n", []string{}},
		{"kubeconfig", "users:\n- name: me\n  user:\n    password: " + secret() + "\n", []string{"4 secret-file-kubeconfig"}},
		{".kube/config", "users:\n- name: me\n  user:\n    exec:\n      command: login\n", []string{}},
		{"etc/config", "password: " + secret() + "\n", []string{}},
		{".pgpass", "# one\ndb:5432:shop:web:" + secret() + "\n", []string{"2 secret-file-pgpass"}},
		{".pgpass", "# db:5432:shop:web:" + secret() + "\n", []string{}},
		{".netrc", "machine example.org login me\n  password " + secret() + "\n", []string{"2 secret-file-netrc"}},
		{".netrc", "machine example.org login me\n", []string{}},
		{".git-credentials", "https://me:" + secret() + "@git.example.org\n", []string{"1 secret-file-credentials"}},
		{".git-credentials", "https://git.example.org\n", []string{}},
		{".aws/credentials", "[default]\naws_secret_access_key = " + secret() + "\n", []string{"2 secret-file-credentials"}},
		{".aws/credentials", "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\n", []string{}},
		{".docker/config.json", `{"auths": {"registry.example.org": {"auth": "bWU6aHVudGVyMg=="}}}`, []string{"1 secret-file-credentials"}},
		{".docker/config.json", `{"credsStore": "pass"}`, []string{}},
		{".htpasswd", "me:$apr1$abcdefgh$0123456789abcdefghijk.\n", []string{"1 secret-file-htpasswd"}},
		{".htpasswd", "# me\n", []string{}},
	} {
		if diff := cmp.Diff(c.want, found(c.name, c.text)); diff != "" {
			t.Errorf("%s:\n%s(-want +got)\n%s", c.name, c.text, diff)
		}
	}
}

func TestAKeystoreIsKnownByNameAndByWhatItBeginsWith(t *testing.T) {
	p12 := []byte{0x30, 0x82, 0x0a, 0x01, 0x00}
	texts := map[string][]byte{"app.p12": p12, "empty.p12": {0, 0, 0, 0}, "photo.bin": p12}
	got := leak.New().Folder(leak.Folder{Texts: texts})
	want := []imx.Finding{{Rule: "secret-file-keystore", Level: imx.Critical, Message: "app.p12 is a keystore", At: imx.Pos{File: "app.p12", Line: 1}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	tpl := imx.Template{Services: []imx.Spec{{Name: "web", Files: []imx.File{{Path: "/etc/app.p12", Content: p12}, {Path: "/etc/x", Content: p12}}}}}
	if got := ids(leak.New().Template(tpl)); !cmp.Equal(got, []string{"secret-file-keystore"}) {
		t.Errorf("in a template: %v", got)
	}
}

func TestAPlaceThatGitleaksKnowsHasItsNameForIt(t *testing.T) {
	if diff := cmp.Diff([]string{"1 secret-github-pat"}, found(".env", "TOKEN="+github()+"\n")); diff != "" {
		t.Error(diff)
	}
}
