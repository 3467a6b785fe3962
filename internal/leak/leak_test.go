package leak_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx"
	"imx/internal/leak"
)

// The secrets of these tests open nothing: they are random, and put together here so that no scanner takes the
// tests themselves for a leak.
func aws() string    { return "AKIA" + "Q3EGRZPK7XNM2W4T" }
func github() string { return "ghp_" + "8fT2kQzX4vB6nM1cR7sW9yL3pD5hJ0gA2eKu" }
func generic() string {
	return "7Vq9" + "xT2mKz4LwR8nB3cY6hJ1"
}

func pem() string {
	line := "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDB7h3kZp\n"
	return "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat(line, 12) + "-----END RSA " + "PRIVATE KEY-----\n"
}

func ids(all []imx.Finding) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, f.Rule)
	}
	return out
}

func TestSecretsAreFoundAndNearTextsAreNot(t *testing.T) {
	s := leak.New()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"app.env", "AWS_ACCESS_KEY_ID=" + aws() + "\n", []string{"secret-aws-access-token"}},
		{"app.env", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\n", []string{}},
		{"Dockerfile", "ENV TOKEN=" + github() + "\n", []string{"secret-github-pat"}},
		{"Dockerfile", "ENV TOKEN=ghp_short\n", []string{}},
		{"conf.yaml", "db:\n  api_key: \"" + generic() + "\"\n", []string{"secret-generic-api-key"}},
		{"conf.yaml", "db:\n  api_key: \"${API_KEY}\"\n", []string{}},
		{"conf.yaml", "db:\n  api_key: \"aaaaaaaaaaaaaaaaaaaaaaaa\"\n", []string{}},
		{"notes.md", "$ imx key end SHA256:" + generic() + "\n", []string{}},
		{"notes.md", "$ imx key end MINE:" + generic() + "\n", []string{"secret-generic-api-key"}},
		{"tls.key", pem(), []string{"secret-private-key"}},
		{"tls.pub", strings.ReplaceAll(pem(), "PRIVATE", "PUBLIC"), []string{}},
		{"go.sum", "AWS_ACCESS_KEY_ID=" + aws() + "\n", []string{}}, // gitleaks looks into no lock files
	} {
		if diff := cmp.Diff(c.want, ids(s.Read(c.name, []byte(c.text)).Findings())); diff != "" {
			t.Errorf("%s: %s (-want +got)\n%s", c.name, c.text, diff)
		}
	}
}

func TestAFindingHasItsPlaceAndItsLineWithoutTheSecret(t *testing.T) {
	text := "# one\nenvironment = { KEY = \"" + aws() + "\" }\n"
	got := leak.New().Read("a.imx.hcl", []byte(text)).Findings()
	want := []imx.Finding{{
		Rule: "secret-aws-access-token", Level: imx.Critical, At: imx.Pos{File: "a.imx.hcl", Line: 2, Column: 24, End: 44},
		Message: "a.imx.hcl has what looks like a secret: aws-access-token",
		Source:  `environment = { KEY = "` + strings.Repeat("*", 20) + `" }`,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASecretOverSeveralLinesIsBlottedOutInAllOfThem(t *testing.T) {
	blotted := string(leak.New().Read("k", []byte("before\n"+pem()+"after\n")).Blotted())
	if strings.Contains(blotted, "MIIEvQ") || strings.Contains(blotted, "ADANBgk") {
		t.Errorf("still to be read:\n%s", blotted)
	}
	if strings.Count(blotted, "\n") != strings.Count(pem(), "\n")+2 || !strings.HasPrefix(blotted, "before\n") || !strings.HasSuffix(blotted, "after\n") {
		t.Errorf("what is around it changed:\n%s", blotted)
	}
}

func withSecrets() imx.Template {
	at := imx.Pos{File: "a.imx.hcl", Line: 9}
	return imx.Template{
		Images: []imx.ImageSpec{{Name: "web", Environment: map[string]string{"TOKEN": github(), "LANG": "C"}}},
		Services: []imx.Spec{{
			Name: "web", Command: []string{"app", "--aws", aws(), "-v"},
			Files: []imx.File{{Path: "/etc/app.env", Content: []byte("a=1\nAWS_ACCESS_KEY_ID=" + aws() + "\n"), At: at}},
		}},
		Places: map[string]imx.Pos{imx.Address("image", "web", "environment", "TOKEN"): {File: "a.imx.hcl", Line: 3, Column: 5, End: 10}},
	}
}

func TestWhatATemplateGivesToInstancesIsLookedThrough(t *testing.T) {
	want := []imx.Finding{
		{
			Rule: "secret-github-pat", Level: imx.Critical, Subject: "image.web", At: imx.Pos{File: "a.imx.hcl", Line: 3, Column: 5, End: 10},
			Message: "TOKEN of image.web is what looks like a secret: github-pat",
		},
		{
			Rule: "secret-aws-access-token", Level: imx.Critical, Subject: "service.web",
			Message: "its command of service.web is what looks like a secret: aws-access-token",
		},
		{
			Rule: "secret-aws-access-token", Level: imx.Critical, Subject: "service.web", At: imx.Pos{File: "a.imx.hcl", Line: 9},
			Message: "/etc/app.env has what looks like a secret: aws-access-token in line 2, in service.web",
		},
	}
	if diff := cmp.Diff(want, leak.New().Template(withSecrets())); diff != "" {
		t.Error(diff)
	}
}

func TestABlottedTemplateHasNoSecretAndIsElseTheSame(t *testing.T) {
	s, tpl := leak.New(), withSecrets()
	blotted := s.Blot(tpl)
	b, err := json.Marshal(blotted)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(aws())) || bytes.Contains(b, []byte(github())) || bytes.Contains(blotted.Services[0].Files[0].Content, []byte(aws())) {
		t.Errorf("a secret is in %s", b)
	}
	if diff := cmp.Diff([]string{"app", "--aws", strings.Repeat("*", 20), "-v"}, blotted.Services[0].Command); diff != "" {
		t.Error(diff)
	}
	if blotted.Images[0].Environment["LANG"] != "C" || tpl.Images[0].Environment["TOKEN"] != github() {
		t.Error("more than the secrets changed, or the template itself")
	}
}

func TestASecretThatABlockTakesInIsFoundOnceAndBelongsToTheBlock(t *testing.T) {
	tpl := withSecrets()
	tpl.Images, tpl.Services[0].Command = nil, nil
	texts := map[string][]byte{"app.env": tpl.Services[0].Files[0].Content, "other.env": []byte("T=" + github())}
	var got []string
	for _, f := range leak.New().Folder(leak.Folder{Template: tpl, Texts: texts}) {
		got = append(got, f.At.String()+" "+f.Subject+" "+f.Rule)
	}
	if diff := cmp.Diff([]string{"app.env:2 service.web secret-aws-access-token", "other.env:1  secret-github-pat"}, got); diff != "" {
		t.Error(diff)
	}
}

// The examples are what imx shows to people: what is found in them is a secret, or a rule that cries wolf.
func TestNothingIsFoundInTheExamplesAndTheDocumentation(t *testing.T) {
	s := leak.New()
	for _, pattern := range []string{"../../examples/shop/*", "../../docs/*.md", "../template/*.hcl", "../template/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				continue // a folder
			}
			for _, f := range s.Read(name, b).Findings() {
				t.Errorf("%s: %s: %s", f.At, f.Message, f.Source)
			}
		}
	}
}

func TestBlottingKeepsLinesAndHidesSecretsWhereverTheyStand(t *testing.T) {
	s := leak.New()
	rapid.Check(t, func(t *rapid.T) {
		filler := rapid.StringMatching(`([a-z =\n"ü{}#]{0,60}\n)?`)
		text := filler.Draw(t, "before") + "TOKEN=\"" + github() + "\"\n" + filler.Draw(t, "after")
		read := s.Read("x.env", []byte(text))
		if strings.Contains(string(read.Blotted()), github()) {
			t.Fatalf("the secret is in %q", read.Blotted())
		}
		if strings.Count(text, "\n") != strings.Count(string(read.Blotted()), "\n") {
			t.Fatalf("other lines: %q", read.Blotted())
		}
	})
}

func FuzzReading(f *testing.F) {
	s := leak.New()
	for _, seed := range []string{"", "\n", aws(), "api_key: \"" + generic() + "\"", pem(), "\xff\xfekey=\x00"} {
		f.Add("a.yaml", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		read := s.Read(name, text)
		for _, found := range read.Findings() {
			if found.At.Line < 1 || found.At.Column < 1 || found.At.End <= found.At.Column || found.At.Line > bytes.Count(text, []byte("\n"))+1 {
				t.Errorf("%+v isn't in the text", found.At)
			}
		}
		if bytes.Count(text, []byte("\n")) != bytes.Count(read.Blotted(), []byte("\n")) {
			t.Errorf("other lines: %q", read.Blotted())
		}
	})
}

// BenchmarkScan reads what people keep beside templates: configuration, documentation and programs, with a secret every 100 KB.
func BenchmarkScan(b *testing.B) {
	var text []byte
	for _, pattern := range []string{"../../docs/*.md", "../../examples/shop/*", "../../internal/*/*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			t, _ := os.ReadFile(name)
			text = append(text, t...)
			if len(text)%(100<<10) < len(t) {
				text = append(text, "\nTOKEN="+github()+"\n"...)
			}
		}
	}
	b.Run("as it is", func(b *testing.B) { scan(b, text) })
	b.Run("in base64, in lines", func(b *testing.B) { scan(b, []byte(broken(b64(string(text)), ""))) })
}

func scan(b *testing.B, text []byte) {
	b.Helper()
	s := leak.New()
	b.SetBytes(int64(len(text)))
	before := processor()
	for b.Loop() {
		if len(s.Read("all.txt", text).Findings()) == 0 {
			b.Fatal("nothing was found")
		}
	}
	b.ReportMetric(float64(len(text)*b.N)/1e6/(processor()-before).Seconds(), "MB/cpu-s")
}

// processor is the CPU time that the process has taken.
func processor() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		leak.New()
	}
}
