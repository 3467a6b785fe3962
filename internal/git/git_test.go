// These tests use the real git program on repositories of their own: what is followed is somebody else's, and
// only git knows all of what can be in one.
package git_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"imx"
	"imx/internal/git"
)

// remote is a repository with a working tree, that somebody works in.
type remote struct {
	t   *testing.T
	dir string
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	r := &remote{t, t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	r.git("config", "user.name", "Ada")
	r.git("config", "user.email", "ada@example.com")
	return r
}

func (r *remote) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *remote) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits all that is there and returns the commit's name.
func (r *remote) commit(subject string, options ...string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git(append([]string{"commit", "--quiet", "--allow-empty", "-m", subject}, options...)...)
	return r.git("rev-parse", "HEAD")
}

func (r *remote) follow() *git.Repository {
	r.t.Helper()
	repo, err := git.Open(r.t.Context(), git.Config{Dir: filepath.Join(r.t.TempDir(), "copy.git"), URL: r.dir, Branch: "main"})
	if err != nil {
		r.t.Fatal(err)
	}
	return repo
}

func fetch(t *testing.T, repo *git.Repository) string {
	t.Helper()
	id, err := repo.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestABranchIsFollowedAlsoWhereItsHistoryWasRewritten(t *testing.T) {
	r := newRemote(t)
	first := r.commit("one")
	repo := r.follow()
	if got := fetch(t, repo); got != first {
		t.Fatalf("the branch is at %s, fetched %s", first, got)
	}
	second := r.commit("two")
	if got := fetch(t, repo); got != second {
		t.Errorf("the branch is at %s, fetched %s", second, got)
	}
	r.git("reset", "--quiet", "--hard", first)
	third := r.commit("three\n\nCo-authored-by: Bob <bob@example.com>")
	if got := fetch(t, repo); got != third {
		t.Errorf("the rewritten branch is at %s, fetched %s", third, got)
	}
	if list, err := repo.Emails(t.Context(), third, first); err != nil || !slices.Equal(list, []string{"ada@example.com", "bob@example.com"}) {
		t.Errorf("since the first: %v, %v", list, err)
	}
	if list, err := repo.Emails(t.Context(), third); err != nil || !slices.Equal(list, []string{"ada@example.com", "bob@example.com"}) {
		t.Errorf("since ever: %v, %v", list, err)
	}
	if list, err := repo.Emails(t.Context(), third, first, strings.Repeat("0", 40)); imx.KindOf(err) != imx.NotFound {
		t.Errorf("since a commit that isn't there: %v, %v", list, err)
	}
	if list, err := repo.Emails(t.Context(), first, first); err != nil || len(list) != 0 {
		t.Errorf("since itself: %v, %v", list, err)
	}
	if !repo.Leads(t.Context(), first, third) || repo.Leads(t.Context(), second, third) || repo.Leads(t.Context(), "--all", third) {
		t.Error("what leads to the rewritten branch")
	}
}

// by commits as somebody else.
func (r *remote) by(name string, options ...string) string {
	r.t.Helper()
	who := strings.ToUpper(name) + "@Example.com"
	return r.commit("by "+name, append(options, "--author", name+" <"+who+">")...)
}

func TestWhoWroteWhatIsNewToAnyOfSeveralCommitsHadAHandInIt(t *testing.T) {
	r := newRemote(t)
	root := r.commit("root")
	r.git("checkout", "--quiet", "-b", "side")
	side := r.by("sue")
	r.git("checkout", "--quiet", "main")
	main := r.by("max")
	r.git("config", "user.email", "mia@example.com")
	r.git("merge", "--quiet", "--no-ff", "-m", "merge", "side")
	merged := r.git("rev-parse", "HEAD")
	r.git("config", "user.email", "ada@example.com")
	head := r.by("hal")
	repo := r.follow()
	fetch(t, repo)
	for what, c := range map[string]struct {
		since []string
		want  string
	}{
		"since ever":                              {nil, "ada hal max mia sue"},
		"since the root":                          {[]string{root}, "ada hal max mia sue"},
		"since before the merge, on main":         {[]string{main}, "ada hal mia sue"},
		"since before the merge, on the side":     {[]string{side}, "ada hal max mia"},
		"since the merge":                         {[]string{merged}, "ada hal"},
		"for one at the merge, one at main":       {[]string{merged, main}, "ada hal mia sue"},
		"for one at main, one at the side":        {[]string{main, side}, "ada hal max mia sue"},
		"for one that is there, one at the merge": {[]string{head, merged}, "ada hal"},
		"for two that are there":                  {[]string{head, head}, ""},
	} {
		list, err := repo.Emails(t.Context(), head, c.since...)
		if got := strings.ReplaceAll(strings.Join(list, " "), "@example.com", ""); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		}
	}
}

// Whichever two commits of a history things are at: new to any of them is what git log tells of each, together.
func TestWhatIsNewToAnyIsTheUnionOfWhatIsNewToEach(t *testing.T) {
	r := newRemote(t)
	commits := []string{r.by("a0")}
	for i, parent := range []int{0, 0, 1, 2, 3} { // two lines that are merged twice, crosswise
		r.git("checkout", "--quiet", "-B", "work", commits[parent])
		if i > 2 {
			r.git("merge", "--quiet", "--no-edit", "--no-ff", commits[5-parent])
		}
		commits = append(commits, r.by(fmt.Sprint("a", i+1)))
	}
	r.git("merge", "--quiet", "--no-edit", "--no-ff", commits[4])
	r.git("branch", "--force", "main", "HEAD")
	repo := r.follow()
	head := fetch(t, repo)
	fresh := map[string][]string{}
	for _, id := range commits {
		fresh[id] = strings.Fields(strings.ToLower(r.git("log", "--format=%ae %ce", head, "^"+id)))
	}
	for _, a := range commits {
		for _, b := range commits {
			want := slices.Compact(slices.Sorted(slices.Values(slices.Concat(fresh[a], fresh[b]))))
			if got, err := repo.Emails(t.Context(), head, a, b); err != nil || !slices.Equal(got, want) {
				t.Errorf("new to any of %s and %s: %v, %v; want %v", a, b, got, err, want)
			}
		}
	}
}

func TestMorePeopleThanCanBeNamedAreRefused(t *testing.T) {
	r := newRemote(t)
	id := r.commit("few")
	var trailers strings.Builder
	for i := range imx.MaxEmails {
		fmt.Fprintf(&trailers, "Co-authored-by: P <p%d@example.com>\n", i)
	}
	trailers.WriteString("Co-authored-by: nobody who is known <" + strings.Repeat("x", imx.MaxEmail) + "@example.com>\nCo-authored-by: no address\n")
	r.write(".git/message", "many\n\n"+trailers.String())
	r.git("commit", "--quiet", "--allow-empty", "-F", filepath.Join(r.dir, ".git/message"))
	many := r.git("rev-parse", "HEAD")
	repo := r.follow()
	fetch(t, repo)
	if list, err := repo.Emails(t.Context(), many, id); imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), "more than 1000 people") {
		t.Errorf("%d addresses, %v", len(list), err)
	}
	if list, err := repo.Emails(t.Context(), id); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestFilesAreThoseThatWereCommittedWhateverTheRepositoryWants(t *testing.T) {
	r := newRemote(t)
	r.write("sub/web.imx.hcl", "one\ntwo\n")
	r.write("sub/$Id$.txt", "$Id$ $Format:%H$\n")
	r.write("sub/.gitattributes", "* text eol=crlf ident export-subst filter=evil\n*.txt export-ignore\n")
	r.write("other.txt", "not in the folder\n")
	if err := os.Symlink("/etc/hostname", filepath.Join(r.dir, "sub", "link")); err != nil {
		t.Fatal(err)
	}
	id := r.commit("files")
	repo := r.follow()
	fetch(t, repo)
	files, err := repo.Files(t.Context(), id, "sub")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(files, "web.imx.hcl", "$Id$.txt"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"web.imx.hcl": "one\ntwo\n", "$Id$.txt": "$Id$ $Format:%H$\n", "link": "/etc/hostname"} {
		if got, err := fs.ReadFile(files, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := repo.Files(t.Context(), id, "nothing"); imx.KindOf(err) != imx.NotFound {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

func TestARepositorysHooksAndConfigurationRunNothing(t *testing.T) {
	r := newRemote(t)
	r.commit("one")
	mark := filepath.Join(t.TempDir(), "ran")
	for _, hook := range []string{"pre-receive", "post-receive", "post-upload-pack", "reference-transaction", "post-checkout", "pre-push", "update"} {
		r.write(".git/hooks/"+hook, "#!/bin/sh\ntouch "+mark+"\n")
		if err := os.Chmod(filepath.Join(r.dir, ".git/hooks", hook), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	repo := r.follow()
	if err := repo.Note(t.Context(), fetch(t, repo), "seen\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a hook of the repository ran")
	}
}

func TestWhatIsNoRepositoryIsRefused(t *testing.T) {
	for _, url := range []string{
		"", "relative/path", "ext::sh -c touch% /tmp/x", "--upload-pack=x", "http://example.com/x", "git://example.com/x",
		"ssh://-oProxyCommand=x/y", "-oProxyCommand=x:y", "file://", "https://",
	} {
		if _, err := git.Open(t.Context(), git.Config{Dir: filepath.Join(t.TempDir(), "c"), URL: url, Branch: "main"}); imx.KindOf(err) != imx.Invalid {
			t.Errorf("%q: err = %v", url, err)
		}
	}
	for _, branch := range []string{"", "-x", "a..b", "a b"} {
		if _, err := git.Open(t.Context(), git.Config{Dir: filepath.Join(t.TempDir(), "c"), URL: "/x", Branch: branch}); imx.KindOf(err) != imx.Invalid {
			t.Errorf("branch %q: %v", branch, err)
		}
	}
	gone := newRemote(t)
	if _, err := gone.follow().Fetch(t.Context()); imx.KindOf(err) != imx.Unavailable || !strings.Contains(err.Error(), "main") {
		t.Errorf("a branch that isn't there: %v", err)
	}
}

func TestANoteTakesThePlaceOfTheOneBeforeAndKeepsOthers(t *testing.T) {
	r := newRemote(t)
	first := r.commit("one")
	second := r.commit("two")
	repo := r.follow()
	fetch(t, repo)
	for _, note := range [][2]string{{first, "refused\n"}, {first, "released\n"}} {
		if err := repo.Note(t.Context(), note[0], note[1]); err != nil {
			t.Fatal(err)
		}
	}
	other := r.follow() // another server
	fetch(t, other)
	if err := other.Note(t.Context(), second, "waits\n"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{first: "released", second: "waits"} {
		if got := r.git("notes", "--ref=imx", "show", id); got != want {
			t.Errorf("the note of %s is %q", id, got)
		}
	}
}

// What can't be pushed isn't taken for written the next time.
func TestANoteThatIsRefusedIsTriedAgain(t *testing.T) {
	r := newRemote(t)
	id := r.commit("one")
	repo := r.follow()
	fetch(t, repo)
	r.git("config", "receive.unpackLimit", "1")
	for _, text := range []string{"waits\n", "released\n"} {
		r.git("config", "transfer.hideRefs", "refs/notes")
		if err := repo.Note(t.Context(), id, text); imx.KindOf(err) != imx.Unavailable {
			t.Fatalf("refused: %v", err)
		}
		r.git("config", "--unset", "transfer.hideRefs")
		if err := repo.Note(t.Context(), id, text); err != nil {
			t.Fatal(err)
		}
		if got := r.git("notes", "--ref=imx", "show", id); got != strings.TrimSpace(text) {
			t.Errorf("the note is %q", got)
		}
	}
}

func TestNewAreTheCommitsThatAnyOfOthersDoesntHave(t *testing.T) {
	r := newRemote(t)
	first, second, third := r.commit("one"), r.commit("two"), r.commit("three")
	repo := r.follow()
	fetch(t, repo)
	for what, c := range map[string]struct{ others, want []string }{
		"nobody's":               {nil, nil},
		"since the second":       {[]string{second}, []string{third}},
		"since one of both":      {[]string{first, second}, []string{second, third}},
		"since one that is gone": {[]string{strings.Repeat("0", 40)}, []string{first, second, third}},
	} {
		slices.Sort(c.want)
		if got, err := repo.New(t.Context(), third, c.others...); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	if _, err := repo.New(t.Context(), "HEAD", first); imx.KindOf(err) != imx.Invalid {
		t.Errorf("what is no name: %v", err)
	}
}
