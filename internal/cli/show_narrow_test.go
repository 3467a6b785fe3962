package cli_test

// On a terminal of 80 columns nothing that matters is cut off: what is too long goes on in the next line, what matters least isn't shown,
// and keys are as short as all commands take them. In a pipe all is whole.

import (
	"io"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"

	"imx"
	"imx/internal/cli"
	"imx/internal/term"
)

func TestEightyColumnsShowWhatMatters(t *testing.T) {
	const key = "SHA256:47DEQpj8HBSaTImW5JCeuQeRkm5NMpJWZG3hSuFU123"
	statement := imx.DigestBytes([]byte("statement"))
	long := strings.Repeat("a long reason why this is so, ", 4)
	verdict := imx.Verification{
		Subject: "shop",
		Verdict: imx.Verdict{Environment: "production", Purpose: "start", Conditions: []imx.Condition{
			{ID: "vulnerabilities", Says: long, Hint: long, Refuses: true, Evidence: []imx.Digest{statement}},
		}},
		Evidence: []imx.EvidenceView{{Name: "scan", Statement: statement, Made: now(), Role: "scanner"}},
	}
	policy := imx.PolicyView{
		Policy:     imx.Policy{Environment: "production", Rules: map[string]string{"signed.rego": "package x"}},
		Conditions: []imx.ConditionView{{ID: "signed", File: "signed.rego", Title: long}},
	}
	keys := []imx.Key{{ID: key, Owner: "ada", Role: imx.RoleBuilder, From: now(), Compromised: true, Reason: long}}
	source := imx.SourceView{
		GitSource: imx.GitSource{Name: "shop", URL: "https://git.example.org/" + strings.Repeat("x", 90), Branch: "main", Folder: "deploy", Every: imx.Duration(24 * time.Hour), Notes: true, Hook: statement},
		Status:    imx.CommitStatus{State: "pending", Description: long},
	}
	pull := imx.RegistryPull{Time: now(), By: "deploy", From: "198.51.100.7", Repository: strings.Repeat("team/", 9) + "app", Digest: statement}
	stated := imx.Evidence{PredicateType: imx.PredicateScan, Summary: long, Statement: statement, Signer: key, Made: now()}
	for name, c := range map[string]struct {
		show func(out term.Stream) error
		want []string
	}{
		"verify": {func(out term.Stream) error { return cli.ShowVerdict(out, verdict, now()) }, []string{"no vulnerabilities", statement.Short()}},
		"policy": {func(out term.Stream) error { return cli.ShowPolicy(out, policy, now()) }, []string{"signed.rego"}},
		"keys":   {func(out term.Stream) error { return text(out, cli.KeysText(out, keys, now())) }, []string{"47DEQpj8 ", "compromised: a long"}},
		"sources": {
			func(out term.Stream) error { return cli.ShowSources(out, []imx.SourceView{source}, now()) },
			[]string{"pending", "folder deploy", "every 24h", "notes", "webhook"},
		},
		"audit": {
			func(out term.Stream) error {
				return text(out, cli.PullsText(out.Ink, out.Columns(), []imx.RegistryPull{pull}))
			},
			[]string{"deploy", "pulled", statement.Short()},
		},
		"evidence": {
			func(out term.Stream) error { return cli.ShowEvidence(out, []imx.Evidence{stated}, keys) },
			[]string{"47DEQpj8,", "doesn't count", statement.Short()},
		},
	} {
		var narrow, whole strings.Builder
		if err := c.show(term.Stream{Writer: &narrow, Terminal: true, Size: func() (int, int) { return 80, 50 }}); err != nil {
			t.Fatal(err)
		}
		if err := c.show(term.Stream{Writer: &whole}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(narrow.String()) {
			if lipgloss.Width(strings.TrimSuffix(line, "\n")) > 80 || strings.Contains(line, "…") {
				t.Errorf("%s: doesn't fit: %q", name, line)
			}
		}
		folded := strings.Join(strings.Fields(narrow.String()), " ")
		for _, want := range c.want {
			if !strings.Contains(folded, strings.TrimSpace(want)) {
				t.Errorf("%s: no %q in\n%s", name, want, &narrow)
			}
		}
		if strings.Contains(whole.String(), "47DEQpj8 ") {
			t.Errorf("%s: the key isn't whole in a pipe:\n%s", name, &whole)
		}
	}
}

func text(out io.Writer, s string) error {
	_, err := io.WriteString(out, s)
	return err
}

func TestWhatACommandNeedsHasNoFlagsInIt(t *testing.T) {
	for command, want := range map[string]string{
		"person add": "imx person add needs NAME", "source add": "imx source add needs NAME URL", "key end": "imx key end needs KEY --reason WHY",
	} {
		var errs strings.Builder
		code := cli.Main(t.Context(), strings.Fields(command), cli.Process{
			Terminal: term.Plain(strings.NewReader(""), io.Discard, &errs), Env: func(string) string { return "" },
		})
		if code != 2 || !strings.Contains(errs.String(), want+"\n") {
			t.Errorf("%s: exit status %d, %s", command, code, &errs)
		}
	}
}

func TestAKeysCompromiseSaysWhatItHits(t *testing.T) {
	image, other := imx.DigestBytes([]byte("image")), imx.DigestBytes([]byte("other"))
	s := imx.State{
		Evidence: map[imx.Digest]map[string]imx.Evidence{
			image: {imx.PredicateSPDX: {Signer: "k"}, imx.PredicateProvenance: {Signer: "k"}, imx.PredicateScan: {Signer: "x"}}, other: {imx.PredicateScan: {Signer: "x"}},
		},
		Services: map[string]imx.Service{
			"shop": {Current: 2, Releases: []imx.Release{{Number: 2, Image: imx.Image{Digest: image}}}},
			"web":  {Current: 1, Releases: []imx.Release{{Number: 1, Image: imx.Image{Digest: other}}}},
		},
		Candidates: map[string]imx.Candidate{"c": {Reviews: []imx.Review{{Key: "k"}, {Key: "x"}}}},
	}
	for key, want := range map[string]string{
		"k": "2 newest statements of 1 image (run by shop release 2), and 1 answer to candidates",
		"n": "0 newest statements of 0 images (which nothing runs), and 0 answers to candidates",
	} {
		if got := cli.HitOf(s, key); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatRepeatsInTheAuditIsOneLine(t *testing.T) {
	manifest := imx.RegistryPull{Time: now(), By: "ada", Repository: "app", Tag: "v1", Digest: imx.DigestBytes(nil)}
	more, blobs := manifest, manifest
	more.Count = 3
	blobs.Blobs = true
	moreBlobs := blobs
	moreBlobs.Count, moreBlobs.Digest = 1, ""
	got := strings.Split(cli.PullsText(term.Ink{}, 0, []imx.RegistryPull{manifest, more, blobs, moreBlobs}), "\n")
	if len(got) != 4 || !strings.Contains(got[1], "pulled 4 times") || !strings.Contains(got[2], "read blobs 2 times") {
		t.Errorf("%q", got)
	}
}

func TestHelpOfACommandThatThereIsntSaysSo(t *testing.T) {
	for args, want := range map[string]string{
		"people --help": `there is no command "people"`, "key nosuch -h": `there is no command "nosuch"`, "--data /x people --help": `there is no command "people"`,
		"key --help": "", "--help": "", "key list --help": "",
	} {
		var errs strings.Builder
		code := cli.Main(t.Context(), strings.Fields(args), cli.Process{
			Terminal: term.Plain(strings.NewReader(""), io.Discard, &errs), Env: func(string) string { return "" },
		})
		if (code == 2) != (want != "") || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit status %d, %s", args, code, &errs)
		}
	}
}
