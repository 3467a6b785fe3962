package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
	"imx/internal/sign"
)

// What a colleague wrote since the release of the one service is new to it, though the other one has it already.
func TestWhatIsNewToOneOfTheServicesCounts(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	first, second := w.by("first@x"), w.by("second@x")
	w.by("third@x")
	w.runs(map[string]string{"web": first, "db": second})
	v := w.look()
	if got := w.handed(v); got != "second@x third@x" || v.Notice != "" {
		t.Errorf("since %s and %s: %q, %q", first, second, got, v.Notice)
	}
	w.runs(map[string]string{"web": second})
	w.by("fourth@x")
	if got := w.handed(w.look()); got != "fourth@x third@x" {
		t.Errorf("both at the second: %q", got)
	}
	w.runs(map[string]string{"db": ""})
	w.by("fifth@x")
	if got := w.handed(w.look()); got != "fifth@x first@x fourth@x second@x third@x" {
		t.Errorf("one whose commit nobody knows: %q", got)
	}
}

func TestTheWholeHistoryCountsWhereWhatRunsIsntInIt(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	first := w.by("first@x")
	gone := w.by("gone@x")
	w.runs(map[string]string{"web": gone, "db": first})
	w.look()
	w.in("reset", "--quiet", "--hard", first)
	w.by("third@x")
	v := w.look()
	if got := w.handed(v); got != "first@x third@x" || !strings.Contains(v.Notice, "was rewritten") || !strings.Contains(v.Notice, gone[:12]+" (web); whoever wrote any") {
		t.Errorf("rewritten: %q, %q", got, v.Notice)
	}
	w.runs(map[string]string{"web": first, "db": strings.Repeat("1", 40)})
	w.by("fourth@x")
	v = w.look()
	if got := w.handed(v); got != "first@x fourth@x third@x" || strings.Contains(v.Notice, "rewritten") || !strings.Contains(v.Notice, strings.Repeat("1", 12)+" (db)") {
		t.Errorf("of a commit that isn't there: %q, %q", got, v.Notice)
	}
}

// Whose an address is may be said afterwards.
func TestWhoGetsKnownAfterwardsHadAHandInItToo(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	w.by("Eve@X")
	v := w.look()
	c, ok := w.control.State().Candidates[v.Candidate]
	if !ok {
		t.Fatalf("%+v", v)
	}
	if got := c.Authors(w.control.State().People); !slices.Equal(got, []imx.Principal{imx.Server}) {
		t.Errorf("nobody is known yet: %v", got)
	}
	person := func(emails ...string) {
		if err := w.control.Record("root", imx.PersonSet{Person: imx.Person{Name: "eve", Emails: emails}}); err != nil {
			t.Fatal(err)
		}
	}
	person("other@x", "eve@x")
	if got := c.Authors(w.control.State().People); !slices.Contains(got, "eve") {
		t.Errorf("eve is known now: %v", got)
	}
	w.by("eve@x")
	v = w.look()
	c = w.control.State().Candidates[v.Candidate]
	person("other@x")
	if got := c.Authors(w.control.State().People); !slices.Contains(got, "eve") {
		t.Errorf("eve has another address now: %v", got)
	}
}

func TestACommitThatSomebodyKnownSignedHasASigner(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ssh-keygen", "-l", "-f", file+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	key := imx.Key{ID: strings.Fields(string(out))[1], Owner: "ada", Public: strings.Join(strings.Fields(string(public))[:2], " ")}
	if err := w.control.Record("root", imx.PersonSet{Person: imx.Person{Name: "ada", Roles: []imx.Role{imx.RoleAuthor}}}, imx.KeyAdded{Key: key}); err != nil {
		t.Fatal(err)
	}
	w.in("config", "gpg.format", "ssh")
	w.in("config", "user.signingKey", file)
	w.add(nil)
	w.push(template("hi"), "-S")
	v := w.look()
	c := w.control.State().Candidates[v.Candidate]
	if c.Commit == nil || c.Commit.Signer != "ada" || c.Commit.Key != key.ID || c.Commit.Unsigned != "" {
		t.Fatalf("signed: %+v, %+v", v, c.Commit)
	}
	w.push(template("hello"))
	w.in("tag", "-s", "-m", "one", "v1")
	w.in("push", "--quiet", "origin", "v1")
	v = w.look()
	if c := w.control.State().Candidates[v.Candidate]; c.Commit == nil || c.Commit.Signer != "ada" {
		t.Errorf("with a signed tag: %+v, %+v", v, c.Commit)
	}
}

// signs makes somebody known whose key signs what is committed from now on.
func (w *world) signs(name imx.Principal) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		w.t.Skipf("this needs ssh-keygen: %v %s", err, out)
	}
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := sign.ParsePublic(string(line))
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.control.Record("root", imx.PersonSet{Person: imx.Person{Name: name, Roles: []imx.Role{imx.RoleAuthor}}}, imx.KeyAdded{Key: imx.Key{ID: p.ID, Owner: name, Public: p.Line}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.in("config", "gpg.format", "ssh")
	w.in("config", "user.signingKey", file)
}

// Where the policy takes signed commits alone, each that is new has to be: a signed one on top vouches for nobody.
func TestEachNewCommitHasToBeSigned(t *testing.T) {
	w := newWorld(t)
	w.signed = true
	w.signs("ada")
	w.add(nil)
	w.push(template("hi"))
	v := w.look()
	if !strings.Contains(v.Fault, "isn't signed by anybody known") || !strings.Contains(v.Fault, "git commit --amend -S") || v.Status.State != "failure" || len(w.asked) != 0 {
		t.Errorf("unsigned: %+v, asked %d times", v, len(w.asked))
	}
	first := w.push(template("hello"), "-S")
	v = w.look()
	if c := w.control.State().Candidates[v.Candidate]; v.Fault != "" || c.Commit == nil || c.Commit.Signer != "ada" {
		t.Fatalf("the first that is released vouches for what is below: %+v", v)
	}
	w.runs(map[string]string{"web": first})
	ghost := w.push(template("salve"))
	top := w.push(nil, "-S")
	v = w.look()
	if v.Seen != top || !strings.Contains(v.Fault, "commit "+ghost[:12]+", which is new too: it isn't signed") || v.Candidate != "" {
		t.Errorf("with an unsigned one below: %+v", v)
	}
	w.signed = false
	if _, err := w.Refresh(t.Context(), "root", "shop", func(imx.Progress) {}); err != nil {
		t.Fatal(err)
	}
	c := w.control.State().Candidates[w.shop().Candidate]
	if c.Commit == nil || c.Commit.Signer != "ada" || !strings.Contains(c.Commit.Unsigned, ghost[:12]) {
		t.Errorf("where the policy takes it, it is said: %+v", c.Commit)
	}
	w.in("reset", "--quiet", "--hard", first)
	w.push(template("salve"), "-S")
	w.push(template("ave"), "-S")
	v = w.look()
	if c := w.control.State().Candidates[v.Candidate]; c.Commit == nil || c.Commit.Unsigned != "" || len(c.Commit.Keys) != 1 || !slices.Contains(c.Commit.People, "ada") {
		t.Errorf("all signed: %+v, %+v", v, c.Commit)
	}
}
