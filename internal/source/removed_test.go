package source_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imx"
)

func TestARepositoryThatIsTooLargeIsToldAndWhatWasSeenStays(t *testing.T) {
	w := newWorldWithin(t, 1<<20)
	w.add(nil)
	id := w.push(template("hi"))
	c := w.look().Candidate
	noise := make([]byte, 1<<18)
	files := template("hello")
	for i := range 8 {
		_, _ = rand.Read(noise)
		files[fmt.Sprint("other/", i)] = string(noise)
	}
	w.push(files)
	v := w.look()
	for _, want := range []string{"source shop is too large", w.url, "KiB", "more than 1.0 MiB", "--source-size"} {
		if !strings.Contains(v.Unread, want) || v.Status.State != "error" || v.Seen != id || v.Candidate != c {
			t.Errorf("want %q: %+v", want, v)
		}
	}
	w.in("reset", "--quiet", "--hard", id)
	w.push(template("hello"))
	if v := w.look(); v.Unread != "" || v.Candidate == "" || v.Candidate == c {
		t.Errorf("small again: %+v", v)
	}
}

func TestWhatIsLeftOfSourcesThatArentFollowedIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.push(template("hi"))
	w.add(func(r *imx.SourceRequest) { r.Secret = strings.Repeat("s", 32) })
	for _, name := range []string{"gone.git/objects", ".new-123/objects"} {
		if err := os.MkdirAll(filepath.Join(w.data, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.data, "gone.secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(w.data, "*"))
	hidden, _ := filepath.Glob(filepath.Join(w.data, ".*"))
	if want := []string{filepath.Join(w.data, "shop.git"), filepath.Join(w.data, "shop.secret")}; err != nil || !slices.Equal(left, want) || len(hidden) > 0 {
		t.Errorf("left are %v, %v, %v", left, hidden, err)
	}
}
