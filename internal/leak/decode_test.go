package leak_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imx/internal/leak"
)

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// broken is a text in lines of 64 characters, as programs write base64.
func broken(text, indent string) string {
	var lines []string
	for len(text) > 64 {
		lines, text = append(lines, indent+text[:64]), text[64:]
	}
	return strings.Join(append(lines, indent+text), "\n") + "\n"
}

func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func found(name, text string) []string {
	all := []string{}
	for _, f := range leak.New().Read(name, []byte(text)).Findings() {
		all = append(all, fmt.Sprintf("%d %s", f.At.Line, f.Rule))
	}
	return all
}

func TestWhatIsEncodedIsFoundAtItsLineAndWhatOnlyLooksSoIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"base64":                           {"a: 1\nb: " + b64("token="+github()+"\n") + "\n", []string{"2 secret-github-pat"}},
		"base64 for addresses":             {"b=" + base64.RawURLEncoding.EncodeToString([]byte("?>?>token="+github())) + "\n", []string{"1 secret-github-pat"}},
		"a key, as in a Secret":            {"kind: Secret\ndata:\n  tls.key: " + b64(pem()) + "\n  user: YWRtaW4=\n", []string{"3 secret-private-key"}},
		"in lines, behind other text":      {"data: |\n" + broken(b64(strings.Repeat("nothing to see\n", 9)+"x="+github()+"\n"), "  ") + "end\n", []string{"4 secret-github-pat"}},
		"in lines with CR":                 {strings.ReplaceAll(broken(b64(strings.Repeat("nothing to see\n", 9)+"x="+github()), ""), "\n", "\r\n"), []string{"3 secret-github-pat"}},
		"a full line above a word":         {"data:\n  " + b64(strings.Repeat("t", 20)+" "+github()) + "\n  password\n", []string{"2 secret-github-pat"}},
		"hexadecimal":                      {"x\ny\nkey 0x" + hex.EncodeToString([]byte("aws "+aws())) + "\n", []string{"3 secret-aws-access-token"}},
		"percent":                          {"http://x/?t=" + percent(github()) + "&u=1\n", []string{"1 secret-github-pat"}},
		"one character of it":              {"http://x/?t=ghp%5F" + github()[4:] + "\n", []string{"1 secret-github-pat"}},
		"twice":                            {"x: " + b64("y: "+b64("z="+github()+"\n")) + "\n", []string{"1 secret-github-pat"}},
		"twice, in two ways":               {"x: " + percent(b64("z="+github()+"\n")) + "\n", []string{"1 secret-github-pat"}},
		"three times, which nobody writes": {"x: " + b64(b64(b64(github()))) + "\n", []string{}},
		"the name before it counts":        {"api_key: \"" + hex.EncodeToString([]byte(generic())) + "\"\n", []string{"1 secret-generic-api-key"}},
		"what is no secret":                {"x: " + b64("the quick brown fox jumps over it\n") + "\n", []string{}},
		"cut off":                          {"x: " + b64("this is " + github())[:24] + "\n", []string{}},
		"bytes that are no text":           {"x: " + b64("\x00\x01"+github()) + "\n", []string{}},
		"a digest":                         {"sha256:" + strings.Repeat("0123456789abcdef", 4) + "\n", []string{}},
	} {
		if diff := cmp.Diff(c.want, found("notes.txt", c.text)); diff != "" {
			t.Errorf("%s:\n%s(-want +got)\n%s", name, c.text, diff)
		}
	}
}

func TestAnEncodedSecretIsBlottedOutAsItStands(t *testing.T) {
	code := b64("token=" + github())
	for _, text := range []string{"a\nx: " + code + "\nb\n", "t=" + percent(github()) + "\n", "x: " + b64(b64(github())) + "\n"} {
		blotted := string(leak.New().Read("notes.txt", []byte(text)).Blotted())
		if strings.Contains(blotted, code[12:]) || strings.Contains(blotted, "%67%68") || !strings.Contains(blotted, "****************") {
			t.Errorf("still to be read: %s", blotted)
		}
		if len(blotted) != len(text) {
			t.Errorf("another length: %s", blotted)
		}
	}
}

// However a secret is encoded, broken into lines and surrounded: it is found where it stands.
func TestASecretIsFoundHoweverItIsEncoded(t *testing.T) {
	s := leak.New()
	rapid.Check(t, func(t *rapid.T) {
		above := strings.Repeat("words\n", rapid.IntRange(0, 5).Draw(t, "above"))
		plain := rapid.StringMatching(`[a-z \n]{0,100}`).Draw(t, "before") + " " + github() + "\n"
		code := rapid.SampledFrom([]func(string) string{b64, percent, func(p string) string { return hex.EncodeToString([]byte(p)) }}).Draw(t, "code")(plain)
		if rapid.Bool().Draw(t, "in lines") && !strings.Contains(code, "%") {
			code = broken(code, rapid.SampledFrom([]string{"", "  ", "\t"}).Draw(t, "indent"))
		}
		findings := s.Read("notes.txt", []byte(above+code+"\nlast\n")).Findings()
		if len(findings) != 1 || findings[0].Rule != "secret-github-pat" || findings[0].At.Line <= strings.Count(above, "\n") {
			t.Fatalf("%+v in\n%s", findings, above+code)
		}
	})
}
