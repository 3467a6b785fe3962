package git_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"imx"
	"imx/internal/git"
)

const limit = imx.Size(2 << 20)

// noise writes a file that can't be compressed.
func (r *remote) noise(name string, bytes int) {
	r.t.Helper()
	b := make([]byte, bytes)
	_, _ = rand.Read(b)
	r.write(name, string(b))
}

func within(t *testing.T, url string) (*git.Repository, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy.git")
	return reopened(t, git.Config{Dir: dir, URL: url, Branch: "main", Limit: limit}), dir
}

func reopened(t *testing.T, cfg git.Config) *git.Repository {
	t.Helper()
	repo, err := git.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func size(t *testing.T, dir string) imx.Size {
	t.Helper()
	var all imx.Size
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all += imx.Size(info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// https serves a bare repository, whose certificate git trusts.
func https(t *testing.T, bare string) string {
	t.Helper()
	url, ca := serveHTTPS(t, bare)
	t.Setenv("GIT_SSL_CAINFO", ca)
	return url
}

// Where large files can be left out, many smaller ones are too much; else one large one is.
func TestAFetchThatWouldBeTooLargeIsStoppedAndTheCopyStaysWhole(t *testing.T) {
	for transport, url := range map[string]func(*testing.T, string) string{
		"a path": func(_ *testing.T, bare string) string { return bare }, "file": func(_ *testing.T, bare string) string { return "file://" + bare }, "https": https,
	} {
		t.Run(transport, func(t *testing.T) {
			r := newRemote(t)
			r.write("web.imx.hcl", "one")
			first := r.commit("one")
			bare := r.bare()
			repo, dir := within(t, url(t, bare))
			if got := fetch(t, repo); got != first {
				t.Fatal(got)
			}
			small := size(t, dir)
			if transport == "https" {
				r.noise("film", 4<<20)
			}
			for i := 0; i < 8 && transport != "https"; i++ {
				r.noise("noise"+string(rune('a'+i)), 1<<19)
			}
			r.commit("large")
			r.git("push", "--quiet", bare, "main")
			for range 2 {
				_, err := repo.Fetch(t.Context())
				over, ok := errors.AsType[*git.TooLargeError](err)
				if !ok || over.Limit != limit || over.Size < small/2 || over.Size > limit {
					t.Fatalf("%+v, %v", over, err)
				}
				if now := size(t, dir); now > 2*small+4096 {
					t.Errorf("the copy has %s, and had %s", now, small)
				}
			}
			if files, err := repo.Files(t.Context(), first, ""); err != nil {
				t.Error(err)
			} else if got, err := fs.ReadFile(files, "web.imx.hcl"); err != nil || string(got) != "one" {
				t.Errorf("%q, %v", got, err)
			}
			r.git("reset", "--quiet", "--hard", first)
			r.write("web.imx.hcl", "two")
			second := r.commit("small again")
			r.git("push", "--quiet", "--force", bare, "main")
			if got := fetch(t, repo); got != second {
				t.Errorf("fetched %s, the branch is at %s", got, second)
			}
		})
	}
}

func TestALargeFileThatNobodyReadsIsntFetched(t *testing.T) {
	r := newRemote(t)
	r.noise("film", 4<<20)
	r.write("deploy/web.imx.hcl", "one")
	id := r.commit("one")
	repo, dir := within(t, "file://"+r.bare())
	if got := fetch(t, repo); got != id {
		t.Fatal(got)
	}
	if files, err := repo.Files(t.Context(), id, "deploy"); err != nil {
		t.Error(err)
	} else if got, err := fs.ReadFile(files, "web.imx.hcl"); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	if now := size(t, dir); now > limit/4 {
		t.Errorf("the copy has %s", now)
	}
	_, err := repo.Files(t.Context(), id, "")
	if _, over := errors.AsType[*git.TooLargeError](err); !over || size(t, dir) > limit+limit/4 {
		t.Errorf("reading it: %v; the copy has %s", err, size(t, dir))
	}
	if fetch(t, repo); size(t, dir) > limit/4 {
		t.Errorf("what was left of reading it stays: %s", size(t, dir))
	}
}

func TestACopyThatIsntBoundedTakesWhatThereIs(t *testing.T) {
	r := newRemote(t)
	r.noise("film", 4<<20)
	id := r.commit("one")
	repo := r.follow()
	fetch(t, repo)
	files, err := repo.Files(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := fs.Stat(files, "film"); err != nil || info.Size() != 4<<20 {
		t.Errorf("%v, %v", info, err)
	}
}

// A history that is rewritten all the time doesn't fill the disk: what nobody needs any more goes.
func TestWhatNothingLeadsToAnyMoreGoes(t *testing.T) {
	r := newRemote(t)
	first := r.commit("one")
	repo, dir := within(t, r.dir)
	fetch(t, repo)
	for range 30 {
		r.noise("noise", 1<<17)
		second := r.commit("two")
		if got := fetch(t, repo); got != second {
			t.Fatal(got)
		}
		r.git("reset", "--quiet", "--hard", first)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "objects/pack/*.pack"))
	if now := size(t, dir); err != nil || now > limit || len(packs) > 22 {
		t.Errorf("the copy has %s in %d packs, %v", now, len(packs), err)
	}
	if !repo.Leads(t.Context(), first, fetch(t, repo)) {
		t.Error("the branch doesn't come from its first commit")
	}
}

func TestMoreRoomIsTakenAtOnce(t *testing.T) {
	r := newRemote(t)
	for i := range 4 {
		r.noise("noise"+string(rune('a'+i)), 1<<20-1)
	}
	id := r.commit("large")
	repo, dir := within(t, r.dir)
	if _, err := repo.Fetch(t.Context()); err == nil {
		t.Fatal("it fits")
	}
	if got := fetch(t, reopened(t, git.Config{Dir: dir, URL: r.dir, Branch: "main", Limit: 4 * limit})); got != id {
		t.Errorf("fetched %s", got)
	}
}
